"""§4 Following the score: from noise at the largest sigma down to a sample.  One scheduler a file."""

from ncsn_pipeline.sampling.langevin import langevin_step
from ncsn_pipeline.sampling.scheduling_annealed_langevin import AnnealedLangevinScheduler
from ncsn_pipeline.sampling.scheduling_consistent_annealed import ConsistentAnnealedScheduler

__all__ = ["AnnealedLangevinScheduler", "ConsistentAnnealedScheduler", "langevin_step"]
