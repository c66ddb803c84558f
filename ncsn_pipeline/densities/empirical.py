"""The data themselves as a density: one Gaussian on every data point.

    p_sigma(x) = 1/N sum_n N(x; y_n, sigma² I)
    D(x) = sum_n r_n(x) y_n,        r_n ∝ exp(-||x - y_n||² / (2 sigma²))
    s(x) = (D(x) - x) / sigma²

D is the posterior mean of the data given the noised x, the best possible denoiser; s is the exact minimiser of
denoising score matching on these N points at level sigma (Vincent 2011; Karras et al. 2022, appendix B.3), which a
network that memorised its training set would reach.

The sums run over the data in chunks that keep a running maximum (a streaming log-sum-exp), so memory does not grow
with N.  Squared distances come from one matrix product a chunk, in float64: of the exponents' digits it loses those of
(scale / sigma)², about 1e-16 (scale / sigma)², where scale is the data's distance from their mean.
"""

import math
from copy import copy
from typing import Self

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import check_noise_level, check_points


class EmpiricalDensity:
    """N data points, each noised by sigma.

    Args:
        data: the points y, shape `(N, *D)` of any number of dimensions, floating and finite, in data units.
        sigma: standard deviation of the noise, finite and >= 0.  At 0 there is no density: sampling and `noised` work,
            `log_prob`, `score` and `denoise` do not.
        chunk_size: how many data points are looked at together, at least 1; it decides memory, not results.

    Raises:
        ValueError: for data without points, not floating or not finite, or a sigma or chunk size out of range.
    """

    def __init__(self, data: Tensor, sigma: float = 0.0, chunk_size: int = 4096) -> None:
        if data.dim() < 2 or data.numel() == 0 or not data.is_floating_point() or not data.isfinite().all():
            raise ValueError(
                f"data must be finite, floating and of shape (N, ...) with N >= 1; got {data.dtype} "
                f"{tuple(data.shape)}. Convert integers to floats in the model's data range."
            )
        if chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1; got {chunk_size}.")
        self.data = data
        self.sigma = check_noise_level(sigma)
        self.chunk_size = int(chunk_size)
        # Distances are taken from the mean, so that a common offset costs no digits.
        self._centre = sum(rows.double().sum(0) for rows in data.flatten(1).split(self.chunk_size)) / len(data)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws `n` data points with replacement and noises them, shape `(n, *D)`, in the data's dtype."""
        place = self.data.device if generator is None else generator.device
        rows = torch.randint(len(self.data), (n,), generator=generator, device=place)
        y = self.data[rows.to(self.data.device)]
        if self.sigma == 0:
            return y
        return y + self.sigma * randn_tensor(y.shape, generator=generator, device=y.device, dtype=y.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p_sigma at `x (B, *D)`, shape `(B,)`, in nats; ValueError at sigma = 0."""
        log_sum, _ = self._over_the_data(x)
        d = self.data[0].numel()
        log_norm = math.log(len(self.data)) + 0.5 * d * math.log(2 * math.pi * self.sigma**2)
        return (log_sum - log_norm).to(x.dtype)

    def score(self, x: Tensor) -> Tensor:
        """(D(x) - x) / sigma² at `x (B, *D)`, the same shape; ValueError at sigma = 0."""
        _, denoised = self._over_the_data(x)
        return ((denoised - x.double()) / self.sigma**2).to(x.dtype)

    def denoise(self, x: Tensor) -> Tensor:
        """D(x) = E[y | x], the mean of the data points that `x (B, *D)` may come from; ValueError at sigma = 0."""
        return self._over_the_data(x)[1].to(x.dtype)

    def noised(self, sigma: float) -> Self:
        """The same data at noise sqrt(self.sigma² + sigma²); sigma finite and >= 0, in data units, else ValueError."""
        other = copy(self)
        other.sigma = math.hypot(self.sigma, check_noise_level(sigma))
        return other

    def _over_the_data(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log sum_n exp(-||x - y_n||² / (2 sigma²)), shape `(B,)`, and D(x), shape `(B, *D)`, both float64."""
        if self.sigma == 0:
            raise ValueError("bare points have no density, sigma is 0: call .noised(sigma) first, with sigma > 0.")
        check_points(x, self.data.shape[1:])
        centre = self._centre.to(x.device)
        points = x.double().flatten(1) - centre
        # The running maximum cancels from both results, so no gradient goes through it.
        largest = points.new_full((len(x), 1), -math.inf)
        total, weighted = points.new_zeros(len(x), 1), torch.zeros_like(points)
        for rows in self.data.flatten(1).split(self.chunk_size):
            y = rows.to(x.device, torch.float64) - centre
            # -||x - y||² / (2 sigma²) without ||x||², which is the same for all y
            exponent = (points @ y.T - 0.5 * y.square().sum(1)) / self.sigma**2
            before, largest = largest, torch.maximum(largest, exponent.detach().amax(1, keepdim=True))
            shrink, r = (before - largest).exp(), (exponent - largest).exp()
            total = shrink * total + r.sum(1, keepdim=True)
            weighted = shrink * weighted + r @ y
        log_sum = largest + total.log() - 0.5 * points.square().sum(1, keepdim=True) / self.sigma**2
        return log_sum.squeeze(1), (weighted / total + centre).reshape(x.shape)
