"""What may be asked of the Generate tab: its settings, checked, and their cost.

The cost is twice the product of evaluations and images with guidance, which evaluates every image with and without its
class.
"""

from dataclasses import dataclass
from typing import Any

from ..runs.budget import check_budget
from ..runs.limits import (
    GUIDANCE,
    IMAGES,
    LEVELS,
    SEED,
    SettingsError,
    check_choice,
    check_class,
    check_number,
    check_whole,
)
from ..runs.samplers import SAMPLERS

LADDERS = ("geometric", "uniform", "karras")
STEP_MODES = ("automatic", "fraction")

SIGMA_MAX = (0.1, 50.0)
SIGMA_MIN = (0.005, 1.0)
STEPS_PER_LEVEL = (1, 100)
STEP_FRACTION = (0.001, 2.0)


@dataclass(frozen=True)
class GenerateSettings:
    """Checked settings of one run of the Generate tab.

    Args:
        sampler: a key of `SAMPLERS`.
        ladder: `"geometric"`, `"uniform"` or `"karras"`; diffusers' solvers have no uniform one.
        sigma_max: first level, in data units.
        sigma_min: last level; equal to `sigma_max` where there is one level.
        num_levels: L.
        steps_per_level: Langevin steps T at each level; 1 for the other samplers.
        step_fraction: the step size as a fraction of its limit 2 sigma_L²; `None` for technique 4's.
        class_label: `"drawn"`, `"each"`, `"none"`, or the number of a class as a string.
        guidance_scale: w; 1 means no guidance.
        num_images: number of images.
        seed: of the random generator.
    """

    sampler: str
    ladder: str
    sigma_max: float
    sigma_min: float
    num_levels: int
    steps_per_level: int
    step_fraction: float | None
    class_label: str
    guidance_scale: float
    num_images: int
    seed: int

    @property
    def evaluations(self) -> int:
        """Number of network evaluations: two per step of some samplers, a denoising after Langevin steps."""
        if SAMPLERS[self.sampler].twice_per_step:
            return 2 * self.num_levels - 1
        return self.num_levels * self.steps_per_level + (self.sampler == "langevin")

    @property
    def images_per_evaluation(self) -> int:
        """Images that the network sees at once: each twice with guidance."""
        return self.num_images * (1 if self.guidance_scale == 1 else 2)


def check_generate(
    sampler: Any,
    ladder: Any,
    sigma_max: Any,
    sigma_min: Any,
    num_levels: Any,
    steps_per_level: Any,
    step_mode: Any,
    step_fraction: Any,
    class_label: Any,
    guidance_scale: Any,
    num_images: Any,
    seed: Any,
    *,
    num_classes: int | None,
) -> GenerateSettings:
    """Checks the inputs of the Generate tab, for a model with `num_classes` classes (`None`: it has none).

    Raises:
        SettingsError: for the first input that is not valid, or a run that costs more than the budget.
    """
    sampler = check_choice("Sampler", sampler, tuple(SAMPLERS))
    ladder = check_choice("Ladder", ladder, LADDERS)
    sigma_max = check_number("σ max", sigma_max, *SIGMA_MAX)
    sigma_min = check_number("σ min", sigma_min, *SIGMA_MIN)
    num_levels = check_whole("Number of levels", num_levels, *LEVELS)
    steps_per_level = check_whole("Steps per level", steps_per_level, *STEPS_PER_LEVEL)
    step_mode = check_choice("Step size", step_mode, STEP_MODES)
    step_fraction = check_number("Step size as a fraction of its limit", step_fraction, *STEP_FRACTION)
    labels = [str(label) for label in range(num_classes or 0)]
    class_label = check_class(class_label, ("drawn", "each", "none", *labels) if labels else ("drawn", "none"))
    guidance_scale = check_number("Guidance", guidance_scale, *GUIDANCE)
    num_images = check_whole("Number of images", num_images, *IMAGES)
    seed = check_whole("Seed", seed, *SEED)

    solver = SAMPLERS[sampler].is_solver
    if solver and ladder not in SAMPLERS[sampler].ladders:
        raise SettingsError(
            f"{SAMPLERS[sampler].label} has no {ladder} spacing of its levels. "
            f"Choose {' or '.join(SAMPLERS[sampler].ladders)}."
        )
    if sigma_min >= sigma_max and (solver or num_levels > 1):
        raise SettingsError(
            f"σ min ({sigma_min:g}) must be below σ max ({sigma_max:g}) where there are {num_levels} levels. "
            "Lower σ min, raise σ max, or ask for one level."
            if num_levels > 1
            else f"σ min ({sigma_min:g}) must be below σ max ({sigma_max:g}). Lower σ min, or raise σ max."
        )
    if ladder == "geometric" and num_levels < SAMPLERS[sampler].least_levels:
        raise SettingsError(f"{SAMPLERS[sampler].label} needs at least 2 levels of geometric spacing. Ask for 2.")
    langevin = sampler == "langevin"
    settings = GenerateSettings(
        sampler=sampler,
        ladder=ladder,
        sigma_max=sigma_max,
        sigma_min=sigma_min if solver or num_levels > 1 else sigma_max,
        num_levels=num_levels,
        steps_per_level=steps_per_level if langevin else 1,
        step_fraction=step_fraction if langevin and step_mode == "fraction" else None,
        class_label=class_label,
        guidance_scale=guidance_scale if labels and class_label != "none" else 1.0,
        num_images=num_images,
        seed=seed,
    )
    lowered = {"num_levels": "levels"} | ({"steps_per_level": "steps per level"} if langevin else {})
    check_budget(settings, lowered)
    return settings
