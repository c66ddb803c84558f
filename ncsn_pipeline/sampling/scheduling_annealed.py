"""Annealed samplers as schedulers of diffusers; each one is a table.

Every sampler here takes steps of one form, with one network evaluation each,

    x <- x + a s(x, sigma) + b z,        z ~ N(0, I),

so all that tells them apart is which numbers sigma, a and b they put into the rows of a table.  With noise levels
sigma_1 > ... > sigma_L and gamma_i = sigma_{i+1} / sigma_i:

    Langevin at a level       a = alpha_i = epsilon sigma_i² / sigma_L²        b = sqrt(2 alpha_i)
    consistent, eta_i         a = eta_i sigma_i²              b = sigma_{i+1} sqrt(1 - ((1 - eta_i) / gamma_i)²)
    reverse diffusion         a = sigma_i² - sigma_{i+1}²     b = sqrt(sigma_i² - sigma_{i+1}²)
    corrector                 a = 2 r² sigma_i²               b = sqrt(2 a)
    denoising, the last       a = sigma_L²                    b = 0

The papers' annealed Langevin dynamics writes alpha / 2 and sqrt(alpha) for the same step: its alpha is twice this one.
"""

import inspect
import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

Generators = torch.Generator | list[torch.Generator] | None


class Row(NamedTuple):
    """One network evaluation and the step taken by it, x <- x + a s(x, sigma) + b z.

    Args:
        sigma: the noise level of x, in data units.
        a: what the score is multiplied by, in squared data units.
        b: deviation of the noise that is added, in data units; none is drawn where it is 0.
        to: the noise level that is left in x afterwards: sigma itself for a Langevin step, 0 after the denoising.
    """

    sigma: float
    a: float
    b: float
    to: float


class Table(list[Row]):
    """The rows of a run, in order, as :func:`~ncsn_pipeline.sampling.follow` follows them."""

    @property
    def sigmas(self) -> list[float]:
        """The noise level of each evaluation."""
        return [row.sigma for row in self]

    def step(self, i: int, x: Tensor, score: Tensor, generator: Generators = None) -> Tensor:
        """The samples after row `i`, from those before it and their score, all of shape `(B, ...)`.

        Raises:
            ValueError: for a score of another shape than the samples.
            FloatingPointError: for samples that are not finite, at every tenth row and the last.
        """
        if score.shape != x.shape:
            raise ValueError(f"The score has shape {tuple(score.shape)}, the samples have {tuple(x.shape)}.")
        row = self[i]
        x = added(x, score, row.a)
        if row.b > 0:
            noise = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            x.add_(noise, alpha=row.b)
        # Now and then, because looking makes the host wait for the device; what is not finite stays so.
        looks = i % 10 == 9 or i == len(self) - 1
        if looks and not math.isfinite(float(x.sum(dtype=torch.promote_types(x.dtype, torch.float32)))):
            raise FloatingPointError(
                f"The samples are not finite after evaluation {i + 1} of {len(self)} (sigma = {row.sigma:.4g}). Take "
                "more levels or a smaller step_size, and a sigma_max within the range that the network was trained on."
            )
        return x


def added(x: Tensor, y: Tensor, factor: float) -> Tensor:
    """x + factor y, also in float16 where the factor is beyond its largest number, 65,504."""
    return x + factor * y if x.dtype == torch.float16 else x.add(y, alpha=factor)


