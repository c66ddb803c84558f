"""Noise schedules: decreasing noise levels sigma_1 > sigma_2 > ... > sigma_L > 0, the rungs of a ladder.

Three ways to place L levels from sigma_1 = sigma_max to sigma_L = sigma_min, with t_i = (i - 1) / (L - 1) from 0 to 1:

    geometric   sigma_i = sigma_max^(1 - t_i) sigma_min^t_i                                    constant ratio
    uniform     sigma_i = sigma_max + t_i (sigma_min - sigma_max)                              constant difference
    Karras      sigma_i = (sigma_max^(1/rho) + t_i (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

Karras' levels are the uniform ones at rho = 1 and approach the geometric ones as rho grows.  All are computed in
float64, and the two ends are exact.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor


def geometric_noise_levels(
    sigma_max: float, sigma_min: float, num_levels: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Levels a constant ratio apart, `sigma_i = sigma_max^(1 - t_i) sigma_min^t_i`, `t_i = (i - 1) / (L - 1)`.

    Source: Song & Ermon 2019 (NCSN), section 4.1.  Neighbours overlap equally well at every level (Song & Ermon 2020,
    technique 2), which is why annealed Langevin dynamics uses it.

    Args:
        sigma_max: the first level sigma_1, in data units, finite and positive.
        sigma_min: the last level sigma_L, in data units, positive and below `sigma_max` (equal is fine for one level).
        num_levels: L, at least 1.  One level is `sigma_max`, where a sampler starts, whatever `sigma_min` is.
        dtype: floating type of the result.

    Returns:
        Levels of shape `(L,)`, strictly decreasing.

    Raises:
        ValueError: for levels or a count out of range, or levels too close for `dtype` to tell apart.
    """
    return _finish(torch.from_numpy(geometric(sigma_max, sigma_min, num_levels)), sigma_max, sigma_min, dtype)


def uniform_noise_levels(
    sigma_max: float, sigma_min: float, num_levels: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Levels a constant step apart, `sigma_i = sigma_max + t_i (sigma_min - sigma_max)`, `t_i = (i - 1) / (L - 1)`.

    The ratio of neighbours grows towards sigma_min, where the last step is by far the widest: levels to compare with.

    Args:
        sigma_max: the first level sigma_1, in data units, finite and positive.
        sigma_min: the last level sigma_L, in data units, positive and below `sigma_max` (equal is fine for one level).
        num_levels: L, at least 1.  One level is `sigma_max`, where a sampler starts, whatever `sigma_min` is.
        dtype: floating type of the result.

    Returns:
        Levels of shape `(L,)`, strictly decreasing.

    Raises:
        ValueError: for levels or a count out of range, or levels too close for `dtype` to tell apart.
    """
    t = _fractions(sigma_max, sigma_min, num_levels)
    sigmas = sigma_max + t * (sigma_min - sigma_max)
    return _finish(sigmas, sigma_max, sigma_min, dtype)


def karras_noise_levels(
    sigma_max: float, sigma_min: float, num_levels: int, rho: float = 7.0, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """`sigma_i = (sigma_max^(1/rho) + t_i (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho`, `t_i = (i - 1) / (L - 1)`.

    Source: Karras et al. 2022 (EDM), eq. 5, without the zero that its deterministic sampler appends.

    Args:
        sigma_max: the first level sigma_1, in data units, finite and positive.
        sigma_min: the last level sigma_L, in data units, positive and below `sigma_max` (equal is fine for one level).
        num_levels: L, at least 1.  One level is `sigma_max`, where a sampler starts, whatever `sigma_min` is.
        rho: how much closer the levels stand near `sigma_min`, finite and positive; 7 in the paper.
        dtype: floating type of the result.

    Returns:
        Levels of shape `(L,)`, strictly decreasing.

    Raises:
        ValueError: for levels, a count or `rho` out of range, or levels too close for `dtype` to tell apart.
    """
    if not (math.isfinite(rho) and rho > 0):
        raise ValueError(f"rho must be a finite positive number; got {rho}. The paper uses 7.")
    t = _fractions(sigma_max, sigma_min, num_levels)
    # (sigma_i / sigma_max)^(1/rho) - 1: relative to sigma_max and less 1, so that no rho overflows or cancels.
    root = t * math.expm1((math.log(sigma_min) - math.log(sigma_max)) / rho)
    return _finish(sigma_max * (rho * root.log1p()).exp(), sigma_max, sigma_min, dtype)


def geometric(sigma_max: float, sigma_min: float, num_levels: int) -> np.ndarray:
    """Geometric levels as float64, shape `(L,)`."""
    check_ends(sigma_max, sigma_min, num_levels)
    return np.geomspace(sigma_max, sigma_min, num_levels)


def _fractions(sigma_max: float, sigma_min: float, num_levels: int) -> Tensor:
    """t, `(L,)` in float64, from 0 to 1."""
    check_ends(sigma_max, sigma_min, num_levels)
    return torch.linspace(0, 1, int(num_levels), dtype=torch.float64)


def _finish(sigmas: Tensor, sigma_max: float, sigma_min: float, dtype: torch.dtype) -> Tensor:
    """Makes the ends exact, converts, and refuses levels that fell together in `dtype`."""
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type; got {dtype}.")
    sigmas[-1] = sigma_min
    sigmas[0] = sigma_max
    levels = sigmas.to(dtype)
    if not (levels.isfinite().all() and (levels > 0).all() and (levels.diff() < 0).all()):
        raise ValueError(
            f"{len(levels)} levels from {sigma_max} to {sigma_min} cannot be told apart, or over- or underflow, "
            f"in {dtype}: use a wider type or fewer levels."
        )
    return levels


def check_ends(sigma_max: float, sigma_min: float, num_levels: int) -> None:
    """Raises `ValueError` unless L >= 1 levels can go down from sigma_1 to sigma_L > 0."""
    check_counts(num_levels=num_levels)
    if not 0 < sigma_min <= sigma_max < math.inf or (num_levels > 1 and sigma_min == sigma_max):
        raise ValueError(
            "0 < sigma_min <= sigma_max must hold, both be finite, and be equal for one level alone; got "
            f"{sigma_min} and {sigma_max} for {num_levels} level(s)."
        )


def check_noise_levels(sigmas: Sequence[float] | Tensor) -> np.ndarray:
    """Noise levels as float64, shape `(L,)`.

    Raises:
        ValueError: for an empty list, or levels that are not finite, positive and strictly decreasing.
    """
    levels = np.asarray(sigmas.detach().cpu().double() if isinstance(sigmas, Tensor) else sigmas, dtype=np.float64)
    if levels.ndim != 1 or len(levels) < 1:
        raise ValueError(f"Noise levels are a list of at least one number; got shape {levels.shape}.")
    if not (np.isfinite(levels).all() and (levels > 0).all() and (np.diff(levels) < 0).all()):
        short = np.array2string(levels, precision=4, threshold=8, separator=", ")
        raise ValueError(f"Noise levels must be finite and positive, and strictly decreasing; got {short}.")
    return levels


def check_counts(*, least: int = 1, **counts: object) -> None:
    """Raises `ValueError` unless each count is a whole number of at least `least`."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be at least {least} and a whole number; got {value}.")
