"""What the shipped classifier reads in pictures, and when it is asked."""

import numpy as np
import pytest
from PIL import Image

from ncsn_pipeline.shipped import examples, folder_or_shipped
from ncsn_pipeline.space.runs.reading import read, reader_for, words_about

DIGITS = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def reader():
    return reader_for(folder_or_shipped("mnist"), 1)


def test_the_shipped_digits_are_read_as_what_they_are(reader):
    pictures = np.stack([np.asarray(Image.open(path))[..., None] / 255 for path in examples()])
    assert read(reader, pictures) == list(range(10))


def test_only_a_model_of_the_same_data_is_read(tmp_path, reader):
    assert reader_for(str(tmp_path), 1) is None  # nothing says what it was trained on
    (tmp_path / "training.json").write_text('{"dataset": "fashion_mnist"}', encoding="utf-8")
    assert reader_for(str(tmp_path), 1) is None
    (tmp_path / "training.json").write_text('{"dataset": "ylecun/mnist"}', encoding="utf-8")
    assert reader_for(str(tmp_path), 1).name == reader.name
    assert reader_for(str(tmp_path), 3) is None


def test_readings_are_counted_against_what_was_asked_or_by_name():
    assert words_about([0, 1, 2, 2], [0, 1, 2, 3], DIGITS) == "3 of 4 read as asked"
    assert words_about([2] * 5 + [8] * 3, None, DIGITS) == "5 twos, 3 eights"
    assert words_about([6, 6, 1], None, DIGITS) == "2 sixes, 1 one"
    assert words_about([1, 0, 1], None, ["dress", "sprouts"]) == "2 sprouts, 1 dress"
