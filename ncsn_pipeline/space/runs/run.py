"""One run of a pipeline that can be watched, stopped, and never outlives its deadline.

The pipeline works in a thread of its own and reports through its callback; the page's generator takes what is newest, a
few times a second and later more rarely.  So the page shows what the pipeline makes, and looking does not slow it down.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ncsn_pipeline import NCSNPipeline

from .events import pause_between_frames
from .recording import Recording
from .work import watched

TENSORS = ("latents", "score", "denoised")


@dataclass(frozen=True)
class Frame:
    """The samples after an evaluation.

    Args:
        evaluation: how many evaluations were done.
        evaluations: how many there are in all.
        sigma: the noise level of the last one.
        samples: x, shape `(B, H, W, C)`, clipped to [0, 1].
        denoised: the network's estimate of the clean images, x + sigma² s, the same shape.
        final: whether the run ends with it.
    """

    evaluation: int
    evaluations: int
    sigma: float
    samples: np.ndarray
    denoised: np.ndarray
    final: bool


class SamplingRun:
    """A call of a pipeline in a thread.

    Args:
        pipeline: this run's own: its networks may be shared, its scheduler may not.
        arguments: of the call.
        stop: ends the run after the current evaluation when it is set.
        deadline: seconds after which the run ends by itself.
        evaluations: of the network in the whole call, where steps take several: the pipeline counts them.

    Attributes:
        result: what the pipeline returned, once it has.
    """

    def __init__(
        self,
        pipeline: NCSNPipeline,
        arguments: dict[str, Any],
        stop: threading.Event,
        deadline: float,
        evaluations: int | None = None,
    ) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline
        self.arguments = arguments
        self.stop = stop
        self.deadline = deadline
        self.evaluations = evaluations
        self.result: Any = None
        self.seconds = 0.0
        self.timed_out = False
        self.recording = Recording()
        self._newest: deque[Frame] = deque(maxlen=1)  # an older frame that nobody took gives way

    def frames(self) -> Iterator[Frame]:
        """Runs, and yields the newest frame now and then; the last one holds what the pipeline returns.

        Raises:
            Exception: what the pipeline raised.
        """
        with closing(watched(self._work, self.stop, 0.05)) as looks:
            for _ in looks:
                if self._newest:
                    yield self._newest.pop()
        if self._newest:
            yield self._newest.pop()

    def _work(self) -> None:
        self._start = time.perf_counter()
        self._shown = self._start
        watched = {"callback_on_step_end": self._watch, "callback_on_step_end_tensor_inputs": TENSORS}
        self.result = self.pipeline(**self.arguments, output_type="pt", **watched)

    def _watch(self, pipeline: NCSNPipeline, index: int, sigma: Tensor, tensors: dict[str, Tensor]) -> None:
        now = time.perf_counter()
        self.seconds = now - self._start
        self.timed_out = self.seconds > self.deadline
        sigma, of = float(sigma), pipeline.num_timesteps
        done, whole = (index + 1, of) if self.evaluations is None else (pipeline.evaluations, self.evaluations)
        final = index + 1 == of or self.stop.is_set() or self.timed_out
        pipeline.interrupt = final
        shown = final or index == 0 or now - self._shown > pause_between_frames(self.seconds)
        score, denoised = tensors["score"], tensors["denoised"]
        noisy = denoised.sub(score, alpha=sigma**2)  # what the network saw
        kept = final or self.recording.wants(index, of, noisy.numel())
        self.recording.measure(noisy, score, sigma)
        if not (shown or kept):
            return
        denoised = self._array(denoised)
        if kept:
            self.recording.keep(index + 1, sigma, self._array(noisy), denoised)
        if shown:
            self._shown = now
            samples = self._array(tensors["latents"])
            if final:
                self.recording.end(samples)
            self._newest.append(Frame(done, whole, sigma, samples, denoised, final))

    def _array(self, x: Tensor) -> np.ndarray:
        return self.pipeline.units.to_given(x).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
