"""Everything a training run can be told, in one frozen dataclass; :mod:`.settings` reads it from YAML and flags."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from .run_config import RunConfig
from .settings import option

RefineNet = Literal["ncsn", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest"]
REFINENETS = get_args(RefineNet)
# The kind of network, what the data are split by, what the weights began from, and the range of what they are shown.
UNCHANGING = ("network", "seed", "held_out_fraction", "streaming", "init_from", "data_min", "data_max")
OF_A_STREAM = ("num_validation_images", "train_batch_size", "shuffle_buffer", "dataloader_num_workers")
MEASURED = ("sigma_max", "sigma_data", "data_mean")


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """The settings of a training run, those of every run first.

    Raises:
        ValueError: for a value of another type or outside its range, or settings that contradict each other.
    """

    script: ClassVar[str] = "train/train.py"
    module: ClassVar[str] = "ncsn_pipeline.training"
    command: ClassVar[tuple[str, ...]] = ("ncsn", "train")
    about: ClassVar[str] = "Trains a score network on images."
    either: ClassVar[tuple[str, ...]] = ("dataset_name", "train_data_dir")
    paths: ClassVar[tuple[str, ...]] = (*RunConfig.paths, "dataset_name", "train_data_dir", "init_from")

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

    # How it is computed, and what is measured
    dataloader_num_workers: int = option(
        0, "processes that read images ahead; for streaming, since else they are in memory", ge=0
    )
    num_validation_images: int = option(1024, "held-out images of the loss, at least 8", ge=8)
    quality_samples: int = option(
        0, "samples drawn with each held-out loss, whose distance to the data is logged; 0 for none", ge=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
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
        if self.objective == "sliced" and self.torch_compile:
            raise ValueError(
                "The sliced objective needs a second derivative, which torch.compile does not give. Leave "
                "torch_compile out."
            )
        if self.network in REFINENETS:
            if self.use_labels:
                raise ValueError(
                    f"The network {self.network} takes no labels. Give --no-use_labels (use_labels: false in a file)."
                )
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

    @property
    def unchanging(self) -> tuple[str, ...]:
        """The settings that stay for the whole of a run."""
        return (*UNCHANGING, *(OF_A_STREAM if self.streaming else ()))

    def measured_before(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What was measured on the data, where these settings do not say it."""
        # A single sigma is no measurement of the data.
        single = "single_sigma" in (self.objective, settings.get("objective"))
        measured = MEASURED[1:] if single else MEASURED
        return {name: settings.get(name) for name in measured if getattr(self, name) is None}

    @property
    def source(self) -> str:
        """The data set: `train_data_dir` where it is given, else `dataset_name`."""
        return self.train_data_dir or self.dataset_name or ""
