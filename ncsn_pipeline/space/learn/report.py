"""What the Learn tab shows of a training: its figures with a sentence each, and its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure

from ...diagnostics import squared_error
from ...diagnostics.plots import inline_svg, plain_number, plane_grid
from .limits import LearnSettings
from .plots import error_figure, field_figure, longest_arrow, loss_figure
from .run import DRAWING_SIGMAS, GRID, Errors, LearnRun

SHOWN_SAMPLES = 600
MOST_RUNS = 40


@dataclass(frozen=True)
class PastRun:
    """What is remembered of a run of this session.

    Args:
        settings: of the run.
        errors: of the learned score; None where there was none to hold it against.
        distance: of the samples drawn with it from the clean data, in data units; None where none could be drawn.
        losses: mean loss of every step.
    """

    settings: LearnSettings
    errors: Errors | None
    distance: float | None
    losses: np.ndarray

    @property
    def finished(self) -> bool:
        """Whether it took all its steps; one that was cut short says nothing about its sigma."""
        return len(self.losses) == self.settings.num_steps


class Panels:
    """The three pictures of one setting: the true score, the learned one, and where that is wrong."""

    def __init__(self, settings: LearnSettings) -> None:
        self.settings = settings
        self.data = settings.learned
        self.noised = self.data.density.noised(settings.sigma)
        self.density = self.noised if settings.has_score else None
        self.points = None
        if not settings.has_score:
            self.points = self.noised.sample(SHOWN_SAMPLES, generator=torch.Generator().manual_seed(0))
        self.longest = longest_arrow(self.noised.score, self.data.extent) if settings.has_score else None
        score_fn = self.noised.score if settings.has_score else None
        true = field_figure(score_fn, self.data.extent, self.longest or 1.0, self.density, self.points)
        self._true = inline_svg(true, f"The true score of the {self.data.label.lower()} at sigma {settings.sigma:g}")

    def html(self, run: LearnRun | None = None, drawn: torch.Tensor | None = None) -> str:
        """The pictures as they are now; `drawn` are samples by the learned score, shape `(N, 2)`."""
        if self.settings.has_score:
            true = "Arrows point to where data are likelier. The shade is the noised density itself."
        elif self.data.thickness == 0:
            true = "Without noise all data lie on a line, and the plane has no density: there is no score to learn."
        else:
            true = "Without noise the density jumps at the edges of the squares: there is no score to learn."
        learned = error = None
        if run is not None:
            longest = self.longest or longest_arrow(run.learned, self.data.extent)
            points = self.points if drawn is None else drawn[:SHOWN_SAMPLES]
            field = field_figure(run.learned, self.data.extent, longest, self.density, points, drawn is not None)
            learned = inline_svg(field, "The learned score")
            if self.settings.has_score:
                error = inline_svg(self._error(run), "Squared error of the learned score over the plane")
        largest, smallest = DRAWING_SIGMAS[0], DRAWING_SIGMAS[-1]
        how = "Langevin dynamics draws by them at this σ alone"
        if self.settings.all_levels:
            how = f"annealed Langevin dynamics draws with all levels, from σ = {largest:g} to {smallest:g}"
        dots = f" Dots: what {how}." if drawn is not None else ""
        middle = f"The same arrows by the network, on the same scale.{dots}"
        if not self.settings.has_score:
            middle = f"What the network makes of the points: arrows that grow for as long as it is trained.{dots}"
        right = (
            "<i>‖s − s*‖²</i> over <i>E‖s*‖²</i>. Blue: right. Yellow: wrong by many times the score's own size. Look "
            "outside the white line, where few data fall: what is never seen is not learned."
            if self.settings.has_score
            else "No true score, no error: the network can only be held against something once there is noise."
        )
        empty = f'<div class="placeholder">{"After training" if self.settings.has_score or not run else "None"}</div>'
        return (
            '<div class="ladder panels">'
            + "".join(
                f"<figure><figcaption>{title}: {self.data.label}, σ = {self.settings.sigma:g}</figcaption>"
                f"{picture or empty}<p>{words}</p></figure>"
                for title, picture, words in (
                    ("True score", self._true, true),
                    ("Learned score", learned, middle),
                    ("Squared error", error, right),
                )
            )
            + "</div>"
        )

    def _error(self, run: LearnRun) -> Figure:
        grid = plane_grid(self.data.extent, GRID)
        x = self.noised.sample(2000, generator=torch.Generator().manual_seed(0))
        norm = self.noised.score(x).square().sum(1).mean()
        error = squared_error(run.learned(grid), self.noised.score(grid)) / norm
        return error_figure(error, self.noised, self.data.extent)


def loss(losses: Sequence[float], settings: LearnSettings, least: float | None, runs: Sequence[PastRun]) -> str:
    """The loss curve, beside that of the last run with the same data and a loss of the same kind."""
    before = None
    for run in reversed(runs):
        past = run.settings
        kinds = [(either.objective == "denoising", either.levels) for either in (past, settings)]
        if settings.all_levels:
            past = replace(past, sigma=settings.sigma)  # where it was judged changed no loss
        if past.data == settings.data and kinds[0] == kinds[1] and past != settings and len(run.losses):
            before = (f"before: {past.in_words}", run.losses)
            break
    figure = loss_figure(losses, settings.num_steps, least, before)
    of = f": {settings.in_words}" if len(losses) else ""
    if not len(losses):
        words = "The loss of every step, as it comes."
    elif least is None:
        words = "Nothing bounds this loss from below: on clean data of this kind it falls, ever more bumpily."
    else:
        words = "The gap to the dashed line is the Fisher divergence: what there is still to learn."
    drawn = inline_svg(figure, f"Loss of {len(losses)} training steps")
    return f'<div class="loss"><figure><figcaption>Loss{of}</figcaption>{drawn}<p>{words}</p></figure></div>'


def numbers(run: PastRun | None) -> str:
    """The numbers of a finished run, each with what it means."""
    if run is None:
        return '<p class="empty">After a run: how wrong the learned score is, where, and what it draws.</p>'
    rows = []
    if run.errors is not None:
        rows += [
            (
                f"Relative Fisher divergence at σ = {run.settings.sigma:g}",
                run.errors.relative,
                "over samples; 0 perfect, 1 as bad as no score at all",
            ),
            ("Error, densest tenth", run.errors.highest, "the same over the tenth of the square with most data"),
            ("Error, emptiest tenth", run.errors.lowest, "the same over the tenth with the least"),
        ]
    else:
        last = run.losses[-max(1, len(run.losses) // 10) :]
        rows.append(("Mean loss, last tenth", float(last.mean()), "and nothing that ends its fall"))
    if run.distance is not None:
        rows.append(("Samples to clean data", run.distance, "sliced Wasserstein distance, in data units"))
    items = "".join(f"<div><dt>{name}</dt><dd>{number(value)}<p>{words}</p></dd></div>" for name, value, words in rows)
    return f'<p class="about-run">{run.settings.judged_in_words}</p><dl class="numbers">{items}</dl>'


def made_with_others(settings: LearnSettings) -> str:
    """That the last numbers are of other settings than those that are set now."""
    return (
        '<div class="notes warn"><p>The numbers are of a training with other settings: '
        f"{settings.judged_in_words}, {settings.num_steps:,} steps, seed {settings.seed}. Press Train for new ones.</p>"
        "</div>"
    )


def number(value: float) -> str:
    """Three digits, as the page writes them."""
    return plain_number(float(f"{value:.3g}")).replace("-", "−")
