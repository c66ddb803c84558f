"""What is minimised in the Learn tab, and by which network.

At one noise level all three objectives have the score of the noised density for their minimum.  The exact and the
sliced one are given the noised samples x + sigma z as if they were data; denoising is given x, and adds the noise
itself:

    exact       E 1/2 || s(x + sigma z) ||² + tr(ds/dx)
    sliced      the same, the trace estimated along a random direction
    denoising   E 1/2 || s(x + sigma z) + z / sigma ||²

At all levels, ln sigma uniform, one network is told sigma, and each level's loss has EDM's weight lambda(sigma):

    denoising   E lambda(sigma) 1/2 || s(x + sigma z, sigma) + z / sigma ||²

Each loss is the Fisher divergence E 1/2 || s - s* ||² from the exact score s*, at all levels weighted by lambda, plus a
least value that does not depend on s, weighted alike:

    exact, sliced   -1/2 E || s* ||² = 1/2 E tr(ds*/dx)        (by parts)
    denoising       the same + D / (2 sigma²)

Of the two means that of the trace has by far the smaller error, none at all within a Gaussian.
"""

import torch
from torch import Tensor

from ...densities import NoisyScoreFn, exact_score_function
from ...lecture.training import seeded_layers
from ...networks import ScoreMLP
from ...noise_levels.loss import edm_weight, multi_level_denoising_score_matching
from ...score_matching import denoising_score_matching, implicit_score_matching, sliced_score_matching
from ...score_matching.jacobian import evaluate_for_derivatives, exact_trace
from .limits import ALL_SIGMAS, LearnSettings

HIDDEN_FEATURES = 64
MEASURED_SAMPLES = 2000  # that the network's units are taken from
LEVELS_OF_A_BATCH = 64  # at which the samples of a batch are noised, each a stretch of ln sigma


class Objective:
    """The losses of a setting.

    Args:
        settings: what is learned, at which noise levels, by which objective.
        spread: standard deviation of the clean data's coordinates, in data units.
        generator: source of samples, noise and projections.
    """

    def __init__(self, settings: LearnSettings, spread: float, generator: torch.Generator) -> None:
        self.settings = settings
        self.spread = spread
        self.generator = generator

    def losses(self, noisy_score_fn: NoisyScoreFn, batch_size: int) -> Tensor:
        """The loss of every sample of a batch, shape `(batch_size,)`."""
        settings, generator = self.settings, self.generator
        density = settings.learned.density
        if settings.all_levels:
            x = density.sample(batch_size, generator=generator)
            sigma, weight = self._draw_sigmas(batch_size, generator), edm_weight(self.spread)
            return multi_level_denoising_score_matching(noisy_score_fn, x, sigma, weight=weight, generator=generator)
        sigma = torch.tensor(settings.sigma)

        def score_fn(x: Tensor) -> Tensor:
            return noisy_score_fn(x, sigma)

        if settings.objective == "denoising":
            x = density.sample(batch_size, generator=generator)
            return denoising_score_matching(score_fn, x, settings.sigma, generator=generator)
        x = density.noised(settings.sigma).sample(batch_size, generator=generator)
        if settings.objective == "exact":
            return implicit_score_matching(score_fn, x)
        return sliced_score_matching(score_fn, x, generator=generator)

    def least(self, num_samples: int) -> float | None:
        """The loss of the exact score, which no other falls below; None where there is none, and so no such bound.

        The training's generator is left as it is: the same seed gives the same network, whether this was asked or not.
        """
        settings, generator = self.settings, torch.Generator().manual_seed(0)
        if not settings.has_score:
            return None
        density, sigma = settings.learned.density, torch.full((num_samples,), settings.sigma)
        if settings.all_levels:
            sigma = self._draw_sigmas(num_samples, generator)
        x = density.sample(num_samples, generator=generator)
        x = x + sigma[:, None] * torch.randn(x.shape, generator=generator)
        exact = exact_score_function(density)
        x, score = evaluate_for_derivatives(lambda x: exact(x, sigma), x)
        least = 0.5 * exact_trace(score, x).detach()
        if settings.objective == "denoising":
            least = least + x.shape[1] / (2 * sigma**2)
        if settings.all_levels:
            least = least * edm_weight(self.spread)(sigma)
        return float(least.mean())

    @staticmethod
    def _draw_sigmas(n: int, generator: torch.Generator) -> Tensor:
        """ln sigma uniform, one in each of so many equal stretches, shape `(n,)`."""
        low, high = ALL_SIGMAS
        t = torch.arange(LEVELS_OF_A_BATCH) + torch.rand(LEVELS_OF_A_BATCH, generator=generator)
        return (low * (high / low) ** (t / LEVELS_OF_A_BATCH)).repeat(-(-n // LEVELS_OF_A_BATCH))[:n]


def new_network(settings: LearnSettings, generator: torch.Generator) -> tuple[ScoreMLP, float]:
    """An untrained network, and the standard deviation of the clean data's coordinates, in data units.

    For one noise level it is a free vector field that knows nothing of noise, in units of the noised data; for all of
    them it is told sigma, and starts from the score of a noised Gaussian.
    """
    density = settings.learned.density
    clean = density.sample(MEASURED_SAMPLES, generator=generator)
    x = clean if settings.all_levels else density.noised(settings.sigma).sample(MEASURED_SAMPLES, generator=generator)
    with seeded_layers(generator):
        network = ScoreMLP(
            2,
            HIDDEN_FEATURES,
            preconditioning="edm" if settings.all_levels else "none",
            sigma_conditioned=settings.all_levels,
            sigma_data=float(x.std()),
            data_mean=float(x.mean()),
        )
    return network, float(clean.std())
