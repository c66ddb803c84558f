"""From checked settings of the Repair tab to one call of the pipeline, and the same call as Python."""

from typing import Any

import numpy as np
import torch
from PIL import Image

from ncsn_pipeline import NCSNInpaintPipeline, NCSNPipeline

from ..runs.samplers import SAMPLERS
from .limits import RepairSettings

IMAGE_FILE, MASK_FILE = "image.png", "mask.png"


def repair_pipeline(settings: RepairSettings, pipeline: NCSNPipeline) -> NCSNInpaintPipeline:
    """A pipeline of one run's own, around the same network."""
    return NCSNInpaintPipeline.from_pipe(pipeline, scheduler=SAMPLERS[settings.sampler].scheduler_class())


def repair_arguments(settings: RepairSettings, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded; `image` and `mask` as `check_canvas` gives them."""
    arguments: dict[str, Any] = {"image": as_picture(image)}
    if settings.task == "inpaint":
        arguments["mask_image"] = as_picture(mask[..., None] * np.uint8(255))
    else:
        arguments["start_sigma"] = settings.start_sigma
    arguments["num_images_per_image"] = settings.num_images
    arguments["generator"] = torch.Generator().manual_seed(settings.seed)
    arguments["sigmas"] = list(settings.sigmas)
    if settings.sampler == "langevin":
        arguments |= {"steps_per_level": settings.steps_per_level, "resample_steps": 1}
    elif settings.task == "inpaint":
        arguments["resample_steps"] = settings.steps_per_level
    if settings.class_label != "none":
        arguments["class_labels"] = int(settings.class_label)
    if settings.guidance_scale != 1:
        arguments["guidance_scale"] = settings.guidance_scale
    return arguments


def repair_snippet(settings: RepairSettings, address: str, trained_range: tuple[float, float]) -> str:
    """The same call as a program; `images` holds PIL images."""
    scheduler = SAMPLERS[settings.sampler].scheduler
    low, high = trained_range[0], settings.start_sigma or trained_range[1]
    lines = [f'image=Image.open("{IMAGE_FILE}")']
    if settings.task == "inpaint":
        lines.append(f'mask_image=Image.open("{MASK_FILE}")')
    else:
        lines.append(f"start_sigma={settings.start_sigma!r}")
    lines += [
        f"num_images_per_image={settings.num_images}",
        f"generator=torch.Generator().manual_seed({settings.seed})",
        f"sigmas=geometric_noise_levels({high!r}, {low!r}, {settings.num_levels})",
    ]
    if settings.sampler == "langevin":
        lines += [f"steps_per_level={settings.steps_per_level}", "resample_steps=1"]
    elif settings.task == "inpaint":
        lines.append(f"resample_steps={settings.steps_per_level}")
    if settings.class_label != "none":
        lines.append(f"class_labels={settings.class_label}")
    if settings.guidance_scale != 1:
        lines.append(f"guidance_scale={settings.guidance_scale!r}")
    arguments = "\n".join(f"    {line}," for line in lines)
    return (
        "import torch\nfrom ncsn_pipeline import NCSNInpaintPipeline, NCSNPipeline, "
        f"{scheduler}, geometric_noise_levels\nfrom PIL import Image\n\n"
        f'pipe = NCSNInpaintPipeline.from_pipe(NCSNPipeline.from_pretrained("{address}"), scheduler={scheduler}())\n'
        f"images = pipe(\n{arguments}\n).images\n"
    )


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Bytes `(H, W, C)` as a picture."""
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
