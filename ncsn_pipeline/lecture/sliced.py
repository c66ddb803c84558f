"""L5.  Sliced score matching: random projections instead of the trace, unbiased and scalable, slower than denoising.

The trace of the implicit loss is the mean of <v, (ds/dx) v> over random directions v with E v v^T = I, so that

    plain      l(x) = <v, (ds/dx) v> + 1/2 <v, s(x)>²
    reduced    l(x) = <v, (ds/dx) v> + 1/2 || s(x) ||²

both have the implicit loss for their mean, for two backward passes instead of D + 1.  What the direction costs is
variance; the reduced form has less of it, as it knows its square.  With one exception: for the exact score -P x of
Gaussian data and Rademacher directions,

    Var reduced = 2 A        Var plain = A + B / 2        A = sum_{i != j} P_ij²,  B = sum_{i != j} P_ii P_jj,

and data that are flat in a single direction n, P ~ n n^T, have A = B: there the reduced form is the worse one.
Directions of length 1 break E v v^T = I and are the null of what is said of the mean.

Source: Song, Garg, Shi & Ermon 2019, section 3; finite differences: Pang et al. 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, ScoreFn
from ..diagnostics import plots
from ..score_matching import (
    denoising_score_matching,
    draw_projections,
    finite_difference_score_matching,
    implicit_score_matching,
    sliced_score_matching,
)
from .cost import count_operations, cpu_seconds, median_cpu_seconds, training_step
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import stated
from .training import fit

CLAIM = Claim(
    number=5,
    name="sliced",
    at="05:43",
    sentence="Sliced score matching compares random projections: unbiased and scalable, but slower than denoising.",
    equation="E_v [ <v, (ds/dx) v> + 1/2 ||s||² ] = tr(ds/dx) + 1/2 ||s||²",
)

FORMS = {"plain": False, "reduced": True}
UNIT_LENGTH = "directions of length 1"
DIRECTIONS = {"Gaussian": "gaussian", "sphere": "sphere", "Rademacher": "rademacher"}


@dataclass(frozen=True)
class SlicedParams(Params):
    """Dimensions, samples, and what is timed."""

    dimensions: tuple[int, ...] = flag((4, 16, 64), "D at which bias and variance are measured", least=2)
    num_samples: int = flag(10_000, "samples for them, one projection each")
    train_steps: int = flag(200, "steps of the sliced loss that the networks get before")
    batch_size: int = flag(128, "samples per step, in training and where a step is timed")
    hidden_features: int = flag(128, "width of the networks' three hidden layers")
    learning_rate: float = flag(2e-3, "of Adam at the start")
    epsilon: float = flag(0.03, "displacement of the finite differences, in data units")
    timed_dimensions: tuple[int, ...] = flag((2, 16, 64, 784), "D at which a step is timed")
    num_repeats: int = flag(15, "steps timed at each D")
    exact_repeats: int = flag(2, "steps with the exact trace timed at each D")


Params = SlicedParams
QUICK = {"num_samples": 2000, "train_steps": 150, "hidden_features": 64}
QUICK |= {"timed_dimensions": (2, 16, 64), "num_repeats": 5, "exact_repeats": 1}


@dataclass(kw_only=True)
class SlicedResult(Result):
    """What a random direction adds to the implicit loss, and what a step costs.

    Args:
        dimensions: D at which bias and deviation were measured.
        biases: mean of the sliced less the implicit loss in standard errors, at each D, by estimator.
        deviations: standard deviation of the sliced loss over its direction, likewise.
        flat_ratios: variance of the reduced over the plain form on Gaussian data flat in one direction, at each D.
        timed_dimensions: D at which a step was timed.
        times: CPU time of a step, in units of denoising, at each D, by loss.
        operations: of a sliced step, in units of denoising, at each D.
        exact_operations: of a step with the exact trace, likewise.
    """

    dimensions: list[int]
    biases: dict[str, list[float]]
    deviations: dict[str, list[float]]
    flat_ratios: list[float]
    timed_dimensions: list[int]
    times: dict[str, list[float]]
    operations: list[float]
    exact_operations: list[float]


def run(params: SlicedParams) -> SlicedResult:
    """Compares every form of the sliced loss with the exact trace, sample by sample, and times a step of each loss."""
    generator = torch.Generator().manual_seed(params.seed)
    biases: dict[str, list[float]] = {}
    deviations: dict[str, list[float]] = {}
    flat_ratios = []
    for dimension in params.dimensions:
        density = four_clusters(dimension, generator)
        score_fn = learned(density, params, generator)
        x = density.sample(params.num_samples, generator=generator)
        for name, residual in residuals(score_fn, x, params.epsilon, generator):
            mean, deviation = float(residual.mean()), float(residual.std())
            biases.setdefault(name, []).append(mean / deviation * len(x) ** 0.5)
            deviations.setdefault(name, []).append(deviation)
        flat = flat_gaussian(dimension)
        x = flat.sample(params.num_samples, generator=generator)
        spread = {name: float(residual.var()) for name, residual in residuals(flat.score, x, params.epsilon, generator)}
        flat_ratios.append(spread["Rademacher, reduced"] / spread["Rademacher, plain"])

    times: dict[str, list[float]] = {}
    operations, exact_operations = [], []
    for dimension in params.timed_dimensions:
        seconds, ratio, exact_ratio = cost(dimension, params, generator)
        operations.append(ratio)
        exact_operations.append(exact_ratio)
        for name, value in seconds.items():
            times.setdefault(name, []).append(value / seconds["denoising"])

    checks = []
    for name in (f"{direction}, {form}" for form in FORMS for direction in DIRECTIONS):
        checks.append(
            Check(
                f"bias, largest of all D, in standard errors: {name}",
                largest(biases[name]),
                "<=",
                4,
                null=largest(biases[UNIT_LENGTH]),
                null_name=UNIT_LENGTH,
            )
        )
    spreads = zip(
        params.dimensions, deviations["Rademacher, reduced"], deviations["Rademacher, plain"], flat_ratios, strict=True
    )
    for dimension, reduced, plain, flat_ratio in spreads:
        checks.append(
            Check(
                f"variance, reduced / plain, D = {dimension}",
                (reduced / plain) ** 2,
                "<=",
                0.5 * flat_ratio,
                null=flat_ratio,
                null_name="data flat in one direction",
            )
        )
    exact, sliced, denoising = times["exact trace"], times["sliced"], times["denoising"]
    growth = {name: each[-1] / each[0] for name, each in times.items()}
    lowest, highest = params.timed_dimensions[0], params.timed_dimensions[-1]
    checks += [
        Check(
            "operations, sliced / denoising, largest of all D",
            max(operations),
            "<=",
            2.5,
            null=max(exact_operations),
            null_name="exact trace",
        ),
        Check(
            "CPU time, sliced / denoising, least of all D",
            min(sliced),
            ">=",
            1.5,
            null=min(denoising),
            null_name="denoising itself",
            timing=True,
        ),
        Check(
            f"CPU time, exact trace / sliced: growth from D = {lowest} to {highest}",
            growth["exact trace"] / growth["sliced"],
            ">=",
            4 * growth["sliced"],
            null=growth["sliced"],
            null_name="sliced / denoising",
            timing=True,
        ),
    ]
    return SlicedResult(
        params=params,
        checks=checks,
        findings=[
            f"In units of a denoising step (CPU time, D = {', '.join(map(str, params.timed_dimensions))}): sliced "
            f"{listed(sliced)}; finite differences {listed(times['finite differences'])}; exact trace {listed(exact)}. "
            f"At D = {highest} one exact step is {exact[-1] / sliced[-1]:.0f} sliced ones.",
            (
                "The reduced form is not better everywhere: on Gaussian data that are flat in one direction it has "
                if max(flat_ratios) > 1
                else "On Gaussian data that are flat in one direction the reduced form has "
            )
            + f"{listed(flat_ratios)} times the plain one's variance (D = {', '.join(map(str, params.dimensions))}; in "
            "theory 4/3 at every D).",
            f"Finite differences (epsilon {params.epsilon:g}) need no second derivative; their bias was "
            f"{listed(biases['finite differences'])} standard errors, at the spread of the sphere's reduced form.",
        ],
        dimensions=list(params.dimensions),
        biases=biases,
        deviations=deviations,
        flat_ratios=flat_ratios,
        timed_dimensions=list(params.timed_dimensions),
        times=times,
        operations=operations,
        exact_operations=exact_operations,
    )


def largest(deviations: list[float]) -> float:
    """The largest of them, whatever their signs."""
    return max(map(abs, deviations))


def listed(numbers: list[float]) -> str:
    """1.9, 10, 550."""
    return ", ".join(f"{number:.2g}" if abs(number) < 10 else f"{number:.0f}" for number in numbers)


def four_clusters(dimension: int, generator: torch.Generator) -> GaussianMixture:
    """Four Gaussians of unit deviation, their means anywhere at the distance 2 from the origin."""
    means = torch.randn(4, dimension, generator=generator)
    return GaussianMixture(2 * means / means.norm(dim=1, keepdim=True))


def flat_gaussian(dimension: int, thickness: float = 0.05) -> GaussianMixture:
    """One Gaussian of unit deviation, but for the direction (1, ..., 1), across which it is `thickness`."""
    normal = torch.full((dimension,), dimension**-0.5)
    covariance = torch.eye(dimension) - (1 - thickness**2) * normal[:, None] * normal
    return GaussianMixture(torch.zeros(1, dimension), covariance[None])


def learned(density: GaussianMixture, params: SlicedParams, generator: torch.Generator) -> ScoreFn:
    """A network trained on the sliced loss, so that its Jacobian is like one met in training."""
    network = new_field(density.means.shape[1], hidden_features=params.hidden_features, generator=generator)
    score_fn = score_of(network)

    def loss_fn() -> Tensor:
        return sliced_score_matching(
            score_fn, density.sample(params.batch_size, generator=generator), generator=generator
        )

    fit(network.parameters(), loss_fn, num_steps=params.train_steps, learning_rate=params.learning_rate)
    return score_fn


@torch.no_grad()
def residuals(score_fn: ScoreFn, x: Tensor, epsilon: float, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Every estimator less the implicit loss, sample by sample, shape `(N,)`, with its name."""
    implicit = torch.cat([implicit_score_matching(score_fn, part) for part in x.split(1000)])
    for direction, distribution in DIRECTIONS.items():
        v = draw_projections(x, 1, distribution, generator)
        for form, reduced in FORMS.items():
            loss = sliced_score_matching(score_fn, x, projections=v, variance_reduced=reduced)
            yield f"{direction}, {form}", (loss - implicit).double()
    v = draw_projections(x, 1, "sphere", generator) / x.shape[1] ** 0.5
    yield UNIT_LENGTH, (sliced_score_matching(score_fn, x, projections=v) - implicit).double()
    loss = finite_difference_score_matching(score_fn, x, epsilon=epsilon, generator=generator)
    yield "finite differences", (loss - implicit).double()


