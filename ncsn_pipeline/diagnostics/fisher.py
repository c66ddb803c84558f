"""How far a score is from the true one: everywhere, and by where the points lie.

A score model s is judged by the Fisher divergence to the true score s* (Hyvärinen 2005, eq. 2), or by the same relative
to that of the zero score,

    F = 1/2 E_p || s(x) - s*(x) ||²,        F / F_0 = E_p || s(x) - s*(x) ||² / E_p || s*(x) ||²,

of which the second has no unit: 0 is perfect and 1 is what the zero score reaches.  The expectation hides *where* the
error is, so the squared error of each point can be averaged over bins of anything: of the density, of the distance
from the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BinnedMean:
    """Means over bins, all tensors in float64 but the counts; bin `i` goes from `edges[i]` to `edges[i + 1]`.

    Attributes:
        edges: shape `(bins + 1,)`, in units of what was binned by, not decreasing.
        mean: shape `(bins,)`; NaN in an empty bin.
        standard_error: of each mean, shape `(bins,)`; NaN in a bin of fewer than two values.
        count: how many values fell into each bin, shape `(bins,)`.
    """

    edges: Tensor
    mean: Tensor
    standard_error: Tensor
    count: Tensor

    @property
    def centres(self) -> Tensor:
        """The middle of each bin, shape `(bins,)`."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def squared_error(score: Tensor, true_score: Tensor) -> Tensor:
    """`|| s - s* ||²` of every sample, summed over dimensions, in 1 / squared data units.

    Args:
        score: s, shape `(B, *D)`.
        true_score: s*, the same shape.

    Returns:
        Shape `(B,)`.

    Raises:
        ValueError: for shapes that differ, or no samples.
    """
    if score.shape != true_score.shape or score.numel() == 0:
        raise ValueError(
            "score and true_score must have one shape (B, *D) with at least one sample; "
            f"got {tuple(score.shape)} and {tuple(true_score.shape)}."
        )
    return (score - true_score).square().reshape(len(score), -1).sum(1)


def relative_fisher_divergence(score: Tensor, true_score: Tensor) -> float:
    """The Fisher divergence over that of the zero score, `E || s - s* ||² / E || s* ||²`, by samples of both scores.

    Args:
        score: s, shape `(B, *D)`, at samples of the density to judge by.
        true_score: s*, the same shape, not zero everywhere.

    Returns:
        At least 0: 0 for the true score, 1 for the zero score.

    Raises:
        ValueError: for shapes that differ, no samples, or a true score that is zero everywhere.
    """
    error = squared_error(score.double(), true_score.double()).mean().item()
    norm = squared_error(true_score.double(), torch.zeros_like(true_score, dtype=torch.float64)).mean().item()
    if norm == 0:
        raise ValueError("true_score is zero at every sample, so nothing is relative to it; use squared_error.")
    return error / norm


def binned_mean(
    values: Tensor, by: Tensor, *, num_bins: int | None = None, edges: Sequence[float] | Tensor | None = None
) -> BinnedMean:
    """The mean of `values` in bins of `by`.

    Args:
        values: one number a sample, finite, shape `(B,)`.
        by: what decides the bin, shape `(B,)`, not NaN.
        num_bins: so many bins of equally many samples (quantiles), from 1 to B; equal values are shared out in the
            order in which they come.
        edges: or the bins themselves, increasing, shape `(bins + 1,)`.  A bin holds its lower edge, the last one its
            upper edge too; samples outside are left out, as `count` shows.

    Raises:
        ValueError: for shapes that differ, values out of range, or not exactly one of `num_bins` and `edges`.
    """
    if values.ndim != 1 or values.shape != by.shape or len(values) == 0:
        raise ValueError(
            f"values and by must have one shape (B,), B at least 1; got {tuple(values.shape)} and {tuple(by.shape)}."
        )
    if not values.isfinite().all() or by.isnan().any():
        raise ValueError("values must be finite and by must not be NaN; got some that are. Leave those samples out.")
    if (num_bins is None) == (edges is None):
        raise ValueError(f"give exactly one of num_bins and edges; got num_bins={num_bins}, edges={edges}.")
    values, by = values.detach().double(), by.detach().double()
    if num_bins is None:
        limits = torch.as_tensor(edges, dtype=torch.float64, device=by.device)
        if limits.ndim != 1 or len(limits) < 2 or not (limits[1:] > limits[:-1]).all():
            raise ValueError(f"edges must be at least two increasing numbers; got {limits.tolist()}.")
        inside = (by >= limits[0]) & (by <= limits[-1])
        values = values[inside]
        bins = (torch.bucketize(by[inside], limits, right=True) - 1).clamp_(max=len(limits) - 2)
    else:
        if not 1 <= num_bins <= len(by):
            raise ValueError(f"num_bins must lie between 1 and the {len(by)} samples; got {num_bins}.")
        by, order = by.sort(stable=True)
        values = values[order]
        bins = torch.arange(len(by), device=by.device) * num_bins // len(by)
        first = torch.searchsorted(bins, torch.arange(num_bins, device=by.device))
        limits = torch.cat([by[first], by[-1:]])
    count = torch.bincount(bins, minlength=len(limits) - 1)
    mean = torch.bincount(bins, values, minlength=len(count)) / count
    squares = torch.bincount(bins, (values - mean[bins]).square(), minlength=len(count))
    return BinnedMean(limits, mean, (squares / (count - 1) / count).sqrt(), count)


def error_by_density_quantile(error: Tensor, log_prob: Tensor, num_bins: int = 10) -> BinnedMean:
    """The mean error from the lowest density (first bin) to the highest (last), in bins of equally many points.

    Args:
        error: of each point, as `squared_error` gives it, shape `(B,)`.
        log_prob: log density of each point, shape `(B,)`; minus infinity is fine.
        num_bins: 10 for deciles.

    Raises:
        ValueError: see :func:`binned_mean`.
    """
    return binned_mean(error, log_prob, num_bins=num_bins)


def error_by_distance(error: Tensor, distance: Tensor, edges: Sequence[float] | Tensor) -> BinnedMean:
    """The mean error in bins of the distance from the data.

    Args:
        error: of each point, as `squared_error` gives it, shape `(B,)`.
        distance: of each point, shape `(B,)`, in data units.
        edges: of the bins, increasing, in data units; points beyond are left out.

    Raises:
        ValueError: see :func:`binned_mean`.
    """
    return binned_mean(error, distance, edges=edges)
