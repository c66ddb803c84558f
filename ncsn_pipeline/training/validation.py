"""What is looked at during training, shared out over the processes: a grid of samples.

Every image has noise of its own, so that a grid does not depend on the number of processes (but for rounding).
"""

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ..pipelines import NCSNPipeline
from ..pipelines.grid import picture_grid
from .draws import Purpose, generator_for
from .network import num_classes
from .run_config import RunConfig
from .tracking import log_grid


def draw_samples(config: RunConfig, pipeline: NCSNPipeline, accelerator: Accelerator) -> Tensor:
    """Samples from the same noise at every call, `(N, C, H, W)` in [0, 1], class after class where there are classes.

    To be called in every process; each draws a share of the images and gets all of them.
    """
    network = pipeline.unet
    count, classes, size = config.num_sample_images, num_classes(network), network.config.sample_size
    images = torch.zeros(count, network.config.in_channels, size, size, device=accelerator.device)
    mine = range(accelerator.process_index, count, accelerator.num_processes)
    if mine:
        pipeline.set_progress_bar_config(disable=True)
        images[list(mine)] = pipeline(
            len(mine),
            generator=[generator_for(config.seed, Purpose.SAMPLES, number) for number in mine],
            class_labels=[number % classes for number in mine] if classes else None,
            output_type="pt",
        ).images
    return accelerator.reduce(images, reduction="sum")


def save_samples(config: RunConfig, images: Tensor, step: int, accelerator: Accelerator) -> None:
    """Writes a grid of `images`, `(N, C, H, W)` in [0, 1], with ten columns if that fits, and shows it in trackers."""
    pictures = NCSNPipeline.numpy_to_pil(images.permute(0, 2, 3, 1).cpu().numpy())
    columns = next(n for n in range(min(10, len(pictures)), 0, -1) if len(pictures) % n == 0)
    folder = Path(config.output_dir, "samples")
    folder.mkdir(exist_ok=True)
    grid = picture_grid(pictures, columns)
    grid.save(folder / f"step-{step:07d}.png")
    log_grid(accelerator, grid, step)
