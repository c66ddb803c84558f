"""The lecture's claims about score-based models, each as an experiment that measures it.

    ncsn lecture                     what there is
    ncsn lecture mixing              runs one: a table, and a picture
    ncsn lecture all --json FILE     runs all

One experiment a file, in the order of the lecture; :mod:`.experiment` says what each of them defines.
"""

from types import ModuleType

from . import (
    annealing,
    clean_loss,
    conservative,
    continuum,
    denoising,
    implicit,
    langevin,
    low_density,
    manifold,
    many_sigmas,
    mixing,
    noised_target,
    one_network,
    one_sigma,
    sliced,
    vector_field,
)
from .experiment import Check, Claim, Params, Result

EXPERIMENTS: dict[str, ModuleType] = {
    module.CLAIM.name: module
    for module in (
        vector_field,
        implicit,
        denoising,
        noised_target,
        sliced,
        langevin,
        manifold,
        clean_loss,
        low_density,
        mixing,
        one_sigma,
        many_sigmas,
        annealing,
        continuum,
        one_network,
        conservative,
    )
}

__all__ = ["Check", "Claim", "EXPERIMENTS", "Params", "Result"]
