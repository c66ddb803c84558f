"""L21.  The price of noise goes to 0 with sigma.

Noise changes a smooth density p by the heat equation, p_sigma = p + sigma² / 2 laplace p + O(sigma^4), and its score by

    s_sigma - s = sigma² / 2 grad (laplace p / p) + O(sigma^4),        laplace p / p = tr(ds/dx) + || s ||²,

so that the price, P(sigma) = E_p || s_sigma - s ||², falls as C² sigma^4 with C² = E_p 1/4 || grad (laplace p / p) ||²,
and its root, which is in the score's own units, with order 2.  Everything here is exact but the expectation, for which
all noise levels share the same samples.

The null is a density with edges, constant on the dark squares of a checkerboard: within a square its score is 0, and
|| s_sigma || is about 1 / sigma in a border as wide as sigma, so that P grows as 1 / sigma, its root with order -1/2.

Source: the heat equation; Song & Ermon 2019, section 2.1, for "p_sigma ~ p if sigma is small enough".
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import CellDensity, GaussianMixture, checkerboard
from ..diagnostics import plots
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import three_bars

CLAIM = Claim(
    number=21,
    name="vanishing-price",
    at="16:53",
    sentence="The price of noise, learning the noised score and not the clean one, goes to 0 with sigma.",
    equation="E_p || grad log p_sigma - grad log p ||² = sigma^4 / 4 E_p || grad (laplace p / p) ||² + O(sigma^6)",
)


@dataclass(frozen=True)
class VanishingPriceParams(Params):
    """See the flags."""

    sigma_max: float = flag(1.0, "the largest noise level, in data units")
    sigma_min: float = flag(0.005, "the smallest, in data units")
    num_levels: int = flag(15, "levels between them, geometric, at least 3", least=3)
    num_samples: int = flag(20_000, "samples of each density that the price is averaged over")


Params = VanishingPriceParams
QUICK = {"num_levels": 9, "num_samples": 4000}


@dataclass(kw_only=True)
class VanishingPriceResult(Result):
    """Roots of the price, in 1 / data units, one a noise level, from the smallest sigma to the largest.

    Args:
        sigmas: the noise levels.
        price: root mean square of s_sigma - s over samples of the smooth density.
        expected: C sigma², the leading term.
        edges_price: the same measure of the density with edges.
        score_norm: root mean square of the smooth density's clean score.
        order: d ln(price) / d ln(sigma) between the two smallest levels.
        edges_order: the same of the density with edges.
    """

    sigmas: list[float]
    price: list[float]
    expected: list[float]
    edges_price: list[float]
    score_norm: float
    order: float
    edges_order: float


def run(params: VanishingPriceParams) -> VanishingPriceResult:
    """The price at every level, of a smooth density and of one with edges."""
    generator = torch.Generator().manual_seed(params.seed)
    smooth, edges = three_bars(), checkerboard()
    sigmas = torch.logspace(
        math.log10(params.sigma_min), math.log10(params.sigma_max), params.num_levels, dtype=torch.float64
    ).tolist()
    x = smooth.sample(params.num_samples, generator=generator).double()
    on_squares = edges.sample(params.num_samples, generator=generator).double()
    clean = smooth.score(x)
    price = price_of(smooth, x, clean, sigmas)
    edges_price = price_of(edges, on_squares, torch.zeros_like(on_squares), sigmas)
    slope = root_mean_square(laplacian_gradient(smooth, x)) / 2
    order, edges_order = order_of(sigmas, price), order_of(sigmas, edges_price)
    norm, leads = root_mean_square(clean), abs(order - 2) <= 0.05
    null_name = "data with edges"
    return VanishingPriceResult(
        params=params,
        checks=[
            Check(
                f"price at sigma {sigmas[0]:g}, of that at {sigmas[-1]:g}",
                price[0] / price[-1],
                "<=",
                0.01,
                null=edges_price[0] / edges_price[-1],
                null_name=null_name,
            ),
            Check("order in sigma: distance from 2", abs(order - 2), "<=", 0.05, abs(edges_order - 2), null_name),
            Check(
                "price over C sigma² at the smallest sigma: distance from 1",
                abs(price[0] / (slope * sigmas[0] ** 2) - 1),
                "<=",
                0.05,
                null=abs(price[-1] / (slope * sigmas[-1] ** 2) - 1),
                null_name=f"sigma {sigmas[-1]:g}, the largest",
            ),
        ],
        findings=[
            f"In units of the score's own root mean square, {norm:.2f}, the price is {price[0] / norm:.1e} at sigma "
            f"{sigmas[0]:g} and {price[-1] / norm:.2f} at {sigmas[-1]:g}; it falls with order {order:.3f}, "
            f"{'as' if leads else 'not with the 2 that'} 1/2 sigma² grad (laplace p / p) predicts, whose root mean "
            f"square is {slope:.2f} sigma².",
            (
                f"Where the data end at an edge the price grows as sigma falls, with order {edges_order:.3f}: it "
                "vanishes only for data whose clean score exists everywhere they are."
                if edges_order < 0
                else f"Where the data end at an edge the order is {edges_order:.3f}."
            ),
        ],
        sigmas=sigmas,
        price=price,
        expected=[slope * sigma**2 for sigma in sigmas],
        edges_price=edges_price,
        score_norm=norm,
        order=order,
        edges_order=edges_order,
    )


def price_of(density: GaussianMixture | CellDensity, x: Tensor, clean: Tensor, sigmas: list[float]) -> list[float]:
    """The root of P(sigma) = E_p || s_sigma - s ||², one a noise level.

    Args:
        density: p, with exact scores at every sigma > 0.
        x: samples of it, shape `(B, d)`.
        clean: s at them, the same shape.
        sigmas: the noise levels, > 0, in data units.
    """
    return [root_mean_square(density.noised(sigma).score(x) - clean) for sigma in sigmas]


def laplacian_gradient(density: GaussianMixture, x: Tensor) -> Tensor:
    """grad (laplace p / p) at `x (B, d)`, the same shape, with laplace p / p = tr(ds/dx) + || s ||²."""
    x = x.detach().requires_grad_()
    score = density.score(x)
    trace = sum(torch.autograd.grad(score[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1]))
    return torch.autograd.grad((trace + score.square().sum(1)).sum(), x)[0]


def root_mean_square(field: Tensor) -> float:
    """sqrt(E || v ||²) of vectors, shape `(B, d)`."""
    return float(field.square().sum(1).mean().sqrt())


def order_of(sigmas: list[float], values: list[float]) -> float:
    """d ln(value) / d ln(sigma) between the two smallest levels, which come first."""
    return math.log(values[1] / values[0]) / math.log(sigmas[1] / sigmas[0])


def figure(result: VanishingPriceResult) -> Figure:
    """The price over sigma, beside that of data with edges; relative to the score, beside its leading term."""
    fig, (left, right) = plots.new_figure(
        stated("The price of noise goes to 0 with sigma", result.checks),
        f"Exact scores. Root of the price: order {result.order:.2f} in sigma for a smooth density, "
        f"{result.edges_order:.2f} for the null, data with edges",
        ncols=2,
        size=(9, 4.2),
    )
    for axes in (left, right):
        plots.log_axis(axes, "xy")
        axes.set(xlabel="noise level sigma")
    plots.line(left, result.sigmas, result.edges_price, "muted", label="edges", dashed=True)
    plots.line(left, result.sigmas, result.price, "learned", label="smooth")
    plots.panel_title(left, "noised less clean score, root mean square")
    plots.label_ends(left)
    plots.line(right, result.sigmas, [value / result.score_norm for value in result.expected], "true", dashed=True)
    plots.line(right, result.sigmas, [value / result.score_norm for value in result.price], "learned", markers=True)
    middle = len(result.sigmas) // 2
    plots.direct_label(
        right, result.sigmas[middle], result.expected[middle] / result.score_norm, "C sigma²", "true", (-6, 8)
    )
    plots.panel_title(right, "smooth density, in units of its score")
    return fig
