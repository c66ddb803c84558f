"""L17.  Annealed chains are never where the level's score is wrong: right near its own samples is enough.

A network for all levels is right at sigma_i where p_sigma_i has its samples, and wrong elsewhere.  That does not matter
where a chain arrives at level i from samples of level i - 1, which lie among those of level i.  Along the chain with
the learned score, over the steps at level i, this takes

    E_chain || s_theta(x, sigma_i) - grad log p_sigma_i(x) ||² / E_chain || grad log p_sigma_i(x) ||²

and, as the null, the same at the points where the chain started, which is where a chain at level i alone would start.
That it is enough is taken by making the exact score wrong on purpose: it has no arrows (it is zero) at level i wherever
the density of level i - 1, whose samples it is handed, is lower than at any of 100,000 of its samples.  The null is
wrong in the other place: no arrows where the samples are, and all elsewhere.  All chains get the same start and noise,
so that what is counted is the particles that end elsewhere than with the exact score everywhere.

Source: Song & Ermon 2019, sections 3.2 and 4.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, NoisyScoreFn, exact_score_function
from ..diagnostics import mode_weights, plots, relative_fisher_divergence, sliced_wasserstein, squared_error
from ..noise_levels import DiscreteSigmas, geometric_noise_levels
from ..sampling import LangevinState, annealed_langevin_dynamics, last_sample
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .sentences import at_most, stated
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
    num_levels: int = flag(12, "L, levels of the geometric schedule, at least 2", least=2)
    steps_per_level: int = flag(40, "T, Langevin steps at each level")
    relative_step: float = flag(0.1, "alpha_i / sigma_i², without unit", below=2)
    num_particles: int = flag(2000, "particles, uniform on [-8, 8]² at the start")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1000, "updates of the network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")


Params = NeverLostParams
MANY_SAMPLES = 100_000  # of a level: where none of them lies, the score may be wrong
RIGHT = 0.05  # relative error up to which a score is right
ELSEWHERE = 0.05  # part of the particles that may end elsewhere
NEAR_DATA = 4.0  # distance from data up to which samples are near them, in units of chance
QUICK = {"num_levels": 8, "train_steps": 500, "num_particles": 1000}


@dataclass(kw_only=True)
class NeverLostResult(Result):
    """Relative errors of the learned score, one a level, from the largest sigma to the smallest.

    Args:
        sigmas: the noise schedule.
        along: over all steps of the chain at that level.
        off: at that level, where the chain started.
        wrong_share: of the square of the start where the score that is right "near" alone is wrong, at the last level.
        distances: of annealed samples from data, sliced Wasserstein, in data units, by score: "learned", "exact", and
            the exact one that is right "near" the samples that a level is handed, near its "own", or "elsewhere" alone.
        weights: of the large mode, by score; 0.8 in truth.
        moved: part of the particles that end more than 0.1 from where they do by the exact score, by score.
        chance: of other sets of data of that size, on average: as near as a perfect sampler comes.
        start: where the chains started, shape `(num_particles, 2)`.
        ends: of the chains, before the denoising, by score.
        learned: the network, for the figure.
    """

    sigmas: list[float]
    along: list[float]
    off: list[float]
    wrong_share: float
    distances: dict[str, float]
    weights: dict[str, float]
    moved: dict[str, float]
    chance: float
    start: Tensor
    ends: dict[str, Tensor]
    learned: NoisyScoreFn


def run(params: NeverLostParams) -> NeverLostResult:
    """One network's error along its own annealed chain and off it; and chains by scores that are wrong on purpose."""
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
    off = [
        relative_fisher_divergence(learned(start, sigma), density.noised(float(sigma)).score(start)) for sigma in levels
    ]
    exact = exact_score_function(density)
    heights = lowest_own(density, levels, generator)
    handed = torch.cat([levels[:1], levels[:-1]]), torch.cat([heights[:1], heights[:-1]])
    scores = {
        "exact": exact,
        "near": without_arrows(exact, density, levels, *handed, inside=False),
        "own": without_arrows(exact, density, levels, levels, heights, inside=False),
        "elsewhere": without_arrows(exact, density, levels, *handed, inside=True),
    }
    state = generator.get_state()
    along, end = errors_along(learned, density, start, levels, params, generator)
    ends = {"learned": end} | {
        name: last_sample(annealed_chain(score, start, levels, params, generator.set_state(state)))
        for name, score in scores.items()
    }
    moved = {name: float(((x - ends["exact"]).norm(dim=1) > 0.1).float().mean()) for name, x in ends.items()}
    outside = density.noised(float(handed[0][-1])).log_prob(start) < handed[1][-1]
    wrong_share = float(outside.float().mean())
    reference = density.sample(10 * params.num_particles, generator=generator)
    others = (density.sample(params.num_particles, generator=generator) for _ in range(8))
    chance = mean(sliced_wasserstein(x, reference, generator=generator) for x in others)
    distances, weights = {}, {}
    for name, x in ends.items():
        last = learned if name == "learned" else exact  # the denoising is not what is in question
        denoised = x + params.sigma_min**2 * last(x, levels[-1])
        distances[name] = sliced_wasserstein(denoised, reference, generator=generator)
        weights[name] = float(mode_weights(denoised, density.means).weights[0])
    worst = max(range(len(off)), key=off.__getitem__)
    near_is_enough = moved["near"] <= ELSEWHERE and distances["near"] <= NEAR_DATA * chance
    return NeverLostResult(
        params=params,
        checks=[
            Check(
                "error of the learned score along the chain, worst level",
                max(along),
                "<=",
                RIGHT,
                null=max(off),
                null_name="same network where the chain started, worst level",
            ),
            Check(
                "exact score near the samples alone: part of the particles that end elsewhere than with all of it",
                moved["near"],
                "<=",
                ELSEWHERE,
                null=moved["elsewhere"],
                null_name="exact score elsewhere alone",
            ),
            Check(
                "exact score near a level's own samples alone: distance from data, in units of chance",
                distances["own"] / chance,
                "<=",
                NEAR_DATA,
                null=distances["elsewhere"] / chance,
                null_name="exact score elsewhere alone",
            ),
            Check(
                "distance of the learned score's samples from data, in units of chance",
                distances["learned"] / chance,
                "<=",
                NEAR_DATA,
                null=distances["elsewhere"] / chance,
                null_name="exact score elsewhere alone",
            ),
        ],
        findings=[
            ("Confirmed" if distances["own"] <= NEAR_DATA * chance else "Not confirmed")
            + " that a score right near each level's own samples alone is enough: "
            f"{moved['own']:.1%} of the particles end elsewhere by it, and its samples are {distances['own']:.2f} from "
            f"data, {distances['own'] / chance:.1f} times chance. A level is handed samples of the level before, "
            f"{levels[0] / levels[1]:.2f} times as wide; right near those it is "
            f"{'enough' if near_is_enough else 'not enough with these steps'}.",
            f"Along the chain the relative error is {at_most(max(along), 4)} at most; where the chain started the "
            f"same network has {off[worst]:.2f} at sigma {levels[worst]:.2g}, {off[worst] / along[worst]:.0f} times "
            "what the chain meets at that level. "
            + (
                "Wide levels are right everywhere on the square, so the chain is not lost there either. "
                if max(off[0], *along) <= RIGHT
                else ""
            )
            + "These are means over the particles and the steps of a level.",
            f"At sigma {params.sigma_min:g} the score that is right near the samples alone has no arrows on "
            f"{wrong_share:.0%} of the square where chains start; {moved['near']:.1%} of the particles end elsewhere "
            "for that.",
            f"The large mode gets {weights['exact']:.3f} of the samples by the exact score, {weights['near']:.3f} "
            f"where it is right near them alone, {weights['learned']:.3f} by the learned one and "
            f"{weights['elsewhere']:.3f} by the exact one elsewhere alone; 0.8 in truth. They are "
            f"{distances['exact']:.3f}, {distances['near']:.3f}, {distances['learned']:.3f} and "
            f"{distances['elsewhere']:.2f} from data, other data {chance:.3f}.",
        ],
        sigmas=levels.tolist(),
        along=along,
        off=off,
        wrong_share=wrong_share,
        distances=distances,
        weights=weights,
        moved=moved,
        chance=chance,
        start=start,
        ends=ends,
        learned=learned,
    )


