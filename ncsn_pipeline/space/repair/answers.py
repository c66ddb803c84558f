"""What the Repair tab answers: cost before a run, the run itself, stopping, and pictures for the canvas."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from . import report
from .grid import image_grid
from .guard import FAILED
from .limits import DEADLINE_SECONDS
from .model import SpaceModel
from .pictures import new_folder
from .repair_call import IMAGE_FILE, MASK_FILE, as_picture, repair_arguments, repair_pipeline, repair_snippet
from .repair_canvas import canvas_value, examples, fitted_picture, right_half
from .repair_limits import RepairSettings, check_canvas, check_repair
from .run import Frame, SamplingRun

logger = logging.getLogger(__name__)

# The order in which the endpoints take their inputs, after the canvas.
INPUTS = (
    "task",
    "sampler",
    "num_levels",
    "repeats",
    "start_sigma",
    "digit",
    "guidance_scale",
    "num_images",
    "seed",
)
# What `repair` yields: given, results, status, code, and the files of the results, the image and the mask.
OUTPUTS = 7
COLUMNS = 4
MARK = (99, 102, 241)

Update = dict[str, Any]


class RepairAnswers:
    """The functions behind the tab's events; one object serves all visitors.

    Args:
        model: what to repair with.
    """

    def __init__(self, model: SpaceModel) -> None:
        self.model = model
        config = model.pipeline.unet.config
        self.shape = (config.in_channels, config.sample_size, config.sample_size)
        self._stops: dict[str, threading.Event] = {}

    def check(self, *values: Any) -> RepairSettings:
        """The checked settings; `values` in the order of `INPUTS`.

        Raises:
            SettingsError: for inputs that are not valid.
        """
        named = dict(zip(INPUTS, values, strict=True))
        return check_repair(**named, num_classes=self.model.num_classes, trained_range=self.model.trained_range)

    def preview(
        self,
        task: str,
        sampler: str,
        num_levels: int,
        repeats: int,
        start_sigma: float,
        digit: str,
        guidance_scale: float,
        num_images: int,
        seed: int,
    ) -> tuple[str, str | Update]:
        """What a run with these settings costs, and its Python; where they are refused, why."""
        try:
            settings = self.check(
                task, sampler, num_levels, repeats, start_sigma, digit, guidance_scale, num_images, seed
            )
        except ValueError as error:
            return report.refusal(str(error)), gr.skip()
        return report.cost(settings, self.model), self._snippet(settings)

    def repair(
        self,
        canvas: str,
        task: str,
        sampler: str,
        num_levels: int,
        repeats: int,
        start_sigma: float,
        digit: str,
        guidance_scale: float,
        num_images: int,
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Yields the results as they form.

        Raises:
            gr.Error: for inputs that are refused and for runs that fail, with the reason.
        """
        session = request.session_hash
        stop = self._stops.setdefault(session, threading.Event()) if session else threading.Event()
        values = (task, sampler, num_levels, repeats, start_sigma, digit, guidance_scale, num_images, seed)
        try:
            yield from self._run(self.check(*values), *check_canvas(canvas, self.shape), stop)
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

    def _run(
        self, settings: RepairSettings, image: np.ndarray, mask: np.ndarray, stop: threading.Event
    ) -> Iterator[tuple[Any, ...]]:
        if settings.task == "edit":
            mask = np.ones_like(mask)
        elif not mask.any():
            raise ValueError("Nothing is marked. Mark what is to be painted anew, then repair.")
        if stop.is_set():
            yield _padded(gr.skip(), gr.skip(), report.status("Stopped before it started."))
            return
        folder = new_folder()
        given = folder / "given.png"  # written once: written again while a browser reads it, it would arrive broken
        self._given(settings, image, mask).save(given)
        yield _padded(str(given))
        snippet = self._snippet(settings)
        pipeline = repair_pipeline(settings, self.model.pipeline)
        run = SamplingRun(pipeline, repair_arguments(settings, image, mask), stop, DEADLINE_SECONDS)
        for frame in run.frames():
            text, kind = self._progress(frame, run)
            status = report.status(text, frame.evaluation, frame.evaluations, kind=kind)
            # The network's estimate of the clean image shows early what the noise still hides.
            painted = frame.samples if frame.evaluation == frame.evaluations else frame.denoised
            results = image_grid(np.where(mask[..., None], painted, image / 255), COLUMNS)
            if not frame.final:
                yield _padded(gr.skip(), results, status, snippet)
        saved = {folder / f"results-seed-{settings.seed}.png": results, folder / IMAGE_FILE: as_picture(image)}
        if settings.task == "inpaint":
            saved[folder / MASK_FILE] = as_picture(mask[..., None] * np.uint8(255))
        for path, picture in saved.items():
            picture.save(path)
        files = [*map(str, saved), None][:3]
        yield str(given), files[0], status, snippet, *files

    @staticmethod
    def _given(settings: RepairSettings, image: np.ndarray, mask: np.ndarray) -> Image.Image:
        """The image as it was given, what was marked tinted."""
        colours = np.broadcast_to(image, (*image.shape[:2], 3)) / 255
        if settings.task == "inpaint":
            colours = np.where(mask[..., None], 0.3 * colours + 0.7 * np.array(MARK) / 255, colours)
        return image_grid(colours[None])

    def _snippet(self, settings: RepairSettings) -> str:
        return repair_snippet(settings, self.model.name, self.model.trained_range)

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

    def example(self, index: int) -> str:
        """The canvas with one of the shipped images, its right half marked."""
        return canvas_value(fitted_picture(examples()[index], self.shape), right_half(self.shape))

    def upload(self, picture: str) -> str:
        """The canvas with a picture of the visitor's own, fitted to the model's size, its right half marked.

        Raises:
            SettingsError: for what is no picture.
        """
        return canvas_value(fitted_picture(picture, self.shape), right_half(self.shape))


def _padded(*values: Any) -> tuple[Any, ...]:
    """A full set of outputs, those that are not given left as they are."""
    return (*values, *[gr.skip()] * (OUTPUTS - len(values)))
