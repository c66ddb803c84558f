"""Moment matching: the denoised samples with their own covariance, by Tweedie (Rozet et al. 2024, algorithm 3).

    r = y - A D,  D = x + sigma² s(x, sigma),  J = dD/dx,  sigma² J = Cov(x_0 | x)
    g = J' M' (sigma_y² I + sigma² M J' M')^-1 r,        s(x, sigma | y) ~ s(x, sigma) + g

x_0 given x is taken for N(D, sigma² J), which Gaussian data have: there it is the posterior's score exactly, at any
noise down to 0.  S = sigma_y² I + sigma² M J' M' is never written down: a product with it is one backward pass.  A
network's J is not symmetric, so that conjugate gradients diverge; GMRES does not, preconditioned on the right by
(sigma_y² I + r²(sigma) M M')^-1.  With the same J' inside S and before it, M (D + sigma² g) = y - c at sigma_y = 0,
whatever the network.  `.posterior` has its bias on Gaussian data, which is that of the sampler.

Of other data N(D, sigma² J) is an approximation: of eight modes in 4 dimensions the likeliest, of weight 0.47, gets
0.10 to 0.14 less, with 50 to 200 levels, by Heun or ancestral steps, with 0 to 10 Langevin steps at each level alike.
The error is that of the score; no sampler mends it but `ncsn_pipeline.sampling.particles`, off by 0.02.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.derivative import pulled_back
from ncsn_pipeline.guidance.krylov import gmres
from ncsn_pipeline.guidance.operators import LinearOperator


def mmps(
    y: Tensor,
    operator: LinearOperator,
    noise_std: float,
    denoiser_error: Callable[[float], float] | None = None,
    iterations: int = 4,
) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform s -> s + g.

    Args:
        y: measurements, shape `(B, m)` or `(1, m)`, real.
        operator: A, linear, of `x (B, *D)`.
        noise_std: sigma_y >= 0.
        denoiser_error: r², from sigma to the mean squared error per value, for the preconditioner; `None` is without.
        iterations: products with S, >= 1; m of them solve exactly.

    The score that it makes raises `FloatingPointError` for denoised samples that are not finite.
    """

    def given(score: NoisyScoreFn) -> NoisyScoreFn:
        def conditioned(x: Tensor, sigma: Tensor) -> Tensor:
            variance = float(sigma) ** 2
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                s = score(x, sigma)
                denoised = x + variance * s

            gradients = []  # J' M' of each direction, preconditioned

            def product(p: Tensor) -> Tensor:
                u = p if denoiser_error is None else operator.weighed(p, denoiser_error(float(sigma)), noise_std**2)
                g = pulled_back(denoised, x, operator.adjoint(u), float(sigma), retain_graph=True)
                gradients.append(g)
                return noise_std**2 * u + variance * operator.linear_part(g)

            if not denoised.isfinite().all():
                raise FloatingPointError(
                    f"The denoised samples are not finite at sigma = {float(sigma):.4g}. Take more levels, and a "
                    "sigma_max within the range that the network was trained on."
                )
            with torch.no_grad():
                weights, _ = gmres(product, y.to(x) - operator(denoised), iterations)
            return s.detach() + torch.einsum("bk,kb...->b...", weights, torch.stack(gradients))

        return conditioned

    return given
