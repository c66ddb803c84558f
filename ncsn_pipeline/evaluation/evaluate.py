"""Samples from a model and measures the samples.

    ncsn evaluate --model pretrained/mnist --num_samples 1000 --output_dir runs/evaluation

writes `evaluation.json` (every number, beside those of other samplers) and `evaluation.png` (samples, their nearest
training images, classes).  With

    ncsn evaluate --model pretrained/mnist --sweep 10,25,50,100,200 --samplers annealed_langevin,consistent

it writes the table of distance against network evaluations: `sweep.md`, `sweep.json`, `sweep.png`.  What the numbers
mean is said in :mod:`.quality` and :mod:`.measures`.  Inside a training loop: `RealImages` once, `evaluate_samples` as
often as wanted.
"""

import argparse
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data import Selection, load_train_and_held_out
from ..data.images import held_out_split
from ..data.sources import open_source
from ..devices import device_named
from ..fingerprint import fingerprint
from ..samplers import sampler_for
from .choosing import choose_features, class_numbers, shown_name, training_data, training_facts
from .figure import evaluation_figure, sweep_figure
from .held_out import denoising_losses
from .measures import FEWEST_IMAGES
from .quality import RealImages, SampleQuality, evaluate_samples
from .results import add_result, read_results, write_json

__all__ = ["RealImages", "SampleQuality", "Sampled", "evaluate_samples", "run", "sample_images", "sweep_table"]

HELD_OUT = "held out"  # in place of a split's name
MORE_IMAGES = (
    "Keep other numbers aside by --held_out_fraction, in training too where these are its data, or give others by "
    "--dataset_name."
)


@dataclass(frozen=True)
class Sampled:
    """Images of a model and what they cost.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        labels: the classes asked for, `(N,)`, in rotation; `None` for a model without classes.
        nfe: network evaluations for each image; two where it is guided.
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
    start, parts, evaluated = time.perf_counter(), [], []
    counting = pipe.unet.register_forward_pre_hook(lambda network, given: evaluated.append(len(given[0])))
    with counting, tqdm(total=count, unit=" images", desc="sampling", leave=False) as progress:
        for first in range(0, count, batch_size):
            size = min(batch_size, count - first)
            if labels is not None:
                options["class_labels"] = labels[first : first + size]
            parts.append(pipe(batch_size=size, generator=generator, output_type="pt", **options).images.cpu())
            progress.update(size)
    seconds = (time.perf_counter() - start) / count
    return Sampled(torch.cat(parts), labels, round(sum(evaluated) / count), seconds)


def load_pipeline(model: str, device: str) -> Any:
    """The pipeline of a folder or Hub repository, silent, on `device`.

    Raises:
        ValueError: if there is none.
    """
    from ..pipelines import NCSNPipeline

    try:
        pipe = NCSNPipeline.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Could not load a model from {model!r}: {error} Give a folder or a name on the Hub."
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def run_description(args: argparse.Namespace, real: RealImages) -> dict[str, Any]:
    """What a result file says about how it came about: arguments, data, machine."""
    arguments = {name: value for name, value in vars(args).items() if name != "output_dir"}
    for name in ("model", "dataset_name", "classifier"):
        arguments[name] = arguments[name] and shown_name(arguments[name])
    packages = ("torch", "diffusers", "torchmetrics", "numpy")
    return {
        "arguments": arguments,
        "num_train_images": len(real.train),
        "num_test_images": len(real.test),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
    }


def evaluate_once(args: argparse.Namespace, pipe: Any, real: RealImages) -> None:
    """Samples once; adds to `evaluation.json` and writes `evaluation.png`."""
    count, output = args.num_samples[0], args.output_dir
    read_results(output / "evaluation.json")  # refused before any work
    pipe.scheduler = sampler_for(pipe.scheduler, args.sampler, args.sigma_max, **langevin_settings(args))
    sampled = sample_images(
        pipe,
        count,
        batch_size=args.batch_size,
        seed=args.seed,
        num_inference_steps=args.num_inference_steps,
        **guidance(args),
    )
    asked = asked_of_data(sampled.labels, pipe, real)
    quality = evaluate_samples(sampled.images, asked, real, seed=args.seed, measures=True)
    is_score = getattr(pipe.unet.config, "trained_sigmas", None) is None
    losses = held_out_losses(pipe, real, args.batch_size) if is_score else {}
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
        "steps_per_level": getattr(pipe.scheduler, "steps_per_level", None),
        "seconds_per_image": sampled.seconds_per_image,
        **quality.numbers(),
        "denoising_loss": losses,
        "closest_pairs": pairs,
        "split": args.test_split or HELD_OUT,
        "weights": fingerprint(pipe.unet.state_dict().values()),
        "test_images": fingerprint([real.test.images]),
        **run_description(args, real),
    }
    stored = add_result(output / "evaluation.json", result)
    num_classes = getattr(pipe.unet.config, "num_class_embeds", None) or 10
    title = f"{shown_name(args.model)}: {count} samples, {sampled.nfe} network evaluations each"
    figure = evaluation_figure(sampled.images, real.train.images, quality, title=title, num_classes=num_classes)
    figure.savefig(output / "evaluation.png")
    print(f"{sampled.nfe} evaluations, {sampled.seconds_per_image:.3f} s per image")
    print("\n".join(lines_of(quality)))
    if losses:
        unseen, seen = (sum(each[name] for each in losses.values()) / len(losses) for name in ("test", "train"))
        print(f"denoising loss of test images: {unseen:.3g} (training images: {seen:.3g}; an untrained U-Net: 0.5)")
    print(f"written: {output / 'evaluation.json'}, {output / 'evaluation.png'}")
    print(*(f"  {line}" for line in stored), sep="\n", end="\n" if stored else "")


def asked_of_data(labels: Tensor | None, pipe: Any, real: RealImages) -> Tensor | None:
    """The classes that were asked for, `(N,)`, in the data's numbering; as they are where the classes differ."""
    numbers = class_numbers(pipe.unet.config, real.test.label_names)
    return labels if labels is None or numbers is None else numbers.argsort()[labels]


