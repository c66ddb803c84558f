"""What the Learn tab answers: the true score of a setting, a training, a training at every sigma, waiting, stopping."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from . import learn_report, report
from .guard import FAILED
from .learn_limits import SWEEP_SECONDS, TRAIN_SECONDS, LearnSettings, check_learn
from .learn_report import MOST_RUNS, Panels, PastRun
from .learn_run import LearnRun

logger = logging.getLogger(__name__)

# The order in which the endpoints take their inputs; the session's runs come last.
LEARN_INPUTS = ("data", "objective", "sigma", "num_steps", "seed")
SWEEP_SIGMAS = (0.03, 0.07, 0.15, 0.35, 0.8, 1.8)
FRAMES_A_PICTURE = 4  # the three pictures take longer to draw than the loss

Update = dict[str, Any]
Runs = list[PastRun]


class LearnAnswers:
    """The functions behind the tab's events; one object serves all visitors."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def preview(
        self, data: str, objective: str, sigma: float, num_steps: int, seed: int, runs: Runs | None
    ) -> tuple[str | Update, str, str | Update]:
        """The true score of the noised density, and where this sigma stands; where settings are refused, why."""
        try:
            settings = check_learn(data, objective, sigma, num_steps, seed)
        except ValueError as error:
            return gr.skip(), report.refusal(str(error)), gr.skip()
        return Panels(settings).html(), "", learn_report.dilemma(settings, runs or [])

    def check(self, data: str, objective: str, sigma: float, num_steps: int, seed: int) -> str:
        """Why the settings are refused, or nothing."""
        try:
            check_learn(data, objective, sigma, num_steps, seed)
        except ValueError as error:
            return report.refusal(str(error))
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
    ) -> Iterator[tuple[Any, ...]]:
        """Trains one network; yields status, loss, numbers, pictures, the dilemma, and the session's runs.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        with _Stoppable(self._stops, request) as stop:
            yield from self._answered(
                lambda: self._train_one(check_learn(data, objective, sigma, num_steps, seed), runs or [], stop)
            )

    def sweep(
        self,
        data: str,
        objective: str,
        sigma: float,
        num_steps: int,
        seed: int,
        runs: Runs | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Trains one network after another, from a small sigma to a large one, with all other settings the same.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        with _Stoppable(self._stops, request) as stop:
            yield from self._answered(
                lambda: self._train_all(check_learn(data, objective, sigma, num_steps, seed), runs or [], stop)
            )

    @staticmethod
    def _answered(work: Callable[[], Iterator[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
        """What `work` yields, with its refusals and failures in words."""
        try:
            yield from work()
        except ValueError as error:
            yield (report.status(str(error), kind="error"), *[gr.skip()] * 5)
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("A training failed.")
            yield (report.status(FAILED, kind="error"), *[gr.skip()] * 5)
            raise gr.Error(FAILED, duration=None, print_exception=False) from None

    def _train_one(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[tuple[Any, ...]]:
        if stop.is_set():
            yield (report.status("Stopped before it started."), *[gr.skip()] * 5)
            return
        yield from self._training(settings, runs, stop, TRAIN_SECONDS, "")

    def _train_all(self, settings: LearnSettings, runs: Runs, stop: threading.Event) -> Iterator[tuple[Any, ...]]:
        end = time.perf_counter() + SWEEP_SECONDS
        for i, sigma in enumerate(SWEEP_SIGMAS, 1):
            left = end - time.perf_counter()
            if stop.is_set() or left <= 0:
                done = f"{i - 1} of {len(SWEEP_SIGMAS)} noise levels done"
                why = "Stopped" if stop.is_set() else f"Ended after {SWEEP_SECONDS:.0f} s, the most a sweep may take"
                yield (report.status(f"{why}: {done}.", kind="stopped"), *[gr.skip()] * 5)
                return
            words = f"Level {i} of {len(SWEEP_SIGMAS)}, σ = {sigma:g}. "
            for answer in self._training(replace(settings, sigma=sigma), runs, stop, left, words):
                if isinstance(answer[-1], list):
                    runs = answer[-1]
                yield answer

    def _training(
        self, settings: LearnSettings, runs: Runs, stop: threading.Event, seconds: float, prefix: str
    ) -> Iterator[tuple[Any, ...]]:
        run, panels = LearnRun(settings, stop, seconds), Panels(settings)
        least = run.least_loss()
        yield (
            report.status(f"{prefix}Training …", of=settings.num_steps, kind="running"),
            learn_report.loss([], settings, least, runs),
            gr.skip(),
            panels.html(),
            gr.skip(),
            gr.skip(),
        )
        for frame, final in enumerate(run.frames(), 1):
            if final:
                break
            step = len(run.losses)
            words = f"{prefix}Step {step:,} of {settings.num_steps:,} · loss {run.losses[-1]:,.3g}"
            yield (
                report.status(words, step, settings.num_steps, kind="running"),
                learn_report.loss(run.losses, settings, least, runs),
                gr.skip(),
                panels.html(run) if frame % FRAMES_A_PICTURE == 1 else gr.skip(),
                gr.skip(),
                gr.skip(),
            )
        text, kind = self._ending(run)
        if not run.losses:
            yield (report.status(prefix + text, 0, settings.num_steps, kind=kind), *[gr.skip()] * 5)
            return
        drawn = run.draw()
        distance = None if drawn is None else learn_report.distance_to_data(settings, drawn)
        past = PastRun(settings, run.errors(), distance, np.asarray(run.losses, dtype=np.float32))
        answer = (
            report.status(prefix + text, len(run.losses), settings.num_steps, kind=kind),
            learn_report.loss(run.losses, settings, least, runs),
            learn_report.numbers(past),
            panels.html(run, drawn),
        )
        runs = [*runs, past][-MOST_RUNS:]
        yield (*answer, learn_report.dilemma(settings, runs), runs)

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

    def wait(self, request: gr.Request) -> tuple[str, Update, Update, Update]:
        """Before a training: it may have to wait for another visitor's, and can be stopped while it does."""
        self._stops[request.session_hash] = threading.Event()
        return (
            report.status("Waiting for a free worker …", kind="running"),
            gr.update(interactive=False),
            gr.update(interactive=False),
            gr.update(interactive=True),
        )

    def stop(self, request: gr.Request) -> None:
        """Ends the training of this session after the current step."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.set()

    def leave(self, request: gr.Request) -> None:
        """Ends the training of a visitor who has left."""
        if (stop := self._stops.pop(request.session_hash, None)) is not None:
            stop.set()


class _Stoppable:
    """The event that stops a session's run, for as long as that lasts."""

    def __init__(self, stops: dict[str, threading.Event], request: gr.Request) -> None:
        # A call without a session can be stopped by nobody else.
        self.session = request.session_hash
        self.stops = stops
        self.event = stops.setdefault(self.session, threading.Event()) if self.session else threading.Event()

    def __enter__(self) -> threading.Event:
        return self.event

    def __exit__(self, *_: object) -> None:
        if self.session and self.stops.get(self.session) is self.event:
            del self.stops[self.session]
