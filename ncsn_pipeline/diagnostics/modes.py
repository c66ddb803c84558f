"""Which mode each sample landed in, how many in each, and how wide they lie.

A sample belongs to the mode whose mean is nearest.  With n samples, of which n_k belong to mode k,

    w_k = n_k / n,    standard error sqrt(w_k (1 - w_k) / n)
    v_k = 1 / (d (n_k - 1)) sum_{x in k} || x - mean_k ||²,

the second the variance of one dimension, about the mode's own sample mean.  Both are the density's own only where the
modes stand apart: the border between two of them cuts off what lies beyond it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ModeWeights:
    """The share of samples in each mode, float64.

    Attributes:
        weights: w_k, shape `(K,)`, summing to 1.
        standard_errors: of each weight, for independent samples, shape `(K,)`.
    """

    weights: Tensor
    standard_errors: Tensor


@dataclass(frozen=True)
class ModeVariances:
    """The variance of one dimension within each mode, float64.

    Attributes:
        variances: v_k, shape `(K,)`, in squared data units; NaN for a mode with fewer than two samples.
        standard_errors: of each variance, for independent samples, shape `(K,)`; NaN with fewer than three.  Of ten
            Gaussian ones they are a sixth too small, on average.
        counts: n_k, shape `(K,)`.
    """

    variances: Tensor
    standard_errors: Tensor
    counts: Tensor


def nearest_mode(x: Tensor, means: Tensor) -> Tensor:
    """The index of the nearest mean.

    Args:
        x: samples, shape `(B, d)`, finite, in data units.
        means: of the modes, shape `(K, d)`.

    Returns:
        Indices from 0 to K - 1, shape `(B,)`.

    Raises:
        ValueError: for shapes that do not fit, no samples, or samples or means that are not finite.
    """
    if x.ndim != 2 or means.ndim != 2 or x.shape[1] != means.shape[1] or 0 in (*x.shape, *means.shape):
        raise ValueError(
            f"x must have shape (B, d) and means (K, d), none empty; got {tuple(x.shape)} and {tuple(means.shape)}."
        )
    if not x.isfinite().all():
        raise ValueError("x must be finite; it holds NaN or infinity. Such a chain has diverged: lower its step size.")
    if not means.isfinite().all():
        raise ValueError(f"means must be finite; got {means.tolist()}.")
    exact = "donot_use_mm_for_euclid_dist"  # without the cancellation of ||x||² + ||m||² - 2 x.m
    return torch.cdist(x.detach().double(), means.detach().to(x.device).double(), compute_mode=exact).argmin(1)


def mode_weights(x: Tensor, means: Tensor) -> ModeWeights:
    """The share of samples nearest to each mean.

    Args:
        x: samples, shape `(B, d)`, in data units.
        means: of the modes, shape `(K, d)`.

    Raises:
        ValueError: see :func:`nearest_mode`.
    """
    weights = torch.bincount(nearest_mode(x, means), minlength=len(means)).double() / len(x)
    return ModeWeights(weights, (weights * (1 - weights) / len(x)).sqrt())


def mode_variances(x: Tensor, means: Tensor) -> ModeVariances:
    """The variance of one dimension among the samples nearest to each mean, about their own mean.

    The standard error comes from the spread of `|| x - mean_k ||² / d` over the samples, so it assumes no shape.

    Args:
        x: samples, shape `(B, d)`, in data units.
        means: of the modes, shape `(K, d)`; they only decide who belongs where.

    Raises:
        ValueError: see :func:`nearest_mode`.
    """
    mode = nearest_mode(x, means)
    x = x.detach().double()
    variances, errors = torch.full((2, len(means)), math.nan, dtype=torch.float64, device=x.device)
    counts = torch.bincount(mode, minlength=len(means))
    for k in range(len(means)):
        if counts[k] > 1:
            mine = x[mode == k]
            squares = (mine - mine.mean(0)).square().mean(1)
            variances[k] = squares.sum() / (counts[k] - 1)
            if counts[k] > 2:  # two samples are as far from their own mean
                errors[k] = squares.std() * counts[k].sqrt() / (counts[k] - 1)
    return ModeVariances(variances, errors, counts)
