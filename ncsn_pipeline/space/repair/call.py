"""From checked settings of the Repair tab to one call of the pipeline, and the same call as Python."""

from typing import Any

import numpy as np
from PIL import Image

from ncsn_pipeline import NCSNInpaintPipeline, NCSNPipeline

from ..runs.calls import Argument, Written, picture, program, scheduler_of, scheduler_source, values_of
from ..runs.controls import Facts, arguments_of
from .controls import CONTROLS
from .settings import RepairSettings

IMAGE_FILE, MASK_FILE = "image.png", "mask.png"


def repair_pipeline(settings: RepairSettings, pipeline: NCSNPipeline, model: Facts) -> NCSNInpaintPipeline:
    """A pipeline of one run's own, around the same network."""
    scheduler = scheduler_of(settings.sampler, arguments_of(CONTROLS, settings, model))
    return NCSNInpaintPipeline.from_pipe(pipeline, scheduler=scheduler)


def _arguments(settings: RepairSettings, model: Facts, image: np.ndarray, mask: np.ndarray) -> list[Argument]:
    given = [Argument("image", picture(IMAGE_FILE, as_picture(image)))]
    if settings.task == "inpaint":
        given.append(Argument("mask_image", picture(MASK_FILE, as_picture(mask[..., None] * np.uint8(255)))))
    return [*given, *arguments_of(CONTROLS, settings, model)]


def repair_arguments(settings: RepairSettings, model: Facts, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded; `image` and `mask` as `check_canvas` gives them."""
    return values_of(_arguments(settings, model, image, mask))


def repair_snippet(settings: RepairSettings, model: Facts, address: str) -> str:
    """The same call as a program, which finds the pictures in their files; `images` holds PIL images."""
    blank = np.zeros((1, 1, 1), dtype=np.uint8)
    arguments = _arguments(settings, model, blank, blank[..., 0])
    source = f'NCSNInpaintPipeline.from_pipe(NCSNPipeline.from_pretrained("{address}"))'
    imports = tuple(("ncsn_pipeline", name) for name in ("NCSNInpaintPipeline", "NCSNPipeline"))
    return program(Written(source, None, imports), scheduler_source(settings.sampler, arguments), arguments)


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Bytes `(H, W, C)` as a picture."""
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
