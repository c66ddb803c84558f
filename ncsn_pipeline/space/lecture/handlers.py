"""What the Lecture tab answers: a claim with its shipped results, a run of its experiment, waiting and stopping."""

import inspect
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from ..runs import messages
from ..runs.limits import SettingsError, check_choice
from ..runs.sessions import Outputs, SessionRuns
from . import report
from .knobs import check_experiment, knobs_of
from .run import ExperimentRun
from .stops import EXPERIMENTS, NAMES, claim_of

DEADLINE_SECONDS = 90.0
READY = "Ready."
QUICK_SETTINGS: dict[str, Any] = {}

Update = dict[str, Any]


class LectureHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors."""

    # Of a run: picture, numbers, status.
    num_outputs, status_at = 3, 2

    def status(self, text: str, kind: str = "") -> str:
        """The line of status."""
        return report.progress(text, kind)

    def show(self, name: str) -> tuple[str, str, str, str, str, str, str, str, Update, Update]:
        """A claim: heading, equation, words, picture, numbers, knobs, file, status, and the two buttons beside it.

        Raises:
            SettingsError: for a claim that there is not.
        """
        self.check(experiment=name)
        return (
            report.heading(name),
            report.equation(name),
            report.explanation(name),
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
        yield from self.answered(request, lambda stop: self._run(experiment, settings, stop))

    def _run(self, experiment: str, settings: dict[str, Any], stop: threading.Event) -> Iterator[Outputs]:
        module, params = check_experiment(experiment, settings)
        run = ExperimentRun(module, params, stop, DEADLINE_SECONDS)
        for seconds in run.seconds():
            yield self.only_status(f"Running: {seconds:.0f} s of at most {run.deadline:.0f}", "running")
        if run.outcome is not None and not stop.is_set():  # a visitor who went on to another claim stopped it
            done = self.status(f"Done in {run.outcome.seconds:.1f} s", "done")
            yield *report.run_view(experiment, run.outcome), done
        elif run.timed_out:
            said = f"Ended after {run.deadline:.0f} s, the most a run may take. Ask for fewer steps or samples."
            yield self.only_status(said)
        else:
            yield self.only_status("Stopped")

    def claims(self) -> dict[str, dict[str, Any]]:
        """What the lecture claims, by the names of the experiments, with the knobs of each."""
        return {
            name: {
                "claim": claim_of(name).sentence,
                "knobs": {knob.name: asdict(knob) for knob in knobs_of(EXPERIMENTS[name])},
            }
            for name in NAMES
        }

    def lecture(
        self, experiment: str, request: gr.Request, settings: dict[str, Any] = QUICK_SETTINGS
    ) -> Iterator[dict[str, Any]]:
        """Runs one experiment of the lecture; yields the seconds so far, and at last its result.

        The result: whether its claim holds, its checks, numbers and findings.

        Args:
            experiment: its name, "mixing" for instance.
            request: whose session may stop it.
            settings: values by the names of its knobs; {} for the quick version.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, are stopped or take too long.
        """

        def work(stop: threading.Event) -> Iterator[dict[str, Any]]:
            run = ExperimentRun(*check_experiment(experiment, settings), stop, DEADLINE_SECONDS)
            for seconds in run.seconds():
                yield {"seconds": round(seconds, 1)}
            if run.timed_out:
                raise SettingsError(f"Ended after {run.deadline:.0f} s. Ask for fewer steps or samples.")
            if run.outcome is None:
                raise SettingsError("Stopped.")
            yield run.outcome.result

        yield from self.answered(request, work, say=messages.said)
