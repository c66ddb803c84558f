"""Trains a classifier of labelled pictures, in whose features samples are measured.

    python -m ncsn_pipeline.evaluation.train_classifier --dataset_name ylecun/mnist --margin 4 --output_dir FOLDER
    ncsn evaluate --classifier FOLDER ...

takes a few minutes on one CPU core.  Every batch is moved, turned, sheared and bent a little, so that the features
answer to a shape and not to its position.  AdamW, one cycle of the learning rate (Smith and Topin, 2018).
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import ImageData, Selection, load_train_and_held_out, to_range
from ..data_flags import add_data_flags
from ..errors import in_one_line
from .classifier import ImageClassifier


@dataclass(frozen=True)
class TrainingRecord:
    """What a training run did.

    Args:
        dataset: name of the data set.
        num_images: number of training images.
        steps, batch_size, seed: of the training.
        learning_rate: at the peak of the cycle.
        losses: mean cross-entropy of each tenth of the run, in nats.
        test_accuracy: fraction of the test images that are classified correctly.
        test_images: number of test images.
        seconds: duration of the training.
    """

    dataset: str
    num_images: int
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    losses: list[float]
    test_accuracy: float
    test_images: int
    seconds: float


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random small affine map and a smooth random bending of each image; at the border its own edge goes on.

    Args:
        images: `(B, C, H, W)`.
        generator: source of the random numbers.

    Returns:
        Images of the same shape: turned by up to 12 degrees, scaled by up to 10 %, sheared by up to 0.15, shifted by up
        to 7 % of the side, each uniform, and bent by a 4x4 grid of normal displacements of standard deviation 2.5 %.
    """
    count, _, height, width = images.shape

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * limit

    angle, scale, shear = uniform(math.radians(12)), 1 + uniform(0.10), uniform(0.15)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = scale * angle.cos(), shear - angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin(), scale * angle.cos()
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform(0.14), uniform(0.14)  # the grid's unit is half a side
    grid = F.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    bend = 0.05 * torch.randn(count, 2, 4, 4, generator=generator)
    bend = F.interpolate(bend, size=(height, width), mode="bicubic", align_corners=True)
    return F.grid_sample(images, grid + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def batches(data: ImageData, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches, images `(batch_size, C, H, W)` in [0, 1] and labels `(batch_size,)`."""
    while True:
        for indices in torch.randperm(len(data), generator=generator).split(batch_size):
            if len(indices) == min(batch_size, len(data)):
                yield to_range(data.images[indices]), data.labels[indices]


def train(
    model: ImageClassifier, data: ImageData, *, steps: int, batch_size: int, learning_rate: float, seed: int
) -> Iterator[float]:
    """Trains `model` in place and yields the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=max(steps, 2), pct_start=0.25
    )
    model.train()
    stream = batches(data, batch_size, generator)
    for _ in range(steps):
        images, labels = next(stream)
        loss = F.cross_entropy(model(augment(images, generator)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()
    model.eval()


@torch.no_grad()
def accuracy(model: ImageClassifier, data: ImageData, batch_size: int = 500) -> float:
    """Fraction of `data` that `model` classifies correctly."""
    model.eval()
    parts = zip(data.images.split(batch_size), data.labels.split(batch_size), strict=True)
    return sum((model(to_range(images)).argmax(1) == labels).sum().item() for images, labels in parts) / len(data)


def load_labelled(
    source: str, resolution: int | None, channels: int | None, selection: Selection | None = None
) -> tuple[ImageData, ImageData]:
    """Images with labels to train and to test on: a part kept aside where there is no test split.

    Raises:
        ValueError: for a data set without labels, and as `load_train_and_held_out`.
    """
    train_data, test_data = load_train_and_held_out(
        source, resolution=resolution, channels=channels, selection=selection
    )
    if train_data.labels is None or test_data.labels is None:
        raise ValueError(f"{source!r} has no labels; a classifier needs a class for each image.")
    return train_data, test_data


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ends the program with a message for values that make no sense."""
    parser = argparse.ArgumentParser(
        description="Trains a classifier of labelled pictures, in whose features samples are measured."
    )
    parser.add_argument("--dataset_name", default="ylecun/mnist", help="name on the Hub, a folder, or 'digits'")
    add_data_flags(parser)
    parser.add_argument("--resolution", type=int, default=None, help="side in pixels, even; default: as they are")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=None, help="default: 3 if any has colour")
    parser.add_argument("--margin", type=int, default=0, help="pixels at each side that are empty in these pictures")
    parser.add_argument(
        "--output_dir",
        required=True,
        type=os.path.expanduser,
        help="where config.json, the weights and training.json go",
    )
    parser.add_argument("--num_train_epochs", type=float, default=3.5, help="passes through the training images")
    parser.add_argument("--max_train_steps", type=int, default=None, help="number of steps instead of epochs")
    parser.add_argument("--train_batch_size", type=int, default=100)
    parser.add_argument("--learning_rate", type=float, default=4e-3, help="peak of the cycle")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for name in ("num_train_epochs", "train_batch_size", "learning_rate"):
        if not 0 < getattr(args, name) < math.inf:
            parser.error(f"--{name} must be positive; got {getattr(args, name)}.")
    if args.max_train_steps is not None and args.max_train_steps < 1:
        parser.error(f"--max_train_steps must be at least 1; got {args.max_train_steps}.")
    if args.train_batch_size < 2:
        parser.error("--train_batch_size must be at least 2: batch normalisation needs more than one image.")
    return args


def main(arguments: list[str] | None = None) -> None:
    """Loads the data, trains, measures, saves."""
    args = parse_args(arguments)
    try:
        selection = Selection(**{field.name: getattr(args, field.name) for field in fields(Selection)})
        train_data, test_data = load_labelled(args.dataset_name, args.resolution, args.channels, selection)
        print(f"Data: {train_data.about}")
        channels, height, width = train_data.shape
        if height != width or height % 2 or height < 8:
            raise ValueError(
                f"Images of {height}x{width} pixels: a classifier takes square ones of an even side. Set --resolution."
            )
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {in_one_line(error)}") from None
    steps = args.max_train_steps or max(1, round(args.num_train_epochs * len(train_data) / args.train_batch_size))

    torch.manual_seed(args.seed)
    mean, deviation = train_data.mean_and_std()
    folder = Path(args.dataset_name).expanduser()
    dataset = folder.resolve().name if folder.is_dir() else args.dataset_name
    model = ImageClassifier(
        len(train_data.label_names), in_channels=channels, sample_size=height, margin=args.margin,
        pixel_mean=round(mean, 4), pixel_std=round(deviation, 4), dataset=dataset,
    )  # fmt: skip
    start, losses = time.perf_counter(), []
    for loss in train(
        model,
        train_data,
        steps=steps,
        batch_size=args.train_batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
    ):
        losses.append(loss)
        if len(losses) % 100 == 0 or len(losses) == steps:
            recent = sum(losses[-100:]) / len(losses[-100:])
            print(f"step {len(losses)}/{steps}  loss {recent:.4f}  {time.perf_counter() - start:.0f} s", flush=True)

    tenths = [part.mean().item() for part in torch.tensor(losses).chunk(10)]
    record = TrainingRecord(
        dataset=dataset,
        num_images=len(train_data),
        steps=steps,
        batch_size=args.train_batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        losses=[round(loss, 5) for loss in tenths],
        test_accuracy=accuracy(model, test_data),
        test_images=len(test_data),
        seconds=round(time.perf_counter() - start, 1),
    )
    model.save_pretrained(args.output_dir)
    Path(args.output_dir, "training.json").write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {100 * record.test_accuracy:.2f} % of {len(test_data)} images; saved in {args.output_dir}")


if __name__ == "__main__":
    main()
