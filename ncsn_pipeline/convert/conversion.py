"""From a checkpoint of the authors' code to a pipeline folder."""

import os
from pathlib import Path

import torch

from ..pipelines import NCSNPipeline
from ..sampling import AnnealedLangevinScheduler
from .checkpoint import read_checkpoint
from .folder import check_free, model_card, write_folder
from .matching import ARCHITECTURES, check_names, check_values, make_network, noise_levels, sizes


def convert_checkpoint(
    path: str | Path,
    output: str | Path,
    *,
    architecture: str,
    image_size: int,
    channels: int | None = None,
    sigma_max: float | None = None,
    sigma_min: float | None = None,
    num_levels: int | None = None,
    ema: bool = True,
    step_size: float | None = None,
    steps_per_level: int | None = None,
    denoise: bool | None = None,
) -> NCSNPipeline:
    """Writes a checkpoint of the authors' code as a complete pipeline folder with a model card.

    Width and channels are those of the weights.  The noise schedule is that of the checkpoint, with which what is
    given must agree, or else the geometric one of what is given.

    Args:
        path: the checkpoint, a `.pth` file.
        output: the folder to write; it must not exist yet, or be empty.
        architecture: `"ncsn"`, `"ncsnv2"`, `"ncsnv2_deeper"` or `"ncsnv2_deepest"`.
        image_size: side of the images in pixels, which the weights do not tell.
        channels: of the images, to be compared with the weights.
        sigma_max: sigma_1, in data units; the data lie in [0, 1].
        sigma_min: sigma_L, in data units.
        num_levels: L.  NCSN's weights tell it as well.
        ema: whether to take the moving average of the weights where the authors' code keeps one (NCSNv2).
        step_size: epsilon, the Langevin step at the last level, in (0, 2 sigma_L²); by default technique 4's.
        steps_per_level: T >= 1; by default 100 for NCSN, 5 for NCSNv2, as in the papers.
        denoise: whether sampling ends with a denoising step; by default not for NCSN, but for NCSNv2.

    Returns:
        The pipeline that was written.

    Raises:
        ValueError: for a file that is no such checkpoint, or does not fit what was asked for.
        OSError: for a file that cannot be read, or a folder that exists or cannot be written.
    """
    path, output = Path(os.path.expanduser(path)), Path(os.path.expanduser(output)).resolve()
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}; got {architecture!r}.")
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise ValueError(f"image_size must be a whole number of pixels; got {image_size!r}.")
    check_free(output)

    first = architecture == "ncsn"
    averaged = (None if first else True) if ema else False
    checkpoint = read_checkpoint(path, averaged=averaged)
    weights = checkpoint.weights
    check_names(weights, architecture)
    width, channels, tables = sizes(weights, channels)
    levels = noise_levels(checkpoint.sigmas, tables, sigma_max=sigma_max, sigma_min=sigma_min, num_levels=num_levels)
    scheduler = AnnealedLangevinScheduler(
        sigmas=levels,
        steps_per_level=(100 if first else 5) if steps_per_level is None else steps_per_level,
        step_size=step_size,
        denoise=not first if denoise is None else denoise,
        initial="uniform",
    )
    with torch.device("meta"):
        expected = make_network(architecture, image_size, channels, width, levels).state_dict()
    check_values(weights, expected, f"{architecture} of width {width} and {channels} channel(s)")

    network = make_network(architecture, image_size, channels, width, levels)
    network.load_state_dict(weights)
    pipe = NCSNPipeline(network.eval(), scheduler)
    write_folder(pipe, model_card(pipe, architecture, checkpoint.kind, path), output)
    return pipe
