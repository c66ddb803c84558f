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
from .limits import SWEEP_SECONDS, TRAIN_SECONDS, LearnSettings, check_learn
from .report import MOST_RUNS, Panels, PastRun
from .run import LearnRun

# The order in which the endpoints take their inputs; the session's runs come last.
LEARN_INPUTS = ("data", "objective", "sigma", "num_steps", "seed")
SWEEP_SIGMAS = (0.03, 0.07, 0.15, 0.35, 0.8, 1.8)
FRAMES_A_PICTURE = 4  # the three pictures take longer to draw than the loss

Update = dict[str, Any]
Runs = list[PastRun]


class LearnHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors."""

    # Of a training: status, loss, numbers, pictures, the dilemma, the session's runs.
    num_outputs, status_at = 6, 0

    def preview(
        self, data: str, objective: str, sigma: float, num_steps: int, seed: int, runs: Runs | None
    ) -> tuple[str | Update, str, str | Update]:
        """The true score of the noised density, and where this sigma stands; where settings are refused, why."""
        try:
            settings = check_learn(data, objective, sigma, num_steps, seed)
        except ValueError as error:
            return gr.skip(), messages.refusal(str(error)), gr.skip()
        return Panels(settings).html(), "", report.dilemma(settings, runs or [])

    def check(self, data: str, objective: str, sigma: float, num_steps: int, seed: int) -> str:
        """Why the settings are refused, or nothing."""
        try:
            check_learn(data, objective, sigma, num_steps, seed)
        except ValueError as error:
            return messages.refusal(str(error))
        return ""

    def train(
        self,
        data: str,
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
        values = (data, objective, sigma, num_steps, seed)
        yield from self.answered(request, lambda stop: self._train_one(check_learn(*values), runs or [], stop))

    def sweep(
        self,
        data: str,
        objective: str,
        sigma: float,
        num_steps: int,
        seed: int,
        runs: Runs | None,
        request: gr.Request,
    ) -> Iterator[Outputs]:
        """Trains one network after another, from a small sigma to a large one, with all other settings the same.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        values = (data, objective, sigma, num_steps, seed)
        yield from self.answered(request, lambda stop: self._train_all(check_learn(*values), runs or [], stop))

    def _train_one(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[Outputs]:
        return self._training(settings, runs, stop, TRAIN_SECONDS, f"σ = {settings.sigma:g}. ")

    def _train_all(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[Outputs]:
        end, done, of = time.perf_counter() + SWEEP_SECONDS, 0, len(SWEEP_SIGMAS)
        for i, sigma in enumerate(SWEEP_SIGMAS, 1):
            words, left = f"Level {i} of {of}, σ = {sigma:g}. ", end - time.perf_counter()
            for answer in self._training(replace(settings, sigma=sigma), runs, stop, left, words):
                if isinstance(answer[-1], list):
                    runs = answer[-1]
                    done += runs[-1].finished
                yield answer
            if stop.is_set() or (time.perf_counter() >= end and done < of):
                why = "Stopped" if stop.is_set() else f"Ended after {SWEEP_SECONDS:.0f} s, the most a sweep may take"
                yield self.only_status(f"{why}: {done} of {of} noise levels done.", "stopped")
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
                panels.html(run) if frame % FRAMES_A_PICTURE == 1 else gr.skip(),
            )
        text, kind = self._ending(run)
        if not run.losses:
            yield self.outputs(messages.status(prefix + text, 0, settings.num_steps, kind=kind))
            return
        drawn = run.draw()
        distance = None if drawn is None else report.distance_to_data(settings, drawn)
        past = PastRun(settings, run.errors(), distance, np.asarray(run.losses, dtype=np.float32))
        answer = (
            messages.status(prefix + text, len(run.losses), settings.num_steps, kind=kind),
            report.loss(run.losses, settings, least, runs),
            report.numbers(past),
            panels.html(run, drawn),
        )
        runs = [*runs, past][-MOST_RUNS:]
        yield (*answer, report.dilemma(settings, runs), runs)

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
