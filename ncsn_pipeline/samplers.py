"""The samplers by the names that commands take: the package's own, and diffusers' solvers that its pipeline adapts."""

import argparse
import importlib
import inspect
from typing import Any

OWN = {
    "consistent": "ConsistentAnnealedScheduler",
    "annealed_langevin": "AnnealedLangevinScheduler",
    "predictor_corrector": "PredictorCorrectorScheduler",
}
SOLVERS = {
    "heun": "HeunDiscreteScheduler",
    "euler": "EulerDiscreteScheduler",
    "edm_euler": "EDMEulerScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "edm_dpm": "EDMDPMSolverMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
SAMPLERS = OWN | SOLVERS
DEFAULT = "default"  # the one that a model is stored with


def sampler_name(text: str) -> str:
    """A flag's value as a name of `SAMPLERS`, or `"default"`: with dashes or underscores, or the scheduler's class.

    Raises:
        argparse.ArgumentTypeError: for an unknown one, saying which there are.
    """
    of_class = {scheduler: name for name, scheduler in SAMPLERS.items()}
    name = of_class.get(text, text.lower().replace("-", "_"))
    name = "annealed_langevin" if name == "langevin" else name
    if name not in SAMPLERS and name != DEFAULT:
        raise argparse.ArgumentTypeError(f"unknown sampler {text!r}; there are: {', '.join((DEFAULT, *SAMPLERS))}")
    return name


def sampler_for(scheduler: Any, name: str, sigma_max: float | None = None, **settings: Any) -> Any:
    """A new scheduler from the configuration of a model's own, with its noise levels.

    Args:
        scheduler: the model's own.
        name: as :func:`sampler_name` gives it.
        sigma_max: largest noise level of a geometric schedule in place of the stored one, in data units.
        **settings: of the sampler, in place of those in the configuration.

    Raises:
        ValueError: for a setting that this sampler does not have.
    """
    config = dict(scheduler.config)
    if sigma_max is not None:
        config |= {"sigma_max": sigma_max, "sigmas": None}
    library = "diffusers" if name in SOLVERS else "ncsn_pipeline.sampling"
    kind = type(scheduler) if name == DEFAULT else getattr(importlib.import_module(library), SAMPLERS[name])
    if unknown := sorted(settings.keys() - inspect.signature(kind).parameters):
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}. Leave it out.")
    if name in SOLVERS:
        # Some read the ends of the noise levels from a config that their constructor does not take them for.
        known = {*inspect.signature(kind).parameters, "sigma_min", "sigma_max"}
        config = {key: value for key, value in config.items() if key in known}
        if not name.startswith("edm"):  # those lay their levels out so by themselves
            config["use_exponential_sigmas"] = True
    return kind.from_config(config, **settings)
