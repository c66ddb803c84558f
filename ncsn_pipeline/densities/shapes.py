"""Shapes in the plane, ready made: curves (all mass on a line) and patterns of cells.

A smooth curve c(t), t in [t_0, t_1], becomes the chain of n segments between c(t_0), c(t_0 + dt), ..., c(t_1), with the
density uniform by length along it.  A chord leaves its curve by at most

    max |c''| dt² / 8        (the error of linear interpolation)

and each curve here states that bound for its n.  Cells need no such bound: what they show is what they are.  The
`sigma` of every shape is its own thickness; `.noised(sigma)` adds to it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn_pipeline.data.decoding import BadImageError, convert, to_eight_bits
from ncsn_pipeline.densities.cells import CellDensity
from ncsn_pipeline.densities.curve import CurveDensity


def two_moons(*, num_segments: int = 128, sigma: float = 0.0, dtype: torch.dtype = torch.float32) -> CurveDensity:
    """Two interleaved half circles of radius 1: (cos t, sin t) and (1 - cos t, 1/2 - sin t), 0 <= t <= pi.

    The curve of scikit-learn's `make_moons`.  The chords leave it by at most (pi / n)² / 8, 7.6e-5 for n = 128.

    Args:
        num_segments: n of each moon, at least 1.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for a number of segments or a sigma out of range.
    """
    t = _parameter(0, math.pi, num_segments)
    upper = torch.stack([t.cos(), t.sin()], 1)
    lower = torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
    return CurveDensity([upper.to(dtype), lower.to(dtype)], sigma=sigma)


def ring(
    radius: float = 1.0, *, num_segments: int = 256, sigma: float = 0.0, dtype: torch.dtype = torch.float32
) -> CurveDensity:
    """A circle around the origin.

    The chords leave it by at most radius (2 pi / n)² / 8, 7.6e-5 radius for n = 256.

    Args:
        radius: finite and > 0, in data units.
        num_segments: n, at least 3.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for a radius, number of segments or sigma out of range.
    """
    _check_positive("radius", radius)
    t = _parameter(0, 2 * math.pi, num_segments, at_least=3)[:-1]
    return CurveDensity(radius * torch.stack([t.cos(), t.sin()], 1).to(dtype), closed=True, sigma=sigma)


def spiral(
    turns: float = 2.0,
    radius: float = 1.0,
    *,
    num_segments: int = 256,
    sigma: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> CurveDensity:
    """An Archimedean spiral out of the origin: c(t) = radius (t / t_1) (cos t, sin t), 0 <= t <= t_1 = 2 pi turns.

    With |c''| = radius sqrt(4 + t²) / t_1, the chords leave it by at most radius sqrt(4 + t_1²) t_1 / (8 n²), 3.1e-4
    radius for two turns and n = 256.

    Args:
        turns: how often it goes around, finite and > 0.
        radius: where it ends, finite and > 0, in data units.
        num_segments: n, at least 1.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for turns, a radius, a number of segments or a sigma out of range.
    """
    _check_positive("turns", turns)
    _check_positive("radius", radius)
    t = _parameter(0, 2 * math.pi * turns, num_segments)
    return CurveDensity(_archimedean(t, radius).to(dtype), sigma=sigma)


def swiss_roll(
    radius: float = 1.0, *, num_segments: int = 256, sigma: float = 0.0, dtype: torch.dtype = torch.float32
) -> CurveDensity:
    """The rolled-up sheet seen from its side: c(t) = radius (t / t_1) (cos t, sin t), 3/2 pi <= t <= t_1 = 9/2 pi.

    The curve of scikit-learn's `make_swiss_roll` (there radius is 9/2 pi, and points are uniform in t), on which
    Sohl-Dickstein et al. 2015 first show diffusion.  The chords leave it by at most radius sqrt(4 + t_1²) (3 pi)² /
    (8 t_1 n²), 1.8e-4 radius for n = 256.

    Args:
        radius: where it ends, finite and > 0, in data units.
        num_segments: n, at least 1.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for a radius, a number of segments or a sigma out of range.
    """
    _check_positive("radius", radius)
    t = _parameter(1.5 * math.pi, 4.5 * math.pi, num_segments)
    return CurveDensity(_archimedean(t, radius).to(dtype), sigma=sigma)


def checkerboard(
    squares: int = 4,
    extent: Sequence[float] = (-2.0, 2.0, -2.0, 2.0),
    *,
    sigma: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> CellDensity:
    """Mass on every other square of a board, evenly; the lower left one has none.  No approximation.

    Args:
        squares: how many along each side, at least 2.
        extent: `(x_min, x_max, y_min, y_max)` of the board, in data units.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for a number of squares, an extent or a sigma out of range.
    """
    if squares < 2:
        raise ValueError(f"squares must be at least 2, or there is none with mass; got {squares}.")
    i = torch.arange(squares)
    return CellDensity(((i[:, None] + i) % 2).to(dtype), extent, sigma=sigma)


def from_image(
    image: Image.Image | np.ndarray | Tensor,
    extent: Sequence[float] | None = None,
    *,
    mass: str = "dark",
    max_size: int = 128,
    sigma: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> CellDensity:
    """A picture as a density: one cell a pixel, its mass the pixel's darkness or brightness.

    A picture with a side longer than `max_size` is shrunk first, each cell to the mean of its pixels; otherwise there
    is no approximation beyond the 8 bits a pixel.  Colours count by their luminance, what is transparent by white; of
    16 bits the upper eight.

    Args:
        image: a PIL image, or an array of shape `(H, W)` or `(H, W, 3)`, of uint8 or of numbers in [0, 1]; its first
            row is the top.
        extent: `(x_min, x_max, y_min, y_max)` of the picture, in data units; `None` puts its middle at the origin and
            the ends of its longer side at -1 and 1.
        mass: "dark" for dark strokes on light paper, "bright" for light on dark.
        max_size: the most cells along a side, at least 1.
        sigma: thickness, finite and >= 0, in data units.
        dtype: floating type of the samples.

    Raises:
        ValueError: for an array that is no image, one without any mass, or another argument out of range.
    """
    if mass not in ("dark", "bright"):
        raise ValueError(f'mass must be "dark" or "bright"; got {mass!r}.')
    if max_size < 1:
        raise ValueError(f"max_size must be at least 1; got {max_size}.")
    picture = image.copy() if isinstance(image, Image.Image) else _picture(np.asarray(image))
    try:
        picture = convert(to_eight_bits(picture), 1)
    except BadImageError as error:
        raise ValueError(f"the image {error}, or give an array of numbers in [0, 1].") from None
    width, height = picture.size
    shrink = min(1.0, max_size / max(width, height))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        picture = picture.resize(size, Image.Resampling.BOX)
    brightness = torch.from_numpy(np.array(picture)).flip(0).to(dtype) / 255
    weights = 1 - brightness if mass == "dark" else brightness
    if not weights.any():
        other = "bright" if mass == "dark" else "dark"
        raise ValueError(f'the image has no {mass} pixel to put mass on; use mass="{other}" or another image.')
    if extent is None:
        longer = max(width, height)
        extent = (-width / longer, width / longer, -height / longer, height / longer)
    return CellDensity(weights, extent, sigma=sigma)


def _parameter(start: float, end: float, num_segments: int, at_least: int = 1) -> Tensor:
    """t at the n + 1 vertices, float64."""
    if num_segments < at_least:
        raise ValueError(f"num_segments must be at least {at_least}; got {num_segments}.")
    return torch.linspace(start, end, num_segments + 1, dtype=torch.float64)


def _archimedean(t: Tensor, radius: float) -> Tensor:
    """Radius (t / t_1) (cos t, sin t), with t_1 the last of t, shape `(n + 1, 2)`."""
    return radius * (t / t[-1])[:, None] * torch.stack([t.cos(), t.sin()], 1)


def _picture(array: np.ndarray) -> Image.Image:
    """An array of numbers as a PIL image."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or array.size == 0:
        raise ValueError(f"an image array must have shape (H, W) or (H, W, 3); got {array.shape}.")
    if array.dtype != np.uint8:
        if not (array.min() >= 0 and array.max() <= 1):  # NaN fails this too
            raise ValueError("an image array must hold uint8, or numbers in [0, 1]; divide by the largest value.")
        array = (array * 255).round().astype(np.uint8)
    return Image.fromarray(array)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0; got {value}.")
