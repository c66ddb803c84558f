"""Pictures side by side, as they are looked at: small ones enlarged by a whole number, with a gap between."""

from collections.abc import Sequence

from PIL import Image

SHOWN_SIDE = 64  # pixels that a small picture is enlarged to, if a whole number does it


def picture_grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """One picture of many, row by row.

    Each is enlarged k times without smoothing, k the largest whole number with which its longer side stays within 64
    pixels, at least 1; the gaps, white, are of k pixels.

    Args:
        pictures: at least one, all of one size and mode.
        columns: pictures per row, >= 1.

    Raises:
        ValueError: for no pictures, no columns, or pictures of different sizes.
    """
    if not pictures or columns < 1 or len({picture.size for picture in pictures}) > 1:
        sizes = sorted({picture.size for picture in pictures})
        raise ValueError(f"A grid needs pictures of one size and a column; got sizes {sizes} and {columns} column(s).")
    width, height = pictures[0].size
    larger = max(1, SHOWN_SIDE // max(width, height))
    step_x, step_y, rows = (width + 1) * larger, (height + 1) * larger, -(-len(pictures) // columns)
    grid = Image.new(pictures[0].mode, (columns * step_x - larger, rows * step_y - larger), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        enlarged = picture.resize((width * larger, height * larger), Image.Resampling.NEAREST)
        grid.paste(enlarged, (column * step_x, row * step_y))
    return grid
