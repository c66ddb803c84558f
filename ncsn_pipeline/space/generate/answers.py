"""What the Generate tab answers: the preview of settings, the run itself, waiting and stopping."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import report
from .call import call_arguments, pipeline_for, python_snippet
from .controls import class_choices, defaults
from .grid import image_grid, row_of_classes
from .guard import FAILED
from .limits import DEADLINE_SECONDS, GenerateSettings, check_generate
from .model import SpaceModel
from .models import SpaceModels
from .pictures import new_folder, save_animation
from .presets import presets
from .run import Frame, SamplingRun
from .trajectory import trajectory_value

logger = logging.getLogger(__name__)

# The order in which the endpoints take their inputs.
INPUTS = (
    "model",
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
# What `generate` yields: samples, denoised, status, code, trajectory, statistics, grid, animation, program.
OUTPUTS = 9

Update = dict[str, Any]


class GenerateAnswers:
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        models: what to sample from.
    """

    def __init__(self, models: SpaceModels) -> None:
        self.models = models
        self._stops: dict[str, threading.Event] = {}

    def check(self, *values: Any) -> tuple[SpaceModel, GenerateSettings]:
        """The model and the checked settings; `values` in the order of `INPUTS`.

        Raises:
            SettingsError: for inputs that are not valid.
        """
        named = dict(zip(INPUTS, values, strict=True))
        model = self.models.get(named.pop("model"))
        return model, check_generate(**named, num_classes=model.num_classes)

    def preview(
        self,
        model: str,
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
            chosen, settings = self.check(
                model, sampler, ladder, sigma_max, sigma_min, num_levels, steps_per_level,
                step_mode, step_fraction, digit, guidance_scale, num_images, seed,
            )  # fmt: skip
            return (
                report.ladder_plots(settings, chosen),
                report.notes(settings, chosen),
                report.cost(settings, chosen),
                python_snippet(settings, chosen.num_classes, chosen.name),
            )
        except ValueError as error:
            return gr.skip(), report.refusal(str(error)), report.refusal(str(error)), gr.skip()

    def generate(
        self,
        model: str,
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
    ) -> Iterator[tuple[Any, ...]]:
        """Yields the images as they form, and at last everything to look at and to take home.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        # A call without a session can be stopped by nobody else.
        session = request.session_hash
        stop = self._stops.setdefault(session, threading.Event()) if session else threading.Event()
        values = (
            model, sampler, ladder, sigma_max, sigma_min, num_levels, steps_per_level,
            step_mode, step_fraction, digit, guidance_scale, num_images, seed,
        )  # fmt: skip
        try:
            yield from self._run(*self.check(*values), stop)
        except (ValueError, FloatingPointError) as error:  # the settings', the schedulers' and the pipeline's own words
            yield _padded(gr.skip(), gr.skip(), report.status(str(error), kind="error"))
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("A run failed.")
            yield _padded(gr.skip(), gr.skip(), report.status(FAILED, kind="error"))
            raise gr.Error(FAILED, duration=None, print_exception=False) from None
        finally:
            if session and self._stops.get(session) is stop:
                del self._stops[session]

    def _run(self, model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> Iterator[tuple[Any, ...]]:
        snippet = python_snippet(settings, model.num_classes, model.name)
        columns = row_of_classes(settings.num_images, model.num_classes) if settings.digit == "each" else None
        if stop.is_set():
            yield _padded(gr.skip(), gr.skip(), report.status("Stopped before it started."))
            return
        run = self._sampling(model, settings, stop)
        for frame in run.frames():
            text, kind = self._progress(frame, run)
            status = report.status(text, frame.evaluation, frame.evaluations, kind=kind)
            pictures = (image_grid(frame.samples, columns), image_grid(frame.denoised, columns))
            if not frame.final:
                yield _padded(*pictures, status, snippet)
        folder = new_folder()
        saved = [folder / name for name in (f"ncsn-seed-{settings.seed}.png", "denoised.png")]
        for picture, path in zip(pictures, saved, strict=True):
            picture.save(path)
        yield _padded(*map(str, saved), status, snippet)
        yield (*map(str, saved), status, snippet, *self._keepsakes(run, columns, folder, saved[0], snippet))

    @staticmethod
    def _keepsakes(run: SamplingRun, columns: int | None, folder: Path, grid: Path, snippet: str) -> tuple[Any, ...]:
        """What a finished run leaves: trajectory, statistics, and the files to download."""
        animation = save_animation(run.recording, columns, folder / grid.with_suffix(".gif").name)
        program = folder / grid.with_suffix(".py").name
        program.write_text(snippet)
        files = map(str, (grid, animation, program))
        return trajectory_value(run.recording, columns, folder), report.run_plots(run.recording), *files

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

    def leave(self, request: gr.Request) -> None:
        """Ends the run of a visitor who has left."""
        if (stop := self._stops.pop(request.session_hash, None)) is not None:
            stop.set()

    def choose_model(self, model: str) -> tuple[Update, Update, Update, Update, Update]:
        """What another model makes of the controls: its classes, guidance, number of images, range of noise levels.

        Raises:
            SettingsError: for a model that is not on the list or cannot be loaded.
        """
        chosen = self.models.get(model)
        default, classes = defaults(chosen), bool(chosen.num_classes)
        return (
            gr.update(choices=class_choices(chosen), value=default["digit"], visible=classes),
            gr.update(value=default["guidance_scale"], visible=classes),
            *(gr.update(value=default[name]) for name in ("num_images", "sigma_max", "sigma_min")),
        )

    def preset(self, index: int, model: str) -> tuple[str, dict[str, Any]]:
        """The words about a preset and its values for that model; for the default one where it is not on the list."""
        chosen = self.models.get(model) if model in self.models.names else self.models.default
        preset = presets(defaults(chosen))[index]
        return report.preset_note(preset.name, preset.note), preset.values

    def start(self) -> Frame:
        """The first evaluation of the default run."""
        stop = threading.Event()
        stop.set()
        default = defaults(self.models.default)
        model, settings = self.check(*(default[name] for name in INPUTS))
        (frame,) = self._sampling(model, settings, stop).frames()
        return frame

    @staticmethod
    def _sampling(model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> SamplingRun:
        pipeline = pipeline_for(settings, model.pipeline)
        return SamplingRun(pipeline, call_arguments(settings, model.num_classes), stop, DEADLINE_SECONDS)


def _padded(*values: Any) -> tuple[Any, ...]:
    """A full set of outputs, those that are not given left as they are."""
    return (*values, *[gr.skip()] * (OUTPUTS - len(values)))
