"""Images that a caller gives, in whatever form, as tensors of one shape; a wrong one is refused by name.

Taken are a PIL image, an array `(H, W)` or `(H, W, C)`, a tensor `(C, H, W)`, a batch of them with one axis more in
front, and lists of these.  Bytes count from 0 to 255, 16-bit whole numbers (uint16) from 0 to 65535, floats from 0 to
1.  A PIL image is read as training reads its file: upright, transparency on white, of 16 bits the upper eight.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn_pipeline.data.decoding import BadImageError, convert, to_eight_bits


def images_as_tensor(name: str, given: Any, shape: tuple[int, int, int]) -> Tensor:
    """Images of a model's own shape, `(B, C, H, W)`, float32 in [0, 1].

    Nothing is resized: pixels that are to be kept are kept as they are.

    Args:
        name: what to call them in an error.
        given: one image, a batch, or a list.
        shape: the model's `(C, H, W)`.  PIL images are converted to that number of channels.

    Raises:
        ValueError: for no image at all, another size or number of channels, or values outside of the range.
        TypeError: if the input is not an image.
    """
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError(f"{name} is an empty list; give at least one image.")
        return torch.cat([images_as_tensor(name, one, shape) for one in given])
    return _in_unit_range(name, _pixels(name, given, shape))


def masks_as_tensor(name: str, given: Any, size: tuple[int, int]) -> Tensor:
    """Masks `(B, 1, H, W)` of booleans, true where a value is at least half of white.

    Transparency counts as black, so that white strokes on nothing are a mask.  A mask of whole numbers whose largest is
    1 holds 0 and 1, not two of the darkest greys.

    Args:
        name: what to call them in an error.
        given: as for images, of one channel.
        size: the model's `(H, W)`.

    Raises:
        ValueError: as for images, and for a mask without a single white pixel.
        TypeError: if the input is not an image.
    """
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError(f"{name} is an empty list; give at least one mask.")
        return torch.cat([masks_as_tensor(name, one, size) for one in given])
    if isinstance(given, Image.Image) and given.mode.startswith("I"):
        numbers = np.asarray(given)  # 0 and 1 would be gone with the lower bits
        given = numbers.astype(np.uint16) if numbers.min() >= 0 and numbers.max() <= 65535 else given
    pixels = _pixels(name, given, (1, *size), ground="black")
    values = torch.cat([one.float() if _is_binary(one) else _in_unit_range(name, one) for one in pixels.split(1)])
    masks = values >= 0.5
    if not masks.flatten(1).any(dim=1).all():
        raise ValueError(
            f"{name} has no white pixel: nothing to paint. White (1 of 0 and 1, 255 of bytes) is painted, black (0) "
            f"and what is transparent is kept; the brightest value of this one is {pixels.max().item():.4g}."
        )
    return masks


def _pixels(name: str, given: Any, shape: tuple[int, int, int], ground: str = "white") -> Tensor:
    """Pixels as they were given, `(B, C, H, W)`, of any type."""
    channels, height, width = shape
    if isinstance(given, Image.Image):
        if channels not in (1, 3, 4):
            raise ValueError(f"{name} is a PIL image, and the model has {channels} channels; give a tensor.")
        try:
            given = np.asarray(convert(to_eight_bits(given.copy()), channels, ground))
        except BadImageError as error:
            raise ValueError(f"{name} {error}, or give an array of floats in [0, 1].") from None
    if isinstance(given, np.ndarray):
        # PIL's own memory is read-only, and a file may have the other order of bytes.
        if given.dtype.kind not in "biuf":
            raise ValueError(f"{name} is an array of {given.dtype}; give one of numbers.")
        pixels = torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("=")))
        has_channels = pixels.shape[-3:] == (height, width, channels)
        pixels = pixels.movedim(-1, -3) if has_channels else _with_channel(pixels, channels)
    elif isinstance(given, Tensor):
        pixels = given.detach().cpu()
        pixels = pixels if pixels.shape[-3:] == shape else _with_channel(pixels, channels)
    else:
        raise TypeError(
            f"{name} must be a PIL image, an array, a tensor, or a list of them; got {type(given).__name__}."
        )
    pixels = pixels.unsqueeze(0) if pixels.dim() == 3 else pixels
    if pixels.dim() != 4 or tuple(pixels.shape[1:]) != shape or not len(pixels):
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}, and the model's images have {channels} channel(s) of {height} x "
            f"{width} pixels. Resize it to that, for a PIL image by image.resize(({width}, {height}))."
        )
    return pixels


def _with_channel(pixels: Tensor, channels: int) -> Tensor:
    """Pixels `(..., H, W)` of a model with one channel as `(..., 1, H, W)`."""
    return pixels.unsqueeze(-3) if channels == 1 and pixels.dim() > 1 else pixels


def _is_binary(mask: Tensor) -> bool:
    """Whether a mask holds the whole numbers 0 and 1 alone."""
    whole = not (mask.dtype.is_floating_point or mask.dtype.is_complex)
    return whole and bool(((mask.long() == 0) | (mask.long() == 1)).all())


def _in_unit_range(name: str, pixels: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1], by the range of their type."""
    if pixels.dtype == torch.uint16:
        pixels = (pixels.int() >> 8).to(torch.uint8)
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    if pixels.dtype.is_complex:
        raise ValueError(f"{name} has complex values ({pixels.dtype}); give floats in [0, 1] or bytes (uint8).")
    pixels = pixels.float()
    if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN too
        raise ValueError(
            f"{name} has values from {pixels.min():.4g} to {pixels.max():.4g}; floats must lie in [0, 1], bytes "
            "(uint8) in 0 ... 255, and 16-bit whole numbers (uint16) in 0 ... 65535."
        )
    return pixels
