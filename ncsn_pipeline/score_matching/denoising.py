"""Denoising score matching: regress on the score of the noise that was added.

With x_tilde = x + sigma z, z ~ N(0, I), the score of the perturbation kernel is grad log N(x_tilde; x, sigma² I) =
-(x_tilde - x) / sigma² = -z / sigma, and

    l(x) = 1/2 || s(x_tilde) + z / sigma ||²        (Vincent 2011, eq. 9)

Given x_tilde, the mean of -z / sigma is the score of the noised density p_sigma = p * N(0, sigma² I), hence

    E l(x) = E 1/2 || s(x_tilde) - grad log p_sigma(x_tilde) ||² + a constant,

which needs no derivatives and is unbiased, but has p_sigma's score for its minimiser, not p's.  The constant is
1/2 (D / sigma² - E || grad log p_sigma ||²).  As sigma falls it comes to m / (2 sigma²), where m is the dimension of
what the data fill: D for a density in D dimensions, less on a surface, 0 for single points.  Levels of so different a
loss are weighted before one network learns them all (:mod:`ncsn_pipeline.noise_levels.loss`).  Read backwards, the same
identity denoises (Tweedie's formula):

    E[x | x_tilde] = x_tilde + sigma² grad log p_sigma(x_tilde).
"""

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.per_sample import check_samples, check_shape, evaluate, inner


def denoising_score_matching(
    score_fn: ScoreFn,
    x: Tensor,
    sigma: float | Tensor,
    *,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The denoising loss of every sample at one noise level, 1/2 ||s(x + sigma z) + z / sigma||².

    Source: Vincent 2011, eq. 9 to 11.

    Args:
        score_fn: s, `(B, *D) -> (B, *D)`, in inverse data units; it learns the score of the density noised by sigma.
        x: clean samples, shape `(B, *D)`, in data units.
        sigma: the noise level, one number or a tensor of shape `()` or `(B,)`, finite and > 0, in data units.
        noise: the unit normal z, shape `(B, *D)`; drawn with `generator` where it is not given.
        generator: source of randomness for `noise`.

    Returns:
        One value a sample, shape `(B,)`, summed over dimensions; at least 0.

    Raises:
        ValueError: for a sigma that is not positive and finite or of another shape, an x that is no batch of samples,
            or a score or noise of another shape than x.
    """
    check_samples(x)
    sigma = _per_sample(sigma, x)
    if not (sigma > 0).all():
        raise ValueError(f"sigma must be > 0 in {x.dtype}, in data units; got {sigma.min().item()}.")
    if noise is None:
        noise = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    z = check_shape(noise, x, "noise")
    return denoising_loss(evaluate(score_fn, x + sigma * z), z, sigma)


def denoising_loss(score: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """1/2 ||s + z / sigma||², one value per sample, `(B,)`, without any check that makes a device wait.

    Args:
        score: s(x + sigma z), shape `(B, *D)`, in inverse data units.
        noise: the unit normal z, shape `(B, *D)`.
        sigma: the noise level, a shape that broadcasts against them, > 0, in data units.
    """
    residual = score + noise / sigma
    return 0.5 * inner(residual, residual)


def denoise(x: Tensor, score: Tensor, sigma: float | Tensor) -> Tensor:
    """The posterior mean of the clean sample, E[x | x_tilde] = x_tilde + sigma² s: Tweedie's formula.

    Source: Robbins 1956; Efron 2011, eq. 1.4.

    Args:
        x: noised samples x_tilde, shape `(B, *D)`, in data units.
        score: the noised density's score there, shape `(B, *D)`.
        sigma: the noise level, one number or a tensor of shape `()` or `(B,)`, finite and >= 0, in data units.

    Returns:
        Denoised samples, shape `(B, *D)`.

    Raises:
        ValueError: for a sigma that is negative, not finite or of another shape, an x that is no batch of samples, or a
            score of another shape than x.
    """
    check_samples(x)
    check_shape(score, x, "score")
    dtype = torch.promote_types(x.dtype, score.dtype)
    wide = torch.promote_types(dtype, torch.float32)  # sigma² beyond 65,504 is none in float16
    return (x + _per_sample(sigma, x.to(wide)) ** 2 * score.to(wide)).to(dtype)


def _per_sample(sigma: float | Tensor, x: Tensor) -> Tensor:
    """Sigma in the dtype of x and a shape that broadcasts against it, `()` or `(B, 1, ..., 1)`."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if sigma.shape not in ((), x.shape[:1]):
        raise ValueError(f"sigma must be one number or one a sample, ({len(x)},); got shape {tuple(sigma.shape)}.")
    if not (torch.isfinite(sigma) & (sigma >= 0)).all():
        raise ValueError(f"sigma must be finite and not negative, in data units; got {sigma.tolist()}.")
    return sigma.reshape(-1, *[1] * (x.dim() - 1)) if sigma.dim() else sigma
