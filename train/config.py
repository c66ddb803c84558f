"""Everything a training run can be told, in one frozen dataclass.

Values come from here, are replaced by those of a YAML file (`--config train/configs/mnist.yaml`), and those by flags of
the same name (`--learning_rate 1e-4`).  Flags are spelled as in the training examples of diffusers.
"""

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml


def _option(default: object, description: str, **extra: object) -> Any:
    return dataclasses.field(default=default, metadata={"help": description, **extra})


@dataclass(frozen=True)
class TrainConfig:
    """The settings of `train/train.py`; the description of each is what `--help` prints.

    Raises:
        ValueError: for a value outside its range, saying which range that is.
    """

    # Data
    dataset_name: str | None = _option(None, "a data set on the Hub, a local folder in the same layout, or `digits`")
    train_data_dir: str | None = _option(None, "a folder of images, in place of dataset_name")
    resolution: int | None = _option(None, "side of the images in pixels; by default as they are")
    channels: int | None = _option(None, "1 for grey, 3 for colour; by default as the first image is")
    data_min: float = _option(0.0, "the value of black in the model's own range")
    data_max: float = _option(1.0, "the value of white in the model's own range")
    held_out_fraction: float = _option(0.05, "part of the images kept aside where the data set has no test split")
    use_labels: bool = _option(True, "condition the model on the classes, if the data set has any")
    class_dropout: float = _option(0.1, "part of the labels replaced by the null class, for classifier-free guidance")

    # Network
    block_out_channels: tuple[int, ...] = _option((16, 32, 64), "channels at each resolution, from full size down")
    layers_per_block: int = _option(1, "residual blocks a level")
    attention_levels: tuple[int, ...] | None = _option(None, "levels with attention; by default the smallest")
    init_from: str | None = _option(None, "a pipeline folder whose trained network is the start")

    # Noise levels
    sigma_min: float = _option(0.01, "smallest noise level, in units of the data")
    sigma_max: float | None = _option(None, "largest noise level; by default the largest pairwise distance of the data")
    sigma_data: float | None = _option(None, "standard deviation of the pixels; by default measured")
    sigma_distribution: str = _option(
        "mixture", "how noise levels are drawn", choices=("mixture", "lognormal", "loguniform", "ladder")
    )
    sigma_log_mean: float = _option(-1.5, "mean of ln sigma, for lognormal and mixture")
    sigma_log_std: float = _option(1.3, "standard deviation of ln sigma, for lognormal and mixture")
    sigma_lognormal_fraction: float = _option(0.75, "part of a mixture that is lognormal; the rest is loguniform")
    num_levels: int = _option(50, "levels of the ladder in the saved scheduler, and of the ladder distribution")
    loss_weight: str = _option("edm", "lambda(sigma): EDM's, or sigma squared", choices=("edm", "sigma_squared"))

    # Optimisation
    max_train_steps: int = _option(20_000, "updates of the weights")
    train_batch_size: int = _option(64, "images a process and step")
    gradient_accumulation_steps: int = _option(1, "batches whose gradients are added up for one update")
    learning_rate: float = _option(1.5e-3, "peak learning rate of AdamW")
    lr_warmup_steps: int = _option(500, "updates over which the learning rate rises from 0")
    lr_decay_steps: int = _option(0, "last updates, over which the learning rate falls linearly to 0; 0 for none")
    adam_beta1: float = _option(0.9, "AdamW's beta 1")
    adam_beta2: float = _option(0.99, "AdamW's beta 2")
    adam_weight_decay: float = _option(0.0, "AdamW's weight decay")
    max_grad_norm: float = _option(1.0, "gradients are clipped to this norm")
    use_ema: bool = _option(True, "save an exponential moving average of the weights")
    ema_decay: float = _option(0.999, "decay of the average, reached after a warm-up")
    mixed_precision: str = _option(
        "no", "precision of the network; noise and loss stay float32", choices=("no", "fp16", "bf16")
    )
    seed: int = _option(0, "seed of the weights, the order of the images, and all noise")
    dataloader_num_workers: int = _option(0, "worker processes for data; the images are in memory, so none is best")

    # What is written, and when
    output_dir: str = _option("runs/train", "becomes a loadable pipeline folder")
    logging_steps: int = _option(50, "steps between two logged training losses")
    validation_steps: int = _option(1000, "steps between two held-out losses and sample grids")
    num_validation_images: int = _option(1024, "held-out images of the loss, at least 8")
    num_sample_images: int = _option(40, "images of the grid")
    checkpointing_steps: int = _option(1000, "steps between two checkpoints")
    checkpoints_total_limit: int | None = _option(2, "older checkpoints are deleted")
    resume_from_checkpoint: str | None = _option(
        None, "a checkpoint folder, or `latest` in output_dir; checkpoints beyond an earlier one are given up"
    )
    report_to: str | None = _option("tensorboard", "an experiment tracker of accelerate, or `none`")

    def __post_init__(self) -> None:
        if (self.dataset_name is None) == (self.train_data_dir is None):
            raise ValueError("Give one of dataset_name (a data set on the Hub, a folder, `digits`) and train_data_dir.")
        for name in ("max_train_steps", "train_batch_size", "gradient_accumulation_steps", "num_levels",
                     "logging_steps", "validation_steps", "checkpointing_steps", "num_validation_images",
                     "num_sample_images", "layers_per_block"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if self.num_validation_images < 8:
            raise ValueError(f"num_validation_images must be at least 8, one a band; got {self.num_validation_images}.")
        for name in ("lr_warmup_steps", "lr_decay_steps", "dataloader_num_workers", "adam_weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}.")
        for name in ("class_dropout", "held_out_fraction", "sigma_lognormal_fraction", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; got {getattr(self, name)}.")
        for name in ("learning_rate", "max_grad_norm", "sigma_log_std", "sigma_min", "sigma_data", "sigma_max"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and > 0; got {value}.")
        if self.sigma_max is not None and self.sigma_max <= self.sigma_min:
            raise ValueError(f"sigma_max must exceed sigma_min = {self.sigma_min}; got {self.sigma_max}.")
        if self.held_out_fraction == 1:
            raise ValueError("held_out_fraction must be below 1, so that images are left to train on.")
        if not self.data_min < self.data_max:
            raise ValueError(f"data_min must be below data_max; got {self.data_min} and {self.data_max}.")
        if self.checkpoints_total_limit is not None and self.checkpoints_total_limit < 1:
            raise ValueError(f"checkpoints_total_limit must be at least 1; got {self.checkpoints_total_limit}.")
        for field in dataclasses.fields(self):
            choices = field.metadata.get("choices")
            if choices and getattr(self, field.name) not in choices:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(choices)}; got {getattr(self, field.name)!r}."
                )

    @property
    def source(self) -> str:
        """The data set: `train_data_dir` where it is given, else `dataset_name`."""
        return self.train_data_dir or self.dataset_name or ""

    @classmethod
    def from_command_line(cls, arguments: Sequence[str] | None = None) -> Self:
        """Reads `--config FILE` and the flags that replace its values.

        Raises:
            SystemExit: for an unknown flag, key or value, with a message that names it.
        """
        parser = argparse.ArgumentParser(description="Trains a score network on images.", formatter_class=_Formatter)
        parser.add_argument("--config", type=Path, help="a YAML file with any of the settings below")
        types_of = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            parser.add_argument(f"--{field.name}", **_argument(field, types_of[field.name]))
        given = vars(parser.parse_args(arguments))
        path = given.pop("config")
        try:
            settings = _read_yaml(path, types_of)
            if {"dataset_name", "train_data_dir"} & given.keys():  # one replaces the other
                settings = {k: v for k, v in settings.items() if k not in ("dataset_name", "train_data_dir")}
            settings |= given
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
        except (ValueError, TypeError) as error:
            parser.error(str(error))


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36, width=120)


