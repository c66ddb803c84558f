"""Pseudoinverse guidance: the denoised samples, known up to r(sigma) in every direction (Song et al. 2023, eq. 7).

    r = y - A D,  D = x + sigma² s(x, sigma),  J = dD/dx
    g = J' M' (sigma_y² I + r²(sigma) M M')^-1 r,        s(x, sigma | y) ~ s(x, sigma) + g

r²(sigma) is the denoiser's mean squared error per value: the covariance of x_0 given x is taken for r² I.  It is the
posterior's score exactly for Gaussian data with the same deviation in all directions.  It costs two evaluations.
`.posterior` has its bias where deviations differ.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.operators import LinearOperator


def pigdm(
    y: Tensor, operator: LinearOperator, noise_std: float, denoiser_error: Callable[[float], float]
) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform s -> s + g.

    Args:
        y: measurements, shape `(B, m)` or `(1, m)`, real.
        operator: A, linear, of `x (B, *D)`.
        noise_std: sigma_y >= 0.
        denoiser_error: r², from sigma to the mean squared error per value, in squared data units.
    """

    def given(score: NoisyScoreFn) -> NoisyScoreFn:
        def conditioned(x: Tensor, sigma: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                s = score(x, sigma)
                denoised = x + float(sigma) ** 2 * s
            with torch.no_grad():
                r = y.to(x) - operator(denoised)
                u = operator.adjoint(operator.weighed(r, denoiser_error(float(sigma)), noise_std**2))
            (g,) = torch.autograd.grad(denoised, x, u)
            return s.detach() + g

        return conditioned

    return given
