"""What is known exactly about a density: samples, log density, score, and all of these after noising.

Noise of level sigma turns a density p into its convolution with a Gaussian, the density of x + sigma z, z ~ N(0, I):

    p_sigma(x) = int p(y) N(x; y, sigma² I) dy,        s(x, sigma) = grad_x log p_sigma(x).

Every density of this folder knows p_sigma in closed form, so that what a network learns, and what a sampler draws, can
be held against the truth.  Two kinds of function say all there is to say about scores:

    ScoreFn         x (B, *D) -> s(x) (B, *D)                               one density
    NoisyScoreFn    x (B, *D), sigma () or (B,) -> s(x, sigma) (B, *D)      one density at all its noise levels
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

ScoreFn = Callable[[Tensor], Tensor]
NoisyScoreFn = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class Density(Protocol):
    """A density over points of `d` numbers, in data units.

    What comes back has the dtype and device of the points that were given, and is computed in that dtype.
    """

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws `n` independent points, shape `(n, d)`."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """log p at each of `x (B, d)`, shape `(B,)`, in nats."""
        ...

    def score(self, x: Tensor) -> Tensor:
        """grad log p at each of `x (B, d)`, the same shape, in inverse data units."""
        ...

    def noised(self, sigma: float) -> "Density":
        """The density of x + sigma z; noised twice, by a and by b, is noised once by sqrt(a² + b²)."""
        ...


def exact_score_function(density: Density) -> NoisyScoreFn:
    """The scores of a density at all its noise levels, interchangeable with those that a network learns.

    Args:
        density: any density that can be noised.

    Returns:
        `(x (B, *D), sigma () or (B,)) -> score (B, *D)`, the score of `density.noised(sigma)`.  Where sigma holds one
        level a sample, all samples of a distinct level are worked out together.

    Raises:
        ValueError: when the function is called with a sigma of another shape, or with one that the density refuses.
    """

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        if not isinstance(sigma, Tensor) or sigma.dim() == 0:
            return density.noised(float(sigma)).score(x)
        if sigma.shape != x.shape[:1]:
            raise ValueError(
                f"sigma must be one number, shape (), or one a sample, shape ({len(x)},); got {tuple(sigma.shape)}."
            )
        scores = torch.empty_like(x)
        for level in sigma.unique():
            here = (sigma == level).to(x.device)
            scores[here] = density.noised(float(level)).score(x[here])
        return scores

    return score


def check_noise_level(sigma: float) -> float:
    """A noise level as a float; ValueError unless it is finite and at least 0, which adds no noise."""
    sigma = float(sigma)
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be a finite number of at least 0, in data units; got {sigma}.")
    return sigma


def check_points(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns `x`; ValueError unless it is a batch of floating-point numbers of `shape`."""
    if not x.is_floating_point() or x.dim() == 0 or tuple(x.shape[1:]) != tuple(shape):
        expected = ", ".join(map(str, ("B", *shape)))
        raise ValueError(f"points must be a floating tensor of shape ({expected}); got {x.dtype} {tuple(x.shape)}.")
    return x
