"""Mixtures of Gaussians: everything in closed form, before and after noising.

    p(x) = sum_k w_k N(x; mu_k, Sigma_k)
    r_k(x) = w_k N(x; mu_k, Sigma_k) / p(x)                 responsibilities
    s(x) = sum_k r_k(x) Sigma_k^-1 (mu_k - x)               score

Noise of level sigma turns Sigma_k into Sigma_k + sigma² I.  With Sigma_k = U_k diag(lambda_k) U_k^T that is lambda_k +
sigma² and the same U_k, so a mixture is factorised once for all its noise levels.  Where every Sigma_k is std_k² I
there is no U_k at all.
"""

import math
from copy import copy
from typing import Self

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities.density import check_noise_level, check_points
from ncsn_pipeline.densities.drawing import choose


class GaussianMixture:
    """A mixture of K Gaussians in d dimensions.

    Args:
        means: mu, shape `(K, d)`, in data units.  Its dtype and device are those of the samples.
        covariances_or_stds: one standard deviation for all components, one a component, shape `(K,)`, or covariances
            Sigma, shape `(K, d, d)`, symmetric and positive definite.  Standard deviations are finite and > 0.
        weights: w, shape `(K,)`, at least 0, with sum 1 to within 1e-6 (then made exact); `None` for equal ones.

    Attributes:
        means: mu, shape `(K, d)`.
        weights: w, shape `(K,)`, float64.

    Raises:
        ValueError: for shapes that do not fit or values out of range.
    """

    def __init__(self, means: Tensor, covariances_or_stds: float | Tensor = 1.0, weights: Tensor | None = None) -> None:
        means = torch.as_tensor(means)
        self.means = means if means.is_floating_point() else means.to(torch.get_default_dtype())
        if means.dim() != 2 or means.numel() == 0 or not means.isfinite().all():
            raise ValueError(f"means must be finite, of shape (K, d) with K, d >= 1; got shape {tuple(means.shape)}.")
        self.weights = _checked_weights(weights, self.means)
        # Sigma_k = U_k diag(lambda_k) U_k^T, in float64; where U is None, lambda is (K, 1) for all directions.
        self._lambda, self._u = _factorised(covariances_or_stds, self.means)

    @property
    def covariances(self) -> Tensor:
        """Sigma of every component, shape `(K, d, d)`, in the dtype of the means."""
        k, d = self.means.shape
        if self._u is None:
            covariances = self._lambda[:, :, None] * torch.eye(d, dtype=torch.float64, device=self.means.device)
        else:
            covariances = (self._u * self._lambda[:, None, :]) @ self._u.mT
        return covariances.expand(k, d, d).to(self.means)

    @property
    def mean(self) -> Tensor:
        """Mean of the whole, sum_k w_k mu_k, shape `(d,)`."""
        return self.weights.to(self.means) @ self.means

    @property
    def covariance(self) -> Tensor:
        """Covariance of the whole, sum_k w_k (Sigma_k + (mu_k - mean)(mu_k - mean)^T), shape `(d, d)`."""
        centred = self.means - self.mean
        of_components = self.covariances + centred[:, :, None] * centred[:, None, :]
        return torch.einsum("k,kij->ij", self.weights.to(self.means), of_components)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws `n` points, shape `(n, d)`, in the dtype and on the device of the means."""
        component = choose(self.weights, n, generator)
        z = randn_tensor(
            (n, self.means.shape[1]), generator=generator, device=self.means.device, dtype=self.means.dtype
        )
        z = z * self._lambda.sqrt().to(z)[component]
        if self._u is not None:
            z = torch.einsum("nij,nj->ni", self._u.to(z)[component], z)
        return self.means[component] + z

    def log_prob(self, x: Tensor) -> Tensor:
        """log p at `x (B, d)`, shape `(B,)`, in nats; finite wherever the squared distance is."""
        return self._log_joint(*self._whitening(x)).logsumexp(0)

    def score(self, x: Tensor) -> Tensor:
        """sum_k r_k Sigma_k^-1 (mu_k - x) at `x (B, d)`, the same shape."""
        y, precision = self._whitening(x)
        r = self._log_joint(y, precision).softmax(0)
        y = y * precision
        if self._u is not None:
            y = self._u.to(x) @ y
        return -(r[:, None, :] * y).sum(0).mT.contiguous()

    def responsibilities(self, x: Tensor) -> Tensor:
        """r_k(x), the probability that `x (B, d)` came from component k, shape `(B, K)`; rows sum to 1."""
        return self._log_joint(*self._whitening(x)).softmax(0).mT.contiguous()

    def noised(self, sigma: float) -> Self:
        """The mixture with covariances Sigma_k + sigma² I; sigma finite and >= 0, in data units, else ValueError."""
        other = copy(self)
        other._lambda = self._lambda + check_noise_level(sigma) ** 2
        return other

    def _whitening(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y_k = U_k^T (x - mu_k), shape `(K, d, B)`, the points last because that is fastest, and 1 / lambda_k."""
        check_points(x, self.means.shape[1:])
        y = x.mT.contiguous() - self.means.to(x)[:, :, None]
        if self._u is not None:
            y = self._u.mT.to(x) @ y
        return y, (1 / self._lambda).to(x)[:, :, None]

    def _log_joint(self, y: Tensor, precision: Tensor) -> Tensor:
        """log w_k + log N(x; mu_k, Sigma_k), shape `(K, B)`."""
        d = self.means.shape[1]
        log_determinant = self._lambda.log().expand(-1, d).sum(1)
        log_norm = self.weights.log() - 0.5 * (log_determinant + d * math.log(2 * math.pi))
        return log_norm.to(y)[:, None] - 0.5 * (y.square() * precision).sum(1)


