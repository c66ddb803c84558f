"""Noise levels for a data set: the techniques of NCSNv2 put together, each value with its reason.

    sigma_1   largest distance between two data points            technique 1, :mod:`.distance`
    L         neighbouring levels overlap with probability 0.5    technique 2, :mod:`.overlap`
    eps       each level, entered with its own variance, ends
              closest to it                                       technique 4, :mod:`.step_size`

sigma_L, the noise that may stay in a sample before the last denoising, and T, the steps per level, are choices; the
published ones are 0.01 for data in [0, 1], and 5.  Source: Song & Ermon 2020 (NCSNv2), section 3.
"""

import math
import textwrap
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .distance import largest_pairwise_distance, measured_points, pairwise_distance_quantiles
from .overlap import num_levels_for_overlap, num_levels_for_ratio, overlap_probability, usable_ratio
from .spacing import check_counts, geometric_noise_levels
from .step_size import (
    end_variance_ratio,
    step_size_for_end_variance,
    step_size_for_variance,
)

__all__ = [
    "NoiseLevelSuggestion",
    "largest_pairwise_distance",
    "num_levels_for_overlap",
    "step_size_for_variance",
    "suggest_noise_levels",
]

PUBLISHED_RELATIVE_SIGMA_MIN = 0.01


@dataclass(frozen=True, eq=False)
class NoiseLevelSuggestion:
    """Noise levels and sampler settings for a data set, and why.

    Args:
        num_points: N, the number of data points.
        dimension: D, the number of values of one data point.
        sigma_max_largest: the largest pairwise distance found, in data units.
        sigma_max_robust: the quantile of the pairwise distances, in data units.
        sigma_max: the noise schedule's first level: one of the two above.
        sigma_min: the noise schedule's last level, in data units.
        num_levels: L.
        steps_per_level: T.
        step_size: eps, the step at the last level, in squared data units; `alpha_i = eps sigma_i² / sigma_L²`.
        variance_ratio: s_T² / sigma_i², what a level that is entered with its own variance ends with; above 1.
        end_variance_ratio: v_L, what the whole schedule ends with over sigma_L², by `step_size`; larger than the above.
        end_step_size: the step with the smallest v_L, in the same place as `step_size`.
        least_end_variance_ratio: v_L by `end_step_size`.
        sigmas: the geometric schedule, shape `(L,)`, float32, decreasing.
        reasons: the name of each value above to a sentence that says where it comes from.
    """

    num_points: int
    dimension: int
    sigma_max_largest: float
    sigma_max_robust: float
    sigma_max: float
    sigma_min: float
    num_levels: int
    steps_per_level: int
    step_size: float
    variance_ratio: float
    end_variance_ratio: float
    end_step_size: float
    least_end_variance_ratio: float
    sigmas: Tensor
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def num_evaluations(self) -> int:
        """NFE of annealed Langevin dynamics with these settings: `L T + 1`, the final denoising included."""
        return self.num_levels * self.steps_per_level + 1

    def as_dict(self) -> dict[str, object]:
        """All values and reasons as plain numbers, lists and strings, ready for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"sigmas": self.sigmas.tolist(), "num_evaluations": self.num_evaluations}

    def __str__(self) -> str:
        """A table with a line for each value: its name, the number, the reason."""
        lines = [f"Noise levels for {self.num_points:,} points in {self.dimension:,} dimensions", ""]
        for name, reason in self.reasons.items():
            value = getattr(self, name)
            number = f"{value:,d}" if isinstance(value, int) else f"{value:.4g}"
            start = f"{name:<24} {number:>10}  "
            lines += textwrap.wrap(reason, 118, initial_indent=start, subsequent_indent=" " * len(start))
        return "\n".join(lines)


def suggest_noise_levels(
    data: Tensor,
    *,
    sigma_min: float = 0.01,
    steps_per_level: int = 5,
    overlap: float = 0.5,
    quantile: float = 0.99,
    robust: bool = False,
    generator: torch.Generator | None = None,
) -> NoiseLevelSuggestion:
    """Noise levels, their number and the sampler's step size for a data set, by techniques 1, 2 and 4 of NCSNv2.

    Args:
        data: points of shape `(N, ...)` with N at least 2, in the range that the model works in.
        sigma_min: the last level sigma_L, in data units, below the largest pairwise distance.
        steps_per_level: T, the Langevin steps at each level, at least 1.
        overlap: technique 2's probability, between 0 and 0.9973.
        quantile: of the pairwise distances, in [0, 1], for the robust first level.
        robust: start the noise schedule at that quantile, not at the maximum.
        generator: draws the subset that is measured when there are too many points, or too large ones, for all.

    Returns:
        Every value and the reason for it; `print` it for a table.

    Raises:
        ValueError: for data that are not finite, all equal, or fewer than two; for a `sigma_min` that is not below the
            first level; and for other values out of range.
    """
    check_counts(steps_per_level=steps_per_level)
    if not (math.isfinite(sigma_min) and sigma_min > 0):
        raise ValueError(f"sigma_min must be a finite positive number in data units; got {sigma_min}.")
    exact, quantiled = pairwise_distance_quantiles(data, [1.0, quantile], generator=generator)
    if exact == 0:
        raise ValueError("All data points are equal: there is no distance to bridge and nothing to learn.")
    sigma_max = quantiled if robust else exact
    if sigma_min >= sigma_max:
        raise ValueError(
            f"sigma_min must lie below the first level, {sigma_max:.4g} for these data; got {sigma_min}. "
            f"Published settings use {PUBLISHED_RELATIVE_SIGMA_MIN} of the data's range."
        )
    num_points, dimension = len(data), data[0].numel()
    ratio, fallback = usable_ratio(dimension, overlap)
    # The count by the ratio found above, so that the fall-back is told in words here and not as a warning.
    num_levels = num_levels_for_ratio(ratio, sigma_max, sigma_min)
    sigmas = geometric_noise_levels(sigma_max, sigma_min, num_levels)
    step_size, variance_ratio = step_size_for_variance(sigmas.double(), steps_per_level)
    end_ratio = end_variance_ratio(sigmas.double(), step_size / float(sigmas[-1]) ** 2, steps_per_level)
    end_step_size, least_end_ratio = step_size_for_end_variance(sigmas.double(), steps_per_level)
    gamma = (sigma_max / sigma_min) ** (1 / (num_levels - 1))
    measured = measured_points(dimension)
    counted = f"a random {measured:,} of the {num_points:,} points" if num_points > measured else "all points"
    span = float(data.max()) - float(data.min())
    found = fallback or f"Technique 2: levels a factor of {ratio:.4g} apart overlap with probability {overlap:g}."
    budget = "More steps per level bring it down." if least_end_ratio > 1.25 else "Close enough."
    return NoiseLevelSuggestion(
        num_points=num_points,
        dimension=dimension,
        sigma_max_largest=exact,
        sigma_max_robust=quantiled,
        sigma_max=sigma_max,
        sigma_min=sigma_min,
        num_levels=num_levels,
        steps_per_level=steps_per_level,
        step_size=step_size,
        variance_ratio=variance_ratio,
        end_variance_ratio=end_ratio,
        end_step_size=end_step_size,
        least_end_variance_ratio=least_end_ratio,
        sigmas=sigmas,
        reasons={
            "sigma_max_largest": f"Technique 1: the largest distance between two data points, over {counted}.",
            "sigma_max_robust": f"The {quantile:g} quantile of the same distances, which outliers do not move.",
            "sigma_max": f"The first level: the {'quantile' if robust else 'maximum'}, so that noise carries a "
            "sample from any mode to any other.",
            "sigma_min": f"Chosen: {sigma_min / span:.2g} of the data's range of {span:.4g}; "
            f"published settings use {PUBLISHED_RELATIVE_SIGMA_MIN}.",
            "num_levels": f"{found} Rounded: a factor of {gamma:.4g}, "
            f"overlap {overlap_probability(gamma, dimension):.3f}.",
            "steps_per_level": f"Chosen. A sample costs L T + 1 = {num_levels * steps_per_level + 1:,} evaluations.",
            "step_size": f"Technique 4: {step_size / sigma_min**2:.3g} of sigma_min², the best step for one level "
            "that is entered with its own variance.",
            "variance_ratio": "What such a level ends with over its own variance, for data at one point.",
            "end_variance_ratio": "What the last level ends with by step_size: each level hands its excess on.",
            "end_step_size": f"In place of step_size: {end_step_size / sigma_min**2:.3g} of sigma_min², the best step "
            "for the whole schedule.",
            "least_end_variance_ratio": f"What the last level ends with by end_step_size. {budget}",
        },
    )
