"""L3.  Denoising score matching regresses on the score of the perturbation kernel, and is the same as denoising.

With x_tilde = x + sigma z, z ~ N(0, I), the loss is l(s) = E 1/2 || s(x_tilde) + z / sigma ||², and as E[z | x_tilde] =
-sigma s*(x_tilde) with s* = grad log p_sigma,

    l(s) = E 1/2 || s - s* ||² + c,    c = 1/2 (D / sigma² - E || s* ||²):    its minimiser is s*, its minimum is c,
    -sigma s*(x_tilde) = E[z | x_tilde],                                      the noise, as well as it can be told,
    x_tilde + sigma² s*(x_tilde) = E[x | x_tilde],                            the clean sample, likewise (Tweedie).

All of s*, c and the conditional means are known in closed form for a mixture of Gaussians.

Source: Vincent 2011, eq. 9 to 11; Efron 2011, eq. 1.4.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import Density
from ..diagnostics import BinnedMean, binned_mean, plots, relative_fisher_divergence, squared_error
from ..networks import as_score_function
from ..score_matching import denoise, denoising_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level, learn_score, new_network, three_bars

CLAIM = Claim(
    number=3,
    name="denoising",
    at="02:29",
    sentence="Denoising score matching regresses on the score of the perturbation kernel: the same as denoising.",
    equation="1/2 || s(x + sigma z) + z / sigma ||²;  E[x | x_tilde] = x_tilde + sigma² s(x_tilde)",
)


@dataclass(frozen=True)
class DenoisingParams(Params):
    """See the flags."""

    sigma: float = flag(0.4, "noise level, in data units")
    hidden_features: int = flag(64, "width of the network's three hidden layers")
    train_steps: int = flag(1500, "updates of the network")
    batch_size: int = flag(1024, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_samples: int = flag(100_000, "samples that everything is averaged over")


Params = DenoisingParams
QUICK = {"train_steps": 400, "num_samples": 50_000}


@dataclass(kw_only=True)
class DenoisingResult(Result):
    """What the minimiser of the denoising loss is and does.

    Args:
        relative_error: of the learned score against the noised one.
        clean_error: of the learned score against the clean one, at clean samples.
        floor: c, the loss of the exact score, in 1 / squared data units.
        loss: of the learned score.
        deviations: of the loss from Fisher divergence + c, in standard errors; learned, exact and clean score.
        slope: of the true noise over the predicted noise, learned score.
        exact_slope: the same for the exact score, 1 in expectation.
        exact_slope_error: its standard error.
        mean_squared_errors: between clean samples and: the noised ones, those denoised by the learned score, those
            denoised by the exact one; in squared data units.
        losses: of training, shape `(train_steps,)`.
        noise_by_prediction: the true noise, averaged over bins of the predicted noise.
        predictions: the predicted noise, averaged over the same bins, shape `(bins,)`.
        density: the clean density.
        noised: some noised samples, shape `(n, 2)`.
        denoised: the same, denoised by the learned score.
    """

    relative_error: float
    clean_error: float
    floor: float
    loss: float
    deviations: list[float]
    slope: float
    exact_slope: float
    exact_slope_error: float
    mean_squared_errors: list[float]
    losses: Tensor
    noise_by_prediction: BinnedMean
    predictions: Tensor
    density: Density
    noised: Tensor
    denoised: Tensor


def run(params: DenoisingParams) -> DenoisingResult:
    """Trains on the denoising loss, then asks what was learned: the score, the noise, the clean sample."""
    generator = torch.Generator().manual_seed(params.seed)
    density, sigma = three_bars(), params.sigma
    network, losses = learn_score(
        density,
        sigma,
        num_steps=params.train_steps,
        batch_size=params.batch_size,
        hidden_features=params.hidden_features,
        learning_rate=params.learning_rate,
        generator=generator,
    )
    learned, exact = at_level(network, sigma), density.noised(sigma).score
    x = density.sample(params.num_samples, generator=generator)
    z = torch.randn(x.shape, generator=generator)
    x_tilde = x + sigma * z
    score, true_score = learned(x_tilde), exact(x_tilde)
    relative_error = relative_fisher_divergence(score, true_score)

    # l(s) - E ||s - s*||² / 2 - c, sample by sample: its mean is 0 for every s.
    of_kernel = x.shape[1] / sigma**2 - true_score.square().sum(1)
    deviations, without_floor = [], []
    for score_fn in (learned, exact, density.score):
        loss = denoising_score_matching(score_fn, x, sigma, noise=z)
        above = (loss - squared_error(score_fn(x_tilde), true_score) / 2).double()
        for rest, found in ((above - of_kernel / 2, deviations), (above, without_floor)):
            found.append(abs(float(rest.mean() / (rest.std() / len(rest) ** 0.5))))
    untrained = new_network(density, hidden_features=params.hidden_features, generator=generator)
    with torch.no_grad():
        before = at_level(as_score_function(untrained), sigma)(x_tilde)
    untrained_error = relative_fisher_divergence(before, true_score)
    clean_slope, clean_slope_error = regression(-sigma * density.score(x_tilde), z)

    slope, _ = regression(-sigma * score, z)
    exact_slope, exact_slope_error = regression(-sigma * true_score, z)
    denoised, best = denoise(x_tilde, score, sigma), denoise(x_tilde, true_score, sigma)
    errors = [float(squared_error(guess, x).mean()) for guess in (x_tilde, denoised, best)]
    predicted = (-sigma * score).flatten()
    clean_error = relative_fisher_divergence(learned(x), density.score(x))
    floor, no_score = float(of_kernel.mean() / 2), x.shape[1] / (2 * sigma**2)
    return DenoisingResult(
        params=params,
        checks=[
            Check(
                "relative error against the noised score",
                relative_error,
                "<=",
                0.03,
                null=untrained_error,
                null_name="untrained network",
            ),
            Check(
                "loss - Fisher divergence - c, in standard errors",
                max(deviations),
                "<=",
                4,
                null=min(without_floor),
                null_name="without c",
            ),
            Check(
                "slope of true over predicted noise - 1, exact score, in standard errors",
                abs(exact_slope - 1) / exact_slope_error,
                "<=",
                4,
                null=abs(clean_slope - 1) / clean_slope_error,
                null_name="clean score",
            ),
            Check(
                "the same slope, learned score: distance from 1",
                abs(slope - 1),
                "<=",
                0.03,
                null=abs(clean_slope - 1),
                null_name="clean score",
            ),
            Check(
                "error of denoising over the least possible one",
                errors[1] / errors[2],
                "<=",
                1.03,
                null=errors[0] / errors[2],
                null_name="noised samples as they are",
            ),
        ],
        findings=[
            f"Denoising by the learned score brings the mean squared error from {errors[0]:.3f} to {errors[1]:.4f}; "
            f"no denoiser gets below {errors[2]:.4f}, as the noise leaves that much undecided.",
            f"The loss ends at {float(losses[-100:].mean()):.2f}"
            + " and not near 0" * (floor >= 0.1 * no_score)
            + f": its floor c is {floor:.2f}, and only what lies above c is error of the score.",
            f"The same network is off by {100 * clean_error:.0f} % as a score of the clean density, which is not its "
            "target.",
        ],
        relative_error=relative_error,
        clean_error=clean_error,
        floor=floor,
        loss=float(denoising_score_matching(learned, x, sigma, noise=z).mean()),
        deviations=deviations,
        slope=slope,
        exact_slope=exact_slope,
        exact_slope_error=exact_slope_error,
        mean_squared_errors=errors,
        losses=losses,
        noise_by_prediction=binned_mean(z.flatten(), predicted, num_bins=20),
        predictions=binned_mean(predicted, predicted, num_bins=20).mean,
        density=density,
        noised=x_tilde[:150],
        denoised=denoised[:150],
    )


def regression(predictor: Tensor, target: Tensor) -> tuple[float, float]:
    """The slope E <p, t> / E ||p||² of a line through the origin, and its standard error; both of shape `(B, D)`.

    Where p = E[t | p], the slope is 1.
    """
    predictor, target = predictor.double(), target.double()
    square = predictor.square().sum(1)
    product = (predictor * target).sum(1)
    slope = product.mean() / square.mean()
    residual = product - slope * square
    return float(slope), float(residual.std() / len(residual) ** 0.5 / square.mean())


def figure(result: DenoisingResult) -> Figure:
    """Where denoising takes noised samples, the true noise over the predicted one, and the loss over its floor."""
    extent = (-3, 3, -3, 3)
    before, after, least = result.mean_squared_errors
    fig, (left, middle, right) = plots.new_figure(
        stated("To learn the score of a noised density is to learn to denoise", result.checks),
        f"Noise level {result.params.sigma:g}: the score is right to {100 * result.relative_error:.1f} %; denoising "
        f"takes the mean squared error from {before:.3f} to {after:.3f}, the least possible is {least:.3f}",
        ncols=3,
        size=(10, 4.2),
    )
    plots.density_background(left, result.density, extent)
    plots.samples(left, result.noised, "muted", size=3.5)
    moves = result.denoised - result.noised
    left.quiver(
        *result.noised.T,
        *moves.T,
        color=plots.colour_of("learned"),
        angles="xy",
        scale_units="xy",
        scale=1,
        units="inches",
        width=0.014,
        headwidth=4.5,
        zorder=5,
    )
    plots.panel_title(left, "denoised: x + sigma² s(x)", "learned")

    predictions, noise = result.predictions, result.noise_by_prediction
    ends = torch.tensor([float(predictions.min()), float(predictions.max())])
    plots.line(middle, ends, ends, "true", dashed=True)
    middle.errorbar(
        predictions, noise.mean, 2 * noise.standard_error, fmt="o", color=plots.colour_of("learned"), markersize=5
    )
    plots.direct_label(middle, 0.4, 0.4, "true = predicted", "true", offset=(-14, 3), va="center")
    plots.panel_title(middle, "true noise, mean of each bin")
    middle.set(xlabel="predicted noise, -sigma s(x)")

    window = max(1, len(result.losses) // 30)
    smooth = result.losses.unfold(0, window, window).mean(1)
    steps = (torch.arange(len(smooth)) + 0.5) * window
    plots.line(right, steps, torch.full_like(smooth, result.floor), "true", dashed=True)
    plots.direct_label(right, steps[-1], result.floor, "floor c: the exact score", "true", offset=(0, -14), ha="right")
    plots.line(right, steps, smooth, "learned")
    right.set_ylim(bottom=result.floor - 0.25 * float(smooth.max() - result.floor))
    plots.panel_title(right, "denoising loss in training")
    right.set(xlabel="step")
    return fig