def cost(dimension: int, params: SlicedParams, generator: torch.Generator) -> tuple[dict[str, float], float, float]:
    """CPU seconds of a step of each loss; operations of a sliced and of an exact one in units of denoising."""
    network = new_field(dimension, hidden_features=params.hidden_features, generator=generator)
    s, epsilon = score_of(network), params.epsilon
    x = torch.randn(params.batch_size, dimension, generator=generator)
    losses = {
        "denoising": lambda: denoising_score_matching(s, x, 0.1, generator=generator),
        "finite differences": lambda: finite_difference_score_matching(s, x, epsilon=epsilon, generator=generator),
        "sliced": lambda: sliced_score_matching(s, x, generator=generator),
    }
    steps = {name: training_step(network, loss_fn) for name, loss_fn in losses.items()}
    seconds = median_cpu_seconds(steps, params.num_repeats)
    # By itself: seconds per step where D is large, and memory that would leave the others with cold caches.
    exact = training_step(network, lambda: implicit_score_matching(s, x))
    seconds["exact trace"] = min(cpu_seconds(exact) for _ in range(params.exact_repeats))
    operations = {name: count_operations(steps[name]) for name in ("sliced", "denoising")}
    few = x[:4]  # operations grow with the batch alone, and the exact trace has very many
    of_few = count_operations(training_step(network, lambda: implicit_score_matching(s, few)))
    exact_operations = of_few * len(x) / len(few)
    return seconds, operations["sliced"] / operations["denoising"], exact_operations / operations["denoising"]


