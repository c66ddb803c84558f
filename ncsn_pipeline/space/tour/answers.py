"""What the Lecture tab answers: a claim with its shipped results, a run of its experiment, waiting and stopping."""

import inspect
import logging
import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr

from . import tour_report as report
from .guard import FAILED
from .limits import SettingsError, check_choice
from .tour_knobs import check_experiment
from .tour_run import ExperimentRun
from .tour_stops import EXPERIMENTS, NAMES

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 90.0
READY = "Ready."

Update = dict[str, Any]


class TourAnswers:
    """The functions behind the tab's events; one object serves all visitors."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def show(self, name: str) -> tuple[str, str, str, str, str, str, str, Update, Update]:
        """A claim: heading, equation, picture, numbers, knobs, file, status, and the two buttons beside it.

        Raises:
            SettingsError: for a claim that there is not.
        """
        self.check(experiment=name)
        return (
            report.heading(name),
            report.equation(name),
            *report.shipped_view(name),
            report.controls(name),
            report.source_note(name),
            report.progress(READY),
            gr.update(interactive=name != NAMES[0]),
            gr.update(interactive=name != NAMES[-1]),
        )

    def check(self, experiment: Any) -> None:
        """Checks what the page's address names.

        Raises:
            SettingsError: for a claim that there is not.
        """
        check_choice("Experiment", experiment, NAMES)

    def source(self, name: str) -> str:
        """The text of an experiment's file.

        Raises:
            SettingsError: for a claim that there is not.
        """
        self.check(experiment=name)
        return inspect.getsource(EXPERIMENTS[name])

    def step(self, name: str, by: int) -> str:
        """The name of the claim before or after one; the first and the last have none and stay.

        Raises:
            SettingsError: for a claim that there is not.
        """
        self.check(experiment=name)
        return NAMES[min(max(NAMES.index(name) + by, 0), len(NAMES) - 1)]

    def run(
        self, experiment: str, settings: dict[str, Any], request: gr.Request
    ) -> Iterator[tuple[str | Update, str | Update, str]]:
        """Yields picture, numbers and status: while it runs the status alone, and at last what came out.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        session = request.session_hash
        # A call without a session can be stopped by nobody else.
        stop = self._stops.setdefault(session, threading.Event()) if session else threading.Event()
        try:
            module, params = check_experiment(experiment, settings)
            run = ExperimentRun(module, params, stop, DEADLINE_SECONDS)
            if stop.is_set():
                yield gr.skip(), gr.skip(), report.progress("Stopped before it started.")
                return
            for seconds in run.seconds():
                said = f"{experiment}: {seconds:.0f} s of at most {run.deadline:.0f}"
                yield gr.skip(), gr.skip(), report.progress(said, "running")
            if run.outcome is not None:
                done = report.progress(f"Done in {run.outcome.seconds:.1f} s", "done")
                yield *report.run_view(experiment, run.outcome), done
            elif run.timed_out:
                said = f"Ended after {run.deadline:.0f} s, the most a run may take. Ask for fewer steps or samples."
                yield gr.skip(), gr.skip(), report.progress(said)
            else:
                yield gr.skip(), gr.skip(), report.progress("Stopped")
        except (ValueError, FloatingPointError) as error:  # the knobs', the experiment's and the dynamics' own words
            yield gr.skip(), gr.skip(), report.progress(str(error), "error")
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("An experiment failed.")
            yield gr.skip(), gr.skip(), report.progress(FAILED, "error")
            raise gr.Error(FAILED, duration=None, print_exception=False) from None
        finally:
            if session and self._stops.get(session) is stop:
                del self._stops[session]

    def lecture(self, experiment: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Runs one experiment of the lecture; returns whether its claim holds, its checks, numbers and findings.

        Args:
            experiment: its name, "mixing" for instance.
            settings: values by the names of its knobs; {} for the quick version.

        Raises:
            gr.Error: for settings that are refused and for runs that fail or take too long, with the reason.
        """
        module, params = check_experiment(experiment, settings)
        run = ExperimentRun(module, params, threading.Event(), DEADLINE_SECONDS)
        try:
            for _ in run.seconds():
                pass
        except (ValueError, FloatingPointError) as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        if run.outcome is None:
            raise SettingsError(f"Ended after {run.deadline:.0f} s. Ask for fewer steps or samples.")
        return run.outcome.result

    def wait(self, request: gr.Request) -> tuple[str, Update, Update]:
        """Before a run: it may have to wait for another visitor's, and can be stopped while it does."""
        self._stops[request.session_hash] = threading.Event()
        return (
            report.progress("Waiting for a free worker …", "running"),
            gr.update(interactive=False),
            gr.update(interactive=True),
        )

    def stop(self, request: gr.Request) -> None:
        """Ends the run of this session at once."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.set()

    def leave(self, request: gr.Request) -> None:
        """Ends the run of a visitor who has left."""
        if (stop := self._stops.pop(request.session_hash, None)) is not None:
            stop.set()
