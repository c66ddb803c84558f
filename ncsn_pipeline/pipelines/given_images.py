"""Images that a caller gives, in whatever form, as tensors of one shape; a wrong one is refused by name.

Taken are a PIL image, an array `(H, W)` or `(H, W, C)`, a tensor `(C, H, W)`, a batch of them with one axis more in
front, and lists of these.  Bytes count from 0 to 255, floats from 0 to 1.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PIL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


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
    channels, height, width = shape
    if isinstance(given, Image.Image):
        if channels not in PIL_MODES:
            raise ValueError(f"{name} is a PIL image, and the model has {channels} channels; give a tensor.")
        given = np.asarray(given.convert(PIL_MODES[channels]))
    if isinstance(given, np.ndarray):
        pixels = torch.from_numpy(np.array(given))  # PIL's own memory is read-only
        has_channels = pixels.shape[-3:] == (height, width, channels)
        pixels = pixels.movedim(-1, -3) if has_channels else pixels.unsqueeze(-3) if channels == 1 else pixels
    elif isinstance(given, Tensor):
        pixels = given.detach().cpu()
        pixels = pixels.unsqueeze(-3) if channels == 1 and pixels.shape[-3:] != shape else pixels
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
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    pixels = pixels.float()
    if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN too
        raise ValueError(
            f"{name} has values from {pixels.min():.4g} to {pixels.max():.4g}; floats must lie in [0, 1], and bytes "
            "(uint8) in 0 ... 255."
        )
    return pixels


def masks_as_tensor(name: str, given: Any, size: tuple[int, int]) -> Tensor:
    """Masks `(B, 1, H, W)` of booleans, true where a value is at least half of white.

    Args:
        name: what to call them in an error.
        given: as for images, of one channel.
        size: the model's `(H, W)`.

    Raises:
        ValueError: as for images, and for a mask without a single white pixel.
        TypeError: if the input is not an image.
    """
    masks = images_as_tensor(name, given, (1, *size)) >= 0.5
    if not masks.flatten(1).any(dim=1).all():
        raise ValueError(f"{name} has no white pixel: nothing to paint. White (1) is painted, black (0) is kept.")
    return masks
