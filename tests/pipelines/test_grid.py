"""Pictures side by side."""

import numpy as np
import pytest
from PIL import Image

from ncsn_pipeline.pipelines.grid import picture_grid


def test_small_pictures_are_enlarged_and_stand_apart():
    pictures = [Image.new("L", (20, 8), value) for value in (0, 50, 100)]
    grid = np.asarray(picture_grid(pictures, 2))
    assert grid.shape == (2 * 27 - 3, 2 * 63 - 3)  # three times, with gaps of three pixels
    assert (grid[:24, :60] == 0).all() and (grid[:24, 63:] == 50).all() and (grid[27:, :60] == 100).all()
    assert (grid[24:27] == 255).all() and (grid[:, 60:63] == 255).all() and (grid[27:, 63:] == 255).all()


def test_large_pictures_keep_their_size_and_colours():
    grid = picture_grid([Image.new("RGB", (100, 70), "red"), Image.new("RGB", (100, 70), "blue")], 2)
    assert grid.size == (201, 70) and grid.getpixel((0, 0)) == (255, 0, 0) and grid.getpixel((200, 0)) == (0, 0, 255)


@pytest.mark.parametrize(("pictures", "columns"), [([], 2), ([Image.new("L", (8, 8))], 0)])
def test_no_picture_and_no_column_are_refused(pictures, columns):
    with pytest.raises(ValueError, match="A grid needs pictures of one size and a column; got"):
        picture_grid(pictures, columns)
    with pytest.raises(ValueError, match="sizes"):
        picture_grid([Image.new("L", (8, 8)), Image.new("L", (8, 9))], 1)
