"""What the Generate tab answers: the preview of settings, the run itself, waiting and stopping."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..runs import messages
from ..runs.controls import defaults
from ..runs.limits import DEADLINE_SECONDS
from ..runs.model import SpaceModel
from ..runs.models import SpaceModels
from ..runs.reading import read, words_about
from ..runs.run import Frame, SamplingRun
from ..runs.sessions import SessionRuns
from ..widgets.controls import of_the_model
from ..widgets.grid import image_grid, row_of_classes
from ..widgets.pictures import FrameFiles, file_data, new_folder, run_folder, save_animation
from ..widgets.presets import preset_note
from . import report
from .call import asked_of, call_arguments, ladder_of, pipeline_for, python_snippet, table_of, title_of
from .controls import CONTROLS
from .presets import presets
from .settings import GenerateSettings, check_generate
from .trajectory import live_value, trajectory_value

# The order in which the endpoints take their inputs.
INPUTS = ("model", *(row.name for row in CONTROLS))

Update = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """A moment of a run.

    Args:
        model: what it draws from.
        run: the run.
        frame: its newest frame.
        columns: images in a row of a picture.
        files: where its pictures go, for a page to show.
        code: the program that draws the same.
        done: what it leaves, at its end: by name the files `"images"` and `"animation"` and the player's value
            `"trajectory"`; of one that was not stopped, the file `"program"` and what the classifier reads, `"read"`,
            if it can.
    """

    model: SpaceModel
    run: SamplingRun
    frame: Frame
    columns: int | None
    files: FrameFiles
    code: str
    done: dict[str, Any] | None = None


class GenerateHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        models: what to sample from.
    """

    # Of a run: player, status, code, statistics, grid, animation, program.
    num_outputs, status_at = 7, 1

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

    def describe(self, *values: Any) -> tuple[str | Update, str, str | Update, str | Update]:
        """What these settings mean, before they run; where they are refused, why."""
        try:
            chosen, settings = self.check(*values)
            return (
                gr.skip() if chosen.few_levels else report.ladder_plots(settings, chosen),
                report.notes(settings, chosen),
                messages.cost(settings, chosen),
                python_snippet(settings, chosen, chosen.address),
            )
        except ValueError as error:
            return gr.skip(), messages.refusal(str(error)), messages.refusal(str(error)), gr.skip()

    def preview_numbers(self, *values: Any) -> dict[str, Any]:
        """The same as numbers.

        Raises:
            ValueError: for settings that are refused.
        """
        chosen, settings = self.check(*values)
        return messages.cost_numbers(settings, chosen) | {
            "sigmas": ladder_of(settings, chosen).tolist(),
            "table": [list(row) for row in table_of(settings, chosen)],
            "warnings": report.warnings_about(settings, chosen),
            "python": python_snippet(settings, chosen, chosen.address),
        }

    def cost(self, *values: Any) -> str:
        """What a run costs, as it is known by now; `values` as of `describe`."""
        try:
            model, settings = self.check(*values)
        except ValueError as error:
            return messages.refusal(str(error))
        return messages.cost(settings, model)

    def generate(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yields the images as they form, and at last everything to look at and to take home.

        Args:
            *values: as of `describe`, and the request.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        *values, request = values
        shown = partial(self._shown, values)
        yield from self.answered(request, lambda stop: self._run(*self.check(*values), stop), shown)

    def generate_numbers(self, *values: Any) -> Iterator[dict[str, Any]]:
        """The same as numbers and files, for a program."""
        *values, request = values
        yield from self.answered(request, lambda stop: self._run(*self.check(*values), stop), self._told, messages.said)

    def _shown(self, values: Sequence[Any], progress: Progress) -> tuple[Any, ...]:
        """What the page shows of a moment of a run with these inputs."""
        status = messages.progress(progress.frame, progress.run)
        if (done := progress.done) is None:
            words = f"Evaluation {progress.frame.evaluation} of {progress.frame.evaluations}"
            pictures = self._pictures(progress.frame, progress.columns, progress.files)
            return self.outputs(live_value(*pictures, words, values), status, progress.code)
        few = progress.model.few_levels
        statistics = gr.skip() if few else report.run_plots(progress.run.recording, progress.model)
        files = (done["images"], done["animation"], done.get("program"))
        return (done["trajectory"] | {"made_with": values}, status, progress.code, statistics, *files)

    @staticmethod
    def _told(progress: Progress) -> dict[str, Any]:
        """What a program is told of a moment of a run."""
        told = messages.progress_numbers(progress.frame, progress.run)
        if (done := progress.done) is None:
            return told
        files = {name: file_data(done[name]) for name in ("images", "animation", "program") if name in done}
        recording = progress.run.recording
        measured = {name: getattr(recording, name) for name in ("sigmas", "noise_left", "deviations")}
        read = {"read": done["read"]} if "read" in done else {}
        return told | files | measured | read | {"python": progress.code, "trajectory": done["trajectory"]}

    def _run(self, model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> Iterator[Progress]:
        code = python_snippet(settings, model, model.address)
        columns = row_of_classes(settings.num_images, model.num_classes) if settings.class_label == "each" else None
        run, folder = self._sampling(model, settings, stop), run_folder()
        files = FrameFiles(folder)
        for frame in run.frames():
            moment = Progress(model, run, frame, columns, files, code)
            yield moment
        model.learn_pace(frame.evaluation, settings.images_per_evaluation, run.seconds)
        grid = folder / f"ncsn-seed-{settings.seed}.png"
        image_grid(frame.samples, columns).save(grid)
        yield replace(moment, done=self._left(model, settings, run, frame, columns, grid, code))

    @staticmethod
    def _left(
        model: SpaceModel,
        settings: GenerateSettings,
        run: SamplingRun,
        last: Frame,
        columns: int | None,
        grid: Path,
        code: str,
    ) -> dict[str, Any]:
        """What a run leaves; of a stopped one no program, and nothing is read in its noise."""
        left = {"images": str(grid), "animation": str(save_animation(run.recording, columns, grid.with_suffix(".gif")))}
        if last.evaluation == last.evaluations:
            left["program"] = str(grid.with_suffix(".py"))
            Path(left["program"]).write_text(code, encoding="utf-8")
            if model.reader is not None:
                found = read(model.reader, last.samples)
                left["read"] = words_about(found, asked_of(settings, model), model.names_read)
        about = {"title": title_of(settings, model), "seconds": run.seconds} | {
            k: left[k] for k in ("read",) if k in left
        }
        left["trajectory"] = trajectory_value(run.recording, columns, grid.parent, last.evaluations) | about
        return left

    def choose_model(self, model: str) -> list[Update]:
        """What another model makes of the controls: its classes, number of images, range of noise levels.

        Raises:
            SettingsError: for a model that is not on the list or cannot be loaded.
        """
        return of_the_model(CONTROLS, self.models.get(model))

    def preset(self, index: int, model: str) -> tuple[str, dict[str, Any]]:
        """The words about a preset and its values for that model; for the default one where it is not on the list."""
        chosen = self.models.or_default(model)
        preset = presets(defaults(CONTROLS, chosen))[index]
        return preset_note(preset.name, preset.note), preset.values

    def start(self) -> tuple[Frame, dict[str, Any]]:
        """The first evaluation of the default run, and what the player shows of it."""
        stop = threading.Event()
        stop.set()
        model = self.models.default
        given = defaults(CONTROLS, model)
        settings = check_generate(given, model)
        (frame,) = self._sampling(model, settings, stop).frames()
        columns = row_of_classes(settings.num_images, model.num_classes) if model.num_classes else None
        pictures = self._pictures(frame, columns, FrameFiles(new_folder("start")))
        words, made_with = f"Evaluation 1 of {frame.evaluations}", [model.name, *given.values()]
        return frame, live_value(*pictures, words, made_with)

    @staticmethod
    def _pictures(frame: Frame, columns: int | None, files: FrameFiles) -> list[str]:
        """Files of x and of its denoised estimate."""
        return [files.save(image_grid(images, columns)) for images in (frame.samples, frame.denoised)]

    @staticmethod
    def _sampling(model: SpaceModel, settings: GenerateSettings, stop: threading.Event) -> SamplingRun:
        pipeline = pipeline_for(settings, model.pipeline, model)
        return SamplingRun(pipeline, call_arguments(settings, model), stop, DEADLINE_SECONDS)
