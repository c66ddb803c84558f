"""Metropolis-adjusted Langevin dynamics: every step is accepted or rejected, which leaves the density invariant.

A Langevin step proposes x' ~ q(x' | x) = N(x'; x + alpha s(x), 2 alpha I), and it is taken with probability

    A(x, x') = min(1, p(x') q(x | x') / (p(x) q(x' | x)))                        (Roberts & Tweedie 1996, MALA)

which needs the log density beside the score, so it is for densities that are known, not for a network's score.  Level i
of a noise schedule has p = p_sigma_i and alpha_i = epsilon sigma_i² / sigma_L², as in :mod:`.langevin`, whose chains
settle in a density a little too wide.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ncsn_pipeline.densities import Density
from ncsn_pipeline.noise_levels.spacing import check_noise_levels
from ncsn_pipeline.noise_levels.step_size import step_size_for_variance
from ncsn_pipeline.sampling.follow import draw_noise
from ncsn_pipeline.sampling.langevin import LangevinState, langevin_step


def metropolis_adjusted_annealed_langevin(
    density: Density,
    x: Tensor,
    *,
    sigmas: Sequence[float] | Tensor,
    steps_per_level: int,
    step_size: float | None = None,
    denoise: bool = False,
    generator: torch.Generator | None = None,
) -> Iterator[LangevinState]:
    """Annealed Langevin dynamics whose chain at level i keeps `density.noised(sigma_i)` exactly.

    Args:
        density: log density and score at every noise level.
        x: the start, shape `(B, d)`, in data units.
        sigmas: the noise schedule, shape `(L,)`, strictly decreasing, > 0, in data units.
        steps_per_level: T, at least 1.
        step_size: epsilon, the step at the last level, finite and > 0, in squared data units; one that is
            too large is no error, its proposals are rejected.  `None` chooses it by technique 4.
        denoise: whether to end with the denoising step x + sigma_L² s, which nothing adjusts.
        generator: source of the noise and of the decisions.

    Yields:
        The state after each step, with the mean probability of acceptance, without gradients.

    Raises:
        ValueError: for a noise schedule, a step size or a number of steps out of range, when it is called.
        FloatingPointError: for a start at which the log density or the score is not finite.
    """
    levels = check_noise_levels(sigmas)
    suitable = step_size_for_variance(levels, steps_per_level)[0]
    step_size = suitable if step_size is None else step_size
    if not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(
            f"step_size must be finite and > 0, in squared data units; got {step_size}. "
            f"{suitable:.4g} suits this noise schedule."
        )
    return _adjusted(density, x, levels.tolist(), steps_per_level, step_size, denoise, generator)


@torch.no_grad()
def _adjusted(
    density: Density,
    x: Tensor,
    levels: list[float],
    steps_per_level: int,
    epsilon: float,
    denoise: bool,
    generator: torch.Generator | None,
) -> Iterator[LangevinState]:
    step = 0
    for sigma in levels:
        alpha = epsilon * (sigma / levels[-1]) ** 2
        target = density.noised(sigma)
        log_p, score = target.log_prob(x), target.score(x)
        if log_p.isnan().any() or not score.isfinite().all():
            raise FloatingPointError(
                f"The log density or the score is not finite where the level sigma = {sigma:.4g} starts. Start within "
                "reach of the data, or at a larger sigma."
            )
        for _ in range(steps_per_level):
            noise = draw_noise(x, generator)
            proposal = langevin_step(x, score, alpha, noise)
            proposal_log_p, proposal_score = target.log_prob(proposal), target.score(proposal)
            backward = (x - proposal - alpha * proposal_score).square().flatten(1).sum(1) / (4 * alpha)
            forward = noise.square().flatten(1).sum(1) / 2
            # A proposal without a log density is one of density 0.
            log_ratio = (proposal_log_p - log_p - backward + forward).nan_to_num(nan=-math.inf, posinf=math.inf)
            # ln u for u ~ U[0, 1], as the log distribution function of unit normal noise.
            log_u = torch.special.log_ndtr(
                draw_noise(log_ratio.float() if x.dtype.itemsize < 4 else log_ratio, generator)
            )
            accepted = log_u < log_ratio
            accepted_points = accepted.reshape(-1, *[1] * (x.dim() - 1))
            x = torch.where(accepted_points, proposal, x)
            score = torch.where(accepted_points, proposal_score, score)
            log_p = torch.where(accepted, proposal_log_p, log_p)
            step += 1
            yield LangevinState(x, sigma, step, float(log_ratio.clamp(max=0).exp().mean()))
    if denoise:
        yield LangevinState(x.add(score, alpha=sigma**2), sigma, step + 1)
