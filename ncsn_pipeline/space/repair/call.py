"""From checked settings of the Repair tab to one call of the pipeline, and the same call as Python."""

from typing import Any

import numpy as np
from PIL import Image

from ncsn_pipeline import NCSNInpaintPipeline, NCSNPipeline, NCSNPosteriorPipeline

from ..runs.calls import Argument, Written, picture, program, scheduler_of, scheduler_source, values_of
from ..runs.controls import Facts, arguments_of
from .controls import CONTROLS
from .measuring import MEASUREMENTS, measured
from .settings import RepairSettings

IMAGE_FILE, MASK_FILE = "image.png", "mask.png"


def _pipeline_class(settings: RepairSettings) -> type[NCSNPipeline]:
    return NCSNPosteriorPipeline if settings.task in MEASUREMENTS else NCSNInpaintPipeline


def repair_pipeline(settings: RepairSettings, pipeline: NCSNPipeline, model: Facts) -> NCSNPipeline:
    """A pipeline of one run's own, around the same network."""
    scheduler = scheduler_of(settings.sampler, arguments_of(CONTROLS, settings, model))
    return _pipeline_class(settings).from_pipe(pipeline, scheduler=scheduler)


def _variables(settings: RepairSettings, model: Facts, image: np.ndarray) -> dict[str, Written]:
    """What the program makes before the call."""
    return measured(settings, model, IMAGE_FILE, as_picture(image)) if settings.task in MEASUREMENTS else {}


def _arguments(
    settings: RepairSettings, model: Facts, variables: dict[str, Written], image: np.ndarray, mask: np.ndarray
) -> list[Argument]:
    if variables:
        given = [Argument(name, Written(name, variables[name].value)) for name in ("y", "operator", "generator")]
        return [*given, *arguments_of(CONTROLS, settings, model)]
    given = [Argument("image", picture(IMAGE_FILE, as_picture(image)))]
    if settings.task == "inpaint":
        given.append(Argument("mask_image", picture(MASK_FILE, as_picture(mask[..., None] * np.uint8(255)))))
    return [*given, *arguments_of(CONTROLS, settings, model)]


def repair_arguments(settings: RepairSettings, model: Facts, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded; `image` and `mask` as `check_canvas` gives them."""
    return values_of(_arguments(settings, model, _variables(settings, model, image), image, mask))


def repair_snippet(settings: RepairSettings, model: Facts, address: str) -> str:
    """The same call as a program, which finds the pictures in their files; `images` holds PIL images."""
    channels, height, width = model.sample_shape
    blank = np.zeros((height, width, channels), dtype=np.uint8)
    variables = _variables(settings, model, blank)
    arguments = _arguments(settings, model, variables, blank, blank[..., 0])
    name = _pipeline_class(settings).__name__
    source = f'{name}.from_pipe(NCSNPipeline.from_pretrained("{address}"))'
    imports = tuple(("ncsn_pipeline", imported) for imported in (name, "NCSNPipeline"))
    results = ("images", "mean", "std", "fidelity") if variables else ("images",)
    scheduler = scheduler_source(settings.sampler, arguments)
    return program(Written(source, None, imports), scheduler, arguments, variables, results)


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Bytes `(H, W, C)` as a picture."""
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
