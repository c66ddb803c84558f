"""L9.  The estimated score is accurate where the data are, and wrong where the density is low.

Score matching weighs the error at every point by the density there,

    J = 1/2 int p_sigma(x) || s_theta(x) - grad log p_sigma(x) ||² dx,

so where p_sigma is next to zero there is next to nothing to learn from.  The data are two Gaussians in opposite
corners.  At each of several noise levels the squared error || s_theta - grad log p_sigma ||² is taken on a grid over
both, and averaged over the tenths of the grid from the lowest density to the highest.  The score itself is longest
where the density is low, so that even a score that is off by the same share everywhere has its largest errors there.
What counts is the relative error of each tenth, sum || s_theta - s ||² / sum || s ||², which for such a score, the
null, is the same in all; over samples, which lie where the data are, it must be at most `ACCURATE`.  Noise as wide as
the data fills the whole square, and the error evens out.

Errors are the mean over a few networks, each with a start and a data set of its own, so that where one of them is right
by luck says little.  A data set is finite, as any is: with fresh samples at every step what is left at a large sigma is
the noise of training alone, orders smaller, and its share in the corners is a matter of chance (1 to 3 times).

All networks have technique 3 of Song & Ermon 2020 built in, s_theta(x) = F(x) / sigma, and see x in units of the noised
data's deviation.

Source: Song & Ermon 2019, section 3.2.1 and figure 2.
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import functional_call, stack_module_state

from ..densities import ScoreFn
from ..diagnostics import error_by_density_quantile, plots, relative_fisher_divergence
from ..networks import ScoreMLP
from ..noise_levels import largest_pairwise_distance
from ..score_matching import denoising_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .toy import corner_mixture
from .training import fit, seeded_layers

CLAIM = Claim(
    number=9,
    name="low-density",
    at="08:04, 10:47",
    sentence="The estimated score is accurate where the data are and wrong in regions of low density.",
    equation="J = 1/2 E_{p_sigma} || s_theta(x) - grad log p_sigma(x) ||²",
)
ACCURATE = 0.1  # relative error of a score that is accurate
UNIFORM_ERROR = 0.3  # of the null's score, as a share of its length
EXTENT = (-8.0, 8.0, -8.0, 8.0)  # of the grid, in data units


@dataclass(frozen=True)
class LowDensityParams(Params):
    """Noise levels, data, and the networks at each level."""

    sigmas: tuple[float, ...] = flag(
        (0.1, 1.0, 5.0, 20.0), "noise levels, increasing; the last of the data's extent", fewest=2
    )
    num_data: int = flag(1000, "points of the clean density that each network learns from, at least 2", least=2)
    num_networks: int = flag(4, "networks at each noise level that the error is the mean of")
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(1000, "updates of each network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(5e-3, "of Adam at the start")
    grid_size: int = flag(64, "points along each side of the grid, at least 4", least=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError(f"sigmas must be strictly increasing; got {self.sigmas}.")


Params = LowDensityParams
QUICK = {"sigmas": (0.1, 20.0), "train_steps": 800}


@dataclass(kw_only=True)
class LowDensityResult(Result):
    """Squared errors on the grid, in 1 / squared data units, one row a noise level.

    Args:
        error_by_decile: mean over each tenth of the grid, lowest density first, shape `(levels, 10)`.
        ratio: of the lowest tenth's error to the highest's, one a noise level.
        relative_error: over samples of the noised density, one a noise level.
        relative_by_decile: over each tenth of the grid, shape `(levels, 10)`.
        uniform_by_decile: the same of a score that is off by `UNIFORM_ERROR` of its length everywhere.
        data_extent: largest distance between two points of the first network's data, in data units.
        error: at every point of the grid, shape `(levels, grid_size²)`.
        data: what the first network learned from, shape `(num_data, 2)`.
    """

    error_by_decile: Tensor
    ratio: list[float]
    relative_error: list[float]
    relative_by_decile: Tensor
    uniform_by_decile: Tensor
    data_extent: float
    error: Tensor
    data: Tensor


def run(params: LowDensityParams) -> LowDensityResult:
    """The error map of a score learned at one sigma, for a small sigma, the data's extent, and what lies between."""
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture()
    grid = plots.plane_grid(EXTENT, params.grid_size)
    shape = (params.num_networks, params.num_data, 2)
    data = density.sample(shape[0] * shape[1], generator=generator).reshape(shape)
    error_by_decile, relative_error, error = [], [], []
    relative_by_decile, uniform_by_decile = [], []
    for sigma in params.sigmas:
        learned, noised = learn_scores(data, sigma, params, generator), density.noised(sigma)
        x = noised.sample(5000, generator=generator)
        log_prob, exact = noised.log_prob(grid), noised.score(grid)
        on_grid = (learned(grid) - exact).square().sum(2).mean(0)
        error.append(on_grid)
        error_by_decile.append(error_by_density_quantile(on_grid, log_prob).mean)
        relative_error.append(
            relative_fisher_divergence(learned(x).flatten(0, 1), noised.score(x).repeat(params.num_networks, 1))
        )
        length = error_by_density_quantile(exact.square().sum(1), log_prob).mean
        uniform = ((1 + UNIFORM_ERROR) * exact - exact).square().sum(1)
        relative_by_decile.append(error_by_decile[-1] / length)
        uniform_by_decile.append(error_by_density_quantile(uniform, log_prob).mean / length)
    by_decile = torch.stack(error_by_decile)
    ratio = (by_decile[:, 0] / by_decile[:, -1]).tolist()
    relative, uniform = torch.stack(relative_by_decile), torch.stack(uniform_by_decile)
    relative_ratio, uniform_ratio = (float(shares[0, 0] / shares[0, -1]) for shares in (relative, uniform))
    smallest, largest = params.sigmas[0], params.sigmas[-1]
    extent = largest_pairwise_distance(data[0])
    lowered = bool((by_decile[-1] < by_decile[0]).all()) and evens_out(params, ratio, extent)
    return LowDensityResult(
        params=params,
        checks=[
            Check(
                f"relative error over samples, sigma {smallest:g}",
                relative_error[0],
                "<=",
                ACCURATE,
                null=float(relative[0, 0]),
                null_name="in the lowest tenth of the square",
            ),
            Check(
                f"relative error in the lowest tenth over the highest, sigma {smallest:g}",
                relative_ratio,
                ">=",
                3 * uniform_ratio,
                null=uniform_ratio,
                null_name="score off by the same share everywhere",
            ),
            Check(
                f"squared error in the lowest tenth over the highest, sigma {largest:g}",
                ratio[-1],
                "<=",
                0.1 * ratio[0],
                null=ratio[0],
                null_name=f"sigma {smallest:g}",
            ),
        ],
        findings=[
            f"At sigma {smallest:g} the squared error is {float(by_decile[0, 0]):.3g} in the tenth of the square with "
            f"the lowest density and {float(by_decile[0, -1]):.2g} in the highest; at sigma {largest:g} it is "
            f"{float(by_decile[-1, 0]):.1e} and {float(by_decile[-1, -1]):.1e} (the data are {extent:.0f} across).",
            "The lowest tenth's error over the highest's is "
            + ", ".join(f"{value:.3g} at sigma {sigma:g}" for sigma, value in zip(params.sigmas, ratio, strict=True))
            + (
                ": noise lowers the error everywhere, but evens it out only where it is about as wide as the data."
                if lowered
                else "."
            ),
            (
                "The score is longest where the density is lowest, so the relative error differs less: at sigma "
                f"{smallest:g} it is "
                if relative_ratio < ratio[0]
                else f"At sigma {smallest:g} the relative error is "
            )
            + f"{float(relative[0, 0]):.0%} in the lowest tenth, {float(relative[0, -1]):.1%} in the "
            f"highest, and {relative_error[0]:.1%} over samples.",
        ],
        error_by_decile=by_decile,
        ratio=ratio,
        relative_error=relative_error,
        relative_by_decile=relative,
        uniform_by_decile=uniform,
        data_extent=extent,
        error=torch.stack(error),
        data=data[0],
    )