class AnnealedScheduler(SchedulerMixin, ConfigMixin):
    """What the samplers share: noise levels, the table of a run, and the step that follows it.

    `timesteps` holds the sigma of every network evaluation in order, so its length is their number; `sigmas` holds the
    noise levels, each once, and `table` the rows.  The model's output is the score.  A sampler says how many
    evaluations its levels take (`_plan`), and fills the table (`_rows`) but for the denoising.

    Args:
        num_train_timesteps: number of levels L of the whole noise schedule, >= 1.
        sigma_min: smallest level sigma_L, > 0, in data units.
        sigma_max: largest level sigma_1, finite; equal to `sigma_min` only where L is 1.
        sigmas: the levels as numbers, strictly decreasing, in place of geometric ones; `num_train_timesteps`,
            `sigma_min` and `sigma_max` are then set from it.

    Raises:
        ValueError: for values outside these ranges, and those of the sampler's own settings.
    """

    order = 1
    model_output_type = "score"
    _compatibles = ["ScoreSdeVeScheduler"]  # its folders hold noise levels by the same names

    def _begin(self) -> None:
        """Ends each `__init__`: writes given levels into the configuration and lays out its whole noise schedule."""
        if self.config.sigmas is not None:
            sigmas = check_noise_levels(self.config.sigmas).tolist()
            self.register_to_config(
                sigmas=sigmas, num_train_timesteps=len(sigmas), sigma_min=sigmas[-1], sigma_max=sigmas[0]
            )
        # from_config skips values recorded as defaults and warns of others that the other class does not know: that one
        # must receive the noise levels, and nothing of this sampler's own that was left as it is.
        parameters = list(inspect.signature(type(self).__init__).parameters.items())[4:]
        own = [name for name, given in parameters if self.config[name] == given.default]
        self.register_to_config(_use_default_values=own)
        self.set_timesteps()

    @classmethod
    def _get_compatibles(cls) -> list[type[SchedulerMixin]]:
        return [*AnnealedScheduler.__subclasses__(), *super()._get_compatibles()]

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        *,
        sigmas: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Fills the table of one run; with no arguments, the whole noise schedule of the configuration.

        Args:
            num_inference_steps: exactly this many network evaluations N; without `sigmas`, in as many levels as fit.
                What is left over goes to the last level.
            device: where `timesteps` is put.
            sigmas: the levels of this run, strictly decreasing, > 0, in data units.

        Raises:
            ValueError: for a count below 1 or one that does not suit the levels, levels that are not strictly
                decreasing, or a setting of the sampler that is out of range for them.
        """
        if num_inference_steps is not None:
            check_counts(num_inference_steps=num_inference_steps)
        levels = None if sigmas is None else check_noise_levels(sigmas)
        each, end, denoise = self._plan(num_inference_steps, None if levels is None else len(levels))
        if levels is None:
            levels = self._noise_levels(num_inference_steps and max(1, (num_inference_steps - end) // max(each, 1)))
        needed = each * len(levels) + end
        extra = 0 if num_inference_steps is None else num_inference_steps - needed
        enough = extra >= 0 and needed + extra >= 1
        rows, spare = self._rows(levels, each) if enough else ([], None)
        if not enough or (extra and spare is None):
            raise ValueError(
                f"{needed + extra} evaluations are too {'many' if extra > 0 else 'few'} for {len(levels)} levels, "
                f"which take {max(needed, 1)}: leave num_inference_steps out, or give other levels."
            )
        last = levels[-1].item()
        self.table = Table(rows + [spare] * extra + [Row(last, last**2, 0.0, 0.0)] * denoise)
        self.sigmas = torch.tensor(levels, dtype=torch.float32, device=device)
        self.timesteps = torch.tensor(self.table.sigmas, dtype=torch.float32, device=device)
        self.num_inference_steps = len(self.table)
        self.step_index: int | None = None
        self.begin_index: int | None = None

    def _plan(self, num_inference_steps: int | None, num_levels: int | None) -> tuple[int, int, bool]:
        """L levels take `each` L + `end` evaluations: both numbers, and whether the last is the denoising."""
        raise NotImplementedError

    def _rows(self, levels: np.ndarray, each: int) -> tuple[list[Row], Row | None]:
        """The rows before the denoising, `each` at every level, and the row for evaluations that are left over."""
        raise NotImplementedError

    def _noise_levels(self, num_levels: int | None) -> np.ndarray:
        """The configuration's levels as float64, `(L,)`, or another number of them over the same range."""
        config = self.config
        if config.sigma_min == config.sigma_max:  # one level, however many evaluations
            num_levels = None
        if config.sigmas is not None:
            whole = np.array(config.sigmas)
            if num_levels in (None, len(whole)):
                return whole
            place = np.linspace(0, len(whole) - 1, num_levels)
            return np.exp(np.interp(place, np.arange(len(whole)), np.log(whole)))
        low, high, count = config.sigma_min, config.sigma_max, num_levels or config.num_train_timesteps
        check_counts(num_train_timesteps=count)
        if not 0 < low <= high < math.inf or (low == high and count > 1):
            raise ValueError(f"0 < sigma_min < sigma_max < inf must hold (or =, for one level); got {low} and {high}.")
        return check_noise_levels(np.geomspace(high, low, count))

    @property
    def init_noise_sigma(self) -> float:
        """Deviation of the start, sigma_1."""
        return self.table[0].sigma

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Makes the run start at evaluation `begin_index` of `timesteps`."""
        self.begin_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """The sample itself: score networks scale their own input."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> DDPMSchedulerOutput | tuple[Tensor, Tensor]:
        """One row of the table.

        Args:
            model_output: the score at `sample`, shape `(B, ...)`.
            timestep: sigma of this evaluation, one of `timesteps`.  It says where a run starts, if `set_begin_index`
                did not; from there on steps are counted, since levels repeat.
            sample: the current samples, shape `(B, ...)`.
            generator: source of the noise, or one for each sample.
            return_dict: whether to return an :class:`DDPMSchedulerOutput` or a tuple.

        Raises:
            ValueError: for a first `timestep` that is not one of `timesteps`.
            RuntimeError: after the last step of the run.
            FloatingPointError: for samples that are not finite, checked at every tenth evaluation and the last.
        """
        index = self.begin_index if self.step_index is None else self.step_index
        if index is None:
            sigma = float(timestep)
            index = next((i for i, row in enumerate(self.table) if math.isclose(row.sigma, sigma, rel_tol=1e-6)), None)
        if index is None:
            raise ValueError(
                f"This run has no evaluation at sigma = {sigma:.6g}; its {len(self.table)} evaluations go from "
                f"{self.table[0].sigma:.6g} to {self.table[-1].sigma:.6g}. Pass one of scheduler.timesteps."
            )
        if index >= len(self.table):
            raise RuntimeError(f"All {index} steps of this run were taken; call set_timesteps() to start another.")
        denoised = added(sample, model_output, self.table[index].sigma ** 2)
        prev_sample = self.table.step(index, sample, model_output, generator)
        self.step_index = index + 1
        output = DDPMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=denoised)
        return output if return_dict else output.to_tuple()

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


