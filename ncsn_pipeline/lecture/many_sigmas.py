"""L12.  Many noise levels give directions far from the data and near them.

One network is trained at levels sigma_1 > ... > sigma_L on data near a curve,

    sum_i lambda(sigma_i) E 1/2 || s_theta(x + sigma_i z, sigma_i) + z / sigma_i ||²,

and each level is held against two scores, by the distance d of the point from the curve:

    far     || s_theta(x, sigma_i) - grad log p_sigma_i(x) ||²      the level's own, at d >= far: is it learned there?
    near    || s_theta(x, sigma_i) - grad log p(x) ||²              the clean one, at data: is it the data's own?

relative to the mean square of the true score.  Data *on* a curve have no clean score.  Here the curve has a thickness
tau, so that p = p_curve * N(0, tau² I), and its score is known exactly.  Far off no level is near it in length, d /
tau², but it still says which way the data are: the angle to it is a third measure, at all distances.

Source: Song & Ermon 2019, sections 4.1 and 4.2.
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import CurveDensity, NoisyScoreFn, two_moons
from ..diagnostics import binned_mean, plots, relative_fisher_divergence
from ..noise_levels import DiscreteSigmas, geometric_noise_levels
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag

CLAIM = Claim(
    number=12,
    name="many-sigmas",
    at="19:53",
    sentence="An ensemble of noise levels gives directions far from the data and near them.",
    equation="s_theta(x, sigma_i) ~ grad log p_sigma_i(x), sigma_1 > ... > sigma_L",
)


@dataclass(frozen=True)
class ManySigmasParams(Params):
    """See the flags."""

    sigma_max: float = flag(2.0, "sigma_1, the largest level, in data units")
    sigma_min: float = flag(0.03, "sigma_L, the smallest level, below the thickness, in data units")
    num_levels: int = flag(6, "L, levels of the geometric schedule, at least 2")
    thickness: float = flag(0.1, "tau, standard deviation of the data about the two moons, in data units")
    far: float = flag(1.0, "distance from which a point is far, in data units; points reach out to 4")
    hidden_features: int = flag(96, "width of the network's three hidden layers")
    train_steps: int = flag(3000, "updates of the network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_points: int = flag(10_000, "points near, and points at all distances, that errors are averaged over")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_levels < 2:
            raise ValueError(f"num_levels must be at least 2, to compare levels; got {self.num_levels}.")
        if self.far >= FARTHEST:
            raise ValueError(f"far must be below {FARTHEST:g}, where the farthest points are; got {self.far}.")


Params = ManySigmasParams
QUICK = {"train_steps": 500, "hidden_features": 64, "num_points": 2000}
FARTHEST = 4.0
EDGES = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, FARTHEST)  # of the bins of distance, in data units
EXTENT = (-2.2, 3.2, -2.3, 2.8)  # of the picture


@dataclass(kw_only=True)
class ManySigmasResult(Result):
    """Errors of every level, from the largest sigma to the smallest.

    Args:
        sigmas: the noise schedule.
        far_error: relative, against the level's own score, far from the curve.
        near_error: relative, against the clean score, at data.
        near_price: that of the level's own exact score, which no training lowers.
        near_angle: mean angle to the clean score at data, in degrees.
        far_angle: likewise, far from the curve.
        edges: of the bins of distance, in data units.
        own_error: relative, against the level's own score, by distance, shape `(L, bins)`.
        density: the data's density.
        learned: the network, for the figure.
    """

    sigmas: list[float]
    far_error: list[float]
    near_error: list[float]
    near_price: list[float]
    near_angle: list[float]
    far_angle: list[float]
    edges: list[float]
    own_error: Tensor
    density: CurveDensity
    learned: NoisyScoreFn


def run(params: ManySigmasParams) -> ManySigmasResult:
    """One network for all levels of a noise schedule; each level's error near the curve and far from it."""
    generator = torch.Generator().manual_seed(params.seed)
    density = two_moons(sigma=params.thickness)
    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)
    network = new_network(density, hidden_features=params.hidden_features, generator=generator)
    learned = learn_scores(
        network,
        density,
        DiscreteSigmas(levels.tolist()),
        num_steps=params.train_steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        generator=generator,
    )
    near = density.sample(params.num_points, generator=generator)
    around = points_around(density, params.num_points, generator)
    distance = density.distance(around)
    far = around[distance >= params.far]
    clean_near, clean_far = density.score(near), density.score(far)
    numbers = []
    for sigma in levels:
        noised = density.noised(float(sigma))
        at_near, at_far = learned(near, sigma), learned(far, sigma)
        own, true = learned(around, sigma), noised.score(around)
        square_error = binned_mean((own - true).square().sum(1), distance, edges=EDGES).mean
        numbers.append(
            (
                relative_fisher_divergence(at_far, noised.score(far)),
                relative_fisher_divergence(at_near, clean_near),
                relative_fisher_divergence(noised.score(near), clean_near),
                mean_angle(at_near, clean_near),
                mean_angle(at_far, clean_far),
                square_error / binned_mean(true.square().sum(1), distance, edges=EDGES).mean,
            )
        )
    far_error, near_error, near_price, near_angle, far_angle, own_error = map(list, zip(*numbers, strict=True))
    return ManySigmasResult(
        params=params,
        checks=[
            Check(
                "far, own score: error of the smallest level over the largest's",
                far_error[-1] / far_error[0],
                ">=",
                10.0,
            ),
            Check(
                "near, clean score: of the largest level over the smallest's", near_error[0] / near_error[-1], ">=", 3.0
            ),
        ],
        findings=[
            f"Farther than {params.far:g} from the curve the relative error is {far_error[0]:.1e} at sigma "
            f"{params.sigma_max:g} and {far_error[-1]:.2f} at {params.sigma_min:g}. At the data, against the clean "
            f"score, it is {near_error[0]:.2f} and {near_error[-1]:.2f}; the exact scores of these levels have "
            f"{near_price[0]:.2f} and {near_price[-1]:.3f}.",
            f"In angle to the clean score the levels differ at the data ({near_angle[0]:.0f}° at the largest, "
            f"{near_angle[-1]:.0f}° at the smallest) but not far off ({far_angle[0]:.0f}° and {far_angle[-1]:.0f}°): "
            "here, with one network for all levels, the smallest one too points back to the data from outside.",
        ],
        sigmas=levels.tolist(),
        far_error=far_error,
        near_error=near_error,
        near_price=near_price,
        near_angle=near_angle,
        far_angle=far_angle,
        edges=list(EDGES),
        own_error=torch.stack(own_error),
        density=density,
        learned=learned,
    )


