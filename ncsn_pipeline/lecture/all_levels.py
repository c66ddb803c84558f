"""A network for many noise levels at once: how the experiments with a noise schedule, or a continuum of levels, learn.

:mod:`.single_level` holds its counterpart for one noise level.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from ..densities import Density, NoisyScoreFn
from ..networks import ScoreMLP, as_score_function
from ..noise_levels import SigmaDistribution, edm_weight, multi_level_denoising_score_matching
from ..noise_levels.loss import WeightFn
from ..sampling import annealed_langevin_dynamics, last_sample
from .training import fit, seeded_layers

MOMENT_SAMPLES = 10_000


def new_network(
    density: Density, *, hidden_features: int, generator: torch.Generator, sigma_conditioned: bool = True
) -> ScoreMLP:
    """An untrained network; it returns the scores of the noised Gaussian of the density's mean and spread.

    Args:
        density: what it is to learn, in the plane.
        hidden_features: width of the three hidden layers, at least 1.
        generator: draws the samples for mean and spread, and the weights.
        sigma_conditioned: whether the hidden layers are told sigma; a network for one level need not be.
    """
    x = density.sample(MOMENT_SAMPLES, generator=generator)
    with seeded_layers(generator):
        return ScoreMLP(
            hidden_features=hidden_features,
            sigma_conditioned=sigma_conditioned,
            sigma_data=x.std().item(),
            data_mean=x.mean().item(),
        )


def learn_scores(
    network: nn.Module,
    density: Density,
    sigmas: SigmaDistribution,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    weight: WeightFn | None = None,
) -> NoisyScoreFn:
    """Trains a network by denoising score matching, on fresh samples and levels at every step.

    Args:
        network: `(sample, sigma) -> .sample`, with `sigma_data` in its config; it is changed.
        density: what it learns.
        sigmas: how the noise levels are drawn; `DiscreteSigmas([sigma])` for one.
        num_steps: updates of the network, at least 1.
        batch_size: samples an update, at least 1.
        learning_rate: of Adam at the start, > 0; it falls to zero along a cosine.
        generator: source of samples, levels and noise.
        weight: lambda(sigma) of the levels; `None` is EDM's, which suits networks with EDM's preconditioning.

    Returns:
        The learned scores, `(x, sigma) -> score`, without gradients in the weights.
    """
    noisy_score_fn = as_score_function(network)
    weight = weight or edm_weight(network.config.sigma_data)
    fit(
        network.parameters(),
        lambda: multi_level_denoising_score_matching(
            noisy_score_fn,
            density.sample(batch_size, generator=generator),
            sigmas(batch_size, generator),
            weight=weight,
            generator=generator,
        ),
        num_steps=num_steps,
        learning_rate=learning_rate,
    )
    network.requires_grad_(False)
    return noisy_score_fn


class SamplingParams(Protocol):
    """The flags of an experiment that samples with what it learned."""

    num_particles: int
    steps_per_level: int
    relative_step: float


def draw_samples(score_fn: NoisyScoreFn, levels: Tensor, params: SamplingParams, generator: torch.Generator) -> Tensor:
    """Samples in the plane by annealed Langevin dynamics with alpha_i = relative_step sigma_i².

    Args:
        score_fn: `(x, sigma) -> score`.
        levels: the noise schedule, shape `(L,)`, decreasing, in data units.
        params: how many samples, steps per level, and the step.
        generator: source of the start and the noise.

    Returns:
        Shape `(num_particles, 2)`, denoised.
    """
    states = annealed_langevin_dynamics(
        score_fn,
        levels[0] * torch.randn(params.num_particles, 2, generator=generator),
        sigmas=levels,
        steps_per_level=params.steps_per_level,
        step_size=params.relative_step * float(levels[-1]) ** 2,
        generator=generator,
    )
    return last_sample(states)
