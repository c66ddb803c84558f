"""What happens in a training, and in a sweep of them, moment by moment; and what a program is told of a moment."""

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ..runs import messages
from .dilemma import distance_to_data
from .limits import SWEEP_SECONDS, LearnSettings
from .report import MOST_RUNS, PastRun
from .run import LearnRun

SWEEP_SIGMAS = (0.03, 0.06, 0.1, 0.3, 0.8, 2.0)

Runs = list[PastRun]


@dataclass(frozen=True)
class Moment:
    """A moment of one training, or of a sweep that was cut short.

    Args:
        words: for the line of status.
        kind: `"running"`, `"done"` or `"stopped"`.
        run: the training; None between two of them.
        runs: what is remembered of the session's, this one too once it has ended.
        frame: which one of this training it is, 0 before the first step.
        drawn: samples by the learned score, shape `(N, 2)`, at the end; None where none could be drawn.
        past: what is remembered of this one, at its end.
    """

    words: str
    kind: str
    run: LearnRun | None
    runs: Runs
    frame: int = 0
    drawn: Tensor | None = None
    past: PastRun | None = None


def training(
    settings: LearnSettings, runs: Runs, stop: threading.Event, seconds: float, prefix: str = ""
) -> Iterator[Moment]:
    """Trains one network for at most so long; the last moment holds what it has left."""
    run, prefix = LearnRun(settings, stop, seconds), f"{prefix}{_levels_in_words(settings)}. "
    yield Moment(f"{prefix}Training …", "running", run, runs)
    for frame, final in enumerate(run.frames(), 1):
        if not final:
            words = f"Step {len(run.losses):,} of {settings.num_steps:,} · loss {run.losses[-1]:,.3g}"
            yield Moment(prefix + words, "running", run, runs, frame)
    words, kind = _ending(run)
    if not run.losses:
        yield Moment(prefix + words, kind, run, runs)
        return
    drawn = run.draw()
    distance = None if drawn is None else distance_to_data(settings, drawn)
    past = PastRun(settings, run.errors(), distance, np.asarray(run.losses, dtype=np.float32))
    yield Moment(prefix + words, kind, run, [*runs, past][-MOST_RUNS:], frame, drawn, past)


def sweep(settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[Moment]:
    """Trains a network at one noise level after another, from a small sigma to a large one, and one at all levels."""
    trainings = [
        *(replace(settings, levels="one", sigma=sigma) for sigma in SWEEP_SIGMAS),
        replace(settings, levels="all", objective="denoising", sigma=settings.sigma or SWEEP_SIGMAS[-1]),
    ]
    end, done, of = time.perf_counter() + SWEEP_SECONDS, 0, len(trainings)
    for i, each in enumerate(trainings, 1):
        for moment in training(each, runs, stop, end - time.perf_counter(), f"Training {i} of {of}. "):
            yield moment
        runs = moment.runs
        done += moment.past is not None and moment.past.finished
        if stop.is_set() or (time.perf_counter() >= end and done < of):
            why = "Stopped" if stop.is_set() else f"Ended after {SWEEP_SECONDS:.0f} s, the most these may take"
            yield Moment(f"{why}: {done} of {of} trainings done.", "stopped", None, runs)
            return


def _ending(run: LearnRun) -> tuple[str, str]:
    """The words of the last status line and their kind."""
    so_far = f"step {len(run.losses):,} of {run.settings.num_steps:,}"
    if run.finished:
        return f"Done: {run.settings.num_steps:,} steps in {run.seconds:.1f} s", "done"
    if run.broken:
        return f"The loss is no longer a finite number after {so_far}", "stopped"
    if run.timed_out:
        return f"Ended after {run.deadline:.0f} s, the most a training may take, at {so_far}", "stopped"
    return f"Stopped at {so_far}", "stopped"


def _levels_in_words(settings: LearnSettings) -> str:
    return "All levels" if settings.all_levels else f"σ = {settings.sigma:g}"


def told(moment: Moment) -> dict[str, Any]:
    """A moment of one training as numbers; at its end its losses, its errors and what it draws."""
    said = messages.said(moment.words, moment.kind)
    if (run := moment.run) is None:
        return said
    said |= {"step": len(run.losses), "steps": run.settings.num_steps, "seconds": run.seconds}
    if (past := moment.past) is None:
        return said | {"loss": run.losses[-1] if run.losses else None}
    samples = None if moment.drawn is None else moment.drawn.tolist()
    return said | _numbers(past) | {"losses": run.losses, "least_loss": run.least_loss(), "samples": samples}


def told_of_all(moment: Moment) -> dict[str, Any]:
    """A moment of a sweep as numbers; `trainings` are those that have ended, in their order."""
    ended = [{"seed": run.settings.seed, "steps": len(run.losses)} | _numbers(run) for run in moment.runs]
    return messages.said(moment.words, moment.kind) | {"trainings": ended}


def _numbers(run: PastRun) -> dict[str, Any]:
    """The settings that tell trainings apart, || s - s* ||² / E || s* ||² three times, and the samples' distance."""
    errors = None if run.errors is None else asdict(run.errors)
    settings = {name: getattr(run.settings, name) for name in ("levels", "sigma")}
    return settings | {"errors": errors, "distance": run.distance}
