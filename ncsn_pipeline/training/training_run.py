"""A run that trains a network on images: what it is measured by, and what is told of the data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import ImageData, ImageStream
from ..pipelines import NCSNPipeline
from .command_line import shown_path
from .config import TrainConfig
from .draws import BatchDraws, Purpose
from .network import build_pipeline, num_classes
from .objective import Objective, held_out_loss, noise_bands
from .pixel_quality import QualityProbe
from .run import Run
from .validation import measure_denoiser_error

# Which data are read: another folder may hold the same ones.
OF_THE_DATA = (
    "train_data_dir", "dataset_name", "dataset_config_name", "image_column", "label_column", "train_split",
    "test_split",
)  # fmt: skip


@dataclass(eq=False, repr=False)
class TrainingRun(Run):
    """The state of such a run.

    Args:
        data: what is trained on.
        sample: images of it to measure on.
        held_out: images kept aside.
        objective: the loss.

    Attributes:
        with_labels: whether the network has classes.
    """

    config: TrainConfig
    data: ImageData | ImageStream
    sample: ImageData
    held_out: ImageData
    objective: Objective

    def __post_init__(self) -> None:
        super().__post_init__()
        self.with_labels = num_classes(self.ema_network) is not None
        self.quality = None
        if self.config.quality_samples:
            self.quality = self._in_main(lambda: QualityProbe(self.config, self.sample, self.held_out))

    def noise_bands(self) -> tuple[Tensor, Tensor]:
        """Those of the noise levels that are trained on."""
        return noise_bands(self.config)

    def pipeline(self) -> NCSNPipeline:
        """With the sampler that the settings name."""
        return build_pipeline(self.config, self.ema_network)

    def pipeline_to_save(self) -> NCSNPipeline:
        """The same, with the mean squared error of the denoiser on images kept aside in its network's config."""
        measure_denoiser_error(self.config, self.ema_network, self.held_out)
        return self.pipeline()

    def described(self) -> str:
        """The data, as the beginning of a sentence."""
        return f"{'a stream of' if self.images is None else self.images} images {tuple(self.data.shape)}"

    def origin(self) -> dict[str, Any]:
        """The data, and what the weights began from."""
        facts = {"images": self.images, "held_out": len(self.held_out), "shape": list(self.data.shape)}
        return {
            "init_from": shown_path(self.config.init_from) if self.config.init_from else None,
            "dataset": {"name": shown_path(self.config.source), **facts},
        }

    @property
    def images(self) -> int | None:
        """The number of images that are trained on; `None` for a stream."""
        return None if isinstance(self.data, ImageStream) else len(self.data)

    def resume(self, checkpoint: Path) -> None:
        """Takes over what a checkpoint holds, and says where the data are others.

        Raises:
            ValueError: for the checkpoint of a stream that was read in another way.
        """
        super().resume(checkpoint)
        before = self.record.settings
        changes = [(name, before[name], getattr(self.config, name)) for name in OF_THE_DATA if name in before]
        if self.record.images is not None:
            changes.append(("images to train on", self.record.images, self.images))
        said = "; ".join(f"{name} ({then}, now {now})" for name, then, now in changes if then != now)
        if said:
            self.accelerator.print(
                f"The data differ from before: {said}. Images kept aside now may have been trained on then."
            )

    def trial_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean loss of a batch as in training, a scalar, the same at every call."""
        count = len(batch["image"])
        draws = BatchDraws(self.config.seed, 0, 0, count, count, Purpose.MEASURING)
        return self.objective(self.network, batch, draws, self.objective.levels(draws)).mean()

    def trial(self, batch: dict[str, Tensor]) -> None:
        """A step that changes no weight."""
        for _ in range(self.config.gradient_accumulation_steps):
            self.trial_loss(batch).backward()
        self.network.zero_grad(set_to_none=True)

    def measure(self) -> dict[str, float]:
        """The loss on the images kept aside."""
        return held_out_loss(self.objective, self.ema_network, self.held_out, self.with_labels, self.accelerator)

    def measure_in_main(self) -> dict[str, float]:
        """The distance of samples to the data, where it is asked for."""
        return {} if self.quality is None else self.quality(self.pipeline())
