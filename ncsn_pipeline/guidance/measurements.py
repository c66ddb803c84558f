"""Measurements to give as operators, each a line: functions of a batch, linear, in the units of the samples.

    mask, average_pooling, gaussian_blur, grey, fourier_mask, random_projections

A matrix needs none: give it as it is.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def mask(kept: Tensor) -> Callable[[Tensor], Tensor]:
    """A x = the values of x where `kept`, booleans of x's shape or of its last axes, is true; `(B, *D) -> (B, *M)`.

    Raises:
        ValueError: for a mask of numbers, which would be taken for places.
    """
    _check_mask(kept)
    return lambda x: x[..., kept.to(x.device)]


def average_pooling(factor: int) -> Callable[[Tensor], Tensor]:
    """A x = means of squares of `factor` x `factor` pixels, `(B, C, H, W) -> (B, C, H / factor, W / factor)`."""
    return lambda x: F.avg_pool2d(x, factor)


def gaussian_blur(deviation: float) -> Callable[[Tensor], Tensor]:
    """A x = x blurred by a Gaussian of `deviation` > 0 pixels, black outside, `(B, C, H, W)` to the same shape."""
    places = torch.arange(-math.ceil(3 * deviation), math.ceil(3 * deviation) + 1)
    kernel = torch.exp(-(places**2) / (2 * deviation**2))
    kernel = kernel / kernel.sum()

    def blur(x: Tensor) -> Tensor:
        line = kernel.to(x)
        planes = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), line.reshape(1, 1, -1, 1), padding=(len(line) // 2, 0))
        return F.conv2d(planes, line.reshape(1, 1, 1, -1), padding=(0, len(line) // 2)).reshape(x.shape)

    return blur


def grey(x: Tensor) -> Tensor:
    """A x = luminance, `(B, 3, H, W) -> (B, 1, H, W)`, with the weights of ITU-R BT.601 as PIL has them."""
    return torch.einsum("c,bc...->b...", x.new_tensor([0.299, 0.587, 0.114]), x).unsqueeze(1)


def fourier_mask(kept: Tensor) -> Callable[[Tensor], Tensor]:
    """A x = the Fourier coefficients where `kept`, booleans `(H, W)`, is true; norm "ortho", frequency 0 at [0, 0].

    `x (B, 2, H, W)` holds real and imaginary part, `(B, 1, H, W)` a real image; the result is complex, `(B, m)`.

    Raises:
        ValueError: for a mask of numbers; when it measures, for images of more channels.
    """
    _check_mask(kept)

    def measure(x: Tensor) -> Tensor:
        if x.shape[1] not in (1, 2):
            raise ValueError(f"fourier_mask measures images of 1 channel, or 2 for complex ones; got {x.shape[1]}.")
        image = torch.complex(x[:, 0], x[:, 1]) if x.shape[1] == 2 else x[:, 0]
        return torch.fft.fft2(image, norm="ortho")[:, kept.to(x.device)]

    return measure


def _check_mask(kept: Tensor) -> None:
    if kept.dtype != torch.bool:
        raise ValueError(f"A mask holds booleans, True for what is kept; got {kept.dtype}. Give mask > 0.")


def random_projections(count: int, size: int, generator: torch.Generator | None = None) -> Callable[[Tensor], Tensor]:
    """A x = inner products of x's `size` values with `count` random directions of length 1, `(B, *D) -> (B, count)`."""
    directions = F.normalize(torch.randn(count, size, generator=generator), dim=1)
    return lambda x: x.flatten(1) @ directions.mT.to(x)
