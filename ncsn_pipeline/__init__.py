"""Score-based generative models with many noise levels, sampled by annealed Langevin dynamics.

A score is a function `(x, sigma) -> score`, the gradient of the log density of the data noised by sigma.  Everything
here makes one, learns one, or follows one.  Read it in this order:

    noise_levels   which sigmas, and the loss that trains a network on all of them
    networks       the score network
    sampling       annealed Langevin dynamics and its relatives, as schedulers
    pipelines      images from noise
    data           images to learn from
"""

from ncsn_pipeline.networks import ScoreUNet, as_score_function
from ncsn_pipeline.noise_levels import (
    LadderSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    NoiseLevelSuggestion,
    diagnose_noise_levels,
    edm_weight,
    geometric_ladder,
    karras_ladder,
    largest_pairwise_distance,
    multi_level_denoising_score_matching,
    num_levels_for_overlap,
    sigma_squared_weight,
    step_size_for_variance,
    suggest_noise_levels,
    uniform_ladder,
)
from ncsn_pipeline.pipelines import NCSNPipeline
from ncsn_pipeline.sampling import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, langevin_step

__version__ = "0.1.0"

__all__ = [
    "AnnealedLangevinScheduler",
    "ConsistentAnnealedScheduler",
    "LadderSigmas",
    "LogNormalSigmas",
    "LogUniformSigmas",
    "MixtureSigmas",
    "NCSNPipeline",
    "NoiseLevelSuggestion",
    "ScoreUNet",
    "as_score_function",
    "diagnose_noise_levels",
    "edm_weight",
    "geometric_ladder",
    "karras_ladder",
    "langevin_step",
    "largest_pairwise_distance",
    "multi_level_denoising_score_matching",
    "num_levels_for_overlap",
    "sigma_squared_weight",
    "step_size_for_variance",
    "suggest_noise_levels",
    "uniform_ladder",
]
