"""L4.  The price of denoising score matching: it estimates the score of the noised density, not of the clean one.

One network is trained at each of several noise levels, and each is held against two scores,

    against the noised one    E_{p_sigma} || s_theta - grad log p_sigma ||² / E_{p_sigma} || grad log p_sigma ||²
    against the clean one     E_p || s_theta - grad log p ||² / E_p || grad log p ||²

The first is small at every sigma.  The second is, but for that small part, what the exact noised score has as well, and
no training lowers it:  E_p || grad log p_sigma - grad log p ||² / E_p || grad log p ||², which tends to 1, the error of
no score at all, as sigma grows.  Were it the clean score that is learned, the second would be 0.

The loss itself does not tell of this price.  It ends at a constant,

    min_s E 1/2 || s(x + sigma z) + z / sigma ||² = 1/2 (D / sigma² - E_{p_sigma} || grad log p_sigma ||²),

which grows without end as sigma falls, as m / (2 sigma²) for data of m dimensions: across the data the noise can be
told from them, along the data it cannot.  For a ring m is 1, whatever D.

Source: Vincent 2011, section 4.2; Song & Ermon 2019, section 2.1.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from ..densities import Density, ScoreFn, ring
from ..diagnostics import plots, relative_fisher_divergence
from ..networks import as_score_function
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level, learn_score, new_network, three_bars

CLAIM = Claim(
    number=4,
    name="noised-target",
    at="05:05",
    sentence="The price of denoising score matching: it estimates the noised density, not the clean one.",
    equation="argmin_s E || s(x + sigma z) + z / sigma ||² = grad log p_sigma, not grad log p",
)


NO_SCORE = 0.1  # distance from 1, the error of no score at all, up to which an error is like it
LEAST_PRICED = 0.2  # sigma from which on the price is well above the error of learning, in data units


@dataclass(frozen=True)
class NoisedTargetParams(Params):
    """Noise levels, and the training at each."""

    sigmas: tuple[float, ...] = flag(
        (0.1, 0.2, 0.4, 0.8, 1.5, 3.0), "noise levels, increasing, in data units", fewest=2
    )
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(800, "updates of each network")
    batch_size: int = flag(1024, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_samples: int = flag(20_000, "samples that errors are averaged over")
    ring_sigma: float = flag(0.02, "noise of the ring whose constant is taken, far below its radius 1, in data units")

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError(f"sigmas must be strictly increasing; got {self.sigmas}.")


Params = NoisedTargetParams
QUICK = {
    "sigmas": (0.1, 0.5, 3.0),
    "hidden_features": 32,
    "train_steps": 450,
    "learning_rate": 2e-2,
    "num_samples": 10_000,
}


@dataclass(kw_only=True)
class NoisedTargetResult(Result):
    """Relative errors at each noise level.

    Args:
        against_noised: of the learned score, against the noised density's.
        against_clean: of the learned score, against the clean density's.
        price: of the exact noised score, against the clean density's.
        untrained: of a network before training, against the noised density's.
        constant: the least loss on a ring at `ring_sigma`, in 1 / squared data units.
        constant_error: its standard error.
        density: the clean density, for the figure.
        learned: the learned scores, one a noise level.
    """

    against_noised: list[float]
    against_clean: list[float]
    price: list[float]
    untrained: list[float]
    constant: float
    constant_error: float
    density: Density
    learned: list[ScoreFn]


def run(params: NoisedTargetParams) -> NoisedTargetResult:
    """A network for each sigma, against the noised and the clean score."""
    generator = torch.Generator().manual_seed(params.seed)
    density = three_bars()
    x = density.sample(params.num_samples, generator=generator)
    clean_score = density.score(x)
    against_noised, against_clean, price, untrained, learned = [], [], [], [], []
    before = as_score_function(new_network(density, hidden_features=params.hidden_features, generator=generator))
    for sigma in params.sigmas:
        network, _ = learn_score(
            density,
            sigma,
            num_steps=params.train_steps,
            batch_size=params.batch_size,
            hidden_features=params.hidden_features,
            learning_rate=params.learning_rate,
            generator=generator,
        )
        score_fn, noised = at_level(network, sigma), density.noised(sigma)
        x_noised = noised.sample(params.num_samples, generator=generator)
        against_noised.append(relative_fisher_divergence(score_fn(x_noised), noised.score(x_noised)))
        with torch.no_grad():
            untrained.append(relative_fisher_divergence(at_level(before, sigma)(x_noised), noised.score(x_noised)))
        against_clean.append(relative_fisher_divergence(score_fn(x), clean_score))
        price.append(relative_fisher_divergence(noised.score(x), clean_score))
        learned.append(score_fn)
    priced = [i for i, sigma in enumerate(params.sigmas) if sigma >= LEAST_PRICED or i == len(params.sigmas) - 1]
    off_price = max(abs(against_clean[i] / price[i] - 1) for i in priced)
    clean_off_price = max(abs(relative_fisher_divergence(clean_score, clean_score) / price[i] - 1) for i in priced)
    constant, constant_error = least_loss(params, generator)
    by_dimension = {m: m / (2 * params.ring_sigma**2) for m in (1, 2)}
    first, last = params.sigmas[0], params.sigmas[-1]
    levelled = max(abs(price[-1] - 1), abs(against_clean[-1] - 1)) <= NO_SCORE
    of_one_dimension = abs(constant - by_dimension[1]) <= 4 * constant_error < abs(constant - by_dimension[2])
    return NoisedTargetResult(
        params=params,
        checks=[
            Check(
                f"error against the clean score, sigma from {params.sigmas[priced[0]]:g}: off from its price, relative",
                off_price,
                "<=",
                0.1,
                null=clean_off_price,
                null_name="exact clean score",
            ),
            Check(
                "largest error against the noised score",
                max(against_noised),
                "<=",
                0.1 * max(untrained),
                null=max(untrained),
                null_name="untrained network",
            ),
            Check(
                f"constant on a ring, sigma {params.ring_sigma:g}: off from 1 / (2 sigma²), in standard errors",
                abs(constant - by_dimension[1]) / constant_error,
                "<=",
                4,
                null=abs(constant - by_dimension[2]) / constant_error,
                null_name="D / (2 sigma²)",
            ),
        ],
        findings=[
            f"Against the clean score the error {goes(against_clean)} from {against_clean[0]:.3f} at sigma {first:g} "
            f"to {against_clean[-1]:.3f} at {last:g}; the exact noised score has {price[0]:.3f} and {price[-1]:.3f}: "
            "that is the price, which no training lowers.",
            (
                f"It levels off at 1: at sigma {last:g} the learned score tells as little of the clean one as no score "
                "does, while against its own target its error is "
                if levelled
                else f"Against its own target the learned score's error at sigma {last:g} is "
            )
            + f"{against_noised[-1]:.1e} ({against_noised[0]:.1e} at sigma {first:g}).",
            f"The least loss on a ring is {constant:,.0f} ± {constant_error:.0f} at sigma {params.ring_sigma:g}: "
            + (
                f"that of one dimension, {by_dimension[1]:,.0f}, and not of two, {by_dimension[2]:,.0f}."
                if of_one_dimension
                else f"one dimension has {by_dimension[1]:,.0f}, two have {by_dimension[2]:,.0f}."
            ),
        ],
        against_noised=against_noised,
        against_clean=against_clean,
        price=price,
        untrained=untrained,
        constant=constant,
        constant_error=constant_error,
        density=density,
        learned=learned,
    )


def least_loss(params: NoisedTargetParams, generator: torch.Generator) -> tuple[float, float]:
    """1/2 (D / sigma² - E || grad log p_sigma ||²) of a ring in the plane, and its standard error."""
    noised = ring().noised(params.ring_sigma)
    x = noised.sample(params.num_samples, generator=generator)
    losses = (x.shape[1] / params.ring_sigma**2 - noised.score(x).double().square().sum(1)) / 2
    return float(losses.mean()), float(losses.std() / len(losses) ** 0.5)


def goes(errors: list[float]) -> str:
    """The verb of a sentence that tells the first and the last of them."""
    return "grows" if errors[-1] > errors[0] else "goes"


def figure(result: NoisedTargetResult) -> Figure:
    """Both errors over sigma, and the learned arrows on the clean ones at a small and a larger sigma."""
    sigmas = result.params.sigmas
    shown = (0, min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - 0.4)))
    extent = (-2.2, 2.2, -2.2, 2.2)
    fig, (left, *fields) = plots.new_figure(
        stated("Denoising score matching learns the noised density, not the clean one", result.checks[:2]),
        f"Against its own target every network is right to {100 * max(result.against_noised):.1f} %; against the clean "
        f"score the error {goes(result.against_clean)} from {100 * result.against_clean[0]:.0f} % to "
        f"{100 * result.against_clean[-1]:.0f} %",
        ncols=3,
        size=(10, 4.2),
        width_ratios=(1.25, 1, 1),
    )
    plots.log_axis(left, "xy")
    plots.line(left, sigmas, result.against_clean, "plain", markers=True)
    plots.line(left, sigmas, result.price, "true", dashed=True)
    plots.line(left, sigmas, result.against_noised, "learned", markers=True)
    plots.line(left, sigmas, result.untrained, "muted", dashed=True)
    left.set(xlabel="noise level sigma", ylim=(None, 4))
    low = min(result.against_noised[len(sigmas) // 2], result.against_noised[0] / 10)
    for x, y, text, colour, offset in (
        (sigmas[-1], result.against_clean[-1], "to the clean score", "plain", (-2, 9)),
        (sigmas[1], result.price[1], "the exact noised\nscore's own", "true", (8, -12)),
        (sigmas[-1], result.untrained[-1], "null: untrained", "muted", (2, -6)),
        (sigmas[0], low, "to its target,\nthe noised score", "learned", (0, -4)),
    ):
        plots.direct_label(left, x, y, text, colour, offset, ha="left" if x < sigmas[-1] else "right")
    plots.panel_title(left, "relative error of the score")
    for axes, i in zip(fields, shown, strict=True):
        plots.density_background(axes, result.density, extent)
        longest = float(result.density.score(plots.plane_grid(extent, 11)).norm(dim=1).quantile(0.8))
        plots.arrow_field(axes, result.density.score, extent, 11, "true", longest=longest)
        plots.arrow_field(axes, result.learned[i], extent, 11, "learned", longest=longest)
        plots.panel_title(axes, f"learned at sigma {sigmas[i]:g}", "learned")
        axes.set_xlabel("clean score in black")
    return fig
