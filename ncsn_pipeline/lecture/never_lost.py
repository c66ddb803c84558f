"""L17.  Annealed chains are never where the level's score is wrong: right near its own samples is enough.

A network for all levels is right at sigma_i where p_sigma_i has its samples, and wrong elsewhere.  That does not matter
where a chain arrives at level i from samples of level i - 1, which lie among those of level i.  Along the chain with
the learned score, over the steps at level i, this takes

    E_chain || s_theta(x, sigma_i) - grad log p_sigma_i(x) ||² / E_chain || grad log p_sigma_i(x) ||²

and, as the null, the same at the points where the chain started, which is where a chain at level i alone would start.
That it is enough is taken from where chains end: the annealed one, and as the null plain Langevin dynamics at sigma_L
by the same network from the same start, with as many steps.

Source: Song & Ermon 2019, sections 3.2 and 4.3.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, NoisyScoreFn
from ..diagnostics import mode_weights, plots, relative_fisher_divergence, sliced_wasserstein, squared_error
from ..noise_levels import DiscreteSigmas, geometric_noise_levels
from ..sampling import annealed_langevin_dynamics, langevin_dynamics, last_sample
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .single_level import at_level
from .toy import corner_mixture, uniform_square

CLAIM = Claim(
    number=17,
    name="never-lost",
    at="24:05, 26:40",
    sentence="Annealed chains are never where their level's score is wrong: right near its own samples is enough.",
    equation="E_chain || s_theta(x, sigma_i) - grad log p_sigma_i(x) ||²  is small at every i",
)


@dataclass(frozen=True)
class NeverLostParams(Params):
    """See the flags."""

    sigma_max: float = flag(20.0, "sigma_1, in data units")
    sigma_min: float = flag(0.25, "sigma_L, in data units")
    num_levels: int = flag(12, "L, levels of the geometric schedule, at least 2")
    steps_per_level: int = flag(40, "T, Langevin steps at each level")
    relative_step: float = flag(0.1, "alpha_i / sigma_i², without unit", below=2)
    num_particles: int = flag(2000, "particles, uniform on [-8, 8]² at the start")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1000, "updates of the network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_levels < 2:
            raise ValueError(f"num_levels must be at least 2, to anneal; got {self.num_levels}.")


Params = NeverLostParams
QUICK = {"num_levels": 8, "train_steps": 500, "num_particles": 1000}


@dataclass(kw_only=True)
class NeverLostResult(Result):
    """Relative errors of the learned score, one a level, from the largest sigma to the smallest.

    Args:
        sigmas: the noise schedule.
        along: over all steps of the chain at that level.
        off: at that level, where the chain started.
        distance: of the annealed samples from data, sliced Wasserstein, in data units.
        plain_distance: of the plain chain's at sigma_L.
        chance: of two sets of data of that size, as near as a perfect sampler comes.
        weight: of the large mode by the annealed chain; 0.8 in truth.
        plain_weight: by the plain chain.
        start: where both chains started, shape `(num_particles, 2)`.
        end: of the annealed chain, before the denoising.
        plain_end: of the plain chain.
        learned: the network, for the figure.
    """

    sigmas: list[float]
    along: list[float]
    off: list[float]
    distance: float
    plain_distance: float
    chance: float
    weight: float
    plain_weight: float
    start: Tensor
    end: Tensor
    plain_end: Tensor
    learned: NoisyScoreFn


def run(params: NeverLostParams) -> NeverLostResult:
    """One network; its error along its own annealed chain and off it, and where that chain and a plain one end."""
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture()
    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)
    learned = learn_scores(
        new_network(density, hidden_features=params.hidden_features, generator=generator),
        density,
        DiscreteSigmas(levels.tolist()),
        num_steps=params.train_steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        generator=generator,
    )
    start = uniform_square(params.num_particles, generator=generator)
    along, end = errors_along(learned, density, start, levels, params, generator)
    off = [
        relative_fisher_divergence(learned(start, sigma), density.noised(float(sigma)).score(start)) for sigma in levels
    ]
    last = at_level(learned, params.sigma_min)
    plain_end = last_sample(
        langevin_dynamics(
            last,
            start,
            step_size=params.relative_step * (1 + params.sigma_min**2),  # a share of a noised mode's variance
            num_steps=params.num_levels * params.steps_per_level,
            generator=generator,
        )
    )
    data, more_data = (density.sample(params.num_particles, generator=generator) for _ in range(2))
    denoised = [x + params.sigma_min**2 * last(x) for x in (end, plain_end)]
    distance, plain_distance, chance = (
        sliced_wasserstein(x, data, generator=generator) for x in (*denoised, more_data)
    )
    weight, plain_weight = (float(mode_weights(x, density.means).weights[0]) for x in denoised)
    worst = max(range(len(off)), key=off.__getitem__)
    return NeverLostResult(
        params=params,
        checks=[
            Check(
                "error of the learned score along the chain, worst level",
                max(along),
                "<=",
                0.05,
                null=max(off),
                null_name="same network and level, where the chain started",
            ),
            Check(
                "distance of the annealed samples from data, in units of chance",
                distance / chance,
                "<=",
                4.0,
                null=plain_distance / chance,
                null_name="plain chain at the last level, same network and start",
            ),
        ],
        findings=[
            f"Along the chain the relative error is {max(along):.4f} at most; where the chain started the same network "
            f"has {off[worst]:.2f} at sigma {levels[worst]:.2g}, {off[worst] / along[worst]:.0f} times what the chain "
            "meets at that level. Wide levels are right everywhere on the square, so the chain is not lost there "
            "either.",
            f"The annealed samples are {distance:.3f} from data and give the large mode {weight:.3f}, 0.8 in truth; "
            f"the plain chain at sigma {params.sigma_min:g}, by the same network, {plain_distance:.2f} and "
            f"{plain_weight:.3f}; two sets of data are {chance:.3f} apart.",
        ],
        sigmas=levels.tolist(),
        along=along,
        off=off,
        distance=distance,
        plain_distance=plain_distance,
        chance=chance,
        weight=weight,
        plain_weight=plain_weight,
        start=start,
        end=end,
        plain_end=plain_end,
        learned=learned,
    )


def errors_along(
    score_fn: NoisyScoreFn,
    density: GaussianMixture,
    start: Tensor,
    levels: Tensor,
    params: NeverLostParams,
    generator: torch.Generator,
) -> tuple[list[float], Tensor]:
    """The relative error of a score along the annealed chain that it drives, and where that chain ends.

    Args:
        score_fn: the score, `(x, sigma) -> score`.
        density: the clean density, with exact noised scores.
        start: of the chain, shape `(n, d)`, in data units.
        levels: the noise schedule, shape `(L,)`, decreasing.
        params: its steps.
        generator: source of the chain's noise.

    Returns:
        E || s - s* ||² / E || s* ||² over all steps at each level, from the largest sigma; and the last samples.
    """
    sums, x = torch.zeros(2, len(levels), dtype=torch.float64), start
    chain = annealed_langevin_dynamics(
        score_fn,
        start,
        sigmas=levels,
        steps_per_level=params.steps_per_level,
        step_size=params.relative_step * float(levels[-1]) ** 2,
        denoise=False,
        generator=generator,
    )
    for state in chain:
        level = (state.step - 1) // params.steps_per_level
        exact = density.noised(float(levels[level])).score(x)
        sums[0, level] += squared_error(score_fn(x, levels[level]), exact).sum()
        sums[1, level] += exact.square().sum()
        x = state.sample
    return (sums[0] / sums[1]).tolist(), x


def figure(result: NeverLostResult) -> Figure:
    """The error along the chain and off it, over sigma; where it is at the last level; and where the chains end."""
    extent, sigma = (-9.0, 9.0, -9.0, 9.0), result.sigmas[-1]
    fig, (left, middle, right) = plots.new_figure(
        "The annealed chain is never where its level's score is wrong",
        f"Relative error at most {max(result.along):.3f} along it, {max(result.off):.2f} where it started. Null, "
        f"plain Langevin at sigma {sigma:g} by the same network: large mode {result.plain_weight:.2f}, annealed "
        f"{result.weight:.2f}, in truth 0.8",
        ncols=3,
        size=(10, 4.4),
        width_ratios=(1.1, 1, 1.2),
    )
    plots.log_axis(left, "xy")
    plots.line(left, result.sigmas, result.off, "muted", dashed=True)
    plots.line(left, result.sigmas, result.along, "annealed", markers=True)
    left.invert_xaxis()
    left.set(xlabel="noise level sigma, falling")
    plots.direct_label(
        left, result.sigmas[0], result.off[-1], "null: at the start's points", "muted", (6, 6), ha="left"
    )
    plots.direct_label(left, result.sigmas[-1], result.along[-1], "along the chain", "annealed", (0, -16), ha="right")
    plots.panel_title(left, "relative error of the learned score")
    plots.plane(middle, extent)
    plots.samples(middle, result.plain_end[:1000], "plain")
    plots.panel_title(middle, f"null: plain chain at {sigma:g}", "plain")
    grid = plots.plane_grid(extent, 60)
    level = torch.tensor(sigma)
    exact = corner_mixture().noised(sigma).score(grid)
    unit = corner_mixture().noised(sigma).score(result.end).square().sum(1).mean()
    plots.error_map(right, squared_error(result.learned(grid, level), exact) / unit, extent, "", limits=(1e-3, 10))
    plots.samples(right, result.end[:1000], "white", size=1.5)
    plots.panel_title(right, f"chain on its error at {sigma:g}", "annealed")
    return fig