def _checked_weights(weights: Tensor | None, means: Tensor) -> Tensor:
    """w in float64 with sum 1, shape `(K,)`."""
    k = len(means)
    if weights is None:
        return torch.full((k,), 1 / k, dtype=torch.float64, device=means.device)
    weights = torch.as_tensor(weights, dtype=torch.float64, device=means.device)
    if weights.shape != (k,) or not (weights >= 0).all() or not abs(float(weights.sum()) - 1) <= 1e-6:
        raise ValueError(
            f"weights must be {k} numbers of at least 0, one a component, with sum 1 to within 1e-6; got "
            f"{weights.tolist()}. Divide them by their sum."
        )
    return weights / weights.sum()


def _factorised(covariances_or_stds: float | Tensor, means: Tensor) -> tuple[Tensor, Tensor | None]:
    """lambda `(K, d)` and U `(K, d, d)`, or, for standard deviations, lambda `(K, 1)` and None; float64."""
    k, d = means.shape
    given = torch.as_tensor(covariances_or_stds, dtype=torch.float64, device=means.device)
    if given.shape in ((), (k,)):
        if not (given.isfinite().all() and (given > 0).all()):
            raise ValueError(
                f"standard deviations must be finite and > 0; got {given.tolist()}. EmpiricalDensity takes bare points."
            )
        return given.expand(k)[:, None] ** 2, None
    if given.shape != (k, d, d):
        raise ValueError(
            f"covariances_or_stds must be a number, or have shape ({k},) or ({k}, {d}, {d}); got {tuple(given.shape)}."
        )
    # Of one in float32, entries near 0 are as uncertain as its diagonal.
    spread = given.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    rounding = 1e-5 * spread[:, :, None] * spread[:, None, :]
    if not (given.isfinite().all() and ((given - given.mT).abs() <= rounding).all()):
        raise ValueError("covariances must be finite and symmetric; average each with its transpose.")
    eigenvalues, u = torch.linalg.eigh((given + given.mT) / 2)
    if not (eigenvalues > 0).all():
        raise ValueError(
            f"covariances must be positive definite; the smallest eigenvalue is {float(eigenvalues.min()):.3g}. "
            "Add a little to their diagonals."
        )
    return eigenvalues, u
