"""Draws images from a model.

ncsn generate mnist digits.png --num-images 64
ncsn generate runs/mine pictures --num-images 1000 --class-label 3
"""

import argparse
import io
import math
import sys
from collections.abc import Sequence

from ..errors import in_one_line
from ..samplers import SAMPLERS, sampler_for, sampler_name
from ..shipped import MODELS
from . import seed, user_path

PROGRAM = "ncsn generate"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `None` reads `sys.argv`."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Draws images from a model.")
    parser.add_argument("model", help=f"a folder, a name on the Hub, or a shipped model: {', '.join(MODELS)}")
    parser.add_argument(
        "output", type=user_path, help="a picture to make a grid, such as grid.png, or a folder for one file each"
    )
    parser.add_argument("--num-images", type=int, default=64, help="how many (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="how many at a time (default: %(default)s)")
    parser.add_argument(
        "--num-inference-steps", type=int,
        help="steps, one network evaluation each, of Heun's two (default: the stored schedule)",
    )  # fmt: skip
    parser.add_argument("--sampler", type=sampler_name, help=f"(default: the stored one), or {', '.join(SAMPLERS)}")
    parser.add_argument("--class-label", help="draw this class alone, by number or name (default: all in turn)")
    parser.add_argument("--guidance-scale", type=float, help="of classifier-free guidance (default: none)")
    parser.add_argument(
        "--guidance-interval", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="the noise levels between which it guides (default: all)",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="(default: %(default)s)")
    parser.add_argument("--device", help="(default: a GPU where there is one)")
    options = parser.parse_args(arguments)
    for name in ("num_images", "batch_size"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws, and returns the exit code: 0, or 2 after one line on what was wrong."""
    options = parse_arguments(arguments)
    try:
        print(draw(options))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"{PROGRAM}: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def draw(options: argparse.Namespace) -> str:
    """Draws the images and writes them; what was written.

    Raises:
        ValueError: for settings that do not fit the model.
        OSError: for a model that cannot be read, or a file that cannot be written.
    """
    import numpy as np
    import torch
    from PIL import Image

    from ..devices import device_named
    from ..pipelines import NCSNPipeline
    from ..pipelines.grid import picture_grid

    output = options.output
    form = Image.registered_extensions().get(output.suffix.lower())
    one_picture = form in Image.SAVE and not output.is_dir()
    folder = output.parent if one_picture else output
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"The folder {folder} cannot be made: {there} is a file.")
    pipe = NCSNPipeline.from_pretrained(options.model)
    pipe.to(device_named(options.device))
    if options.sampler is not None:
        pipe.scheduler = sampler_for(pipe.scheduler, options.sampler)
    classes = getattr(pipe.unet.config, "num_class_embeds", None)
    if options.class_label is not None and classes is None:
        raise ValueError("--class-label needs a model with classes; this one has none.")
    label, names = options.class_label, (getattr(pipe.unet.config, "id2label", None) or {}).values()
    if label is not None and label.isascii() and label.isdecimal() and label not in names:
        label = int(label)
    rows = next(n for n in range(math.isqrt(options.num_images), 0, -1) if options.num_images % n == 0)
    columns = options.num_images // rows
    if one_picture:  # what cannot be written is refused before it is drawn
        sides = np.broadcast_to(pipe.unet.config.sample_size, 2)
        blank = pipe.numpy_to_pil(np.zeros((1, *sides, pipe.unet.config.in_channels), dtype=np.float32))
        picture_grid(blank * options.num_images, columns).save(io.BytesIO(), form)
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(options.seed)
    images: list = []
    while len(images) < options.num_images:
        numbers = torch.arange(len(images), min(options.num_images, len(images) + options.batch_size))
        labels = None if classes is None else numbers % classes
        if label is not None:
            labels = label
        images += pipe(
            len(numbers), generator, options.num_inference_steps, class_labels=labels,
            guidance_scale=options.guidance_scale, guidance_interval=options.guidance_interval,
        ).images  # fmt: skip
    if one_picture:
        picture_grid(images, columns).save(output)
        return f"{output}: {len(images)} images"
    for number, image in enumerate(images):
        image.save(output / f"{number:05}.png")
    older = len(list(output.glob("*.png"))) - len(images)
    return f"{output}: {len(images)} files" + (f", beside {older} older ones" if older else "")
