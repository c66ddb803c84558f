"""L13.  Annealed Langevin dynamics: run Langevin at sigma_1, start the next level from its samples, and so on down.

At a large sigma the noised modes

    p_sigma = w N(mu_1, (1 + sigma²) I) + (1 - w) N(mu_2, (1 + sigma²) I)

overlap, so particles pass freely and take the right proportion; as sigma falls the modes part, and each keeps what it
has.  With T steps at each of L levels of geometric levels, alpha_i = epsilon sigma_i² / sigma_L².  A finite budget of
N = L T evaluations leaves a bias: the particles lag behind the density that they follow, by about 1 / (epsilon N), and
the step itself has an error of order epsilon.  With epsilon falling as 1 / sqrt(N) both vanish together.  The null is
plain Langevin dynamics from the same start with as many steps.

The same is done with a score that a network learned from samples, at the levels of the middle budget.

The modes end with variance 1 + sigma_L².  The denoising step x + sigma_L² s(x, sigma_L) maps that to
1 / (1 + sigma_L²), which is near the density's own only where sigma_L is small.

Source: Song & Ermon 2019, algorithm 1 and figure 3; technique 4 of Song & Ermon 2020 for epsilon.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import NoisyScoreFn, ScoreFn, exact_score_function
from ..diagnostics import mode_variances, mode_weights, plots
from ..noise_levels import LogUniformSigmas, geometric_noise_levels
from ..sampling import LangevinState, annealed_langevin_dynamics, langevin_dynamics, last_sample
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level
from .toy import corner_mixture, uniform_square

CLAIM = Claim(
    number=13,
    name="annealing",
    at="21:41",
    sentence="Annealed Langevin dynamics recovers the weights that plain Langevin dynamics misses.",
    equation="x <- x + alpha_i s(x, sigma_i) + sqrt(2 alpha_i) z,   alpha_i = epsilon sigma_i² / sigma_L²",
)


@dataclass(frozen=True)
class AnnealingParams(Params):
    """Budgets, levels, and the training of the learned score."""

    num_particles: int = flag(20_000, "particles, uniform on [-8, 8]² at the start")
    budgets: tuple[int, ...] = flag((100, 300, 1000, 5000), "network evaluations L T of each run, increasing", fewest=2)
    steps_per_level: int = flag(10, "T")
    sigma_max: float = flag(20.0, "sigma_1, in data units")
    sigma_min: float = flag(0.1, "sigma_L, in data units")
    step_ratio: float = flag(0.2, "epsilon / sigma_L² at 1,000 evaluations; at others times sqrt(1000 / evaluations)")
    plain_step_size: float = flag(0.05, "alpha of plain Langevin dynamics, in squared data units")
    learned_particles: int = flag(5000, "particles of the chains with the learned score")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(3000, "updates of the network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(2e-3, "of Adam at the start")


Params = AnnealingParams
QUICK = {"num_particles": 4000, "budgets": (100, 1000), "learned_particles": 1000, "train_steps": 800}
TRUE_WEIGHT = 0.8


@dataclass(kw_only=True)
class AnnealingResult(Result):
    """Weights and variances of the modes after each budget.

    Args:
        weights: of the large mode, one a budget; 0.8 in truth.
        weights_technique_4: with the step of technique 4 instead.
        plain_weights: of plain Langevin dynamics with as many steps.
        learned_weight: with the learned score, at 1,000 evaluations or the budget nearest to it.
        learned_plain_weight: of plain Langevin dynamics with the learned score at sigma_L, as many steps.
        learned_error: standard error of a weight of 0.8 among `learned_particles`.
        standard_errors: of `weights`.
        variances: of the two modes at 1,000 evaluations or the budget nearest to it, before the denoising.
        variances_technique_4: the same with the step of technique 4.
        denoised_variances: of the first, after the denoising.
        wide_denoised_variances: after a denoising at sigma_L = 1 instead.
        particles: after that budget, shape `(num_particles, 2)`.
        trace_sigmas: levels of the longest run.
        trace_weights: weight of the large mode after each.
    """

    weights: list[float]
    weights_technique_4: list[float]
    plain_weights: list[float]
    learned_weight: float
    learned_plain_weight: float
    learned_error: float
    standard_errors: list[float]
    variances: list[float]
    variances_technique_4: list[float]
    denoised_variances: list[float]
    wide_denoised_variances: list[float]
    particles: Tensor
    trace_sigmas: Tensor
    trace_weights: Tensor


def run(params: AnnealingParams) -> AnnealingResult:
    """Every budget with two step sizes, by the exact score of the noised mixture."""
    fewest, increasing = 2 * params.steps_per_level, sorted(set(params.budgets))
    if min(params.budgets) < fewest or list(params.budgets) != increasing:
        raise ValueError(f"budgets must be increasing, each of {fewest} (two levels) or more; got {params.budgets}.")
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture()
    score = exact_score_function(density)

    def anneal(
        budget: int,
        step_ratio: float | None,
        sigma_min: float = params.sigma_min,
        denoise: bool = False,
        score: NoisyScoreFn = score,
        num_particles: int = params.num_particles,
    ) -> Iterator[LangevinState]:
        """One run; `None` for technique 4's step."""
        return annealed_langevin_dynamics(
            score,
            uniform_square(num_particles, generator=generator),
            sigmas=geometric_noise_levels(params.sigma_max, sigma_min, budget // params.steps_per_level),
            steps_per_level=params.steps_per_level,
            step_size=None if step_ratio is None else step_ratio * (1000 / budget) ** 0.5 * sigma_min**2,
            denoise=denoise,
            generator=generator,
        )

    ends = [last_sample(anneal(budget, params.step_ratio)) for budget in params.budgets[:-1]]
    trace = []
    for state in anneal(params.budgets[-1], params.step_ratio):
        if state.step % params.steps_per_level == 0:
            trace.append((state.sigma, float(mode_weights(state.sample, density.means).weights[0])))
    ends.append(state.sample)
    ends_technique_4 = [last_sample(anneal(budget, None)) for budget in params.budgets]
    plain = plain_weights(density.score, params.num_particles, params, generator)

    def weight(x: Tensor) -> float:
        return float(mode_weights(x, density.means).weights[0])

    def variances(x: Tensor) -> list[float]:
        return mode_variances(x, density.means).variances.tolist()

    weights, weights_technique_4 = list(map(weight, ends)), list(map(weight, ends_technique_4))
    errors = [float(mode_weights(x, density.means).standard_errors[0]) for x in ends]
    middle = min(range(len(ends)), key=lambda i: abs(params.budgets[i] - 1000))
    middle_budget, particles = params.budgets[middle], ends[middle]
    own, technique_4 = variances(particles), variances(ends_technique_4[middle])
    denoised = variances(particles + params.sigma_min**2 * score(particles, torch.tensor(params.sigma_min)))
    wide = variances(last_sample(anneal(middle_budget, params.step_ratio, sigma_min=1.0, denoise=True)))
    learned = learn_scores(
        new_network(density, hidden_features=params.hidden_features, generator=generator),
        density,
        LogUniformSigmas(params.sigma_min, params.sigma_max),
        num_steps=params.train_steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        generator=generator,
    )
    by_learned = anneal(middle_budget, params.step_ratio, score=learned, num_particles=params.learned_particles)
    learned_weight = weight(last_sample(by_learned))
    learned_plain = plain_weights(at_level(learned, params.sigma_min), params.learned_particles, params, generator)[
        middle
    ]
    learned_error = (TRUE_WEIGHT * (1 - TRUE_WEIGHT) / params.learned_particles) ** 0.5
    error = (TRUE_WEIGHT * (1 - TRUE_WEIGHT) / params.num_particles) ** 0.5

    def bias(weight: float) -> float:
        """In standard errors of the exact score's chains."""
        return abs(weight - TRUE_WEIGHT) / error

    return AnnealingResult(
        params=params,
        checks=[
            Check(
                f"weight at {params.budgets[-1]:,} evaluations: distance from 0.8, in standard errors",
                bias(weights[-1]),
                "<=",
                4,
                null=bias(plain[-1]),
                null_name="plain Langevin dynamics",
            ),
            Check(
                f"bias at {params.budgets[0]:,} evaluations less that at {params.budgets[-1]:,}, in standard errors",
                (bias(weights[0]) - bias(weights[-1])) / 2**0.5,
                ">=",
                4,
                null=(bias(plain[0]) - bias(plain[-1])) / 2**0.5,
                null_name="plain Langevin dynamics",
            ),
            Check(
                f"learned score, weight at {middle_budget:,}: distance from 0.8, in standard errors",
                abs(learned_weight - TRUE_WEIGHT) / learned_error,
                "<=",
                4,
                null=abs(learned_plain - TRUE_WEIGHT) / learned_error,
                null_name="plain Langevin dynamics, learned score",
            ),
            Check(
                f"variance of the modes at {middle_budget:,}, denoised: largest distance from 1",
                max(abs(variance - 1) for variance in denoised),
                "<=",
                0.25 * max(abs(variance - 1) for variance in wide),
                null=max(abs(variance - 1) for variance in wide),
                null_name="denoised at sigma_L = 1",
            ),
        ],
        findings=[
            f"Weight of the large mode: {listed(params.budgets, weights)}; with technique 4's step: "
            f"{listed(params.budgets, weights_technique_4)} (standard errors {min(errors):.4f} to {max(errors):.4f}). "
            "Technique 4 looks at the variance around one point, not at weights. Plain Langevin dynamics: "
            f"{listed(params.budgets, plain)}.",
            f"With a learned score the weight is {learned_weight:.3f} ± {learned_error:.3f} at {middle_budget:,}, by "
            f"plain Langevin dynamics {learned_plain:.3f}.",
            f"Variance of the modes at {middle_budget:,}: {own[0]:.3f} and {own[1]:.3f} (technique 4's step: "
            f"{technique_4[0]:.3f} and {technique_4[1]:.3f}), {denoised[0]:.3f} and {denoised[1]:.3f} after denoising. "
            f"A denoising at sigma_L = 1 leaves {wide[0]:.2f} and {wide[1]:.2f}"
            + (", not 1: it takes away noise and width alike." if max(wide) <= 0.9 else "."),
        ],
        weights=weights,
        weights_technique_4=weights_technique_4,
        plain_weights=plain,
        learned_weight=learned_weight,
        learned_plain_weight=learned_plain,
        learned_error=learned_error,
        standard_errors=errors,
        variances=own,
        variances_technique_4=technique_4,
        denoised_variances=denoised,
        wide_denoised_variances=wide,
        particles=particles,
        trace_sigmas=torch.tensor([sigma for sigma, _ in trace]),
        trace_weights=torch.tensor([weight for _, weight in trace]),
    )


def plain_weights(
    score_fn: ScoreFn, num_particles: int, params: AnnealingParams, generator: torch.Generator
) -> list[float]:
    """Weight of the large mode after each budget of steps of one plain chain from the same kind of start."""
    start, means = uniform_square(num_particles, generator=generator), corner_mixture().means
    chain = langevin_dynamics(
        score_fn, start, step_size=params.plain_step_size, num_steps=params.budgets[-1], generator=generator
    )
    return [float(mode_weights(state.sample, means).weights[0]) for state in chain if state.step in params.budgets]


def listed(budgets: tuple[int, ...], weights: list[float]) -> str:
    """Weights with their budgets, in words."""
    return ", ".join(f"{weight:.3f} at {budget:,}" for budget, weight in zip(budgets, weights, strict=True))


def figure(result: AnnealingResult) -> Figure:
    """The particles, how the weight settles while sigma falls, and the bias against the budget."""
    params = result.params
    fig, (left, middle, right) = plots.new_figure(
        stated("Annealed Langevin dynamics recovers the weights, the better the longer it runs", result.checks[:2]),
        f"Mixture 0.8 / 0.2, sigma from {params.sigma_max:g} to {params.sigma_min:g}, exact score: "
        f"weight {result.weights[-1]:.3f} ± {result.standard_errors[-1]:.3f} after {params.budgets[-1]:,} evaluations, "
        f"plain Langevin dynamics {result.plain_weights[-1]:.3f}; learned score {result.learned_weight:.3f}",
        ncols=3,
        size=(10, 4.2),
    )
    plots.plane(left, (-9, 9, -9, 9))
    plots.samples(left, result.particles[:1500], "annealed")
    plots.panel_title(left, "annealed Langevin", "annealed")

    plots.line(middle, result.trace_sigmas, torch.full_like(result.trace_weights, 0.8), "true", dashed=True)
    plots.line(middle, result.trace_sigmas, result.trace_weights, "annealed")
    plots.log_axis(middle, "x")
    middle.invert_xaxis()
    middle.set(xlabel="noise level sigma, falling", ylim=(0, 1))
    plots.direct_label(middle, float(result.trace_sigmas[-1]), 0.8, "true 0.8", "true", offset=(-4, 8))
    plots.panel_title(middle, "weight of the large mode")

    for weights, colour, label in (
        (result.plain_weights, "plain", "null: plain"),
        (result.weights_technique_4, "second", "technique 4"),
        (result.weights, "annealed", "larger step"),
    ):
        bias = (torch.tensor(weights) - 0.8).abs()
        plots.line(right, params.budgets, bias, colour, label=label, markers=True)
    plots.log_axis(right, "x")
    plots.log_axis(right, "y")
    right.set(xlabel="evaluations")
    plots.panel_title(right, "bias of the weight")
    plots.label_ends(right)
    return fig
