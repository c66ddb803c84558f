"""L11.  The dilemma of one noise level: too small a sigma is inaccurate, too large a sigma is the wrong density.

A network is trained at each sigma of a sweep, and samples are drawn with it by Langevin dynamics at that sigma alone:

    estimation   E_{p_sigma} || s_theta - grad log p_sigma ||²                  falls with sigma
    bias         SW(p_sigma, p), from the noised density to the clean data      rises with it
    both         SW(samples by s_theta, p)                                      is least between
    training     updates until the relative estimation error is 0.1             fall with sigma

SW is the sliced Wasserstein distance.  The data are eight narrow Gaussians on a circle, and particles start all over
the plane.  Neither the proportions (alike by symmetry) nor the number of steps is in question: the step is a fixed
share of a noised mode's variance, alpha = share (sigma² + std²), and the same chain with the exact score, run beside
the learned one, shows what is left without errors of learning.

All levels get the same training.  That it is not too short for the smallest by accident is what the last line asks: the
training is doubled until the error is small, or halved as long as it stays so.

Relative to E || grad log p_sigma ||², which falls as well, the estimation error falls over the sweep, but need not at
every step.  A network before training is the score of one Gaussian, whose relative error falls with sigma too, but only
where all that is left of the data is one Gaussian: not between the smallest and the best level, where it is the null.

Source: Song & Ermon 2019, sections 3 and 4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, ScoreFn
from ..diagnostics import plots, relative_fisher_divergence, sliced_wasserstein, squared_error
from ..networks import as_score_function
from ..sampling import langevin_dynamics, last_sample
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level, learn_score, new_network
from .toy import uniform_square

CLAIM = Claim(
    number=11,
    name="one-sigma",
    at="13:01, 17:08",
    sentence="The dilemma of one noise level: too small a sigma is inaccurate, too large a sigma is the wrong density.",
    equation="s_theta ~ grad log p_sigma, p_sigma = p * N(0, sigma² I)",
)
HALF_WIDTH = 4.0  # of the square in which particles start, in data units
LEARNED = 0.1  # relative error of a score that counts as learned


@dataclass(frozen=True)
class OneSigmaParams(Params):
    """The sweep, the training at each level, and the chains."""

    sigmas: tuple[float, ...] = flag(
        (0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0), "the sweep, increasing, in data units", fewest=3
    )
    std: float = flag(0.1, "deviation of each of the eight modes, in data units")
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(2000, "updates of each network")
    max_train_steps: int = flag(16_000, "updates at most, of networks that are trained until they have learned")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(3e-3, "of Adam at the start")
    num_samples: int = flag(20_000, "samples that the estimation error is averaged over")
    num_particles: int = flag(2000, "particles, and clean samples that they are held against")
    num_steps: int = flag(300, "Langevin steps")
    step_share: float = flag(0.1, "alpha as a share of a noised mode's variance, without unit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError(f"sigmas must be strictly increasing; got {self.sigmas}.")


Params = OneSigmaParams
QUICK = {
    "sigmas": (0.05, 0.25, 2.0),
    "train_steps": 400,
    "max_train_steps": 3200,
    "learning_rate": 1e-2,
    "num_particles": 1000,
    "num_steps": 100,
}


@dataclass(kw_only=True)
class OneSigmaResult(Result):
    """What each noise level of the sweep leads to; distances are sliced Wasserstein to the clean data, in data units.

    Args:
        estimation_error: mean squared, of the learned score against its own noised density's.
        relative_error: the same over the mean square of that score.
        untrained_error: that of a network before training.
        updates: of the shortest training, by factors of 2, after which the relative error is at most 0.1.
        never_learned: the levels at which it is larger after the longest training too; `updates` has its length.
        noised_distance: of samples of the noised density itself.
        learned_distance: of Langevin samples by the learned score.
        exact_distance: of Langevin samples by the exact score of the noised density.
        chance: of another set of clean samples: as near as a perfect sampler comes.
        best_sigma: of the least `learned_distance`.
        clean: clean samples, shape `(num_particles, 2)`.
        samples: by the learned score, shape `(levels, num_particles, 2)`.
    """

    estimation_error: list[float]
    relative_error: list[float]
    untrained_error: list[float]
    updates: list[int]
    never_learned: list[float]
    noised_distance: list[float]
    learned_distance: list[float]
    exact_distance: list[float]
    chance: float
    best_sigma: float
    clean: Tensor
    samples: Tensor


def run(params: OneSigmaParams) -> OneSigmaResult:
    """A network for each sigma: how accurate it is, and how far from the clean data its samples are."""
    generator = torch.Generator().manual_seed(params.seed)
    density = eight_modes(params.std)
    clean, other = (density.sample(params.num_particles, generator=generator) for _ in range(2))
    z = torch.randn(clean.shape, generator=generator)
    start = uniform_square(params.num_particles, HALF_WIDTH, generator=generator)
    estimation, relative, untrained, updates, never_learned, samples = [], [], [], [], [], []
    before = as_score_function(new_network(density, hidden_features=params.hidden_features, generator=generator))
    noised_distance, learned_distance, exact_distance = [], [], []
    learn = partial(
        learn_score,
        density,
        batch_size=params.batch_size,
        hidden_features=params.hidden_features,
        learning_rate=params.learning_rate,
        generator=generator,
    )

    def trained(sigma: float, num_steps: int) -> ScoreFn:
        return at_level(learn(sigma, num_steps=num_steps)[0], sigma)

    def relative_error(score_fn: ScoreFn, x: Tensor, truth: Tensor) -> float:
        with torch.no_grad():
            return relative_fisher_divergence(score_fn(x), truth)

    def error_after(sigma: float, x: Tensor, truth: Tensor, num_steps: int) -> float:
        return relative_error(trained(sigma, num_steps), x, truth)

    for sigma in params.sigmas:
        noised = density.noised(sigma)
        x = noised.sample(params.num_samples, generator=generator)
        truth = noised.score(x)
        learned = trained(sigma, params.train_steps)
        estimation.append(float(squared_error(learned(x), truth).mean()))
        relative.append(relative_error(learned, x, truth))
        untrained.append(relative_error(at_level(before, sigma), x, truth))
        needed, enough = shortest_training(
            partial(error_after, sigma, x, truth), relative[-1], params.train_steps, params.max_train_steps
        )
        updates.append(needed)
        never_learned += [] if enough else [sigma]
        chain = {
            "step_size": params.step_share * (sigma**2 + params.std**2),
            "num_steps": params.num_steps,
            "generator": generator,
        }
        samples.append(last_sample(langevin_dynamics(learned, start, **chain)))
        by_exact = last_sample(langevin_dynamics(noised.score, start, **chain))
        # The same clean samples and noise at every level, so that what rises is the level's doing alone.
        noised_distance.append(sliced_wasserstein(clean + sigma * z, clean, generator=generator))
        learned_distance.append(sliced_wasserstein(samples[-1], clean, generator=generator))
        exact_distance.append(sliced_wasserstein(by_exact, clean, generator=generator))
    best = min(range(len(params.sigmas)), key=learned_distance.__getitem__)
    least, chance = learned_distance[best], sliced_wasserstein(other, clean, generator=generator)
    smallest, largest = params.sigmas[0], params.sigmas[-1]
    return OneSigmaResult(
        params=params,
        checks=[
            Check(
                "relative error at the smallest sigma over that at the best",
                relative[0] / relative[best],
                ">=",
                2 * untrained[0] / untrained[best],
                null=untrained[0] / untrained[best],
                null_name="untrained network",
            ),
            Check(
                f"updates until the relative error is {LEARNED:g}, at the smallest sigma over the best",
                updates[0] / updates[best],
                ">=",
                4,
                null=updates[-1] / updates[best],
                null_name="at the largest sigma",
            ),
            Check(
                "distance of the noised density at the largest sigma, over chance",
                noised_distance[-1] / chance,
                ">=",
                5,
                null=noised_distance[0] / chance,
                null_name="at the smallest sigma",
            ),
            Check(
                "samples' distance at the smallest sigma, learned over exact score",
                learned_distance[0] / exact_distance[0],
                ">=",
                3 * learned_distance[-1] / exact_distance[-1],
                null=learned_distance[-1] / exact_distance[-1],
                null_name="at the largest sigma",
            ),
            Check(
                "samples' distance at the smallest sigma over the best",
                learned_distance[0] / least,
                ">=",
                2,
                null=exact_distance[0] / exact_distance[best],
                null_name="exact score",
            ),
            Check(
                "samples' distance at the largest sigma over the best",
                learned_distance[-1] / least,
                ">=",
                2,
                null=chance / least,
                null_name="clean samples",
            ),
        ],
        findings=[
            f"The best single level is sigma {params.sigmas[best]:g}: its samples are {least:.3f} from the clean data, "
            f"{learned_distance[0]:.3f} at sigma {smallest:g} and {learned_distance[-1]:.3f} at {largest:g}; a perfect "
            f"sampler would come to {chance:.3f}.",
            f"With the exact score the same chain comes to {exact_distance[0]:.3f} at sigma {smallest:g}"
            + (
                ": what the learned one is worse by there is error of learning alone."
                if learned_distance[0] > exact_distance[0]
                else "."
            )
            + " After the same training its relative error is "
            f"{relative[0]:.3f} at sigma {smallest:g} and {relative[best]:.3f} at the best sigma; before it they were "
            f"{untrained[0]:.3f} and {untrained[best]:.3f}.",
            "Inaccurate means after the same training. How many updates, by factors of 2, bring the relative error to "
            f"{LEARNED:g}: "
            + ", ".join(
                f"{'more than ' * (sigma in never_learned)}{needed:,} at sigma {sigma:g}"
                for sigma, needed in zip(params.sigmas, updates, strict=True)
            )
            + ".",
            f"From one sigma to the next the squared error becomes {largest_ratio(estimation):.2f} of what it was, at "
            f"worst; relative to the score's mean square, {largest_ratio(relative):.2f}.",
        ],
        estimation_error=estimation,
        relative_error=relative,
        untrained_error=untrained,
        updates=updates,
        never_learned=never_learned,
        noised_distance=noised_distance,
        learned_distance=learned_distance,
        exact_distance=exact_distance,
        chance=chance,
        best_sigma=params.sigmas[best],
        clean=clean,
        samples=torch.stack(samples),
    )


def eight_modes(std: float) -> GaussianMixture:
    """Eight Gaussians of equal weight on a circle of radius 2, each of deviation `std`, in data units."""
    angle = torch.arange(8) * (math.pi / 4)
    return GaussianMixture(2 * torch.stack([angle.cos(), angle.sin()], 1), std)


def shortest_training(
    error_after: Callable[[int], float], error: float, num_steps: int, max_steps: int
) -> tuple[int, bool]:
    """The shortest training, `num_steps` by factors of 2, after which an error is at most `LEARNED`.

    Args:
        error_after: trains for so many updates and returns the error.
        error: after `num_steps` updates.
        num_steps: updates to begin with, at least 1.
        max_steps: updates at most.

    Returns:
        Its updates, or those of the longest training that is allowed, and whether the error is small enough after them.
    """
    if error > LEARNED:
        while 2 * num_steps <= max_steps:
            num_steps *= 2
            if error_after(num_steps) <= LEARNED:
                return num_steps, True
        return num_steps, False
    while num_steps > 1 and error_after(num_steps // 2) <= LEARNED:
        num_steps //= 2
    return num_steps, True


def largest_ratio(values: list[float]) -> float:
    """Of each value to the one before; below 1 where all of them fall."""
    return max(after / before for before, after in pairwise(values))


def figure(result: OneSigmaResult) -> Figure:
    """What falls, what rises and what has its least between, over sigma; and samples at three levels."""
    sigmas = result.params.sigmas
    best = sigmas.index(result.best_sigma)
    extent = (-HALF_WIDTH, HALF_WIDTH) * 2
    farther = (f"at {sigmas[i]:g} ({result.learned_distance[i]:.2f})" for i in (0, len(sigmas) - 1) if i != best)
    fig, (curves, planes) = plots.new_figure(
        stated("One noise level: too small is inaccurate, too large is the wrong density", result.checks),
        f"A network for each sigma. Its samples are nearest to the data at sigma {result.best_sigma:g} (distance "
        f"{result.learned_distance[best]:.2f}), not {' nor '.join(farther)}. Blue: samples; black: clean data",
        nrows=2,
        ncols=3,
        size=(10, 6.8),
        height_ratios=(1, 1.25),
    )
    falls, rises, both = curves
    for axes in curves:
        plots.log_axis(axes, "xy")
        axes.set(xlabel="noise level sigma")
    plots.line(falls, sigmas, result.estimation_error, "learned", markers=True)
    plots.line(falls, sigmas, result.relative_error, "learned", dashed=True)
    plots.line(falls, sigmas, result.untrained_error, "muted", dashed=True)
    plots.direct_label(falls, sigmas[-1], result.untrained_error[-1], "null: untrained", "muted", offset=(-2, 8))
    plots.direct_label(falls, sigmas[0], result.relative_error[0], "relative", "learned", offset=(0, -34), ha="left")
    plots.panel_title(falls, "falls: " * (largest_ratio(result.estimation_error) < 1) + "error of the learned score")
    falls.set(ylabel="mean squared error")
    plots.line(rises, sigmas, result.noised_distance, "true", markers=True)
    rising = largest_ratio(result.noised_distance[::-1]) < 1
    plots.panel_title(rises, "rises: " * rising + "distance noised to clean")
    plots.line(both, sigmas, result.exact_distance, "true", dashed=True)
    plots.line(both, sigmas, result.learned_distance, "learned", markers=True)
    plots.null_line(both, result.chance, "clean samples").set(va="top", position=(0, -2))
    plots.panel_title(both, "both: distance of its samples", "learned")
    plots.direct_label(both, sigmas[0], result.learned_distance[0], "learned", "learned", offset=(8, 2))
    middle = len(sigmas) // 2
    plots.direct_label(both, sigmas[middle], result.exact_distance[middle], "exact score", "true", offset=(8, -8))
    distances = (*result.noised_distance, *result.learned_distance, *result.exact_distance)
    limits = (min(distances) / 1.6, 1.6 * max(distances))
    rises.set(ylim=limits, ylabel="sliced Wasserstein")
    both.set(ylim=limits)
    for axes, i in zip(planes, (0, best, -1), strict=True):
        plots.plane(axes, extent)
        plots.samples(axes, result.samples[i], "learned")
        plots.samples(axes, result.clean, "true", size=1.2)
        plots.panel_title(axes, f"samples at sigma {sigmas[i]:g}", "learned")
    return fig
