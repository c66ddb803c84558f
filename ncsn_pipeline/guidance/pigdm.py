"""Pseudoinverse guidance: the denoised samples, known up to r(sigma) in every direction (Song et al. 2023, eq. 7).

    r = y - A D,  D = x + sigma² s(x, sigma),  J = dD/dx
    u = (sigma_y² I + r²(sigma) M M')^-1 r,  g = J' M' u,        s(x, sigma | y) ~ s(x, sigma) + g

r²(sigma) is the denoiser's mean squared error per value: the covariance of x_0 given x is taken for r² I.  It is the
posterior's score exactly for Gaussian data with the same deviation in all directions.  It costs two evaluations.
`.posterior` has its bias where deviations differ.

By D's own derivative, D + sigma² g would leave, along u, 1 - rho of the residual,

    rho = u' (sigma_y² I + sigma² M J' M') u / u' r,

1 where the covariance is r² I, and more where what is measured is less certain than the average: of the brightness of
whole pictures beyond 2, and the residual would grow from level to level.  There g is shortened by 2 / rho, so that it
never does.  That is not of the paper; the product J' M' u is there already.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.derivative import pulled_back
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
                u = operator.weighed(r, denoiser_error(float(sigma)), noise_std**2)
            g = pulled_back(denoised, x, operator.adjoint(u), float(sigma))
            with torch.no_grad():
                met = (u * (noise_std**2 * u + float(sigma) ** 2 * operator.linear_part(g))).sum(1)  # rho u' r
                most = 2 * (u * r).sum(1)
                shortened = torch.where(met > most, most / met, 1.0).reshape(-1, *(1 for _ in operator.shape))
            return s.detach() + shortened * g

        return conditioned

    return given
