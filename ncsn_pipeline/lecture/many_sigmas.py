"""L12.  Many noise levels give directions far from the data and near them.

Networks learn at levels sigma_1 > ... > sigma_L on data near a curve,

    E 1/2 || s_theta(x + sigma_i z, sigma_i) + z / sigma_i ||²,

once as an ensemble, a network per level that sees no other level, and once as one network for all levels.  They are
free vector fields: a network that is given the score of a Gaussian to start with (EDM's preconditioning) points back to
the data from far off before it has learned anything.

What a level is good for is read off the angle between its arrows and the clean score, which says where the data are:

    near    at the data, where the smallest level is right and the largest, which sees one blob, is not
    far     at a distance of `far` or more, where the smallest level, which never saw such points, ought to be lost

Random arrows have 90 degrees.  A direction counts as given up to `right_angle`, and as lost beyond it.

Data *on* a curve have no clean score.  Here the curve has a thickness tau, so that p = p_curve * N(0, tau² I), and its
score is known exactly.

Source: Song & Ermon 2019, sections 4.1 and 4.2.
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import CurveDensity, NoisyScoreFn, two_moons
from ..diagnostics import binned_mean, plots, relative_fisher_divergence
from ..networks import ScoreMLP, as_score_function
from ..noise_levels import DiscreteSigmas, geometric_noise_levels, sigma_squared_weight
from .all_levels import learn_scores
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field
from .training import seeded_layers

CLAIM = Claim(
    number=12,
    name="many-sigmas",
    at="19:53",
    sentence="An ensemble of noise levels gives directions far from the data and near them.",
    equation="s_theta(x, sigma_i) ~ grad log p_sigma_i(x), sigma_1 > ... > sigma_L",
)

FARTHEST = 4.0
EDGES = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, FARTHEST)  # of the bins of distance, in data units


@dataclass(frozen=True)
class ManySigmasParams(Params):
    """Levels, data, training, and where angles are taken."""

    sigma_max: float = flag(2.0, "sigma_1, the largest level, in data units")
    sigma_min: float = flag(0.03, "sigma_L, the smallest level, below the thickness, in data units")
    num_levels: int = flag(6, "L, levels of the geometric schedule, at least 2", least=2)
    thickness: float = flag(0.1, "tau, standard deviation of the data about the two moons, in data units")
    far: float = flag(1.0, "distance from which a point is far, in data units; points reach out to 4", below=FARTHEST)
    right_angle: float = flag(45.0, "mean angle up to which directions are given, in degrees", below=90)
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(1500, "updates of each network of the ensemble")
    joint_steps: int = flag(3000, "updates of the one network for all levels")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_points: int = flag(10_000, "points near, and points at all distances, that angles are averaged over")


Params = ManySigmasParams
QUICK = {
    "sigma_min": 0.05,
    "num_levels": 4,
    "train_steps": 1000,
    "joint_steps": 2000,
    "batch_size": 256,
    "num_points": 2000,
}
EXTENT = (-2.2, 3.2, -2.3, 2.8)  # of the picture


@dataclass(kw_only=True)
class ManySigmasResult(Result):
    """Mean angles to the clean score, in degrees, of every level from the largest sigma to the smallest.

    Args:
        sigmas: the noise schedule.
        near_angle: of each level's own network, at data.
        far_angle: likewise, far from the curve.
        joint_near_angle: of the one network for all levels, at data.
        joint_far_angle: likewise, far from the curve.
        exact_near_angle: of the exact score of each level, at data.
        exact_far_angle: likewise, far from the curve.
        untrained_near_angle: of the network of the smallest level before its training, at data.
        untrained_far_angle: likewise, far from the curve.
        far_error: relative, of each level's own network against the level's own score, far from the curve.
        near_error: relative, of the same against the clean score, at data.
        edges: of the bins of distance, in data units.
        angle: of each level's own network, by distance, shape `(L, bins)`.
        density: the data's density.
        learned: the ensemble, for the figure.
    """

    sigmas: list[float]
    near_angle: list[float]
    far_angle: list[float]
    joint_near_angle: list[float]
    joint_far_angle: list[float]
    exact_near_angle: list[float]
    exact_far_angle: list[float]
    untrained_near_angle: float
    untrained_far_angle: float
    far_error: list[float]
    near_error: list[float]
    edges: list[float]
    angle: Tensor
    density: CurveDensity
    learned: list[NoisyScoreFn]


def run(params: ManySigmasParams) -> ManySigmasResult:
    """A network per level and one for all; which way each level points near the curve and far from it."""
    generator = torch.Generator().manual_seed(params.seed)
    density = two_moons(sigma=params.thickness)
    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)
    near = density.sample(params.num_points, generator=generator)
    around = points_around(density, params.num_points, generator)
    distance = density.distance(around)
    far = around[distance >= params.far]
    clean_near, clean_far, clean_around = density.score(near), density.score(far), density.score(around)

    def learn(network: ScoreMLP, sigmas: Tensor, num_steps: int) -> NoisyScoreFn:
        return learn_scores(
            network,
            density,
            DiscreteSigmas(sigmas.tolist()),
            num_steps=num_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
            weight=sigma_squared_weight,
        )

    fields = [new_field(2, hidden_features=params.hidden_features, generator=generator) for _ in levels]
    with torch.no_grad():
        untrained = as_score_function(fields[-1])
        untrained_near, untrained_far = (
            mean_angle(untrained(x, levels[-1]), clean) for x, clean in ((near, clean_near), (far, clean_far))
        )
    learned = [learn(field, level, params.train_steps) for field, level in zip(fields, levels.split(1), strict=True)]
    with seeded_layers(generator):
        network = ScoreMLP(2, params.hidden_features, preconditioning="none")
    joint = learn(network, levels, params.joint_steps)

    numbers = []
    for sigma, own in zip(levels, learned, strict=True):
        noised = density.noised(float(sigma))
        at_near, at_far = own(near, sigma), own(far, sigma)
        numbers.append(
            (
                mean_angle(at_near, clean_near),
                mean_angle(at_far, clean_far),
                mean_angle(joint(near, sigma), clean_near),
                mean_angle(joint(far, sigma), clean_far),
                mean_angle(noised.score(near), clean_near),
                mean_angle(noised.score(far), clean_far),
                relative_fisher_divergence(at_far, noised.score(far)),
                relative_fisher_divergence(at_near, clean_near),
                binned_mean(angles(own(around, sigma), clean_around), distance, edges=EDGES).mean,
            )
        )
    near_angle, far_angle, joint_near, joint_far, exact_near, exact_far, far_error, near_error, by_distance = map(
        list, zip(*numbers, strict=True)
    )
    smallest, largest, bound = f"sigma {params.sigma_min:g}", f"sigma {params.sigma_max:g}", params.right_angle
    lost = max(far_angle[0], joint_far[0]) < bound <= min(far_angle[-1], joint_far[-1])
    needed = max(near_angle[-1], joint_near[-1]) <= bound < min(near_angle[0], joint_near[0])
    return ManySigmasResult(
        params=params,
        checks=[
            Check(
                f"far, angle to the clean score: {smallest}, network of its own",
                far_angle[-1],
                ">=",
                bound,
                null=far_angle[0],
                null_name=f"network of {largest}",
            ),
            Check(
                f"far, angle to the clean score: {smallest}, one network for all",
                joint_far[-1],
                ">=",
                bound,
                null=joint_far[0],
                null_name=f"the same network at {largest}",
            ),
            Check(
                f"far, angle to the clean score: {largest}, network of its own",
                far_angle[0],
                "<=",
                bound,
                null=untrained_far,
                null_name="untrained network",
            ),
            Check(
                f"near, angle to the clean score: {smallest}, network of its own",
                near_angle[-1],
                "<=",
                bound,
                null=near_angle[0],
                null_name=f"network of {largest}",
            ),
            Check(
                f"near, angle to the clean score: {smallest}, one network for all",
                joint_near[-1],
                "<=",
                bound,
                null=joint_near[0],
                null_name=f"the same network at {largest}",
            ),
        ],
        findings=[
            ("Confirmed" if lost else "Not confirmed")
            + f" that far off only large noise gives directions: farther than {params.far:g} from the curve the angle "
            f"to the clean score is {far_angle[0]:.0f}° at {largest} and {far_angle[-1]:.0f}° at {smallest} with a "
            f"network per level, {joint_far[0]:.0f}° and {joint_far[-1]:.0f}° with one for all "
            f"({untrained_far:.0f}° untrained)."
            + (
                " In the plane a network that never saw a point out there still extrapolates the way back."
                if far_angle[-1] < bound
                else ""
            ),
            f"At the data {'small noise is needed' if needed else 'the angle is'}: {near_angle[0]:.0f}° at {largest} "
            f"and {near_angle[-1]:.0f}° at {smallest} with a network per level, {joint_near[0]:.0f}° and "
            f"{joint_near[-1]:.0f}° with one for all; the exact scores of these levels have "
            f"{exact_near[0]:.0f}° and {exact_near[-1]:.1f}°.",
            f"In length{' the levels do differ' * (far_error[-1] >= 2 * far_error[0])} far off: the relative "
            f"error against the level's own score is {far_error[0]:.1e} at {largest} and {far_error[-1]:.2f} at "
            f"{smallest}, a network per level.",
        ],
        sigmas=levels.tolist(),
        near_angle=near_angle,
        far_angle=far_angle,
        joint_near_angle=joint_near,
        joint_far_angle=joint_far,
        exact_near_angle=exact_near,
        exact_far_angle=exact_far,
        untrained_near_angle=untrained_near,
        untrained_far_angle=untrained_far,
        far_error=far_error,
        near_error=near_error,
        edges=list(EDGES),
        angle=torch.stack(by_distance),
        density=density,
        learned=learned,
    )


def points_around(density: CurveDensity, n: int, generator: torch.Generator) -> Tensor:
    """Data moved in a random direction by a length uniform in its logarithm, up to `FARTHEST`, shape `(n, 2)`."""
    low, high = math.log(EDGES[1]), math.log(FARTHEST)
    length = (low + (high - low) * torch.rand(n, 1, generator=generator)).exp()
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    return density.sample(n, generator=generator) + length * torch.stack([angle.cos(), angle.sin()], 1)


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Between the vectors of two fields, shape `(B, 2)` each, in degrees, shape `(B,)`."""
    return torch.cosine_similarity(a.double(), b.double()).clamp(-1, 1).acos().rad2deg()


