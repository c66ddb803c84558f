"""The samplers by name: the package's own, and diffusers' solvers that its pipeline adapts."""

import argparse
import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampler:
    """One way from noise to images.

    Args:
        label: what it is called where there is room.
        scheduler: the class, of this package or of diffusers.
        spacings: for a solver of diffusers, which lays out its own levels: the settings that ask for each spacing.
        least_levels: with which it can lay out its geometric spacing.
    """

    label: str
    scheduler: str
    spacings: dict[str, dict[str, Any]] = field(default_factory=dict)
    least_levels: int = 1

    @property
    def is_solver(self) -> bool:
        """Whether it is a solver of diffusers."""
        return bool(self.spacings)

    @property
    def scheduler_class(self) -> type:
        """The class itself."""
        return getattr(importlib.import_module(self.library), self.scheduler)

    @property
    def library(self) -> str:
        """The module that has the class."""
        return "diffusers" if self.is_solver else "ncsn_pipeline"


KARRAS_OR_EXPONENTIAL = {"karras": {"use_karras_sigmas": True}, "geometric": {"use_exponential_sigmas": True}}
EDM = {"karras": {"sigma_schedule": "karras"}, "geometric": {"sigma_schedule": "exponential"}}

SAMPLERS = {
    "consistent": Sampler("Consistent annealed", "ConsistentAnnealedScheduler"),
    "annealed_langevin": Sampler("Annealed Langevin", "AnnealedLangevinScheduler"),
    "predictor_corrector": Sampler("Predictor-corrector", "PredictorCorrectorScheduler"),
    "heun": Sampler("Heun", "HeunDiscreteScheduler", KARRAS_OR_EXPONENTIAL),
    "euler": Sampler("Euler", "EulerDiscreteScheduler", KARRAS_OR_EXPONENTIAL),
    "edm_euler": Sampler("EDM Euler", "EDMEulerScheduler", EDM, least_levels=2),
    "dpm": Sampler("DPM-Solver++ (2M)", "DPMSolverMultistepScheduler", KARRAS_OR_EXPONENTIAL),
    "edm_dpm": Sampler("EDM DPM-Solver++ (2M)", "EDMDPMSolverMultistepScheduler", EDM, least_levels=2),
    "deis": Sampler("DEIS", "DEISMultistepScheduler", KARRAS_OR_EXPONENTIAL),
    "unipc": Sampler("UniPC", "UniPCMultistepScheduler", KARRAS_OR_EXPONENTIAL),
}
DEFAULT = "default"  # the one that a model is stored with


def canonical_name(text: str) -> str:
    """The name of `SAMPLERS` that is meant, with dashes or underscores, or by the scheduler's class; else the text."""
    of_class = {sampler.scheduler: name for name, sampler in SAMPLERS.items()}
    name = of_class.get(text, text.lower().replace("-", "_"))
    name = "annealed_langevin" if name == "langevin" else name
    return name if name in (*SAMPLERS, DEFAULT) else text


def sampler_name(text: str) -> str:
    """A flag's value as a name of `SAMPLERS`, or `"default"`.

    Raises:
        argparse.ArgumentTypeError: for an unknown one, saying which there are.
    """
    name = canonical_name(text)
    if name not in SAMPLERS and name != DEFAULT:
        raise argparse.ArgumentTypeError(f"unknown sampler {text!r}; there are: {', '.join((DEFAULT, *SAMPLERS))}")
    return name


def sampler_for(scheduler: Any, name: str, sigma_max: float | None = None) -> Any:
    """A new scheduler from the configuration of a model's own, with its noise levels.

    Args:
        scheduler: the model's own.
        name: as :func:`sampler_name` gives it.
        sigma_max: largest noise level of a geometric schedule in place of the stored one, in data units.
    """
    config = dict(scheduler.config)
    if sigma_max is not None:
        config |= {"sigma_max": sigma_max, "sigmas": None}
    if name == DEFAULT:
        return type(scheduler).from_config(config)
    sampler = SAMPLERS[name]
    kind = sampler.scheduler_class
    if sampler.is_solver:
        # Some read the ends of the noise levels from a config that their constructor does not take them for.
        known = {*inspect.signature(kind).parameters, "sigma_min", "sigma_max"}
        config = {key: value for key, value in config.items() if key in known}
        if not name.startswith("edm"):  # those lay their levels out so by themselves
            config |= sampler.spacings["geometric"]
    return kind.from_config(config)