class AnnealedLangevinScheduler(AnnealedScheduler):
    """Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1): T Langevin steps at each level, then a denoising.

    Each level starts from the samples of the one before, and alpha_i = epsilon sigma_i² / sigma_L² keeps signal and
    noise in proportion.  For data at one point a step multiplies x by 1 - alpha / sigma², so it diverges for epsilon >=
    2 sigma_L².  The denoising is that of Jolicoeur-Martineau et al. (2021).  N evaluations are L = max(1, (N - 1) // T)
    levels (N // T without it); where N and the levels are both given, T is what fits.

    Args beside those of :class:`AnnealedScheduler`:
        steps_per_level: T >= 1.
        step_size: epsilon, the step at the last level, within (0, 2 sigma_L²), in squared data units; `None` chooses it
            by technique 4 of Song & Ermon 2020, see :func:`step_size_for_variance`.
        denoise: whether to end with the denoising step, which needs one evaluation more.
        initial: the start, `"normal"` for N(0, sigma_1²) or `"uniform"` for U[data_min, data_max], as in the code of
            Song & Ermon (2019).
    """

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
        check_counts(steps_per_level=steps_per_level)
        self._begin()

    def _plan(self, num_inference_steps: int | None, num_levels: int | None) -> tuple[int, int, bool]:
        steps, denoise = self.config.steps_per_level, int(self.config.denoise)
        if num_inference_steps is not None:
            fits = (num_inference_steps - denoise) // (num_levels or 1)
            steps = min(steps, fits) if num_levels is None else max(fits, int(num_levels > 1))
        return steps, denoise, bool(denoise)

    def _rows(self, levels: np.ndarray, steps: int) -> tuple[list[Row], Row | None]:
        widest = float((levels[:-1] / levels[1:]).max()) if len(levels) > 1 else 2.0
        u, bound = least_excess([widest**2], max(steps, 1))[0], 2 * levels[-1] ** 2  # technique 4
        suitable = float(u * levels[-1] ** 2)
        step_size = suitable if self.config.step_size is None else self.config.step_size
        if not 0 < step_size < bound:
            raise ValueError(
                f"step_size is {step_size}; it must lie within (0, 2 sigma_L²) = (0, {bound:.4g}), beyond which "
                f"Langevin dynamics diverges. {suitable:.4g} suits these levels."
            )
        self.steps_per_level, self.step_size = steps, step_size
        alphas = (step_size * (levels / levels[-1]) ** 2).tolist()
        chains = [_langevin(*level) for level in zip(levels.tolist(), alphas, strict=True)]
        return [row for row in chains for _ in range(steps)], chains[-1]


