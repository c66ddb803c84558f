"""Annealed Langevin dynamics as a diffusers scheduler.

Langevin dynamics follows the score uphill and adds noise,

    x <- x + alpha s(x, sigma) + sqrt(2 alpha) z,        z ~ N(0, I),

and for small alpha its samples come from the density whose score s is.  Annealed Langevin dynamics (Song & Ermon 2019,
algorithm 1) runs T such steps at each level of a ladder sigma_1 > ... > sigma_L, every level starting from the samples
of the one before, with

    alpha_i = epsilon sigma_i² / sigma_L²,

so that signal and noise stay in the same proportion, and ends with one denoising step, x + sigma_L² s(x, sigma_L)
(Jolicoeur-Martineau et al. 2021).  The paper's algorithm writes alpha / 2 and sqrt(alpha) for the same thing, so its
alpha is twice this one.  epsilon must stay below 2 sigma_L²: beyond, the linear part of a step, x (1 - alpha / sigma²),
diverges.
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


def langevin_step(x: Tensor, score: Tensor, alpha: float, noise: Tensor) -> Tensor:
    """One step of Langevin dynamics, x + alpha s + sqrt(2 alpha) z.

    Args:
        x: the samples, any shape.
        score: s at x, the same shape.
        alpha: the step size, > 0, in squared data units.
        noise: unit normal z, the same shape.
    """
    return x.add(score, alpha=alpha).add_(noise, alpha=math.sqrt(2 * alpha))


def step_size_for_variance(sigmas: Sequence[float] | Tensor, steps_per_level: int) -> tuple[float, float]:
    """The step size epsilon with which a level that is entered with its own variance ends closest to it.

    With all data at one point the score of level i is -x / sigma_i², and T steps with u = epsilon / sigma_L², a = 1 -
    u, bring the variance from the level above, (gamma sigma_i)², gamma = sigma_{i-1} / sigma_i, to s_T²:

        s_T² / sigma_i² = a^(2T) (gamma² - b) + b,        b = 2 u / (1 - a²) = 2 / (2 - u)

    (Song & Ermon 2020, technique 4).  It is a weighted mean of gamma², where the level starts, and b, where its chain
    settles; both exceed 1, hence so does the ratio, and technique 4 chooses the epsilon that makes it least.  It grows
    with gamma, so on a ladder that is not geometric the level after the widest gap decides.

    Down the levels the excess accumulates, as each is entered with what the one above left over: with T = 1 the
    variance at the end of a long ladder comes to 2 sigma_L², whatever gamma is.  More steps per level, or a larger
    epsilon, bring it down.

    Args:
        sigmas: the ladder, shape `(L,)`, positive and strictly decreasing, in data units.  A single level has no gap to
            cross: it is treated as entered from twice its own width (gamma = 2).
        steps_per_level: T, at least 1.

    Returns:
        epsilon, in squared data units and within (0, 2 sigma_L²), and s_T² / sigma_i² at the level after the widest
        gap, entered with the variance of the level above.

    Raises:
        ValueError: for an invalid ladder or number of steps.
    """
    if not isinstance(steps_per_level, Integral) or isinstance(steps_per_level, bool) or steps_per_level < 1:
        raise ValueError(f"steps_per_level must be an integer of at least 1; got {steps_per_level}.")
    ladder = check_ladder(sigmas)
    gamma = float((ladder[:-1] / ladder[1:]).max()) if len(ladder) > 1 else 2.0

    def excess(u: np.ndarray) -> np.ndarray:
        """The ratio less 1, as a^(2T) (gamma² - 1) + (1 - a^(2T)) (b - 1): sums of small terms, so nothing cancels."""
        power = (1 - u) ** (2 * steps_per_level)
        return power * (gamma**2 - 1) + (1 - power) * u / (2 - u)

    # A step u and its mirror image 2 - u contract equally and u < 1 has the smaller b: the best one is at most 1.
    low, high = 1e-12, 1.0
    for _ in range(6):  # each pass looks a hundred times closer around the best
        u = np.geomspace(low, high, 401)
        best = int(excess(u).argmin())
        low, high = u[max(best - 1, 0)], u[min(best + 1, len(u) - 1)]
    return float(u[best] * ladder[-1] ** 2), float(1 + excess(u[best]))


def check_ladder(sigmas: Sequence[float] | Tensor) -> np.ndarray:
    """The ladder as float64, shape `(L,)`.

    Raises:
        ValueError: for a ladder that is empty, or not finite, positive and strictly decreasing.
    """
    ladder = np.asarray(sigmas.cpu() if isinstance(sigmas, Tensor) else sigmas, dtype=np.float64)
    if ladder.ndim != 1 or len(ladder) < 1:
        raise ValueError(f"A ladder is a list of at least one noise level; got shape {ladder.shape}.")
    if not (np.isfinite(ladder).all() and (ladder > 0).all() and (np.diff(ladder) < 0).all()):
        raise ValueError(f"Noise levels must be finite and positive, and strictly decreasing; got {_short(ladder)}.")
    return ladder


def _short(ladder: np.ndarray) -> str:
    shown = [f"{sigma:.4g}" for sigma in ladder]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "...", *shown[-3:]])


@dataclass
class AnnealedLangevinSchedulerOutput(BaseOutput):
    """What a step returns.

    Args:
        prev_sample: the samples after the step, shape `(B, ...)`.
        pred_original_sample: the denoised estimate before it, x + sigma² s (Tweedie's formula), the same shape.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor


class AnnealedLangevinScheduler(SchedulerMixin, ConfigMixin):
    """Annealed Langevin dynamics: T Langevin steps at each noise level, then a denoising step.

    `timesteps` holds the sigma of every network evaluation in order, so its length is their number.  The model's output
    is the score.

    Args:
        num_train_timesteps: number of levels L of the whole ladder, >= 1.
        sigma_min: smallest level sigma_L, > 0, in data units.
        sigma_max: largest level sigma_1, finite; equal to `sigma_min` only where L is 1.
        sigmas: the ladder as numbers, strictly decreasing, in place of the geometric one that the three arguments
            before describe; they are then taken from it.
        steps_per_level: T >= 1.
        step_size: epsilon, the step at the last level, within (0, 2 sigma_L²), in squared data units; `None` chooses it
            by the variance it leaves at one level, see :func:`step_size_for_variance`.
        denoise: whether to end with the denoising step, which needs one evaluation more.
        initial: the start, `"normal"` for N(0, sigma_1²) or `"uniform"` for U[data_min, data_max], as in the code of
            Song & Ermon (2019).

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
        steps_per_level: int = 5,
        step_size: float | None = None,
        denoise: bool = True,
        initial: str = "normal",
    ) -> None:
        if initial not in ("normal", "uniform"):
            raise ValueError(f"initial must be 'normal' or 'uniform'; got {initial!r}.")
        if sigmas is not None:
            ladder = check_ladder(sigmas).tolist()
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
        steps_per_level: int | None = None,
        step_size: float | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Lays out the evaluations of one run; with no arguments, the whole ladder of the configuration.

        Args:
            num_inference_steps: exactly this many network evaluations N.  One is the denoising; of the rest, each level
                takes T, and what is left over goes to the last: L = max(1, (N - 1) // T).
            device: where `timesteps` is put.
            num_levels: L; with `num_inference_steps`, T is what fits.
            steps_per_level: T, in place of the configuration's.
            step_size: epsilon, in place of the configuration's.
            sigmas: the ladder of this run, strictly decreasing; with `num_inference_steps`, T is what fits.

        Raises:
            ValueError: for counts below 1, a ladder that is not strictly decreasing, a step size outside
                (0, 2 sigma_L²), or counts that contradict each other.
        """
        denoise = int(self.config.denoise)
        steps = self.config.steps_per_level if steps_per_level is None else steps_per_level
        counts = {"num_inference_steps": num_inference_steps, "num_levels": num_levels, "steps_per_level": steps}
        for name, value in counts.items():
            if value is not None and (not isinstance(value, Integral) or value < 1):
                raise ValueError(f"{name} must be at least 1 and a whole number; got {value}.")
        if sigmas is not None:
            ladder = check_ladder(sigmas)
            if num_levels not in (None, len(ladder)):
                raise ValueError(f"num_levels is {num_levels}, but sigmas has {len(ladder)} levels; give one of them.")
            num_levels = len(ladder)
        extra = 0
        if num_inference_steps is not None:
            langevin_steps = num_inference_steps - denoise
            if num_levels is None:
                num_levels = max(1, langevin_steps // steps)
            elif steps_per_level is None:
                steps = langevin_steps // num_levels
            if num_levels > 1 and (steps < 1 or langevin_steps < num_levels * steps):
                raise ValueError(
                    f"{num_inference_steps} evaluations are too few for {num_levels} levels of {max(steps, 1)} step(s)"
                    f"{' and the denoising' if denoise else ''}: give num_inference_steps >= "
                    f"{num_levels * max(steps, 1) + denoise}, or fewer levels."
                )
            steps = min(steps, langevin_steps)
            extra = langevin_steps - num_levels * steps
        if sigmas is None:
            ladder = self._ladder(num_levels)

        self.sigmas = torch.tensor(ladder, dtype=torch.float32, device=device)
        self.steps_per_level = steps
        self.step_size = self._step_size(ladder, step_size)
        evaluations = [steps] * len(ladder)
        evaluations[-1] += extra + denoise
        self._levels = np.repeat(np.arange(len(ladder)), evaluations).tolist()
        self._ladder_values = ladder.tolist()
        self._alphas = (self.step_size * (ladder / ladder[-1]) ** 2).tolist()
        self.timesteps = self.sigmas.repeat_interleave(torch.tensor(evaluations, device=device))
        self.num_inference_steps = len(self._levels)
        self._step_index: int | None = None
        self._begin_index = None

    def _ladder(self, num_levels: int | None) -> np.ndarray:
        """The configuration's ladder, or one of its shape with another number of levels."""
        config = self.config
        if config.sigmas is not None:
            whole = check_ladder(config.sigmas)
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

    def _step_size(self, ladder: np.ndarray, step_size: float | None) -> float:
        """epsilon: of this run, of the configuration, or by technique 4; checked against its bound."""
        step_size = self.config.step_size if step_size is None else step_size
        suitable = step_size_for_variance(ladder, max(self.steps_per_level, 1))[0]
        if step_size is None:
            return suitable
        bound = 2 * ladder[-1] ** 2
        if not 0 < step_size < bound:
            raise ValueError(
                f"step_size is {step_size}; it must lie within (0, 2 sigma_L²) = (0, {bound:.4g}), beyond which "
                f"Langevin dynamics diverges. {suitable:.4g} suits this ladder."
            )
        return step_size

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
    ) -> AnnealedLangevinSchedulerOutput | tuple[Tensor, Tensor]:
        """One Langevin step, or the denoising where it is the last.

        Steps are counted: levels repeat in `timesteps`, so their number, not `timestep`, says which one this is.

        Args:
            model_output: the score at `sample`, shape `(B, ...)`.
            timestep: sigma of this evaluation, as in `timesteps`.
            sample: the current samples, shape `(B, ...)`.
            generator: source of the noise, or one for each sample.
            return_dict: whether to return an :class:`AnnealedLangevinSchedulerOutput` or a tuple.

        Raises:
            RuntimeError: after the last step of the run.
            FloatingPointError: at the end of a level, for samples that are not finite.
        """
        if self._step_index is None:
            self._step_index = self._begin_index or 0
        index = self._step_index
        if index >= self.num_inference_steps:
            raise RuntimeError(f"All {index} steps of this run were taken; call set_timesteps() to start another.")
        level = self._levels[index]
        sigma = self._ladder_values[level]
        last = index == self.num_inference_steps - 1

        denoised = sample.add(model_output, alpha=sigma**2)
        if last and self.config.denoise:
            prev_sample = denoised
        else:
            noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            prev_sample = langevin_step(sample, model_output, self._alphas[level], noise)
        if last or self._levels[index + 1] != level:
            self._check_finite(prev_sample, level)
        self._step_index = index + 1
        if not return_dict:
            return prev_sample, denoised
        return AnnealedLangevinSchedulerOutput(prev_sample=prev_sample, pred_original_sample=denoised)

    def _check_finite(self, sample: Tensor, level: int) -> None:
        if not math.isfinite(float(sample.sum(dtype=torch.float32))):
            smaller = min(
                step_size_for_variance(self._ladder_values, max(self.steps_per_level, 1))[0], self.step_size / 4
            )
            raise FloatingPointError(
                f"The samples are not finite after level {level + 1} of {len(self._ladder_values)} "
                f"(sigma = {self._ladder_values[level]:.4g}, step_size = {self.step_size:.4g}). "
                f"Try step_size = {smaller:.2g}, or start at a larger sigma_max."
            )

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