def held_out_losses(pipe: Any, real: RealImages, batch_size: int) -> dict[str, dict[str, float]]:
    """Band of noise levels -> the denoising loss of test images and of as many training images.

    Of the null class where the model does not have the classes of both.
    """
    count, parts = min(len(real.test), len(real.train)), {"test": real.test, "train": real.train}
    numbers = class_numbers(pipe.unet.config, real.test.label_names)
    known = numbers is not None and all(data.labels is not None for data in parts.values())
    found = {
        name: denoising_losses(
            pipe, data.images[:count], numbers[data.labels[:count]] if known else None, batch_size=batch_size
        )
        for name, data in parts.items()
    }
    return {band: {name: losses[band] for name, losses in found.items()} for band in found["test"]}


def lines_of(quality: SampleQuality) -> list[str]:
    """What was measured, in words, a line each."""
    lines = []
    if quality.samples is not None:
        lines += [
            f"in the features of {quality.features}: Frechet distance {quality.samples.frechet:.3g} "
            f"({quality.real.count:,} real images: {quality.real.frechet:.3g}), kernel distance "
            f"{1e3 * quality.samples.kernel:.2f}e-3 (real: {1e3 * quality.real.kernel:.2f}e-3)"
        ]
    if quality.agreement is not None:
        lines.append(f"recognised as the class asked for: {100 * quality.agreement:.1f} %")
    for name, measured in quality.measures.items():
        reference = "" if measured.real is None else f" (real images: {measured.real:.3g})"
        lines.append(f"{name.replace('_', ' ')}: {measured.samples:.3g}{reference}")
    if quality.closer_than_test is not None:
        lines.append(f"nearer to a training image than 99 % of test images: {100 * quality.closer_than_test:.1f} %")
    return lines


@dataclass(frozen=True)
class SweepRow:
    """One sampler, number of evaluations and number of samples; `real_*` are those of as many real images.

    Where there are fewer, `real_count` of them, there is no `ratio`.
    Without features for such pictures the distance is the sliced Wasserstein distance, and `frechet` is `None`.
    """

    scheduler: str
    steps_per_level: int | None
    nfe: int
    count: int
    features: str | None
    frechet: float | None
    real_frechet: float | None
    real_count: int | None
    ratio: float | None
    kernel: float | None
    real_kernel: float | None
    sliced_wasserstein: float | None
    real_sliced_wasserstein: float | None
    agreement: float | None
    seconds_per_image: float

    @classmethod
    def of(cls, scheduler: str, steps: int | None, sampled: Sampled, count: int, quality: SampleQuality) -> "SweepRow":
        """The row of one set of samples."""
        samples, real = quality.samples, quality.real
        distance = quality.measures.get("sliced_wasserstein")
        return cls(
            scheduler=scheduler,
            steps_per_level=steps,
            nfe=sampled.nfe,
            count=count,
            features=quality.features,
            frechet=samples and samples.frechet,
            real_frechet=real and real.frechet,
            real_count=real and real.count,
            ratio=quality.ratio,
            kernel=samples and samples.kernel,
            real_kernel=real and real.kernel,
            sliced_wasserstein=distance and distance.samples,
            real_sliced_wasserstein=distance and distance.real,
            agreement=quality.agreement,
            seconds_per_image=sampled.seconds_per_image,
        )


