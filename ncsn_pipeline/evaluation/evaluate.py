"""Samples from a model and measures the samples.

    ncsn evaluate --model pretrained/mnist --num_samples 1000 --output_dir runs/evaluation

writes `evaluation.json` (every number) and `evaluation.png` (samples, their nearest training images, classes).  With

    ncsn evaluate --model pretrained/mnist --sweep 10,25,50,100,200 --schedulers annealed_langevin,consistent

it writes the table of distance against network evaluations: `sweep.md`, `sweep.json`, `sweep.png`.  What the numbers
mean is said in :mod:`.quality`.  Inside a training loop: `RealImages` once, `evaluate_samples` as often as wanted.
"""

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data import Selection, load_train_and_held_out
from .features import load_feature_network, refuse_missing_folder
from .figure import evaluation_figure, sweep_figure
from .quality import RealImages, SampleQuality, evaluate_samples

__all__ = ["RealImages", "SampleQuality", "Sampled", "evaluate_samples", "run", "sample_images", "sweep_table"]


@dataclass(frozen=True)
class Sampled:
    """Images of a model and what they cost.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        labels: the classes asked for, `(N,)`, in rotation; `None` for a model without classes.
        nfe: network evaluations for each image.
        seconds_per_image: wall-clock time of sampling over N.
    """

    images: Tensor
    labels: Tensor | None
    nfe: int
    seconds_per_image: float


def sample_images(pipe: Any, count: int, *, batch_size: int = 100, seed: int = 0, **options: Any) -> Sampled:
    """Draws `count` samples, the classes 0, 1, ..., K - 1 in rotation if the model has K classes.

    Args:
        pipe: an `NCSNPipeline`.
        count: number of samples.
        batch_size: samples drawn at once.
        seed: of all of them together.
        options: passed on to the pipeline, `num_inference_steps` for one.
    """
    num_classes = getattr(pipe.unet.config, "num_class_embeds", None)
    labels = torch.arange(count) % num_classes if num_classes else None
    generator = torch.Generator().manual_seed(seed)
    start, parts = time.perf_counter(), []
    with tqdm(total=count, unit=" images", desc="sampling", leave=False) as progress:
        for first in range(0, count, batch_size):
            size = min(batch_size, count - first)
            if labels is not None:
                options["class_labels"] = labels[first : first + size]
            parts.append(pipe(batch_size=size, generator=generator, output_type="pt", **options).images.cpu())
            progress.update(size)
    seconds = (time.perf_counter() - start) / count
    return Sampled(torch.cat(parts), labels, len(pipe.scheduler.timesteps), seconds)


def load_pipeline(model: str, device: str) -> Any:
    """The pipeline of a folder or Hub repository, silent, on `device`.

    Raises:
        ValueError: if there is none.
    """
    from ..pipelines import NCSNPipeline

    refuse_missing_folder(model)
    try:
        pipe = NCSNPipeline.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Could not load a model from {model!r}: {error} Give a folder or a name on the Hub."
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def scheduler_for(pipe: Any, name: str, sigma_max: float | None = None) -> Any:
    """A new scheduler from the configuration of the pipeline's own.

    Args:
        pipe: an `NCSNPipeline`.
        name: `"annealed_langevin"`, `"consistent"`, or `"default"` for the pipeline's own class.
        sigma_max: largest noise level of a geometric schedule in place of the stored one, in data units.
    """
    from ..sampling import AnnealedLangevinScheduler, ConsistentAnnealedScheduler

    kinds = {"annealed_langevin": AnnealedLangevinScheduler, "consistent": ConsistentAnnealedScheduler}
    changes = {} if sigma_max is None else {"sigma_max": sigma_max, "sigmas": None}
    return kinds.get(name, type(pipe.scheduler)).from_config(pipe.scheduler.config, **changes)


