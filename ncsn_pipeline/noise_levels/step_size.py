"""Technique 4: the step size of annealed Langevin dynamics.

With all data at one point the score of level i is -x / sigma_i².  T Langevin steps x + alpha_i s + sqrt(2 alpha_i) z of
size alpha_i = eps sigma_i² / sigma_L² bring the variance from the level above, (gamma sigma_i)², to s_T²:

    s_T² / sigma_i² = a^(2T) (gamma² - b) + b,      a = 1 - u,   b = 2 u / (1 - a²) = 2 / (2 - u),   u = eps / sigma_L²

Technique 4 of Song & Ermon 2020 (NCSNv2): choose eps in (0, 2 sigma_L²) so that the ratio is as close to 1 as possible.
It is a weighted mean of gamma², where the level starts, and b, where its chain settles; both exceed 1, hence so does
the ratio.  A small step leaves too much of the first, a large one brings too much of the second.

The search for it, `step_size_for_variance`, stands in the scheduler's file, which must work alone where it is loaded as
code from the Hub.
"""

import math
from numbers import Integral

from ncsn_pipeline.sampling.scheduling_annealed_langevin import step_size_for_variance

__all__ = ["check_steps_per_level", "step_size_for_variance", "variance_ratio"]


def variance_ratio(ratio: float, relative_step: float, steps_per_level: int) -> float:
    """`s_T² / sigma_i² = a^(2T) (gamma² - b) + b`: how much of the wanted variance a level ends with.

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
    if not 0 < relative_step < 2:
        raise ValueError(
            f"relative_step must be eps / sigma_L² in (0, 2); got {relative_step}. From 2 on the chain diverges."
        )
    check_steps_per_level(steps_per_level)
    # As a^(2T) (gamma² - 1) + (1 - a^(2T)) (b - 1) + 1: sums of small terms, so nothing cancels.
    power = (1 - relative_step) ** (2 * steps_per_level)
    return 1 + power * (ratio**2 - 1) + (1 - power) * relative_step / (2 - relative_step)


def check_steps_per_level(steps_per_level: int) -> None:
    """Raises `ValueError` unless T is an integer of at least 1."""
    if not isinstance(steps_per_level, Integral) or isinstance(steps_per_level, bool) or steps_per_level < 1:
        raise ValueError(f"steps_per_level must be an integer of at least 1; got {steps_per_level}.")
