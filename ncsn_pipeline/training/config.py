"""Everything a training run can be told, in one frozen dataclass; :mod:`.settings` reads it from YAML and flags."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from .settings import check_types, flags_of, option, read_command_line

RefineNet = Literal["ncsn", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest"]
REFINENETS = get_args(RefineNet)
# What may be a path: a shell leaves the `~` of `--output_dir=~/runs`, and nobody else writes it out.
PATHS = ("dataset_name", "train_data_dir", "init_from", "output_dir", "resume_from_checkpoint")
RECIPES = Path(__file__).with_name("configs")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run; the description of each is what `--help` prints.

    Raises:
        ValueError: for a value of another type or outside its range, or settings that contradict each other.
    """

    # Data
    dataset_name: str | None = option(None, "a data set on the Hub, a local folder in the same layout, or `digits`")
    train_data_dir: str | None = option(None, "a folder of images, in place of dataset_name")
    dataset_config_name: str | None = option(None, "one of the configurations of a data set on the Hub")
    train_split: str = option("train", "the part of the data set to train on")
    test_split: str | None = option(
        None, "the part to measure on; by default `test` or `validation`, or some of the training images"
    )
    image_column: str | None = option(None, "the column of images, where there are several")
    label_column: str | None = option(None, "the column of classes, where there are several")
    resolution: int | None = option(None, "side of the images in pixels; by default as they are", ge=1)
    channels: int | None = option(None, "1 for grey, 3 for colour; by default 3 if any image has colour")
    data_min: float = option(0.0, "the value of black in the model's own range")
    data_max: float = option(1.0, "the value of white in the model's own range")
    held_out_fraction: float = option(
        0.05, "part of the images kept aside where the data set has no test split", ge=0, lt=1
    )
    use_labels: bool = option(True, "condition the model on the classes, if the data set has any")
    class_dropout: float = option(
        0.1, "part of the labels replaced by the null class, for classifier-free guidance", ge=0, le=1
    )
    random_flip: bool = option(False, "mirror every other training image, left to right, at random")
    uniform_dequantization: bool = option(
        False, "spread each byte b over (b + u) / 256, u uniform in [0, 1), in place of b / 255"
    )

    streaming: bool = option(False, "read images while training, for a data set larger than the memory or the disk")
    shuffle_buffer: int = option(10_000, "images that each process of a stream holds to shuffle them", ge=0)

    # Network
    network: Literal["score_unet", RefineNet] = option(
        "score_unet", "this project's U-Net, or a RefineNet of the papers"
    )
    base_channels: int | None = option(
        None, "channels of a RefineNet at full size; by default 128", only={"network": REFINENETS}, ge=1
    )
    block_out_channels: tuple[int, ...] = option(
        (16, 32, 64), "channels of the U-Net at each resolution, from full size down", only={"network": ("score_unet",)}
    )
    layers_per_block: int = option(1, "residual blocks per level of the U-Net", only={"network": ("score_unet",)}, ge=1)
    attention_levels: tuple[int, ...] | None = option(
        None, "levels of the U-Net with attention; by default the smallest", only={"network": ("score_unet",)}
    )
    init_from: str | None = option(None, "a pipeline folder whose trained network is the start")

    # Objective
    objective: Literal["denoising", "sliced", "single_sigma"] = option(
        "denoising", "denoising or sliced score matching over all noise levels, or denoising at the one level sigma_min"
    )
    num_projections: int = option(
        1, "directions per image, each one more backward pass", only={"objective": ("sliced",)}, ge=1
    )

    # Noise levels
    sigma_min: float = option(0.01, "smallest noise level, in units of the data", gt=0)
    sigma_max: float | None = option(
        None, "largest noise level; by default the largest pairwise distance of the data", gt=0
    )
    sigma_data: float | None = option(None, "standard deviation of the pixels; by default measured", gt=0)
    data_mean: float | None = option(None, "mean of the pixels; by default measured", only={"network": ("score_unet",)})
    sigma_distribution: Literal["mixture", "lognormal", "loguniform", "levels"] = option(
        "mixture", "how noise levels are drawn", only={"objective": ("denoising", "sliced")}
    )
    sigma_log_mean: float = option(-1.5, "mean of ln sigma, for lognormal and mixture")
    sigma_log_std: float = option(1.3, "standard deviation of ln sigma, for lognormal and mixture", gt=0)
    sigma_lognormal_fraction: float = option(
        0.75, "part of a mixture that is lognormal; the rest is loguniform", ge=0, le=1
    )
    num_levels: int = option(
        50,
        "levels of the saved noise schedule, and of the distribution `levels`",
        only={"objective": ("denoising", "sliced")},
        ge=1,
    )
    loss_weight: Literal["edm", "sigma_squared"] = option("edm", "lambda(sigma): EDM's, or sigma squared")

    # Sampler
    scheduler: Literal["consistent", "annealed_langevin"] = option(
        "consistent",
        "sampler of the grids and of the saved pipeline: consistent annealed sampling, or annealed Langevin dynamics",
    )
    steps_per_level: int = option(5, "Langevin steps at each level", only={"scheduler": ("annealed_langevin",)}, ge=1)
    step_size: float | None = option(
        None,
        "Langevin step at sigma_min, in squared units of the data; by default by NCSNv2's technique 4",
        only={"scheduler": ("annealed_langevin",)},
        gt=0,
    )
    denoise: bool = option(
        True, "end annealed Langevin dynamics with a denoising step", only={"scheduler": ("annealed_langevin",)}
    )
    initial: Literal["normal", "uniform"] = option(
        "normal",
        "where annealed Langevin dynamics starts: noise of sigma_max, or uniform over the data's range",
        only={"scheduler": ("annealed_langevin",)},
    )

    # Optimisation
    max_train_steps: int = option(20_000, "updates of the weights", ge=1)
    train_batch_size: int = option(64, "images per process and micro-batch", ge=1)
    gradient_accumulation_steps: int = option(1, "batches whose gradients are added up for one update", ge=1)
    learning_rate: float = option(1.5e-3, "peak learning rate of AdamW", gt=0)
    lr_warmup_steps: int = option(500, "updates over which the learning rate rises from 0", ge=0)
    lr_decay_steps: int = option(0, "last updates, over which the learning rate falls linearly to 0; 0 for none", ge=0)
    adam_beta1: float = option(0.9, "AdamW's beta 1", ge=0, lt=1)
    adam_beta2: float = option(0.99, "AdamW's beta 2", ge=0, lt=1)
    adam_weight_decay: float = option(0.0, "AdamW's weight decay", ge=0)
    adam_epsilon: float = option(1e-8, "AdamW's epsilon; the loss is a mean over dimensions", gt=0)
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0 for no clipping", ge=0)
    use_ema: bool = option(True, "save an exponential moving average of the weights")
    ema_decay: float = option(0.999, "decay of the average, reached after a warm-up", ge=0, le=1)
    mixed_precision: Literal["no", "fp16", "bf16"] = option(
        "no", "precision of the network; noise and loss stay float32"
    )
    torch_compile: bool = option(False, "compile the network; its gradients are compared with the eager ones first")
    channels_last: bool = option(False, "keep channels last in memory: faster for RefineNets, and on a GPU in bf16")
    seed: int = option(0, "seed of the weights, the order of the images, and all noise", ge=0)
    dataloader_num_workers: int = option(
        0, "processes that read images ahead; for streaming, since else they are in memory", ge=0
    )

    # What is written, and when
    output_dir: str = option("runs/train", "becomes a loadable pipeline folder")
    logging_steps: int = option(50, "steps between two logged training losses", ge=1)
    validation_steps: int = option(1000, "steps between two held-out losses and sample grids", ge=1)
    num_validation_images: int = option(1024, "held-out images of the loss, at least 8", ge=8)
    num_sample_images: int = option(40, "images of the grid", ge=1)
    checkpointing_steps: int = option(1000, "steps between two checkpoints", ge=1)
    checkpoints_total_limit: int | None = option(2, "older checkpoints are deleted", ge=1)
    resume_from_checkpoint: str | None = option(
        None, "a checkpoint folder, or `latest` in output_dir; checkpoints beyond an earlier one are given up"
    )
    report_to: str | tuple[str, ...] | None = option(
        "tensorboard", "experiment trackers, with commas between: tensorboard, wandb, trackio; or `none`"
    )
    quality_samples: int = option(
        0, "samples drawn with each held-out loss, whose distance to the data is logged; 0 for none", ge=0
    )

    # The Hub
    push_to_hub: bool = option(False, "push the pipeline folder with its card to the Hub")
    hub_model_id: str | None = option(None, "repository to push to; by default output_dir's name under your account")
    hub_private_repo: bool = option(False, "make a repository that is new a private one")
    hub_token: str | None = option(
        None, "a token with write access; by default the one of HF_TOKEN or `hf auth login`", secret=True
    )
    hub_strategy: Literal["end", "checkpoint"] = option("end", "push once, at the end, or at every checkpoint too")

    def __post_init__(self) -> None:
        check_types(self)
        for name in PATHS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, os.path.expanduser(value))
        if (self.dataset_name is None) == (self.train_data_dir is None):
            raise ValueError("Give one of dataset_name (a data set on the Hub, a folder, `digits`) and train_data_dir.")
        if self.train_split == self.test_split:
            raise ValueError(
                f"train_split and test_split are both {self.train_split}: what is trained on cannot measure. Leave "
                "test_split out, and some of the images are kept aside."
            )
        if self.step_size is not None and not self.step_size < 2 * self.sigma_min**2:
            raise ValueError(
                f"step_size must lie within (0, 2 sigma_min²) = (0, {2 * self.sigma_min**2:g}), beyond which Langevin "
                f"dynamics diverges; got {self.step_size}."
            )
        if self.quality_samples == 1:
            raise ValueError("quality_samples must be 0 or at least 2: a covariance needs two images.")
        if not self.data_min < self.data_max:
            raise ValueError(f"data_min must be below data_max; got {self.data_min} and {self.data_max}.")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Refuses settings that contradict each other or would have no effect."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for other, values in field.metadata["only"].items():
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
        return {field.name for field in dataclasses.fields(cls) if field.metadata["secret"]}

    def public(self) -> dict[str, Any]:
        """All settings but the secrets."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in self.secrets()}

    def flags(self) -> list[str]:
        """The command line flags of the settings that are not the default ones, without the secrets."""
        return flags_of(self)

    @property
    def source(self) -> str:
        """The data set: `train_data_dir` where it is given, else `dataset_name`."""
        return self.train_data_dir or self.dataset_name or ""

    @classmethod
    def from_command_line(cls, arguments: Sequence[str] | None = None, prog: str | None = None) -> Self:
        """Reads `--config NAME` and the flags that replace its values; `None` reads `sys.argv`.

        Raises:
            SystemExit: for an unknown flag, setting or value, with one sentence that names it.
        """
        described = "Trains a score network on images."
        # Of two settings of which one is given, a flag replaces the file's.
        return read_command_line(
            cls, arguments, prog, described, recipes=RECIPES, either=("dataset_name", "train_data_dir")
        )
