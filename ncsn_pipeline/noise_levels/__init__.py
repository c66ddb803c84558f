"""Section 3 of the lecture, many noise levels: where they stand, how many, and what the sampler does at each.

Read :mod:`.spacing` first, then the techniques of NCSNv2 one by one (:mod:`.distance`, :mod:`.overlap`,
:mod:`.step_size`), how :mod:`.suggest` puts them together for a data set, and what :mod:`.diagnose` finds wrong with
settings from elsewhere.
"""

from .diagnose import diagnose_noise_levels
from .distance import largest_pairwise_distance
from .loss import (
    NoisyScoreFn,
    edm_weight,
    multi_level_denoising_score_matching,
    sigma_squared_weight,
)
from .overlap import num_levels_for_overlap, overlap_probability
from .sigma_distributions import (
    DiscreteSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    SigmaDistribution,
)
from .sliced_loss import multi_level_sliced_score_matching
from .spacing import geometric_noise_levels, karras_noise_levels, uniform_noise_levels
from .step_size import end_variance_ratio, step_size_for_end_variance, step_size_for_variance, variance_ratio
from .suggest import NoiseLevelSuggestion, suggest_noise_levels

__all__ = [
    "DiscreteSigmas",
    "LogNormalSigmas",
    "LogUniformSigmas",
    "MixtureSigmas",
    "NoisyScoreFn",
    "SigmaDistribution",
    "edm_weight",
    "multi_level_denoising_score_matching",
    "multi_level_sliced_score_matching",
    "sigma_squared_weight",
    "NoiseLevelSuggestion",
    "diagnose_noise_levels",
    "end_variance_ratio",
    "geometric_noise_levels",
    "karras_noise_levels",
    "largest_pairwise_distance",
    "num_levels_for_overlap",
    "overlap_probability",
    "step_size_for_end_variance",
    "step_size_for_variance",
    "suggest_noise_levels",
    "uniform_noise_levels",
    "variance_ratio",
]
