"""A training run between its steps: what it has become so far, and what is written and told of it."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..data import ImageData, ImageStream
from .averaging import WeightAverage, copy_weights
from .checkpoints import save_checkpoint, save_pipeline
from .command_line import training_command
from .config import TrainConfig
from .distributed import broadcast_from_main
from .draws import BatchDraws, Purpose
from .network import build_pipeline, described, num_classes
from .objective import Objective, held_out_loss
from .pixel_quality import QualityProbe
from .publishing import publish, write_summary
from .run_record import RunRecord, training_summary
from .tracking import BandLosses, describe
from .validation import draw_samples, measure_denoiser_error, save_samples

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class Run:
    """The state of a run.

    Args:
        given: settings as they were given.
        config: settings with what is measured filled in.
        arguments: the command line they came from, if they did.
        accelerator: knows the processes and the device.
        repository: where the model is pushed to, if it is.
        data: what is trained on.
        sample: images of it to measure on.
        held_out: images kept aside.
        network: what is trained, as `accelerator.prepare` returned it.
        ema_network: a whole network for what is saved and looked at.
        optimizer: of the network, prepared.
        ema: the average of the weights.
        objective: the loss.
        record: what the run had done when this process began.

    Attributes:
        step: updates of the weights so far.
        images_per_step: of all processes and micro-batches.
        weights: those of `network`.
        with_labels: whether the network has classes.
        bands: training losses since they were last logged.
        is_main: whether this process writes and tells.
    """

    given: TrainConfig
    config: TrainConfig
    arguments: Sequence[str] | None
    accelerator: Accelerator
    repository: str | None
    data: ImageData | ImageStream
    sample: ImageData
    held_out: ImageData
    network: nn.Module
    ema_network: ModelMixin
    optimizer: torch.optim.Optimizer
    ema: WeightAverage
    objective: Objective
    record: RunRecord

    def __post_init__(self) -> None:
        config, accelerator = self.config, self.accelerator
        self.step, self.started = self.record.step, time.monotonic()
        self.is_main, self.processes = accelerator.is_main_process, accelerator.num_processes
        self.images_per_step = config.train_batch_size * config.gradient_accumulation_steps * self.processes
        self.weights = list(accelerator.unwrap_model(self.network).parameters())
        self.with_labels = num_classes(self.ema_network) is not None
        self.bands = BandLosses(config, accelerator.device)
        self.measured: dict[str, float] = {}
        self.bar = tqdm(disable=True)
        self.quality = None
        if config.quality_samples:
            self.quality = self._in_main(lambda: QualityProbe(config, self.sample, self.held_out))

    def resume(self, checkpoint: Path) -> None:
        """Takes over what a checkpoint holds; settings are those of this run, not those it was written with.

        Raises:
            ValueError: for the checkpoint of a stream that was read in another way.
        """
        groups = self.optimizer.param_groups
        settings = [{name: group[name] for name in ("betas", "eps", "weight_decay")} for group in groups]
        self.accelerator.load_state(str(checkpoint))
        self.accelerator.step = 0  # of the gradients that are added up: a checkpoint lies between two updates
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)
        self.ema.decay = self.config.ema_decay
        self.accelerator.print(f"Resumed from {checkpoint}.")
        if self.record.images not in (None, self.images):
            self.accelerator.print(
                f"There are {self.images} images to train on, and {self.record.images} when it was written: images "
                "kept aside now may have been trained on before."
            )

    @property
    def images(self) -> int | None:
        """The number of images that are trained on; `None` for a stream."""
        return None if isinstance(self.data, ImageStream) else len(self.data)

    @property
    def finished(self) -> bool:
        """Whether all updates are made."""
        return self.step >= self.config.max_train_steps

    def is_due(self, interval: int) -> bool:
        """Whether an interval ends with the present step, or the run does."""
        return self.finished or self.step % interval == 0

    def announce(self) -> None:
        """Says what is trained on what."""
        self.accelerator.print(
            f"{'a stream of' if self.images is None else self.images} images {tuple(self.data.shape)}, "
            f"{sum(p.numel() for p in self.ema_network.parameters()):,} parameters, {self.images_per_step} images per "
            f"step, {self.processes} process(es) on {self.accelerator.device}."
        )

    @contextmanager
    def progress_bar(self) -> Iterator[None]:
        """Shows the steps of the block as a bar."""
        self.bar = tqdm(
            total=self.config.max_train_steps * self.images_per_step, initial=self.step * self.images_per_step,
            unit=" images", unit_scale=True, smoothing=0.02, disable=not self.is_main, dynamic_ncols=True,
        )  # fmt: skip
        with self.bar:
            yield

    def draws(self, micro_batch: int) -> BatchDraws:
        """The random numbers of this process's micro-batch: those of its images' places within the whole step."""
        size = self.config.train_batch_size
        first = (micro_batch * self.processes + self.accelerator.process_index) * size
        return BatchDraws(self.config.seed, self.step, first, size, self.images_per_step)

    def trial_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean loss of a batch as in training, a scalar, the same at every call."""
        count = len(batch["image"])
        draws = BatchDraws(self.config.seed, 0, 0, count, count, Purpose.MEASURING)
        return self.objective(self.network, batch, draws, self.objective.levels(draws)).mean()

    def estimate(self, batch: dict[str, Tensor]) -> None:
        """Says how long the steps that are left will take, by the second of two that change no weight."""
        left = self.config.max_train_steps - self.step
        if left <= 0:
            return
        for _ in range(2):
            began = time.monotonic()
            for _ in range(self.config.gradient_accumulation_steps):
                self.trial_loss(batch).backward()
            self.network.zero_grad(set_to_none=True)
            seconds = left * (time.monotonic() - began)
        hours, minutes = divmod(max(1, round(seconds / 60)), 60)
        lasting = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        self.accelerator.print(f"About {lasting} for {left:,} steps, by a trial; saving and validation come on top.")

    def advance(self) -> None:
        """Counts an update of the weights."""
        self.step += 1
        self.bar.update(self.images_per_step)

    def so_far(self) -> RunRecord:
        """What the run has done."""
        return self.record.later(
            self.step, self.images_per_step, time.monotonic() - self.started, settings=self.config.public(),
            network=described(self.ema_network), images=self.images,
        )  # fmt: skip

    def log(self, learning_rate: float) -> None:
        """The losses since the last call, to trackers and to the progress bar.

        Raises:
            FloatingPointError: if they are not finite.
        """
        means = self.bands.take(self.accelerator)
        if not math.isfinite(means["train/loss"]):
            raise FloatingPointError(
                f"The training loss is {means['train/loss']} at step {self.step}. Checkpoints hold the weights from "
                f"before; resume from one with a learning_rate below {self.config.learning_rate:g}."
            )
        self.accelerator.log(means | {"train/learning_rate": learning_rate}, step=self.step)
        self.bar.set_postfix(loss=f"{means['train/loss']:.4f}", lr=f"{learning_rate:.1e}")

    def fill_ema_network(self) -> None:
        """Puts the average, or without one the weights themselves, into what is saved and looked at."""
        copy_weights(self.ema.shadow_params if self.config.use_ema else self.weights, self.ema_network)

    def save(self) -> None:
        """Checkpoint, unless it is the one that was loaded, and pipeline folder, of :meth:`fill_ema_network`'s network.

        Raises:
            OSError: in every process, if something cannot be written.
        """
        if self.step > self.record.step:
            save_checkpoint(self.config, self.accelerator, self.so_far())

        def write() -> None:
            measure_denoiser_error(self.config, self.ema_network, self.held_out)
            save_pipeline(self.config, build_pipeline(self.config, self.ema_network))

        self._in_main(write)

    def validate(self) -> None:
        """Held-out loss and a grid of samples, of :meth:`fill_ema_network`'s network.

        Raises:
            OSError: in every process, if something cannot be written.
        """
        config, accelerator = self.config, self.accelerator
        self.measured |= held_out_loss(self.objective, self.ema_network, self.held_out, self.with_labels, accelerator)
        images = draw_samples(config, self.ema_network, accelerator)

        def look() -> None:
            if self.quality is not None:
                self.measured |= self.quality(build_pipeline(config, self.ema_network))
            self.bar.write(f"step {self.step}: {describe(self.measured)}")
            save_samples(config, images, self.step, accelerator)

        self._in_main(look)
        accelerator.log(self.measured, step=self.step)

    def publish_checkpoint(self) -> None:
        """Pushes the model of this step, where every checkpoint is to be pushed; a push that fails is a warning."""
        if self.repository is not None and self.config.hub_strategy == "checkpoint":
            self._in_main(self.finish)

    def stop(self) -> None:
        """Saves a checkpoint before the run's end, and says how to go on.

        Raises:
            OSError: if it cannot be written.
        """
        save_checkpoint(self.config, self.accelerator, self.so_far())
        if self.is_main:
            self.bar.close()
            command = training_command(self.given, self.arguments, self.processes, resume=True)
            print(f"Stopping after step {self.step}. Go on by:\n    {command}", flush=True)

    def finish(self) -> None:
        """The facts and the card into the pipeline folder, and the folder to the Hub; in the main process.

        Raises:
            OSError: if they cannot be written.
            PushError: if the run is at its end and the model was not pushed.
        """
        facts = {"images": self.images, "held_out": len(self.held_out), "shape": list(self.data.shape)}
        summary = training_summary(
            self.given, self.so_far(), arguments=self.arguments, processes=self.processes,
            device=self.accelerator.device, dataset=facts, held_out_loss=self.measured.get("held_out/loss"),
        )  # fmt: skip
        write_summary(self.config.output_dir, summary)
        if self.repository is not None:
            publish(self.config, self.repository, self.step, final=self.finished)

    def _in_main(self, act: Callable[[], T]) -> T | None:
        """What `act` returns in the main process, and `None` in the others, which wait; its error reaches them all."""
        outcome: list[T] = []
        broadcast_from_main(self.accelerator, lambda: outcome.append(act()))
        return outcome[0] if outcome else None
