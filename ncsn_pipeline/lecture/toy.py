"""The densities that several experiments share."""

import torch
from torch import Tensor

from ..densities import GaussianMixture


def corner_mixture(std: float = 1.0) -> GaussianMixture:
    """The toy of Song & Ermon (2019), figures 2 and 3: 0.8 at (5, 5) and 0.2 at (-5, -5), both of deviation `std`."""
    means = torch.tensor([[5.0, 5.0], [-5.0, -5.0]])
    return GaussianMixture(means, std, torch.tensor([0.8, 0.2]))


def uniform_square(n: int, half_width: float = 8.0, *, generator: torch.Generator | None = None) -> Tensor:
    """Where that toy starts its particles: uniform on [-8, 8]², shape `(n, 2)`."""
    return half_width * (2 * torch.rand(n, 2, generator=generator) - 1)
