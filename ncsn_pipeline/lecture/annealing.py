"""L13.  Annealed Langevin dynamics: run Langevin at sigma_1, start the next level from its samples, and so on down.

At a large sigma the noised modes

    p_sigma = w N(mu_1, (1 + sigma²) I) + (1 - w) N(mu_2, (1 + sigma²) I)

overlap, so particles pass freely and take the right proportion; as sigma falls the modes part, and each keeps what it
has.  With T steps at each of L levels of geometric levels, alpha_i = epsilon sigma_i² / sigma_L².  A finite budget of
N = L T evaluations leaves a bias: the particles lag behind the density that they follow, by about 1 / (epsilon N), and
the step itself has an error of order epsilon.  With epsilon falling as 1 / sqrt(N) both vanish together.

The modes end with variance 1 + sigma_L².  The denoising step x + sigma_L² s(x, sigma_L) maps that to
1 / (1 + sigma_L²), which is near the density's own only where sigma_L is small.

Source: Song & Ermon 2019, algorithm 1 and figure 3; technique 4 of Song & Ermon 2020 for epsilon.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import exact_score_function
from ..diagnostics import mode_variances, mode_weights, plots
from ..noise_levels import geometric_noise_levels
from ..sampling import LangevinState, annealed_langevin_dynamics, last_sample
from .experiment import Check, Claim, Params, Result, flag
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
    """See the flags."""

    num_particles: int = flag(20_000, "particles, uniform on [-8, 8]² at the start")
    budgets: tuple[int, ...] = flag((100, 300, 1000, 5000), "network evaluations L T of each run, increasing")
    steps_per_level: int = flag(10, "T")
    sigma_max: float = flag(20.0, "sigma_1, in data units")
    sigma_min: float = flag(0.1, "sigma_L, in data units")
    step_ratio: float = flag(0.2, "epsilon / sigma_L² at 1,000 evaluations; at others times sqrt(1000 / evaluations)")


Params = AnnealingParams
QUICK = {"num_particles": 4000, "budgets": (100, 1000)}
FINE_BUDGET = 5000  # evaluations from which on the bias is below 0.01


@dataclass(kw_only=True)
class AnnealingResult(Result):
    """Weights and variances of the modes after each budget.

    Args:
        weights: of the large mode, one a budget; 0.8 in truth.
        weights_technique_4: with the step of technique 4 instead.
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
    if len(params.budgets) < 2 or min(params.budgets) < fewest or list(params.budgets) != increasing:
        raise ValueError(
            f"budgets must be at least two, increasing, each of {fewest} (two levels) or more; got {params.budgets}."
        )
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture()
    score = exact_score_function(density)

    def anneal(
        budget: int, step_ratio: float | None, sigma_min: float = params.sigma_min, denoise: bool = False
    ) -> Iterator[LangevinState]:
        """One run; `None` for technique 4's step."""
        return annealed_langevin_dynamics(
            score,
            uniform_square(params.num_particles, generator=generator),
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
    wrong_width = max(abs(variance / (1 + params.sigma_min**2) - 1) for variance in own)
    fine = [
        Check(f"weight at {budget:,} evaluations: distance from 0.8", abs(found - 0.8), "<=", 0.01)
        for budget, found in zip(params.budgets, weights, strict=True)
        if budget >= FINE_BUDGET
    ]
    return AnnealingResult(
        params=params,
        checks=[
            Check(
                f"weight at {middle_budget:,} evaluations: distance from 0.8", abs(weights[middle] - 0.8), "<=", 0.05
            ),
            *fine,
            Check(
                f"bias at {params.budgets[-1]:,} evaluations less the bias at {params.budgets[0]:,}",
                abs(weights[-1] - 0.8) - abs(weights[0] - 0.8),
                "<",
                0.0,
            ),
            Check(f"variance of the modes at {middle_budget:,}: off from 1 + sigma_L²", wrong_width, "<=", 0.1),
        ],
        findings=[
            f"Weight of the large mode: {listed(params.budgets, weights)}; with technique 4's step: "
            f"{listed(params.budgets, weights_technique_4)} (standard errors {min(errors):.4f} to {max(errors):.4f}). "
            "Technique 4 looks at the variance around one point, not at weights.",
            f"Variance of the modes at {middle_budget:,}: {own[0]:.3f} and {own[1]:.3f} (technique 4's step: "
            f"{technique_4[0]:.3f} and {technique_4[1]:.3f}), {denoised[0]:.3f} and {denoised[1]:.3f} after denoising. "
            f"A denoising at sigma_L = 1 leaves {wide[0]:.2f} and {wide[1]:.2f}, not 1: it takes away noise and width "
            "alike.",
        ],
        weights=weights,
        weights_technique_4=weights_technique_4,
        standard_errors=errors,
        variances=own,
        variances_technique_4=technique_4,
        denoised_variances=denoised,
        wide_denoised_variances=wide,
        particles=particles,
        trace_sigmas=torch.tensor([sigma for sigma, _ in trace]),
        trace_weights=torch.tensor([weight for _, weight in trace]),
    )


def listed(budgets: tuple[int, ...], weights: list[float]) -> str:
    """Weights with their budgets, in words."""
    return ", ".join(f"{weight:.3f} at {budget:,}" for budget, weight in zip(budgets, weights, strict=True))


def figure(result: AnnealingResult) -> Figure:
    """The particles, how the weight settles while sigma falls, and the bias against the budget."""
    params = result.params
    fig, (left, middle, right) = plots.new_figure(
        "Annealed Langevin dynamics recovers the weights, the better the longer it runs",
        f"Mixture 0.8 / 0.2, sigma from {params.sigma_max:g} to {params.sigma_min:g}, exact score: "
        f"weight {result.weights[-1]:.3f} ± {result.standard_errors[-1]:.3f} after {params.budgets[-1]:,} evaluations",
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
