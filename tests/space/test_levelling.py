"""Photographs of handwritten digits, made of shipped ones on shaded paper, come back as MNIST has them."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ncsn_pipeline.shipped import examples, folder_or_shipped
from ncsn_pipeline.space.repair.canvas import fitted_picture
from ncsn_pipeline.space.repair.levelling import as_in_mnist
from ncsn_pipeline.space.runs.reading import read, reader_for


def photograph(digit, seed=0, dark_ground=False):
    """A digit of 28 x 28, 150 pixels high, in the corner of a sheet of 400 x 600 that is half in the shade."""
    generator = np.random.default_rng(seed)
    ink = np.asarray(Image.fromarray(digit).resize((150, 150), Image.Resampling.BICUBIC)) / 255
    across = np.linspace(0.95, 0.55, 600)[None, :] * np.linspace(1, 0.85, 400)[:, None]
    sheet = across.copy()
    sheet[30:180, 380:530] *= 1 - 0.75 * ink
    sheet[300:303, 50:53] *= 0.3  # a speck
    sheet += 0.01 * generator.standard_normal(sheet.shape)
    return Image.fromarray((255 * np.clip(1 - sheet if dark_ground else sheet, 0, 1)).astype(np.uint8))


@pytest.fixture(scope="module")
def digits():
    return [np.asarray(Image.open(path).convert("L")) for path in examples()]


@pytest.mark.parametrize("dark_ground", [False, True])
def test_photographed_digits_are_read_as_what_they_are(digits, dark_ground):
    found = np.stack([as_in_mnist(photograph(digit, i, dark_ground), 28) for i, digit in enumerate(digits)])
    reader = reader_for(folder_or_shipped("mnist"), 1)
    assert read(reader, found[..., None] / 255) == list(range(10))
    plain = np.stack([np.asarray(photograph(digit, i, dark_ground).resize((28, 28))) for i, digit in enumerate(digits)])
    plain = plain if dark_ground else 255 - plain
    assert sum(np.array(read(reader, plain[..., None] / 255)) == range(10)) < 5  # it is the levelling that helps


def test_a_digit_has_the_size_and_the_place_of_mnist(digits):
    for digit in digits:
        found = as_in_mnist(photograph(digit), 28)
        rows, columns = (np.flatnonzero((found > 40).any(axis)) for axis in (1, 0))
        assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        np.testing.assert_allclose(ndimage.center_of_mass(found.astype(float)), 13.5, atol=0.75)
        assert found.max() > 230 and (found[0] == 0).all() and found[:, 0].max() == 0


def test_a_sheet_without_ink_is_no_digit():
    blank = np.full((300, 300), 200, dtype=np.uint8)
    assert as_in_mnist(Image.fromarray(blank), 28) is None


def test_a_picture_of_the_model_s_own_size_stays_as_it_is_and_others_are_levelled(tmp_path, digits):
    Image.fromarray(digits[3]).save(tmp_path / "own.png")
    photograph(digits[3]).save(tmp_path / "photograph.png")
    np.testing.assert_array_equal(fitted_picture(tmp_path / "own.png", (1, 28, 28), digits=True)[..., 0], digits[3])
    found = fitted_picture(tmp_path / "photograph.png", (1, 28, 28), digits=True)[..., 0]
    np.testing.assert_array_equal(found, as_in_mnist(photograph(digits[3]), 28))
    plain = fitted_picture(tmp_path / "photograph.png", (1, 28, 28))[..., 0]
    assert np.abs(plain.astype(int) - found).mean() > 5
