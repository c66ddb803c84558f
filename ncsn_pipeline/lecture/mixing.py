"""L10.  Langevin dynamics mixes too slowly: particles land in the wrong proportion.

Between two modes with (almost) disjoint supports the score does not know their weights,

    p(x) = w p_1(x) + (1 - w) p_2(x):        grad log p = grad log p_1  where p_2 = 0,  whatever w is,

so a particle climbs the mode on whose side it started, and a jump to the other takes a time that is exponential in the
height of the barrier.  The score here is exact: this is no matter of learning.

A start spread over the plane would test the start alone, since its particles climb to the wrong proportion in one step.
Here chains start in the modes, with several proportions, the right one among them.  Plain Langevin dynamics ends with
whatever it started with.  The null is annealed Langevin dynamics from the same starts, with as many steps: it forgets
them, and ends with the right proportion from each.

Source: Song & Ermon 2019, section 3.2.2 and figure 3.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, exact_score_function
from ..diagnostics import mode_weights, nearest_mode, plots
from ..noise_levels import geometric_noise_levels
from ..sampling import LangevinState, annealed_langevin_dynamics, langevin_dynamics
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .toy import corner_mixture

CLAIM = Claim(
    number=10,
    name="mixing",
    at="08:55, 24:53",
    sentence="Langevin dynamics mixes too slowly between modes: particles land in the wrong proportion.",
    equation="x <- x + alpha grad log p(x) + sqrt(2 alpha) z",
)
TRUE_SHARE = 0.8
STEPS_PER_LEVEL = 10  # of the annealed chain
NUM_WATCHED = 20  # times that a chain is looked at


@dataclass(frozen=True)
class MixingParams(Params):
    """Two modes, several starts, and the length of the chains."""

    num_particles: int = flag(5000, "particles of each chain")
    num_steps: int = flag(1000, "Langevin steps")
    step_size: float = flag(0.05, "alpha, in squared data units; the paper's 0.1, which it writes alpha / 2")
    std: float = flag(1.0, "deviation of both modes, in data units")
    shares: tuple[float, ...] = flag(
        (0.2, 0.5, 0.8), "share of the large mode at the start, each its own chain", below=1
    )
    sigma_max: float = flag(20.0, "largest noise level of the annealed chain, in data units")
    sigma_min: float = flag(0.1, "smallest noise level of the annealed chain, in data units")
    relative_step: float = flag(0.2, "alpha_i / sigma_i² of the annealed chain, below 2", below=2)


Params = MixingParams
QUICK = {"num_particles": 2000, "num_steps": 300}


@dataclass(kw_only=True)
class MixingResult(Result):
    """The share of the large mode, 0.8 in truth, by each chain, one a start.

    Args:
        plain: at the end of plain Langevin dynamics.
        annealed: at the end of annealed Langevin dynamics.
        standard_error: of a share of 0.8 among as many independent particles.
        plain_crossings: particles that end in another mode than they started in, of all starts.
        annealed_crossings: the same of the annealed chains.
        plain_traces: the share at times of the run, shape `(starts, NUM_WATCHED + 1)`.
        annealed_traces: likewise.
        progress: of these times, 0 to 1.
        particles: plain, at the end from the first start, shape `(num_particles, 2)`.
        annealed_particles: likewise.
    """

    plain: list[float]
    annealed: list[float]
    standard_error: float
    plain_crossings: int
    annealed_crossings: int
    plain_traces: Tensor
    annealed_traces: Tensor
    progress: Tensor
    particles: Tensor
    annealed_particles: Tensor


def run(params: MixingParams) -> MixingResult:
    """Plain and annealed Langevin dynamics from the same starts, with the exact score of the mixture 0.8 / 0.2."""
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture(params.std)
    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, max(2, params.num_steps // STEPS_PER_LEVEL))
    steps_per_level = max(1, params.num_steps // len(levels))

    traces, crossings, ends = {"plain": [], "annealed": []}, {"plain": 0, "annealed": 0}, {"plain": [], "annealed": []}
    for share in params.shares:
        start = start_in_modes(density, share, params.num_particles, generator)
        plain = langevin_dynamics(
            density.score, start, step_size=params.step_size, num_steps=params.num_steps, generator=generator
        )
        annealed = annealed_langevin_dynamics(
            exact_score_function(density),
            start,
            sigmas=levels,
            steps_per_level=steps_per_level,
            step_size=params.relative_step * params.sigma_min**2,
            denoise=False,
            generator=generator,
        )
        for kind, chain, num_steps in (
            ("plain", plain, params.num_steps),
            ("annealed", annealed, len(levels) * steps_per_level),
        ):
            trace, end = watched(start, chain, num_steps, density)
            traces[kind].append(trace)
            ends[kind].append(end)
            crossings[kind] += int((nearest_mode(start, density.means) != nearest_mode(end, density.means)).sum())

    found = {kind: [float(trace[-1]) for trace in traces[kind]] for kind in traces}
    standard_error = (TRUE_SHARE * (1 - TRUE_SHARE) / params.num_particles) ** 0.5
    moved = {kind: _farthest(found[kind], params.shares) / standard_error for kind in found}
    wrong = {kind: _farthest(found[kind], [TRUE_SHARE] * len(params.shares)) / standard_error for kind in found}
    total = len(params.shares) * params.num_particles
    null_name = "annealed chain from the same start"
    starts = ", ".join(f"{share:g}" for share in params.shares)
    return MixingResult(
        params=params,
        checks=[
            Check(
                "share of the large mode: farthest from its start, in standard errors",
                moved["plain"],
                "<=",
                4,
                null=moved["annealed"],
                null_name=null_name,
            ),
            Check(
                "share of the large mode: farthest from 0.8, in standard errors",
                wrong["plain"],
                ">=",
                20,
                null=wrong["annealed"],
                null_name=null_name,
            ),
            Check(
                "particles that end in the other mode, of all",
                crossings["plain"] / total,
                "<=",
                0.1 * crossings["annealed"] / total,
                null=crossings["annealed"] / total,
                null_name=null_name,
            ),
        ],
        findings=[
            f"From the shares {starts} plain Langevin dynamics ends at {_listed(found['plain'])} after "
            f"{params.num_steps:,} steps: {crossings['plain']:,} of {total:,} particles changed their mode.",
            f"Annealed Langevin dynamics ends at {_listed(found['annealed'])} from the same starts, in truth 0.8 with "
            f"a standard error of {standard_error:.4f}; {crossings['annealed']:,} of {total:,} particles changed "
            "their mode.",
        ],
        plain=found["plain"],
        annealed=found["annealed"],
        standard_error=standard_error,
        plain_crossings=crossings["plain"],
        annealed_crossings=crossings["annealed"],
        plain_traces=torch.stack(traces["plain"]),
        annealed_traces=torch.stack(traces["annealed"]),
        progress=torch.linspace(0, 1, NUM_WATCHED + 1),
        particles=ends["plain"][0],
        annealed_particles=ends["annealed"][0],
    )


def start_in_modes(density: GaussianMixture, share: float, n: int, generator: torch.Generator) -> Tensor:
    """Samples of the modes, `share` of them (to the next whole number) of the first, shape `(n, 2)`."""
    of_first = round(share * n)
    mode = (torch.arange(n) >= of_first).long()
    std = density.covariances[:, 0, 0].sqrt()[mode, None]
    return density.means[mode] + std * torch.randn(n, 2, generator=generator)


def watched(
    start: Tensor, chain: Iterable[LangevinState], num_steps: int, density: GaussianMixture
) -> tuple[Tensor, Tensor]:
    """The share of the large mode at the start and at each twentieth of the run; and the samples at its end."""
    at = [-(-num_steps * part // NUM_WATCHED) for part in range(1, NUM_WATCHED + 1)]
    shares = [float(mode_weights(start, density.means).weights[0])]
    for state in chain:
        shares += [float(mode_weights(state.sample, density.means).weights[0])] * at.count(state.step)
    return torch.tensor(shares, dtype=torch.float64), state.sample


def _farthest(found: Iterable[float], expected: Iterable[float]) -> float:
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))


def _listed(shares: Iterable[float]) -> str:
    return ", ".join(f"{share:.3f}" for share in shares)


def figure(result: MixingResult) -> Figure:
    """Where the particles of both chains end from the first start, and the share over the run from every start."""
    extent = (-9, 9, -9, 9)
    params = result.params
    fig, (left, middle, right) = plots.new_figure(
        stated("Plain Langevin dynamics keeps the proportion it started with", result.checks),
        f"Mixture 0.8 / 0.2, exact score, {params.num_steps:,} steps. From the shares "
        f"{', '.join(f'{share:g}' for share in params.shares)} plain ends at {_listed(result.plain)}, "
        f"annealed, the null, at {_listed(result.annealed)}",
        ncols=3,
        size=(10, 4.2),
    )
    shown = torch.randperm(params.num_particles, generator=torch.Generator().manual_seed(0))[:1500]
    for axes, x, colour, title in (
        (left, result.particles, "plain", f"plain, from a share of {params.shares[0]:g}"),
        (middle, result.annealed_particles, "annealed", "null: annealed, same start"),
    ):
        plots.plane(axes, extent)
        plots.samples(axes, x[shown], colour)
        plots.panel_title(axes, title, colour)
    plots.line(right, result.progress, torch.full_like(result.progress, TRUE_SHARE), "true", dashed=True)
    plots.direct_label(right, 0, TRUE_SHARE, "true 0.8", "true", offset=(2, 4))
    for kind, traces in (("annealed", result.annealed_traces), ("plain", result.plain_traces)):
        for i, trace in enumerate(traces):
            plots.line(right, result.progress, trace, kind, label=None if i else kind)
    plots.panel_title(right, "share of the large mode")
    right.set(xlabel="part of the run", ylim=(0, 1))
    plots.label_ends(right)
    return fig