def lowest_own(density: GaussianMixture, levels: Tensor, generator: torch.Generator) -> Tensor:
    """The least log density of each p_sigma at `MANY_SAMPLES` of its own, shape `(L,)`."""
    noised = [density.noised(float(sigma)) for sigma in levels]
    return torch.stack([level.log_prob(level.sample(MANY_SAMPLES, generator=generator)).min() for level in noised])


def without_arrows(
    score_fn: NoisyScoreFn, density: GaussianMixture, levels: Tensor, by: Tensor, heights: Tensor, *, inside: bool
) -> NoisyScoreFn:
    """A score that is zero on one side of a contour.

    Args:
        score_fn: the score elsewhere, `(x, sigma) -> score`.
        density: the clean density.
        levels: the sigmas at which it is asked, shape `(L,)`.
        by: for each of them the sigma of the noised density that is looked at, shape `(L,)`.
        heights: for each of them the log density of the contour, shape `(L,)`.
        inside: whether it is zero where the density is higher, or lower.
    """

    def wrong_score(x: Tensor, sigma: Tensor) -> Tensor:
        i = (levels - sigma).abs().argmin()
        is_inside = density.noised(float(by[i])).log_prob(x) >= heights[i]
        return torch.where((is_inside == inside)[:, None], 0.0, score_fn(x, sigma))

    return wrong_score