def learn_scores(data: Tensor, sigma: float, params: LowDensityParams, generator: torch.Generator) -> ScoreFn:
    """Trains several networks at one noise level side by side, by denoising score matching.

    Args:
        data: clean points, shape `(num_networks, num_data, 2)`, in data units.
        sigma: the noise level, > 0, in data units.
        params: sizes of the networks and of their training.
        generator: source of weights, batches and noise.

    Returns:
        Their scores, `x (B, 2) -> (num_networks, B, 2)`, without gradients.
    """
    deviation = math.hypot(float(data.flatten(0, 1).std(0).mean()), sigma)
    with seeded_layers(generator):
        networks = [
            ScoreMLP(
                2,
                params.hidden_features,
                preconditioning="inverse_sigma",
                sigma_conditioned=False,
                sigma_data=deviation,
                data_mean=float(data.mean()),
            )
            for _ in range(params.num_networks)
        ]
    weights, _ = stack_module_state(networks)
    scores = torch.vmap(lambda own, x: functional_call(networks[0], own, (x, sigma), {"return_dict": False})[0])
    networks_by_row = torch.arange(len(data))[:, None]

    def loss() -> Tensor:
        chosen = torch.randint(data.shape[1], (len(data), params.batch_size), generator=generator)
        y = data[networks_by_row, chosen]
        return sigma**2 * denoising_score_matching(lambda x: scores(weights, x), y, sigma, generator=generator)

    fit(weights.values(), loss, num_steps=params.train_steps, learning_rate=params.learning_rate)
    weights = {name: weight.detach() for name, weight in weights.items()}
    return lambda x: scores(weights, x.expand(len(data), *x.shape))


