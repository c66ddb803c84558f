"""L8.  Score matching on clean images: the loss is bumpy; noise that no eye sees lets it settle.

Sliced score matching minimises, up to a constant, the distance to the data's score,

    J(s) = E 1/2 || s(x) ||² + tr(ds/dx) >= - E 1/2 || s*(x) ||²

Images have few grey levels and pixels that never change: they have no density and no s*, and J has no floor.  A network
that is ever steeper across the data gets an ever lower loss, and ever larger jumps where a batch is off.  With noise of
variance sigma² there is a density, and as s*(x + sigma z) is the mean of -z / sigma given x + sigma z,

    E || s* ||² <= E || z / sigma ||² = D / sigma²,        hence J >= - D / (2 sigma²).

The clean loss is the larger one, so its bumps count relative to its own level, over several trainings each.  The null
of its bumps is how much these differ between trainings with noise; the null of convergence is the clean loss itself.

Source: Song & Ermon 2019, section 3.1 and figure 1, where the variance is 1e-4 too.
"""

from dataclasses import dataclass
from statistics import median

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from ..data import load_images
from ..diagnostics import plots
from ..score_matching import sliced_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import stated

CLAIM = Claim(
    number=8,
    name="clean-loss",
    at="10:14",
    sentence="Score matching on clean images has a bumpy loss; a tiny noise makes it converge.",
    equation="E 1/2 ||s||² + tr(ds/dx) has no floor on clean images, and is >= -D / (2 sigma²) with noise",
)

SHOWN = 3  # images in the figure
UNSEEN = 1e-4  # variance up to which no eye sees noise, for images in [0, 1]


@dataclass(frozen=True)
class CleanLossParams(Params):
    """Images, noise and training."""

    data: str = flag("digits", "real images: digits, a folder, or a data set's name on the Hub")
    variance: float = flag(1e-4, "of the noise, for images in [0, 1]")
    num_runs: int = flag(3, "trainings with clean images, and with noised ones, at least 2", least=2)
    train_steps: int = flag(2000, "steps of each training, at least 10", least=10)
    batch_size: int = flag(128, "images per step")
    hidden_features: int = flag(128, "width of the network's three hidden layers")
    learning_rate: float = flag(1e-3, "of Adam, the same at every step")


Params = CleanLossParams
QUICK = {"num_runs": 3, "train_steps": 600, "batch_size": 64, "hidden_features": 64, "learning_rate": 4e-3}


@dataclass(kw_only=True)
class CleanLossResult(Result):
    """The loss of every step with clean images and with noised ones; a number per training.

    Args:
        clean_bumps: standard deviation of the detrended loss over the last half, over its level.
        noised_bumps: likewise.
        clean_change: change of the mean loss from the last but one fifth to the last, over the last.
        noised_change: likewise.
        clean_levels: mean loss over the last tenth.
        noised_levels: likewise.
        highest: the largest loss of a single step in the last half, clean and noised, of the first training.
        floor: -D / (2 sigma²), below which the expected loss with noise cannot fall.
        num_flat: pixels that are the same in all images.
        clean: loss of every step of the first training, shape `(train_steps,)`.
        noised: the same with noise.
        images: clean ones and, beside each, the same noised, one picture `(H, W)` or `(H, W, 3)` in [0, 1].
    """

    clean_bumps: list[float]
    noised_bumps: list[float]
    clean_change: list[float]
    noised_change: list[float]
    clean_levels: list[float]
    noised_levels: list[float]
    highest: list[float]
    floor: float
    num_flat: int
    clean: Tensor
    noised: Tensor
    images: Tensor


