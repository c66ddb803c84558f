"""The settings of one run of the Repair tab: its controls and its canvas, checked, and their cost."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..runs.budget import check_budget
from ..runs.controls import Facts, checked, lowerable, settings_class, settled
from ..runs.limits import SettingsError
from .controls import CONTROLS
from .measuring import MEASUREMENTS


class _Costs:
    @property
    def evaluations(self) -> int:
        """Number of network evaluations; the last step, which denoises, is taken once.

        Given a measurement, each level and the start take one and a backward pass, which counts as one.
        """
        if self.task in MEASUREMENTS:
            return 2 * (self.num_levels + 1)
        if self.sampler == "annealed_langevin":
            return self.num_levels * self.steps_per_level + 1
        return (self.num_levels - 1) * self.steps_per_level + 1

    @property
    def images_per_evaluation(self) -> int:
        """Images that the network sees at once: each twice with guidance."""
        return self.num_images * (1 if self.guidance_scale == 1 else 2)


RepairSettings = settings_class("RepairSettings", CONTROLS, _Costs)


def check_repair(given: Mapping[str, Any], model: Facts) -> RepairSettings:
    """Checks the values of all controls, by name.

    Raises:
        SettingsError: for the first that is not valid, or a run that costs more than the budget.
    """
    values = checked(CONTROLS, given, model)
    low, high = model.trained_range
    if values.task == "edit" and not low < values.start_sigma <= high:
        raise SettingsError(
            f"Noise to start from must be above {low:g} and at most {high:g}, the levels that the network knows; "
            f"got {values.start_sigma:g}."
        )
    if values.task in MEASUREMENTS and values.num_images == 1:
        raise SettingsError("Number of results must be at least 2 for this task: one does not show where they differ.")
    settings = RepairSettings(**settled(CONTROLS, values, model))
    check_budget(settings, lowerable(CONTROLS, settings, model))
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
