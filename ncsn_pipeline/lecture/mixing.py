"""L10.  Langevin dynamics mixes too slowly: particles land in the wrong proportion.

Between two modes with (almost) disjoint supports the score does not know their weights,

    p(x) = w p_1(x) + (1 - w) p_2(x):        grad log p = grad log p_1  where p_2 = 0,  whatever w is,

so a particle climbs the mode on whose side it started, and a jump to the other takes a time that is exponential in the
height of the barrier.  The score here is exact: this is no matter of learning.

Source: Song & Ermon 2019, section 3.2.2 and figure 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import ScoreFn
from ..diagnostics import mode_weights, plots
from ..sampling import langevin_dynamics
from .experiment import Check, Claim, Params, Result, flag
from .toy import corner_mixture, uniform_square

CLAIM = Claim(
    number=10,
    name="mixing",
    at="08:55, 24:53",
    sentence="Langevin dynamics mixes too slowly between modes: particles land in the wrong proportion.",
    equation="x <- x + alpha grad log p(x) + sqrt(2 alpha) z",
)


@dataclass(frozen=True)
class MixingParams(Params):
    """See the flags."""

    num_particles: int = flag(10_000, "particles, uniform on [-8, 8]² at the start")
    num_steps: int = flag(1000, "Langevin steps")
    step_size: float = flag(0.05, "alpha, in squared data units; the paper's 0.1, which it writes alpha / 2")
    std: float = flag(1.0, "deviation of both modes, in data units")


Params = MixingParams
QUICK = {"num_particles": 2000, "num_steps": 300}


@dataclass(kw_only=True)
class MixingResult(Result):
    """The weight of the large mode, 0.8 in truth.

    Args:
        weight: found by the particles at the end.
        standard_error: of it.
        steps: at which it was looked at, shape `(n,)`.
        weights: found there, shape `(n,)`.
        particles: at the end, shape `(num_particles, 2)`.
        exact: as many samples of the density itself.
    """

    weight: float
    standard_error: float
    steps: Tensor
    weights: Tensor
    particles: Tensor
    exact: Tensor


def run(params: MixingParams) -> MixingResult:
    """Plain Langevin dynamics with the exact score of the mixture 0.8 / 0.2."""
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture(params.std)
    start = uniform_square(params.num_particles, generator=generator)
    steps, weights = [0], [float(mode_weights(start, density.means).weights[0])]
    for step, x in watched(density.score, start, params, generator):
        steps.append(step)
        weights.append(float(mode_weights(x, density.means).weights[0]))
    found = mode_weights(x, density.means)
    weight, standard_error = float(found.weights[0]), float(found.standard_errors[0])
    return MixingResult(
        params=params,
        checks=[Check("weight of the large mode: distance from 0.8", abs(weight - 0.8), ">", 0.2)],
        findings=[
            f"The large mode got {weight:.3f} ± {standard_error:.3f} of the particles, 0.8 in truth; the start "
            f"gave it {weights[0]:.3f}, and {params.num_steps:,} steps changed that by {weight - weights[0]:+.3f}."
        ],
        weight=weight,
        standard_error=standard_error,
        steps=torch.tensor(steps),
        weights=torch.tensor(weights),
        particles=x,
        exact=density.sample(params.num_particles, generator=generator),
    )


def watched(
    score_fn: ScoreFn, x: Tensor, params: MixingParams, generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Every twentieth of the run."""
    every = max(1, params.num_steps // 20)
    chain = langevin_dynamics(score_fn, x, step_size=params.step_size, num_steps=params.num_steps, generator=generator)
    return ((state.step, state.sample) for state in chain if state.step % every == 0 or state.step == params.num_steps)


def figure(result: MixingResult) -> Figure:
    """The density, where the particles are, and the weight over the steps."""
    extent = (-9, 9, -9, 9)
    fig, (left, middle, right) = plots.new_figure(
        "Plain Langevin dynamics keeps the proportion it started with",
        f"Mixture 0.8 / 0.2, exact score, {result.params.num_steps:,} steps from a uniform start: "
        f"{result.weight:.3f} ± {result.standard_error:.3f} of the particles end in the large mode",
        ncols=3,
        size=(10, 4.2),
    )
    shown = slice(0, 1500)
    for axes, x, colour, title in (
        (left, result.exact, "true", "samples of the density"),
        (middle, result.particles, "plain", "plain Langevin"),
    ):
        plots.plane(axes, extent)
        plots.samples(axes, x[shown], colour)
        plots.panel_title(axes, title, colour)
    plots.line(right, result.steps, torch.full_like(result.weights, 0.8), "true", dashed=True, label="true 0.8")
    plots.line(right, result.steps, result.weights, "plain", label="plain")
    plots.panel_title(right, "weight of the large mode")
    right.set(xlabel="step", ylim=(0, 1))
    plots.label_ends(right)
    return fig