def run(params: CleanLossParams) -> CleanLossResult:
    """Trains networks on clean images and the same ones on noised images."""
    images = load_images(params.data).float_images()
    data, sigma = images.flatten(1), params.variance**0.5
    seeds = torch.randint(2**31, (params.num_runs,), generator=torch.Generator().manual_seed(params.seed)).tolist()
    clean, noised = ([training_losses(data, noise, params, seed) for seed in seeds] for noise in (0.0, sigma))
    clean_bumps, noised_bumps = ([bumps(losses) for losses in runs] for runs in (clean, noised))
    clean_change, noised_change = ([change(losses) for losses in runs] for runs in (clean, noised))
    tenth = params.train_steps // 10
    clean_levels, noised_levels = ([float(losses[-tenth:].mean()) for losses in runs] for runs in (clean, noised))
    highest = [float(losses[-params.train_steps // 2 :].max()) for losses in (clean[0], noised[0])]
    floor = -data.shape[1] / (2 * params.variance)
    passed = sum(float(losses.unfold(0, tenth, tenth).mean(1).min()) < floor for losses in clean)
    num_flat = int((data == data[0]).all(0).sum())
    bumpier = median(clean_bumps) / median(noised_bumps)
    differ = max(noised_bumps) / min(noised_bumps)
    settled, unsettled = median(noised_change), median(clean_change)
    larger = abs(clean_levels[0] / noised_levels[0])
    return CleanLossResult(
        params=params,
        checks=[
            Check(
                "spread of the detrended loss over its level, clean over noised",
                bumpier,
                ">=",
                1.2 * differ,
                null=differ,
                null_name="noised over noised, other trainings",
            ),
            Check(
                "change of the noised loss over the last two fifths, over its level",
                settled,
                "<=",
                0.5 * unsettled,
                null=unsettled,
                null_name="clean images",
            ),
        ],
        findings=[
            f"In units of its own level the loss spreads {_listed(clean_bumps)} with clean images and "
            f"{_listed(noised_bumps)} with noise of standard deviation {sigma:g}, a number per training; over the last "
            f"two fifths it changes by {_listed(clean_change)} and {_listed(noised_change)}"
            + (": with noise it settles, though it does not stand still." if settled <= 0.5 * unsettled else "."),
            f"The losses end at {clean_levels[0]:,.0f} and {noised_levels[0]:,.0f}"
            + (
                ", so that most of a difference in absolute spread is one of size."
                if larger > max(1, clean_bumps[0] / noised_bumps[0])
                else "."
            )
            + " The worst step of the last half had a loss of "
            f"{highest[0]:,.0f} with clean images and {highest[1]:,.0f} with noise.",
            f"{num_flat} of {data.shape[1]} pixels never change"
            + ", and across these the clean score can grow without end" * (num_flat > 0)
            + f"; the noised loss cannot fall below {floor:,.0f}, which {passed} of {params.num_runs} clean ones "
            "passed.",
        ],
        clean_bumps=clean_bumps,
        noised_bumps=noised_bumps,
        clean_change=clean_change,
        noised_change=noised_change,
        clean_levels=clean_levels,
        noised_levels=noised_levels,
        highest=highest,
        floor=floor,
        num_flat=num_flat,
        clean=clean[0],
        noised=noised[0],
        images=picture(images[:SHOWN], sigma, params.seed),
    )


def bumps(losses: Tensor) -> float:
    """Standard deviation of the detrended last half of a loss, shape `(n,)`, over the size of its last tenth's mean."""
    half, tenth = len(losses) // 2, len(losses) // 10
    return float(detrended(losses[-half:]).std()) / abs(float(losses[-tenth:].mean()))


def change(losses: Tensor) -> float:
    """Difference of the means of the last two fifths of a loss, shape `(n,)`, over the size of the last one's."""
    fifth = len(losses) // 5
    before, last = float(losses[-2 * fifth : -fifth].mean()), float(losses[-fifth:].mean())
    return abs(last - before) / abs(last)


def _listed(shares: list[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)


def training_losses(data: Tensor, sigma: float, params: CleanLossParams, seed: int) -> Tensor:
    """The mean loss of every step, shape `(train_steps,)`; sigma = 0 for clean data of shape `(N, D)`.

    The learning rate is constant: one that falls to zero would calm any loss.

    Raises:
        ValueError: where the loss stops being finite.
    """
    generator = torch.Generator().manual_seed(seed)
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
    noise = "a noise that no eye sees" if result.params.variance <= UNSEEN else "noise"
    fig, (left, middle, right) = plots.new_figure(
        stated(f"On clean images the score-matching loss is bumpy and has no floor; {noise} mends both", result.checks),
        f"Sliced score matching on {result.params.data}, noise of variance {result.params.variance:g}, several "
        f"trainings: in units of its level the loss spreads {_listed(result.clean_bumps)} without it, "
        f"{_listed(result.noised_bumps)} with it",
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
