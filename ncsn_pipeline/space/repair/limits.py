"""What a visitor may ask of the Repair tab; parallel to `check_generate`, with the same checks and the same budget."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncsn_pipeline import geometric_noise_levels

from ..runs.budget import check_budget
from ..runs.limits import GUIDANCE, LEVELS, SEED, SettingsError, check_choice, check_class, check_number, check_whole

TASKS = ("inpaint", "edit")
REPAIR_SAMPLERS = ("consistent", "langevin")
STEPS_PER_LEVEL = (1, 20)
COMPLETIONS = (1, 16)
START_SIGMA = (0.05, 5.0)


@dataclass(frozen=True)
class RepairSettings:
    """Checked settings of one run of the Repair tab.

    Args:
        task: `"inpaint"` paints what is marked, `"edit"` everything, from the image with noise.
        sampler: one of `REPAIR_SAMPLERS`.
        num_levels: L.
        steps_per_level: how often each step is taken; for Langevin dynamics, its steps at each level.
        start_sigma: the noise that an edit starts with, in data units; `None` for inpainting.
        class_label: `"none"` where it is not known, or the number of a class as a string.
        guidance_scale: w; 1 means no guidance.
        num_images: completions.
        seed: of the random generator.
        sigmas: the ladder, of an edit from `start_sigma` down.
    """

    task: str
    sampler: str
    num_levels: int
    steps_per_level: int
    start_sigma: float | None
    class_label: str
    guidance_scale: float
    num_images: int
    seed: int
    sigmas: tuple[float, ...]

    @property
    def evaluations(self) -> int:
        """Number of network evaluations; the last step, which denoises, is taken once."""
        if self.sampler == "langevin":
            return self.num_levels * self.steps_per_level + 1
        return (self.num_levels - 1) * (self.steps_per_level if self.task == "inpaint" else 1) + 1

    @property
    def images_per_evaluation(self) -> int:
        """Images that the network sees at once: each twice with guidance."""
        return self.num_images * (1 if self.guidance_scale == 1 else 2)


def check_repair(
    task: Any,
    sampler: Any,
    num_levels: Any,
    steps_per_level: Any,
    start_sigma: Any,
    class_label: Any,
    guidance_scale: Any,
    num_images: Any,
    seed: Any,
    *,
    num_classes: int | None,
    trained_range: tuple[float, float],
) -> RepairSettings:
    """Checks the inputs of the Repair tab, for a model with `num_classes` classes (`None`: it has none).

    Raises:
        SettingsError: for the first input that is not valid, or a run that costs more than the budget.
    """
    task = check_choice("Task", task, TASKS)
    sampler = check_choice("Sampler", sampler, REPAIR_SAMPLERS)
    num_levels = check_whole("Number of levels", num_levels, max(2, LEVELS[0]), LEVELS[1])
    steps_per_level = check_whole("Steps per level", steps_per_level, *STEPS_PER_LEVEL)
    start_sigma = check_number("Noise to start from", start_sigma, *START_SIGMA)
    labels = [str(label) for label in range(num_classes or 0)]
    class_label = check_class(class_label, ("none", *labels))
    guidance_scale = check_number("Guidance", guidance_scale, *GUIDANCE)
    low, high = trained_range
    if task == "edit":
        if not low < start_sigma <= high:
            raise SettingsError(
                f"Noise to start from must be above {low:g} and at most {high:g}, the levels that the network knows; "
                f"got {start_sigma:g}."
            )
        high = start_sigma
    settings = RepairSettings(
        task=task,
        sampler=sampler,
        num_levels=num_levels,
        steps_per_level=steps_per_level,
        start_sigma=start_sigma if task == "edit" else None,
        class_label=class_label,
        guidance_scale=guidance_scale if class_label != "none" else 1.0,
        num_images=check_whole("Number of results", num_images, *COMPLETIONS),
        seed=check_whole("Seed", seed, *SEED),
        sigmas=tuple(geometric_noise_levels(high, low, num_levels).tolist()),
    )
    # An edit by the consistent sampler takes each step once.
    repeated = {"steps_per_level": "steps per level"} if task == "inpaint" or sampler == "langevin" else {}
    check_budget(settings, {"num_levels": "levels"} | repeated)
    return settings


def check_canvas(text: Any, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Reads what was painted: JSON `{"image": rows, "mask": rows}`, rows of a model's own pixels.

    Args:
        text: the JSON; an image's pixels are bytes, or lists of them for a colour model, a mask's are 0 or 1.
        shape: the model's `(C, H, W)`.

    Returns:
        Bytes `(H, W, C)` and booleans `(H, W)`, true where the image is marked.

    Raises:
        SettingsError: for anything else.
    """
    channels, height, width = shape
    pixel = "a whole number from 0 to 255" if channels == 1 else f"a list of {channels} whole numbers from 0 to 255"
    valid = (
        f'The canvas must be JSON, {{"image": rows, "mask": rows}}, with {height} rows of {width} pixels each: in the '
        f"image {pixel}, in the mask 0 or 1"
    )
    if not isinstance(text, str) or len(text) > 1000 + 20 * (channels + 1) * height * width:
        raise SettingsError(f"{valid}.")
    try:
        value = json.loads(text)
        image, mask = (np.asarray(value[name]) for name in ("image", "mask"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SettingsError(f"{valid}; this cannot be read.") from None
    expected = (height, width) if channels == 1 else (height, width, channels)
    for name, pixels, allowed, most in (("image", image, expected, 255), ("mask", mask, (height, width), 1)):
        if pixels.shape != allowed:
            raise SettingsError(f"{valid}; the {name} has shape {pixels.shape}, not {allowed}.")
        if pixels.dtype.kind != "i" or pixels.min() < 0 or pixels.max() > most:
            raise SettingsError(f"{valid}; the {name} holds other values.")
    return image.reshape(height, width, channels).astype(np.uint8), mask.astype(bool)
