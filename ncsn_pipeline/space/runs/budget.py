"""What a run of the network may cost, and the nearest that is allowed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from .limits import BUDGET, SettingsError


class Settings(Protocol):
    """Checked settings of a run of the network."""

    num_images: int

    @property
    def evaluations(self) -> int:
        """Number of network evaluations."""

    @property
    def images_per_evaluation(self) -> int:
        """Images that the network sees at once."""


def check_budget(settings: Settings, counts: Mapping[str, str]) -> None:
    """Refuses a run that costs more than `BUDGET` network evaluations times images.

    Args:
        settings: a dataclass.
        counts: what of it can be lowered beside the images, and what that is called.

    Raises:
        SettingsError: with every setting that alone brings the run down to the budget; for one image if need be.
    """
    cost = settings.evaluations * settings.images_per_evaluation
    if cost <= BUDGET:
        return
    times = " × 2 for guidance" if settings.images_per_evaluation > settings.num_images else ""
    advice = _advice(settings, counts)
    if not advice:
        advice = ["one image and " + " or ".join(_advice(replace(settings, num_images=1), counts))]
    raise SettingsError(
        f"{settings.evaluations:,} evaluations × {settings.num_images} images{times} = {cost:,}, "
        f"and a run may cost {BUDGET:,}. The nearest allowed: {' or '.join(advice)}."
    )


def _advice(settings: Settings, counts: Mapping[str, str]) -> list[str]:
    largest = {name: _largest(settings, name) for name in ("num_images", *counts)}
    words = {"num_images": "image(s)", **counts}
    return [f"at most {value} {words[name]}" for name, value in largest.items() if value >= 1]


def _largest(settings: Settings, name: str) -> int:
    """The largest value of a count below its own with which a run is within the budget, or 0."""
    for value in range(getattr(settings, name) - 1, 0, -1):
        lowered = replace(settings, **{name: value})
        if lowered.evaluations * lowered.images_per_evaluation <= BUDGET:
            return value
    return 0
