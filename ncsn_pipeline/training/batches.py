"""Which images a step sees: a function of the seed and the step's number alone.

Epoch e is a permutation made from (seed, e); the permutations stand one after the other, and step s is images s B to
s B + B - 1 of that endless row, B being the images of a whole step.  Micro-batch m of process p of P is cut out of it:

    first = (m P + p) b,        B = M P b        (M micro-batches of b images per process)

so the whole step is the same set in the same order for 1 process with 2 b images, for 2 with b, and for one with b
images and two micro-batches.  Nothing is counted, so there is nothing to save or to skip where a run goes on.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data import (
    DIGITS,
    ImageData,
    ImageStream,
    Selection,
    StreamBatches,
    load_train_and_held_out,
    stream_train_and_held_out,
)
from ..data.batches import serve_until_the_end
from .config import TrainConfig
from .draws import Purpose, generator_for


def load_data(config: TrainConfig, accelerator: Accelerator) -> tuple[ImageData | ImageStream, ImageData, ImageData]:
    """The images that the settings name; says what they are and what of the data set is not used.

    Returns:
        What is trained on; images of it to measure on, all of them unless it is a stream; and those kept aside.

    Raises:
        ValueError: for data that cannot be read.
    """
    source = config.source
    if config.train_data_dir is not None:
        if not Path(source).expanduser().is_dir():
            raise ValueError(f"There is no folder {source!r}. Give train_data_dir a folder, or dataset_name a name.")
        source = f"./{source}" if source == DIGITS else source  # the user's, whatever lies in it
    selection = Selection(**{field.name: getattr(config, field.name) for field in fields(Selection)})
    options = {"resolution": config.resolution, "channels": config.channels, "seed": config.seed}
    options |= {"selection": selection}
    if not config.streaming:
        data, held_out = load_train_and_held_out(source, **options, held_out_fraction=config.held_out_fraction)
        accelerator.print(f"Data: {data.about}")
        return data, data, held_out
    stream, held_out = stream_train_and_held_out(
        source, **options, num_held_out=config.num_validation_images, shuffle_buffer=config.shuffle_buffer,
        rank=accelerator.process_index, world_size=accelerator.num_processes,
    )  # fmt: skip
    accelerator.print(f"Data: {stream.about}")
    return stream, stream.sample, held_out


class StepSampler(Sampler[list[int]]):
    """The indices of one process's micro-batches, from step `start` on, without end.

    Args:
        num_images: images in the data set, at least 1.
        batch_size: images a micro-batch.
        seed: of the order.
        start: number of the first step.
        micro_batches: micro-batches a step.
        process, processes: the number of this process, and of all.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        start: int = 0,
        micro_batches: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.num_images, self.batch_size, self.seed, self.start = num_images, batch_size, seed, start
        self.micro_batches, self.process, self.processes = micro_batches, process, processes

    def __iter__(self) -> Iterator[list[int]]:
        stride = self.processes * self.batch_size
        position = (self.start * self.micro_batches * self.processes + self.process) * self.batch_size
        epoch, order = -1, np.empty(0, dtype=np.int64)
        while True:
            batch: list[int] = []
            at = position
            while len(batch) < self.batch_size:
                if epoch != at // self.num_images:
                    epoch = at // self.num_images
                    order = permutation(self.num_images, self.seed, epoch)
                begin = at % self.num_images
                batch += order[begin : begin + self.batch_size - len(batch)].tolist()
                at = position + len(batch)
            yield batch
            position += stride


def permutation(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the images in an epoch, shape `(num_images,)`."""
    return torch.randperm(num_images, generator=generator_for(seed, Purpose.ORDER, epoch)).numpy()


class Batches:
    """The batches of a run: `image (B, C, H, W)` as bytes, and `label (B,)` where the network has classes.

    Images in memory come in the order of :class:`StepSampler`.  Those of a stream come in the stream's own: each
    process sees a share of them, and its place is kept in the checkpoints.

    Args:
        data: the images.
        config: settings.
        accelerator: knows the processes and the device; batches come from pinned memory, while it still computes.
        with_labels: whether the network has classes.
    """

    def __init__(
        self, data: ImageData | ImageStream, config: TrainConfig, accelerator: Accelerator, with_labels: bool
    ) -> None:
        self.data, self.config, self.accelerator, self.with_labels = data, config, accelerator, with_labels
        self.pinned = accelerator.device.type == "cuda"
        if isinstance(data, ImageStream):
            workers = config.dataloader_num_workers
            self.stream = StreamBatches(data, config.train_batch_size, num_workers=workers, pin_memory=self.pinned)
            accelerator.register_save_state_pre_hook(self._save)
            accelerator.register_load_state_pre_hook(self._load)

    def of_steps_from(self, step: int) -> Iterator[dict[str, Tensor]]:
        """The micro-batches of this process on its device, from step number `step` on, without end."""
        if isinstance(self.data, ImageStream):
            loader: Iterable = self.stream
        else:
            sampler = StepSampler(
                len(self.data), self.config.train_batch_size, self.config.seed, step,
                self.config.gradient_accumulation_steps, self.accelerator.process_index, self.accelerator.num_processes,
            )  # fmt: skip
            loader = DataLoader(
                _Gathered(self.data), batch_size=None, sampler=sampler, pin_memory=self.pinned,
                num_workers=self.config.dataloader_num_workers, generator=torch.Generator(),
                worker_init_fn=serve_until_the_end,
            )  # fmt: skip
        return map(self._placed, loader)

    def example(self) -> dict[str, Tensor]:
        """A batch to try the network on; it counts as not seen."""
        sample = self.data.sample if isinstance(self.data, ImageStream) else self.data
        return self._placed(_Gathered(sample)[[i % len(sample) for i in range(self.config.train_batch_size)]])

    def _placed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: value.to(self.accelerator.device, non_blocking=self.pinned)
            for name, value in batch.items()
            if name != "label" or self.with_labels
        }

    def _place_file(self, folder: str) -> Path:
        return Path(folder, f"stream-{self.accelerator.process_index}.json")

    def _save(self, models: list, weights: list, folder: str) -> None:
        self._place_file(folder).write_text(json.dumps(self.stream.state_dict()) + "\n", encoding="utf-8")

    def _load(self, models: list, folder: str) -> None:
        file = self._place_file(folder)
        if not file.is_file():
            raise ValueError(
                f"{folder} has no {file.name}: a stream goes on with as many processes as it was saved with, here "
                f"{self.accelerator.num_processes}, and from the checkpoint of a stream."
            )
        self.stream.load_state_dict(json.loads(file.read_text(encoding="utf-8")))


class _Gathered(Dataset):
    """A whole batch for a list of indices, gathered at once."""

    def __init__(self, data: ImageData) -> None:
        self.data = data

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        part = self.data.subset(torch.tensor(indices))
        return {"image": part.images} if part.labels is None else {"image": part.images, "label": part.labels}
