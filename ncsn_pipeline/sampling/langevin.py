"""Langevin dynamics, plain and annealed, as generators that yield every step.

    plain       x <- x + alpha s(x) + sqrt(2 alpha) z
    annealed    T such steps at each noise level, alpha_i = epsilon sigma_i² / sigma_L², and last a denoising step
                x + sigma_L² s(x, sigma_L) (Song & Ermon 2019, algorithm 1; Jolicoeur-Martineau et al. 2021)

At a step size alpha > 0 a chain settles in a density a little too wide, by 1 / (1 - alpha / 2) in the variance of
N(0, 1); :mod:`.metropolis` has the chain that does not.

Arguments are checked at the call, steps are taken as the states are asked for, and memory does not grow with them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn, ScoreFn
from ncsn_pipeline.noise_levels.spacing import check_counts
from ncsn_pipeline.sampling.follow import draw_noise, follow
from ncsn_pipeline.sampling.scheduling_annealed import AnnealedLangevinScheduler

__all__ = ["LangevinState", "annealed_langevin_dynamics", "langevin_dynamics", "langevin_step"]


class LangevinState(NamedTuple):
    """Where a chain stands after a step.

    Args:
        sample: the samples, shape `(B, *D)`, in data units.
        sigma: the noise level of the step; `None` without levels.
        step: number of steps taken so far, the denoising included, from 1.
        acceptance: mean probability of acceptance over the samples; `None` where nothing is refused.
    """

    sample: Tensor
    sigma: float | None
    step: int
    acceptance: float | None = None


def langevin_step(x: Tensor, score: Tensor, alpha: float, noise: Tensor) -> Tensor:
    """One step of Langevin dynamics, x + alpha s + sqrt(2 alpha) z.

    Args:
        x: the samples, any shape.
        score: s at x, the same shape.
        alpha: the step size, > 0, in squared data units.
        noise: unit normal z, the same shape.

    Raises:
        ValueError: for a score of another shape than the samples.
    """
    if score.shape != x.shape:
        raise ValueError(f"The score has shape {tuple(score.shape)}, the samples have {tuple(x.shape)}.")
    return x.add(score, alpha=alpha).add_(noise, alpha=math.sqrt(2 * alpha))


def langevin_dynamics(
    score_fn: ScoreFn,
    x: Tensor,
    *,
    step_size: float,
    num_steps: int,
    generator: torch.Generator | None = None,
) -> Iterator[LangevinState]:
    """Langevin dynamics at one density, x <- x + alpha s(x) + sqrt(2 alpha) z.

    Args:
        score_fn: `x (B, *D) -> score (B, *D)`.
        x: the start, shape `(B, *D)`, in data units.
        step_size: alpha, finite and > 0, in squared data units.
        num_steps: how many steps, at least 1.
        generator: source of the noise.

    Yields:
        The state after each step, without gradients.

    Raises:
        ValueError: for a step size or a number of steps out of range, when it is called.
        FloatingPointError: for samples that are not finite, after the step that made them so.
    """
    if not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(f"step_size must be finite and > 0, in squared data units; got {step_size}.")
    check_counts(num_steps=num_steps)
    return _plain(score_fn, x, step_size, num_steps, generator)


@torch.no_grad()
def _plain(
    score_fn: ScoreFn, x: Tensor, alpha: float, num_steps: int, generator: torch.Generator | None
) -> Iterator[LangevinState]:
    for step in range(1, num_steps + 1):
        x = langevin_step(x, score_fn(x), alpha, draw_noise(x, generator))
        _check_finite(x, f"step {step} of {num_steps}", alpha)
        yield LangevinState(x, None, step)


def annealed_langevin_dynamics(
    noisy_score_fn: NoisyScoreFn,
    x: Tensor,
    *,
    sigmas: Sequence[float] | Tensor,
    steps_per_level: int,
    step_size: float | None = None,
    denoise: bool = True,
    generator: torch.Generator | None = None,
) -> Iterator[LangevinState]:
    """Annealed Langevin dynamics, step by step as `AnnealedLangevinScheduler` takes it.

    Args:
        noisy_score_fn: `(x (B, *D), sigma ()) -> score (B, *D)`.
        x: the start, shape `(B, *D)`, in data units; usually noise of deviation sigma_1.
        sigmas: the noise schedule, shape `(L,)`, strictly decreasing, > 0, in data units.
        steps_per_level: T, at least 1.
        step_size: epsilon, the step at the last level, within (0, 2 sigma_L²), in squared data units; `None` chooses it
            by technique 4 of Song & Ermon 2020, see `step_size_for_variance`.
        denoise: whether to end with the denoising step, one evaluation more.
        generator: source of the noise.

    Yields:
        The state after each step, L T of them and the denoising, without gradients.

    Raises:
        ValueError: for a noise schedule, a step size or a number of steps out of range, when it is called.
        FloatingPointError: for samples that are not finite, checked at every tenth evaluation and the last.
    """
    scheduler = AnnealedLangevinScheduler(
        sigmas=sigmas, steps_per_level=steps_per_level, step_size=step_size, denoise=denoise
    )
    table = scheduler.table
    return (
        LangevinState(state.sample, table[state.index].sigma, state.index + 1)
        for state in follow(noisy_score_fn, x, table, generator)
    )


def _check_finite(x: Tensor, where: str, step_size: float) -> None:
    if not math.isfinite(float(x.sum(dtype=torch.promote_types(x.dtype, torch.float32)))):
        raise FloatingPointError(
            f"The samples are not finite after {where}, step_size = {step_size:.4g}. Try {step_size / 4:.2g}."
        )
