"""What is kept of a run, to be looked at afterwards: a bounded number of steps, and two numbers of every one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

MOST_FRAMES = 60
MOST_VALUES = 4_000_000  # of all kept pictures together, a byte each: noise is as good as not compressed


@dataclass(frozen=True)
class RecordedFrame:
    """One evaluation of the network.

    Args:
        evaluation: its number, from 1.
        sigma: its noise level, in data units.
        noisy: x, what the network was given, shape `(B, H, W, C)`, bytes.
        denoised: its estimate of the clean images, x + sigma² s, the same shape.
    """

    evaluation: int
    sigma: float
    noisy: np.ndarray
    denoised: np.ndarray


class Recording:
    """Grows with a run.

    `frames` has at most `MOST_FRAMES` entries and the one that the run ended with; `samples` is x after that one.

    The two numbers show whether a chain is in equilibrium.  Samples of p_sigma obey `E sigma² ||s||² / D <= 1`, close
    to 1 for images, and have the variance of the data plus sigma²; more of either is noise that was not removed.
    """

    def __init__(self) -> None:
        self.frames: list[RecordedFrame] = []
        self.samples: np.ndarray | None = None
        self.sigmas: list[float] = []
        self.noise_left: list[float] = []
        self.deviations: list[float] = []
        self._wanted: set[int] = set()

    def wants(self, index: int, of: int, values: int) -> bool:
        """Whether evaluation `index` of `of`, with pictures of `values` values, is one of the evenly spaced ones."""
        if not self._wanted:
            count = min(max(MOST_VALUES // (2 * values), 2), MOST_FRAMES, of)
            self._wanted = set(np.linspace(0, of - 1, count).round().astype(int).tolist())
        return index in self._wanted

    def keep(self, evaluation: int, sigma: float, noisy: np.ndarray, denoised: np.ndarray) -> None:
        """Keeps the pictures of an evaluation, given in [0, 1]."""
        self.frames.append(RecordedFrame(evaluation, sigma, _bytes(noisy), _bytes(denoised)))

    def end(self, samples: np.ndarray) -> None:
        """Keeps x after the last evaluation, given in [0, 1]."""
        self.samples = _bytes(samples)

    def pictures(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """x and its denoised estimate at every kept evaluation; at last the samples, beside the last estimate."""
        yield from ((frame.noisy, frame.denoised) for frame in self.frames)
        yield self.samples, self.frames[-1].denoised

    def measure(self, noisy: Tensor, score: Tensor, sigma: float) -> None:
        """Takes the two numbers of an evaluation: sigma ||s|| / sqrt(D) over all images, and the deviation of x."""
        self.sigmas.append(sigma)
        self.noise_left.append(sigma * float(score.norm()) / math.sqrt(score.numel()))
        self.deviations.append(float(noisy.std(correction=0)))


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.round(255 * images).astype(np.uint8)
