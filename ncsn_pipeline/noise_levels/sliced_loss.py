"""Sliced score matching over many noise levels at once.

The alternative to denoising: with x_tilde = x + sigma z, z ~ N(0, I), and directions v with E v v^T = I, v fixed while
the derivative is taken,

    l(x, sigma) = ( <v, (ds/dx_tilde) v> + 1/2 || s(x_tilde, sigma) ||² ) lambda(sigma),

summed over dimensions (Song & Ermon 2019, appendix; SSM-VR of Song et al. 2019).  By Stein's identity
E_z <s, z> = sigma E_z tr(ds/dx_tilde), so that its expectation over v and z is the denoising loss's less a number
that no network changes, D lambda(sigma) / (2 sigma²): both are least at the same score.  This one never uses what the
noise was, and pays with a second derivative.
"""

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import NoisyScoreFn
from ncsn_pipeline.noise_levels.loss import WeightFn, sigma_squared_weight
from ncsn_pipeline.score_matching.sliced import sliced_score_matching


def multi_level_sliced_score_matching(
    noisy_score_fn: NoisyScoreFn,
    x: Tensor,
    sigma: Tensor,
    *,
    weight: WeightFn = sigma_squared_weight,
    noise: Tensor | None = None,
    projections: Tensor | None = None,
    num_projections: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The sliced loss of every sample at a noise level of its own.

    Args:
        noisy_score_fn: `(x (B, *D), sigma (B,)) -> score (B, *D)`, twice differentiable.
        x: clean samples, shape `(B, *D)`, in data units.
        sigma: one noise level a sample, shape `(B,)` or `()`, > 0, in data units.
        weight: lambda, from `(B,)` to `(B,)`.
        noise: the unit normal z, shape `(B, *D)`; drawn with `generator` where it is not given.
        projections: v, shape `(B, *D)` or `(n, B, *D)`; Rademacher, drawn with `generator`, where not given.
        num_projections: n, how many v are drawn a sample, at least 1.
        generator: source of randomness for `noise` and `projections`.

    Returns:
        One value a sample, shape `(B,)`; it may be negative.

    Raises:
        ValueError: as :func:`~ncsn_pipeline.score_matching.sliced.sliced_score_matching`.
    """
    if noise is None:
        noise = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    sigma = sigma.expand(len(x))
    per_sample = sigma.reshape(-1, *[1] * (x.dim() - 1))
    loss = sliced_score_matching(
        lambda noised: noisy_score_fn(noised, sigma),
        x + per_sample * noise,
        projections=projections,
        num_projections=num_projections,
        generator=generator,
    )
    return loss * weight(sigma)
