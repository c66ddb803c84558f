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
    clean_score,
    conservative,
    continuum,
    denoising,
    full_support,
    implicit,
    langevin,
    low_density,
    manifold,
    many_sigmas,
    mixing,
    never_lost,
    noised_target,
    noisy_samples,
    one_network,
    one_sigma,
    sliced,
    vanishing_price,
    vector_field,
    wrong_sigma,
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
        never_lost,
        clean_score,
        noisy_samples,
        full_support,
        vanishing_price,
        wrong_sigma,
    )
}

__all__ = ["Check", "Claim", "EXPERIMENTS", "Params", "Result"]
