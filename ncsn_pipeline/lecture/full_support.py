"""L20.  Noise gives the data full support: the score is defined everywhere, and can be learned everywhere.

Data on a curve have no density in the plane and no score off the curve.  Noise of any sigma > 0 gives them both, on the
whole plane.  On a square around the curve this takes, for networks that are alike but for their data,

    right      the share of the square where || s_theta - s_sigma ||² <= 0.1 || s_sigma ||²
    agree      the share where two networks, trained apart, have || s_1 - s_2 ||² <= 0.1 mean(|| s_1 ||², || s_2 ||²)

The second needs no true score, so it is taken without noise too, as a null: where nothing says what the score is, two
networks say two things.  There they learn by sliced score matching, which needs no noise and has no least value on a
curve; two networks learn so at the largest sigma as well, so that noise alone makes the difference.  How large sigma
must be for the whole square is a matter of how far it reaches: defined everywhere is not yet learned everywhere.

Source: Song & Ermon 2019, sections 3.1 and 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import CurveDensity, ScoreFn, two_moons
from ..diagnostics import plots, squared_error
from ..score_matching import denoising_score_matching, sliced_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import stated
from .training import fit

CLAIM = Claim(
    number=20,
    name="full-support",
    at="09:37, 16:05",
    sentence="Noise gives the data full support: the score is defined everywhere and can be learned everywhere.",
    equation="p_sigma = p * N(0, sigma² I) > 0 everywhere, so grad log p_sigma is defined everywhere",
)
EXTENT = (-3.0, 4.0, -3.25, 3.75)  # of the square around the moons, in data units
TOLERANCE = 0.1  # of the squared error, relative


@dataclass(frozen=True)
class FullSupportParams(Params):
    """See the flags."""

    sigmas: tuple[float, ...] = flag((0.05, 0.2, 1.0), "noise levels, increasing, in data units", fewest=2)
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(
        500, "updates of each network: two at each level, two by slices, two by slices without noise"
    )
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(5e-3, "of Adam at the start")
    grid_size: int = flag(50, "points along each side of the square")

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError(f"sigmas must be strictly increasing; got {self.sigmas}.")


Params = FullSupportParams
QUICK = {"sigmas": (0.05, 1.0), "train_steps": 300, "hidden_features": 48}


@dataclass(kw_only=True)
class FullSupportResult(Result):
    """Shares of the square, and what is on it.

    Args:
        right: where the learned score is right, one a noise level, mean of both networks.
        agree: where the two networks agree, one a noise level.
        untrained_right: where an untrained network is right at the largest sigma.
        sliced_agree: where two networks agree that learned at the largest sigma by sliced score matching.
        clean_agree: where two networks agree that learned so without noise.
        clean_norm: root mean square of such a network on the square, in 1 / data units.
        noised_norm: of one that learned at the largest sigma.
        is_right: at every point of the grid, by the first network of each level, shape `(levels, grid_size²)`.
        density: the curve, for the figure.
        clean_fields: the two networks that learned without noise.
    """

    right: list[float]
    agree: list[float]
    untrained_right: float
    sliced_agree: float
    clean_agree: float
    clean_norm: float
    noised_norm: float
    is_right: Tensor
    density: CurveDensity
    clean_fields: list[ScoreFn]


def run(params: FullSupportParams) -> FullSupportResult:
    """Two networks at each level and two without noise, on a square around the curve."""
    generator = torch.Generator().manual_seed(params.seed)
    density = two_moons()
    grid = plots.plane_grid(EXTENT, params.grid_size)

    def learn(loss_of: Callable[[ScoreFn, Tensor], Tensor]) -> ScoreFn:
        field = new_field(2, hidden_features=params.hidden_features, generator=generator)
        score_fn = score_of(field)
        fit(
            field.parameters(),
            lambda: loss_of(score_fn, density.sample(params.batch_size, generator=generator)),
            num_steps=params.train_steps,
            learning_rate=params.learning_rate,
        )
        field.requires_grad_(False)
        return score_fn

    def agreement(fields: list[Tensor]) -> float:
        return float(near(*fields, *fields).double().mean())

    right, agree, is_right = [], [], []
    for sigma in params.sigmas:

        def loss(score_fn: ScoreFn, y: Tensor, sigma: float = sigma) -> Tensor:
            return sigma**2 * denoising_score_matching(score_fn, y, sigma, generator=generator)

        exact = density.noised(sigma).score(grid)
        fields = [learn(loss)(grid) for _ in range(2)]
        both = torch.stack([near(field, exact, exact) for field in fields])
        right.append(float(both.double().mean()))
        agree.append(agreement(fields))
        is_right.append(both[0])
    untrained = score_of(new_field(2, hidden_features=params.hidden_features, generator=generator))(grid).detach()
    untrained_right = float(near(untrained, exact, exact).double().mean())

    def sliced(score_fn: ScoreFn, y: Tensor, sigma: float = 0.0) -> Tensor:
        noised = y + sigma * torch.randn(y.shape, generator=generator)
        return sliced_score_matching(score_fn, noised, generator=generator)

    clean_fields = [learn(sliced) for _ in range(2)]
    clean = [field(grid) for field in clean_fields]
    clean_agree = agreement(clean)
    sliced_agree = agreement([learn(partial(sliced, sigma=params.sigmas[-1]))(grid) for _ in range(2)])
    clean_norm, noised_norm = (float(field.square().sum(1).mean().sqrt()) for field in (clean[0], fields[0]))
    smallest, largest = params.sigmas[0], params.sigmas[-1]
    return FullSupportResult(
        params=params,
        checks=[
            Check(
                f"share of the square where the score is right, sigma {largest:g}",
                right[-1],
                ">=",
                0.95,
                null=untrained_right,
                null_name="untrained network",
            ),
            Check(
                f"share of the square where the score is right, sigma {largest:g}, not only where data are",
                right[-1],
                ">=",
                0.95,
                null=right[0],
                null_name=f"noise of sigma {smallest:g}",
            ),
            Check(
                f"share of the square where two networks agree, sliced score matching, sigma {largest:g}",
                sliced_agree,
                ">=",
                0.95,
                null=clean_agree,
                null_name="without noise",
            ),
        ],
        findings=[
            "The score is right on "
            + ", ".join(
                f"{100 * share:.0f} % of the square at sigma {s:g}"
                for s, share in zip(params.sigmas, right, strict=True)
            )
            + ": it is defined everywhere at any sigma"
            + (", and learned where samples of that sigma come." if right[-1] >= 0.95 > right[0] else "."),
            f"Without noise two networks agree on {100 * clean_agree:.0f} % of the square, and their field has the "
            f"root mean square {clean_norm:.3g} there (at sigma {largest:g}: {noised_norm:.2f}): on a curve the loss "
            "has no least value"
            + (", and the field grows as long as it is trained." if clean_norm >= 10 * noised_norm else "."),
        ],
        right=right,
        agree=agree,
        untrained_right=untrained_right,
        sliced_agree=sliced_agree,
        clean_agree=clean_agree,
        clean_norm=clean_norm,
        noised_norm=noised_norm,
        is_right=torch.stack(is_right),
        density=density,
        clean_fields=clean_fields,
    )


def near(field: Tensor, other: Tensor, *scale: Tensor) -> Tensor:
    """Where || field - other ||² is at most `TOLERANCE` times the mean of the scales' || . ||²; shape `(B,)`, bool.

    Args:
        field: vectors, shape `(B, d)`.
        other: vectors to compare with.
        scale: fields of that shape, whose mean square at each point is the unit.
    """
    unit = torch.stack([each.square().sum(1) for each in scale]).mean(0)
    return squared_error(field, other) <= TOLERANCE * unit


def figure(result: FullSupportResult) -> Figure:
    """The shares over sigma; where the score is right at the smallest and the largest; two fields without noise."""
    sigmas = result.params.sigmas
    fig, panels = plots.new_figure(
        stated("Noise gives the data full support, and the score is learned everywhere", result.checks),
        f"Data on two moons. The learned score is right on {100 * result.right[0]:.0f} % of the square at sigma "
        f"{sigmas[0]:g} and {100 * result.right[-1]:.0f} % at {sigmas[-1]:g}. Null, without noise: two networks agree "
        f"on {100 * result.clean_agree:.0f} %",
        nrows=2,
        ncols=2,
        size=(8, 8),
    )
    (curves, clean), planes = panels
    plots.log_axis(curves, "x")
    plots.line(curves, sigmas, result.agree, "second", markers=True)
    plots.line(curves, sigmas, result.right, "learned", markers=True)
    plots.null_line(curves, result.clean_agree, "networks agree, without noise").set(va="top", position=(0, -2))
    curves.set(xlabel="noise level sigma", ylim=(0, 1.05))
    plots.direct_label(curves, sigmas[0], result.agree[0], "two networks agree", "second", (-2, 26), ha="left")
    plots.direct_label(curves, sigmas[0], result.right[0], "score is right", "learned", (-2, 42), ha="left")
    plots.panel_title(curves, "share of the square")
    moons = result.density.noised(0.1)
    plots.density_background(clean, moons, EXTENT)
    for field, colour in zip(result.clean_fields, ("plain", "accent"), strict=True):
        plots.arrow_field(clean, field, EXTENT, 13, colour, unit_length=True)
    plots.panel_title(clean, "null: two networks without noise", "plain")
    grid = plots.plane_grid(EXTENT, result.params.grid_size)
    for axes, is_right, sigma in (
        (planes[0], result.is_right[0], sigmas[0]),
        (planes[1], result.is_right[-1], sigmas[-1]),
    ):
        plots.density_background(axes, result.density.noised(max(sigma, 0.1)), EXTENT)
        plots.samples(axes, grid[is_right], "learned", size=2)
        plots.panel_title(axes, f"dots: right at sigma {sigma:g}", "learned")
    return fig
