"""How the densities draw: a component by its weight, a uniform number, each from the generator that was given.

The numbers are drawn where the generator lives and moved to where the density lives, as diffusers' `randn_tensor` does
for unit normal noise, so that one seed on the CPU gives the same samples on every device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def choose(weights: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Draws `n` indices into `weights (K,)` with probability proportional to them, shape `(n,)`."""
    place = weights.device if generator is None else generator.device
    indices = torch.multinomial(weights.to(place, torch.float64), n, replacement=True, generator=generator)
    return indices.to(weights.device)


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers from U[0, 1) of `shape`, with the dtype and device of `like`."""
    place = like.device if generator is None else generator.device
    return torch.rand(tuple(shape), generator=generator, device=place, dtype=like.dtype).to(like.device)
