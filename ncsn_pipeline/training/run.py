"""A run between its steps: what it has become so far, and what is written and told of it."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from tqdm.auto import tqdm

from ..hub import PushError
from ..pipelines import NCSNPipeline
from .averaging import WeightAverage, copy_weights
from .beginning import Beginning
from .checkpoints import checkpoints, save_checkpoint, save_pipeline
from .command_line import training_command
from .distributed import broadcast_from_main
from .draws import BatchDraws
from .interruption import Interrupted, StopRequest
from .network import described
from .publishing import publish, write_summary
from .run_config import RunConfig
from .run_record import RunRecord, training_summary
from .tracking import BandLosses, describe
from .validation import draw_samples, save_samples

T = TypeVar("T")

logger = logging.getLogger("train")


def learning_rate_at(step: int, config: RunConfig) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `lr_decay_steps`; a function of the step alone."""
    warm_up = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay = min(1.0, (config.max_train_steps - step) / max(1, config.lr_decay_steps))
    return config.learning_rate * (warm_up * decay)


@dataclass(eq=False, repr=False)
class Run(ABC):
    """The state of a run, and what happens between its steps.

    Args:
        start: how it began.
        config: settings with what is measured filled in.
        arguments: the command line they came from, if they did.
        network: what is saved, as `accelerator.prepare` returned it.
        ema_network: a whole network for what is saved and looked at.
        optimizers: all of the run, prepared.
        ema: the average of the weights.

    Attributes:
        step: updates of the weights so far.
        images_per_step: of all processes and micro-batches.
        weights: those of `network`.
        bands: training losses since they were last logged.
        other_bands: what else is logged with them.
        is_main: whether this process writes and tells.
    """

    start: Beginning
    config: RunConfig
    arguments: Sequence[str] | None
    network: nn.Module
    ema_network: ModelMixin
    optimizers: Sequence[torch.optim.Optimizer]
    ema: WeightAverage

    def __post_init__(self) -> None:
        config, accelerator = self.config, self.start.accelerator
        self.accelerator, self.record = accelerator, self.start.record
        self.step, self.started = self.record.step, time.monotonic()
        self.is_main, self.processes = accelerator.is_main_process, accelerator.num_processes
        self.images_per_step = config.train_batch_size * config.gradient_accumulation_steps * self.processes
        self.weights = list(accelerator.unwrap_model(self.network).parameters())
        self.bands = BandLosses(*self.noise_bands(), accelerator.device)
        self.other_bands: Sequence[BandLosses] = ()
        self.measured: dict[str, float] = {}
        self.bar = tqdm(disable=True)

    @abstractmethod
    def noise_bands(self) -> tuple[Tensor, Tensor]:
        """The ends of the bands of noise levels that losses are told apart by."""

    @abstractmethod
    def pipeline(self) -> NCSNPipeline:
        """The pipeline around `ema_network` that is saved and looked at."""

    def pipeline_to_save(self) -> NCSNPipeline:
        """The same, with what is measured of the network in its config; called in the main process."""
        return self.pipeline()

    @abstractmethod
    def described(self) -> str:
        """What is trained on what, as the beginning of a sentence."""

    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """What the network learned from, for `training.json`."""

    @property
    def images(self) -> int | None:
        """The number of images that are trained on; `None` for a stream, and where there are none."""
        return None

    def measure(self) -> dict[str, float]:
        """Numbers about :meth:`fill_ema_network`'s network; to be called in every process."""
        return {}

    def measure_in_main(self) -> dict[str, float]:
        """More of them, in the main process alone."""
        return {}

    def resume(self, checkpoint: Path) -> None:
        """Takes over what a checkpoint holds; settings are those of this run, not those it was written with.

        Raises:
            ValueError: for the checkpoint of a stream that was read in another way.
        """
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        settings = [{name: group[name] for name in ("betas", "eps", "weight_decay")} for group in groups]
        self.accelerator.load_state(str(checkpoint))
        self.accelerator.step = 0  # of the gradients that are added up: a checkpoint lies between two updates
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group, own in zip(groups, settings, strict=True):
            group.update(own)
        self.ema.decay = self.config.ema_decay
        self.accelerator.print(f"Resumed from {checkpoint}.")

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
            f"{self.described()}, {sum(p.numel() for p in self.ema_network.parameters()):,} parameters, "
            f"{self.images_per_step} images per step, {self.processes} process(es) on {self.accelerator.device}."
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

    def steps(self, stop: StopRequest) -> Iterator[int]:
        """Every step that is left, until the run is asked to stop; between them, whatever is due is written and told.

        Before each the learning rate is set.  A run that was resumed at its end writes what may be missing.

        Raises:
            FloatingPointError: for losses, or weights that are to be saved, that are not finite.
            OSError: in every process, if something cannot be written.
        """
        config = self.config
        if self.finished:
            self.fill_ema_network()
            self.save()
            self.validate()
        while not self.finished:
            learning_rate = learning_rate_at(self.step, config)
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = learning_rate
            yield self.step
            self.ema.step(self.weights)
            self.step += 1
            self.bar.update(self.images_per_step)

            stopping = stop.agreed() and not self.finished
            saving, validating = self.is_due(config.checkpointing_steps), self.is_due(config.validation_steps)
            if saving or validating or stopping or self.is_due(config.logging_steps):
                self.log(learning_rate)
            if stopping:
                self.stop()
                return
            if saving or validating:
                self.fill_ema_network()
            if saving:
                self.save()
            if validating:
                self.validate()
            if saving and not self.finished:
                self.publish_checkpoint()

    def draws(self, micro_batch: int, turn: int = 0, turns: int = 1) -> BatchDraws:
        """The random numbers of this process's micro-batch: those of its images' places within the whole step.

        Args:
            micro_batch: number of the micro-batch.
            turn: number of the update within the step, where a step has several.
            turns: updates of a step.
        """
        size = self.config.train_batch_size
        first = (micro_batch * self.processes + self.accelerator.process_index) * size
        return BatchDraws(self.config.seed, self.step * turns + turn, first, size, self.images_per_step)

    def estimate(self, trial: Callable[[], None]) -> None:
        """Says how long the steps that are left will take, by the second of two trials that change no weight."""
        left = self.config.max_train_steps - self.step
        if left <= 0:
            return
        for _ in range(2):
            began = time.monotonic()
            trial()
            seconds = left * (time.monotonic() - began)
        hours, minutes = divmod(round(seconds / 60), 60)
        lasting = f"About {hours} h {minutes} min" if hours else f"About {minutes} min"
        lasting = lasting if seconds >= 60 else "Less than a minute"
        steps = "1 step" if left == 1 else f"{left:,} steps"
        self.accelerator.print(f"{lasting} for {steps}, by a trial; saving and validation come on top.")

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
        for bands in self.other_bands:
            means |= bands.take(self.accelerator)
        if not math.isfinite(means["train/loss"]):
            raise self._diverged(f"The training loss is {means['train/loss']}")
        self.accelerator.log(means | {"train/learning_rate": learning_rate}, step=self.step)
        self.bar.set_postfix(loss=f"{means['train/loss']:.4f}", lr=f"{learning_rate:.1e}")

    def check_finite(self) -> None:
        """Looks at all weights that are trained, which a gradient that overflowed leaves without a number.

        Raises:
            FloatingPointError: in every process, if any are not finite in one of them.
        """
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        weights = [weight.detach() for group in groups for weight in group["params"]]
        shards = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
        wrong = not all(bool(shard.isfinite().all()) for shard in shards)
        votes = torch.full((1,), float(wrong), device=self.accelerator.device)
        if self.accelerator.reduce(votes, reduction="sum").item():
            raise self._diverged("Weights are not finite")

    def _diverged(self, what: str) -> FloatingPointError:
        """What to say of numbers that are not finite."""
        way = "There is no checkpoint from before; begin anew"
        if checkpoints(self.config.output_dir):
            way = "Checkpoints hold the weights from before; resume from one"
        rate = self.config.learning_rate
        return FloatingPointError(f"{what} at step {self.step}. {way} with a learning_rate below {rate:g}.")

    def fill_ema_network(self) -> None:
        """Puts the average, or without one the weights themselves, into what is saved and looked at."""
        copy_weights(self.ema.shadow_params if self.config.use_ema else self.weights, self.ema_network)

    def save(self) -> None:
        """Checkpoint, unless it is the one that was loaded, and pipeline folder, of :meth:`fill_ema_network`'s network.

        Raises:
            FloatingPointError: in every process, for weights that are not finite; nothing is written then.
            OSError: in every process, if something cannot be written.
        """
        self.check_finite()
        if self.step > self.record.step:
            save_checkpoint(self.config, self.accelerator, self.so_far())
        self._in_main(lambda: save_pipeline(self.config, self.pipeline_to_save()))

    def validate(self) -> None:
        """What is measured, and a grid of samples, of :meth:`fill_ema_network`'s network.

        Raises:
            OSError: in every process, if something cannot be written.
        """
        self.measured |= self.measure()
        images = draw_samples(self.config, self.pipeline(), self.accelerator)

        def look() -> None:
            self.measured |= self.measure_in_main()
            if self.measured:
                self.bar.write(f"step {self.step}: {describe(self.measured)}")
            save_samples(self.config, images, self.step, self.accelerator)

        self._in_main(look)
        self.accelerator.log(self.measured, step=self.step)

    def publish_checkpoint(self) -> None:
        """Pushes the model of this step, where every checkpoint is to be pushed; a failure is only a warning."""

        def try_to_publish() -> None:
            try:
                self.finish()
            except (PushError, OSError, ValueError) as error:
                said = "The model after step %d was not pushed; the next checkpoint's will be. %s"
                logger.warning(said, self.step, error)

        if self.start.repository is not None and self.config.hub_strategy == "checkpoint":
            self._in_main(try_to_publish)

    def stop(self) -> None:
        """Saves checkpoint and pipeline folder with its facts before the run's end, and says how to go on.

        Raises:
            FloatingPointError: in every process, for weights that are not finite; nothing is written then.
            OSError: in every process, if something cannot be written.
        """
        self.fill_ema_network()
        self.save()
        if self.is_main:
            self.bar.close()
            try:
                self.write_facts()
            except (OSError, ValueError) as error:
                logger.warning("The card is not that of step %d: %s", self.step, error)
            command = training_command(self.start.given, self.arguments, self.processes, resume=True)
            print(f"Stopping after step {self.step}. Go on by:\n    {command}", flush=True)

    def write_facts(self) -> None:
        """The facts and the card into the pipeline folder; in the main process.

        Raises:
            OSError: if they cannot be written.
            ValueError: for a JSON file there that is not what it should be.
        """
        summary = training_summary(
            self.start.given, self.so_far(), arguments=self.arguments, processes=self.processes,
            device=self.accelerator.device, held_out_loss=self.measured.get("held_out/loss"), **self.origin(),
        )  # fmt: skip
        write_summary(self.config.output_dir, summary)

    def finish(self) -> None:
        """The facts and the card into the pipeline folder, and the folder to the Hub; in the main process.

        Raises:
            OSError, ValueError: as :meth:`write_facts`.
            PushError: if the model was not pushed.
        """
        self.write_facts()
        if self.start.repository is not None:
            publish(self.config, self.start.repository, self.step, final=self.finished)

    def end(self) -> None:
        """Parts the processes, and publishes what was trained; to be called in every process.

        Raises:
            Interrupted: for a run that was asked to stop before its end.
            OSError, ValueError, PushError: as :meth:`finish`.
        """
        self.start.connection.end()  # nobody waits while the main process publishes
        self.accelerator.end_training()
        if not self.finished:
            raise Interrupted(f"Stopped after step {self.step}; checkpoint-{self.step} is saved.")
        if self.is_main:
            self.finish()

    def _in_main(self, act: Callable[[], T]) -> T | None:
        """What `act` returns in the main process, and `None` in the others, which wait; its error reaches them all."""
        outcome: list[T] = []
        broadcast_from_main(self.accelerator, lambda: outcome.append(act()))
        return outcome[0] if outcome else None