def shown_name(source: str) -> str:
    """A Hub name as it is, a local folder without what lies above it: results are read elsewhere."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() else source


def run_description(args: argparse.Namespace, real: RealImages) -> dict[str, Any]:
    """What a result file says about how it came about: arguments, data, machine."""
    arguments = {name: value for name, value in vars(args).items() if name != "output_dir"}
    for name in ("model", "dataset_name", "classifier"):
        arguments[name] = shown_name(arguments[name])
    packages = ("torch", "diffusers", "torchmetrics", "numpy")
    return {
        "arguments": arguments,
        "num_train_images": len(real.train),
        "num_test_images": len(real.test),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON; refuses NaN, which other readers refuse."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def evaluate_once(args: argparse.Namespace, pipe: Any, real: RealImages, options: dict[str, Any]) -> None:
    """Samples once; writes `evaluation.json` and `evaluation.png`."""
    count = args.num_samples[0]
    pipe.scheduler = scheduler_for(pipe, args.scheduler, args.sigma_max)
    sampled = sample_images(
        pipe, count, batch_size=args.batch_size, seed=args.seed, num_inference_steps=args.num_inference_steps, **options
    )
    quality = evaluate_samples(sampled.images, sampled.labels, real, seed=args.seed)
    closest = quality.sample_distances.argsort()[:10]
    pairs = [
        {"sample": i, "training_image": j, "distance": d}
        for i, j, d in zip(
            closest.tolist(),
            quality.neighbour_indices[closest].tolist(),
            quality.sample_distances[closest].tolist(),
            strict=True,
        )
    ]
    result = {
        "scheduler": type(pipe.scheduler).__name__,
        "nfe": sampled.nfe,
        "seconds_per_image": sampled.seconds_per_image,
        **quality.numbers(),
        "closest_pairs": pairs,
        **run_description(args, real),
    }
    output = Path(args.output_dir)
    write_json(output / "evaluation.json", result)
    num_classes = getattr(pipe.unet.config, "num_class_embeds", None) or 10
    title = f"{shown_name(args.model)}: {count} samples, {sampled.nfe} network evaluations each"
    figure = evaluation_figure(sampled.images, real.train.images, quality, title=title, num_classes=num_classes)
    figure.savefig(output / "evaluation.png")
    print(
        f"Frechet distance {quality.samples.frechet:.3g} (real images: {quality.real.frechet:.3g}), "
        f"kernel distance {1e3 * quality.samples.kernel:.2f}e-3 (real: {1e3 * quality.real.kernel:.2f}e-3), "
        f"{sampled.nfe} evaluations, {sampled.seconds_per_image:.3f} s an image"
    )
    if quality.agreement is not None:
        print(f"recognised as the class asked for: {100 * quality.agreement:.1f} %")
    print(f"nearer to a training image than 99 % of test images: {100 * quality.closer_than_test:.1f} %")
    print(f"written: {output / 'evaluation.json'}, {output / 'evaluation.png'}")


@dataclass(frozen=True)
class SweepRow:
    """One scheduler, number of evaluations and number of samples; `real_*` are those of as many real images."""

    scheduler: str
    steps_per_level: int | None
    nfe: int
    count: int
    frechet: float
    real_frechet: float
    ratio: float
    kernel: float
    real_kernel: float
    agreement: float | None
    seconds_per_image: float


def sweep_table(rows: Sequence[SweepRow]) -> str:
    """Rows as a Markdown table."""
    lines = [
        "| scheduler | steps per level | evaluations | samples | Frechet distance | real images | ratio "
        "| kernel distance x 1000 | real images | class recognised | s/image |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        agreement = "" if row.agreement is None else f"{100 * row.agreement:.1f} %"
        lines.append(
            f"| {row.scheduler} | {row.steps_per_level or ''} | {row.nfe} | {row.count} | {row.frechet:.3g} | "
            f"{row.real_frechet:.3g} | {row.ratio:.2f} | {1e3 * row.kernel:.2f} | {1e3 * row.real_kernel:.2f} | "
            f"{agreement} | {row.seconds_per_image:.3f} |"
        )
    return "\n".join(lines) + "\n"


def evaluate_sweep(args: argparse.Namespace, pipe: Any, real: RealImages, options: dict[str, Any]) -> None:
    """Samples for every scheduler and number of evaluations; writes `sweep.*` after each."""
    output, rows = Path(args.output_dir), []
    own_scheduler = pipe.scheduler
    for name in args.schedulers:
        langevin_only = {"steps_per_level", "step_size"} if name == "consistent" else set()
        chosen = {key: value for key, value in options.items() if key not in langevin_only}
        for nfe in args.sweep:
            pipe.scheduler = own_scheduler
            pipe.scheduler = scheduler_for(pipe, name, args.sigma_max)
            sampled = sample_images(
                pipe,
                max(args.num_samples),
                batch_size=args.batch_size,
                seed=args.seed,
                num_inference_steps=nfe,
                **chosen,
            )
            steps = chosen.get("steps_per_level", getattr(pipe.scheduler.config, "steps_per_level", None))
            for count in args.num_samples:
                labels = None if sampled.labels is None else sampled.labels[:count]
                quality = evaluate_samples(sampled.images[:count], labels, real, seed=args.seed)
                row = SweepRow(
                    scheduler=name,
                    steps_per_level=None if name == "consistent" else steps,
                    nfe=sampled.nfe,
                    count=count,
                    frechet=quality.samples.frechet,
                    real_frechet=quality.real.frechet,
                    ratio=quality.ratio,
                    kernel=quality.samples.kernel,
                    real_kernel=quality.real.kernel,
                    agreement=quality.agreement,
                    seconds_per_image=sampled.seconds_per_image,
                )
                rows.append(row)
                print(f"{name} {nfe}, {count} samples: {row.frechet:.3g} (real images: {row.real_frechet:.3g})")
            table = [asdict(row) for row in rows]
            write_json(output / "sweep.json", {"rows": table, **run_description(args, real)})
            (output / "sweep.md").write_text(sweep_table(rows))
            sweep_figure(table, title=shown_name(args.model)).savefig(output / "sweep.png")
    print(f"written: {output / 'sweep.md'}, {output / 'sweep.json'}, {output / 'sweep.png'}")


def run(args: argparse.Namespace) -> None:
    """Loads model and data, samples, measures, writes; `args` are the words of the command.

    Raises:
        ValueError: for a model or data that do not fit.
        ModuleNotFoundError: where the features need an optional package.
    """
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    selection = Selection(**{field.name: getattr(args, field.name) for field in fields(Selection)})
    pipe = load_pipeline(args.model, args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    channels = pipe.unet.config.in_channels
    if args.guidance_scale is not None and getattr(pipe.unet.config, "num_class_embeds", None) is None:
        raise ValueError("--guidance_scale needs a model with classes; this one has none.")
    network = load_feature_network(args.features, args.classifier)
    known = network.classifier.config.in_channels if args.features == "classifier" else channels
    if channels != known:
        raise ValueError(
            f"This model makes images with {channels} channels, and the classifier {args.classifier} knows images with "
            f"{known}. Give the --classifier of such images, or use --features inception."
        )
    train, test = load_train_and_held_out(
        args.dataset_name, resolution=pipe.unet.config.sample_size, channels=channels,
        held_out_fraction=args.held_out_fraction, seed=args.held_out_seed,
        selection=selection,
    )  # fmt: skip
    print(f"Data: {train.about}")
    for part, whose in ((train, "to train on"), (test, "to measure on")):
        if len(part) < 2:
            raise ValueError(
                f"{args.dataset_name!r} has {len(part)} image(s) {whose}; a covariance needs two at least."
            )
    real = RealImages(train, test, network, seed=args.seed)
    names = ("steps_per_level", "step_size", "guidance_scale")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    (evaluate_once if args.sweep is None else evaluate_sweep)(args, pipe, real, options)
