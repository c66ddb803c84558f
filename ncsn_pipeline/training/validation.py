"""What is looked at during training: a grid of samples, shared out over the processes, and the denoiser's error.

Every image has noise of its own, so that a grid does not depend on the number of processes (but for rounding).
"""

from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from torch import Tensor

from ..data import ImageData
from ..networks import as_score_function
from ..pipelines import NCSNPipeline
from ..pipelines.grid import picture_grid
from ..sampling.denoiser_error import NUM_LEVELS, measured_denoiser_error
from .config import TrainConfig
from .draws import Purpose, generator_for
from .network import num_classes
from .objective import training_levels
from .run_config import RunConfig
from .tracking import log_grid

MOST_DENOISED_IMAGES = 100


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


def measure_denoiser_error(config: TrainConfig, network: ModelMixin, held_out: ImageData) -> None:
    """Writes r²(sigma) of held-out images into the network's config, at up to 20 levels of the noise schedule.

    Of a network with classes it is that of the null class.  Noise and images are the same at every call.
    """
    levels = training_levels(config).double()
    levels = levels[torch.linspace(0, len(levels) - 1, min(NUM_LEVELS, len(levels))).round().long()]
    images = held_out.subset(torch.arange(min(len(held_out), MOST_DENOISED_IMAGES)))
    x = images.float_images(config.data_min, config.data_max).to(network.device)
    table = measured_denoiser_error(
        as_score_function(network), x, levels, generator_for(config.seed, Purpose.DENOISER_ERROR),
        config.train_batch_size,
    )  # fmt: skip
    network.register_to_config(denoiser_error=[[float(f"{value:.6g}") for value in row] for row in table.rows])


def save_samples(config: RunConfig, images: Tensor, step: int, accelerator: Accelerator) -> None:
    """Writes a grid of `images`, `(N, C, H, W)` in [0, 1], with ten columns if that fits, and shows it in trackers."""
    pictures = NCSNPipeline.numpy_to_pil(images.permute(0, 2, 3, 1).cpu().numpy())
    columns = next(n for n in range(min(10, len(pictures)), 0, -1) if len(pictures) % n == 0)
    folder = Path(config.output_dir, "samples")
    folder.mkdir(exist_ok=True)
    grid = picture_grid(pictures, columns)
    grid.save(folder / f"step-{step:07d}.png")
    log_grid(accelerator, grid, step)
