"""How far two sets of samples are apart, without knowing either density.

    sliced Wasserstein   SW_p^p = E_v W_p^p(v . x, v . y), v uniform on the unit sphere; in one dimension W_p^p is the
                         mean of | F_x^-1(u) - F_y^-1(u) |^p over u, which needs only sorting (Rabin et al. 2012)
    MMD²                 E k(x, x') + E k(y, y') - 2 E k(x, y) with k(x, y) = exp(-|| x - y ||² / (2 h²)), without the
                         diagonals, hence unbiased (Gretton et al. 2012, eq. 3); it can come out below zero.

With n and m samples of *one* density MMD² has the mean 0 and, k~ being the centred kernel, the variance

    2 E k~(x, x')² (1 / (n (n - 1)) + 1 / (m (m - 1)) + 2 / (n m)),

where E k~² has an unbiased estimate over the N = n + m pooled samples: the U-centred one (Székely & Rizzo 2014).
"""

import math
from dataclasses import dataclass

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

_MEDIAN_OF = 2_000
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class MaximumMeanDiscrepancy:
    """The squared maximum mean discrepancy of two sets of samples.

    Attributes:
        value: the unbiased estimate of MMD², without unit.
        null_standard_deviation: its standard deviation if both sets came from one density; its mean is then 0.
        bandwidth: h of the kernel, in data units.
    """

    value: float
    null_standard_deviation: float
    bandwidth: float


def sliced_wasserstein(
    x: Tensor, y: Tensor, *, num_projections: int = 128, p: int = 1, generator: torch.Generator | None = None
) -> float:
    """The sliced Wasserstein distance between two sets of samples, exact for them but for the finite number of slices.

    Two sets of one density are not at 0: two sets of n points of a Gaussian are, by sampling alone, on average
    1.8 of its deviations / sqrt(n) apart (p = 1; 1.76 for n = 100, 1.82 in the limit).

    Args:
        x: samples, shape `(n, *D)`, finite, in data units.
        y: samples, shape `(m, *D)`; m need not be n.
        num_projections: directions to average over, at least 1.
        p: 1 or 2.
        generator: draws the directions.

    Returns:
        SW_p, in data units.

    Raises:
        ValueError: for shapes that do not fit, samples that are not finite, or another p or number of projections.
    """
    if p not in (1, 2) or num_projections < 1:
        raise ValueError(f"p must be 1 or 2 and num_projections at least 1; got {p} and {num_projections}.")
    x, y = _flat_pair(x, y, at_least=1)
    shape = (num_projections, x.shape[1])
    directions = randn_tensor(shape, generator=generator, device=x.device, dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    x, y = (x @ directions.T).sort(dim=0).values, (y @ directions.T).sort(dim=0).values
    # Both quantile functions are steps; u = q / (n m) runs over where either jumps, in whole numbers.
    n, m = len(x), len(y)
    q = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique().to(x.device)
    width = q.diff(prepend=q.new_zeros(1)).double() / (n * m)
    difference = (x[(q - 1) // m] - y[(q - 1) // n]).abs()
    return (width @ difference.pow(p)).mean().item() ** (1 / p)


def maximum_mean_discrepancy(x: Tensor, y: Tensor, *, bandwidth: float | None = None) -> MaximumMeanDiscrepancy:
    """MMD² with a Gaussian kernel, unbiased, beside what it would scatter by if there were no difference.

    The kernel matrix is made in blocks: time grows with (n + m)², memory with n + m.

    Args:
        x: samples, shape `(n, *D)`, n at least 2, finite, in data units.
        y: samples, shape `(m, *D)`, m at least 2.
        bandwidth: h, finite and > 0, in data units; `None` for the median distance among (up to 2,000, evenly taken)
            pooled samples (Gretton et al. 2012, section 8).

    Raises:
        ValueError: for shapes that do not fit, samples that are not finite, a bandwidth that is not positive, or a
            median distance of 0.
    """
    x, y = _flat_pair(x, y, at_least=2)
    pooled = torch.cat([x, y])
    pooled = pooled - pooled.mean(0)
    n, m, total = len(x), len(y), len(pooled)
    if bandwidth is None:
        bandwidth = torch.pdist(pooled[:: math.ceil(total / _MEDIAN_OF)]).median().item()
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(
            f"the bandwidth must be finite and > 0; got {bandwidth}. A median of 0 means that most samples are equal: "
            "give a bandwidth."
        )
    to_x, to_y, squares = [], [], 0.0  # sums of each row of the kernel matrix, its diagonal left out
    rows = max(1, _BLOCK_ELEMENTS // total)
    for start in range(0, total, rows):
        block = pooled[start : start + rows]
        kernel = torch.cdist(block, pooled).square_().div_(-2 * bandwidth**2).exp_()
        kernel[torch.arange(len(block)), torch.arange(start, start + len(block))] = 0
        to_x.append(kernel[:, :n].sum(1))
        to_y.append(kernel[:, n:].sum(1))
        squares += kernel.square().sum().item()
    to_x, to_y = torch.cat(to_x), torch.cat(to_y)
    value = to_x[:n].sum() / (n * (n - 1)) + to_y[n:].sum() / (m * (m - 1)) - 2 * to_y[:n].sum() / (n * m)
    row = to_x + to_y
    # The sum of squares of the U-centred matrix, multiplied out.
    centred = squares - 2 * row.square().sum() / (total - 2) + row.sum() ** 2 / ((total - 1) * (total - 2))
    per_pair = max(centred.item(), 0.0) / (total * (total - 3))
    variance = 2 * per_pair * (1 / (n * (n - 1)) + 1 / (m * (m - 1)) + 2 / (n * m))
    return MaximumMeanDiscrepancy(value.item(), math.sqrt(variance), bandwidth)


def _flat_pair(x: Tensor, y: Tensor, at_least: int) -> tuple[Tensor, Tensor]:
    """Both sets checked, as `(n, D)` and `(m, D)` in float64."""
    if x.ndim < 2 or x.shape[1:] != y.shape[1:] or x[:1].numel() == 0 or min(len(x), len(y)) < at_least:
        raise ValueError(
            f"x and y must have shapes (n, *D) and (m, *D) with at least {at_least} samples each; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    x, y = (samples.detach().reshape(len(samples), -1).double() for samples in (x, y))
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("x and y must be finite; one holds NaN or infinity.")
    return x, y.to(x.device)
