"""L18.  Sliced score matching learns the clean score, denoising score matching the noised one.

Two networks, alike in all but their loss, learn from the same density:

    sliced       E <v, (ds/dx) v> + 1/2 || s(x) ||²             at clean samples x
    denoising    E 1/2 || s(x + sigma z) + z / sigma ||²        at noised ones

Each is held against the clean score over clean samples and against the noised score over noised samples, relative to
the mean square of that score.  The nulls are exact scores: if sliced score matching learned the noised score, its error
against the clean one would be that of the exact noised score, and the other way round.

Source: Song, Garg, Shi & Ermon 2019, section 3; Vincent 2011, section 4.2.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import Density, ScoreFn
from ..diagnostics import plots, relative_fisher_divergence
from ..score_matching import denoising_score_matching, sliced_score_matching
from .experiment import Check, Claim, Params, Result, flag
from .free_field import new_field, score_of
from .sentences import stated
from .single_level import three_bars
from .training import fit

CLAIM = Claim(
    number=18,
    name="clean-score",
    at="06:53",
    sentence="Sliced score matching learns the clean score, denoising score matching the noised one.",
    equation="argmin E <v, (ds/dx) v> + 1/2 ||s||² = grad log p;  argmin E || s(x + sigma z) + z / sigma ||² = "
    "grad log p_sigma",
)


@dataclass(frozen=True)
class CleanScoreParams(Params):
    """See the flags."""

    sigma: float = flag(0.2, "the noise of denoising score matching, in data units")
    hidden_features: int = flag(64, "width of both networks' three hidden layers")
    train_steps: int = flag(900, "updates of each network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(5e-3, "of Adam at the start")
    num_samples: int = flag(20_000, "samples that errors are averaged over")


Params = CleanScoreParams
QUICK = {"train_steps": 500, "num_samples": 10_000}


@dataclass(kw_only=True)
class CleanScoreResult(Result):
    """Relative errors, by what was learned: "sliced", "denoising", "exact clean" and "exact noised".

    Args:
        against_clean: over clean samples, against the clean score.
        against_noised: over noised samples, against the noised score.
        density: the clean density, for the figure.
        learned: both learned scores, by the name of their loss.
    """

    against_clean: dict[str, float]
    against_noised: dict[str, float]
    density: Density
    learned: dict[str, ScoreFn]


def run(params: CleanScoreParams) -> CleanScoreResult:
    """Both losses on one density, and what each learned against the clean and against the noised score."""
    generator = torch.Generator().manual_seed(params.seed)
    density = three_bars()
    noised = density.noised(params.sigma)

    def batch() -> Tensor:
        return density.sample(params.batch_size, generator=generator)

    losses = {
        "sliced": lambda score_fn: sliced_score_matching(score_fn, batch(), generator=generator),
        "denoising": lambda score_fn: denoising_score_matching(score_fn, batch(), params.sigma, generator=generator),
    }
    learned = {}
    for name, loss_of in losses.items():
        field = new_field(2, hidden_features=params.hidden_features, generator=generator)
        score_fn = score_of(field)
        fit(
            field.parameters(),
            lambda loss_of=loss_of, score_fn=score_fn: loss_of(score_fn),
            num_steps=params.train_steps,
            learning_rate=params.learning_rate,
        )
        field.requires_grad_(False)
        learned[name] = score_fn
    scores = learned | {"exact clean": density.score, "exact noised": noised.score}
    at_clean, at_noised = (each.sample(params.num_samples, generator=generator) for each in (density, noised))
    against_clean, against_noised = (
        {name: relative_fisher_divergence(score_fn(x), target.score(x)) for name, score_fn in scores.items()}
        for x, target in ((at_clean, density), (at_noised, noised))
    )
    return CleanScoreResult(
        params=params,
        checks=[
            Check(
                "sliced: error against the clean score",
                against_clean["sliced"],
                "<=",
                against_clean["exact noised"] / 3,
                null=against_clean["exact noised"],
                null_name="exact noised score",
            ),
            Check(
                "denoising: error against the noised score",
                against_noised["denoising"],
                "<=",
                against_noised["exact clean"] / 3,
                null=against_noised["exact clean"],
                null_name="exact clean score",
            ),
            Check(
                "sliced: error against the noised over that against the clean score",
                against_noised["sliced"] / against_clean["sliced"],
                ">=",
                3.0,
                null=against_noised["denoising"] / against_clean["denoising"],
                null_name="denoising",
            ),
        ],
        findings=[
            f"Against the clean score sliced score matching has {against_clean['sliced']:.3f} and denoising at sigma "
            f"{params.sigma:g} {against_clean['denoising']:.3f}, of which {against_clean['exact noised']:.3f} is the "
            "price that the exact noised score pays as well.",
            f"Against the noised score sliced score matching has {against_noised['sliced']:.3f} and denoising "
            f"{against_noised['denoising']:.3f}; the exact clean score has {against_noised['exact clean']:.3f}.",
        ],
        against_clean=against_clean,
        against_noised=against_noised,
        density=density,
        learned=learned,
    )


def figure(result: CleanScoreResult) -> Figure:
    """The errors of both losses against both scores, beside the exact scores'; and both fields on the density."""
    extent = (-2.2, 2.2, -2.2, 2.2)
    fig, (left, *fields) = plots.new_figure(
        stated("Sliced score matching learns the clean score, denoising the noised one", result.checks),
        f"Relative error against the clean score: sliced {result.against_clean['sliced']:.3f}, denoising "
        f"{result.against_clean['denoising']:.3f}; against the one noised by {result.params.sigma:g}: "
        f"{result.against_noised['sliced']:.3f} and {result.against_noised['denoising']:.3f}",
        ncols=3,
        size=(10, 4.2),
        width_ratios=(1.25, 1, 1),
    )
    colours = {"sliced": "second", "denoising": "learned", "exact clean": "muted", "exact noised": "muted"}
    left.set_yscale("log")
    for name, colour in colours.items():
        pair = [result.against_clean[name], result.against_noised[name]]
        if "exact" in name:
            pair = [value or float("nan") for value in pair]  # 0 against itself
        left.scatter((0, 1), pair, s=60, color=plots.colour_of(colour), zorder=4)
        at = 1 if name == "exact clean" else 0 if name == "exact noised" else int(pair[1] < pair[0])
        label = f"null: {name}" if "exact" in name else name
        plots.direct_label(left, at, pair[at], label, colour, (9, 0) if at == 0 else (-9, 0))
    plots.log_axis(left, "y")
    left.set(xlim=(-0.3, 1.3), xticks=(0, 1), xticklabels=("the clean score", "the noised score"))
    plots.panel_title(left, "relative error against")
    longest = float(result.density.score(plots.plane_grid(extent, 11)).norm(dim=1).quantile(0.8))
    for axes, (name, score_fn) in zip(fields, result.learned.items(), strict=True):
        plots.density_background(axes, result.density, extent)
        plots.arrow_field(axes, result.density.score, extent, 11, "true", longest=longest)
        plots.arrow_field(axes, score_fn, extent, 11, colours[name], longest=longest)
        plots.panel_title(axes, name, colours[name])
        axes.set_xlabel("clean score in black")
    return fig
