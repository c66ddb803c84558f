"""Samples given a measurement, right however rough the guidance: twisted particles (Wu et al. 2023, algorithm 1).

Particles follow the sampler's kernel p(x' | x) = N(m, C) towards y, and weights say how often each step would have been
taken without y and how well y is foreseen from where it ends:

    S = sigma_y² I + M Sigma M',    r = y - A D,    l(x) = log N(r; 0, S)               foreseen at x
    m = x + a s,    k = a / sigma²,    C = b² I + k² Sigma                              the kernel
    x' ~ N(m + k G r, C - k² G M Sigma),    G = Sigma M' S^-1                           the same, given y
    log w += log N(x'; m, C) - log N(x'; m + k G r, C - k² G M Sigma) + l(x') - l(x)

where Sigma stands for the covariance of x_0 given x, sigma² J with the denoiser's Jacobian J = dD/dx (symmetrised and
without negative eigenvalues), or r²(sigma) I where a `denoiser_error` is given.  Particles are drawn anew by their
weights where these say that fewer than half of them count (systematic resampling).  The last step is D + G r.

For Gaussian data and ancestral steps the first is exact with one particle and any number of levels, up to what its
ends leave out: about sigma_L² of variance, since the last step returns a mean, and what x = 0 cannot foresee where
sigma_1 is not far above the data's own deviation.  For any data both are as the number of particles grows, up to the
kernel of the sampler itself.  In many dimensions weights collapse onto
few particles: of pictures the spread is too small.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.derivative import pulled_back
from ncsn_pipeline.guidance.operators import MatrixOperator, Operator
from ncsn_pipeline.noise_levels.spacing import check_counts
from ncsn_pipeline.sampling.follow import Generators, draw_noise
from ncsn_pipeline.sampling.scheduling_annealed import Table

MOST_VALUES = 1024
MOST_TWEEDIE_VALUES = 64


class Foreseen(NamedTuple):
    """What x says of x_0 and of y: D `(N, d)`, Sigma `(N or 1, d, d)`, G `(N or 1, d, m)`, r `(N, m)`, l `(N,)`."""

    denoised: Tensor
    covariance: Tensor
    gain: Tensor
    residual: Tensor
    log_likelihood: Tensor


class TwistedSteps:
    """Steps of particles given y, followed as a table is.

        score = steps.given(score)
        for state in follow(score, steps.start(score, generator), steps, generator): ...
        samples = steps.draw(state.sample, count, generator)

    Args:
        y: measurements, one for each of B runs, shape `(B, m)`, real.
        operator: A, a matrix.
        noise_std: sigma_y >= 0.
        table: a sampler's rows, one per level and each but the last with noise: those of ConsistentAnnealedScheduler
            with `eta="ancestral"`.
        num_particles: K >= 1 of each run.
        denoiser_error: r², from sigma to the mean squared error per value; `None` for Sigma = sigma² J.

    Attributes:
        log_weights: of the particles as they stand, shape `(B, K)`, up to a constant for each run.

    Raises:
        ValueError: for a solver, rows that do not go down, or an operator or samples too large.
    """

    def __init__(
        self,
        y: Tensor,
        operator: Operator,
        noise_std: float,
        table: Table,
        num_particles: int = 64,
        denoiser_error: Callable[[float], float] | None = None,
    ) -> None:
        d = math.prod(operator.shape)
        check_counts(num_particles=num_particles)
        if not y.is_floating_point() or not 0 <= noise_std < math.inf:
            raise ValueError(
                f"y must be floating and noise_std a finite number of at least 0; got {y.dtype} and {noise_std}."
            )
        if not isinstance(table, Table):
            raise ValueError(
                "Twisted particles need the transition of every step, which solvers of diffusers do not have. Take "
                "ConsistentAnnealedScheduler."
            )
        if any(row.to >= row.sigma or row.b <= 0 for row in table[:-1]) or table[-1].b > 0:
            raise ValueError(
                "Twisted particles take one step with noise per level, and last a denoising. Take "
                "ConsistentAnnealedScheduler(eta='ancestral')."
            )
        most = MOST_TWEEDIE_VALUES if denoiser_error is None else MOST_VALUES
        if not isinstance(operator, MatrixOperator) or d > most:
            raise ValueError(
                f"Twisted particles hold matrices of {d} x {d} numbers; they take linear operators and samples of at "
                f"most {MOST_TWEEDIE_VALUES} values, or {MOST_VALUES} with denoiser_error. Take method='mmps'."
            )
        self.y, self.operator, self.noise_std = y, operator, noise_std
        self.table, self.num_particles, self.denoiser_error = table, num_particles, denoiser_error
        self.sigmas = table.sigmas
        self.log_weights = torch.zeros(len(y), num_particles, dtype=y.dtype, device=y.device)

    def given(self, score: NoisyScoreFn) -> NoisyScoreFn:
        """The prior's score, `(x (B K, *D), sigma ()) -> (B K, *D)`, which also foresees y from x on its way.

        Raises:
            FloatingPointError: when it is called, for scores or derivatives that are not finite.
        """

        def watched(x: Tensor, sigma: Tensor) -> Tensor:
            variance = float(sigma) ** 2
            tweedie = self.denoiser_error is None
            with torch.enable_grad() if tweedie else torch.no_grad():
                x = x.detach().requires_grad_(tweedie)
                s = score(x, sigma)
                denoised = x + variance * s
            _check_finite(denoised, sigma)
            unit = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
            if tweedie:
                ends = unit.reshape(-1, 1, *x.shape[1:]).expand(-1, *x.shape)
                rows = [pulled_back(denoised, x, e, float(sigma), retain_graph=True).flatten(1) for e in ends]
                jacobian = torch.stack(rows, dim=1)
                _check_finite(jacobian, sigma)
                values, vectors = torch.linalg.eigh(variance / 2 * (jacobian + jacobian.mT))
                covariance = (vectors * values.clamp(min=0)[:, None]) @ vectors.mT
            else:
                covariance = self.denoiser_error(float(sigma)) * unit[None]
            self._foresee(denoised.detach().flatten(1), covariance)
            return s.detach()

        return watched

    def start(self, score: NoisyScoreFn, generator: Generators = None) -> Tensor:
        """Particles at the first level, shape `(B K, *D)`: x_0 given y as far as x = 0 foresees it, and noise.

        Args:
            score: what :meth:`given` returned.
            generator: source of the noise.
        """
        self.log_weights = torch.zeros_like(self.log_weights)
        sigma = torch.tensor(self.sigmas[0], dtype=self.y.dtype, device=self.y.device)
        score(self.y.new_zeros(self.log_weights.numel(), *self.operator.shape), sigma)
        return self._move(self._foreseen.denoised, 1.0, float(sigma), generator)

    def step(self, i: int, x: Tensor, score: Tensor, generator: Generators = None) -> Tensor:
        """Weighs the particles x `(B K, *D)`, draws them anew if few of them count, and moves them."""
        log_likelihood = self._foreseen.log_likelihood.reshape(self.log_weights.shape)
        self.log_weights = self.log_weights + log_likelihood
        row = self.table[i]
        m = (x + row.a * score).flatten(1)
        weights = self.log_weights.softmax(1)
        few = 1 / weights.square().sum(1) < self.num_particles / 2
        chosen = torch.where(few[:, None], self._systematic(weights, self.num_particles, generator), self._own())
        self.log_weights = torch.where(few[:, None], 0, self.log_weights)
        chosen = self._numbers(chosen)
        self._foreseen = Foreseen(*(part if len(part) == 1 else part[chosen] for part in self._foreseen))
        if i == len(self.table) - 1:
            foreseen = self._foreseen
            return self._shaped(foreseen.denoised + _times(foreseen.gain, foreseen.residual))
        x = self._move(m[chosen], row.a / row.sigma**2, row.b, generator)
        self.log_weights -= self._foreseen.log_likelihood.reshape(self.log_weights.shape)
        return x

    def draw(self, x: Tensor, count: int, generator: Generators = None) -> Tensor:
        """`count` of each run's K particles `x (B K, *D)`, by their weights, shape `(B count, *D)`."""
        return x[self._numbers(self._systematic(self.log_weights.softmax(1), count, generator))]

    def _foresee(self, denoised: Tensor, covariance: Tensor) -> None:
        matrix = self.operator.matrix.to(denoised)
        along = covariance @ matrix.mT
        s = matrix @ along + self.noise_std**2 * torch.eye(len(matrix), dtype=along.dtype, device=along.device)
        residual = self._for_each(self.y.to(denoised)) - self.operator(self._shaped(denoised))
        # Directions that y cannot know, nor x_0 have, count for nothing: s has no inverse there at sigma_y = 0.
        values, vectors = torch.linalg.eigh((s + s.mT) / 2)
        known = values > values[:, -1:].clamp(min=0) * len(matrix) * torch.finfo(values.dtype).eps
        inverse = torch.where(known, 1 / values, 0)
        gain = along @ ((vectors * inverse[:, None]) @ vectors.mT)
        squares = _times(vectors.mT, residual).square() * inverse
        logs = torch.where(known, (2 * math.pi * values).log(), 0)
        self._foreseen = Foreseen(denoised, covariance, gain, residual, -0.5 * (squares + logs).sum(1))

    def _move(self, m: Tensor, k: float, b: float, generator: Generators) -> Tensor:
        """x' given y, and the weights of that choice."""
        _, covariance, gain, residual, _ = self._foreseen
        free = k**2 * covariance + b**2 * torch.eye(m.shape[1], dtype=m.dtype, device=m.device)
        bound = free - k**2 * gain @ (self.operator.matrix.to(m) @ covariance)
        factor = torch.linalg.cholesky((bound + bound.mT) / 2)
        z = draw_noise(m, generator)
        moved = k * _times(gain, residual) + _times(factor, z)
        free = torch.linalg.cholesky(free)
        whitened = torch.linalg.solve_triangular(free, moved[:, :, None], upper=False)[:, :, 0]
        log_ratio = (z.square().sum(1) - whitened.square().sum(1)) / 2
        log_ratio += (_diagonal(factor).log() - _diagonal(free).log()).sum(1)
        self.log_weights = self.log_weights + log_ratio.reshape(self.log_weights.shape)
        return self._shaped(m + moved)

    def _systematic(self, weights: Tensor, count: int, generator: Generators) -> Tensor:
        """Numbers of particles, `(B, count)`: at `count` even places of the summed weights, one uniform shift a run."""
        one = generator[0] if isinstance(generator, list) else generator
        shift = torch.rand(len(weights), 1, generator=one, dtype=weights.dtype, device=one.device if one else None)
        places = (torch.arange(count, device=weights.device) + shift.to(weights.device)) / count
        return torch.searchsorted(weights.cumsum(1), places).clamp(max=weights.shape[1] - 1)

    def _own(self) -> Tensor:
        return torch.arange(self.num_particles, device=self.y.device).expand(len(self.y), -1)

    def _numbers(self, chosen: Tensor) -> Tensor:
        """Of particles within their runs, `(B, n)`, those among all, `(B n,)`."""
        first = torch.arange(len(chosen), device=chosen.device)[:, None] * self.num_particles
        return (first + chosen).flatten()

    def _for_each(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.num_particles, dim=0)

    def _shaped(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.operator.shape)


def _check_finite(values: Tensor, sigma: Tensor) -> None:
    if not values.isfinite().all():
        raise FloatingPointError(
            f"The particles or their score's derivatives are not finite at sigma = {float(sigma):.4g}. Take more "
            "levels, and a sigma_max within the range that the network was trained on."
        )


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """A matrix each, or one for all, times vectors `(N, n)`."""
    return (matrix @ vector[:, :, None])[:, :, 0]


def _diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1)
