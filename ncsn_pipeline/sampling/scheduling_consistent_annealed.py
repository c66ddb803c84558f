"""Consistent annealed sampling as a diffusers scheduler.

Annealed Langevin dynamics leaves more noise in the samples than its level names.  Consistent annealed sampling
(Jolicoeur-Martineau et al. 2021, algorithm 2) puts back as much as the next level asks for.  With
gamma = sigma_{i+1} / sigma_i < 1,

    x <- x + eta sigma_i² s(x, sigma_i)          removes the part eta of the noise
    x <- x + sigma_{i+1} beta z,                 z ~ N(0, I),    beta = sqrt(1 - ((1 - eta) / gamma)²)

because x = x_0 + sigma_i n has (1 - eta) sigma_i of n left after the first line, and variances add up to sigma_{i+1}².
That is exact for data at one point.  For N(0, c²) the score takes some of the data's spread for noise, and each level
loses the variance

    eta² sigma_i² c² / (c² + sigma_i²),

which more levels, with a smaller eta, make less of: on a geometric ladder from 10 to 0.01, N(0, 1) ends with the
variance 0.871 after 50 levels, 0.971 after 232, 0.993 after 1,000.

The last level removes all of its noise: x + sigma_L² s(x, sigma_L), without the second line.  One evaluation a level.
beta is real for 1 - gamma <= eta <= 1 + gamma; eta = 1 - gamma² (beta² = 1 - gamma²) is the posterior of x at the next
level given x and the denoised estimate, and a good default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


@dataclass
class ConsistentAnnealedSchedulerOutput(BaseOutput):
    """What a step returns.

    Args:
        prev_sample: the samples after the step, shape `(B, ...)`.
        pred_original_sample: the denoised estimate before it, x + sigma² s (Tweedie's formula), the same shape.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor


class ConsistentAnnealedScheduler(SchedulerMixin, ConfigMixin):
    """Consistent annealed sampling: one evaluation a level, the last one denoises.

    `timesteps` holds the sigma of every network evaluation in order.  The model's output is the score.

    Args:
        num_train_timesteps: number of levels L of the whole ladder, >= 1.
        sigma_min: smallest level sigma_L, > 0, in data units.
        sigma_max: largest level sigma_1, finite; equal to `sigma_min` only where L is 1.
        sigmas: the ladder as numbers, strictly decreasing, in place of the geometric one that the three arguments
            before describe; they are then taken from it.
        eta: the part of the noise that each level removes, within [1 - gamma, 1 + gamma] at every level; `None` for
            1 - gamma² of each.

    Raises:
        ValueError: for values outside these ranges.
    """

    order = 1
    model_output_type = "score"

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 50,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        sigmas: Sequence[float] | None = None,
        eta: float | None = None,
    ) -> None:
        if sigmas is not None:
            ladder = self._checked(sigmas).tolist()
            self.register_to_config(
                sigmas=ladder, num_train_timesteps=len(ladder), sigma_min=ladder[-1], sigma_max=ladder[0]
            )
        # Another scheduler's from_config would leave out what was given by position or by default.
        self.register_to_config(_use_default_values=[])
        self._begin_index: int | None = None
        self.set_timesteps()

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        *,
        num_levels: int | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Lays out the evaluations of one run; with no arguments, the whole ladder of the configuration.

        Args:
            num_inference_steps: exactly this many network evaluations, one a level.
            device: where `timesteps` is put.
            num_levels: the same number by its other name.
            sigmas: the ladder of this run, strictly decreasing.

        Raises:
            ValueError: for counts below 1 or that contradict each other, a ladder that is not strictly decreasing, or
                an eta that is out of range for it.
        """
        counts = {"num_inference_steps": num_inference_steps, "num_levels": num_levels}
        if sigmas is not None:
            ladder = self._checked(sigmas)
            counts["the length of sigmas"] = len(ladder)
        counts = {name: value for name, value in counts.items() if value is not None}
        invalid = any(not isinstance(value, Integral) or value < 1 for value in counts.values())
        if invalid or len(set(counts.values())) > 1:
            raise ValueError(
                "This scheduler evaluates the network once a level, so these must be one whole number, at least 1: "
                + ", ".join(f"{name} = {value}" for name, value in counts.items())
            )
        if sigmas is None:
            ladder = self._ladder(next(iter(counts.values()), None))

        gamma = ladder[1:] / ladder[:-1]
        eta = 1 - gamma**2 if self.config.eta is None else np.full_like(gamma, self.config.eta)
        low, high = 1 - gamma.min(initial=1), 1 + gamma.min(initial=1)
        if self.config.eta is not None and not low <= self.config.eta <= high:
            raise ValueError(
                f"eta is {self.config.eta}; on this ladder it must lie within [1 - gamma, 1 + gamma] = "
                f"[{low:.4g}, {high:.4g}]. Use more levels, or eta=None."
            )
        self._ladder_values = ladder.tolist()
        # The last level denoises: all of its noise is removed and none is added.
        self._removed = [*eta.tolist(), 1.0]
        beta = np.sqrt(np.clip(1 - ((1 - eta) / gamma) ** 2, 0, None))
        self._added = [*(ladder[1:] * beta).tolist(), 0.0]
        self.sigmas = torch.tensor(ladder, dtype=torch.float32, device=device)
        self.timesteps = self.sigmas.clone()
        self.num_inference_steps = len(ladder)
        self._step_index: int | None = None
        self._begin_index = None

    @staticmethod
    def _checked(sigmas: Sequence[float] | Tensor) -> np.ndarray:
        """The ladder as float64, shape `(L,)`."""
        ladder = np.asarray(sigmas.cpu() if isinstance(sigmas, Tensor) else sigmas, dtype=np.float64)
        if ladder.ndim != 1 or len(ladder) < 1:
            raise ValueError(f"A ladder is a list of at least one noise level; got shape {ladder.shape}.")
        if not (np.isfinite(ladder).all() and (ladder > 0).all() and (np.diff(ladder) < 0).all()):
            raise ValueError(f"Noise levels must be finite and positive, and strictly decreasing; got {ladder}.")
        return ladder

    def _ladder(self, num_levels: int | None) -> np.ndarray:
        """The configuration's ladder, or one of its shape with another number of levels."""
        config = self.config
        if config.sigmas is not None:
            whole = self._checked(config.sigmas)
            if num_levels in (None, len(whole)):
                return whole
            place = np.linspace(0, len(whole) - 1, num_levels)
            return np.exp(np.interp(place, np.arange(len(whole)), np.log(whole)))
        levels = config.num_train_timesteps if num_levels is None else num_levels
        if config.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be at least 1; got {config.num_train_timesteps}.")
        if not 0 < config.sigma_min <= config.sigma_max < math.inf:
            raise ValueError(
                f"0 < sigma_min <= sigma_max must hold and both be finite; got {config.sigma_min}, {config.sigma_max}."
            )
        if levels > 1 and config.sigma_min == config.sigma_max:
            raise ValueError(f"{levels} levels need sigma_min < sigma_max; both are {config.sigma_min}.")
        return np.geomspace(config.sigma_max, config.sigma_min, levels)

    @property
    def init_noise_sigma(self) -> float:
        """Deviation of the start, sigma_1."""
        return self._ladder_values[0]

    @property
    def step_index(self) -> int | None:
        """Number of the next evaluation; `None` before the first."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Number of the evaluation that a run starts at, where it is not 0."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Makes the run start at evaluation `begin_index` of `timesteps`."""
        self._begin_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """The sample itself: score networks scale their own input."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> ConsistentAnnealedSchedulerOutput | tuple[Tensor, Tensor]:
        """From one level to the next, or the denoising where it is the last.

        Args:
            model_output: the score at `sample`, shape `(B, ...)`.
            timestep: sigma of this evaluation, as in `timesteps`; steps are counted, so it is not looked up.
            sample: the current samples, shape `(B, ...)`.
            generator: source of the noise, or one for each sample.
            return_dict: whether to return a :class:`ConsistentAnnealedSchedulerOutput` or a tuple.

        Raises:
            RuntimeError: after the last step of the run.
            FloatingPointError: for samples that are not finite.
        """
        if self._step_index is None:
            self._step_index = self._begin_index or 0
        level = self._step_index
        if level >= self.num_inference_steps:
            raise RuntimeError(f"All {level} steps of this run were taken; call set_timesteps() to start another.")
        sigma = self._ladder_values[level]
        last = level == self.num_inference_steps - 1

        denoised = sample.add(model_output, alpha=sigma**2)
        if last:
            prev_sample = denoised
        else:
            prev_sample = sample.add(model_output, alpha=self._removed[level] * sigma**2)
            if self._added[level] > 0:
                noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
                prev_sample.add_(noise, alpha=self._added[level])
        # Now and then, because looking makes the host wait for the device; what is not finite stays so.
        if (last or level % 10 == 9) and not math.isfinite(float(prev_sample.sum(dtype=torch.float32))):
            raise FloatingPointError(
                f"The samples are not finite after level {level + 1} of {self.num_inference_steps} "
                f"(sigma = {sigma:.4g}). Take more levels (num_inference_steps), or a sigma_max within the range that "
                "the network was trained on."
            )
        self._step_index = level + 1
        if not return_dict:
            return prev_sample, denoised
        return ConsistentAnnealedSchedulerOutput(prev_sample=prev_sample, pred_original_sample=denoised)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x + sigma z.

        Args:
            original_samples: clean samples, shape `(B, ...)`.
            noise: unit normal z, the same shape.
            timesteps: sigma, shape `()`, `(1,)` or `(B,)`.
        """
        sigma = timesteps.to(original_samples).reshape(-1, *[1] * (original_samples.dim() - 1))
        return original_samples + sigma * noise

    def __len__(self) -> int:
        return self.config.num_train_timesteps
