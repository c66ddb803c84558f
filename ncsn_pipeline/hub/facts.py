"""What the JSON files of a pipeline folder say about the model, read for its card.

    model_index.json, unet/config.json, scheduler/scheduler_config.json   the model itself
    train_config.json    the settings of its training run
    training.json        how that run went: command, steps, time, hardware, data
    evaluation.json      evaluations under "results", or, in an older file, a single one
    sweep.json           distance against network evaluations, under "rows"
    card.json            what no program knows: title, licence, limits, remarks

The evaluation and the sweep are read beside the weights and in the folder `evaluation` there; of both, everything but
results that say that they are of other weights.

Only the first line is needed; what is not known is left out of the card.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from safetensors import safe_open

from ..samplers import SAMPLERS
from .contents import EVALUATIONS, SWEEPS, main_weights, pipeline_files, publishable
from .fingerprints import of_these_weights


@dataclass(frozen=True)
class Result:
    """One measured quality.

    Args:
        sampler: class name of the scheduler.
        nfe: network evaluations for each image.
        count: number of samples.
        frechet: their Frechet distance to the test images; `None` where no features suit them.
        real_frechet: the same of as many real images, or of all if there are fewer.
        real_frechet_std: its standard deviation over draws; `None` where each of them is all real images.
        recognised: part of the samples that a classifier takes for the class that was asked for, in [0, 1].
        steps_per_level: Langevin steps per level.
        seconds: wall-clock time of one image.
        features: the name of the features of distance and recognition.
        measures: what suits any pictures: name -> of the samples, and of as many real images or `None`.
        data: the data set that was compared with where it is another than the training's.
        split: the part of it that was measured on.
        settings: what was not as the model is stored, in words, after a comma each.
        fewer_real: how many real images there were, if not as many as samples.
    """

    sampler: str
    nfe: int
    count: int | None
    frechet: float | None
    real_frechet: float | None = None
    real_frechet_std: float | None = None
    recognised: float | None = None
    steps_per_level: int | None = None
    seconds: float | None = None
    features: str | None = None
    measures: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    data: str | None = None
    split: str | None = None
    settings: str = ""
    fewer_real: int | None = None

    @property
    def ratio(self) -> float | None:
        """Distance over that of as many real images; 1 is as good as real."""
        known = self.real_frechet and self.frechet is not None and not self.fewer_real
        return self.frechet / self.real_frechet if known else None

    @classmethod
    def read(cls, values: dict[str, Any], default_sampler: str, trained_on: str | None = None) -> Self | None:
        """From an entry of `evaluation.json` or a row of `sweep.json`; `None` if nothing was measured."""
        samples, real, neighbours = (values.get(name) or {} for name in ("samples", "real", "sample_neighbours"))
        sampler, arguments = _first(values, "scheduler", "sampler") or "default", values.get("arguments") or {}
        frechet = _first(values, "frechet", "frechet_distance") or samples.get("frechet")
        reference = _first(values, "real_frechet", "reference", "reference_frechet_distance") or real.get("frechet")
        measures = {name: (one["samples"], one.get("real")) for name, one in (values.get("measures") or {}).items()}
        if values.get("sliced_wasserstein") is not None:  # a row of a sweep
            measures["sliced_wasserstein"] = (values["sliced_wasserstein"], values.get("real_sliced_wasserstein"))
        if (frechet is None and not measures) or values.get("nfe") is None:
            return None
        count = _first(values, "count", "num_samples") or samples.get("count") or neighbours.get("count")
        all_real = values.get("num_train_images")
        real_count = real.get("count") or values.get("real_count") or min(filter(None, (count, all_real)), default=None)
        return cls(
            sampler=default_sampler if sampler == "default" else _scheduler_of(sampler),
            nfe=int(values["nfe"]),
            count=count,
            frechet=frechet,
            real_frechet=reference.get("frechet") if isinstance(reference, dict) else reference,
            real_frechet_std=None
            if real_count is not None and real_count == all_real
            else values.get("real_frechet_std") or real.get("frechet_std"),
            recognised=_first(values, "recognised", "agreement"),
            steps_per_level=values.get("steps_per_level"),
            seconds=_first(values, "seconds_per_image", "seconds"),
            features=values.get("features"),
            measures=measures,
            data=None if _same(data := arguments.get("dataset_name"), trained_on) else data,
            split=values.get("split") or arguments.get("test_split"),
            settings=_settings(arguments),
            fewer_real=real_count if real_count and count and real_count < count else None,
        )


@dataclass(frozen=True)
class Facts:
    """Everything a card is made of; each dictionary is empty where its file is missing.

    Args:
        folder: the pipeline folder.
        network: class name and configuration of the network.
        scheduler: class name and configuration of the scheduler.
        num_parameters: number of weights.
        num_bytes: size of the files of weights.
        settings: `train_config.json`.
        training: `training.json`.
        evaluations: entries of `evaluation.json` as they are, without those of other weights.
        results: the same, read.
        sweep: rows of `sweep.json`, read.
        written: `card.json`.
    """

    folder: Path
    network: tuple[str, dict[str, Any]]
    scheduler: tuple[str, dict[str, Any]]
    num_parameters: int
    num_bytes: int
    settings: dict[str, Any]
    training: dict[str, Any]
    evaluations: list[dict[str, Any]]
    results: list[Result]
    sweep: list[Result]
    written: dict[str, Any]

    @property
    def data_name(self) -> str | None:
        """The data set as training was told it: a name on the Hub, or of a folder."""
        return _trained_on(self.settings, self.training)

    @property
    def data_on_the_hub(self) -> list[str]:
        """Names of data sets on the Hub, for the card's metadata."""
        if "datasets" in self.written:
            return list(self.written["datasets"])
        name = self.data_name or ""
        is_local = bool(self.settings.get("train_data_dir")) or Path(name).expanduser().exists()
        return [name] if name.count("/") == 1 and all(name.split("/")) and not is_local else []

    @property
    def trained_sigmas(self) -> list[float]:
        """The noise levels that a network draws at in few evaluations; none for a score at every level."""
        return list(self.network[1].get("trained_sigmas") or [])

    @property
    def sigma_range(self) -> tuple[float, float] | None:
        """Smallest and largest noise level that the network was trained on, in data units."""
        for config in (self.network[1], self.settings, self.scheduler[1]):
            low, high = config.get("sigma_min"), config.get("sigma_max")
            if low is not None and high is not None:
                return low, high
        return None


