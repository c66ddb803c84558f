"""How the noise level of each training sample is drawn.

A distribution is a callable `(n, generator, device) -> sigma (n,)`.  Discrete levels are those of Song & Ermon (2019);
the two continuous ones train a network for every sigma in a range, so that it can be sampled at any levels: log-uniform
treats all magnitudes alike, log-normal (Karras et al. 2022, section 5) puts the work where there is something to learn.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SigmaDistribution = Callable[..., Tensor]


def _source(generator: torch.Generator | None) -> dict[str, Any]:
    """Random numbers are drawn where their generator is."""
    return {} if generator is None else {"generator": generator, "device": generator.device}


def _check_range(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min <= sigma_max < math.inf:
        raise ValueError(f"0 < sigma_min <= sigma_max must hold and both be finite; got {sigma_min} and {sigma_max}.")


@dataclass(frozen=True)
class DiscreteSigmas:
    """Every level of a noise schedule with the same probability.

    Args:
        sigmas: the levels, each finite and > 0, in data units.

    Raises:
        ValueError: for an empty noise schedule or a level that is not finite and positive.
    """

    sigmas: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.sigmas) or not all(0 < float(sigma) < math.inf for sigma in self.sigmas):
            raise ValueError(f"A noise schedule needs at least one level, all finite and > 0; got {list(self.sigmas)}.")

    def __call__(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Draws n levels, shape `(n,)`."""
        levels = torch.as_tensor(self.sigmas, dtype=torch.float32)
        return levels[torch.randint(len(levels), (n,), **_source(generator)).cpu()].to(device)


@dataclass(frozen=True)
class LogUniformSigmas:
    """ln sigma uniform between ln sigma_min and ln sigma_max.

    Args:
        sigma_min: smallest level, > 0, in data units.
        sigma_max: largest level, finite and >= sigma_min.

    Raises:
        ValueError: for levels outside these ranges.
    """

    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        _check_range(self.sigma_min, self.sigma_max)

    def __call__(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Draws n levels, shape `(n,)`."""
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (low + (high - low) * torch.rand(n, **_source(generator))).exp().to(device)


@dataclass(frozen=True)
class LogNormalSigmas:
    """ln sigma ~ N(log_mean, log_std²), kept within [sigma_min, sigma_max] by moving what falls outside to the ends.

    Args:
        log_mean: mean of ln sigma.  EDM has -1.2 for data in [-1, 1]; subtract ln 2 for data in [0, 1].
        log_std: standard deviation of ln sigma, > 0; EDM has 1.2.
        sigma_min: smallest level, > 0, in data units.
        sigma_max: largest level, finite and >= sigma_min.

    Raises:
        ValueError: for values outside these ranges.
    """

    log_mean: float
    log_std: float
    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        _check_range(self.sigma_min, self.sigma_max)
        if not (math.isfinite(self.log_mean) and 0 < self.log_std < math.inf):
            raise ValueError(f"log_mean must be finite and log_std > 0; got {self.log_mean} and {self.log_std}.")

    def __call__(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Draws n levels, shape `(n,)`."""
        sigma = (self.log_mean + self.log_std * torch.randn(n, **_source(generator))).exp()
        return sigma.clamp(self.sigma_min, self.sigma_max).to(device)


@dataclass(frozen=True)
class MixtureSigmas:
    """One distribution for a fraction of the samples and another for the rest.

    Args:
        first: drawn from with probability `fraction`.
        second: drawn from otherwise.
        fraction: between 0 and 1.

    Raises:
        ValueError: for a fraction outside [0, 1].
    """

    first: SigmaDistribution
    second: SigmaDistribution
    fraction: float

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction must lie in [0, 1]; got {self.fraction}.")

    def __call__(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Draws n levels, shape `(n,)`."""
        choose_first = torch.rand(n, **_source(generator)) < self.fraction
        return torch.where(choose_first.to(device), self.first(n, generator, device), self.second(n, generator, device))
