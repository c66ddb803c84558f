"""A DDPM of digits, trained by diffusers' own objective, sampled by its own DDIM and as a score network.

    python -m benchmarks.ddpm [--steps 2500] [--output benchmarks/results]

The U-Net learns epsilon on scikit-learn's 8x8 digits (`DDPMScheduler.add_noise`, mean squared error).  Then DDIM
samples it, and, through `from_ddpm`, annealed Langevin dynamics, consistent annealed sampling (the default
there, in 50 evaluations), predictor-corrector sampling and solvers of diffusers do.  Frechet distances are in the
features of the digit classifier, to 1,000 of the 1,500 training images; the other 500, real images that they are, set
the scale from below, and noise does from above.
"""

import argparse
import json
import platform
from pathlib import Path

import torch
from diffusers.utils import make_image_grid
from PIL import Image
from torch.nn import functional as F

from tests.digits_ddpm import BATCH, SHOWN, Result, run


def picture(result: Result) -> Image.Image:
    """A row for every set of images, in the order of the table."""
    tiles = torch.cat([result.images[name] for name in result.distances])
    large = (F.interpolate(tiles, scale_factor=4, mode="nearest")[:, 0] * 255).round().byte().numpy()
    framed = [Image.new("L", (34, 34), 128) for _ in large]
    for frame, tile in zip(framed, large, strict=True):
        frame.paste(Image.fromarray(tile), (1, 1))
    return make_image_grid(framed, len(result.distances), SHOWN)


def as_markdown(result: Result, steps: int, samples: int, draws: int) -> str:
    """The committed table."""
    lines = [
        "# A DDPM of digits, sampled by its own DDIM and as a score network",
        "",
        f"`python -m benchmarks.ddpm`: {steps} steps of {BATCH} images in {result.train_seconds:.0f} s of CPU, loss "
        f"{result.loss:.4f}, {samples} samples per draw, {draws} draws, one thread, torch {torch.__version__}, "
        f"{platform.machine()}.",
        "",
        "| | network evaluations | CPU seconds per draw | Frechet distance, mean and standard error |",
        "|---|---|---|---|",
    ]
    for name, distance in result.distances.items():
        evaluations, seconds = result.evaluations.get(name, ""), result.seconds.get(name)
        error = f" ± {result.errors[name]:.2f}" if name in result.errors else ""
        cost = "" if seconds is None else f"{seconds:.1f}"
        lines.append(f"| {name} | {evaluations} | {cost} | {distance:.2f}{error} |")
    rows = ", ".join(result.distances)
    return "\n".join([*lines, "", "![digits](ddpm.png)", "", f"The rows are {rows}.", ""])


def main() -> None:
    """Measures, prints and saves the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = run(arguments.steps, arguments.samples, seed=arguments.seed, draws=arguments.draws)
    table = as_markdown(result, arguments.steps, arguments.samples, arguments.draws)
    numbers = {key: value for key, value in vars(result).items() if key != "images"}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "ddpm.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "ddpm.md").write_text(table, encoding="utf-8")
    picture(result).save(arguments.output / "ddpm.png", optimize=True)
    print(table)


if __name__ == "__main__":
    main()
