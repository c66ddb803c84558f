"""What is measured, and how it is drawn.

    fisher         how far a score is from the true one, and where
    conservation   whether a field is a gradient: circulation, asymmetry of the Jacobian
    modes          how many samples each mode got
    chain          what a Langevin chain does at one level
    distances      how far two sets of samples are apart
    spectrum       how many dimensions the data have
    plots          the one look of all figures

Each takes tensors and gives numbers; nothing here draws but `plots`, which is imported by its own name.
"""

from .chain import (
    LevelStatistics,
    autocorrelation_time,
    effective_sample_size,
    empirical_variance_ratio,
    level_statistics,
    score_norm,
    signal_to_noise,
)
from .conservation import circle, circulation, jacobian_asymmetry, relative_circulation
from .distances import MaximumMeanDiscrepancy, maximum_mean_discrepancy, sliced_wasserstein
from .fisher import (
    BinnedMean,
    binned_mean,
    error_by_density_quantile,
    error_by_distance,
    relative_fisher_divergence,
    squared_error,
)
from .modes import ModeVariances, ModeWeights, mode_variances, mode_weights, nearest_mode
from .spectrum import Spectrum, pca_spectrum

__all__ = [
    "BinnedMean",
    "LevelStatistics",
    "MaximumMeanDiscrepancy",
    "ModeVariances",
    "ModeWeights",
    "Spectrum",
    "autocorrelation_time",
    "binned_mean",
    "circle",
    "circulation",
    "effective_sample_size",
    "error_by_density_quantile",
    "error_by_distance",
    "jacobian_asymmetry",
    "level_statistics",
    "maximum_mean_discrepancy",
    "mode_variances",
    "mode_weights",
    "nearest_mode",
    "pca_spectrum",
    "relative_circulation",
    "relative_fisher_divergence",
    "score_norm",
    "signal_to_noise",
    "sliced_wasserstein",
    "squared_error",
    "empirical_variance_ratio",
]
