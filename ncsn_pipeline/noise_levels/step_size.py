"""Technique 4: the step size of annealed Langevin dynamics, and the variance with which it ends.

With all data at one point the score of level i is -x / sigma_i².  Entered with v times the variance of the level
above, v (gamma sigma_i)², it is left after T Langevin steps x + alpha_i s + sqrt(2 alpha_i) z of size alpha_i =
eps sigma_i² / sigma_L² with

    s_T² / sigma_i² = p (gamma² v - b) + b,     p = (1 - u)^(2T),     b = 2 / (2 - u),     u = eps / sigma_L²

a weighted mean of gamma² v, where the level starts, and b, where its chain settles.

**One level.**  Technique 4 of Song & Ermon 2020 (NCSNv2) takes v = 1, every level entered with its own variance, and
chooses eps in (0, 2 sigma_L²) so that the ratio is as close to 1 as possible (`step_size_for_variance`).  Both terms
exceed 1, hence so does the ratio: a small step leaves too much of the first, a large one brings too much of the second.

**The whole schedule.**  So no level but the first is entered with its own variance.  The excess is handed on,

    v_0 = 1,     v_i = p (gamma_i² v_{i-1} - b) + b,     gamma_1 = 1     (the start is N(0, sigma_1²))

and v_L sigma_L² is what the last denoising finds (`end_variance_ratio`).  On a long geometric schedule with T = 1 and
the step of technique 4 it is 2 whatever gamma is.  `step_size_for_end_variance` chooses eps for the smallest v_L: a
larger step than technique 4's, 2.6 times larger at T = 1 on the levels of 28 x 28 images.

The scheduler's file, which must work alone where it is loaded as code from the Hub, has a copy of technique 4's search.
"""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ncsn_pipeline.noise_levels.spacing import check_counts, check_noise_levels

__all__ = [
    "end_variance_ratio",
    "step_size_for_end_variance",
    "step_size_for_variance",
    "variance_ratio",
]


