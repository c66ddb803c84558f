"""Technique 1: where the noise schedule starts.

Under the noise level sigma_1 one data point must be reachable from any other, or Langevin dynamics stays with the
points it starts near.  Song & Ermon 2020 (NCSNv2), technique 1: choose

    sigma_1 = max_{i < j} || x_i - x_j ||

The maximum hangs on two outliers; a quantile of the N (N - 1) / 2 distances just below it is the robust variant.  Each
distance costs D multiplications, so of many or large points a random subset is measured (:func:`measured_points`).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

EXACT_UP_TO = 10_000
MOST_PRODUCTS = 40_000_000_000  # 10,000 images of 28x28, 600 of 3x256x256: some seconds
_BINS = 1 << 20
_BLOCK_ELEMENTS = 1 << 23  # 64 MiB of float64
_LEAST_ROWS = 128  # of a block; large points are taken apart by their dimensions


def measured_points(dimension: int) -> int:
    """How many points are measured at most: 10,000, and so few that all pairs cost `MOST_PRODUCTS` multiplications.

    Args:
        dimension: D, the number of values of one point, at least 1.
    """
    # n (n - 1) / 2 pairs of D products each
    return max(2, min(EXACT_UP_TO, math.floor((1 + math.sqrt(1 + 8 * MOST_PRODUCTS / dimension)) / 2)))


def largest_pairwise_distance(
    data: Tensor, *, quantile: float = 1.0, generator: torch.Generator | None = None, max_points: int | None = None
) -> float:
    """The largest Euclidean distance `max_{i < j} || x_i - x_j ||` between data points, or a quantile of all of them.

    Source: Song & Ermon 2020 (NCSNv2), technique 1.

    Args:
        data: points of shape `(N, ...)` with N at least 2, any real dtype, in data units.
        quantile: in [0, 1]; 1 is the maximum, 0.99 a robust variant.  Interpolated linearly between neighbours.
        generator: draws the subset when there are more than `max_points`; `None` is a generator seeded with 0.
        max_points: up to so many points the distances of all pairs are looked at; beyond, those of a random subset of
            this size, whose maximum is at most the true one.  At least 2; by default :func:`measured_points`.

    Returns:
        The distance in data units.  The maximum is exact (float64); any other quantile is exact to one millionth of
        the data's diameter.

    Raises:
        ValueError: for fewer than two points, points that are not finite, or a quantile or `max_points` out of range.
    """
    return pairwise_distance_quantiles(data, [quantile], generator=generator, max_points=max_points)[0]


def pairwise_distance_quantiles(
    data: Tensor,
    quantiles: Sequence[float],
    *,
    generator: torch.Generator | None = None,
    max_points: int | None = None,
) -> list[float]:
    """Several quantiles of the pairwise distances in one pass; see :func:`largest_pairwise_distance`.

    Distances are computed block by block and counted in a histogram of 2^20 bins, so memory does not grow with the
    number of pairs: a few blocks of 64 MiB, or of 128 large points, beside the data.
    """
    for quantile in quantiles:
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile must lie in [0, 1]; got {quantile}.")
    if max_points is not None and max_points < 2:
        raise ValueError(f"max_points must be at least 2; got {max_points}.")
    points = _points(data, max_points, generator)
    rows = max(_LEAST_ROWS, min(1024, _BLOCK_ELEMENTS // points.shape[1]))
    mean = sum(block.double().sum(dim=0) for block in points.split(rows)) / len(points)
    # Every distance is at most twice the largest distance from the mean.
    diameter = 2 * max((block.double() - mean).norm(dim=1).max().item() for block in points.split(rows))
    if diameter == 0:
        return [0.0] * len(quantiles)
    per_bin = diameter / (_BINS - 1)
    counts = torch.zeros(_BINS, dtype=torch.int64, device=points.device)
    largest = 0.0
    for distances in _distance_blocks(points, mean, rows):
        largest = max(largest, distances.max().item())
        counts += torch.bincount((distances / per_bin).long().clamp_(max=_BINS - 1), minlength=_BINS)
    return [largest if q == 1 else min(largest, _histogram_quantile(counts, per_bin, q)) for q in quantiles]


def _points(data: Tensor, max_points: int | None, generator: torch.Generator | None) -> Tensor:
    """Checks the data and returns at most `max_points` of them as `(n, D)`, in their own dtype."""
    if data.ndim == 0 or len(data) < 2:
        raise ValueError(f"data must hold at least two points, shape (N, ...); got shape {tuple(data.shape)}.")
    if data[0].numel() == 0:
        raise ValueError(f"data points must have at least one dimension; got shape {tuple(data.shape)}.")
    if data.is_complex():
        raise ValueError(f"data must be real; got {data.dtype}.")
    max_points = max_points or measured_points(data[0].numel())
    if len(data) > max_points:
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        chosen = torch.randperm(len(data), generator=generator, device=generator.device)[:max_points]
        data = data[chosen.to(data.device)]
    points = data.detach().reshape(len(data), -1)
    if points.is_floating_point() and not points.isfinite().all():
        raise ValueError("data must be finite; it holds NaN or infinity.")
    return points


def _distance_blocks(points: Tensor, mean: Tensor, rows: int) -> Iterator[Tensor]:
    """The distances of every pair once, in float64, a flat tensor for each pair of blocks."""
    blocks = points.split(rows)
    for i, x in enumerate(blocks):
        for j in range(i, len(blocks)):
            squared = _squared_distances(x, blocks[j], mean)
            if j == i:
                upper = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
                squared = squared[upper[0], upper[1]]
            if squared.numel():
                yield squared.flatten().clamp_(min=0).sqrt_()


def _squared_distances(x: Tensor, y: Tensor, mean: Tensor) -> Tensor:
    """|| x - y ||² = || x ||² + || y ||² - 2 x.y of every pair; `mean` goes off first, so that little cancels.

    A matrix product for each group of dimensions, in float64.
    """
    group = max(1, _BLOCK_ELEMENTS // max(len(x), len(y)))
    total: Tensor | None = None
    for a, b, centre in zip(x.split(group, 1), y.split(group, 1), mean.split(group), strict=True):
        a, b = a.double() - centre, b.double() - centre
        squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
        total = squared if total is None else total.add_(squared)
    return total


def _histogram_quantile(counts: Tensor, per_bin: float, quantile: float) -> float:
    """The quantile, linear between the two neighbouring order statistics, each the middle of its bin."""
    cumulative = counts.cumsum(0)
    rank = quantile * (int(cumulative[-1]) - 1)
    below = math.floor(rank)
    ranks = torch.tensor([below, min(below + 1, int(cumulative[-1]) - 1)], device=counts.device)
    low, high = ((torch.searchsorted(cumulative, ranks, right=True) + 0.5) * per_bin).tolist()
    return low + (rank - below) * (high - low)
