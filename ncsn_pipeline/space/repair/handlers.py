"""What the Repair tab answers: cost before a run, the run itself, stopping, and pictures for the canvas."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ..runs import messages
from ..runs.controls import defaults
from ..runs.limits import DEADLINE_SECONDS, SettingsError, check_whole
from ..runs.model import SpaceModel
from ..runs.models import SpaceModels
from ..runs.reading import read, words_about
from ..runs.run import Frame, SamplingRun
from ..runs.sessions import SessionRuns
from ..widgets.controls import of_the_model
from ..widgets.grid import image_grid
from ..widgets.pictures import FrameFiles, file_data, run_folder
from .call import IMAGE_FILE, MASK_FILE, as_picture, repair_arguments, repair_pipeline, repair_snippet
from .canvas import canvas_value, fitted_picture, right_half
from .controls import CONTROLS
from .measuring import MEASUREMENTS
from .settings import RepairSettings, check_canvas, check_repair
from .spread import Spread, measurement_picture, spread_numbers, spread_panel

# The order in which the endpoints take their inputs, after the canvas.
INPUTS = ("model", *(row.name for row in CONTROLS))
COLUMNS = 4
FIRST = 2  # of the examples, on the page's canvas, or the last of fewer
MARK = (99, 102, 241)

Update = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """A moment of a run.

    Args:
        run: the run.
        given: a file of the picture that it was given.
        frames: where its results go, for a page to show.
        code: the program that gives the same.
        frame: the newest frame, once there is one.
        results: a picture of it.
        files: what the run leaves, at its end: `"results"`, `"image"` and `"mask"`, `None` without one.
        read: what the classifier reads in the results.
        spread: what they say together, of a measurement, once all are there.
    """

    run: SamplingRun
    given: str
    frames: FrameFiles
    code: str
    frame: Frame | None = None
    results: Image.Image | None = None
    files: dict[str, str | None] | None = None
    read: str = ""
    spread: Spread | None = None


def first_of(model: SpaceModel) -> int:
    """The number of the example that is on the page's canvas first."""
    return min(FIRST, len(model.examples) - 1)


class RepairHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        models: what to repair with; a score each.
    """

    # Of a run: given, results, status, code, what is read in the results, what they say together, what they were made
    # with, and the files: results, image, mask.
    num_outputs, status_at = 10, 2

    def __init__(self, models: SpaceModels) -> None:
        super().__init__()
        self.models = models

    def score_of(self, name: Any) -> SpaceModel:
        """The model of that name.

        Raises:
            SettingsError: for one that is not on the list, cannot be loaded, or is no score.
        """
        model = self.models.get(name)
        if model.few_levels:
            raise SettingsError(f"{model.name} draws in few evaluations, and this needs a score. Choose another model.")
        return model

    def check(self, *values: Any) -> tuple[SpaceModel, RepairSettings]:
        """The model and the checked settings; `values` in the order of `INPUTS`.

        Raises:
            SettingsError: for inputs that are not valid.
        """
        named = dict(zip(INPUTS, values, strict=True))
        model = self.score_of(named.pop("model"))
        return model, check_repair(named, model)

    def choose_model(self, name: str) -> list[Any]:
        """Of another model: the canvas with one of its pictures, then what it makes of the controls.

        Raises:
            SettingsError: as :meth:`score_of`.
        """
        model = self.score_of(name)
        return [self._example(model, first_of(model), anew=True), *of_the_model(CONTROLS, model)]

    def describe(self, *values: Any) -> tuple[str, str | Update]:
        """What a run with these settings costs, and its Python; where they are refused, why."""
        try:
            model, settings = self.check(*values)
        except ValueError as error:
            return messages.refusal(str(error)), gr.skip()
        return messages.cost(settings, model), repair_snippet(settings, model, model.address)

    def preview_numbers(self, *values: Any) -> dict[str, Any]:
        """The same as numbers.

        Raises:
            SettingsError: for settings that are refused.
        """
        model, settings = self.check(*values)
        return messages.cost_numbers(settings, model) | {"python": repair_snippet(settings, model, model.address)}

    def cost(self, *values: Any) -> str:
        """What a run costs, as it is known by now; `values` as of `describe`."""
        try:
            model, settings = self.check(*values)
        except ValueError as error:
            return messages.refusal(str(error))
        return messages.cost(settings, model)

    def repair(self, canvas: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yields the results as they form.

        Args:
            canvas: JSON, see `check_canvas`.
            *values: as of `describe`, and the request.

        Raises:
            gr.Error: for inputs that are refused and for runs that fail, with the reason.
        """
        *values, request = values
        shown = partial(self._shown, values)
        yield from self.answered(request, lambda stop: self._read_and_run(canvas, values, stop), shown)

    def repair_numbers(self, canvas: str, *values: Any) -> Iterator[dict[str, Any]]:
        """The same as numbers and files, for a program."""
        *values, request = values
        yield from self.answered(
            request, lambda stop: self._read_and_run(canvas, values, stop), self._told, messages.said
        )

    def _read_and_run(self, canvas: str, values: Sequence[Any], stop: threading.Event) -> Iterator[Progress]:
        model, settings = self.check(*values)
        return self._run(model, settings, *check_canvas(canvas, model.sample_shape), stop)

    def _shown(self, values: Sequence[Any], progress: Progress) -> tuple[Any, ...]:
        """What the page shows of a moment of a run with these inputs."""
        if progress.frame is None:
            return self.outputs(progress.given, *[gr.skip()] * 3, "", "")
        status = messages.progress(progress.frame, progress.run)
        read = messages.reading(progress.read) if progress.read else gr.skip()
        spread = spread_panel(progress.spread) if progress.spread else gr.skip()
        results = progress.files["results"] if progress.files else progress.frames.save(progress.results)
        shown = (gr.skip(), results, status, progress.code, read, spread, {"made_with": values})
        return (*shown, *progress.files.values()) if progress.files else self.outputs(*shown)

    @staticmethod
    def _told(progress: Progress) -> dict[str, Any]:
        """What a program is told of a moment of a run."""
        if progress.frame is None:
            return messages.said("Begun.", "running")
        told = messages.progress_numbers(progress.frame, progress.run)
        if progress.files is None:
            return told
        read = {"read": progress.read} if progress.read else {}
        spread = spread_numbers(progress.spread) if progress.spread else {}
        files = {name: file_data(path) for name, path in progress.files.items() if path}
        return told | read | spread | files | {"python": progress.code}

    def _run(
        self, model: SpaceModel, settings: RepairSettings, image: np.ndarray, mask: np.ndarray, stop: threading.Event
    ) -> Iterator[Progress]:
        if settings.task != "inpaint":
            if np.ptp(image) == 0:
                raise ValueError("Nothing is drawn. Draw a sketch or choose a picture, then press Paint.")
            mask = np.ones_like(mask)
        elif not mask.any():
            raise ValueError("Nothing is marked. Mark what is to be painted anew, then press Paint.")
        folder = run_folder()
        given = folder / "given.png"  # written once: written again while a browser reads it, it would arrive broken
        run = self._sampling(model, settings, image, mask, stop)
        code = repair_snippet(settings, model, model.address)
        y = run.arguments.get("y")
        (self._given(settings, image, mask) if y is None else measurement_picture(y)).save(given)
        begun = Progress(run, str(given), FrameFiles(folder), code)
        yield begun
        for frame in run.frames():
            results = self._results(frame, image, mask)
            if not frame.final:
                yield replace(begun, frame=frame, results=results)
        model.learn_pace(frame.evaluation, settings.images_per_evaluation, run.seconds)
        saved = {folder / f"results-seed-{settings.seed}.png": results, folder / IMAGE_FILE: as_picture(image)}
        if settings.task == "inpaint":
            saved[folder / MASK_FILE] = as_picture(mask[..., None] * np.uint8(255))
        for path, picture in saved.items():
            picture.save(path)
        left = dict(zip(("results", "image", "mask"), [*map(str, saved), None], strict=False))
        spread = None if y is None or messages.kind_of(frame) != "done" else Spread.of(run.result, y)
        found = self._read(model, frame, image, mask)
        yield replace(begun, frame=frame, results=results, files=left, read=found, spread=spread)

    @staticmethod
    def _read(model: SpaceModel, frame: Frame, image: np.ndarray, mask: np.ndarray) -> str:
        """What the classifier reads in the results that are shown, if there is one."""
        if model.reader is None:
            return ""
        found = read(model.reader, RepairHandlers._painted(frame, image, mask))
        return words_about(found, None, model.names_read)

    def start(self) -> tuple[Frame, Image.Image, Image.Image]:
        """The first evaluation of the page's first run: frame, image as given, results."""
        model = self.models.default
        image, mask = check_canvas(self._example(model, first_of(model)), model.sample_shape)
        settings = check_repair(defaults(CONTROLS, model), model)
        stop = threading.Event()
        stop.set()
        (frame,) = self._sampling(model, settings, image, mask, stop).frames()
        return frame, self._given(settings, image, mask), self._results(frame, image, mask)

    @staticmethod
    def _sampling(
        model: SpaceModel, settings: RepairSettings, image: np.ndarray, mask: np.ndarray, stop: threading.Event
    ) -> SamplingRun:
        pipeline = repair_pipeline(settings, model.pipeline, model)
        arguments = repair_arguments(settings, model, image, mask)
        evaluations = settings.evaluations if settings.task in MEASUREMENTS else None
        return SamplingRun(pipeline, arguments, stop, DEADLINE_SECONDS, evaluations)

    @staticmethod
    def _results(frame: Frame, image: np.ndarray, mask: np.ndarray) -> Image.Image:
        """All results as one picture."""
        return image_grid(RepairHandlers._painted(frame, image, mask), COLUMNS)

    @staticmethod
    def _painted(frame: Frame, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The results, `(B, H, W, C)` in [0, 1]; until the end the network's estimate of them, which no noise hides."""
        painted = frame.samples if messages.kind_of(frame) == "done" else frame.denoised
        return np.where(mask[..., None], painted, image / 255)

    @staticmethod
    def _given(settings: RepairSettings, image: np.ndarray, mask: np.ndarray) -> Image.Image:
        """The image as it was given, what was marked tinted."""
        colours = np.broadcast_to(image, (*image.shape[:2], 3)) / 255
        if settings.task == "inpaint":
            colours = np.where(mask[..., None], 0.3 * colours + 0.7 * np.array(MARK) / 255, colours)
        return image_grid(colours[None])

    @staticmethod
    def _example(model: SpaceModel, index: int, *, anew: bool = False) -> str:
        """The canvas with one of the model's pictures, its right half marked."""
        shape = model.sample_shape
        return canvas_value(fitted_picture(model.examples[index], shape), right_half(shape), anew=anew)

    def example(self, index: int, model: str) -> str:
        """The same, of a model by its name.

        Raises:
            SettingsError: for a number that no picture has, and as :meth:`score_of`.
        """
        chosen = self.score_of(model)
        return self._example(chosen, check_whole("Index", index, 0, len(chosen.examples) - 1))

    def upload(self, picture: str, model: str) -> str:
        """The canvas with a picture of the visitor's own, fitted to the model's size, its right half marked.

        A model of handwritten digits gets the digit of a photograph, of the size and at the place that it knows.

        Raises:
            SettingsError: for what is no picture, and as :meth:`score_of`.
        """
        chosen = self.score_of(model)
        fitted = fitted_picture(picture, chosen.sample_shape, digits=chosen.reads_digits)
        return canvas_value(fitted, right_half(chosen.sample_shape))

    def upload_as_it_is(self, picture: str, model: str) -> str:
        """The same, the whole picture as it is."""
        shape = self.score_of(model).sample_shape
        return canvas_value(fitted_picture(picture, shape), right_half(shape))
