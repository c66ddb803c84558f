"""L8.  Score matching on clean images: the loss is bumpy; noise that no eye sees lets it settle.

Sliced score matching minimises, up to a constant, the distance to the data's score,

    J(s) = E 1/2 || s(x) ||² + tr(ds/dx) >= - E 1/2 || s*(x) ||²

Images have few grey levels and pixels that never change: they have no density and no s*, and J has no floor.  A network
that is ever steeper across the data gets an ever lower loss, and ever larger jumps where a batch is off.  With noise of
variance sigma² there is a density, and as s*(x + sigma z) is the mean of -z / sigma given x + sigma z,

    E || s* ||² <= E || z / sigma ||² = D / sigma²,        hence J >= - D / (2 sigma²).

Source: Song & Ermon 2019, section 3.1 and figure 1, where the variance is 1e-4 too.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from ..data import load_images
from ..diagnostics import plots
from ..score_matching import sliced_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of

CLAIM = Claim(
    number=8,
    name="clean-loss",
    at="10:14",
    sentence="Score matching on clean images has a bumpy loss; a tiny noise makes it converge.",
    equation="E 1/2 ||s||² + tr(ds/dx) has no floor on clean images, and is >= -D / (2 sigma²) with noise",
)

SHOWN = 3  # images in the figure


@dataclass(frozen=True)
class CleanLossParams(Params):
    """See the flags."""

    data: str = flag("digits", "real images: digits, a folder, or a data set's name on the Hub")
    variance: float = flag(1e-4, "of the noise, for images in [0, 1]")
    train_steps: int = flag(2000, "steps of each of the two trainings")
    batch_size: int = flag(128, "images per step")
    hidden_features: int = flag(128, "width of the network's three hidden layers")
    learning_rate: float = flag(1e-3, "of Adam, the same at every step")


Params = CleanLossParams
QUICK = {"train_steps": 600, "batch_size": 64, "hidden_features": 64, "learning_rate": 2e-3}


@dataclass(kw_only=True)
class CleanLossResult(Result):
    """The loss of every step with clean images and with noised ones.

    Args:
        spreads: standard deviation of the detrended loss over the last half, clean and noised.
        levels: mean loss over the last tenth, clean and noised.
        highest: the largest loss of a single step in the last half, clean and noised.
        floor: -D / (2 sigma²), below which the expected loss with noise cannot fall.
        num_flat: pixels that are the same in all images.
        clean: loss of every step, shape `(train_steps,)`.
        noised: the same with noise.
        images: clean ones and, beside each, the same noised, one picture `(H, W)` or `(H, W, 3)` in [0, 1].
    """

    spreads: list[float]
    levels: list[float]
    highest: list[float]
    floor: float
    num_flat: int
    clean: Tensor
    noised: Tensor
    images: Tensor


def run(params: CleanLossParams) -> CleanLossResult:
    """Trains one network on clean images and the same one on noised ones."""
    if params.train_steps < 10:
        raise ValueError(f"train_steps must be at least 10, to have a last tenth; got {params.train_steps}.")
    images = load_images(params.data).float_images()
    data, sigma = images.flatten(1), params.variance**0.5
    clean, noised = (training_losses(data, noise, params) for noise in (0.0, sigma))
    half, tenth = params.train_steps // 2, params.train_steps // 10
    spreads = [float(detrended(losses[-half:]).std()) for losses in (clean, noised)]
    levels = [float(losses[-tenth:].mean()) for losses in (clean, noised)]
    highest = [float(losses[-half:].max()) for losses in (clean, noised)]
    tenths = clean.unfold(0, tenth, tenth).mean(1)
    floor = -data.shape[1] / (2 * params.variance)
    shares = [100 * spread / abs(level) for spread, level in zip(spreads, levels, strict=True)]
    before = [float(losses[-2 * tenth : -tenth].mean()) for losses in (clean, noised)]
    num_flat = int((data == data[0]).all(0).sum())
    return CleanLossResult(
        params=params,
        checks=[Check("spread of the detrended loss, clean / noised", spreads[0] / spreads[1], ">=", 3)],
        findings=[
            f"Spread {spreads[0]:,.0f} with clean images and {spreads[1]:,.0f} with noise of standard deviation "
            f"{sigma:g}. Part of it is size, as the clean loss is the larger one: in units of its own level "
            f"({levels[0]:,.0f} and {levels[1]:,.0f} at the end) it is {shares[0]:.0f} % and {shares[1]:.0f} %.",
            f"The worst step of the last half had a loss of {highest[0]:,.0f} with clean images and {highest[1]:,.0f} "
            f"with noise. {num_flat} of {data.shape[1]} pixels never change, and across these the clean score can grow "
            f"without end; the noised loss cannot fall below {floor:,.0f}"
            + (", which the clean one passed." if float(tenths.min()) < floor else "."),
            "The noised loss settles rather than converges: over the last two tenths of the training it went from "
            f"{before[1]:,.0f} to {levels[1]:,.0f}, the clean one from {before[0]:,.0f} to {levels[0]:,.0f}.",
        ],
        spreads=spreads,
        levels=levels,
        highest=highest,
        floor=floor,
        num_flat=num_flat,
        clean=clean,
        noised=noised,
        images=picture(images[:SHOWN], sigma, params.seed),
    )


def training_losses(data: Tensor, sigma: float, params: CleanLossParams) -> Tensor:
    """The mean loss of every step, shape `(train_steps,)`; sigma = 0 for clean data of shape `(N, D)`.

    The learning rate is constant: one that falls to zero would calm any loss.

    Raises:
        ValueError: where the loss stops being finite.
    """
    generator = torch.Generator().manual_seed(params.seed)
    network = new_field(data.shape[1], hidden_features=params.hidden_features, generator=generator)
    score_fn = score_of(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
    losses = torch.empty(params.train_steps)
    for step in range(params.train_steps):
        x = data[torch.randint(len(data), (params.batch_size,), generator=generator)]
        if sigma:
            x = x + sigma * torch.randn(x.shape, generator=generator)
        loss = sliced_score_matching(score_fn, x, generator=generator).mean()
        if not loss.isfinite():
            raise ValueError(f"The loss is {loss.item()} at step {step}; lower learning_rate ({params.learning_rate}).")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    return losses


def detrended(losses: Tensor) -> Tensor:
    """What is left of losses, shape `(n,)`, after the parabola that fits them best is taken off."""
    t = torch.linspace(-1, 1, len(losses), dtype=torch.float64)
    powers = torch.stack([t**0, t, t**2], dim=1)
    values = losses.double()
    return values - powers @ torch.linalg.lstsq(powers, values).solution


def picture(images: Tensor, sigma: float, seed: int) -> Tensor:
    """The images, shape `(n, C, H, W)`, one above the other, and beside each the same with noise."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    pairs = torch.cat([functional.pad(side, (0, 1, 0, 1), value=1.0) for side in (images, images + sigma * noise)], 3)
    return torch.cat(list(pairs), dim=1).movedim(0, 2)[:-1, :-1].squeeze(2).clamp(0, 1)


