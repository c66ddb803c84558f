"""L1.  A score-based model is a vector field: a network gives the gradient of the log likelihood at every point.

    s_theta(x, sigma) ~ grad_x log p_sigma(x),    p_sigma = p * N(0, sigma² I)

A function `(x, sigma) -> score` is all that sampling asks for, so the exact score of a known density and a learned one
are interchangeable: here the same Langevin dynamics runs on both, from the same start with the same noise.  How near
they are is the relative Fisher divergence,

    E_{p_sigma} || s_theta - s ||² / E_{p_sigma} || s ||².

Source: Hyvärinen 2005, eq. 2 (the divergence); Song & Ermon 2019, section 2 (the model).
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import Density, NoisyScoreFn, ScoreFn, exact_score_function
from ..diagnostics import (
    error_by_density_quantile,
    plots,
    relative_fisher_divergence,
    sliced_wasserstein,
    squared_error,
)
from ..networks import as_score_function
from ..sampling import langevin_dynamics, langevin_step, last_sample
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level, learn_score, new_network, three_bars
from .toy import uniform_square

CLAIM = Claim(
    number=1,
    name="vector-field",
    at="00:59",
    sentence="A model is a vector field: a network gives the gradient of the log likelihood at every point.",
    equation="s_theta(x, sigma) ~ grad_x log p_sigma(x)",
)
ACCURATE = 0.03  # relative error of a learned field, at most
HALF_WIDTH = 3.0  # of the picture, and of the square in which particles start, in data units


@dataclass(frozen=True)
class VectorFieldParams(Params):
    """See the flags."""

    sigma: float = flag(0.3, "noise level of the density whose score is learned, in data units")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1500, "updates of the network")
    batch_size: int = flag(1024, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_samples: int = flag(20_000, "samples that the error is averaged over")
    num_particles: int = flag(2000, "particles of Langevin dynamics")
    num_steps: int = flag(300, "Langevin steps")
    step_size: float = flag(0.02, "alpha of Langevin dynamics, in squared data units")


Params = VectorFieldParams
QUICK = {"train_steps": 500, "batch_size": 512, "num_steps": 150}


@dataclass(kw_only=True)
class VectorFieldResult(Result):
    """How near the learned field is to the true one.

    Args:
        relative_error: relative Fisher divergence of the learned score.
        untrained_error: that of the network before training, the score of one Gaussian.
        median_angle: between learned and true arrows, in degrees.
        error_by_decile: mean squared error from the lowest density to the highest, in 1 / squared data units.
        distance: sliced Wasserstein, samples by the learned score to samples by the exact one, in data units.
        exact: the exact score as a function of x, for the figure.
        learned: the learned score, likewise.
        density: the noised density.
        exact_paths: x <- x + alpha s(x) by the exact score, shape `(steps, paths, 2)`.
        learned_paths: the same by the learned score, from the same points.
    """

    relative_error: float
    untrained_error: float
    median_angle: float
    error_by_decile: Tensor
    distance: float
    exact: ScoreFn
    learned: ScoreFn
    density: Density
    exact_paths: Tensor
    learned_paths: Tensor


def run(params: VectorFieldParams) -> VectorFieldResult:
    """Learns the score of a mixture at one noise level, and uses it wherever the exact one is used."""
    generator = torch.Generator().manual_seed(params.seed)
    clean, sigma = three_bars(), params.sigma
    untrained = new_network(clean, hidden_features=params.hidden_features, generator=generator).requires_grad_(False)
    learned, _ = learn_score(
        clean,
        sigma,
        num_steps=params.train_steps,
        batch_size=params.batch_size,
        hidden_features=params.hidden_features,
        learning_rate=params.learning_rate,
        generator=generator,
    )
    exact: NoisyScoreFn = exact_score_function(clean)
    density = clean.noised(sigma)
    x = density.sample(params.num_samples, generator=generator)
    level = torch.tensor(sigma)
    score, true_score = learned(x, level), exact(x, level)
    relative_error = relative_fisher_divergence(score, true_score)
    untrained_error = relative_fisher_divergence(as_score_function(untrained)(x, level), true_score)
    angle = torch.cosine_similarity(score, true_score).clamp(-1, 1).acos().rad2deg()
    by_decile = error_by_density_quantile(squared_error(score, true_score), density.log_prob(x))
    start = uniform_square(params.num_particles, HALF_WIDTH, generator=generator)
    noise_seed = int(torch.randint(2**31, (), generator=generator))
    by_learned, by_exact, by_untrained = (
        sampled(at_level(field, sigma), start, params, noise_seed)
        for field in (learned, exact, as_score_function(untrained))
    )
    distance, untrained_distance = (
        sliced_wasserstein(x, by_exact, generator=generator) for x in (by_learned, by_untrained)
    )
    accurate, lowest, highest = relative_error <= ACCURATE, float(by_decile.mean[0]), float(by_decile.mean[-1])
    return VectorFieldResult(
        params=params,
        checks=[
            Check(
                "relative error of the learned field",
                relative_error,
                "<=",
                ACCURATE,
                null=untrained_error,
                null_name="untrained network",
            ),
            Check(
                "distance of samples by the learned and the exact score",
                distance,
                "<=",
                0.25 * untrained_distance,
                null=untrained_distance,
                null_name="untrained network",
            ),
        ],
        findings=[
            f"The learned arrows carry {100 * relative_error:.1f} % of the true ones' squared length as error, "
            f"{100 * untrained_error:.0f} % before training (the score of one Gaussian); half of them point within "
            f"{float(angle.median()):.1f} degrees of the true direction.",
            ("'At every point' holds where there are data: in" if accurate and lowest > highest else "In")
            + " the tenth of the samples with the lowest density the "
            f"squared error is {lowest / highest:.0f} times that in the tenth with the highest.",
        ],
        relative_error=relative_error,
        untrained_error=untrained_error,
        median_angle=float(angle.median()),
        error_by_decile=by_decile.mean,
        distance=distance,
        exact=at_level(exact, sigma),
        learned=at_level(learned, sigma),
        density=density,
        exact_paths=paths(at_level(exact, sigma), params.step_size),
        learned_paths=paths(at_level(learned, sigma), params.step_size),
    )


def sampled(score_fn: ScoreFn, start: Tensor, params: VectorFieldParams, seed: int) -> Tensor:
    """Where Langevin dynamics takes the particles, with the noise that follows from `seed`."""
    chain = langevin_dynamics(
        score_fn,
        start,
        step_size=params.step_size,
        num_steps=params.num_steps,
        generator=torch.Generator().manual_seed(seed),
    )
    return last_sample(chain)


def paths(score_fn: ScoreFn, step_size: float, num_steps: int = 100) -> Tensor:
    """The arrows followed without noise from 16 points near the picture's edge, shape `(num_steps + 1, 16, 2)`."""
    # Off the middle, where a path would run along the border between two modes.
    edge = torch.tensor([-0.92, -0.5, -0.1, 0.4]) * HALF_WIDTH
    end = torch.full_like(edge, 0.92 * HALF_WIDTH)
    sides = [(edge, -end), (end, edge), (-edge, end), (-end, -edge)]
    path = [torch.cat([torch.stack(side, 1) for side in sides])]
    for _ in range(num_steps):
        path.append(langevin_step(path[-1], score_fn(path[-1]), step_size, torch.zeros_like(path[-1])))
    return torch.stack(path)


