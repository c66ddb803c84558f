"""The denoiser's derivative by automatic differentiation, also of a network in half precision."""

import torch
from torch import Tensor

_MOST = 1e4  # of what enters the network; float16 ends at 65,504


def pulled_back(denoised: Tensor, x: Tensor, v: Tensor, sigma: float, retain_graph: bool = False) -> Tensor:
    """J' v, J = dD/dx, of the shape of x.

    What enters the network is sigma² v: where it is large it is made smaller on the way, which changes nothing else.

    Args:
        denoised: D = x + sigma² s(x, sigma), shape `(B, *D)`.
        x: what it was computed from, the same shape.
        v: the same shape.
        sigma: the noise level, > 0.
        retain_graph: for another v.
    """
    scale = (sigma**2 / _MOST * v.abs().amax()).clamp(min=1)
    (gradient,) = torch.autograd.grad(denoised, x, v / scale, retain_graph=retain_graph)
    return gradient * scale
