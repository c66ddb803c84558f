"""L14.  People use a thousand noise levels; the natural limit is a continuum of them.

In the limit noise is taken away continuously, and there is a deterministic path with the densities of all levels, the
probability-flow ODE,

    dx / d sigma = -sigma s(x, sigma),
    log p_sigma_min(x) = log p_sigma_max(x(sigma_max)) - int sigma tr(ds/dx) d sigma,

which gives what no list of levels does: the log density of any point.  L levels are L Euler steps along it:

    limit        from the same start, paths with L and with 2 L levels end a distance apart that falls as 1 / L; the
                 null is paths with noise (ancestral sampling), of which every draw ends elsewhere
    a thousand   samples with the most levels are nearer to the data than with ten; the null is the number before it,
                 which is fine enough already

Both by the exact score, so that nothing but the number of levels is in question.  One network is trained on a
continuous sigma, ln sigma uniform, and sampled at any levels by annealed Langevin dynamics, T = N / L steps at each,

    x <- x + alpha_i s(x, sigma_i) + sqrt(2 alpha_i) z,        alpha_i = u sigma_i²,

N the same for all L.  The null is a network that was trained on three levels alone and is asked at as many levels.

Source: Song et al. 2021, eq. 13 and 39 (variance exploding, time is sigma); technique 4, with which a constant u is
compared, is Song & Ermon 2020, section 3.4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, NoisyScoreFn, exact_score_function
from ..diagnostics import plots, sliced_wasserstein
from ..networks import ScoreMLP, as_score_function
from ..noise_levels import DiscreteSigmas, LogUniformSigmas, SigmaDistribution, geometric_noise_levels
from ..sampling import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, follow, last_sample, log_likelihood
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .toy import corner_mixture

CLAIM = Claim(
    number=14,
    name="continuum",
    at="24:26",
    sentence="People use a thousand noise levels; the natural limit is a continuum of levels.",
    equation="dx / d sigma = -sigma s(x, sigma);  log p_0(x) = log p_T(x_T) - int sigma tr(ds/dx) d sigma",
)


@dataclass(frozen=True)
class ContinuumParams(Params):
    """Numbers of levels, the chains, and the training."""

    num_levels: tuple[int, ...] = flag((1, 3, 10, 30, 100, 300, 1000), "numbers of levels L, increasing", fewest=4)
    num_steps: int = flag(1000, "Langevin steps N of every run, at least the largest L; one evaluation each")
    relative_step: float = flag(0.2, "u = alpha_i / sigma_i² of every run, below 2", below=2)
    sigma_max: float = flag(20.0, "largest noise level, in data units")
    sigma_min: float = flag(0.1, "smallest noise level, in data units")
    num_particles: int = flag(1500, "samples per run")
    num_reference: int = flag(20_000, "exact samples that they are compared with")
    num_points: int = flag(1000, "points whose log density is computed")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1500, "updates of the network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(2e-3, "of Adam at the start")


Params = ContinuumParams
FEW_LEVELS = 3  # that the null is trained on
TEN = 10  # levels, with which the largest number is compared; the nearest between the first and the last two numbers
PATHS = 4  # times as many paths of the ODE as particles: they cost little, and chance is less
QUICK = {
    "num_levels": (1, 10, 100, 300),
    "num_steps": 300,
    "num_particles": 1000,
    "num_reference": 5000,
    "num_points": 200,
    "train_steps": 400,
    "batch_size": 256,
}


@dataclass(kw_only=True)
class ContinuumResult(Result):
    """Distances are sliced Wasserstein distances to exact samples, in data units; log densities are in nats.

    Args:
        num_levels: L of every run.
        learned_distance: of samples by the network, alpha_i = u sigma_i², for each L.
        exact_distance: the same by the exact score.
        technique_4_distance: by the exact score, with the step size of technique 4.
        few_distance: at the largest L, by a network that was trained on `FEW_LEVELS` levels.
        flow_distance: by Euler steps along the ODE with the exact score, for each L.
        flow_order: with which the end of a path approaches its limit, from the two largest L.
        noisy_order: the same of paths with noise.
        chance: of exact samples, as many as particles: as near as a perfect sampler comes.
        true_nats: mean negative log density of the points, noised by sigma_min.
        exact_nats: the same by the ODE with the exact score.
        learned_nats: the same by the ODE with the network.
        untrained_nats: the same before training, which is the density of a Gaussian.
        nats_standard_error: of `true_nats`, from the choice of points; the three share it.
        exact_nfe: evaluations of the score by the ODE, exact score.
        learned_nfe: the same, network.
        true_log_prob: of each point, shape `(num_points,)`.
        learned_log_prob: by the ODE with the network.
    """

    num_levels: list[int]
    learned_distance: list[float]
    exact_distance: list[float]
    technique_4_distance: list[float]
    few_distance: float
    flow_distance: list[float]
    flow_order: float
    noisy_order: float
    chance: float
    true_nats: float
    exact_nats: float
    learned_nats: float
    untrained_nats: float
    nats_standard_error: float
    exact_nfe: int
    learned_nfe: int
    true_log_prob: Tensor
    learned_log_prob: Tensor


def run(params: ContinuumParams) -> ContinuumResult:
    """One network at many noise schedules, with the same number of steps at each; and log densities by the ODE."""
    levels = list(params.num_levels)
    if any(fewer >= more for fewer, more in pairwise(levels)) or levels[-1] > params.num_steps:
        raise ValueError(
            f"num_levels must be increasing numbers of at most num_steps = {params.num_steps}; got {levels}."
        )
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture()
    exact = exact_score_function(density)
    continuous = LogUniformSigmas(params.sigma_min, params.sigma_max)
    few = DiscreteSigmas(geometric_noise_levels(params.sigma_max, params.sigma_min, FEW_LEVELS).tolist())

    def network() -> ScoreMLP:
        return new_network(density, hidden_features=params.hidden_features, generator=generator)

    def learn(sigmas: SigmaDistribution) -> NoisyScoreFn:
        return learn_scores(
            network(),
            density,
            sigmas,
            num_steps=params.train_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
        )

    learned, learned_few, untrained = learn(continuous), learn(few), as_score_function(network())
    reference = density.sample(params.num_reference, generator=generator)

    def distances(score: NoisyScoreFn, relative_step: float | None) -> list[float]:
        runs = (anneal(score, number, relative_step, params, generator) for number in levels)
        return [sliced_wasserstein(x, reference, generator=generator) for x in runs]

    by_learned = distances(learned, params.relative_step)
    by_exact = distances(exact, params.relative_step)
    by_technique_4 = distances(exact, None)
    by_few = sliced_wasserstein(
        anneal(learned_few, levels[-1], params.relative_step, params, generator), reference, generator=generator
    )
    others = (density.sample(params.num_particles, generator=generator) for _ in range(8))
    chance = sum(sliced_wasserstein(x, reference, generator=generator) for x in others) / 8

    z = torch.randn(PATHS * params.num_particles, 2, generator=generator)
    flow_distance = [
        sliced_wasserstein(path_ends(exact, density, number, "ode", params, z), reference, generator=generator)
        for number in levels
    ]
    flow_order, noisy_order = (
        path_order(lambda number, eta=eta: path_ends(exact, density, number, eta, params, z), levels[-2:])
        for eta in ("ode", "ancestral")
    )

    noised = density.noised(params.sigma_min)
    points = noised.sample(params.num_points, generator=generator)
    truth = noised.log_prob(points.double())
    flow = {
        "sigma_min": params.sigma_min,
        "sigma_max": params.sigma_max,
        "prior_mean": density.mean,
        "prior_std": start_std(density, params),
    }
    of_exact = log_likelihood(exact, points.double(), **flow)
    of_learned = log_likelihood(learned, points, **flow)
    of_untrained = log_likelihood(untrained, points, **flow)
    middle = min(range(1, len(levels) - 2), key=lambda i: abs(levels[i] - TEN))
    gained = by_learned[middle] - by_learned[-1]
    behind = by_technique_4[-1] >= 2 * max(min(by_technique_4), by_exact[-1])
    true_nats = -truth.mean().item()
    words = {
        "levels": ", ".join(f"{number:,}" for number in levels),
        "learned": ", ".join(f"{distance:.2f}" for distance in by_learned),
        "flow": ", ".join(f"{distance:.2f}" for distance in flow_distance),
    }
    return ContinuumResult(
        params=params,
        checks=[
            Check(
                "NLL by the ODE, exact score: distance from the truth (nats)",
                abs(of_exact.nats - true_nats),
                "<=",
                0.01 * abs(of_untrained.nats - true_nats),
                null=abs(of_untrained.nats - true_nats),
                null_name="untrained network",
            ),
            Check(
                "NLL by the ODE, learned score: distance from the truth (nats)",
                abs(of_learned.nats - true_nats),
                "<=",
                0.1 * abs(of_untrained.nats - true_nats),
                null=abs(of_untrained.nats - true_nats),
                null_name="untrained network",
            ),
            Check(
                f"distance of samples with {levels[-1]:,} levels, learned",
                by_learned[-1],
                "<=",
                5 * chance,
                null=by_few,
                null_name=f"network trained on {FEW_LEVELS} levels",
            ),
            Check(
                "paths of the ODE: order in 1 / L with which they end at their limit, distance from 1",
                abs(flow_order - 1),
                "<=",
                0.1,
                null=abs(noisy_order - 1),
                null_name="paths with noise",
            ),
            Check(
                f"samples along the ODE: distance with {levels[middle]:,} levels over that with {levels[-1]:,}",
                flow_distance[middle] / flow_distance[-1],
                ">=",
                2,
                null=flow_distance[-2] / flow_distance[-1],
                null_name=f"with {levels[-2]:,} levels",
            ),
        ],
        findings=[
            f"Along the ODE, with one evaluation at each of {words['levels']} levels, samples by the exact score end "
            f"{words['flow']} from the data.",
            f"{params.num_steps:,} steps of annealed Langevin dynamics with the learned score end {words['learned']} "
            f"away with {words['levels']} levels, exact samples {chance:.2f}, which is chance. Trained on {FEW_LEVELS} "
            f"levels alone, the network ends {by_few:.2f} away with {levels[-1]:,}.",
            (
                f"With as many steps in all, {levels[-1]:,} levels are nearer than {levels[middle]:,} by "
                f"{gained / chance:.1f} times chance: "
                + ("confirmed" if gained >= 2 * chance else "not confirmed")
                + " that annealed Langevin dynamics needs so many in the plane."
            ),
            f"With the step size of technique 4 and the exact score the distance is {by_technique_4[-1]:.2f} with "
            f"{levels[-1]:,} levels, {min(by_technique_4):.2f} at best."
            + (
                " The rule looks at one level at a time: with few steps at each it makes them too small, and the chain "
                "falls ever further behind its level."
                if behind
                else ""
            ),
            f"By the ODE a point has {of_exact.nats:.3f} nats with the exact score and {of_learned.nats:.3f} with the "
            f"learned one, {true_nats:.3f} in truth; one point alone is off by "
            f"{(of_learned.log_prob - truth).abs().mean():.2f} on average with the learned one.",
        ],
        num_levels=levels,
        learned_distance=by_learned,
        exact_distance=by_exact,
        technique_4_distance=by_technique_4,
        few_distance=by_few,
        flow_distance=flow_distance,
        flow_order=flow_order,
        noisy_order=noisy_order,
        chance=chance,
        true_nats=true_nats,
        exact_nats=of_exact.nats,
        learned_nats=of_learned.nats,
        untrained_nats=of_untrained.nats,
        nats_standard_error=of_exact.nats_standard_error,
        exact_nfe=of_exact.nfe,
        learned_nfe=of_learned.nfe,
        true_log_prob=truth,
        learned_log_prob=of_learned.log_prob,
    )


@torch.no_grad()
def anneal(
    noisy_score_fn: NoisyScoreFn,
    num_levels: int,
    relative_step: float | None,
    params: ContinuumParams,
    generator: torch.Generator,
) -> Tensor:
    """Samples by annealed Langevin dynamics on L levels, shape `(num_particles, 2)`: N steps and the denoising.

    One level is sigma_max alone.  What N / L leaves over goes to the last level.

    Args:
        noisy_score_fn: `(x, sigma) -> score`.
        num_levels: L.
        relative_step: u = alpha_i / sigma_i²; `None` for technique 4.
        params: of the experiment.
        generator: source of start and noise.
    """
    sigmas = geometric_noise_levels(params.sigma_max, params.sigma_min, num_levels)
    step_size = None if relative_step is None else relative_step * sigmas[-1].item() ** 2
    scheduler = AnnealedLangevinScheduler(sigmas=sigmas, step_size=step_size)
    scheduler.set_timesteps(params.num_steps + 1, sigmas=sigmas)
    x = scheduler.init_noise_sigma * torch.randn(params.num_particles, 2, generator=generator)
    for sigma in scheduler.timesteps:
        x = scheduler.step(noisy_score_fn(x, sigma), sigma, x, generator=generator).prev_sample
    return x


def path_ends(
    score_fn: NoisyScoreFn, density: GaussianMixture, num_levels: int, eta: str, params: ContinuumParams, z: Tensor
) -> Tensor:
    """Where one step at each of L levels leads, shape `(n, d)`.

    Args:
        score_fn: `(x, sigma) -> score`.
        density: the clean data; the start has their mean and spread, and noise of sigma_max.
        num_levels: L.
        eta: "ode" for the Euler step of the probability flow, "ancestral" for a step with noise.
        params: of the experiment.
        z: unit normal, shape `(n, d)`: which paths.
    """
    sigmas = geometric_noise_levels(params.sigma_max, params.sigma_min, num_levels)
    table = ConsistentAnnealedScheduler(sigmas=sigmas.tolist(), eta=eta).table
    start = density.mean + start_std(density, params) * z
    return last_sample(follow(score_fn, start, table, torch.Generator().manual_seed(num_levels)))


def path_order(ends: Callable[[int], Tensor], numbers: list[int]) -> float:
    """The order in 1 / L of the distance between the ends of paths with L and with 2 L levels, a median over paths.

    Args:
        ends: of the same paths with so many levels.
        numbers: two L.
    """
    few, many = ((ends(number) - ends(2 * number)).norm(dim=1).median().item() for number in numbers)
    return math.log(few / many) / math.log(numbers[1] / numbers[0])


def start_std(density: GaussianMixture, params: ContinuumParams) -> float:
    """The standard deviation of each coordinate of data with noise of sigma_max."""
    return math.sqrt(density.covariance.diagonal().mean().item() + params.sigma_max**2)


def figure(result: ContinuumResult) -> Figure:
    """Distance over the number of levels; log densities by the ODE against the truth."""
    fig, (left, right) = plots.new_figure(
        stated("More levels help until the noise schedule is fine enough: the limit is a continuum", result.checks[3:]),
        f"ODE: one Euler step a level, exact score. The others: {result.params.num_steps:,} Langevin steps in all; one "
        f"network for every sigma. Mean negative log density by the ODE: {result.exact_nats:.3f} nats with the exact "
        f"score, {result.learned_nats:.3f} with the learned one, {result.true_nats:.3f} in truth, "
        f"{result.untrained_nats:.2f} with an untrained network",
        ncols=2,
        width_ratios=(1.45, 1),
    )
    for name, distances, colour, dashed in (
        ("technique 4", result.technique_4_distance, "plain", True),
        ("exact", result.exact_distance, "true", True),
        ("learned", result.learned_distance, "learned", False),
        ("ODE, exact", result.flow_distance, "annealed", False),
    ):
        curve = plots.line(left, result.num_levels, distances, colour, label=name, dashed=dashed, markers=not dashed)
        curve.set_clip_on(False)
    plots.log_axis(left, "xy")
    left.axhline(result.chance, color=plots.COLOURS["muted"], linewidth=1.2, linestyle=":")
    plots.direct_label(left, result.num_levels[0], result.chance, "exact samples", "muted", (0, -4), ha="left")
    plots.null_line(left, result.few_distance, f"trained on {FEW_LEVELS} levels")
    plots.panel_title(left, "distance to exact samples (data units)")
    left.set(xlabel="noise levels L")
    plots.label_ends(left)

    truth = result.true_log_prob
    low, high = truth.quantile(0.01).item(), truth.max().item()
    right.plot([low - 1, high + 1], [low - 1, high + 1], color=plots.COLOURS["true"], linewidth=1.2, zorder=5)
    right.scatter(truth, result.learned_log_prob, s=9, color=plots.COLOURS["learned"], alpha=0.5, linewidths=0)
    right.set(xlim=(low - 0.3, high + 0.3), ylim=(low - 0.3, high + 0.3), aspect="equal", xlabel="true log p(x) (nats)")
    plots.direct_label(right, high, high, "truth", "true", (-10, 4), ha="right", va="center")
    plots.direct_label(right, high - 0.1, low + 0.3, "learned score", "learned", (0, 0), ha="right")
    plots.panel_title(right, "log p(x) by the ODE (nats)")
    return fig
