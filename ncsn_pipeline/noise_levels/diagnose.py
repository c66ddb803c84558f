"""What is wrong with a noise schedule and its sampler settings, in sentences that say what to do.

The checks are those of NCSNv2 (Song & Ermon 2020), for annealed Langevin dynamics in D dimensions:

    sigma_1 >= extent of the data                                  technique 1: every mode within reach of every other
    C(sigma_{i-1} / sigma_i) >= 0.5 for every i                    technique 2: each level finds the next
    0 < eps < 2 sigma_L²                                           technique 4: the chain does not diverge
    v_L <= 1.5                                                     the last level ends with its own variance

Technique 4 judges one level that is entered with its own variance.  Here the last level's v_L is judged, which holds
what every level before it left over (:mod:`.step_size`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .overlap import num_levels_for_ratio, overlap_probability, ratio_for_overlap, usable_ratio
from .spacing import check_counts
from .step_size import end_variance_ratio, step_size_for_end_variance

WORST_END_VARIANCE_RATIO = 1.5


def diagnose_noise_levels(
    sigmas: Tensor | Sequence[float],
    steps_per_level: int,
    step_size: float,
    dimension: int,
    *,
    data_extent: float | None = None,
    overlap: float = 0.5,
) -> list[str]:
    """What is wrong with noise levels, a sentence a fault; empty if nothing is.

    Args:
        sigmas: the noise schedule, shape `(L,)`, in data units.
        steps_per_level: T.
        step_size: eps, the step at the last level, in squared data units.
        dimension: D, the number of values of one data point, at least 1.
        data_extent: the largest distance between two data points, in data units; `None` leaves sigma_1 unchecked.
        overlap: the least overlap of neighbouring levels, between 0 and 0.9973.

    Returns:
        Sentences that name the fault and what to do.  Levels that are not a schedule (empty, NaN, not positive, not
        decreasing) gets that fault alone, since nothing else can be told about it.

    Raises:
        ValueError: for a dimension, an overlap or a data extent out of range.
    """
    ratio, _ = usable_ratio(dimension, overlap)
    if data_extent is not None and not (math.isfinite(data_extent) and data_extent > 0):
        raise ValueError(f"data_extent must be a finite positive distance in data units or None; got {data_extent}.")
    levels = torch.as_tensor(sigmas, dtype=torch.float64).detach().cpu()
    broken = _not_levels(levels)
    if broken:
        return [broken]
    faults = []
    if data_extent is not None and levels[0] < data_extent * (1 - 1e-6):
        faults.append(
            f"The first level {float(levels[0]):.4g} is below the data's extent {data_extent:.4g}: "
            f"samples cannot cross from one end of the data to the other. Start the schedule at {data_extent:.4g}."
        )
    faults += _gaps(levels, dimension, ratio, overlap)
    return faults + _steps(levels, steps_per_level, step_size)


def _not_levels(levels: Tensor) -> str:
    if levels.ndim != 1 or len(levels) == 0:
        return f"A noise schedule is a list of at least one noise level; this has shape {tuple(levels.shape)}."
    for fault, where in (("is not finite", ~levels.isfinite()), ("is not positive", levels <= 0)):
        if where.any():
            i = int(where.nonzero()[0])
            return (
                f"Level {i + 1} of {len(levels)} {fault} ({float(levels[i])}): "
                "every noise level must be a finite positive number."
            )
    rises = levels.diff() >= 0
    if rises.any():
        i = int(rises.nonzero()[0])
        return (
            f"The levels do not decrease: level {i + 1} is {float(levels[i]):.6g} "
            f"and level {i + 2} is {float(levels[i + 1]):.6g}. Sort them from large to small and remove duplicates."
        )
    return ""


def _gaps(levels: Tensor, dimension: int, ratio: float, overlap: float) -> list[str]:
    if len(levels) < 2:
        return []
    gaps = levels[:-1] / levels[1:]
    # Rounding L to a whole number may widen every gap by half a step spread over the noise schedule.
    widest_allowed = ratio ** (1 + 0.5 / len(gaps)) * (1 + 1e-5)
    too_wide = gaps > widest_allowed
    if not too_wide.any():
        return []
    i = int(gaps.argmax())
    if ratio_for_overlap(dimension, overlap) == ratio:
        actual = overlap_probability(float(gaps[i]), dimension)
        measure = f"overlap with probability {actual:.2g} only, where {overlap:g} is wanted"
    else:
        measure = f"are a factor of {float(gaps[i]):.3g} apart, where {ratio:g} is wanted"
    needed = num_levels_for_ratio(ratio, float(levels[0]), float(levels[-1]))
    return [
        f"{int(too_wide.sum())} of {len(gaps)} gaps are too wide: levels {i + 1} and {i + 2} "
        f"({float(levels[i]):.4g} and {float(levels[i + 1]):.4g}) {measure}. "
        f"Use {needed} geometric levels, a factor of {ratio:.4g} apart."
    ]


def _steps(levels: Tensor, steps_per_level: int, step_size: float) -> list[str]:
    try:
        check_counts(steps_per_level=steps_per_level)
    except ValueError as error:
        return [str(error)]
    best, best_ratio = step_size_for_end_variance(levels, steps_per_level)
    variance = float(levels[-1]) ** 2
    if not (math.isfinite(step_size) and step_size > 0):
        return [f"The step size must be a finite positive number; it is {step_size}. Use {best:.2g}."]
    if step_size >= 2 * variance:
        return [
            f"The step size {step_size:.2g} is not below 2 sigma_L² = {2 * variance:.2g}: Langevin dynamics diverges. "
            f"Use {best:.2g}."
        ]
    if best_ratio > WORST_END_VARIANCE_RATIO:
        return [
            f"{steps_per_level} step(s) per level are too few: even the best step size {best:.2g} ends with "
            f"{best_ratio:.2f} times the variance sigma_L² of the last level. Use more steps per level or more levels."
        ]
    actual = end_variance_ratio(levels, step_size / variance, steps_per_level)
    if actual > WORST_END_VARIANCE_RATIO:
        size = "small" if step_size < best else "large"
        return [
            f"The step size {step_size:.2g} is too {size}: the last level ends with {actual:.3g} times its variance "
            f"sigma_L². Use {best:.2g}, which gives {best_ratio:.3g}."
        ]
    return []