def annealed_chain(
    score_fn: NoisyScoreFn, start: Tensor, levels: Tensor, params: NeverLostParams, generator: torch.Generator
) -> Iterator[LangevinState]:
    """The states of the annealed chain that a score drives, without a denoising at the end."""
    return annealed_langevin_dynamics(
        score_fn,
        start,
        sigmas=levels,
        steps_per_level=params.steps_per_level,
        step_size=params.relative_step * float(levels[-1]) ** 2,
        denoise=False,
        generator=generator,
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
    for state in annealed_chain(score_fn, start, levels, params, generator):
        level = (state.step - 1) // params.steps_per_level
        exact = density.noised(float(levels[level])).score(x)
        sums[0, level] += squared_error(score_fn(x, levels[level]), exact).sum()
        sums[1, level] += exact.square().sum()
        x = state.sample
    return (sums[0] / sums[1]).tolist(), x


def figure(result: NeverLostResult) -> Figure:
    """The error along the chain and off it, over sigma; where wrong scores lead; and the error at the last level."""
    extent, sigma = (-9.0, 9.0, -9.0, 9.0), result.sigmas[-1]
    fig, (left, middle, right) = plots.new_figure(
        stated("The annealed chain is never where its level's score is wrong", result.checks[:1]),
        f"Relative error at most {at_most(max(result.along), 3)} along it, {max(result.off):.2f} where it started. "
        f"The exact score near the samples alone, at sigma {sigma:g} zero on {result.wrong_share:.0%} of the square, "
        f"leads {result.moved['near']:.1%} of the particles elsewhere; null, elsewhere alone: "
        f"{result.moved['elsewhere']:.0%}",
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
        left, result.sigmas[0], result.off[-1], "null: at the start's points", "muted", (6, -16), ha="left"
    )
    third = len(result.sigmas) // 3
    plots.direct_label(
        left, result.sigmas[third], result.along[third], "along the chain", "annealed", (4, -22), ha="left"
    )
    plots.panel_title(left, "relative error of the learned score")
    plots.plane(middle, extent)
    plots.samples(middle, result.ends["elsewhere"][:1000], "muted")
    plots.samples(middle, result.ends["near"][:1000], "annealed")
    plots.panel_title(middle, "right near the samples alone", "annealed")
    plots.direct_label(middle, 0, -8.3, "null: right elsewhere alone", "muted", (0, 0))
    grid = plots.plane_grid(extent, 60)
    level = torch.tensor(sigma)
    exact = corner_mixture().noised(sigma).score(grid)
    unit = corner_mixture().noised(sigma).score(result.ends["learned"]).square().sum(1).mean()
    plots.error_map(right, squared_error(result.learned(grid, level), exact) / unit, extent, "", limits=(1e-3, 10))
    plots.samples(right, result.ends["learned"][:1000], "white", size=1.5)
    plots.panel_title(right, f"chain on its error at {sigma:g}", "annealed")
    return fig
