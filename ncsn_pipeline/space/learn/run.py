"""One training of a small network at one noise level, that can be watched, stopped, and never outlives its deadline.

All three objectives have the score of the noised density for their minimum.  The exact and the sliced one are given the
noised samples x + sigma z as if they were data; denoising is given x, and adds the noise itself:

    exact       E 1/2 || s(x + sigma z) ||² + tr(ds/dx)
    sliced      the same, the trace estimated along a random direction
    denoising   E 1/2 || s(x + sigma z) + z / sigma ||²
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...densities import ScoreFn
from ...diagnostics import error_by_density_quantile, relative_fisher_divergence, squared_error
from ...diagnostics.plots import plane_grid
from ...lecture.toy import uniform_square
from ...lecture.training import seeded_layers
from ...networks import ScoreMLP, as_score_function
from ...sampling import langevin_dynamics, last_sample
from ...score_matching import denoising_score_matching, implicit_score_matching, sliced_score_matching
from ..runs.work import ONE_AT_A_TIME
from .limits import LearnSettings

BATCH_SIZE = 256
HIDDEN_FEATURES = 64
LEARNING_RATE = 3e-3
EMA_DECAY = 0.98
SECONDS_A_FRAME = 0.6
GRID = 64  # points along each side of the square that errors are averaged over
JUDGED_SAMPLES = 5000
DRAWN_SAMPLES = 1000
DRAWING_STEPS = 200
STEP_SHARE = 0.1
HALF_WIDTH = 2.4  # of the square in which samples start, in data units


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
            self._network = new_network(settings, self._generator)
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
            loss = self._losses(self.score_of(self._network), BATCH_SIZE).mean()
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
        """The learned score at points `(B, 2)`: that of the averaged weights."""
        return self.score_of(self._average.module)(x)

    def score_of(self, network: ScoreMLP) -> ScoreFn:
        """A network at the run's noise level; without noise it ignores the sigma that it is given."""
        noisy_score_fn, sigma = as_score_function(network), torch.tensor(self.settings.sigma or 1.0)
        return lambda x: noisy_score_fn(x, sigma)

    def least_loss(self) -> float | None:
        """The loss of the exact score, which no other falls below; None where there is none, and so no such bound."""
        if not self.settings.has_score:
            return None
        exact = self.settings.learned.density.noised(self.settings.sigma).score
        return float(self._losses(exact, JUDGED_SAMPLES).detach().mean())

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
        """Samples by Langevin dynamics with the learned score, started all over the square, shape `(N, 2)`.

        The step is a fixed share of the variance of the noised data's finest detail, as in the lecture's experiment.
        None where that is zero, and where the learned field drives the samples to infinity.
        """
        variance = self.settings.sigma**2 + self.settings.learned.thickness**2
        if variance == 0:
            return None
        generator = torch.Generator().manual_seed(self.settings.seed)
        start = uniform_square(DRAWN_SAMPLES, HALF_WIDTH, generator=generator)
        chain = langevin_dynamics(
            self.learned, start, step_size=STEP_SHARE * variance, num_steps=DRAWING_STEPS, generator=generator
        )
        x = last_sample(chain)
        return x if x.isfinite().all() else None

    def _losses(self, score_fn: ScoreFn, batch_size: int) -> Tensor:
        settings, generator = self.settings, self._generator
        density = settings.learned.density
        if settings.objective == "denoising":
            x = density.sample(batch_size, generator=generator)
            return denoising_score_matching(score_fn, x, settings.sigma, generator=generator)
        x = density.noised(settings.sigma).sample(batch_size, generator=generator)
        if settings.objective == "exact":
            return implicit_score_matching(score_fn, x)
        return sliced_score_matching(score_fn, x, generator=generator)


def new_network(settings: LearnSettings, generator: torch.Generator) -> ScoreMLP:
    """A free vector field, that knows nothing of noise, in units of the noised data's deviation."""
    x = settings.learned.density.noised(settings.sigma).sample(2000, generator=generator)
    with seeded_layers(generator):
        return ScoreMLP(
            2,
            HIDDEN_FEATURES,
            preconditioning="none",
            sigma_conditioned=False,
            sigma_data=float(x.std()),
            data_mean=float(x.mean()),
        )