def points_around(density: CurveDensity, n: int, generator: torch.Generator) -> Tensor:
    """Data moved in a random direction by a length uniform in its logarithm, up to `FARTHEST`, shape `(n, 2)`."""
    low, high = math.log(EDGES[1]), math.log(FARTHEST)
    length = (low + (high - low) * torch.rand(n, 1, generator=generator)).exp()
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    return density.sample(n, generator=generator) + length * torch.stack([angle.cos(), angle.sin()], 1)


def mean_angle(a: Tensor, b: Tensor) -> float:
    """Between the vectors of two fields, shape `(B, 2)` each, in degrees."""
    return float(torch.cosine_similarity(a.double(), b.double()).clamp(-1, 1).acos().rad2deg().mean())


def figure(result: ManySigmasResult) -> Figure:
    """Arrows of the level that suits each distance; each level's own error by distance; its error near the data."""
    sigmas, params = result.sigmas, result.params
    colours = plots.level_colours(len(sigmas))
    fig, (left, middle, right) = plots.new_figure(
        "Large noise gives directions far from the data, small noise near them",
        f"Relative error at sigma {sigmas[0]:g} and {sigmas[-1]:g}: far off {result.far_error[0]:.0e} and "
        f"{result.far_error[-1]:.2f}; at the data, against the clean score, {result.near_error[0]:.2f} and "
        f"{result.near_error[-1]:.2f}",
        ncols=3,
        size=(10, 4.2),
    )
    plots.density_background(left, result.density, EXTENT)
    levels = torch.tensor(sigmas)
    for level, colour in enumerate(colours):

        def arrows(x: Tensor, level: int = level) -> Tensor:
            nearest = (levels.log() - result.density.distance(x)[:, None].log()).abs().argmin(1)
            return torch.where((nearest == level)[:, None], result.learned(x, levels[level]), torch.nan)

        plots.arrow_field(left, arrows, EXTENT, 18, colour, unit_length=True)
    plots.panel_title(left, "arrows: sigma nearest distance", "learned")
    plots.log_axis(middle, "xy")
    middles = [math.sqrt(a * b) for a, b in zip(result.edges[1:-1], result.edges[2:], strict=True)]
    for own_error, sigma, colour in zip(result.own_error, sigmas, colours, strict=True):
        plots.line(middle, middles, own_error[1:], colour, label=f"{sigma:.2g}")
    middle.set(xlabel="distance from the curve")
    plots.panel_title(middle, "error, each level's own score")
    plots.label_ends(middle)
    plots.log_axis(right, "x")
    plots.line(right, sigmas, result.near_price, "true", dashed=True)
    plots.line(right, sigmas, result.near_error, "learned", markers=True)
    right.axvline(params.thickness, color=plots.COLOURS["muted"], linewidth=1)
    right.set(xlabel="noise level sigma", ylim=(0, 1.05))
    plots.direct_label(right, params.thickness, 0.06, "thickness", "muted")
    plots.direct_label(right, sigmas[-1], 0.88, "learned", "learned", offset=(0, 0), ha="left")
    plots.direct_label(right, sigmas[-1], 0.78, "exact (dashed)", "true", offset=(0, 0), ha="left")
    plots.panel_title(right, "error at data, clean score")
    return fig