def mean_angle(a: Tensor, b: Tensor) -> float:
    """The mean of :func:`angles`."""
    return float(angles(a, b).mean())


def figure(result: ManySigmasResult) -> Figure:
    """Arrows of the level that suits each distance; each level's angle by distance; angles near and far by level."""
    sigmas, params = result.sigmas, result.params
    colours = plots.level_colours(len(sigmas))
    far_given = max(*result.far_angle, *result.joint_far_angle) <= params.right_angle
    if all(check.holds for check in result.checks):
        title = "Large noise gives directions far from the data, small noise near them"
    elif far_given and all(check.holds for check in result.checks[3:]):
        title = "Near the data only small noise gives directions; far off every level does: not confirmed"
    else:
        title = "Which noise gives directions far from the data and near them: not confirmed"
    fig, (left, middle, right) = plots.new_figure(
        title,
        f"Mean angle to the clean score at sigma {sigmas[0]:g} and {sigmas[-1]:g}, a network per level: far off "
        f"{result.far_angle[0]:.0f}° and {result.far_angle[-1]:.0f}°, at the data {result.near_angle[0]:.0f}° and "
        f"{result.near_angle[-1]:.0f}°; random arrows 90°",
        ncols=3,
        size=(10, 4.2),
    )
    plots.density_background(left, result.density, EXTENT)
    levels = torch.tensor(sigmas)
    for level, colour in enumerate(colours):

        def arrows(x: Tensor, level: int = level) -> Tensor:
            nearest = (levels.log() - result.density.distance(x)[:, None].log()).abs().argmin(1)
            return torch.where((nearest == level)[:, None], result.learned[level](x, levels[level]), torch.nan)

        plots.arrow_field(left, arrows, EXTENT, 18, colour, unit_length=True)
    plots.panel_title(left, "arrows: sigma nearest distance", "learned")
    plots.log_axis(middle, "x")
    middles = [math.sqrt(a * b) for a, b in zip(result.edges[1:-1], result.edges[2:], strict=True)]
    for angle, sigma, colour in zip(result.angle, sigmas, colours, strict=True):
        plots.line(middle, middles, angle[1:], colour, label=f"{sigma:.2g}")
    middle.set(xlabel="distance from the curve", ylim=(0, 100))
    plots.panel_title(middle, "angle to the clean score")
    plots.label_ends(middle)
    plots.log_axis(right, "x")
    for far, near, colour, label in (
        (result.far_angle, result.near_angle, "learned", "own"),
        (result.joint_far_angle, result.joint_near_angle, "second", "all"),
    ):
        plots.line(right, sigmas[::-1], far[::-1], colour, dashed=True, label=f"far, {label}")
        plots.line(right, sigmas[::-1], near[::-1], colour, label=f"near, {label}")
    plots.null_line(right, result.untrained_far_angle, "untrained, far")
    right.axhline(params.right_angle, color=plots.COLOURS["muted"], linewidth=1)
    plots.direct_label(right, sigmas[0], params.right_angle, "bound", "muted", offset=(-3, 3))
    right.set(xlabel="noise level sigma", ylim=(0, 120))
    plots.panel_title(right, "angle, near and far")
    plots.label_ends(right)
    return fig
