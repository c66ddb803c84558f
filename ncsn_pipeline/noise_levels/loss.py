"""Denoising score matching over many noise levels at once.

With x_tilde = x + sigma z, z ~ N(0, I), the score of the perturbation kernel is -(x_tilde - x) / sigma² = -z / sigma,
and

    l(x, sigma) = 1/2 || s(x + sigma z, sigma) + z / sigma ||² lambda(sigma),

summed over dimensions (Song & Ermon 2019, eq. 5 and 6).  Its minimiser at every sigma is the score of the data density
convolved with N(0, sigma² I); lambda only shares out the network's attention among the levels:

    lambda(sigma) = sigma²                            the zero score loses D/2 at every level (Song & Ermon 2019, 4.2)
    lambda(sigma) = sigma² (sigma² + sd²) / sd²       EDM: unit weight on the raw network of a preconditioned model.

With sigma² the levels are alike for the zero score only.  What the exact score leaves falls with sigma: for N(0, I) it
is D/2 / (1 + sigma²), which is 0.998, 0.500 and 0.038 times D/2 at sigma = 0.05, 1 and 5.

EDM states its weight, (sigma² + sd²) / (sigma sd)², for the squared error of the denoiser D = x + sigma² s, which is
sigma⁴ times the squared error of the score (Karras et al. 2022, table 1).
"""

import math
from collections.abc import Callable

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import NoisyScoreFn
from ncsn_pipeline.score_matching.denoising import denoising_loss
from ncsn_pipeline.score_matching.per_sample import check_shape, evaluate

WeightFn = Callable[[Tensor], Tensor]


def sigma_squared_weight(sigma: Tensor) -> Tensor:
    """lambda(sigma) = sigma²: the zero score has the same loss, D/2, at every level."""
    return sigma**2


def edm_weight(sigma_data: float) -> WeightFn:
    """EDM's weight for the score's squared error, lambda(sigma) = sigma² (sigma² + sd²) / sd².

    Args:
        sigma_data: standard deviation sd of the data's pixels, finite and > 0, in data units.

    Raises:
        ValueError: for a sigma_data that is not finite and positive.
    """
    if not (math.isfinite(sigma_data) and sigma_data > 0):
        raise ValueError(f"sigma_data must be finite and > 0; got {sigma_data}.")
    return lambda sigma: sigma**2 * (sigma**2 + sigma_data**2) / sigma_data**2


def multi_level_denoising_score_matching(
    noisy_score_fn: NoisyScoreFn,
    x: Tensor,
    sigma: Tensor,
    *,
    weight: WeightFn = sigma_squared_weight,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The loss of every sample at a noise level of its own.

    Args:
        noisy_score_fn: `(x (B, *D), sigma (B,)) -> score (B, *D)`.
        x: clean samples, shape `(B, *D)`, in data units.
        sigma: one noise level per sample, shape `(B,)` or `()`, > 0, in data units.
        weight: lambda, from `(B,)` to `(B,)`.
        noise: the unit normal z, shape `(B, *D)`; drawn with `generator` where it is not given.
        generator: source of randomness for `noise`.

    Returns:
        One value per sample, shape `(B,)`.

    Raises:
        ValueError: for noise or a score of another shape than x.
    """
    if noise is None:
        noise = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    check_shape(noise, x, "noise")
    sigma = sigma.expand(len(x))
    per_sample = sigma.reshape(-1, *[1] * (x.dim() - 1))
    score = evaluate(lambda noisy: noisy_score_fn(noisy, sigma), x + per_sample * noise)
    return denoising_loss(score, noise, per_sample) * weight(sigma)
