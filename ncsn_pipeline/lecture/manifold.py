"""L7.  Data lie on a low-dimensional manifold: the score is not defined off it, and explodes as the noise vanishes.

Noised by sigma, data on a curve have a density everywhere.  At a distance d off the curve, small against its radius,

    log p_sigma(x) = -d² / (2 sigma²) - log sigma + O(1):        || grad log p_sigma(x) || ~ d / sigma²,

which has no limit as sigma -> 0 at any d > 0: over 1 / sigma, both logarithmic, the norm is a line of slope 2.  A free
vector field, a network with no 1 / sigma built in, is trained by denoising score matching at one sigma after another,
from the largest to the smallest, and its norm is taken at the same points off a circle each time.  At the noised data
themselves, which are about sigma off, the norm grows as 1 / sigma: a line of slope 1, the null.

How low the dimension of images is, their principal components tell: with mean m, components u_j and variances
lambda_j of the data, k components rebuild

    x_k = m + sum_{j <= k} u_j u_j . (x - m),        E || x - x_k ||² = sum_{j > k} lambda_j.

The null are the same images with the values of each pixel shuffled between them: no pixel tells of another, and only
pixels that hardly vary can be left out.

Source: Song & Ermon 2019, section 3.1 and figure 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from ..data import load_train_and_held_out
from ..densities import ring
from ..diagnostics import pca_spectrum, plots, relative_fisher_divergence
from ..score_matching import denoising_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import at_most, stated
from .training import fit

CLAIM = Claim(
    number=7,
    name="manifold",
    at="07:57, 15:03",
    sentence="Data lie on a low-dimensional manifold: off it the score is not defined, it explodes.",
    equation="|| grad log p_sigma(x) || ~ d(x) / sigma²",
)
NUM_ANGLES = 200  # points on either side of the curve at which the norm is taken
NUM_SHOWN = 5  # images in the picture


@dataclass(frozen=True)
class ManifoldParams(Params):
    """The noise levels, the training at each, and the images."""

    sigmas: tuple[float, ...] = flag((0.4, 0.2, 0.1, 0.05, 0.025), "noise levels, decreasing, in data units", fewest=2)
    distance: float = flag(
        0.25, "d, from the circle of radius 1 to where the norm is taken, below 1, in data units", below=1
    )
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1000, "updates of the network at each noise level")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(5e-3, "of Adam at the start of each noise level")
    num_samples: int = flag(10_000, "samples of the noised density that the network's error is averaged over")
    data: str = flag("digits", "images whose components are counted: digits, a folder, or a data set's name on the Hub")
    num_images: int = flag(5000, "the most images that the components are taken from")
    variance: float = flag(0.95, "share of the variance that the components are to hold, below 1", below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas), reverse=True):
            raise ValueError(f"sigmas must be strictly decreasing; got {self.sigmas}.")


Params = ManifoldParams
QUICK = {"sigmas": (0.4, 0.2, 0.1, 0.05), "train_steps": 180}
LEARNED = 0.2  # relative error of a network that has learned, at most
LEAST_SLOPE = 1.5  # between that of the null and that of the exact score


@dataclass(kw_only=True)
class ManifoldResult(Result):
    """The norm off the curve at every noise level, and the dimension of the images.

    Args:
        learned_norm: mean norm of the learned score at the distance d, in 1 / data units, one a noise level.
        exact_norm: of the noised density's own score.
        learned_slope: of the logarithm of the norm over that of 1 / sigma, by least squares.
        exact_slope: likewise; 2 but for the curvature.
        norm_at_data: mean norm of the learned score at the noised data, one a noise level.
        slope_at_data: of its logarithm, likewise.
        relative_error: of the learned score where the noised data are, one a noise level.
        dimension: D, numbers per image.
        components: how many hold the wanted share of the variance.
        shuffled_components: the same of images with shuffled pixels.
        error_by_components: share of the variance of held-out images that k components lose, shape `(r + 1,)`.
        shuffled_error_by_components: share of their own variance that images with shuffled pixels lose, likewise.
        shown_components: of the rows of `shown` below the first.
        shown: held-out images and what is rebuilt of them, shape `(rows, NUM_SHOWN, C, H, W)`, in [0, 1].
    """

    learned_norm: list[float]
    exact_norm: list[float]
    learned_slope: float
    exact_slope: float
    norm_at_data: list[float]
    slope_at_data: float
    relative_error: list[float]
    dimension: int
    components: int
    shuffled_components: int
    error_by_components: Tensor
    shuffled_error_by_components: Tensor
    shown_components: list[int]
    shown: Tensor


def run(params: ManifoldParams) -> ManifoldResult:
    """A free vector field's norm off a circle as sigma falls; the principal components of images."""
    train, held_out = load_train_and_held_out(params.data, seed=params.seed)
    generator = torch.Generator().manual_seed(params.seed)
    curve, x = ring(), points_off_the_circle(params.distance)
    field = new_field(2, hidden_features=params.hidden_features, generator=generator)
    score_fn = score_of(field)
    learned, exact, at_data, errors = [], [], [], []
    for sigma in params.sigmas:

        def loss(sigma: float = sigma) -> Tensor:
            y = curve.sample(params.batch_size, generator=generator)
            return sigma**2 * denoising_score_matching(score_fn, y, sigma, generator=generator)

        fit(field.parameters(), loss, num_steps=params.train_steps, learning_rate=params.learning_rate)
        noised = curve.noised(sigma)
        samples = noised.sample(params.num_samples, generator=generator)
        with torch.no_grad():
            learned.append(float(score_fn(x).norm(dim=1).mean()))
            at_data.append(float(score_fn(samples).norm(dim=1).mean()))
            errors.append(relative_fisher_divergence(score_fn(samples), noised.score(samples)))
        exact.append(float(noised.score(x).norm(dim=1).mean()))
    learned_slope, exact_slope, slope_at_data = (
        log_log_slope(params.sigmas, norms) for norms in (learned, exact, at_data)
    )

    short = exact[-1] / learned[-1]
    beside_exact = f"falls short of the exact norm by a factor of {short:.1f}"
    if short < 1:
        beside_exact = f"exceeds the exact norm by a factor of {1 / short:.1f}"
    elif learned_slope < exact_slope and max(errors) <= LEARNED:
        beside_exact += ": a smooth network explodes less"

    images = train.float_images()[: params.num_images]
    spectrum = pca_spectrum(images)
    shuffled = pca_spectrum(shuffle_pixels(images, generator))
    shuffled_components = shuffled.components_for(params.variance)
    unseen, components = held_out.float_images(), spectrum.components_for(params.variance)
    centred, dimension = unseen.flatten(1).double() - spectrum.mean, unseen[0].numel()
    kept = (centred @ spectrum.components.T).square().mean(0).cumsum(0) / centred.square().sum(1).mean()
    error_by_components = 1 - torch.cat([kept.new_zeros(1), kept])
    share = f"{100 * params.variance:g} %"
    shown_components = sorted({max(1, components // 6), max(1, components // 2), components}, reverse=True)
    chosen = unseen[torch.randperm(len(unseen), generator=generator)[:NUM_SHOWN]]
    rebuilt = [spectrum.reconstruct(chosen, k).clamp(0, 1) for k in shown_components]
    return ManifoldResult(
        params=params,
        checks=[
            Check(
                "slope of the learned norm over 1 / sigma, both logarithmic",
                learned_slope,
                ">=",
                LEAST_SLOPE,
                null=slope_at_data,
                null_name="at the noised data",
            ),
            Check(
                f"part of the components that holds {share} of the variance",
                components / dimension,
                "<=",
                0.8 * shuffled_components / dimension,
                null=shuffled_components / dimension,
                null_name="pixels shuffled",
            ),
        ],
        findings=[
            f"From sigma {params.sigmas[0]:g} to {params.sigmas[-1]:g} the learned score at a distance of "
            f"{params.distance:g} {'grows' if learned[-1] > learned[0] else 'goes'} from {learned[0]:.3g} to "
            f"{learned[-1]:.3g} (slope {learned_slope:.2f}), the exact one from {exact[0]:.3g} to {exact[-1]:.3g} "
            f"(slope {exact_slope:.2f}). At the noised data the learned one has slope {slope_at_data:.2f}.",
            f"Where the noised data are, the network's relative error is at most {at_most(100 * max(errors), 1)} %. "
            f"At the smallest sigma the points are {params.distance / params.sigmas[-1]:.0f} sigma off, and it "
            f"{beside_exact}.",
            f"{components} of {dimension} components hold {share} of the variance of the images ({params.data}), "
            f"{shuffled_components} where the pixels are shuffled; "
            f"other images lose {100 * float(error_by_components[components]):.1f} % with them."
            + (
                " That is a plane of lower dimension; a curved manifold in it may have far fewer."
                if components < dimension
                else ""
            ),
        ],
        learned_norm=learned,
        exact_norm=exact,
        learned_slope=learned_slope,
        exact_slope=exact_slope,
        norm_at_data=at_data,
        slope_at_data=slope_at_data,
        relative_error=errors,
        dimension=dimension,
        components=components,
        shuffled_components=shuffled_components,
        error_by_components=error_by_components,
        shuffled_error_by_components=shuffled.reconstruction_error() / shuffled.variances.sum(),
        shown_components=shown_components,
        shown=torch.stack([chosen, *rebuilt]),
    )


def shuffle_pixels(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every pixel's values in another order over the images, each on its own, shape `(N, *D)`."""
    order = torch.rand(len(images), images[0].numel(), generator=generator).argsort(0)
    return images.flatten(1).gather(0, order).reshape(images.shape)


def points_off_the_circle(distance: float) -> Tensor:
    """Points at `distance` inside and outside the unit circle, shape `(2 NUM_ANGLES, 2)`."""
    angle = torch.arange(NUM_ANGLES) * (2 * math.pi / NUM_ANGLES)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    return torch.cat([(1 - distance) * circle, (1 + distance) * circle])


def log_log_slope(sigmas: Sequence[float], norms: Sequence[float]) -> float:
    """The least-squares slope of log norm over log(1 / sigma): k for a norm that grows as sigma^-k."""
    x, y = -torch.tensor(sigmas, dtype=torch.float64).log(), torch.tensor(norms, dtype=torch.float64).log()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def figure(result: ManifoldResult) -> Figure:
    """The norm over 1 / sigma; what k components lose of the images; images rebuilt from few of them."""
    params, k = result.params, result.components
    fig, (left, middle, right) = plots.new_figure(
        stated("Data lie on a low-dimensional manifold, and off it the score explodes", result.checks),
        f"At {params.distance:g} off a circle the learned norm grows as (1 / sigma) to the power "
        f"{result.learned_slope:.2f}, exact {result.exact_slope:.2f}; {k} of {result.dimension} components hold "
        f"{100 * params.variance:g} % of the variance of images",
        ncols=3,
        size=(10, 4.2),
    )
    inverse = [1 / sigma for sigma in params.sigmas]
    plots.log_axis(left, "xy")
    plots.line(left, inverse, result.exact_norm, "true", dashed=True, label="exact")
    plots.line(left, inverse, result.learned_norm, "learned", markers=True, label="learned")
    plots.line(left, inverse, result.norm_at_data, "muted", dashed=True, label="null: at data")
    left.set(xlabel="1 / sigma")
    plots.panel_title(left, "norm of the score off the circle")
    plots.label_ends(left)
    lost = 100 * result.error_by_components
    plots.line(middle, range(len(lost)), lost, "true")
    shuffled = 100 * result.shuffled_error_by_components
    plots.line(middle, range(len(shuffled)), shuffled, "muted", dashed=True)
    half = int((shuffled > 50).sum())
    plots.direct_label(middle, half, float(shuffled[half]), "null: pixels\nshuffled", "muted", offset=(6, 4))
    plots.line(middle, [k], lost[[k]], "accent", markers=True)
    words = f"{k} components:\n{float(lost[k]):.1f} % lost"
    plots.direct_label(middle, k, float(lost[k]), words, "accent", offset=(2, 10), weight="bold")
    middle.set(xlabel="components kept", ylim=(0, 100))
    plots.panel_title(middle, "new images: variance lost, %")
    tiles = functional.pad(result.shown, (1, 1, 1, 1))  # 0 is white
    rows, columns, channels, height, width = tiles.shape
    picture = tiles.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    right.imshow(picture.squeeze(2), cmap="gray_r", vmin=0, vmax=1)
    right.grid(False)
    right.set(xticks=[], yticks=[height * (row + 0.5) - 0.5 for row in range(rows)])
    right.set_yticklabels(["all", *map(str, result.shown_components)])
    right.spines[["left", "bottom"]].set_visible(False)
    plots.panel_title(right, "rebuilt from k components")
    return fig
