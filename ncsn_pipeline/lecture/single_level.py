"""One network for one noise level: what the experiments without a noise schedule learn, and from which density."""

import math

import torch
from torch import Tensor

from ..densities import GaussianMixture, NoisyScoreFn, ScoreFn
from ..networks import ScoreMLP, as_score_function
from ..score_matching import denoising_score_matching
from .training import fit, seeded_layers


def three_bars() -> GaussianMixture:
    """Three long Gaussians in the plane with the weights 0.3, 0.3 and 0.4, around the origin.

    Their deviations are 0.25 across and 0.6 (two of them, tilted) or 0.8 (the lowest) along.
    """
    means = torch.tensor([[-1.2, 0.8], [1.2, 0.8], [0.0, -1.2]])
    covariances = torch.stack([_covariance(0.6, 0.25, 0.6), _covariance(0.6, 0.25, -0.6), _covariance(0.8, 0.25, 0.0)])
    return GaussianMixture(means, covariances, torch.tensor([0.3, 0.3, 0.4]))


def new_network(density: GaussianMixture, *, hidden_features: int, generator: torch.Generator) -> ScoreMLP:
    """An untrained network for one noise level; it returns the score of the noised Gaussian of the density's spread.

    Args:
        density: centred at the origin; the root mean square of its coordinates becomes `sigma_data`.
        hidden_features: width of the three hidden layers, at least 1.
        generator: draws the weights.
    """
    with seeded_layers(generator):
        return ScoreMLP(
            in_features=density.means.shape[1],
            hidden_features=hidden_features,
            num_layers=3,
            sigma_conditioned=False,
            sigma_data=math.sqrt(float(density.covariance.diagonal().mean())),
        )


def learn_score(
    density: GaussianMixture,
    sigma: float,
    *,
    num_steps: int,
    batch_size: int,
    hidden_features: int,
    learning_rate: float,
    generator: torch.Generator,
) -> tuple[NoisyScoreFn, Tensor]:
    """Trains a network by denoising score matching at one noise level, on fresh samples at every step.

    Args:
        density: what is learned, centred at the origin.
        sigma: the noise level, > 0, in data units.
        num_steps: updates of the network, at least 1.
        batch_size: samples an update, at least 1.
        hidden_features: width of the three hidden layers, at least 1.
        learning_rate: of Adam at the start, > 0; it falls to zero along a cosine.
        generator: source of weights, samples and noise.

    Returns:
        The learned score, `(x, sigma) -> score` without gradients in its weights, meant for this sigma alone; and the
        mean loss of every step, shape `(num_steps,)`.
    """
    network = new_network(density, hidden_features=hidden_features, generator=generator)
    score_fn = at_level(as_score_function(network), sigma)
    losses = fit(
        network.parameters(),
        lambda: denoising_score_matching(
            score_fn, density.sample(batch_size, generator=generator), sigma, generator=generator
        ),
        num_steps=num_steps,
        learning_rate=learning_rate,
    )
    return as_score_function(network.requires_grad_(False)), losses


def at_level(noisy_score_fn: NoisyScoreFn, sigma: float) -> ScoreFn:
    """The score at one noise level as a function of the points alone, in their floating type."""
    return lambda x: noisy_score_fn(x, torch.tensor(sigma, dtype=x.dtype))


def _covariance(along: float, across: float, angle: float) -> Tensor:
    """R diag(along², across²) R^T, R the rotation by `angle`."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]])
    return rotation * torch.tensor([along, across]) ** 2 @ rotation.T
