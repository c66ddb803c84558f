"""Annealed posterior sampling: the measurement of the noised samples themselves (Jalal et al. 2021, eq. 4).

    g = M' (sigma_y² I + sigma² M M')^-1 (y - A x),        s(x, sigma | y) ~ s(x, sigma) + g

It takes y - A x for noise of variance sigma_y² I + sigma² M M', as if x held the signal of the data whole.  That is the
right score of a wrong density, p_sigma(x) N(y; A x, ...), which becomes the posterior as sigma goes to 0: it samples
the posterior where Langevin steps at the last levels reach their density, and a law that is off where one step per
level must be right on the way.  For N(0, 1) measured by y = x + sigma_y z, the probability flow ends around
y / (1 + sigma_y), while the posterior's mean is y / (1 + sigma_y²).  It needs no derivative of the network.
`.posterior` has its bias on other Gaussian data.
"""

from collections.abc import Callable

from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.operators import LinearOperator


def annealed(y: Tensor, operator: LinearOperator, noise_std: float) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform s -> s + g.

    Args:
        y: measurements, shape `(B, m)` or `(1, m)`, real.
        operator: A, linear, of `x (B, *D)`.
        noise_std: sigma_y >= 0.
    """

    def given(score: NoisyScoreFn) -> NoisyScoreFn:
        def conditioned(x: Tensor, sigma: Tensor) -> Tensor:
            r = y.to(x) - operator(x)
            return score(x, sigma) + operator.adjoint(operator.weighed(r, float(sigma) ** 2, noise_std**2))

        return conditioned

    return given
