"""The samplers that the page offers: those of the package, and diffusers' solvers that its pipeline adapts."""

from dataclasses import dataclass, field
from typing import Any

import diffusers
from diffusers import SchedulerMixin

import ncsn_pipeline

KARRAS_OR_EXPONENTIAL = {"karras": {"use_karras_sigmas": True}, "geometric": {"use_exponential_sigmas": True}}
EDM = {"karras": {"sigma_schedule": "karras"}, "geometric": {"sigma_schedule": "exponential"}}


@dataclass(frozen=True)
class Sampler:
    """One way from noise to images.

    Args:
        label: its name on the page.
        scheduler: the class, of this package or of diffusers.
        ladders: for a solver of diffusers, which lays out its own levels: the settings that ask for each ladder.
        twice_per_step: whether every step but the last evaluates the network twice.
        least_levels: with which it can lay out its geometric ladder.
    """

    label: str
    scheduler: str
    ladders: dict[str, dict[str, Any]] = field(default_factory=dict)
    twice_per_step: bool = False
    least_levels: int = 1

    @property
    def is_solver(self) -> bool:
        """Whether it is a solver of diffusers."""
        return bool(self.ladders)

    @property
    def scheduler_class(self) -> type[SchedulerMixin]:
        """The class itself."""
        return getattr(diffusers if self.is_solver else ncsn_pipeline, self.scheduler)


SAMPLERS = {
    "consistent": Sampler("Consistent annealed", "ConsistentAnnealedScheduler"),
    "langevin": Sampler("Annealed Langevin", "AnnealedLangevinScheduler"),
    "predictor-corrector": Sampler("Predictor-corrector", "PredictorCorrectorScheduler", twice_per_step=True),
    "heun": Sampler("Heun", "HeunDiscreteScheduler", KARRAS_OR_EXPONENTIAL, twice_per_step=True),
    "euler": Sampler("Euler", "EulerDiscreteScheduler", KARRAS_OR_EXPONENTIAL),
    "edm-euler": Sampler("EDM Euler", "EDMEulerScheduler", EDM, least_levels=2),
    "dpm": Sampler("DPM-Solver++ (2M)", "DPMSolverMultistepScheduler", KARRAS_OR_EXPONENTIAL),
    "edm-dpm": Sampler("EDM DPM-Solver++ (2M)", "EDMDPMSolverMultistepScheduler", EDM, least_levels=2),
    "deis": Sampler("DEIS", "DEISMultistepScheduler", KARRAS_OR_EXPONENTIAL),
    "unipc": Sampler("UniPC", "UniPCMultistepScheduler", KARRAS_OR_EXPONENTIAL),
}
