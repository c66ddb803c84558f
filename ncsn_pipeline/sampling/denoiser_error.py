"""How far denoised samples are from the truth: r²(sigma), the mean squared error per value.

    r²(sigma) = E |D(x + sigma z, sigma) - x|² / d,  D(x, sigma) = x + sigma² s(x, sigma)        on data
              = E sigma² tr J / d,  J = dD/dx                                                    without any

The second holds for exact scores (Tweedie: sigma² J = Cov(x_0 | x)), and J's trace is the mean of v' J v over signs v
(Hutchinson 1990).  The methods that are given a measurement take x_0 for known up to r(sigma), and a table of it that
fits the network decides how good their samples are.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.derivative import pulled_back
from ncsn_pipeline.noise_levels.spacing import check_counts, check_noise_levels
from ncsn_pipeline.sampling.follow import draw_noise

NUM_LEVELS = 20


class DenoiserError:
    """r² as a function of sigma, from a table: ln r² is linear in ln sigma between its rows.

    Below the table r² falls as sigma², above it stays.

    Args:
        rows: pairs (sigma, r²), sigma strictly decreasing and > 0, r² > 0, in data units and their squares.

    Raises:
        ValueError: for rows out of range.
    """

    def __init__(self, rows: Sequence[tuple[float, float]]) -> None:
        self.rows = [(float(sigma), float(error)) for sigma, error in rows]
        check_noise_levels([sigma for sigma, _ in self.rows])
        if not all(0 < error < math.inf for _, error in self.rows):
            raise ValueError(f"r² must be finite and > 0 at every level; got {[error for _, error in self.rows]}.")

    def __call__(self, sigma: float) -> float:
        """r² at one noise level > 0, in squared data units."""
        if sigma >= self.rows[0][0]:
            return self.rows[0][1]
        for (high, above), (low, below) in pairwise(self.rows):
            if sigma >= low:
                part = math.log(sigma / low) / math.log(high / low)
                return below * (above / below) ** part
        low, below = self.rows[-1]
        return below * (sigma / low) ** 2


@torch.no_grad()
def measured_denoiser_error(
    score: NoisyScoreFn,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    generator: torch.Generator | None = None,
    batch_size: int = 100,
) -> DenoiserError:
    """The table by data: mean |D(x + sigma z, sigma) - x|² / d.

    Args:
        score: `(x (B, *D), sigma ()) -> score (B, *D)`.
        x: clean samples that the score was not learned from, shape `(N, *D)`; each is noised once at every level.
        sigmas: the levels, strictly decreasing, > 0, in data units.
        generator: source of the noise.
        batch_size: samples at once.

    Raises:
        ValueError: for noise levels out of range, no samples, or a score of another shape than theirs.
    """

    def error(clean: Tensor, noisy: Tensor, sigma: float) -> Tensor:
        return (_denoised(score, noisy, sigma) - clean).square()

    return _table(error, x, sigmas, generator, batch_size)


def probed_denoiser_error(
    score: NoisyScoreFn,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    generator: torch.Generator | None = None,
    batch_size: int = 100,
) -> DenoiserError:
    """The table by the score's derivative: mean sigma² v' J v / d, one random v of signs each.

    Args:
        score: `(x (B, *D), sigma ()) -> score (B, *D)`, differentiable.
        x: clean samples, shape `(N, *D)`; those of the model itself do.  Each is noised once at every level.
        sigmas: the levels, strictly decreasing, > 0, in data units.
        generator: source of noise and signs.
        batch_size: samples at once.

    Raises:
        ValueError: for noise levels out of range, no samples, or a score of another shape than theirs.
    """

    def error(clean: Tensor, noisy: Tensor, sigma: float) -> Tensor:
        where = generator.device if generator is not None else None
        v = torch.randint(0, 2, noisy.shape, generator=generator, device=where).to(noisy) * 2 - 1
        with torch.enable_grad():
            noisy = noisy.requires_grad_()
            denoised = _denoised(score, noisy, sigma)
            gradient = pulled_back(denoised, noisy, v, sigma)
        return sigma**2 * v * gradient

    return _table(error, x, sigmas, generator, batch_size)


def _denoised(score: NoisyScoreFn, x: Tensor, sigma: float) -> Tensor:
    s = score(x, torch.tensor(sigma).to(x))
    if s.shape != x.shape:
        raise ValueError(f"The score has shape {tuple(s.shape)}, the samples have {tuple(x.shape)}.")
    return x + sigma**2 * s


def _table(
    error: Callable[[Tensor, Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    generator: torch.Generator | None,
    batch_size: int,
) -> DenoiserError:
    """The mean of `error(clean, noisy, sigma)` at every level."""
    check_counts(batch_size=batch_size)
    if not x.numel():
        raise ValueError(f"x must hold samples, shape (N, *D); got shape {tuple(x.shape)}.")
    rows = []
    for sigma in check_noise_levels(sigmas).tolist():
        total = 0.0
        for clean in x.split(batch_size):
            z = draw_noise(clean, generator)
            total += error(clean, clean + sigma * z, sigma).cpu().double().sum().item()
        # Of a network, a derivative's trace may come out below 0; what is not finite is refused.
        rows.append((sigma, max(total / x.numel(), 1e-6 * sigma**2) if math.isfinite(total) else math.inf))
    return DenoiserError(rows)