def sweep_table(rows: Sequence[SweepRow]) -> str:
    """Rows as a Markdown table; columns that no row fills are left out."""

    def shown(value: float | None, kind: str = ".3g", factor: float = 1, unit: str = "") -> str:
        return "" if value is None else f"{factor * value:{kind}}{unit}"

    columns = {
        "scheduler": [row.scheduler for row in rows],
        "steps per level": [str(row.steps_per_level or "") for row in rows],
        "evaluations": [str(row.nfe) for row in rows],
        "samples": [str(row.count) for row in rows],
        "Frechet distance": [shown(row.frechet) for row in rows],
        "real images": [
            shown(row.real_frechet, unit="" if row.real_count in (None, row.count) else f" ({row.real_count:,} images)")
            for row in rows
        ],
        "ratio": [shown(row.ratio, ".2f") for row in rows],
        "kernel distance x 1000": [shown(row.kernel, ".2f", 1e3) for row in rows],
        "of real images": [shown(row.real_kernel, ".2f", 1e3) for row in rows],
        "sliced Wasserstein": [shown(row.sliced_wasserstein) for row in rows],
        "that of real images": [shown(row.real_sliced_wasserstein) for row in rows],
        "class recognised": [shown(row.agreement, ".1f", 100, " %") for row in rows],
        "s/image": [shown(row.seconds_per_image, ".3f") for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells) or not rows}
    lines = [filled, ["---"] * len(filled), *zip(*filled.values(), strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _those_set(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def langevin_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags set of annealed Langevin dynamics."""
    return _those_set(args, "steps_per_level", "step_size")


def guidance(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of the pipeline's call that the flags ask for."""
    return _those_set(args, "guidance_scale", "guidance_interval")


def sweep_scheduler(args: argparse.Namespace, own: Any, name: str) -> Any:
    """The scheduler of one row, made from the model's own."""
    settings = langevin_settings(args) if name == "annealed_langevin" else {}
    return sampler_for(own, name, args.sigma_max, **settings)


def check_sweep(args: argparse.Namespace, pipe: Any) -> None:
    """Begins every row of a sweep with one image.

    Raises:
        ValueError: for a row that the model cannot be sampled by.
    """

    def stop(pipe: Any, i: int, sigma: Tensor, tensors: dict[str, Tensor]) -> None:
        pipe.interrupt = True

    own, classes = pipe.scheduler, getattr(pipe.unet.config, "num_class_embeds", None)
    for name in args.samplers:
        for nfe in args.sweep:
            pipe.scheduler = sweep_scheduler(args, own, name)
            try:
                pipe(
                    batch_size=1,
                    generator=torch.Generator().manual_seed(args.seed),
                    output_type="pt",
                    num_inference_steps=nfe,
                    class_labels=None if classes is None else torch.zeros(1, dtype=torch.long),
                    callback_on_step_end=stop,
                    **guidance(args),
                )
            except ValueError as error:
                raise ValueError(f"--sweep {nfe} by {name} is not possible: {error}") from error
    pipe.scheduler = own


def evaluate_sweep(args: argparse.Namespace, pipe: Any, real: RealImages) -> None:
    """Samples for every scheduler and number of evaluations; writes `sweep.*` after each."""
    output, rows = args.output_dir, []
    own_scheduler = pipe.scheduler
    for name in args.samplers:
        for nfe in args.sweep:
            pipe.scheduler = sweep_scheduler(args, own_scheduler, name)
            sampled = sample_images(
                pipe,
                max(args.num_samples),
                batch_size=args.batch_size,
                seed=args.seed,
                num_inference_steps=nfe,
                **guidance(args),
            )
            steps = getattr(pipe.scheduler, "steps_per_level", None) if name == "annealed_langevin" else None
            asked = asked_of_data(sampled.labels, pipe, real)
            for count in args.num_samples:
                labels = None if asked is None else asked[:count]
                quality = evaluate_samples(sampled.images[:count], labels, real, seed=args.seed)
                row = SweepRow.of(name, steps, sampled, count, quality)
                rows.append(row)
                print(f"{name} {nfe}, {count} samples: {lines_of(quality)[0]}")
            table = [asdict(row) for row in rows]
            write_json(output / "sweep.json", {"rows": table, **run_description(args, real)})
            (output / "sweep.md").write_text(sweep_table(rows), encoding="utf-8")
            sweep_figure(table, title=shown_name(args.model)).savefig(output / "sweep.png")
    print(f"written: {output / 'sweep.md'}, {output / 'sweep.json'}, {output / 'sweep.png'}")


def divide_as_trained(args: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Sets what is `None` of how the data are read and divided as training had it, or to training's defaults.

    Args:
        args: the words of the command.
        facts: the settings of the training, with its `seed`; empty for other data.
    """
    defaults = asdict(Selection()) | {"held_out_fraction": 0.05, "held_out_seed": 0}
    own = dict(facts, held_out_seed=facts.get("seed"))
    for name, default in defaults.items():
        if getattr(args, name) is None:
            known = own.get(name)
            setattr(args, name, default if known is None else known)


def check_unseen(args: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Refuses to keep others of the training images aside than training did.

    Raises:
        ValueError: for another seed, or a larger fraction; those of a smaller one are among what training kept aside.
    """
    fraction, seed = facts.get("held_out_fraction"), facts.get("seed")
    if args.test_split is not None or fraction is None or seed is None:
        return
    if args.held_out_fraction > fraction or args.held_out_seed != seed:
        raise ValueError(
            f"Training kept {fraction:g} of these images aside, by seed {seed}; with --held_out_fraction "
            f"{args.held_out_fraction:g} and --held_out_seed {args.held_out_seed} some of those to measure on are ones "
            "that it was trained on. Leave both out, or give other images by --dataset_name."
        )


def split_to_measure_on(source: str, selection: Selection, *, streamed: bool) -> str | None:
    """The name of the split; `None` where some of the training images are kept aside instead.

    Args:
        source: the data set.
        selection: what was asked for.
        streamed: whether training read these data as a stream.  It kept the first images aside, which are not those
            kept aside here.

    Raises:
        ValueError: for data without a split that training streamed.
    """
    if selection.test_split is not None:
        return selection.test_split
    split = held_out_split(open_source(source, streaming=streamed, selection=selection).parts, selection)
    if split is None and streamed:
        raise ValueError(
            f"The model was trained on a stream of {source!r}, which has no split to measure on: images drawn from it "
            "now are ones that it was trained on. Give others by --dataset_name, or a --test_split."
        )
    return split


def run(args: argparse.Namespace) -> None:
    """Loads model and data, samples, measures, writes; `args` are the words of the command.

    Raises:
        ValueError: for a model or data that do not fit.
        OSError: for a cache folder or an output folder that cannot be written.
        ModuleNotFoundError: where the features need an optional package.
        FloatingPointError: for samples that are not finite.
    """
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    pipe = load_pipeline(args.model, device_named(args.device))
    channels, size = pipe.unet.config.in_channels, pipe.unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ValueError(f"The model's images are {height}x{width}; only square ones can be measured.")
    if args.guidance_scale is not None and getattr(pipe.unet.config, "num_class_embeds", None) is None:
        raise ValueError("--guidance_scale needs a model with classes; this one has none.")
    # Refuses what makes no sense before anything is read.
    pipe.guidance_scale, pipe.guidance_interval = args.guidance_scale, args.guidance_interval
    if args.sweep is not None:
        is_score = getattr(pipe.unet.config, "trained_sigmas", None) is None
        args.samplers = args.samplers or (["annealed_langevin", "consistent"] if is_score else ["consistent"])
        check_sweep(args, pipe)
    facts = training_facts(args.model)
    trained_on = training_data(facts)
    args.dataset_name = args.dataset_name or trained_on
    if args.dataset_name is None:
        raise ValueError(f"The model {args.model!r} does not say what it was trained on. Give --dataset_name.")
    network, why_not = choose_features(args.features, args.classifier, args.dataset_name, trained_on, channels)
    if why_not:
        print(why_not)
    divide_as_trained(args, facts if args.dataset_name == trained_on else {})
    selection = Selection(**{field.name: getattr(args, field.name) for field in fields(Selection)})
    streamed = bool(facts.get("streaming")) and args.dataset_name == trained_on
    args.test_split = split_to_measure_on(args.dataset_name, selection, streamed=streamed)
    selection = replace(selection, test_split=args.test_split)
    check_unseen(args, facts if args.dataset_name == trained_on else {})
    train, test = load_train_and_held_out(
        args.dataset_name, resolution=height, channels=channels,
        held_out_fraction=args.held_out_fraction, seed=args.held_out_seed,
        selection=selection,
    )  # fmt: skip
    print(f"Data: {train.about}")
    for part, whose in ((train, "to train on"), (test, "to measure on")):
        if len(part) < 2:
            raise ValueError(
                f"{args.dataset_name!r} has {len(part)} image(s) {whose}; a covariance needs two at least. "
                f"{MORE_IMAGES}"
            )
    if min(len(test), *args.num_samples) < FEWEST_IMAGES:
        print(
            f"Only {len(test)} images to measure on and {min(args.num_samples)} samples: distances are rough. What "
            f"tells samples from real images, and copies, is left out below {FEWEST_IMAGES} of either. {MORE_IMAGES}"
        )
    real = RealImages(train, test, network, seed=args.seed)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (evaluate_once if args.sweep is None else evaluate_sweep)(args, pipe, real)
