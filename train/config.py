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

REFINENETS = ("ncsn", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest")


def _option(default: object, description: str, **extra: object) -> Any:
    """A setting; `choices` are its valid values, `only` the values of other settings that it has a meaning with."""
    return dataclasses.field(default=default, repr=not extra.get("secret"), metadata={"help": description, **extra})


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
    channels: int | None = _option(None, "1 for grey, 3 for colour; by default 3 if any image has colour")
    data_min: float = _option(0.0, "the value of black in the model's own range")
    data_max: float = _option(1.0, "the value of white in the model's own range")
    held_out_fraction: float = _option(0.05, "part of the images kept aside where the data set has no test split")
    use_labels: bool = _option(True, "condition the model on the classes, if the data set has any")
    class_dropout: float = _option(0.1, "part of the labels replaced by the null class, for classifier-free guidance")
    random_flip: bool = _option(False, "mirror every other training image, left to right, at random")
    uniform_dequantization: bool = _option(
        False, "spread each byte b over (b + u) / 256, u uniform in [0, 1), in place of b / 255"
    )

    streaming: bool = _option(False, "read images while training, for a data set larger than the memory or the disk")
    shuffle_buffer: int = _option(10_000, "images that each process of a stream holds to shuffle them")

    # Network
    network: str = _option(
        "score_unet", "this project's U-Net, or a RefineNet of the papers", choices=("score_unet", *REFINENETS)
    )
    base_channels: int | None = _option(
        None, "channels of a RefineNet at full size; by default 128", only={"network": REFINENETS}
    )
    block_out_channels: tuple[int, ...] = _option(
        (16, 32, 64), "channels of the U-Net at each resolution, from full size down", only={"network": ("score_unet",)}
    )
    layers_per_block: int = _option(1, "residual blocks a level of the U-Net", only={"network": ("score_unet",)})
    attention_levels: tuple[int, ...] | None = _option(
        None, "levels of the U-Net with attention; by default the smallest", only={"network": ("score_unet",)}
    )
    init_from: str | None = _option(None, "a pipeline folder whose trained network is the start")

    # Objective
    objective: str = _option(
        "denoising",
        "denoising or sliced score matching over all noise levels, or denoising at the one level sigma_min",
        choices=("denoising", "sliced", "single_sigma"),
    )
    num_projections: int = _option(
        1, "directions an image, each one more backward pass", only={"objective": ("sliced",)}
    )

    # Noise levels
    sigma_min: float = _option(0.01, "smallest noise level, in units of the data")
    sigma_max: float | None = _option(None, "largest noise level; by default the largest pairwise distance of the data")
    sigma_data: float | None = _option(None, "standard deviation of the pixels; by default measured")
    sigma_distribution: str = _option(
        "mixture",
        "how noise levels are drawn",
        choices=("mixture", "lognormal", "loguniform", "levels"),
        only={"objective": ("denoising", "sliced")},
    )
    sigma_log_mean: float = _option(-1.5, "mean of ln sigma, for lognormal and mixture")
    sigma_log_std: float = _option(1.3, "standard deviation of ln sigma, for lognormal and mixture")
    sigma_lognormal_fraction: float = _option(0.75, "part of a mixture that is lognormal; the rest is loguniform")
    num_levels: int = _option(
        50,
        "levels of the saved noise schedule, and of the distribution `levels`",
        only={"objective": ("denoising", "sliced")},
    )
    loss_weight: str = _option("edm", "lambda(sigma): EDM's, or sigma squared", choices=("edm", "sigma_squared"))

    # Sampler
    scheduler: str = _option(
        "consistent",
        "sampler of the grids and of the saved pipeline: consistent annealed sampling, or annealed Langevin dynamics",
        choices=("consistent", "annealed_langevin"),
    )
    steps_per_level: int = _option(5, "Langevin steps at each level", only={"scheduler": ("annealed_langevin",)})
    step_size: float | None = _option(
        None,
        "Langevin step at sigma_min, in squared units of the data; by default by NCSNv2's technique 4",
        only={"scheduler": ("annealed_langevin",)},
    )
    denoise: bool = _option(
        True, "end annealed Langevin dynamics with a denoising step", only={"scheduler": ("annealed_langevin",)}
    )
    initial: str = _option(
        "normal",
        "where annealed Langevin dynamics starts: noise of sigma_max, or uniform over the data's range",
        choices=("normal", "uniform"),
        only={"scheduler": ("annealed_langevin",)},
    )

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
    adam_epsilon: float = _option(1e-8, "AdamW's epsilon; the loss is a mean over dimensions")
    max_grad_norm: float = _option(1.0, "gradients are clipped to this norm; 0 for no clipping")
    use_ema: bool = _option(True, "save an exponential moving average of the weights")
    ema_decay: float = _option(0.999, "decay of the average, reached after a warm-up")
    mixed_precision: str = _option(
        "no", "precision of the network; noise and loss stay float32", choices=("no", "fp16", "bf16")
    )
    torch_compile: bool = _option(False, "compile the network; its gradients are compared with the eager ones first")
    channels_last: bool = _option(False, "keep channels last in memory: faster for RefineNets, and on a GPU in bf16")
    seed: int = _option(0, "seed of the weights, the order of the images, and all noise")
    dataloader_num_workers: int = _option(
        0, "processes that read images ahead; for streaming, since else they are in memory"
    )

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
    report_to: str | tuple[str, ...] | None = _option(
        "tensorboard", "experiment trackers, with commas between: tensorboard, wandb, trackio; or `none`"
    )
    quality_samples: int = _option(
        0, "samples drawn with each held-out loss, whose distance to the data is logged; 0 for none"
    )

    # The Hub
    push_to_hub: bool = _option(False, "push the pipeline folder with its card to the Hub")
    hub_model_id: str | None = _option(None, "repository to push to; by default output_dir's name under your account")
    hub_private_repo: bool = _option(False, "make a repository that is new a private one")
    hub_token: str | None = _option(
        None, "a token with write access; by default the one of HF_TOKEN or `hf auth login`", secret=True
    )
    hub_strategy: str = _option(
        "end", "push once, at the end, or at every checkpoint too", choices=("end", "checkpoint")
    )

    def __post_init__(self) -> None:
        if (self.dataset_name is None) == (self.train_data_dir is None):
            raise ValueError("Give one of dataset_name (a data set on the Hub, a folder, `digits`) and train_data_dir.")
        for name in ("max_train_steps", "train_batch_size", "gradient_accumulation_steps", "num_levels",
                     "logging_steps", "validation_steps", "checkpointing_steps", "num_validation_images",
                     "num_sample_images", "layers_per_block", "base_channels", "num_projections",
                     "steps_per_level"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        if self.num_validation_images < 8:
            raise ValueError(f"num_validation_images must be at least 8, one a band; got {self.num_validation_images}.")
        for name in ("lr_warmup_steps", "lr_decay_steps", "dataloader_num_workers", "adam_weight_decay", "seed",
                     "quality_samples", "shuffle_buffer"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}.")
        for name in ("class_dropout", "held_out_fraction", "sigma_lognormal_fraction", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; got {getattr(self, name)}.")
        for name in ("learning_rate", "adam_epsilon", "sigma_log_std", "sigma_min", "sigma_data", "sigma_max"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and > 0; got {value}.")
        if not 0 <= self.max_grad_norm < math.inf:
            raise ValueError(f"max_grad_norm must be finite, and 0 for no clipping; got {self.max_grad_norm}.")
        if self.step_size is not None and not 0 < self.step_size < 2 * self.sigma_min**2:
            raise ValueError(
                f"step_size must lie within (0, 2 sigma_min²) = (0, {2 * self.sigma_min**2:g}), beyond which Langevin "
                f"dynamics diverges; got {self.step_size}."
            )
        if self.quality_samples == 1:
            raise ValueError("quality_samples must be 0 or at least 2: a covariance needs two images.")
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
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Refuses settings that contradict each other or would have no effect."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for other, values in field.metadata.get("only", {}).items():
                if value != field.default and getattr(self, other) not in values:
                    raise ValueError(
                        f"{field.name} = {value} has no effect with {other} {getattr(self, other)}, only with "
                        f"{' or '.join(values)}. Leave it out."
                    )
        if self.objective == "single_sigma":
            if self.sigma_max not in (None, self.sigma_min):
                raise ValueError(
                    f"single_sigma trains at one level, sigma_min = {self.sigma_min}; sigma_max is {self.sigma_max}. "
                    "Leave sigma_max out."
                )
        elif self.sigma_max is not None and self.sigma_max <= self.sigma_min:
            raise ValueError(f"sigma_max must exceed sigma_min = {self.sigma_min}; got {self.sigma_max}.")
        if self.objective == "sliced" and self.mixed_precision == "fp16":
            raise ValueError(
                "The sliced objective's inner derivative underflows in fp16, since only the outer one is scaled. Set "
                "mixed_precision to bf16 or no."
            )
        if self.network in REFINENETS:
            if self.use_labels:
                raise ValueError(f"The network {self.network} takes no labels. Set use_labels to false.")
            if (self.data_min, self.data_max) != (0, 1):
                raise ValueError(
                    f"The network {self.network} takes images in [0, 1]; data_min and data_max are {self.data_min} "
                    f"and {self.data_max}. Leave them out."
                )
        if self.network == "ncsn" and self.objective != "single_sigma" and self.sigma_distribution != "levels":
            raise ValueError(
                "The network ncsn knows only its own levels; sigma_distribution is "
                f"{self.sigma_distribution}. Set it to levels."
            )

    @property
    def schedule_length(self) -> int:
        """Noise levels of the saved scheduler and of the network `ncsn`: one for a single sigma."""
        return 1 if self.objective == "single_sigma" else self.num_levels

    @classmethod
    def secrets(cls) -> set[str]:
        """The settings that are never written down or shown."""
        return {field.name for field in dataclasses.fields(cls) if field.metadata.get("secret")}

    def public(self) -> dict[str, Any]:
        """All settings but the secrets."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in self.secrets()}

    def flags(self) -> list[str]:
        """The command line flags of the settings that are not the default ones, without the secrets."""
        words = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default or value is None or field.name in self.secrets():
                continue
            if isinstance(value, bool):
                words.append(f"--{'' if value else 'no-'}{field.name}")
            elif isinstance(value, tuple) and isinstance(value[0], str):
                words += [f"--{field.name}", ",".join(value)]
            else:
                words += [f"--{field.name}", *map(str, value if isinstance(value, tuple) else [value])]
        return words

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
        parser = argparse.ArgumentParser(
            description="Trains a score network on images.", formatter_class=_Formatter, allow_abbrev=False
        )
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
