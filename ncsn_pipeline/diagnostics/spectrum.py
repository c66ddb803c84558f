"""How many dimensions the data have: their principal components.

With mean m and covariance C = 1/N sum (x - m)(x - m)^T = sum_j lambda_j u_j u_j^T, lambda_1 >= lambda_2 >= ..., the
best reconstruction in k dimensions is m + sum_{j <= k} u_j u_j . (x - m), whose mean squared error over the data is

    E || x - x_k ||² = sum_{j > k} lambda_j.

Data near a low-dimensional manifold have most lambda_j near zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Principal components of a data set, float64.

    Attributes:
        mean: m, shape `(D,)`, in data units.
        variances: lambda_j, decreasing, shape `(r,)` with r = min(N, D), in squared data units.
        components: u_j, orthonormal, as rows, shape `(r, D)`.
    """

    mean: Tensor
    variances: Tensor
    components: Tensor

    @property
    def explained_variance_ratio(self) -> Tensor:
        """lambda_j over their sum, shape `(r,)`."""
        return self.variances / self.variances.sum()

    def components_for(self, fraction: float) -> int:
        """The smallest k whose components explain at least `fraction`, in (0, 1], of the variance.

        Raises:
            ValueError: for a fraction outside (0, 1].
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1]; got {fraction}.")
        explained = self.explained_variance_ratio.cumsum(0)
        return int((explained < min(fraction, explained[-1].item())).sum()) + 1

    def reconstruction_error(self, k: int | None = None) -> float | Tensor:
        """`E || x - x_k ||²` over the data, in squared data units.

        Args:
            k: number of components kept, 0 to r; `None` for all of them, 0 to r, as a tensor of shape `(r + 1,)`.

        Raises:
            ValueError: for a k out of range.
        """
        rest = torch.cat([self.variances.flip(0).cumsum(0).flip(0), self.variances.new_zeros(1)])
        if k is None:
            return rest
        return rest[self._checked(k)].item()

    def reconstruct(self, x: Tensor, k: int) -> Tensor:
        """`m + sum_{j <= k} u_j u_j . (x - m)`.

        Args:
            x: shape `(B, *D)`, in data units.
            k: number of components kept, 0 to r.

        Returns:
            The same shape and dtype as a floating `x`, else float64.

        Raises:
            ValueError: for a k out of range.
        """
        kept = self.components[: self._checked(k)]
        flat = x.double().reshape(len(x), -1) - self.mean
        rebuilt = (self.mean + flat @ kept.T @ kept).reshape(x.shape)
        return rebuilt.to(x.dtype) if x.is_floating_point() else rebuilt

    def _checked(self, k: int) -> int:
        if not 0 <= k <= len(self.variances):
            raise ValueError(f"k must lie between 0 and {len(self.variances)} components; got {k}.")
        return k


def pca_spectrum(data: Tensor) -> Spectrum:
    """Principal components by the eigenvectors of the covariance, or by singular values where N < D.

    Args:
        data: shape `(N, *D)`, N at least 2, real and finite, not all one point, in data units.

    Raises:
        ValueError: for fewer than two points, points that are not finite, or no variance at all.
    """
    if data.ndim < 2 or len(data) < 2 or data[0].numel() == 0:
        raise ValueError(f"data must hold at least two points, shape (N, *D); got shape {tuple(data.shape)}.")
    flat = data.detach().reshape(len(data), -1).double()
    if not flat.isfinite().all():
        raise ValueError("data must be finite; it holds NaN or infinity.")
    mean = flat.mean(0)
    centred = flat - mean
    if centred.abs().max() <= 1e-14 * flat.abs().max():
        raise ValueError("data are one point, repeated; a spectrum needs some variance.")
    if len(flat) < flat.shape[1]:
        _, singular, components = torch.linalg.svd(centred, full_matrices=False)
        return Spectrum(mean, singular.square() / len(flat), components)
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
    return Spectrum(mean, variances.flip(0).clamp_(min=0), vectors.T.flip(0))
