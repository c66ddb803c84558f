"""What a model makes of parts of pictures that it has not seen: a picture, for its card.

    python -m benchmarks.repairs MODEL DATA [--pictures 8] [--output FILE]

MODEL is a folder or a shipped model's name; DATA a name on the Hub or a folder that holds Parquet files.  The first
pictures of the test part, of each class in turn, one a row: the picture; its left half, and three ways to complete it;
without its colours, and three ways to colour it in; the means of 4 x 4 pixels, and three pictures that have them.
They are completed in 25 levels of 4 steps, as the page does it; coloured in and sharpened from measurements with noise
of standard deviation 0.05 in 25 levels.  Nothing is selected: seed 0.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ncsn_pipeline import NCSNInpaintPipeline, NCSNPipeline, NCSNPosteriorPipeline
from ncsn_pipeline.data import load_images
from ncsn_pipeline.guidance.measurements import average_pooling, grey
from ncsn_pipeline.shipped import folder_or_shipped

NOISE_STD, LEVELS, STEPS, RESULTS = 0.05, 25, 4, 3
SCALE, GAP = 2, 2


def one_of_each(data: str, count: int) -> Tensor:
    """Test pictures, `(count, C, H, W)` in [0, 1]: the first of each class, then the second."""
    found = load_images(data, split="test")
    of_class = [torch.nonzero(found.labels == label).flatten() for label in found.labels.unique()]
    rows = [indices[turn] for turn in range(count) for indices in of_class if turn < len(indices)]
    return found.subset(torch.stack(rows[:count])).float_images()


def completed(pipe: NCSNPipeline, images: Tensor) -> list[Tensor]:
    """What is kept of each, the rest in the middle's grey, and the completions."""
    mask = torch.zeros(images.shape[-2:])
    mask[:, mask.shape[1] // 2 :] = 1
    results = NCSNInpaintPipeline.from_pipe(pipe)(
        images,
        mask,
        num_images_per_image=RESULTS,
        num_inference_steps=LEVELS,
        resample_steps=STEPS,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images
    return [torch.where(mask > 0, 0.5, images), *results.unflatten(0, (-1, RESULTS)).unbind(1)]


def inverted(pipe: NCSNPipeline, images: Tensor, operator: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What was measured of each, as large as it, and what the picture may have been."""
    generator = torch.Generator().manual_seed(0)
    exact = operator(images)
    y = exact + NOISE_STD * torch.randn(exact.shape, generator=generator)
    results = NCSNPosteriorPipeline.from_pipe(pipe)(
        y,
        operator,
        NOISE_STD,
        num_images_per_measurement=RESULTS,
        num_inference_steps=LEVELS,
        generator=generator,
        output_type="pt",
    ).images
    seen = interpolate(y.clamp(0, 1), images.shape[-2:]).expand_as(images)
    return [seen, *results.unflatten(0, (-1, RESULTS)).unbind(1)]


def sheet(columns: list[Tensor]) -> Image.Image:
    """Columns of pictures, a row each, on white; wider gaps before what is given."""
    enlarged = [interpolate(column, scale_factor=SCALE) for column in columns]
    count, channels, height, width = enlarged[0].shape
    left = [i * (width + GAP) + 4 * GAP * ((i + RESULTS) // (RESULTS + 1)) for i in range(len(columns))]
    paper = torch.ones(channels, count * (height + GAP) - GAP, left[-1] + width)
    for x, column in zip(left, enlarged, strict=True):
        for row, picture in enumerate(column):
            top = row * (height + GAP)
            paper[:, top : top + height, x : x + width] = picture
    pixels = (255 * paper.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)


def main() -> None:
    """Draws the picture, and saves it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    folder = Path(folder_or_shipped(arguments.model))
    pipe = NCSNPipeline.from_pretrained(folder)
    images = one_of_each(arguments.data, arguments.pictures)
    columns = [images, *completed(pipe, images)]
    if images.shape[1] == 3:
        columns += inverted(pipe, images, grey)
    columns += inverted(pipe, images, average_pooling(4))
    sheet(columns).save(arguments.output or folder / "repairs.png", optimize=True)


if __name__ == "__main__":
    main()
