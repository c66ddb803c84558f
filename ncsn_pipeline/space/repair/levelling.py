"""A photograph of a handwritten digit as MNIST would have it: light ink on black, of MNIST's size, at its place.

MNIST's makers scaled each digit into a box of 20 x 20 pixels and put its centre of mass into the centre of 28 x 28
(LeCun et al. 1998, section III-A).  A photograph has shades and a desk besides: the paper's brightness is taken away
first, and specks are left out.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

WORKING_SIZE = 240  # pixels of the longer side, in which ink is looked for
BOX = 20 / 28
PAPER = 0.25  # of the longer side: strokes are thinner, shades are wider
LEAST_CONTRAST = 0.1
SPECK = 0.05  # of the ink of the largest stroke
WHITE = 90  # percentile of the ink that becomes white


def levelled(grey: np.ndarray) -> np.ndarray:
    """The ink alone, in [0, 1]: how much darker than the paper around it a pixel is, or lighter than a dark ground.

    Args:
        grey: shape `(H, W)`, in [0, 1].
    """
    ink = -grey if np.median(grey) > 0.5 else grey
    side = max(3, round(PAPER * max(grey.shape)))
    # Paper is where the ink is least nearby: an opening, made smooth.
    paper = ndimage.gaussian_filter(ndimage.grey_opening(ink, side), side / 4)
    return np.clip(ndimage.gaussian_filter(ink - paper, 0.8), 0, 1)


def as_in_mnist(picture: Image.Image, size: int) -> np.ndarray | None:
    """The digit, levelled, cropped, scaled and centred: bytes `(size, size)`; `None` where there is no ink.

    Args:
        picture: grey, of any size.
        size: of the model's pictures.
    """
    picture = picture.convert("L")
    picture.thumbnail((WORKING_SIZE, WORKING_SIZE), Image.Resampling.LANCZOS)
    ink = levelled(np.asarray(picture, dtype=float) / 255)
    if ink.max() < LEAST_CONTRAST:
        return None
    labels, count = ndimage.label(ink > _threshold(ink))
    weights = ndimage.sum_labels(ink, labels, np.arange(1, count + 1))
    kept = np.isin(labels, 1 + np.flatnonzero(weights > SPECK * weights.max()))
    ink = np.where(ndimage.binary_dilation(kept, iterations=2), ink, 0)
    rows, columns = (np.flatnonzero(kept.any(axis)) for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / np.percentile(ink[kept], WHITE)
    scale = BOX * size / max(digit.shape)
    shape = [max(1, round(scale * side)) for side in digit.shape[::-1]]
    small = Image.fromarray((255 * np.clip(digit, 0, 1)).astype(np.uint8)).resize(shape, Image.Resampling.BOX)
    return _centred(np.asarray(small), size)


def _threshold(ink: np.ndarray) -> float:
    """Otsu's: between ink and paper where the variance between the two is largest."""
    counts, edges = np.histogram(ink, 128)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], ink.size
    sums = np.cumsum(counts * middles)[:-1]
    between = (ink.sum() * below - total * sums) ** 2 / np.maximum(below * (total - below), 1)
    return edges[1 + int(between.argmax())]


def _centred(small: np.ndarray, size: int) -> np.ndarray:
    """The digit on black, its centre of mass in the centre, as far as it stays inside."""
    canvas = np.zeros((size, size), dtype=np.uint8)
    centre = ndimage.center_of_mass(small)
    top, left = (
        min(max(round((size - 1) / 2 - place), 0), size - side) for place, side in zip(centre, small.shape, strict=True)
    )
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
