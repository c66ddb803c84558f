"""Piecewise constant on the cells of a grid in the plane: histograms, checkerboards, pictures.

Cell (i, j) holds the mass w_ij, spread evenly over its rectangle of width a and height b.  Noised, each rectangle is a
product of two noised intervals: with its middle at (x_j, y_i) and q(t, h) = Phi(t + h) - Phi(t - h) (`interval.py`),

    p_sigma(x, y) = 1/(a b) sum_ij w_ij qx_j qy_i,    qx_j = q((x - x_j) / sigma, a / (2 sigma)),    qy_i likewise
    s_x = sum_ij w_ij qx_j' qy_i / (sigma sum_ij w_ij qx_j qy_i),                                    s_y likewise.

The sums are matrix products of factors that are scaled by their largest.  Where cells without mass are so much nearer
than those with mass that these sums underflow, they are done again over the logarithms, cell by cell.
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


class CellDensity:
    """A grid of H x W cells, each with its mass spread evenly over it, noised by sigma.

    Args:
        weights: the masses w, shape `(H, W)`, finite, at least 0, not all 0, in any unit: they are divided by their
            sum.  Row 0 is the lowest, at y_min; column 0 the leftmost, at x_min.  Their dtype (of integers: the default
            one) and device are those of the samples.
        extent: `(x_min, x_max, y_min, y_max)` of the whole grid, in data units.
        sigma: standard deviation of the noise, finite and >= 0.  At 0 `log_prob` is that of the histogram, and `score`,
            which is 0 or undefined, is refused.

    Attributes:
        weights: w, shape `(H, W)`, with sum 1.
        extent: as given.

    Raises:
        ValueError: for weights, an extent or a sigma out of range.
    """

    def __init__(self, weights: Tensor, extent: Sequence[float], sigma: float = 0.0) -> None:
        weights = torch.as_tensor(weights)
        if weights.dim() != 2 or not (weights.isfinite().all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                "weights must be finite numbers of at least 0, not all 0, of shape (H, W); got shape "
                f"{tuple(weights.shape)}" + (f", sum {float(weights.sum())}." if weights.numel() else ".")
            )
        if len(extent) != 4 or not all(map(math.isfinite, extent)) or extent[0] >= extent[1] or extent[2] >= extent[3]:
            raise ValueError(
                "extent must be finite (x_min, x_max, y_min, y_max) with x_min < x_max and y_min < y_max; got "
                f"{tuple(extent)}."
            )
        dtype = weights.dtype if weights.is_floating_point() else torch.get_default_dtype()
        self.weights = (weights.double() / weights.double().sum()).to(dtype)
        self.extent = tuple(float(end) for end in extent)
        self.sigma = check_noise_level(sigma)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws `n` points, shape `(n, 2)`, in the dtype and on the device of the weights."""
        width, (x_min, _, y_min, _) = self.weights.shape[1], self.extent
        cell = choose(self.weights.flatten(), n, generator)
        corner = torch.stack([cell % width, cell // width], 1)
        step = self.weights.new_tensor(self._cell_size())
        y = self.weights.new_tensor([x_min, y_min]) + (corner + uniform((n, 2), self.weights, generator)) * step
        if self.sigma == 0:
            return y
        return y + self.sigma * randn_tensor(y.shape, generator=generator, device=y.device, dtype=y.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p_sigma at `x (B, 2)`, shape `(B,)`, in nats; at sigma = 0 it is -inf where there is no mass."""
        if self.sigma == 0:
            return self._log_histogram(check_points(x, (2,)))
        return torch.cat([self._noised(rows)[0] for rows in self._blocks(x)])

    def score(self, x: Tensor) -> Tensor:
        """The gradient of log p_sigma at `x (B, 2)`, the same shape; ValueError at sigma = 0."""
        if self.sigma == 0:
            raise ValueError("cells have no score at their edges, sigma is 0: call .noised(sigma) first, sigma > 0.")
        return torch.cat([self._noised(rows)[1] for rows in self._blocks(x)])

    def noised(self, sigma: float) -> Self:
        """The same cells at noise sqrt(self.sigma² + sigma²); sigma finite and >= 0, in data units, else ValueError."""
        other = copy(self)
        other.sigma = math.hypot(self.sigma, check_noise_level(sigma))
        return other

    def _cell_size(self) -> tuple[float, float]:
        """a and b, in data units."""
        x_min, x_max, y_min, y_max = self.extent
        return (x_max - x_min) / self.weights.shape[1], (y_max - y_min) / self.weights.shape[0]

    def _log_histogram(self, x: Tensor) -> Tensor:
        """log(w_ij / (a b)) of the cell that x lies in; a cell owns its left and lower edge."""
        (height, width), (x_min, _, y_min, _), (a, b) = self.weights.shape, self.extent, self._cell_size()
        j, i = ((x[:, 0] - x_min) / a).floor(), ((x[:, 1] - y_min) / b).floor()
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        i, j = (torch.where(inside, index, 0).long() for index in (i, j))
        mass = torch.where(inside, self.weights.to(x)[i, j], 0)
        return torch.where(x.isnan().any(1), math.nan, mass.log() - math.log(a * b))

    def _blocks(self, x: Tensor) -> tuple[Tensor, ...]:
        return check_points(x, (2,)).split(max(1, _BLOCK_ELEMENTS // sum(self.weights.shape)))

    def _noised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p_sigma, shape `(B,)`, and the score, shape `(B, 2)`."""
        (height, width), (x_min, x_max, y_min, y_max) = self.weights.shape, self.extent
        log_qx, slope_x = self._axis(x[:, :1], x_min, x_max, width)
        log_qy, slope_y = self._axis(x[:, 1:], y_min, y_max, height)
        # The scales cancel from the results, so no gradient goes through them.
        scale_x, scale_y = log_qx.detach().amax(1, keepdim=True), log_qy.detach().amax(1, keepdim=True)
        qx, qy, w = (log_qx - scale_x).exp(), (log_qy - scale_y).exp(), self.weights.to(x)
        across, up = (qy @ w) * qx, (qx @ w.T) * qy
        mass = across.sum(1)
        lost = mass < math.sqrt(torch.finfo(x.dtype).tiny)
        mass = mass.masked_fill(lost, 1.0)
        a, b = self._cell_size()
        log_p = mass.log() + (scale_x + scale_y).squeeze(1) - math.log(a * b)
        score = torch.stack([(across * slope_x).sum(1), (up * slope_y).sum(1)], 1) / mass[:, None]
        if lost.any():
            log_p, score = log_p.clone(), score.clone()
            rows = max(1, _BLOCK_ELEMENTS // w.numel())
            parts = zip(*(q[lost].split(rows) for q in (log_qx, slope_x, log_qy, slope_y)), strict=True)
            log_sums, scores = zip(*(self._cell_by_cell(w, *part) for part in parts), strict=True)
            log_p[lost], score[lost] = torch.cat(log_sums) - math.log(a * b), torch.cat(scores)
        return log_p, score

    def _axis(self, x: Tensor, low: float, high: float, count: int) -> tuple[Tensor, Tensor]:
        """log q of every column (or row) of cells and its derivative in data units, shape `(B, count)`."""
        size = (high - low) / count
        middles = low + size * (torch.arange(count, device=x.device, dtype=x.dtype) + 0.5)
        log_q, slope = noised_interval((x - middles) / self.sigma, x.new_tensor(size / (2 * self.sigma)))
        return log_q, slope / self.sigma

    def _cell_by_cell(
        self, w: Tensor, log_qx: Tensor, slope_x: Tensor, log_qy: Tensor, slope_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log sum_ij w_ij qx_j qy_i and its gradient, over the cells that hold mass, by logarithms."""
        i, j = w.nonzero(as_tuple=True)
        log_terms = w[i, j].log() + log_qy[:, i] + log_qx[:, j]
        r = log_terms.softmax(1)
        return log_terms.logsumexp(1), torch.stack([(r * slope_x[:, j]).sum(1), (r * slope_y[:, i]).sum(1)], 1)