def figure(result: VectorFieldResult) -> Figure:
    """The true field, the learned field, and where each leads."""
    extent = (-HALF_WIDTH, HALF_WIDTH) * 2
    fig, (left, middle, right) = plots.new_figure(
        stated("A model is a vector field: at every point an arrow towards more likely data", result.checks),
        f"Mixture of three Gaussians, noise level {result.params.sigma:g}: relative error of the learned field "
        f"{100 * result.relative_error:.1f} %, median angle between the arrows {result.median_angle:.1f}°",
        ncols=3,
        size=(10, 4.2),
    )
    for axes in (left, middle, right):
        plots.density_background(axes, result.density, extent)
    longest = float(result.exact(plots.plane_grid(extent, 16)).norm(dim=1).quantile(0.9))
    plots.arrow_field(left, result.exact, extent, colour="true", longest=longest)
    plots.panel_title(left, "true score")
    plots.arrow_field(middle, result.learned, extent, colour="learned", longest=longest)
    plots.panel_title(middle, "learned score", "learned")
    for number in range(result.exact_paths.shape[1]):
        plots.line(right, *result.exact_paths[:, number].T, "true")
        plots.line(right, *result.learned_paths[:, number].T, "learned", dashed=True)
    plots.panel_title(right, "following the arrows")
    plots.direct_label(right, 0, 0.15, "true", "true", offset=(0, 0))
    plots.direct_label(right, 0, -0.3, "learned", "learned", offset=(0, 0))
    return fig
