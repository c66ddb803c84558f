"""The settings of one run of the Generate tab: its controls, checked together, and their cost.

The cost is twice the product of evaluations and images with guidance, which evaluates every image with and without its
class.
"""

from collections.abc import Mapping
from typing import Any

from ...samplers import SAMPLERS
from ..runs.budget import check_budget
from ..runs.controls import Facts, Values, checked, lowerable, settings_class, settled
from ..runs.limits import SettingsError
from .controls import CONTROLS


class _Costs:
    @property
    def evaluations(self) -> int:
        """Number of network evaluations: Heun's are two per step, all but the last."""
        if self.sampler == "heun":
            return 2 * self.num_levels - 1
        if self.sampler == "predictor_corrector":  # a denoising ends it
            return (self.num_levels - 1) * (1 + self.corrector_steps) + 1
        return self.num_levels * self.steps_per_level + (self.sampler == "annealed_langevin")

    @property
    def starts_at_mean(self) -> bool:
        """Whether one evaluation more finds the mean, around which samplers without noise start."""
        flow = self.sampler == "consistent" and self.noise_back == "ode" and self.num_levels > 1
        return flow or SAMPLERS[self.sampler].is_solver

    @property
    def images_per_evaluation(self) -> int:
        """Images that the network sees at once: each twice with guidance."""
        return self.num_images * (1 if self.guidance_scale == 1 else 2)


GenerateSettings = settings_class("GenerateSettings", CONTROLS, _Costs)


def check_generate(given: Mapping[str, Any], model: Facts) -> GenerateSettings:
    """Checks the values of all controls, by name.

    Raises:
        SettingsError: for the first that is not valid, or a run that costs more than the budget.
    """
    values = checked(CONTROLS, given, model)
    settings = settled(CONTROLS, values, model)
    if not model.few_levels:
        _check_levels(values)
    if values.num_levels == 1 and not SAMPLERS[values.sampler].is_solver:
        settings["sigma_min"] = values.sigma_max
    settings = GenerateSettings(**settings)
    check_budget(settings, lowerable(CONTROLS, settings, model))
    return settings


def _check_levels(values: Values) -> None:
    sampler, levels = SAMPLERS[values.sampler], values.num_levels
    if sampler.is_solver and values.ladder not in sampler.spacings:
        raise SettingsError(
            f"{sampler.label} has no {values.ladder} spacing of its levels. Choose {' or '.join(sampler.spacings)}."
        )
    if values.sigma_min >= values.sigma_max and (sampler.is_solver or levels > 1):
        ends = f"σ min ({values.sigma_min:g}) must be below σ max ({values.sigma_max:g})"
        raise SettingsError(
            f"{ends} where there are {levels} levels. Lower σ min, raise σ max, or ask for one level."
            if levels > 1
            else f"{ends}. Lower σ min, or raise σ max."
        )
    if values.ladder == "geometric" and levels < sampler.least_levels:
        raise SettingsError(f"{sampler.label} needs at least 2 levels of geometric spacing. Ask for 2.")
