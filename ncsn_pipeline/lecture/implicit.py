"""L2.  The score-matching loss depends on the model alone, and costs a derivative for each dimension.

How far a model s is from the data's score s* is the explicit loss, which needs s*; integration by parts gives the
implicit one, which does not:

    J_explicit(s) = E 1/2 || s(x) - s*(x) ||²
    J_implicit(s) = E [ 1/2 || s(x) ||² + tr(ds/dx) ] = J_explicit(s) - E 1/2 || s* ||²

The last term is the same for every s, so both losses have one gradient and one minimum.  It comes from Stein's
identity, E [ <s, s*> + tr(ds/dx) ] = 0, which is what is tested here: on samples, and by quadrature over the plane.
The trace takes a backward pass for each of the D dimensions.

Source: Hyvärinen 2005, theorem 1; for the cost, Song, Garg, Shi & Ermon 2019, section 2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..densities import GaussianMixture
from ..diagnostics import plots, relative_fisher_divergence
from ..score_matching import explicit_score_matching, implicit_score_matching
from .cost import count_operations, median_cpu_seconds, training_step
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import stated
from .single_level import three_bars
from .training import fit

CLAIM = Claim(
    number=2,
    name="implicit",
    at="01:52",
    sentence="The score-matching loss depends on the model alone, but needs the trace of its Jacobian.",
    equation="E 1/2 ||s||² + tr(ds/dx) = E 1/2 ||s - s*||² - E 1/2 ||s*||²",
)

PORTIONS = (0.0, 0.06, 0.1, 0.15, 1.0)  # of the training that each of the five networks gets
GRID = (-6.0, 6.0, -6.0, 6.0)  # beyond it lies less than 1e-15 of the density
PART = 5000  # points at a time


@dataclass(frozen=True)
class ImplicitParams(Params):
    """See the flags."""

    train_steps: int = flag(1000, "steps of the implicit loss that the best of the five networks gets")
    batch_size: int = flag(256, "samples per step")
    hidden_features: int = flag(64, "width of the networks' three hidden layers")
    learning_rate: float = flag(4e-3, "of Adam at the start")
    num_samples: int = flag(100_000, "samples on which both losses are compared")
    num_cells: int = flag(300, "cells of the quadrature along each side of the plane")
    dimensions: tuple[int, ...] = flag((4, 16, 64, 256), "D at which a step's cost is measured")
    num_repeats: int = flag(5, "steps timed at each D")


Params = ImplicitParams
QUICK = {"train_steps": 120, "num_samples": 10_000, "num_cells": 120, "dimensions": (4, 16, 64), "num_repeats": 2}


NO_TRACE = "without the trace"


@dataclass(kw_only=True)
class ImplicitResult(Result):
    """Both losses of five networks, and what a step costs.

    Args:
        steps: that each network was trained for.
        explicit: the explicit loss of each, on samples.
        implicit: the implicit one, on the same samples.
        standard_errors: of the difference of the two.
        constant: E 1/2 ||s*||², by quadrature.
        relative_error: of the best network's score.
        dimensions: D at which the cost was measured.
        operations: of an implicit step, in units of an explicit one.
        times: CPU time of an implicit step, likewise.
    """

    steps: list[int]
    explicit: list[float]
    implicit: list[float]
    standard_errors: list[float]
    constant: float
    relative_error: float
    dimensions: list[int]
    operations: list[float]
    times: list[float]


def run(params: ImplicitParams) -> ImplicitResult:
    """Trains five networks on the implicit loss, each for a different time, and compares it with the explicit one."""
    generator = torch.Generator().manual_seed(params.seed)
    bars = three_bars()
    density = GaussianMixture(bars.means.double(), bars.covariances.double(), bars.weights)
    steps = [round(portion * params.train_steps) for portion in PORTIONS]
    networks = [trained(bars, num_steps, params, generator).double() for num_steps in steps]

    x = density.sample(params.num_samples, generator=generator)
    true_score = density.score(x)
    explicit, implicit = (
        torch.stack([on_samples(loss, network, x, density) for network in networks])
        for loss in (explicit_loss, implicit_loss)
    )
    stein = implicit - explicit + true_score.square().sum(1) / 2  # <s, s*> + tr(ds/dx)
    spread = in_standard_errors(stein - stein.mean(0))
    square = torch.stack([on_samples(half_square, network, x, density) for network in networks])
    no_trace = square - explicit + true_score.square().sum(1) / 2

    points = plots.plane_grid(GRID, params.num_cells, torch.float64)
    cell = (GRID[1] - GRID[0]) * (GRID[3] - GRID[2]) / params.num_cells**2
    mass = density.log_prob(points).exp() * cell
    constant = float(mass @ density.score(points).square().sum(1) / 2)
    off, gradient_off, null_off, null_gradient_off = [], [], [], []
    for network in networks:
        of_explicit, gradient = expectation(explicit_loss, network, points, mass, density)
        for loss, offs, gradient_offs in (
            (implicit_loss, off, gradient_off),
            (half_square, null_off, null_gradient_off),
        ):
            found, its_gradient = expectation(loss, network, points, mass, density)
            offs.append(abs(found - of_explicit + constant) / constant)
            gradient_offs.append(float((its_gradient - gradient).norm() / gradient.norm()))

    operations, times = cost(params, generator)
    excess = [abs(count / (dimension + 1) - 1) for count, dimension in zip(operations, params.dimensions, strict=True)]
    ends, exactly = float(implicit[-1].mean()), max(excess) <= 0.02
    best = networks[-1].requires_grad_(False)
    relative_error = relative_fisher_divergence(score_of(best)(x), true_score)
    return ImplicitResult(
        params=params,
        checks=[
            Check(
                "implicit - explicit, between networks, in standard errors",
                spread,
                "<=",
                4,
                null=in_standard_errors(no_trace - no_trace.mean(0)),
                null_name=NO_TRACE,
            ),
            Check(
                "implicit - explicit + c, in standard errors",
                in_standard_errors(stein),
                "<=",
                4,
                null=in_standard_errors(no_trace),
                null_name=NO_TRACE,
            ),
            Check(
                "implicit - explicit + c by quadrature, in units of c",
                max(off),
                "<=",
                1e-6,
                null=min(null_off),
                null_name=NO_TRACE,
            ),
            Check(
                "gradients by quadrature: relative distance",
                max(gradient_off),
                "<=",
                1e-6,
                null=min(null_gradient_off),
                null_name=NO_TRACE,
            ),
            Check(
                "operations of an implicit step over D + 1 explicit ones: distance from 1",
                max(excess),
                "<=",
                0.02,
                null=max(1 - 1 / (dimension + 1) for dimension in params.dimensions),
                null_name="one explicit step",
            ),
        ],
        findings=[
            f"c = E||s*||²/2 is {constant:.3f} here: the implicit loss ends at {ends:.2f}"
            + ", not near 0" * (abs(ends) >= constant / 2)
            + ", and its value alone does not tell how good a network is, as c is unknown for real data.",
            f"Trained by the implicit loss alone, the best network has a relative error of {100 * relative_error:.1f} "
            "% against the clean density's own score.",
            f"An implicit step takes{' D + 1 times' * exactly} the operations of an explicit one: "
            f"{operations[-1]:.0f} times at D = {params.dimensions[-1]}, where it took "
            f"{times[-1]:.0f} times the CPU time.",
        ],
        steps=steps,
        explicit=explicit.mean(1).tolist(),
        implicit=implicit.mean(1).tolist(),
        standard_errors=(stein.std(1) / len(x) ** 0.5).tolist(),
        constant=constant,
        relative_error=relative_error,
        dimensions=list(params.dimensions),
        operations=operations,
        times=times,
    )


def trained(density: GaussianMixture, num_steps: int, params: ImplicitParams, generator: torch.Generator) -> nn.Module:
    """A network of its own, trained on the implicit loss for so many steps."""
    network = new_field(2, hidden_features=params.hidden_features, generator=generator)

    def loss_fn() -> Tensor:
        return implicit_score_matching(score_of(network), density.sample(params.batch_size, generator=generator))

    if num_steps:
        fit(network.parameters(), loss_fn, num_steps=num_steps, learning_rate=params.learning_rate)
    return network


def explicit_loss(network: nn.Module, x: Tensor, density: GaussianMixture) -> Tensor:
    """1/2 ||s - s*||²: it asks the density."""
    return explicit_score_matching(score_of(network), x, density.score)


def implicit_loss(network: nn.Module, x: Tensor, density: GaussianMixture) -> Tensor:
    """1/2 ||s||² + tr(ds/dx): it does not."""
    return implicit_score_matching(score_of(network), x)


def half_square(network: nn.Module, x: Tensor, density: GaussianMixture) -> Tensor:
    """1/2 ||s||²: the implicit loss without its trace."""
    return score_of(network)(x).square().sum(1) / 2


Loss = Callable[[nn.Module, Tensor, GaussianMixture], Tensor]


@torch.no_grad()
def on_samples(loss: Loss, network: nn.Module, x: Tensor, density: GaussianMixture) -> Tensor:
    """The loss of every sample, shape `(N,)`."""
    return torch.cat([loss(network, part, density) for part in x.split(PART)])


def expectation(
    loss: Loss, network: nn.Module, points: Tensor, mass: Tensor, density: GaussianMixture
) -> tuple[float, Tensor]:
    """The expected loss as a sum over cells of the plane, and its gradient in all parameters."""
    network.zero_grad()
    value = 0.0
    for x, p in zip(points.split(PART), mass.split(PART), strict=True):
        part = p @ loss(network, x, density)
        part.backward()
        value += float(part.detach())
    return value, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def in_standard_errors(values: Tensor) -> float:
    """The largest |mean| of the rows, each in units of its standard error; shape `(K, N)`."""
    return float((values.mean(1) / values.std(1)).abs().max() * values.shape[1] ** 0.5)


def cost(params: ImplicitParams, generator: torch.Generator) -> tuple[list[float], list[float]]:
    """Operations and CPU time of an implicit step at each D, in units of an explicit one."""
    operations, times = [], []
    for dimension in params.dimensions:
        network = new_field(dimension, hidden_features=params.hidden_features, generator=generator)
        x, true_score = torch.randn(2, -(-params.batch_size // 2), dimension, generator=generator)
        score_fn = score_of(network)
        steps = {
            "explicit": training_step(network, lambda s=score_fn, x=x, t=true_score: explicit_score_matching(s, x, t)),
            "implicit": training_step(network, lambda s=score_fn, x=x: implicit_score_matching(s, x)),
        }
        counted = {name: count_operations(step) for name, step in steps.items()}
        seconds = median_cpu_seconds(steps, params.num_repeats)
        operations.append(counted["implicit"] / counted["explicit"])
        times.append(seconds["implicit"] / seconds["explicit"])
    return operations, times


def figure(result: ImplicitResult) -> Figure:
    """The two losses of each network against each other, and the cost over D."""
    fig, (left, right) = plots.new_figure(
        stated(
            "Score matching does not need the true score: with it or without, the loss differs by a constant",
            result.checks[:4],
        ),
        f"Five networks in the plane, E||s*||²/2 = {result.constant:.2f}; the trace of the Jacobian takes D backward "
        f"passes: {result.operations[-1]:.0f} times the operations at D = {result.dimensions[-1]}",
        ncols=2,
        width_ratios=(1.1, 1),
    )
    ends = torch.tensor([0.0, 1.08 * max(result.explicit)])
    plots.line(left, ends, ends - result.constant, "true", dashed=True)
    plots.direct_label(
        left, 0.38 * float(ends[1]), 0.38 * float(ends[1]) - result.constant, "explicit - c", offset=(-8, 4)
    )
    for x, y in zip(result.explicit, result.implicit, strict=True):
        left.plot(x, y, "o", color=plots.colour_of("learned"), markersize=8, markeredgecolor="white", zorder=5)
    named = {"untrained": (0, (-10, 4)), f"{result.steps[-1]:,} steps of training": (-1, (13, 0))}
    for name, (network, offset) in named.items():
        plots.direct_label(left, result.explicit[network], result.implicit[network], name, "learned", offset)
    plots.panel_title(left, "implicit loss")
    left.set(xlabel="explicit loss, the Fisher divergence", xlim=(-0.04 * ends[1], ends[1]))
    left.margins(y=0.08)

    plots.line(right, result.dimensions, result.operations, "true", dashed=True, label="operations")
    times = plots.line(right, result.dimensions, result.times, "learned", markers=True, label="CPU time")
    times.set_clip_on(False)
    plots.log_axis(right, "xy")
    plots.panel_title(right, "implicit step, in explicit steps")
    right.set(xlabel="dimensions D", xticks=result.dimensions)
    plots.label_ends(right)
    return fig
