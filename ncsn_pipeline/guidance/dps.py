"""Diffusion posterior sampling: a step of fixed length towards the measurement (Chung et al. 2023, algorithm 1).

    r = y - A(D),  D = x + sigma² s(x, sigma),        g = zeta / a  grad_x D' A'(D)' r / |r|

so that a row x <- x + a (s + g) + b z of a sampler moves x by zeta J' A' r / |r|, as the algorithm has it;
`ncsn_pipeline.sampling.posterior.DPSSteps` adds just that to any row.  zeta is no part of any law: it is tuned per
problem, and the samples are not those of the posterior.  For a small zeta they leave y, and for a large one the steps
overshoot, the sooner the smaller sigma is.  It takes nonlinear operators, and ignores the noise of the measurement.
`.posterior` has its bias on Gaussian data.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.operators import Operator


def dps(
    y: Tensor,
    operator: Operator,
    noise_std: float = 0.0,
    scale: float = 1.0,
    step: Callable[[float], float] = lambda sigma: sigma**2,
) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform s -> s + g.

    Args:
        y: measurements, shape `(B, m)` or `(1, m)`, real.
        operator: A, differentiable, of `x (B, *D)`.
        noise_std: not used: the algorithm has no place for it.
        scale: zeta > 0, in units of x.
        step: sigma -> a of the sampler's row at this level; by default that of the denoising, sigma².
    """

    def given(score: NoisyScoreFn) -> NoisyScoreFn:
        def conditioned(x: Tensor, sigma: Tensor) -> Tensor:
            s, gradient = residual_gradient(score, x, sigma, y, operator)
            return s + scale / step(float(sigma)) * gradient

        return conditioned

    return given


def residual_gradient(
    score: NoisyScoreFn, x: Tensor, sigma: Tensor, y: Tensor, operator: Operator
) -> tuple[Tensor, Tensor]:
    """The score at x and -grad_x |y - A(D)|, the direction of the step, both of the shape of x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        s = score(x, sigma)
        r = y.to(x) - operator(x + float(sigma) ** 2 * s)
        if not r.requires_grad:
            raise ValueError(
                "The operator or the score is not differentiable: what it returned does not depend on x by operations "
                "of torch (NumPy's, .item(), detach() and no_grad() lose the way). dps needs the derivative."
            )
        (gradient,) = torch.autograd.grad(-r.norm(dim=1).sum(), x)
    return s.detach(), gradient
