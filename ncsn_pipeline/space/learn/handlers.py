"""What the Learn tab answers: the true score of a setting, a training, a training at every sigma, waiting, stopping."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from ..runs import messages
from ..runs.sessions import Outputs, SessionRuns
from . import report
from .dilemma import dilemma, distance_to_data
from .limits import SWEEP_SECONDS, TRAIN_SECONDS, LearnSettings, check_learn
from .report import MOST_RUNS, Panels, PastRun
from .run import LearnRun

# The order in which the endpoints take their inputs; the session's runs come last.
LEARN_INPUTS = ("data", "levels", "objective", "sigma", "num_steps", "seed")
SWEEP_SIGMAS = (0.03, 0.06, 0.1, 0.3, 0.8, 2.0)
FRAMES_PER_PICTURE = 4  # the three pictures take longer to draw than the loss

Update = dict[str, Any]
Runs = list[PastRun]


class LearnHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors."""

    # Of a training: status, loss, numbers, pictures, the dilemma, the session's runs.
    num_outputs, status_at = 6, 0

    def preview(
        self, data: str, levels: str, objective: str, sigma: float, num_steps: int, seed: int, runs: Runs | None
    ) -> tuple[str | Update, str, str | Update]:
        """The true score of the noised density, and where this sigma stands; where settings are refused, why."""
        try:
            settings = check_learn(data, levels, objective, sigma, num_steps, seed)
        except ValueError as error:
            return gr.skip(), messages.refusal(str(error)), gr.skip()
        return Panels(settings).html(), "", dilemma(settings, runs or [])

    def check(self, data: str, levels: str, objective: str, sigma: float, num_steps: int, seed: int) -> str:
        """Why the settings are refused, or nothing."""
        try:
            check_learn(data, levels, objective, sigma, num_steps, seed)
        except ValueError as error:
            return messages.refusal(str(error))
        return ""

    def train(
        self,
        data: str,
        levels: str,
        objective: str,
        sigma: float,
        num_steps: int,
        seed: int,
        runs: Runs | None,
        request: gr.Request,
    ) -> Iterator[Outputs]:
        """Trains one network; yields status, loss, numbers, pictures, the dilemma, and the session's runs.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        values = (data, levels, objective, sigma, num_steps, seed)
        yield from self.answered(request, lambda stop: self._train_one(check_learn(*values), runs or [], stop))

    def sweep(
        self,
        data: str,
        levels: str,
        objective: str,
        sigma: float,
        num_steps: int,
        seed: int,
        runs: Runs | None,
        request: gr.Request,
    ) -> Iterator[Outputs]:
        """Trains a network at one noise level after another, from a small sigma to a large one, and one at all levels.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        values = (data, levels, objective, sigma, num_steps, seed)
        yield from self.answered(request, lambda stop: self._train_all(check_learn(*values), runs or [], stop))

    def _train_one(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[Outputs]:
        return self._training(settings, runs, stop, TRAIN_SECONDS, f"{_levels_in_words(settings)}. ")

    def _train_all(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[Outputs]:
        trainings = [
            *(replace(settings, levels="one", sigma=sigma) for sigma in SWEEP_SIGMAS),
            replace(settings, levels="all", objective="denoising", sigma=settings.sigma or SWEEP_SIGMAS[-1]),
        ]
        end, done, of = time.perf_counter() + SWEEP_SECONDS, 0, len(trainings)
        for i, training in enumerate(trainings, 1):
            words, left = f"Training {i} of {of}. {_levels_in_words(training)}. ", end - time.perf_counter()
            for answer in self._training(training, runs, stop, left, words):
                if isinstance(answer[-1], list):
                    runs = answer[-1]
                    done += runs[-1].finished
                yield answer
            if stop.is_set() or (time.perf_counter() >= end and done < of):
                why = "Stopped" if stop.is_set() else f"Ended after {SWEEP_SECONDS:.0f} s, the most these may take"
                yield self.only_status(f"{why}: {done} of {of} trainings done.", "stopped")
                return

    def _training(
        self, settings: LearnSettings, runs: Runs, stop: threading.Event, seconds: float, prefix: str
    ) -> Iterator[Outputs]:
        run, panels = LearnRun(settings, stop, seconds), Panels(settings)
        least = run.least_loss()
        yield self.outputs(
            messages.status(f"{prefix}Training …", of=settings.num_steps, kind="running"),
            report.loss([], settings, least, runs),
            gr.skip(),
            panels.html(),
        )
        for frame, final in enumerate(run.frames(), 1):
            if final:
                break
            step = len(run.losses)
            words = f"{prefix}Step {step:,} of {settings.num_steps:,} · loss {run.losses[-1]:,.3g}"
            yield self.outputs(
                messages.status(words, step, settings.num_steps, kind="running"),
                report.loss(run.losses, settings, least, runs),
                gr.skip(),
                panels.html(run) if frame % FRAMES_PER_PICTURE == 1 else gr.skip(),
            )
        text, kind = self._ending(run)
        if not run.losses:
            yield self.outputs(messages.status(prefix + text, 0, settings.num_steps, kind=kind))
            return
        drawn = run.draw()
        distance = None if drawn is None else distance_to_data(settings, drawn)
        past = PastRun(settings, run.errors(), distance, np.asarray(run.losses, dtype=np.float32))
        answer = (
            messages.status(prefix + text, len(run.losses), settings.num_steps, kind=kind),
            report.loss(run.losses, settings, least, runs),
            report.numbers(past),
            panels.html(run, drawn),
        )
        runs = [*runs, past][-MOST_RUNS:]
        yield (*answer, dilemma(settings, runs), runs)

    @staticmethod
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
