"""What a visitor may ask for: every input is checked here, once, on the server.

A browser's sliders keep honest visitors within bounds; the named endpoints take anything.  A check gives back a checked
value or raises `SettingsError` with a sentence for the visitor: what was given, what is valid, what to do.

The cost of a run is its number of network evaluations times its number of images (twice that with guidance, which
evaluates every image with and without its class), and has one budget.
"""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

SAMPLERS = ("consistent", "langevin")
LADDERS = ("geometric", "uniform", "karras")
STEP_MODES = ("automatic", "fraction")

SIGMA_MAX = (0.1, 50.0)
SIGMA_MIN = (0.005, 1.0)
LEVELS = (1, 200)
STEPS_PER_LEVEL = (1, 100)
STEP_FRACTION = (0.001, 2.0)
GUIDANCE = (0.0, 8.0)
IMAGES = (1, 64)
SEED = (0, 2**31 - 1)

BUDGET = 40_000  # evaluations x images: about a minute on two slow cores
DEADLINE_SECONDS = 120.0


class SettingsError(ValueError):
    """A setting that this page refuses; its message is meant for the visitor."""


@dataclass(frozen=True)
class GenerateSettings:
    """Checked settings of one run of the Generate tab.

    Args:
        sampler: `"consistent"` or `"langevin"`.
        ladder: `"geometric"`, `"uniform"` or `"karras"`.
        sigma_max: first level, in data units.
        sigma_min: last level; equal to `sigma_max` where there is one level.
        num_levels: L.
        steps_per_level: Langevin steps T at each level; 1 for consistent sampling.
        step_fraction: the step size as a fraction of its limit 2 sigma_L²; `None` for technique 4's.
        digit: `"drawn"`, `"each"`, `"none"`, or the number of a class as a string.
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
    digit: str
    guidance_scale: float
    num_images: int
    seed: int

    @property
    def evaluations(self) -> int:
        """Number of network evaluations; annealed Langevin dynamics needs one more, for the denoising."""
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
    digit: Any,
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
    sampler = check_choice("Sampler", sampler, SAMPLERS)
    ladder = check_choice("Ladder", ladder, LADDERS)
    sigma_max = check_number("σ max", sigma_max, *SIGMA_MAX)
    sigma_min = check_number("σ min", sigma_min, *SIGMA_MIN)
    num_levels = check_whole("Number of levels", num_levels, *LEVELS)
    steps_per_level = check_whole("Steps per level", steps_per_level, *STEPS_PER_LEVEL)
    step_mode = check_choice("Step size", step_mode, STEP_MODES)
    step_fraction = check_number("Step size as a fraction of its limit", step_fraction, *STEP_FRACTION)
    digits = [str(label) for label in range(num_classes or 0)]
    digit = check_choice("Digit", digit, ("drawn", "each", "none", *digits) if digits else ("drawn", "none"))
    guidance_scale = check_number("Guidance", guidance_scale, *GUIDANCE)
    num_images = check_whole("Number of images", num_images, *IMAGES)
    seed = check_whole("Seed", seed, *SEED)

    if num_levels > 1 and sigma_min >= sigma_max:
        raise SettingsError(
            f"σ min ({sigma_min:g}) must be below σ max ({sigma_max:g}) where there are {num_levels} levels. "
            "Lower σ min, raise σ max, or ask for one level."
        )
    langevin = sampler == "langevin"
    settings = GenerateSettings(
        sampler=sampler,
        ladder=ladder,
        sigma_max=sigma_max,
        sigma_min=sigma_min if num_levels > 1 else sigma_max,
        num_levels=num_levels,
        steps_per_level=steps_per_level if langevin else 1,
        step_fraction=step_fraction if langevin and step_mode == "fraction" else None,
        digit=digit,
        guidance_scale=guidance_scale if digits and digit != "none" else 1.0,
        num_images=num_images,
        seed=seed,
    )
    _check_cost(settings)
    return settings


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float within [low, high].

    Raises:
        SettingsError: for anything else; `True` is not a number, and neither is NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} must be a number from {low:,.10g} to {high:,.10g}; got {_shown(value)}.")
    if not low <= value <= high:  # false for NaN too
        nearest = f" The nearest allowed value is {low if value < low else high:,.10g}." if math.isfinite(value) else ""
        raise SettingsError(f"{name} must lie between {low:,.10g} and {high:,.10g}; got {value:g}.{nearest}")
    return float(value)


def check_whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as a whole number within [low, high]; 5.0 is one.

    Raises:
        SettingsError: for anything else.
    """
    number = check_number(name, value, low, high)
    if number != int(number):
        raise SettingsError(f"{name} must be a whole number; got {number:g}. {round(number)} is the nearest.")
    return int(number)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value` where it is one of `choices`.

    Raises:
        SettingsError: for anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}; got {_shown(value)}.")
    return value


def _check_cost(settings: GenerateSettings) -> None:
    cost = settings.evaluations * settings.images_per_evaluation
    if cost <= BUDGET:
        return
    per_image = settings.evaluations * settings.images_per_evaluation // settings.num_images
    if per_image <= BUDGET:
        advice = f"Ask for at most {BUDGET // per_image} image(s), or fewer evaluations."
    else:
        steps = (BUDGET * settings.num_images // settings.images_per_evaluation - 1) // settings.num_levels
        advice = f"Ask for one image and at most {steps} steps per level."
    guided = " × 2 for guidance" if settings.images_per_evaluation > settings.num_images else ""
    raise SettingsError(
        f"{settings.evaluations:,} evaluations × {settings.num_images} images{guided} = {cost:,}, "
        f"and a run may cost {BUDGET:,}. {advice}"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 40 else f"{text[:37]}..."