def read_facts(folder: str | Path) -> Facts:
    """Reads a pipeline folder.

    Raises:
        ValueError: if it is none, or one of its JSON files is not what it should be.
    """
    folder = Path(folder).expanduser()
    pipeline_files(folder)
    index = _read(folder / "model_index.json")
    if not {"unet", "scheduler"} <= index.keys():
        raise ValueError(f"{folder} holds no score network with a sampler: it needs the components unet and scheduler.")
    evaluations = []
    for content in (_read(folder / name) for name in EVALUATIONS):
        evaluations += [entry for entry in content.get("results", [content]) if entry and entry not in evaluations]
    evaluations = of_these_weights(folder, evaluations)
    scheduler = (index["scheduler"][1], _read(folder / "scheduler" / "scheduler_config.json"))
    weights = main_weights(folder / "unet")
    settings, training = _read(folder / "train_config.json"), _read(folder / "training.json")
    trained_on = _trained_on(settings, training)
    results = [Result.read(entry, scheduler[0], trained_on) for entry in evaluations]
    sweeps = [_read(folder / name) for name in SWEEPS]
    shared = ("arguments", "num_train_images")
    rows = [row | {name: found.get(name) for name in shared} for found in sweeps for row in found.get("rows", [])]
    sweep = [Result.read(row, scheduler[0], trained_on) for row in rows]
    return Facts(
        folder=folder,
        network=(index["unet"][1], _read(folder / "unet" / "config.json")),
        scheduler=scheduler,
        num_parameters=sum(map(_num_weights, weights)),
        num_bytes=sum(path.stat().st_size for path in weights),
        settings=settings,
        training=training,
        evaluations=evaluations,
        results=[result for result in results if result],
        sweep=[row for row in sweep if row],
        written=_read(folder / "card.json"),
    )


def _trained_on(settings: dict[str, Any], training: dict[str, Any]) -> str | None:
    known = training.get("dataset")
    name = known.get("name") if isinstance(known, dict) else known
    return name or settings.get("train_data_dir") or settings.get("dataset_name")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Repair it or take it away.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; it must be a dictionary. Repair it or take it away.")
    return publishable(values)


def _num_weights(path: Path) -> int:
    """Number of values in a safetensors file, by the shapes alone."""
    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())


def _same(data: str | None, trained_on: str | None) -> bool:
    """Whether two names are of one data set, as far as is known: of a folder, the last name counts."""
    return data is None or trained_on is None or Path(data).name == Path(trained_on).name


def _settings(arguments: dict[str, Any]) -> str:
    scale, interval = arguments.get("guidance_scale"), arguments.get("guidance_interval")
    text = "" if scale is None else f", guided by {scale:g}"
    text += f" at sigma {interval[0]:g} to {interval[1]:g}" if interval else ""
    text += f", step size {arguments['step_size']:g}" if arguments.get("step_size") else ""
    return text + (f", from sigma {arguments['sigma_max']:g}" if arguments.get("sigma_max") else "")


def _scheduler_of(sampler: str) -> str:
    return SAMPLERS[sampler].scheduler if sampler in SAMPLERS else sampler


def _first(values: dict[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)
