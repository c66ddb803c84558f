"""Section 4 of the lecture, following the score: from noise down to a sample, and back up to a likelihood.

scheduling_annealed    every sampler, each a table of rows, as schedulers of diffusers
follow                 the loop that follows a score by such a table
langevin               Langevin dynamics step by step, plain and annealed
metropolis             the same with steps accepted or rejected, which leaves the density invariant
inpainting             known values kept on the way, and steps that are taken again
denoiser_error         how far denoised samples are from the truth, at each noise level
posterior              start, noise, steps and end of a run that is given a measurement
particles              weighed particles given a measurement, right however rough the guidance
likelihood             the log density, by the probability-flow ODE
"""

from ncsn_pipeline.sampling.denoiser_error import DenoiserError, measured_denoiser_error, probed_denoiser_error
from ncsn_pipeline.sampling.follow import State, follow, last_sample
from ncsn_pipeline.sampling.langevin import (
    LangevinState,
    annealed_langevin_dynamics,
    langevin_dynamics,
    langevin_step,
)
from ncsn_pipeline.sampling.likelihood import Likelihood, log_likelihood
from ncsn_pipeline.sampling.metropolis import metropolis_adjusted_annealed_langevin
from ncsn_pipeline.sampling.particles import TwistedSteps
from ncsn_pipeline.sampling.posterior import posterior_start, projected, with_v_noise
from ncsn_pipeline.sampling.scheduling_annealed import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    PredictorCorrectorScheduler,
    Row,
    Table,
)

__all__ = [
    "AnnealedLangevinScheduler",
    "ConsistentAnnealedScheduler",
    "DenoiserError",
    "LangevinState",
    "Likelihood",
    "PredictorCorrectorScheduler",
    "Row",
    "State",
    "Table",
    "TwistedSteps",
    "annealed_langevin_dynamics",
    "follow",
    "langevin_dynamics",
    "langevin_step",
    "last_sample",
    "log_likelihood",
    "measured_denoiser_error",
    "metropolis_adjusted_annealed_langevin",
    "posterior_start",
    "probed_denoiser_error",
    "projected",
    "with_v_noise",
]
