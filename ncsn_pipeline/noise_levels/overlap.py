"""Technique 2: how many levels the noise schedule needs.

In D dimensions the norm of a point of N(0, sigma² I) is close to N(sqrt(D) sigma, sigma² / 2): a thin shell.  A chain
that comes from level sigma_{i-1} = gamma sigma_i finds level i only if the two shells overlap.  By this normal
approximation, the probability that a point of level i lies within three standard deviations of the shell of level i - 1
is (Song & Ermon 2020, technique 2)

    C(gamma) = Phi(sqrt(2D) (gamma - 1) + 3 gamma) - Phi(sqrt(2D) (gamma - 1) - 3 gamma)

with Phi the standard normal distribution function; it is 0.997 at gamma = 1.  Norms are chi distributed: where C is
0.5, the probability is 0.443 in 11 dimensions, 0.476 in 64, 0.493 in 784.  The ratio that makes C 0.5 gives

    L = 1 + ln(sigma_1 / sigma_L) / ln(gamma)

For D <= 4 three deviations cover everything and no ratio makes C small; just above, the root is uselessly wide (19 at
D = 5).  There, and wherever the root exceeds 3, gamma = 2 stands in.
"""

import math
import warnings

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from .spacing import check_counts

FALLBACK_RATIO = 2.0
LARGEST_RATIO = 3.0


def overlap_probability(ratio: float, dimension: int) -> float:
    """`C(gamma) = Phi(sqrt(2D) (gamma - 1) + 3 gamma) - Phi(sqrt(2D) (gamma - 1) - 3 gamma)`.

    Source: Song & Ermon 2020 (NCSNv2), technique 2.

    Args:
        ratio: gamma = sigma_{i-1} / sigma_i, at least 1.
        dimension: D, the number of values of one data point, at least 1.

    Returns:
        The probability that a point of the narrower level lies within three deviations of the wider one's shell, by
        the normal approximation of norms: too large by 0.06 in 11 dimensions, by 0.007 in 784, where it is 0.5.

    Raises:
        ValueError: for a ratio below 1 or not finite, or a dimension below 1.
    """
    if not 1 <= ratio < math.inf:
        raise ValueError(f"ratio must be sigma_(i-1) / sigma_i, at least 1 and finite; got {ratio}.")
    check_counts(dimension=dimension)
    root = math.sqrt(2 * dimension)
    # Phi(a) - Phi(b) = Phi(-b) - Phi(-a), on the side where small probabilities are not lost beside 1.
    return float(ndtr(3 * ratio - root * (ratio - 1)) - ndtr(-3 * ratio - root * (ratio - 1)))


def ratio_for_overlap(dimension: int, overlap: float = 0.5) -> float | None:
    """The ratio gamma of neighbouring levels with `C(gamma) = overlap`, or `None` for D <= 4, where there is none.

    Source: Song & Ermon 2020 (NCSNv2), technique 2.  At an overlap of 0.5 it is sqrt(2D) / (sqrt(2D) - 3) up to a
    relative error of 1e-6 for D >= 8.

    Args:
        dimension: D, the number of values of one data point, at least 1.
        overlap: the wanted probability, between 0 and `C(1) = 0.9973`; 0.5 in the paper.

    Raises:
        ValueError: for a dimension below 1 or an overlap out of range.
    """
    check_counts(dimension=dimension)
    at_one = overlap_probability(1.0, 1)
    if not 0 < overlap < at_one:
        raise ValueError(
            f"overlap must lie between 0 and {at_one:.4f}, the overlap of a level with itself; got {overlap}."
        )
    root = math.sqrt(2 * dimension)
    if root <= 3:  # C grows with gamma
        return None
    # At this end the upper tail alone is one deviation past the wanted quantile.
    end = max(1.0, (root - ndtri(overlap) + 1) / (root - 3))
    return float(brentq(lambda gamma: overlap_probability(gamma, dimension) - overlap, 1.0, end, xtol=1e-14))


def num_levels_for_overlap(dimension: int, sigma_max: float, sigma_min: float, overlap: float = 0.5) -> int:
    """`L = 1 + ln(sigma_max / sigma_min) / ln(gamma)` rounded to the nearest, gamma from :func:`ratio_for_overlap`.

    Source: Song & Ermon 2020 (NCSNv2), technique 2.  For CIFAR-10 (D = 3072, 50 -> 0.01)
    it gives 219 levels; the authors use 232.

    Args:
        dimension: D, the number of values of one data point, at least 1.
        sigma_max: the first level sigma_1, in data units, finite and positive.
        sigma_min: the last level sigma_L, in data units, positive, at most `sigma_max`.
        overlap: the wanted probability, between 0 and 0.9973; 0.5 in the paper.

    Returns:
        The number of levels: 1 if the two ends are equal, else at least 2.

    Raises:
        ValueError: for values out of range.

    Warns:
        UserWarning: where the equation has no root (D <= 4) or one above 3, and gamma = 2 is used in its place.
    """
    ratio, fallback = usable_ratio(dimension, overlap)
    num_levels = num_levels_for_ratio(ratio, sigma_max, sigma_min)
    if fallback:
        warnings.warn(fallback, UserWarning, stacklevel=2)
    return num_levels


def num_levels_for_ratio(ratio: float, sigma_max: float, sigma_min: float) -> int:
    """`L = 1 + ln(sigma_max / sigma_min) / ln(ratio)` rounded to the nearest: 1 for equal ends, else at least 2."""
    for name, sigma in (("sigma_max", sigma_max), ("sigma_min", sigma_min)):
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"{name} must be a finite positive number in data units; got {sigma}.")
    if sigma_min > sigma_max:
        raise ValueError(f"sigma_min must not exceed sigma_max; got sigma_min={sigma_min}, sigma_max={sigma_max}.")
    if sigma_min == sigma_max:
        return 1
    steps = (math.log(sigma_max) - math.log(sigma_min)) / math.log(ratio)
    return 1 + max(1, math.floor(steps + 0.5))


def usable_ratio(dimension: int, overlap: float = 0.5) -> tuple[float, str]:
    """The ratio to build a noise schedule with, and why it is not the equation's root (empty if it is)."""
    root = ratio_for_overlap(dimension, overlap)
    if root is not None and root <= LARGEST_RATIO:
        return root, ""
    found = "has no solution" if root is None else f"gives the ratio {root:.3g}, wider than {LARGEST_RATIO:g},"
    return FALLBACK_RATIO, (
        f"Technique 2 {found} in {dimension} dimension(s): "
        f"noise levels a factor of gamma = {FALLBACK_RATIO:g} apart are used instead."
    )
