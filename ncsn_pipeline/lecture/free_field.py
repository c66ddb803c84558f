"""A network for the score of the data themselves: a free vector field that knows of no noise level.

What score matching learns where nothing is noised; :mod:`.single_level` holds its counterpart for one noise level.
"""

import torch

from ..densities import ScoreFn
from ..networks import ScoreMLP, as_score_function
from .training import seeded_layers


def new_field(dimension: int, *, hidden_features: int, generator: torch.Generator) -> ScoreMLP:
    """An untrained network `(B, D) -> (B, D)` with three hidden layers; it ignores the sigma that it is called with.

    Args:
        dimension: D, at least 1.
        hidden_features: width of the hidden layers, at least 1.
        generator: draws the weights.
    """
    with seeded_layers(generator):
        return ScoreMLP(dimension, hidden_features, preconditioning="none", sigma_conditioned=False)


def score_of(field: ScoreMLP) -> ScoreFn:
    """The field as a function of the points alone."""
    noisy_score_fn, any_level = as_score_function(field), torch.ones(())
    return lambda x: noisy_score_fn(x, any_level)
