"""Distillation by matching distributions: a network that draws in one evaluation, learned from a score alone.

The generator is a denoiser that is shown nothing but noise, and where it has several levels sigma_1 > ... > sigma_K its
own sample with fresh noise,

    x_1 = G(sigma_1 z_1, sigma_1),   x_k = G(x_{k-1} + sigma_k z_k, sigma_k),   G(x, sigma) = x + sigma² s_G(x, sigma).

Let p be the density of what it draws, q the data's, and p_sigma and q_sigma both noised.  A move dx of each sample
changes the divergence by the difference of two scores (Yin et al. 2024, eq. 2),

    d KL(p_sigma || q_sigma) = E (s_p(x_sigma, sigma) - s_q(x_sigma, sigma)) · dx,        x_sigma = x + sigma e.

s_q is the teacher's score.  s_p, the fake score, is learned alongside as any score is, on what the generator draws, by
:func:`~ncsn_pipeline.noise_levels.multi_level_denoising_score_matching`.  With D = x_sigma + sigma² s of each, the
gradient at x is (Yin et al. 2024, eq. 7 and 8)

    g = (D_p(x_sigma) - D_q(x_sigma)) / w,        w = mean over dimensions | x - D_q(x_sigma) |.

It is zero where p = q, whatever the weights of the noise levels.

Score identity distillation (Zhou et al. 2024) lowers the Fisher divergence E |D_q - D_p|² / w instead, with a gradient
that goes through both scores.  For s_p itself it equals the first term below, as D_p is the mean of x given x_sigma;
for a fake score that lags behind s_p, the second takes off what that one adds:

    E [ (D_q - D_p) · (D_q - x) - alpha |D_q - D_p|² ] / w.

Pictures end at black and white, and what a pipeline draws beyond is cut off there.  So are the samples x in training
(:func:`within`): else half of the noise that a network leaves on a black ground is cut off later, and the ground is
brighter than what was matched.
"""

from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline.densities.density import NoisyScoreFn

ALPHA = 1.2  # of Zhou et al. 2024
LEAST_ERROR = 1e-6  # of the teacher, in data units, where a gradient is divided by it


def generate(score_fn: NoisyScoreFn, noise: Tensor, sigmas: Tensor, chosen: Tensor | None = None) -> Tensor:
    """What the generator draws: G of every level in turn, up to the level `chosen` for each sample.

    The gradient goes through the last evaluation alone: what an earlier level hands over is given, as to the sampler.
    Source: Yin et al. 2024b, "Improved Distribution Matching Distillation", section 4.4 and 4.5.

    Args:
        score_fn: s_G, `(x (B, *D), sigma (B,)) -> score (B, *D)`.
        noise: unit normal z_1 ... z_K, shape `(B, K, *D)`.
        sigmas: the levels, strictly decreasing, shape `(K,)`, in data units.
        chosen: the index in 0 ... K - 1 of each sample's last level, shape `(B,)`; `None` for the last one.

    Returns:
        Samples, shape `(B, *D)`, in data units.
    """
    count, levels = noise.shape[:2]
    chosen = torch.full((count,), levels - 1, device=noise.device) if chosen is None else chosen
    x = sigmas[0] * noise[:, 0]
    with torch.no_grad():
        for k in range(1, levels):
            drawn = denoised(score_fn, x, sigmas[k - 1].expand(count))
            x = torch.where(_like(chosen >= k, x), drawn + sigmas[k] * noise[:, k], x)
    return denoised(score_fn, x, sigmas[chosen])


def within(x: Tensor, low: float, high: float) -> Tensor:
    """Samples cut off at the ends of a range, with a gradient that may still draw them in from beyond.

    Args:
        x: samples, any shape, in data units.
        low: the least value.
        high: the largest.
    """
    return _Within.apply(x, low, high)


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, high) = ctx.saved_tensors, ctx.ends
        # A descent goes against the gradient: below, a positive one leads farther out.
        outwards = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(outwards, 0.0), None, None


def matching_gradient(teacher: NoisyScoreFn, fake: NoisyScoreFn, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """The direction g in which the divergence of the generator's density from the teacher's grows, at its samples.

    Args:
        teacher: s_q, `(x (B, *D), sigma (B,)) -> score (B, *D)`.
        fake: s_p, likewise.
        x: samples of the generator, shape `(B, *D)`, in data units.
        sigma: one noise level per sample, shape `(B,)`, > 0, in data units.
        noise: the unit normal e, shape `(B, *D)`.

    Returns:
        g, shape `(B, *D)`, without unit.  The generator goes along -g: it minimises the mean of g · x, g held fixed.
    """
    with torch.no_grad():
        x = x.detach()
        of_teacher, of_fake = _both_denoised(teacher, fake, x, sigma, noise)
        return (of_fake - of_teacher) / _like(_error(x, of_teacher), x)


def identity_loss(
    teacher: NoisyScoreFn, fake: NoisyScoreFn, x: Tensor, sigma: Tensor, noise: Tensor, alpha: float = ALPHA
) -> tuple[Tensor, Tensor]:
    """Score identity distillation's loss of the generator, whose gradient goes through both scores.

    Args:
        teacher: s_q, `(x (B, *D), sigma (B,)) -> score (B, *D)`, differentiable in x.
        fake: s_p, likewise; its weights are to be held fixed.
        x: samples of the generator, shape `(B, *D)`, in data units.
        sigma: one noise level per sample, shape `(B,)`, > 0, in data units.
        noise: the unit normal e, shape `(B, *D)`.
        alpha: how much of the divergence as the fake score sees it is taken off; 0 for nothing.

    Returns:
        The loss per dimension, `(B,)`, in data units, and the mean size of (D_p - D_q) / w, `(B,)`, without unit.
    """
    of_teacher, of_fake = _both_denoised(teacher, fake, x, sigma, noise)
    error, difference = _error(x.detach(), of_teacher.detach()), of_teacher - of_fake
    loss = difference * (of_teacher - x) - alpha * difference.square()
    return loss.flatten(1).mean(1) / error, difference.detach().abs().flatten(1).mean(1) / error


def _both_denoised(
    teacher: NoisyScoreFn, fake: NoisyScoreFn, x: Tensor, sigma: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    noised = x + _like(sigma, x) * noise
    return denoised(teacher, noised, sigma), denoised(fake, noised, sigma)


def _error(x: Tensor, of_teacher: Tensor) -> Tensor:
    """w, `(B,)`."""
    return (x - of_teacher).abs().flatten(1).mean(1).clamp(min=LEAST_ERROR)


def denoised(score_fn: NoisyScoreFn, x: Tensor, sigma: Tensor) -> Tensor:
    """D = x + sigma² s(x, sigma), shape `(B, *D)`; sigma is `(B,)`."""
    wide = torch.promote_types(x.dtype, torch.float32)  # sigma² beyond 65,504 is none in float16
    return (x + _like(sigma.to(wide), x) ** 2 * score_fn(x, sigma).to(wide)).to(x.dtype)


def _like(values: Tensor, x: Tensor) -> Tensor:
    """One value per sample, `(B,)`, in a shape that broadcasts against `(B, *D)`."""
    return values.reshape(-1, *[1] * (x.dim() - 1))
