"""Random directions v with E v v^T = I, for which E <v, A v> = tr A and E <v, s>² = || s ||² (Hutchinson 1989).

They differ in how far a single <v, A v> scatters about the trace.  With S the symmetric part of A,

    Rademacher   v_j = +-1                                   Var <v, A v> = 2 (|| S ||_F² - sum_j S_jj²)
    Gaussian     v ~ N(0, I)                                 Var <v, A v> = 2 || S ||_F²
    sphere       v uniform on the sphere of radius sqrt(D)   Var <v, A v> = 2 D / (D + 2) (|| S ||_F² - (tr A)² / D)
"""

import math
from numbers import Integral

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.score_matching.per_sample import check_samples

DISTRIBUTIONS = ("rademacher", "gaussian", "sphere")


def draw_projections(
    x: Tensor,
    num_projections: int = 1,
    distribution: str = "rademacher",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Directions for each sample, independent, with mean 0 and covariance I.

    Source: Song, Garg, Shi & Ermon 2019, "Sliced score matching", section 3; their code's sphere has radius 1.

    Args:
        x: samples, shape `(B, *D)`; they give shape, dtype and device.
        num_projections: n, at least 1.
        distribution: "rademacher", "gaussian" or "sphere" (of radius sqrt(D), D the size of one sample).
        generator: source of randomness.

    Returns:
        Shape `(n, B, *D)`.

    Raises:
        ValueError: for an x that is no batch of samples, a count below 1, or a distribution that is none of the three.
    """
    check_samples(x)
    if not isinstance(num_projections, Integral) or isinstance(num_projections, bool) or num_projections < 1:
        raise ValueError(f"num_projections must be an integer of at least 1; got {num_projections}.")
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}; got {distribution!r}.")
    z = randn_tensor((int(num_projections), *x.shape), generator=generator, device=x.device, dtype=x.dtype)
    if distribution == "gaussian":
        return z
    if distribution == "rademacher":
        return torch.where(z < 0, -1.0, 1.0).to(x.dtype)  # not sign(), which has a third value
    flat = z.flatten(2)
    return (flat * (math.sqrt(flat.shape[2]) / flat.norm(dim=2, keepdim=True))).reshape(z.shape)


def check_projections(projections: Tensor, x: Tensor) -> Tensor:
    """Given projections as `(n, B, *D)`, otherwise as they are.

    Raises:
        ValueError: for an x that is no batch of samples, or a shape that is neither `(B, *D)` nor `(n, B, *D)`, n >= 1.
    """
    check_samples(x)
    if projections.shape == x.shape:
        return projections.unsqueeze(0)
    if projections.shape[1:] == x.shape and len(projections):
        return projections
    raise ValueError(
        f"projections must have the shape of x, {tuple(x.shape)}, or that shape with their number in front; "
        f"got {tuple(projections.shape)}."
    )
