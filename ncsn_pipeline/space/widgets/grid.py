"""Images in rows and columns, as one picture."""

import math

import numpy as np
from PIL import Image

WIDTH = 600


def row_of_classes(count: int, num_classes: int) -> int:
    """Columns of a grid, square or wider, in which every class keeps to its column: a divisor of their number."""
    wide_enough = range(min(math.ceil(math.sqrt(count)), num_classes), num_classes + 1)
    return next(columns for columns in wide_enough if num_classes % columns == 0)


def tile(images: np.ndarray, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """Lays images out in rows, with an alpha channel that is 0 between them.

    Args:
        images: shape `(B, H, W, C)`, one or three channels, bytes.
        columns: images in a row; by default the grid is about square.
        gap: pixels between two of them.

    Returns:
        Bytes of shape `(rows (H + gap) - gap, columns (W + gap) - gap, C + 1)`.

    Raises:
        ValueError: for an array of another shape.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(f"images must have shape (B, H, W, 1) or (B, H, W, 3); got {images.shape}.")
    count, height, width, channels = images.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width, :-1] = image
        canvas[top : top + height, left : left + width, -1] = 255
    return canvas


def image_grid(images: np.ndarray, columns: int | None = None, gap: int = 1) -> Image.Image:
    """Draws images enlarged without smoothing, on a transparent ground.

    Args:
        images: shape `(B, H, W, C)`, one or three channels, in [0, 1].
        columns: images in a row; by default the grid is about square.
        gap: pixels of the originals between two of them.

    Returns:
        An RGBA picture about `WIDTH` pixels wide.

    Raises:
        ValueError: for an array of another shape.
    """
    picture = Image.fromarray(tile(np.round(255 * images).astype(np.uint8), columns, gap)).convert("RGBA")
    scale = max(1, round(WIDTH / picture.width))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
