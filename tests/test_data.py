"""Images from every kind of source, as bytes and as floats, and what is refused."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from PIL import Image

from ncsn_pipeline.data import ImageData, load_images, load_train_and_held_out, to_range


@pytest.fixture
def folder(tmp_path):
    """Two classes of four 12x10 colour pictures, a folder a class."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(4):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_digits_are_the_real_ones_split_in_two():
    train, test = load_images("digits"), load_images("digits", split="test")
    assert train.images.shape == (1500, 1, 8, 8)
    assert len(test) == 297
    assert train.labels[:10].tolist() == list(range(10))
    assert train.label_names == tuple("0123456789")
    assert (train.images.min(), train.images.max()) == (0, 255)


def test_folder_with_classes(folder):
    data = load_images(str(folder))
    assert data.images.shape == (8, 3, 10, 12)
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert data.label_names == ("cat", "dog")
    picture = np.asarray(Image.open(folder / "dog" / "2.png"))
    assert np.array_equal(data.images[6].permute(1, 2, 0), picture)


def test_resizing_grey_and_colour(folder):
    assert load_images(str(folder), resolution=8).images.shape == (8, 3, 8, 8)
    assert load_images(str(folder), resolution=8, channels=1).images.shape == (8, 1, 8, 8)
    assert load_images("digits", channels=3).images.shape == (1500, 3, 8, 8)


def test_parquet_with_splits(tmp_path):
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["a", "b"])})
    pictures = [Image.new("L", (8, 8), 10 * i) for i in range(6)]
    rows = {"image": pictures, "label": [0, 1] * 3}
    parts = DatasetDict({"train": Dataset.from_dict(rows, features), "test": Dataset.from_dict(rows, features)})
    for name, part in parts.items():
        part.to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    train, held_out = load_train_and_held_out(str(tmp_path))
    assert len(train) == len(held_out) == 6
    assert train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    with pytest.raises(ValueError, match="no split 'dev'; there are: train, test"):
        load_images(str(tmp_path), split="dev")


def test_transparency_is_laid_on_white_and_palettes_are_colours(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "0.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).convert("RGBA").save(tmp_path / "1.png")
    Image.new("P", (8, 8)).save(tmp_path / "2.png")
    images = load_images(str(tmp_path)).images[:, :, 0, 0]
    assert images.tolist() == [[255, 255, 255], [255, 127, 127], [0, 0, 0]]


def test_sixteen_bit_grey_keeps_its_scale(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, dtype=np.uint16)).save(tmp_path / "0.png")
    assert load_images(str(tmp_path)).images.unique().tolist() == [128]


def test_part_without_a_test_split_is_held_out_at_random_but_the_same(folder):
    train, held_out = load_train_and_held_out(str(folder), held_out_fraction=0.25, seed=3)
    assert (len(train), len(held_out)) == (6, 2)
    again = load_train_and_held_out(str(folder), held_out_fraction=0.25, seed=3)[1]
    assert torch.equal(held_out.images, again.images)
    together = torch.cat([train.images, held_out.images]).flatten(1)
    assert len(together.unique(dim=0)) == 8


def test_plain_numbers_are_labels_too_and_withheld_ones_are_none(tmp_path):
    pictures = [Image.new("L", (8, 8), 10 * i) for i in range(3)]
    for name, labels in (("numbers", [2, 0, 1]), ("withheld", [-1, -1, -1])):
        rows = Dataset.from_dict({"image": pictures, "label": labels}).cast_column("image", ImageFeature())
        (tmp_path / name).mkdir()
        rows.to_parquet(tmp_path / name / "train.parquet")
    numbers, withheld = load_images(str(tmp_path / "numbers")), load_images(str(tmp_path / "withheld"))
    assert (numbers.labels.tolist(), numbers.label_names) == ([2, 0, 1], ("0", "1", "2"))
    assert withheld.labels is None and withheld.label_names is None


def test_mean_and_deviation_are_those_of_the_pixels():
    data = load_images("digits")
    pixels = data.float_images(-1, 1).double()
    assert data.mean_and_std(-1, 1) == pytest.approx((pixels.mean().item(), pixels.std().item()), rel=1e-5)


def test_batches_and_ranges():
    data = ImageData(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), torch.tensor([4, 5, 6]))
    assert [row["label"].item() for row in data.__getitems__([2, 0])] == [6, 4]
    assert data[1]["image"].item() == 51
    assert data.float_images(-1, 1).flatten().tolist() == pytest.approx([-1, -0.6, 1])
    assert to_range(data.images).max() == 1
    assert "label" not in ImageData(data.images)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "./nothing-here"}, "no folder './nothing-here'"),
        ({"source": "digits", "split": "validation"}, "'train' .* 'test'"),
        ({"source": "digits", "resolution": 0}, "resolution"),
        ({"source": "digits", "channels": 2}, "channels"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_images(**arguments)


def test_folders_that_hold_no_usable_images_are_refused(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="Could not read images"):
        load_images(str(empty))
    Image.new("RGB", (9, 9)).save(folder / "cat" / "odd.png")
    with pytest.raises(ValueError, match="differ in size.*resolution"):
        load_images(str(folder))
    table = tmp_path / "table"
    table.mkdir()
    Dataset.from_dict({"text": ["a"]}).to_parquet(table / "train.parquet")
    with pytest.raises(ValueError, match="no column of images; its columns are: text"):
        load_images(str(table))
