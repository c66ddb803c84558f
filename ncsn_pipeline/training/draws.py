"""The randomness of training, as a function of position: (seed, step, image) says which numbers an image gets.

Image i of a step has a generator of its own, and what is drawn once a step is drawn for the whole step and cut.  So a
step sees the same noise whether its images stand in one batch, are spread over processes, or come one micro-batch after
the other; and a resumed run draws what it would have drawn.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What random numbers are for: two purposes never share any."""

    TRAINING = 0
    HELD_OUT_LEVELS = 1
    HELD_OUT = 2
    SAMPLES = 3
    MEASURING = 4
    ORDER = 5
    DENOISER_ERROR = 6


class Stream(IntEnum):
    """Within a batch: one kind of random number each."""

    LEVELS = 0
    LABELS = 1
    NOISE = 2
    PROJECTIONS = 3
    FLIPS = 4
    DEQUANTIZATION = 5
    START = 6
    PLACES = 7


def generator_for(*numbers: int) -> torch.Generator:
    """A generator on the CPU that depends on these numbers >= 0 alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


class BatchDraws:
    """The random numbers of images `first` ... `first + count - 1` of the `total` images of one step.

    Numbers that are drawn on another kind of device are others, but the same at every run on that kind.

    Args:
        seed: of the run, >= 0.
        step: number of the step, >= 0.
        first: position of the batch's first image among those of the step.
        count: images in the batch.
        total: images in the step, over all processes and micro-batches.
        purpose: keeps the numbers of training and of measuring apart.

    Raises:
        ValueError: for a batch that does not lie within the step.
    """

    def __init__(
        self, seed: int, step: int, first: int, count: int, total: int, purpose: Purpose = Purpose.TRAINING
    ) -> None:
        if not 0 <= first <= first + count <= total:
            raise ValueError(f"Images {first} to {first + count - 1} do not lie within a step of {total} images.")
        self.key = (seed, int(purpose), step)
        self.part = slice(first, first + count)
        self.total = total

    def whole(self, draw: Callable[[int, torch.Generator], Tensor], stream: Stream) -> Tensor:
        """What one generator gives for all images of the step, `draw(total, generator)`, cut to the batch.

        For what is cheap: one or a few numbers per image.

        Args:
            draw: makes a tensor of shape `(total, ...)` on the CPU.
            stream: kind of the numbers.

        Returns:
            Shape `(count, ...)`, on the CPU.
        """
        return draw(self.total, generator_for(*self.key, int(stream)))[self.part]

    def normal(self, shape: Sequence[int], device: torch.device | str, stream: Stream = Stream.NOISE) -> Tensor:
        """Unit normal numbers, float32, shape `(count, *shape)`, drawn on `device`."""
        return self._fill(lambda row, generator: row.normal_(generator=generator), shape, device, stream)

    def uniform(self, shape: Sequence[int], device: torch.device | str, stream: Stream) -> Tensor:
        """Numbers between 0 and 1, float32, shape `(count, *shape)`, drawn on `device`."""
        return self._fill(lambda row, generator: row.uniform_(generator=generator), shape, device, stream)

    def rademacher(
        self, shape: Sequence[int], device: torch.device | str, stream: Stream = Stream.PROJECTIONS
    ) -> Tensor:
        """-1 or 1, float32, shape `(count, *shape)`, drawn on `device`."""
        bits = self._fill(lambda row, generator: row.random_(0, 2, generator=generator), shape, device, stream)
        return bits.mul_(2).sub_(1)

    def _fill(
        self,
        fill: Callable[[Tensor, torch.Generator], Tensor],
        shape: Sequence[int],
        device: torch.device | str,
        stream: Stream,
    ) -> Tensor:
        rows = torch.empty(self.part.stop - self.part.start, *shape, device=device)
        # One sequence gives the seeds of all images of the step; one generator is seeded anew for each.
        seeds = np.random.SeedSequence((*self.key, int(stream))).generate_state(self.total, np.uint64)[self.part]
        generator = torch.Generator(device)
        for row, seed in zip(rows, seeds.tolist(), strict=True):
            fill(row, generator.manual_seed(seed))
        return rows