class ConsistentAnnealedScheduler(AnnealedScheduler):
    """Consistent annealed sampling (Jolicoeur-Martineau et al. 2021, algorithm 2): one evaluation per level.

    x = x_0 + sigma_i n has the part 1 - eta_i of its noise left after x + eta_i sigma_i² s, and the noise that is added
    brings it to the next level's.  That is exact for data at one point; of N(0, c²) each level loses the variance
    eta_i² sigma_i² c² / (c² + sigma_i²), which vanishes as the levels come closer.  (N(0, 1) from 10 to 0.01 ends with
    0.871 after 50 levels, 0.971 after 232, 0.993 after 1,000.)  The last level takes the denoising step.  One number
    makes a family of it:

        eta_i = 1 - gamma_i         no noise is added: Euler's step of the probability flow, DDIM
        eta_i = 1 - gamma_i²        the ancestral step: mean and variance of x at the next level, given x and x_0
        eta_i = 1                   denoise and noise again: multi-step consistency sampling

    Args beside those of :class:`AnnealedScheduler`:
        eta: the part of the noise that each level removes, a number within [1 - gamma, 1 + gamma] at every level,
            `"ode"` for 1 - gamma or `"ancestral"` for 1 - gamma² of each; `None` is `"ancestral"`.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 50,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        sigmas: Sequence[float] | None = None,
        eta: float | str | None = None,
    ) -> None:
        if isinstance(eta, str) and eta not in ("ode", "ancestral"):
            raise ValueError(f"eta must be a number, 'ode', 'ancestral' or None; got {eta!r}.")
        self._begin()

    def _plan(self, num_inference_steps: int | None, num_levels: int | None) -> tuple[int, int, bool]:
        return 1, 0, True

    def _rows(self, levels: np.ndarray, each: int) -> tuple[list[Row], Row | None]:
        gamma, eta = levels[1:] / levels[:-1], self.config.eta
        named = {"ode": 1 - gamma, "ancestral": 1 - gamma**2, None: 1 - gamma**2}
        etas = named[eta] if eta in named else np.full_like(gamma, eta)
        low, high = 1 - gamma.min(initial=1), 1 + gamma.min(initial=1)
        if eta not in named and not low <= eta <= high:
            raise ValueError(
                f"eta is {eta}; for these levels it must lie within [1 - gamma, 1 + gamma] = "
                f"[{low:.4g}, {high:.4g}]. Use more levels, or eta='ancestral'."
            )
        beta = np.sqrt(np.clip(1 - ((1 - etas) / gamma) ** 2, 0, None)) * (eta != "ode")
        columns = levels[:-1].tolist(), etas.tolist(), (levels[1:] * beta).tolist(), levels[1:].tolist()
        return [Row(sigma, part * sigma**2, b, to) for sigma, part, b, to in zip(*columns, strict=True)], None


class PredictorCorrectorScheduler(AnnealedScheduler):
    """Predictor-corrector sampling (Song et al. 2021, algorithms 1 and 2, variance exploding), then a denoising.

    A predictor goes from each level to the next, and M Langevin steps there, the corrector, bring the samples closer to
    that level's density.  r is the ratio of a corrector step's signal to its noise where the score is as long as that
    of noise, sqrt(D) / sigma; score-SDE measures its length in each batch instead.

    Args beside those of :class:`AnnealedScheduler`:
        predictor: `"reverse_diffusion"`, or `"ancestral"`, which adds less noise: gamma² of that variance.
        corrector_steps: M >= 0.
        signal_to_noise: r, within (0, 1); from 1 on Langevin dynamics diverges.
        denoise: whether to end with the denoising step, which needs one evaluation more.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 50,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        sigmas: Sequence[float] | None = None,
        predictor: str = "reverse_diffusion",
        corrector_steps: int = 1,
        signal_to_noise: float = 0.16,
        denoise: bool = True,
    ) -> None:
        if predictor not in ("reverse_diffusion", "ancestral"):
            raise ValueError(f"predictor must be 'reverse_diffusion' or 'ancestral'; got {predictor!r}.")
        if not 0 < signal_to_noise < 1:
            raise ValueError(f"signal_to_noise must lie within (0, 1); got {signal_to_noise}.")
        check_counts(least=0, corrector_steps=corrector_steps)
        self._begin()

    def _plan(self, num_inference_steps: int | None, num_levels: int | None) -> tuple[int, int, bool]:
        each = 1 + self.config.corrector_steps
        return each, int(self.config.denoise) - each, self.config.denoise

    def _rows(self, levels: np.ndarray, each: int) -> tuple[list[Row], Row | None]:
        config, values, rows = self.config, levels.tolist(), []
        alphas = [2 * config.signal_to_noise**2 * sigma**2 for sigma in values]
        for sigma, to, alpha in zip(values[:-1], values[1:], alphas[1:], strict=True):
            a = sigma**2 - to**2
            rows.append(Row(sigma, a, math.sqrt(a) * (to / sigma if config.predictor == "ancestral" else 1), to))
            rows += [_langevin(to, alpha)] * config.corrector_steps
        return rows, _langevin(values[-1], alphas[-1])


