"""What the Generate tab answers: the preview of settings, the run itself, waiting and stopping."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ..runs import messages
from ..runs.controls import defaults
from ..runs.limits import DEADLINE_SECONDS
from ..runs.model import SpaceModel
from ..runs.models import SpaceModels
from ..runs.run import Frame, SamplingRun
from ..runs.sessions import SessionRuns
from ..widgets.controls import of_the_model
from ..widgets.grid import image_grid, row_of_classes
from ..widgets.pictures import FrameFiles, new_folder, save_animation
from ..widgets.presets import preset_note
from . import report
from .call import call_arguments, pipeline_for, python_snippet
from .controls import CONTROLS
from .presets import presets
from .settings import GenerateSettings, check_generate
from .trajectory import trajectory_value

# The order in which the endpoints take their inputs.
INPUTS = ("model", *(row.name for row in CONTROLS))

Update = dict[str, Any]


class GenerateHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        models: what to sample from.
    """

    # Of a run: samples, denoised, status, code, trajectory, statistics, grid, animation, program.
    num_outputs, status_at = 9, 2

    def __init__(self, models: SpaceModels) -> None:
        super().__init__()
        self.models = models

    def check(self, *values: Any) -> tuple[SpaceModel, GenerateSettings]:
        """The model and the checked settings; `values` in the order of `INPUTS`.

        Raises:
            SettingsError: for inputs that are not valid.
        """
        named = dict(zip(INPUTS, values, strict=True))
        model = self.models.get(named.pop("model"))
        return model, check_generate(named, model)

    def preview(self, *values: Any) -> tuple[str | Update, str, str | Update, str | Update]:
        """What these settings mean, before they run; where they are refused, why."""
        try:
            chosen, settings = self.check(*values)
            return (
                report.ladder_plots(settings, chosen),
                report.notes(settings, chosen),
                messages.cost(settings, chosen),
                python_snippet(settings, chosen, chosen.address),
            )
        except ValueError as error:
            return gr.skip(), messages.refusal(str(error)), messages.refusal(str(error)), gr.skip()

    def cost(self, *values: Any) -> str:
        """What a run costs, as it is known by now; `values` as of `preview`."""
        try:
            model, settings = self.check(*values)
        except ValueError as error:
            return messages.refusal(str(error))
        return messages.cost(settings, model)

    def generate(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yields the images as they form, and at last everything to look at and to take home.

        Args:
            *values: as of `preview`, and the request.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        *values, request = values
        yield from self.answered(request, lambda stop: self._run(*self.check(*values), stop))

    def _run(self, model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> Iterator[tuple[Any, ...]]:
        snippet = python_snippet(settings, model, model.address)
        columns = row_of_classes(settings.num_images, model.num_classes) if settings.class_label == "each" else None
        run, folder = self._sampling(model, settings, stop), new_folder()
        files = FrameFiles(folder)
        for frame in run.frames():
            status = messages.progress(frame, run)
            pictures = (image_grid(frame.samples, columns), image_grid(frame.denoised, columns))
            if not frame.final:
                yield self.outputs(*map(files.save, pictures), status, snippet)
        model.learn_pace(frame.evaluation, settings.images_per_evaluation, run.seconds)
        saved = [folder / name for name in (f"ncsn-seed-{settings.seed}.png", "denoised.png")]
        for picture, path in zip(pictures, saved, strict=True):
            picture.save(path)
        yield self.outputs(*map(str, saved), status, snippet)
        yield (*map(str, saved), status, snippet, *self._final_outputs(run, frame, columns, saved[0], snippet))

    @staticmethod
    def _final_outputs(run: SamplingRun, last: Frame, columns: int | None, grid: Path, snippet: str) -> tuple[Any, ...]:
        """What a run leaves: trajectory, statistics, and the files to download; of a stopped one, no program."""
        animation, program = save_animation(run.recording, columns, grid.with_suffix(".gif")), None
        if last.evaluation == last.evaluations:
            program = str(grid.with_suffix(".py"))
            Path(program).write_text(snippet, encoding="utf-8")
        trajectory = trajectory_value(run.recording, columns, grid.parent, last.evaluations)
        return trajectory, report.run_plots(run.recording), str(grid), str(animation), program

    def choose_model(self, model: str) -> list[Update]:
        """What another model makes of the controls: its classes, number of images, range of noise levels.

        Raises:
            SettingsError: for a model that is not on the list or cannot be loaded.
        """
        return of_the_model(CONTROLS, self.models.get(model))

    def preset(self, index: int, model: str) -> tuple[str, dict[str, Any]]:
        """The words about a preset and its values for that model; for the default one where it is not on the list."""
        chosen = self.models.get(model) if model in self.models.names else self.models.default
        preset = presets(defaults(CONTROLS, chosen))[index]
        return preset_note(preset.name, preset.note), preset.values

    def start(self) -> Frame:
        """The first evaluation of the default run."""
        stop = threading.Event()
        stop.set()
        model = self.models.default
        settings = check_generate(defaults(CONTROLS, model), model)
        (frame,) = self._sampling(model, settings, stop).frames()
        return frame

    @staticmethod
    def _sampling(model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> SamplingRun:
        pipeline = pipeline_for(settings, model.pipeline, model)
        return SamplingRun(pipeline, call_arguments(settings, model), stop, DEADLINE_SECONDS)
