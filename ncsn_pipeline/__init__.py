"""Score-based generative models with many noise levels, sampled by annealed Langevin dynamics.

A score is a function `(x, sigma) -> score`, the gradient of the log density of the data noised by sigma.  Everything
here makes one, learns one, or follows one.  Read it in this order:

    densities        scores that are known exactly
    score_matching   how a score is learned from samples
    noise_levels     which sigmas, and the loss that trains a network on all of them
    networks         score networks, for images and for points
    sampling         annealed Langevin dynamics and its relatives, as schedulers and step by step; likelihoods
    pipelines        images from noise
    data             images to learn from
    convert          checkpoints of the authors' code, as pipelines: `python -m ncsn_pipeline.convert`
    hub              model cards, and the push to the Hub: `python -m ncsn_pipeline.hub`
    diagnostics      how good a score, a chain or a set of samples is; `diagnostics.plots` draws
    lecture          the claims of a lecture on all this, as experiments: `python -m ncsn_pipeline.lecture`
"""

from ncsn_pipeline.convert import convert_checkpoint
from ncsn_pipeline.densities import (
    CellDensity,
    CurveDensity,
    Density,
    EmpiricalDensity,
    GaussianMixture,
    NoisyScoreFn,
    ScoreFn,
    checkerboard,
    exact_score_function,
    from_image,
    ring,
    spiral,
    swiss_roll,
    two_moons,
)
from ncsn_pipeline.diagnostics import (
    autocorrelation_time,
    circulation,
    effective_sample_size,
    error_by_density_quantile,
    error_by_distance,
    jacobian_asymmetry,
    level_statistics,
    maximum_mean_discrepancy,
    mode_variances,
    mode_weights,
    pca_spectrum,
    relative_circulation,
    relative_fisher_divergence,
    sliced_wasserstein,
)
from ncsn_pipeline.hub import PushError, push_command, push_folder, push_space, write_card
from ncsn_pipeline.networks import (
    DDPMScoreModel,
    EnergyModel,
    NCSNModel,
    NCSNv2Model,
    ScoreEnsemble,
    ScoreMLP,
    ScoreUNet,
    as_score_function,
)
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
    multi_level_sliced_score_matching,
    num_levels_for_overlap,
    sigma_squared_weight,
    step_size_for_variance,
    suggest_noise_levels,
    uniform_ladder,
)
from ncsn_pipeline.pipelines import NCSNInpaintPipeline, NCSNPipeline
from ncsn_pipeline.sampling import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    LangevinState,
    Likelihood,
    annealed_langevin_dynamics,
    langevin_dynamics,
    langevin_step,
    log_likelihood,
    metropolis_adjusted_annealed_langevin,
)
from ncsn_pipeline.score_matching import (
    denoise,
    denoising_score_matching,
    explicit_score_matching,
    finite_difference_score_matching,
    implicit_score_matching,
    sliced_score_matching,
)

__version__ = "0.1.0"

__all__ = [
    "AnnealedLangevinScheduler",
    "CellDensity",
    "ConsistentAnnealedScheduler",
    "CurveDensity",
    "DDPMScoreModel",
    "Density",
    "EmpiricalDensity",
    "EnergyModel",
    "GaussianMixture",
    "LadderSigmas",
    "LangevinState",
    "Likelihood",
    "LogNormalSigmas",
    "LogUniformSigmas",
    "MixtureSigmas",
    "NCSNModel",
    "NCSNPipeline",
    "NCSNInpaintPipeline",
    "NCSNv2Model",
    "NoiseLevelSuggestion",
    "NoisyScoreFn",
    "PushError",
    "ScoreEnsemble",
    "ScoreFn",
    "ScoreMLP",
    "ScoreUNet",
    "annealed_langevin_dynamics",
    "as_score_function",
    "autocorrelation_time",
    "checkerboard",
    "circulation",
    "convert_checkpoint",
    "denoise",
    "denoising_score_matching",
    "diagnose_noise_levels",
    "edm_weight",
    "effective_sample_size",
    "error_by_density_quantile",
    "error_by_distance",
    "exact_score_function",
    "explicit_score_matching",
    "finite_difference_score_matching",
    "from_image",
    "geometric_ladder",
    "implicit_score_matching",
    "jacobian_asymmetry",
    "karras_ladder",
    "langevin_dynamics",
    "langevin_step",
    "largest_pairwise_distance",
    "level_statistics",
    "log_likelihood",
    "maximum_mean_discrepancy",
    "metropolis_adjusted_annealed_langevin",
    "mode_variances",
    "mode_weights",
    "multi_level_denoising_score_matching",
    "multi_level_sliced_score_matching",
    "num_levels_for_overlap",
    "pca_spectrum",
    "push_command",
    "push_folder",
    "push_space",
    "relative_circulation",
    "relative_fisher_divergence",
    "ring",
    "sigma_squared_weight",
    "sliced_score_matching",
    "sliced_wasserstein",
    "spiral",
    "step_size_for_variance",
    "suggest_noise_levels",
    "swiss_roll",
    "two_moons",
    "uniform_ladder",
    "write_card",
]