def _argument(field: dataclasses.Field, hint: object) -> dict[str, Any]:
    """How argparse reads one field: no default, so that a flag which was not given leaves the file's value."""
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not types.NoneType]
    kind = kinds[0] if isinstance(hint, types.UnionType) else hint
    shown = "" if field.default is None else f" (default: {field.default})"
    argument: dict[str, Any] = {"default": argparse.SUPPRESS, "help": field.metadata["help"].replace("%", "%%") + shown}
    if kind is bool:
        return argument | {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(kind) is tuple:
        return argument | {"type": int, "nargs": "+"}
    return argument | {"type": kind, "choices": field.metadata.get("choices")}


def _read_yaml(path: Path | None, types_of: dict[str, object]) -> dict[str, Any]:
    if path is None:
        return {}
    if not path.is_file():
        raise ValueError(f"There is no configuration file {path}.")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold settings as `name: value`; it holds a {type(values).__name__}.")
    unknown = sorted(set(values) - set(types_of))
    if unknown:
        raise ValueError(f"{path} has unknown settings: {', '.join(unknown)}. --help lists the known ones.")
    for name, value in values.items():
        if isinstance(value, str) and float in (types_of[name], *typing.get_args(types_of[name])):
            values[name] = float(value)  # YAML reads 1e-3 as text
        elif value is not None and not isinstance(value, _accepted(types_of[name])):
            raise ValueError(f"{path}: {name} is {value!r}, which is not of type {types_of[name]}.")
    return values


def _accepted(hint: object) -> tuple[type, ...]:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = tuple(list if typing.get_origin(kind) is tuple else kind for kind in kinds)
    return (*plain, int) if float in plain else plain
