"""Section 4 of the lecture, following the score: from noise down to a sample, and back up to a likelihood.

scheduling_annealed    every sampler, each a table of rows, as schedulers of diffusers
follow                 the loop that follows a score by such a table
langevin               Langevin dynamics step by step, plain and annealed
metropolis             the same with steps accepted or rejected, which leaves the density invariant
likelihood             the log density, by the probability-flow ODE
"""

from ncsn_pipeline.sampling.follow import State, follow
from ncsn_pipeline.sampling.langevin import (
    LangevinState,
    annealed_langevin_dynamics,
    langevin_dynamics,
    langevin_step,
    last_sample,
)
from ncsn_pipeline.sampling.likelihood import Likelihood, log_likelihood
from ncsn_pipeline.sampling.metropolis import metropolis_adjusted_annealed_langevin
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
    "LangevinState",
    "Likelihood",
    "PredictorCorrectorScheduler",
    "Row",
    "State",
    "Table",
    "annealed_langevin_dynamics",
    "last_sample",
    "follow",
    "langevin_dynamics",
    "langevin_step",
    "log_likelihood",
    "metropolis_adjusted_annealed_langevin",
]
