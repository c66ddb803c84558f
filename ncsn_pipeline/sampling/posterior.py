"""What a sampler does besides following the posterior's score: where it starts, the noise it adds, how it ends.

    start       x = D(0) + sigma_1² g(0) + sigma_1 z = sigma_1² s(0, sigma_1 | y) + sigma_1 z
    V noise     b² + (a / sigma²)² r²(sigma)     in place of b², at each row that goes down with noise
    dps         x + zeta J' A' r / |r|           after each row
    projection  x + M^+ (y - A x)                at the end, where y has no noise

From N(0, sigma_1² I) a flow's mean would stay off: 9 to 36 standard errors of 20,000 samples of Gaussian data.  A row
moves x by the part a / sigma² of D, whose spread around x_0 it leaves out; V noise gives it back.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.dps import residual_gradient
from ncsn_pipeline.guidance.operators import LinearOperator, Operator
from ncsn_pipeline.sampling.follow import Generators
from ncsn_pipeline.sampling.scheduling_annealed import Table


def posterior_start(score: NoisyScoreFn, noise: Tensor, sigma: float) -> Tensor:
    """The first samples given y, shape `(B, *D)`.

    Args:
        score: of the posterior, s + g.
        noise: unit normal z, shape `(B, *D)`.
        sigma: sigma_1, well above the data's own deviation, in data units.
    """
    mean = score(torch.zeros_like(noise), torch.tensor(sigma, dtype=noise.dtype, device=noise.device)) * sigma**2
    return mean + sigma * noise


def with_v_noise(table: Table, denoiser_error: Callable[[float], float]) -> Table:
    """The rows with V noise; those that add none, or stay at their level, as they are.

    Args:
        table: a sampler's rows.
        denoiser_error: r², from sigma to the mean squared error per value, in squared data units.
    """

    def deviation(sigma: float, a: float, b: float) -> float:
        return math.sqrt(b**2 + (a / sigma**2) ** 2 * denoiser_error(sigma))

    return Table(
        row._replace(b=deviation(row.sigma, row.a, row.b)) if row.b > 0 and row.to < row.sigma else row for row in table
    )


class DPSSteps:
    """The rows of a table, each followed by a step towards y as `ncsn_pipeline.guidance.dps` describes it.

    A state of the last evaluation is kept between `given` and `step`, so one object serves one run at a time.

    Args:
        y: measurements, shape `(B, m)` or `(1, m)`, real.
        operator: A, differentiable, of `x (B, *D)`.
        table: a sampler's rows.
        scale: zeta > 0, in units of x.

    Raises:
        ValueError: for a solver of diffusers, whose step may lie anywhere between two evaluations.
    """

    def __init__(self, y: Tensor, operator: Operator, table: Table, scale: float = 1.0) -> None:
        if not isinstance(table, Table):
            raise ValueError(
                "dps adds a step to each row of a sampler, which solvers of diffusers do not have. Take a scheduler of "
                "this package, or another method."
            )
        self.y, self.operator, self.table, self.scale, self.sigmas = y, operator, table, scale, table.sigmas

    def given(self, score: NoisyScoreFn) -> NoisyScoreFn:
        """The score itself; the direction of the step is found along with it."""

        def remembered(x: Tensor, sigma: Tensor) -> Tensor:
            s, self._gradient = residual_gradient(score, x, sigma, self.y, self.operator)
            return s

        return remembered

    def step(self, i: int, x: Tensor, score: Tensor, generator: Generators = None) -> Tensor:
        """The samples after row `i` and the step towards y."""
        return self.table.step(i, x, score, generator).add(self._gradient, alpha=self.scale)


def projected(x: Tensor, y: Tensor, operator: LinearOperator) -> Tensor:
    """The samples nearest to x `(B, *D)` whose measurement is nearest to y, real, shape `(B, m)`."""
    return x + operator.pseudo_inverse(y.to(x) - operator(x))