def variance_ratio(ratio: float, relative_step: float, steps_per_level: int) -> float:
    """`s_T² / sigma_i²` of a level that is entered with (ratio sigma_i)²: what it ends with over its own variance.

    Source: Song & Ermon 2020 (NCSNv2), technique 4.

    Args:
        ratio: gamma = sigma_{i-1} / sigma_i, positive.
        relative_step: u = eps / sigma_L² = alpha_i / sigma_i², in (0, 2); from 2 on the chain diverges.
        steps_per_level: T, at least 1.

    Raises:
        ValueError: for values out of range.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"ratio must be sigma_(i-1) / sigma_i, finite and positive; got {ratio}.")
    _check_relative_step(relative_step)
    check_counts(steps_per_level=steps_per_level)
    return 1 + excess_left([ratio**2], relative_step, steps_per_level)


def step_size_for_variance(sigmas: Sequence[float] | Tensor, steps_per_level: int) -> tuple[float, float]:
    """The step size epsilon with which a level that is entered with its own variance ends closest to it.

    With all data at one point the score of level i is -x / sigma_i², and T steps with u = epsilon / sigma_L², a = 1 -
    u, bring the variance from the level above, (gamma sigma_i)², gamma = sigma_{i-1} / sigma_i, to s_T²:

        s_T² / sigma_i² = a^(2T) (gamma² - b) + b,        b = 2 u / (1 - a²) = 2 / (2 - u)

    (Song & Ermon 2020, technique 4).  It is a weighted mean of gamma², where the level starts, and b, where its chain
    settles; both exceed 1, hence so does the ratio, and technique 4 chooses the epsilon that makes it least.  It grows
    with gamma, so where the levels are not geometric the one after the widest gap decides.

    Down the levels the excess accumulates, as each is entered with what the one above left over: with T = 1 the
    variance at the end of a long schedule comes to 2 sigma_L², whatever gamma is.  More steps per level, or a larger
    epsilon, bring it down.

    Args:
        sigmas: noise levels, shape `(L,)`, > 0 and strictly decreasing, in data units.  A single level has no gap to
            cross: it is treated as entered from twice its own width (gamma = 2).
        steps_per_level: T, at least 1.

    Returns:
        epsilon, in squared data units and within (0, 2 sigma_L²), and s_T² / sigma_i² at the level after the widest
        gap, entered with the variance of the level above.

    Raises:
        ValueError: for invalid noise levels or an invalid number of steps.
    """
    check_counts(steps_per_level=steps_per_level)
    levels = check_noise_levels(sigmas)
    gamma = float((levels[:-1] / levels[1:]).max()) if len(levels) > 1 else 2.0
    u, least = least_excess([gamma**2], steps_per_level)
    return float(u * levels[-1] ** 2), 1 + least


def end_variance_ratio(sigmas: Sequence[float] | Tensor, relative_step: float, steps_per_level: int) -> float:
    """`v_L`: the noise variance at the end of the whole schedule over sigma_L², for data at one point.

    Args:
        sigmas: the noise levels, shape `(L,)`, positive and strictly decreasing, in data units.
        relative_step: u = eps / sigma_L², in (0, 2); from 2 on the chain diverges.
        steps_per_level: T, at least 1.

    Returns:
        v_L, above 1.

    Raises:
        ValueError: for invalid noise levels or values out of range.
    """
    _check_relative_step(relative_step)
    check_counts(steps_per_level=steps_per_level)
    return float(1 + excess_left(_squares(check_noise_levels(sigmas)), relative_step, steps_per_level))


def step_size_for_end_variance(sigmas: Sequence[float] | Tensor, steps_per_level: int) -> tuple[float, float]:
    """The step size eps with which the whole schedule ends closest to the variance of its last level.

    Args:
        sigmas: the noise levels, shape `(L,)`, positive and strictly decreasing, in data units.  A single level has
            the right variance from the start, so that no step at all would end closest: it gets the eps of
            :func:`step_size_for_variance`, at most sigma² / 2.
        steps_per_level: T, at least 1.

    Returns:
        eps, in squared data units and within (0, 2 sigma_L²), and v_L.

    Raises:
        ValueError: for invalid noise levels or an invalid number of steps.
    """
    check_counts(steps_per_level=steps_per_level)
    levels = check_noise_levels(sigmas)
    if len(levels) == 1:
        variance = float(levels[0] ** 2)
        eps = min(step_size_for_variance(levels, steps_per_level)[0], variance / 2)
        return eps, end_variance_ratio(levels, eps / variance, steps_per_level)
    u, least = least_excess(_squares(levels), steps_per_level)
    return float(u * levels[-1] ** 2), 1 + least


def _squares(levels: np.ndarray) -> list[float]:
    """gamma_i² of every level; the first one is entered with its own variance."""
    return [1.0, *((levels[:-1] / levels[1:]) ** 2).tolist()]


def least_excess(squares: Sequence[float], steps_per_level: int) -> tuple[float, float]:
    """The relative step u with which :func:`excess_left` is least, and that excess.

    A step u and its mirror image 2 - u contract equally and u < 1 has the smaller b: the best one is at most 1.
    """
    low, high = 1e-12, 1.0
    for _ in range(6):  # each pass looks a hundred times closer around the best
        u = np.geomspace(low, high, 401)
        values = excess_left(squares, u, steps_per_level)
        best = int(values.argmin())
        low, high = u[max(best - 1, 0)], u[min(best + 1, len(u) - 1)]
    return float(u[best]), float(values[best])


def excess_left(squares: Sequence[float], u: float | np.ndarray, steps_per_level: int) -> float | np.ndarray:
    """`v - 1` after levels with these gamma², from v = 1 and with relative steps u of any shape; nothing cancels.

    Of the excess over 1 that a level is entered with, p stays and (1 - p)(b - 1) joins it.
    """
    p = (1 - u) ** (2 * steps_per_level)
    excess, joining = 0.0, (1 - p) * u / (2 - u)
    for square in squares:
        excess = p * (square * excess + (square - 1)) + joining
    return excess


def _check_relative_step(relative_step: float) -> None:
    if not 0 < relative_step < 2:
        raise ValueError(
            f"relative_step must be eps / sigma_L² in (0, 2); got {relative_step}. From 2 on the chain diverges."
        )
