"""What the Generate tab answers: the preview of settings, the run itself, waiting and stopping."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr
from PIL.Image import Image

from . import report
from .call import call_arguments, python_snippet
from .controls import defaults
from .grid import image_grid, row_of_classes
from .limits import DEADLINE_SECONDS, GenerateSettings, check_generate
from .model import SpaceModel
from .run import Frame, SamplingRun

logger = logging.getLogger(__name__)

# The order in which the endpoints take their inputs.
INPUTS = (
    "sampler",
    "ladder",
    "sigma_max",
    "sigma_min",
    "num_levels",
    "steps_per_level",
    "step_mode",
    "step_fraction",
    "digit",
    "guidance_scale",
    "num_images",
    "seed",
)

Update = dict[str, Any]


class GenerateAnswers:
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        model: what to sample from.
    """

    def __init__(self, model: SpaceModel) -> None:
        self.model = model
        self._stops: dict[str | None, threading.Event] = {}

    def check(self, *values: Any) -> GenerateSettings:
        """The checked settings; `values` in the order of `INPUTS`.

        Raises:
            SettingsError: for inputs that are not valid.
        """
        return check_generate(**dict(zip(INPUTS, values, strict=True)), num_classes=self.model.num_classes)

    def preview(
        self,
        sampler: str,
        ladder: str,
        sigma_max: float,
        sigma_min: float,
        num_levels: int,
        steps_per_level: int,
        step_mode: str,
        step_fraction: float,
        digit: str,
        guidance_scale: float,
        num_images: int,
        seed: int,
    ) -> tuple[str | Update, str, str | Update, str | Update]:
        """What these settings mean, before they run; where they are refused, why."""
        try:
            settings = self.check(
                sampler, ladder, sigma_max, sigma_min, num_levels, steps_per_level,
                step_mode, step_fraction, digit, guidance_scale, num_images, seed,
            )  # fmt: skip
            snippet = python_snippet(settings, self.model.num_classes, self.model.name)
            return (
                report.ladder_plots(settings, self.model),
                report.notes(settings, self.model),
                report.cost(settings, self.model),
                snippet,
            )
        except ValueError as error:
            return gr.skip(), report.refusal(str(error)), report.refusal(str(error)), gr.skip()

    def generate(
        self,
        sampler: str,
        ladder: str,
        sigma_max: float,
        sigma_min: float,
        num_levels: int,
        steps_per_level: int,
        step_mode: str,
        step_fraction: float,
        digit: str,
        guidance_scale: float,
        num_images: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple[Image | Update, Image | Update, str, str | Update]]:
        """Yields the images as they form: samples, denoised estimate, status, code.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        stop = self._stops.setdefault(request.session_hash, threading.Event())
        values = (
            sampler, ladder, sigma_max, sigma_min, num_levels, steps_per_level,
            step_mode, step_fraction, digit, guidance_scale, num_images, seed,
        )  # fmt: skip
        try:
            yield from self._run(self.check(*values), stop)
        except (ValueError, FloatingPointError) as error:  # the settings', the schedulers' and the pipeline's own words
            yield gr.skip(), gr.skip(), report.status(str(error), kind="error"), gr.skip()
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("A run failed.")
            text = "Something went wrong on the server. Try again with other settings."
            yield gr.skip(), gr.skip(), report.status(text, kind="error"), gr.skip()
            raise gr.Error(text, duration=None, print_exception=False) from None
        finally:
            self._stops.pop(request.session_hash, None)

    def _run(
        self, settings: GenerateSettings, stop: threading.Event
    ) -> Iterator[tuple[Image | Update, Image | Update, str, str | Update]]:
        classes = self.model.num_classes
        snippet = python_snippet(settings, classes, self.model.name)
        columns = self._columns(settings)
        if stop.is_set():
            yield gr.skip(), gr.skip(), report.status("Stopped before it started."), gr.skip()
            return
        run = self._sampling(settings, stop)
        for frame in run.frames():
            text, kind = self._progress(frame, run)
            yield (
                image_grid(frame.samples, columns),
                image_grid(frame.denoised, columns),
                report.status(text, frame.evaluation, frame.evaluations, kind=kind),
                snippet,
            )

    @staticmethod
    def _progress(frame: Frame, run: SamplingRun) -> tuple[str, str]:
        """The words of the status line and their kind."""
        so_far = f"evaluation {frame.evaluation:,} of {frame.evaluations:,}"
        if frame.evaluation == frame.evaluations:
            return f"Done: {frame.evaluations:,} evaluations in {run.seconds:.1f} s", "done"
        if run.timed_out:
            return f"Ended after {run.deadline:.0f} s, the most a run may take, at {so_far}", "stopped"
        if frame.final:
            return f"Stopped at {so_far}", "stopped"
        return f"σ = {frame.sigma:.3g} · {so_far} · {run.seconds:.1f} s", "running"

    def wait(self, request: gr.Request) -> tuple[str, Update, Update]:
        """Before a run: it may have to wait for another visitor's, and can be stopped while it does."""
        self._stops[request.session_hash] = threading.Event()
        return (
            report.status("Waiting for a free worker …", kind="running"),
            gr.update(interactive=False),
            gr.update(interactive=True),
        )

    def stop(self, request: gr.Request) -> None:
        """Ends the run of this session after the current network evaluation."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.set()

    leave = stop

    def start(self) -> Frame:
        """The first evaluation of the default run."""
        stop = threading.Event()
        stop.set()
        settings = self.check(*(defaults(self.model)[name] for name in INPUTS))
        (frame,) = self._sampling(settings, stop).frames()
        return frame

    def _sampling(self, settings: GenerateSettings, stop: threading.Event) -> SamplingRun:
        arguments = call_arguments(settings, self.model.num_classes)
        return SamplingRun(self.model.pipeline, settings.sampler, arguments, stop, DEADLINE_SECONDS)

    def _columns(self, settings: GenerateSettings) -> int | None:
        return row_of_classes(settings.num_images, self.model.num_classes) if settings.digit == "each" else None