def figure(result: SlicedResult) -> Figure:
    """The spread of each form over D, and the time of a step."""
    dimension, exact, sliced = result.timed_dimensions[-1], result.times["exact trace"][-1], result.times["sliced"][-1]
    least, most = min(result.times["sliced"]), max(result.times["sliced"])
    price = "twice the price of denoising at any dimension"
    if not 1.5 <= least <= most < 2.5:
        price = f"{least:.1f} to {most:.1f} times the price of denoising"
    unbiased = [check for check in result.checks if check.name.startswith("bias")]
    fig, (left, right) = plots.new_figure(
        stated(f"Sliced score matching: unbiased, and {price}", unbiased),
        f"At D = {dimension} a step takes {sliced:.1f} times the CPU time of denoising, "
        f"with the exact trace {exact:.0f} times",
        ncols=2,
    )
    dotted, dashed = (0, (1, 1.2)), (0, (4, 2))
    for direction, stroke in zip(DIRECTIONS, (dotted, dashed, "-"), strict=True):
        plain, reduced = (result.deviations[f"{direction}, {form}"] for form in FORMS)
        name = "plain" if direction == "Rademacher" else None  # one name: the three lie on each other
        for values, colour, label in ((plain, "plain", name), (reduced, "learned", direction)):
            curve = plots.line(left, result.dimensions, values, colour, label=label, markers=True)
            curve.set(linestyle=stroke, clip_on=False)
    middle = len(result.dimensions) // 2
    plots.direct_label(left, result.dimensions[middle], reduced[middle], "reduced", "learned", offset=(8, -8))
    colours = {"exact trace": "true", "sliced": "learned", "finite differences": "second", "denoising": "muted"}
    for name, colour in colours.items():
        curve = plots.line(right, result.timed_dimensions, result.times[name], colour, label=name, markers=True)
        curve.set_clip_on(False)
    plots.null_line(right, 1, "no slower")
    plots.panel_title(left, "deviation of the loss over v")
    plots.panel_title(right, "CPU time of a step, denoising = 1")
    for axes, dimensions in ((left, result.dimensions), (right, result.timed_dimensions)):
        plots.log_axis(axes, "xy")
        axes.set(xlabel="dimensions D", xticks=dimensions)
        plots.label_ends(axes)
    return fig