def evens_out(params: LowDensityParams, ratio: list[float], extent: float) -> bool:
    """Whether the largest sigma is about as wide as the data, and the error is most even there.

    Args:
        params: of the experiment.
        ratio: the lowest tenth's error over the highest's, one a noise level.
        extent: of the data, in data units.
    """
    return params.sigmas[-1] >= extent / 2 and ratio[-1] <= 0.1 * ratio[0] and ratio[-1] == min(ratio)


def figure(result: LowDensityResult) -> Figure:
    """The error map at the smallest and the largest sigma, and the relative error from lowest to highest density."""
    sigmas = result.params.sigmas
    relative = result.relative_by_decile
    widest = f"{result.ratio[-1]:.1f} at sigma {sigmas[-1]:g}"
    if evens_out(result.params, result.ratio, result.data_extent):
        widest = f"noise as wide as the data, sigma {sigmas[-1]:g}, evens it out to {result.ratio[-1]:.1f}"
    fig, (left, middle, right) = plots.new_figure(
        stated("The learned score is right where the data are and wrong where they are rare", result.checks[:2]),
        f"Relative error, lowest tenth of the density over the highest, sigma {sigmas[0]:g}: "
        f"{float(relative[0, 0] / relative[0, -1]):.1f} (1 if it were the same everywhere). Squared error: "
        f"{result.ratio[0]:.0f} at sigma {sigmas[0]:g}; {widest}",
        ncols=3,
        size=(10, 4.2),
    )
    shares = result.error / result.error.mean(1, keepdim=True)
    for axes, i in ((left, 0), (middle, -1)):
        label = "squared error over its mean" if i else ""
        plots.error_map(axes, shares[i], EXTENT, label, limits=(0.01, 10))
        plots.samples(axes, result.data[:300], "white", size=1.5)
        plots.panel_title(axes, f"error at sigma {sigmas[i]:g}", "learned")
    left.images[0].colorbar.remove()
    plots.log_axis(right, "y")
    tenths = range(1, 11)
    colours = plots.level_colours(len(sigmas))[::-1]
    for by_decile, colour, sigma in zip(relative, colours, sigmas, strict=True):
        plots.line(right, tenths, by_decile, colour, label=f"sigma {sigma:g}")
    plots.null_line(right, float(result.uniform_by_decile.mean()), "the same everywhere")
    right.set(xlabel="tenth of the density, lowest first", xticks=[1, 4, 7, 10])
    plots.panel_title(right, "relative error")
    plots.label_ends(right)
    return fig
