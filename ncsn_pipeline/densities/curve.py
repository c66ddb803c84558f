"""Data on a one-dimensional manifold: the density that is uniform, by length, along a chain of straight segments.

On the curve itself there is no density in d > 1 dimensions and off it no score, which is the point of it; noised there
are both.  A segment of length l_k, with middle c_k and direction e_k, convolved with N(0, sigma² I), is a product:
Gaussian across, a noised interval along.  With

    t_k = <x - c_k, e_k> / sigma,    h_k = l_k / (2 sigma),    v_k = (x - c_k) - <x - c_k, e_k> e_k

and q(t, h) = Phi(t + h) - Phi(t - h) (`interval.py`), for segments of total length L,

    p_sigma(x) = sum_k a_k,        a_k = 1/L (2 pi sigma²)^(-(d-1)/2) exp(-||v_k||² / (2 sigma²)) q(t_k, h_k)
    s(x) = sum_k r_k (dlog q(t_k, h_k)/dt e_k / sigma - v_k / sigma²),        r_k = a_k / p_sigma(x).

Both are exact for the chain of segments; how far that is from a smooth curve is up to its vertices (`shapes.py`).
"""

import math
from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import check_noise_level, check_points
from ncsn_pipeline.densities.drawing import choose, uniform
from ncsn_pipeline.densities.interval import noised_interval

_BLOCK_ELEMENTS = 1 << 20


class CurveDensity:
    """Uniform by length along the segments between neighbouring vertices, noised by sigma.

    Args:
        points: the vertices in order, shape `(M, d)`, in data units; or several such tensors, one a separate piece of
            curve.  Their dtype and device are those of the samples.  Neighbours may coincide, not all of them.
        closed: whether each piece returns from its last vertex to its first.
        sigma: standard deviation of the noise, finite and >= 0.  At 0 `sample`, `noised` and `distance` work,
            `log_prob` and `score` do not.

    Attributes:
        length: total length L of the segments, in data units.

    Raises:
        ValueError: for vertices that are not finite, floating and of one dimension, a piece without length, or a sigma
            out of range.
    """

    def __init__(self, points: Tensor | Sequence[Tensor], closed: bool = False, sigma: float = 0.0) -> None:
        pieces = [points] if isinstance(points, Tensor) else list(points)
        chains = [_segments(piece, closed) for piece in pieces]
        if not chains or len({start.shape[1] for start, _ in chains}) > 1:
            raise ValueError(
                "points must be one tensor of vertices (M, d), or several of the same d; got none or mixed."
            )
        self._start = torch.cat([start for start, _ in chains])
        self._step = torch.cat([end for _, end in chains]) - self._start
        self._lengths = torch.linalg.vector_norm(self._step, dim=1)
        self.length = float(self._lengths.double().sum())
        self.sigma = check_noise_level(sigma)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws `n` points, uniform by length and noised, shape `(n, d)`, in the dtype of the vertices."""
        segment = choose(self._lengths, n, generator)
        y = self._start[segment] + uniform((n, 1), self._start, generator) * self._step[segment]
        if self.sigma == 0:
            return y
        return y + self.sigma * randn_tensor(y.shape, generator=generator, device=y.device, dtype=y.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p_sigma at `x (B, d)`, shape `(B,)`, in nats; finite wherever squares are.  ValueError at sigma = 0."""
        return torch.cat([self._log_terms(rows)[0].logsumexp(1) for rows in self._blocks(x, noised=True)])

    def score(self, x: Tensor) -> Tensor:
        """The gradient of log p_sigma at `x (B, d)`, the same shape.  ValueError at sigma = 0."""
        scores = []
        for rows in self._blocks(x, noised=True):
            log_terms, slope, e, v = self._log_terms(rows)
            r = log_terms.softmax(1)
            scores.append((r * slope / self.sigma) @ e - (r[:, None, :] @ v).squeeze(1) / self.sigma**2)
        return torch.cat(scores)

    def noised(self, sigma: float) -> Self:
        """The same curve at noise sqrt(self.sigma² + sigma²); sigma finite and >= 0, in data units, else ValueError."""
        other = copy(self)
        other.sigma = math.hypot(self.sigma, check_noise_level(sigma))
        return other

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance from `x (B, d)` to the nearest point of the curve, shape `(B,)`, in data units."""
        distances = []
        for rows in self._blocks(x):
            start, step = self._start.to(x), self._step.to(x)
            relative = rows[:, None, :] - start
            fraction = ((relative * step).sum(2) / step.square().sum(1)).clamp(0, 1)
            squared = (relative - fraction[:, :, None] * step).square().sum(2)
            distances.append(squared.amin(1).sqrt())
        return torch.cat(distances)

    def _blocks(self, x: Tensor, noised: bool = False) -> tuple[Tensor, ...]:
        """The points in parts for which a number for each segment and dimension fits in memory."""
        check_points(x, self._start.shape[1:])
        if noised and self.sigma == 0:
            raise ValueError("a bare curve has no density, sigma is 0: call .noised(sigma) first, with sigma > 0.")
        return x.split(max(1, _BLOCK_ELEMENTS // self._start.numel()))

    def _log_terms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log a_k and dlog q/dt, shape `(B, M)`, e_k, shape `(M, d)`, and v_k, shape `(B, M, d)`."""
        lengths, sigma, d = self._lengths.to(x), self.sigma, x.shape[1]
        e = self._step.to(x) / lengths[:, None]
        relative = x[:, None, :] - (self._start + self._step / 2).to(x)
        along = (relative * e).sum(2)
        v = relative - along[:, :, None] * e
        log_q, slope = noised_interval(along / sigma, lengths / (2 * sigma))
        log_norm = math.log(self.length) + 0.5 * (d - 1) * math.log(2 * math.pi * sigma**2)
        return log_q - v.square().sum(2) / (2 * sigma**2) - log_norm, slope, e, v


def _segments(vertices: Tensor, closed: bool) -> tuple[Tensor, Tensor]:
    """The two ends of every segment of a piece that has a length, each of shape `(M', d)`."""
    if vertices.dim() != 2 or not vertices.is_floating_point() or not vertices.isfinite().all():
        raise ValueError(
            f"vertices must be finite, floating and of shape (M, d); got {vertices.dtype} {tuple(vertices.shape)}."
        )
    if closed:
        vertices = torch.cat([vertices, vertices[:1]])
    start, end = vertices[:-1], vertices[1:]
    apart = torch.linalg.vector_norm(end - start, dim=1).square() > 0  # neither of them may be rounded to 0
    if not apart.any():
        raise ValueError(f"a curve needs two different vertices; got {len(vertices)} that leave it without a length.")
    return start[apart], end[apart]
