"""Pairs of a model's sample and a real picture of the same class, for somebody to say which is real.

    python -m benchmarks.forced_choice MODEL DATA --output FOLDER [--pairs 96] [--seed 0]

MODEL is a folder or a shipped model's name; DATA a name on the Hub or a folder that holds Parquet files, whose test
pictures are the real ones.  Classes come in turn, nothing is selected, and a coin says which of a pair is on the left.
Writes sheets of twelve numbered pairs, four times as large (`sheet_1.png`, ...), and which sides are real (`key.json`).
Who cannot tell is right about half of the pairs, within 10 of 96 nineteen times of twenty.
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.data import load_images
from ncsn_pipeline.shipped import folder_or_shipped

SCALE, GAP, COLUMNS, ROWS = 4, 16, 3, 4


def pairs(model: str, data: str, count: int, seed: int) -> list[tuple[Image.Image, Image.Image]]:
    """Sample and real picture of each class in turn, drawn without repeats."""
    pipe = NCSNPipeline.from_pretrained(folder_or_shipped(model))
    generator = torch.Generator().manual_seed(seed)
    real = load_images(data, split="test")
    order = torch.randperm(len(real.labels), generator=generator)
    of_class = [order[real.labels[order] == label].tolist() for label in real.labels.unique()]
    labels = [i % len(of_class) for i in range(count)]
    chosen = [of_class[label].pop() for label in labels]
    drawn = pipe(count, generator, class_labels=labels).images
    pixels = (255 * real.subset(torch.tensor(chosen)).float_images()).round().byte().permute(0, 2, 3, 1).numpy()
    return [(one, Image.fromarray(other.squeeze())) for one, other in zip(drawn, pixels, strict=True)]


def sheet(shown: list[tuple[Image.Image, Image.Image]], first: int) -> Image.Image:
    """Numbered pairs, twelve at most."""
    width, height = (SCALE * side for side in shown[0][0].size)
    cell = (2 * width + 3 * GAP, height + 2 * GAP)
    paper = Image.new("RGB", (COLUMNS * cell[0], ROWS * cell[1]), "white")
    for i, pair in enumerate(shown):
        left, top = (i % COLUMNS) * cell[0], (i // COLUMNS) * cell[1]
        ImageDraw.Draw(paper).text((left, top + 2), f"{first + i}", "black")
        for side, picture in enumerate(pair):
            large = picture.resize((width, height), Image.Resampling.NEAREST)
            paper.paste(large, (left + GAP + side * (width + GAP // 2), top + GAP))
    return paper


def main() -> None:
    """Writes the sheets and the key."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = pairs(arguments.model, arguments.data, arguments.pairs, arguments.seed)
    real_is_left = torch.rand(len(found), generator=torch.Generator().manual_seed(arguments.seed + 1)) < 0.5
    shown = [pair[::-1] if left else pair for pair, left in zip(found, real_is_left, strict=True)]
    arguments.output.mkdir(parents=True, exist_ok=True)
    each = ROWS * COLUMNS
    for number, start in enumerate(range(0, len(shown), each), start=1):
        sheet(shown[start : start + each], start + 1).save(arguments.output / f"sheet_{number}.png")
    key = {"real": ["left" if left else "right" for left in real_is_left]}
    (arguments.output / "key.json").write_text(json.dumps(key) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