def _langevin(sigma: float, alpha: float) -> Row:
    return Row(sigma, alpha, math.sqrt(2 * alpha), sigma)


# Copied from ncsn_pipeline.noise_levels.step_size
def least_excess(squares: Sequence[float], steps_per_level: int) -> tuple[float, float]:
    """The relative step u with which :func:`excess_left` is least, and that excess."""
    low, high = 1e-12, 1.0
    for _ in range(6):  # each pass looks a hundred times closer around the best
        u = np.geomspace(low, high, 401)
        values = excess_left(squares, u, steps_per_level)
        best = int(values.argmin())
        low, high = u[max(best - 1, 0)], u[min(best + 1, len(u) - 1)]
    return float(u[best]), float(values[best])


# Copied from ncsn_pipeline.noise_levels.step_size
def excess_left(squares: Sequence[float], u: float | np.ndarray, steps_per_level: int) -> float | np.ndarray:
    """What the variance exceeds its level's by, after levels with these gamma² and relative steps u."""
    p = (1 - u) ** (2 * steps_per_level)
    excess, joining = 0.0, (1 - p) * u / (2 - u)
    for square in squares:
        excess = p * (square * excess + (square - 1)) + joining
    return excess


# Copied from ncsn_pipeline.noise_levels.spacing
def check_noise_levels(sigmas: Sequence[float] | Tensor) -> np.ndarray:
    """Noise levels as float64, shape `(L,)`, refused unless finite, positive and strictly decreasing."""
    levels = np.asarray(sigmas.detach().cpu().double() if isinstance(sigmas, Tensor) else sigmas, dtype=np.float64)
    if levels.ndim != 1 or len(levels) < 1:
        raise ValueError(f"Noise levels are a list of at least one number; got shape {levels.shape}.")
    if not (np.isfinite(levels).all() and (levels > 0).all() and (np.diff(levels) < 0).all()):
        short = np.array2string(levels, precision=4, threshold=8, separator=", ")
        raise ValueError(f"Noise levels must be finite and positive, and strictly decreasing; got {short}.")
    return levels


# Copied from ncsn_pipeline.noise_levels.spacing
def check_counts(*, least: int = 1, **counts: object) -> None:
    """Raises `ValueError` unless each count is a whole number of at least `least`."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be at least {least} and a whole number; got {value}.")