def figure(result: CleanLossResult) -> Figure:
    """Both kinds of images, both losses on one scale, and the noised loss on its own."""
    fig, (left, middle, right) = plots.new_figure(
        "On clean images the score-matching loss is bumpy and has no floor; a noise that no eye sees mends both",
        f"Sliced score matching on {result.params.data}, noise of variance {result.params.variance:g}: the detrended "
        f"loss spreads {result.spreads[0] / result.spreads[1]:.0f} times as far without it",
        ncols=3,
        size=(10, 4.2),
        width_ratios=(0.7, 1.2, 1),
    )
    left.imshow(result.images.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    left.axis("off")
    left.set_anchor("NW")
    plots.panel_title(left, "clean", "second")
    left.set_title("noised", loc="right", fontsize=left.title.get_fontsize(), color=plots.colour_of("learned"), pad=7)

    steps = torch.arange(len(result.clean))
    floor = result.floor / 1000
    plots.line(middle, steps, torch.full_like(result.clean, floor), "true", dashed=True)
    for axes, losses, colour, label in (
        (middle, result.clean, "second", "clean"),
        (middle, result.noised, "learned", "noised"),
        (right, result.noised, "learned", None),
    ):
        plots.line(axes, steps, losses / 1000, colour, label=label).set_linewidth(0.9)
        axes.set(xlabel="step", xlim=(0, len(steps)))
    plots.panel_title(middle, "both losses / 1,000")
    plots.panel_title(right, "the noised loss alone / 1,000", "learned")
    side = 4 if result.floor < float(result.clean.min()) else -4
    plots.direct_label(middle, 0.03 * len(steps), floor, "floor with noise", offset=(1, side))
    plots.label_ends(middle)
    return fig
