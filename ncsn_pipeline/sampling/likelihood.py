"""The log density of a score model, by the probability-flow ordinary differential equation.

With sigma as time, noised densities p_sigma flow into one another along

    dx / d sigma = -sigma s(x, sigma)                                   (Song et al. 2021, eq. 13, variance exploding)

without any randomness, and along a path the log density changes by the divergence of the flow:

    log p_sigma_min(x) = log p_sigma_max(x(sigma_max)) + int div(-sigma s) d sigma                       (eq. 39)

from sigma_min to sigma_max.  Both are integrated together in tau = ln sigma, where d sigma = sigma d tau and the flow
is -sigma² s.  The end, p_sigma_max, is taken as N(prior_mean, prior_std² I); for data of covariance C it is close to
N(mean, C + sigma_max² I).  What comes out is the log density of the data noised by sigma_min; of a field that is no
gradient, the log density that its flow transports.

The divergence is the trace of the score's Jacobian J: exactly, D backward passes; or by Hutchinson's estimator, the
mean of <v, J v> over probes v of independent signs, which stay the same along a path.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.noise_levels.spacing import check_counts
from ncsn_pipeline.score_matching.jacobian import evaluate_for_derivatives, exact_trace, quadratic_forms
from ncsn_pipeline.score_matching.projections import draw_projections

Flow = Callable[[Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Likelihood:
    """Log densities of points, and what they come to on average.

    Args:
        log_prob: log p_sigma_min of each point, shape `(B,)`, in nats; float64, or float32 on a device without it.
        dimension: D, numbers per point.
        nfe: evaluations of the score that each point took; with an adaptive method, the most over the batches.
    """

    log_prob: Tensor
    dimension: int
    nfe: int

    @property
    def nats(self) -> float:
        """Mean negative log density, nats a point."""
        return -self.log_prob.mean().item()

    @property
    def nats_standard_error(self) -> float:
        """Standard error of `nats` over the points; NaN for one point."""
        return self.log_prob.std().item() / math.sqrt(len(self.log_prob)) if len(self.log_prob) > 1 else math.nan

    @property
    def bits_per_dim(self) -> float:
        """`nats / (D ln 2)`, of the density in data units.

        For the bits of 8-bit images whose 256 grey levels fill [data_min, data_max] in bins of equal width, add
        log2(256 / (data_max - data_min)): 8 for [0, 1], 7 for [-1, 1].
        """
        return self.nats / (self.dimension * math.log(2))

    @property
    def bits_per_dim_standard_error(self) -> float:
        """Standard error of `bits_per_dim` over the points; NaN for one point."""
        return self.nats_standard_error / (self.dimension * math.log(2))


@torch.no_grad()
def log_likelihood(
    noisy_score_fn: NoisyScoreFn,
    x: Tensor,
    *,
    sigma_min: float,
    sigma_max: float,
    method: str = "dopri5",
    num_steps: int = 100,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    divergence: str = "exact",
    num_probes: int = 1,
    prior_mean: float | Tensor = 0.0,
    prior_std: float | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> Likelihood:
    """log p_sigma_min of each point, by the probability-flow ODE.

    Args:
        noisy_score_fn: `(x (B, *D), sigma ()) -> score (B, *D)`, differentiable in x.
        x: the points, shape `(B, *D)`, in data units.
        sigma_min: the noise level whose density is asked for, > 0, in data units.
        sigma_max: where the flow ends, > `sigma_min`, large beside the data.
        method: `"dopri5"`, Runge-Kutta 5(4) with steps chosen for `rtol` and `atol` over a batch as a whole; or
            `"heun"`, second order, `num_steps` equal steps in ln sigma, two evaluations each.
        num_steps: steps of `"heun"`, at least 1.  The error falls as its square; 100 steps from 0.05 to
            20 leave 1.3e-3 to 2.6e-3 nats per dimension on Gaussians of deviation 1 to 0.1.
        rtol: relative tolerance of `"dopri5"`, > 0.
        atol: absolute tolerance of `"dopri5"`, > 0.
        divergence: `"exact"`, D backward passes an evaluation; or `"hutchinson"`, `num_probes`, unbiased.
        num_probes: probes of `"hutchinson"`, at least 1.
        prior_mean: the mean of p_sigma_max, a number or a tensor that broadcasts to `x`, in data units.
        prior_std: the standard deviation of p_sigma_max, > 0; `sigma_max` where it is not given, which leaves out the
            data's own spread.
        batch_size: points at a time, at least 1; by default all.
        generator: source of the probes.

    Raises:
        ValueError: for an argument out of range, or a score that is not differentiable in x.
        FloatingPointError: for a score that is not finite, or an integration that does not reach its tolerance.
    """
    if x.dim() < 2 or not len(x):
        raise ValueError(f"x must hold at least one point, shape (B, *D); got {tuple(x.shape)}.")
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"0 < sigma_min < sigma_max must hold and both be finite; got {sigma_min} and {sigma_max}.")
    for name, value, valid in (
        ("method", method, ("dopri5", "heun")),
        ("divergence", divergence, ("exact", "hutchinson")),
    ):
        if value not in valid:
            raise ValueError(f"{name} must be one of {valid}; got {value!r}.")
    batch_size = len(x) if batch_size is None else batch_size
    check_counts(num_steps=num_steps, num_probes=num_probes, batch_size=batch_size)
    prior_std = sigma_max if prior_std is None else prior_std
    for name, number in (("rtol", rtol), ("atol", atol), ("prior_std", prior_std)):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be finite and > 0; got {number}.")

    wide = torch.float64 if x.device.type in ("cpu", "cuda") else torch.float32  # not every device has the former
    prior_means = torch.as_tensor(prior_mean, dtype=wide, device=x.device).expand(x.shape)
    ends = math.log(sigma_min), math.log(sigma_max)
    log_probs, most = [], 0
    for points, mean in zip(x.split(batch_size), prior_means.split(batch_size), strict=True):
        flow = _Flow(noisy_score_fn, points, num_probes if divergence == "hutchinson" else None, generator)
        if method == "heun":
            end, change = _heun(flow, points.to(wide), ends, num_steps)
        else:
            end, change = _dopri5(flow, points.to(wide), ends, rtol, atol)
        normal = torch.distributions.Normal(mean, prior_std)
        log_probs.append(normal.log_prob(end).flatten(1).sum(1) + change)
        most = max(most, flow.nfe)
    return Likelihood(torch.cat(log_probs), x[0].numel(), most)


class _Flow:
    """`(x, tau) -> (dx / d tau, div)`, in the dtype of x, with the score evaluated in the points' own dtype."""

    def __init__(
        self, noisy_score_fn: NoisyScoreFn, points: Tensor, num_probes: int | None, generator: torch.Generator | None
    ) -> None:
        self.noisy_score_fn = noisy_score_fn
        self.dtype = points.dtype
        self.probes = None if num_probes is None else draw_projections(points, num_probes, "rademacher", generator)
        self.nfe = 0

    def __call__(self, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        sigma, wide = math.exp(tau), x.dtype
        level = torch.tensor(sigma, dtype=self.dtype, device=x.device)
        x, score = evaluate_for_derivatives(lambda x: self.noisy_score_fn(x, level), x.to(self.dtype))
        self.nfe += 1
        if self.probes is None:
            trace = exact_trace(score, x)
        else:
            trace = quadratic_forms(score, x, self.probes).mean(0)
        score, trace = score.detach().to(wide), trace.to(wide)
        if not math.isfinite(float(score.sum() + trace.sum())):
            raise FloatingPointError(f"The score or its divergence is not finite at sigma = {sigma:.4g}.")
        return -(sigma**2) * score, -(sigma**2) * trace


def _heun(flow: Flow, x: Tensor, ends: tuple[float, float], num_steps: int) -> tuple[Tensor, Tensor]:
    """Heun's second-order method with equal steps: the end of the path, and the integral of the divergence."""
    change = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    step = (ends[1] - ends[0]) / num_steps
    for i in range(num_steps):
        tau = ends[0] + i * step
        first, first_divergence = flow(x, tau)
        second, second_divergence = flow(x + step * first, tau + step)
        x = x + step / 2 * (first + second)
        change = change + step / 2 * (first_divergence + second_divergence)
    return x, change


def _dopri5(flow: Flow, x: Tensor, ends: tuple[float, float], rtol: float, atol: float) -> tuple[Tensor, Tensor]:
    """Dormand and Prince's Runge-Kutta 5(4), as `_heun`; a batch is one system of B (D + 1) equations."""
    batch, numbers = len(x), x.numel()

    def right_hand_side(tau: float, state: np.ndarray) -> np.ndarray:
        velocity, divergence = flow(torch.from_numpy(state[:numbers]).to(x).reshape(x.shape), tau)
        return torch.cat([velocity.flatten(), divergence]).cpu().numpy()

    start = torch.cat([x.flatten(), x.new_zeros(batch)]).cpu().numpy()
    solution = solve_ivp(right_hand_side, ends, start, method="RK45", rtol=rtol, atol=atol, t_eval=ends[1:])
    if not solution.success:
        raise FloatingPointError(
            f"The integration stopped before sigma_max: {solution.message} Loosen rtol and atol, or use method='heun'."
        )
    end = torch.from_numpy(solution.y[:, -1]).to(x)
    return end[:numbers].reshape(x.shape), end[numbers:]
