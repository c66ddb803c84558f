"""Whether weights are those of a network: their names, sizes, numbers and noise levels.

The names tell the architecture, the first convolution `(width, C, 3, 3)` the width and the channels, and NCSN's tables
`(L, 3 width)` the number of levels.  The size of the images leaves no trace in a convolutional network.
"""

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from ..networks.modeling_ncsn import NCSNModel, NCSNv2Model
from ..noise_levels import geometric_noise_levels
from ..noise_levels.spacing import check_noise_levels
from .checkpoint import few

ARCHITECTURES = ("ncsn", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest")


def make_network(
    architecture: str, image_size: int, channels: int, width: int, levels: list[float]
) -> NCSNModel | NCSNv2Model:
    """The network of an architecture, with random weights.

    Raises:
        ValueError: for sizes that it does not have.
    """
    ends = {"sigma_min": levels[-1], "sigma_max": levels[0]}
    if architecture == "ncsn":
        return NCSNModel(image_size, channels, width, num_levels=len(levels), sigmas=levels, **ends)
    return NCSNv2Model(image_size, channels, width, architecture=architecture, **ends)


def check_names(weights: Mapping[str, Tensor], architecture: str) -> None:
    """Raises `ValueError` unless the weights have the names of `architecture`, saying whose names they are."""
    found, wanted = set(weights), _names(architecture)
    if found == wanted:
        return
    difference = f"missing {few(sorted(wanted - found))}; too many {few(sorted(found - wanted))}"
    names = {name: _names(name) for name in ARCHITECTURES}
    likeness = {name: len(found & own) / len(found | own) for name, own in names.items()}
    best = max(likeness, key=likeness.get)
    if likeness[best] < 0.5:
        raise ValueError(
            f"These are the weights of none of {', '.join(ARCHITECTURES)}. {architecture} has {len(wanted)} tensors: "
            f"{difference}."
        )
    if likeness[best] > likeness[architecture]:
        raise ValueError(f"The weights look like {best}, not like {architecture} ({difference}); ask for {best}.")
    raise ValueError(f"{architecture} has {len(wanted)} tensors, but {len(found)} were found: {difference}.")


@cache
def _names(architecture: str) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(make_network(architecture, 32, 1, 8, [1.0, 0.1]).state_dict())


def sizes(weights: Mapping[str, Tensor], channels: int | None) -> tuple[int, int, int | None]:
    """Width, channels and, of NCSN alone, the number of levels, as the shapes tell them.

    Args:
        weights: with the right names, see :func:`check_names`.
        channels: what was asked for, if anything.

    Raises:
        ValueError: for other channels, or shapes that tell nothing.
    """
    first, table = weights["begin_conv.weight"], weights.get("normalizer.embed.weight")
    if first.dim() != 4 or not first.numel():
        raise ValueError(f"begin_conv.weight has shape {tuple(first.shape)}; expected (width, channels, 3, 3).")
    if table is not None and (table.dim() != 2 or not table.numel()):
        raise ValueError(f"normalizer.embed.weight has shape {tuple(table.shape)}; expected (levels, 3 width).")
    width, found = first.shape[:2]
    if channels not in (None, found):
        raise ValueError(f"channels is {channels}, but the weights take images of {found}; leave it out.")
    return width, found, None if table is None else len(table)


def noise_levels(
    stored: Tensor | None,
    tables: int | None,
    *,
    sigma_max: float | None,
    sigma_min: float | None,
    num_levels: int | None,
) -> list[float]:
    """The noise schedule: the one in the checkpoint, or the geometric one that was asked for.

    Args:
        stored: the checkpoint's `sigmas`, if it has them.
        tables: the number of levels in NCSN's tables, if it is NCSN.
        sigma_max: sigma_1 as asked for, if it was; a stored noise schedule must agree, here and below.
        sigma_min: sigma_L.
        num_levels: L.

    Raises:
        ValueError: for levels that contradict each other, are not decreasing, or are known from nowhere.
    """
    for given, place in ((num_levels, "num_levels is"), (None if stored is None else stored.numel(), "sigmas holds")):
        if None not in (given, tables) and given != tables:
            raise ValueError(f"{place} {given}, but the weights are those of {tables} levels.")
    if stored is not None:
        return _stored_levels(stored, sigma_max, sigma_min, num_levels)
    asked = {"sigma_max": sigma_max, "sigma_min": sigma_min, "num_levels": tables if num_levels is None else num_levels}
    absent = [name for name, value in asked.items() if value is None]
    if absent:
        raise ValueError(
            f"The checkpoint does not hold its noise levels: give {', '.join(absent)} as in training (in the papers 1, "
            "0.01 and 10 for NCSN; 50, 0.01 and 232 for NCSNv2 on CIFAR-10)."
        )
    return geometric_noise_levels(**asked, dtype=torch.float64).tolist()


def _stored_levels(
    stored: Tensor, sigma_max: float | None, sigma_min: float | None, num_levels: int | None
) -> list[float]:
    if not stored.is_floating_point() or stored.dim() != 1:
        raise ValueError(
            f"The checkpoint's noise levels `sigmas` are {stored.dtype} of shape {tuple(stored.shape)}; expected a "
            "list of floating numbers."
        )
    # The shortest numbers that are these in float32: 0.01, not 0.009999999776482582.
    levels = [float(str(sigma)) for sigma in stored.detach().float().numpy()]
    try:
        check_noise_levels(levels)
    except ValueError as error:
        raise ValueError(f"The checkpoint's noise levels `sigmas` are not a noise schedule. {error}") from None
    for name, given, found in (
        ("sigma_max", sigma_max, levels[0]),
        ("sigma_min", sigma_min, levels[-1]),
        ("num_levels", num_levels, len(levels)),
    ):
        if given is not None and not math.isclose(given, found, rel_tol=1e-5):
            raise ValueError(f"{name} is {given:g}, but the checkpoint was trained with {found:g}; leave it out.")
    return levels


def check_values(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str) -> None:
    """Raises `ValueError` unless the weights are finite floating numbers in the network's shapes.

    Args:
        weights: with the network's names.
        expected: the network's own state dict, of which only the shapes are read.
        network: what it is, in words.
    """
    kinds = {name: v for name, v in weights.items() if not v.is_floating_point() or v.layout != torch.strided}
    shapes = {name: v for name, v in weights.items() if v.shape != expected[name].shape}
    for wrong, what in ((kinds, "no plain floating numbers"), (shapes, "a wrong shape")):
        for name, value in wrong.items():
            raise ValueError(
                f"{len(wrong)} of {len(weights)} tensors have {what} for {network}: {name} is {value.dtype} of shape "
                f"{tuple(value.shape)}, expected torch.float32 of shape {tuple(expected[name].shape)}."
            )
    infinite = [name for name, value in weights.items() if not value.isfinite().all()]
    if infinite:
        raise ValueError(
            f"{len(infinite)} of {len(weights)} tensors hold numbers that are not finite, which a diverged training "
            f"leaves: {few(infinite)}. Take an earlier checkpoint."
        )
