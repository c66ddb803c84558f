"""One training of a small network, that can be watched, stopped, and never outlives its deadline; and what it draws.

Samples start all over the picture.  At one noise level they follow plain Langevin dynamics there, after all levels the
annealed one, for as many steps; neither ends with a denoising step.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...diagnostics import error_by_density_quantile, relative_fisher_divergence, squared_error
from ...diagnostics.plots import plane_grid
from ...networks import as_score_function
from ...noise_levels import geometric_noise_levels
from ...sampling import annealed_langevin_dynamics, langevin_dynamics, last_sample
from ..runs.work import ONE_AT_A_TIME
from .limits import ALL_SIGMAS, LearnSettings
from .objectives import Objective, new_network

BATCH_SIZE = 256
LEARNING_RATE = 3e-3
EMA_DECAY = 0.98
SECONDS_A_FRAME = 0.6
GRID = 64  # points along each side of the square that errors are averaged over
JUDGED_SAMPLES = 5000
LEAST_SAMPLES = 2000  # of the least loss, whose differentiation takes ten times as long a sample
DRAWN_SAMPLES = 2000
DRAWING_STEPS = 200
STEP_SHARE = 0.1
DRAWING_SIGMAS = geometric_noise_levels(ALL_SIGMAS[1], 0.05, 20)


@dataclass(frozen=True)
class Errors:
    """How far the learned score is from that of the noised density.

    Args:
        relative: E || s - s* ||² / E || s* ||² over samples, without unit.
        lowest: mean of || s - s* ||² over the tenth of the square with the lowest density, over the same E || s* ||².
        highest: the same for the highest density.
    """

    relative: float
    lowest: float
    highest: float


class LearnRun:
    """Training of one network.

    Args:
        settings: what to learn, and how.
        stop: ends the run after the current step when it is set.
        deadline: seconds after which it ends by itself.

    Attributes:
        losses: mean loss of every step so far.
        seconds: since the start.
        timed_out: whether the deadline ended it.
        broken: whether it ended because the loss was no longer finite.
    """

    def __init__(self, settings: LearnSettings, stop: threading.Event, deadline: float) -> None:
        self.settings = settings
        self.stop = stop
        self.deadline = deadline
        self.losses: list[float] = []
        self.seconds = 0.0
        self.timed_out = self.broken = False
        self._generator = torch.Generator().manual_seed(settings.seed)
        with ONE_AT_A_TIME:  # its weights come from torch's own generator, which is everybody's
            self._network, spread = new_network(settings, self._generator)
        self._objective = Objective(settings, spread, self._generator)
        self._average = AveragedModel(self._network, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))

    @property
    def finished(self) -> bool:
        """Whether it took all its steps."""
        return len(self.losses) == self.settings.num_steps

    def frames(self) -> Iterator[bool]:
        """Trains, and yields now and then; what it yields is whether the run has ended."""
        # The rate stays as it is, and an average of the weights is looked at: a rate that falls would calm any loss.
        optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE)
        start, interval = time.perf_counter(), SECONDS_A_FRAME
        while True:
            with ONE_AT_A_TIME:
                self._train(optimizer, start, interval)
            if self._ended:
                break
            shown = time.perf_counter()
            yield False
            # Where drawing is slow, it is done less often: most of the time is for training.
            interval = max(SECONDS_A_FRAME, 3 * (time.perf_counter() - shown))
        yield True

    @property
    def _ended(self) -> bool:
        return self.finished or self.stop.is_set() or self.timed_out or self.broken

    def _train(self, optimizer: torch.optim.Optimizer, start: float, seconds: float) -> None:
        """Takes steps for so long, or until the run ends."""
        until = time.perf_counter() + seconds
        while not self._ended and time.perf_counter() < until:
            loss = self._objective.losses(as_score_function(self._network), BATCH_SIZE).mean()
            if not loss.isfinite():
                self.broken = True
                return
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self._average.update_parameters(self._network)
            self.losses.append(float(loss.detach()))
            self.seconds = time.perf_counter() - start
            self.timed_out = self.seconds > self.deadline

    @torch.no_grad()
    def learned(self, x: Tensor) -> Tensor:
        """The learned score at the run's noise level, at points `(B, 2)`: that of the averaged weights."""
        return as_score_function(self._average.module)(x, torch.tensor(self.settings.sigma))

    def least_loss(self) -> float | None:
        """The loss of the exact score, which no other falls below; None where there is none, and so no such bound."""
        return self._objective.least(LEAST_SAMPLES)

    def errors(self) -> Errors | None:
        """How good the learned score is; None where there is nothing to hold it against."""
        if not self.settings.has_score:
            return None
        noised = self.settings.learned.density.noised(self.settings.sigma)
        x = noised.sample(JUDGED_SAMPLES, generator=torch.Generator().manual_seed(0))
        grid = plane_grid(self.settings.learned.extent, GRID)
        true = noised.score(x)
        error = squared_error(self.learned(grid), noised.score(grid)) / true.square().sum(1).mean()
        tenths = error_by_density_quantile(error, noised.log_prob(grid)).mean
        relative = relative_fisher_divergence(self.learned(x), true)
        return Errors(relative, float(tenths[0]), float(tenths[-1]))

    @torch.no_grad()
    def draw(self) -> Tensor | None:
        """Samples by Langevin dynamics with the learned score, started all over the picture, shape `(N, 2)`.

        The step is a fixed share of a variance, as in the lecture's experiment: at one level of the noised data's
        finest detail, at all levels of each level's noise.  None where that is zero, and where the learned field drives
        the samples to infinity.
        """
        settings, generator = self.settings, torch.Generator().manual_seed(self.settings.seed)
        variance = settings.sigma**2 + settings.learned.thickness**2
        if variance == 0:
            return None
        left, right, bottom, top = settings.learned.extent
        size, corner = torch.tensor([right - left, top - bottom]), torch.tensor([left, bottom])
        start = corner + size * torch.rand(DRAWN_SAMPLES, 2, generator=generator)
        if settings.all_levels:
            chain = annealed_langevin_dynamics(
                as_score_function(self._average.module),
                start,
                sigmas=DRAWING_SIGMAS,
                steps_per_level=DRAWING_STEPS // len(DRAWING_SIGMAS),
                step_size=STEP_SHARE * float(DRAWING_SIGMAS[-1]) ** 2,
                denoise=False,
                generator=generator,
            )
        else:
            chain = langevin_dynamics(
                self.learned, start, step_size=STEP_SHARE * variance, num_steps=DRAWING_STEPS, generator=generator
            )
        try:
            return last_sample(chain)
        except FloatingPointError:
            return None
