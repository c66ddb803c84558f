"""Images from every kind of source, as bytes and as floats, and what is refused."""

import math

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from PIL import Image

from ncsn_pipeline.data import (
    ImageData,
    load_images,
    load_train_and_held_out,
    stream_train_and_held_out,
    to_range,
)
from ncsn_pipeline.data.labels import class_number, plain_classes


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
    others = [load_train_and_held_out(str(folder), held_out_fraction=0.25, seed=seed)[1].images for seed in range(4, 9)]
    assert not all(torch.equal(held_out.images, other) for other in others)
    together = torch.cat([train.images, held_out.images]).flatten(1)
    assert len(together.unique(dim=0)) == 8


@pytest.mark.parametrize(("fraction", "number"), [(0.0, 1), (0.05, 1), (0.3, 2), (0.9, 7), (0.95, 7)])
def test_at_least_one_image_is_held_out_and_one_is_trained_on(folder, fraction, number):
    train, held_out = load_train_and_held_out(str(folder), held_out_fraction=fraction)
    assert (len(train), len(held_out)) == (8 - number, number)


@pytest.mark.parametrize("kept_as", ["captions", "rows"])
def test_no_copy_of_a_held_out_image_is_trained_on(tmp_path, kept_as):
    pictures = [Image.new("L", (8, 8), 12 * number) for number in range(20)]
    if kept_as == "rows":
        write_parquet(tmp_path, pictures * 5, [0] * 100)
    else:
        for number, picture in enumerate(pictures):
            picture.save(tmp_path / f"{number}.png")
        lines = [f"{number}.png,caption {i}" for number in range(20) for i in range(5)]
        (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text", *lines]), encoding="utf-8")
    train, held_out = load_train_and_held_out(str(tmp_path), held_out_fraction=0.2)
    trained_on, aside = ({image.max().item() for image in data.images} for data in (train, held_out))
    assert len(held_out) == len(aside) == 4 and not trained_on & aside
    assert len(train) == 80 and trained_on | aside == {*range(0, 240, 12)}
    assert "Not trained on: 16 more of the same as those kept aside." in train.about
    assert "80 images to train on, 4 kept aside" in train.about


def test_what_is_frequent_is_kept_aside_as_seldom_as_all_others(tmp_path):
    pictures = [Image.new("L", (8, 8), value) for value in (0, 200)]
    source = write_parquet(tmp_path, [*pictures, *pictures[:1] * 18], [0] * 20)
    kept_aside = [
        {image.max().item() for image in load_train_and_held_out(source, held_out_fraction=0.8, seed=seed)[1].images}
        for seed in range(20)
    ]
    assert all(len(values) == 1 for values in kept_aside)
    assert 2 <= kept_aside.count({0}) <= 18  # 20 tosses of a coin, but for one in 25,000


def test_without_copies_the_division_is_a_permutation(folder):
    data = load_images(str(folder))
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    train, held_out = load_train_and_held_out(str(folder), held_out_fraction=0.25, seed=5)
    assert torch.equal(train.images, data.images[order[2:]]) and torch.equal(held_out.images, data.images[order[:2]])
    assert torch.equal(train.labels, data.labels[order[2:]])


@pytest.mark.parametrize("load", [load_train_and_held_out, stream_train_and_held_out])
def test_images_to_measure_on_have_the_size_of_those_to_train_on(tmp_path, load):
    for split, side in (("train", 16), ("test", 8)):
        (tmp_path / split).mkdir()
        for number in range(4):
            Image.new("L", (side, side), 50 * number).save(tmp_path / split / f"{number}.png")
    with pytest.raises(
        ValueError, match="train on are 16x16 pixels, those of 'test' are 8x8 pixels. Pass a resolution"
    ):
        load(str(tmp_path))
    assert load(str(tmp_path), resolution=8)[1].shape == (1, 8, 8)


def test_the_test_split_is_held_out_before_any_other(tmp_path):
    for split, value in (("validation", 2), ("test", 1)):
        write_parquet(tmp_path, [Image.new("L", (8, 8), value)] * 2, [0, 1], **{split: [0, 1]})
        assert load_train_and_held_out(str(tmp_path))[1].images.unique().tolist() == [value]
    assert torch.equal(load_train_and_held_out("digits")[1].images, load_images("digits", split="test").images)


def write_parquet(folder, pictures, labels, **splits):
    """One file a split, `pictures` as Pillow's or as the bytes of a file."""
    folder.mkdir(exist_ok=True)
    for split, numbers in {"train": labels, **splits}.items():
        rows = {"image": pictures[: len(numbers)], "label": numbers}
        Dataset.from_dict(rows).cast_column("image", ImageFeature()).to_parquet(folder / f"{split}.parquet")
    return str(folder)


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.name.startswith("ncsn_pipeline")]


def test_bad_files_are_skipped_and_named_and_labels_stay_with_their_images(folder, caplog):
    (folder / "cat" / "1.png").write_bytes(b"")
    (folder / "dog" / "0.png").write_text("a text that is called an image", encoding="utf-8")
    whole = (folder / "dog" / "3.png").read_bytes()
    (folder / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    data = load_images(str(folder))
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    kept = ["cat/0.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png"]
    for image, name in zip(data.images, kept, strict=True):
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(folder / name)))
    (warning,) = warnings_of(caplog)
    assert warning.startswith(
        f"Skipped 3 of 8 images of {str(folder)!r}: cat/1.png is empty; dog/0.png is not an image"
    )
    assert "dog/3.png cannot be decoded: " in warning


def test_bad_rows_of_a_table_are_skipped_too(tmp_path, caplog):
    torn = (b"\x89PNG\r\n\x1a\n", None)
    pictures = [Image.new("L", (8, 8), 10 * i) for i in range(6)]
    rows = Dataset.from_dict({"image": pictures, "label": list(range(6))}).cast_column(
        "image", ImageFeature(decode=False)
    )
    rows = rows.map(
        lambda row, i: {"image": {"bytes": torn[0], "path": None} if i == 2 else row["image"]}, with_indices=True
    )
    rows = Dataset.from_list([{**row, "image": None} if row["label"] == 4 else row for row in rows], rows.features)
    rows.to_parquet(tmp_path / "train.parquet")
    data = load_images(str(tmp_path))
    assert data.images[:, 0, 0, 0].tolist() == [0, 10, 30, 50]
    assert data.labels.tolist() == [0, 1, 3, 5]
    (warning,) = warnings_of(caplog)
    assert (
        "Skipped 2 of 6 images" in warning
        and "number 2 is not an image" in warning
        and "number 4 is missing" in warning
    )


@pytest.mark.parametrize("good", [0, 2])
def test_mostly_bad_data_are_refused(tmp_path, good):
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_text("not found", encoding="utf-8")
    for i in range(good):
        Image.new("RGB", (8, 8)).save(tmp_path / f"good{i}.png")
    with pytest.raises(ValueError, match=rf"5 of {5 + good} images of .* cannot be used: 0.jpg is not an image .*Take"):
        load_train_and_held_out(str(tmp_path))


def test_grey_and_colour_together_are_colour_in_any_order(tmp_path):
    Image.new("L", (8, 8), 50).save(tmp_path / "0.png")
    Image.new("L", (8, 8), 60).save(tmp_path / "1.png")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "2.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "3.png")
    images = load_images(str(tmp_path)).images
    assert images[:, :, 7, 7].tolist() == [[50] * 3, [60] * 3, [1, 2, 3], [255] * 3]
    assert load_images(str(tmp_path), channels=1).images.shape == (4, 1, 8, 8)


def test_files_beside_the_images_do_not_matter(folder):
    expected = load_images(str(folder))
    for name in ("notes.txt", "more.txt", "LICENSE", "Thumbs.db", ".DS_Store", "sizes.json", "list.csv", "README.md"):
        (folder / name).write_text("{}", encoding="utf-8")
    for i in range(20):
        (folder / "cat" / f"{i}.txt").write_text("the caption of a picture", encoding="utf-8")
        (folder / "cat" / f"._{i}.png").write_text("what another system left behind", encoding="utf-8")
    (folder / "cat" / "folder.png").mkdir()
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere.png")
    data = load_images(str(folder))
    assert torch.equal(data.images, expected.images)
    assert torch.equal(data.labels, expected.labels) and data.label_names == expected.label_names


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        ("3,7,0", [1, 2, 0], ("0", "3", "7")),
        ("3,,0", [1, 0], ("0", "3")),
        ("dog,cat,dog", [1, 0, 1], ("cat", "dog")),
        ("0.5,2.5,0.1", None, None),
        (",,1", None, None),
    ],
)
def test_labels_of_a_metadata_file(tmp_path, labels, numbers, names):
    lines = ["file_name,label"]
    for i, label in enumerate(labels.split(",")):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{label}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    data = load_images(str(tmp_path))
    assert (data.labels if data.labels is None else data.labels.tolist()) == numbers
    assert data.label_names == names


def test_files_that_a_metadata_file_names_in_vain_are_skipped(tmp_path, caplog):
    Image.new("L", (8, 8), 5).save(tmp_path / "here.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\ngone.png,3\nhere.png,7\n", encoding="utf-8")
    data = load_images(str(tmp_path))
    assert (len(data), data.labels.tolist(), data.label_names) == (1, [1], ("3", "7"))
    assert "gone.png does not exist" in warnings_of(caplog)[0]


def test_classes_are_those_of_all_splits(tmp_path):
    pictures = [Image.new("L", (8, 8), i) for i in range(4)]
    source = write_parquet(tmp_path / "data", pictures, [0, 7, 3, 7], test=[7, 7])
    train, test = load_train_and_held_out(source)
    assert train.label_names == test.label_names == ("0", "3", "7")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 2, 1, 2], [2, 2])


def test_a_few_missing_labels_cost_their_images_and_many_the_labels(tmp_path, caplog):
    pictures = [Image.new("L", (8, 8), i) for i in range(4)]
    few = load_images(write_parquet(tmp_path / "few", pictures, [5, -1, 9, 5]))
    assert (few.labels.tolist(), few.images[:, 0, 0, 0].tolist()) == ([0, 1, 0], [0, 2, 3])
    assert "number 1 has no label" in warnings_of(caplog)[0]
    many = load_images(write_parquet(tmp_path / "many", pictures, [5, None, -1, None]))
    assert (many.labels, many.label_names, len(many)) == (None, None, 4)


def test_half_of_the_labels_are_enough(tmp_path):
    pictures = [Image.new("L", (8, 8), i) for i in range(4)]
    half = load_images(write_parquet(tmp_path / "half", pictures, [5, None, 9, -1]))
    assert (half.labels.tolist(), half.label_names) == ([0, 1], ("5", "9"))


def test_one_class_has_many_spellings_and_numbers_beyond_the_declared_ones_none():
    assert plain_classes([[True, False, 1, 0.0, 3.0, math.nan, None, -1]]) == [0, 1, 3]
    assert plain_classes([[" dog", "cat "], ["dog", "", "  "]]) == ["cat", "dog"]
    for nothing in ([], [[]], [[None, -2]], [[1, "a"]], [[0.5]], [[[1], [2]]]):
        assert plain_classes(nothing) is None
    declared = {number: number for number in range(3)}
    assert [class_number(value, declared) for value in (0, 2, 2.0, True, 3, -1, None)] == [0, 2, 2, 1, None, None, None]


def test_what_changed_on_disk_is_read_anew(folder):
    load_images(str(folder))
    Image.new("RGB", (12, 10), (9, 9, 9)).save(folder / "dog" / "9.png")
    (folder / "cat" / "0.png").unlink()
    data = load_images(str(folder))
    assert data.labels.tolist() == [0] * 3 + [1] * 5
    assert data.images[-1].unique().tolist() == [9]


def test_plain_numbers_are_labels_too_and_withheld_ones_are_none(tmp_path):
    pictures = [Image.new("L", (8, 8), 10 * i) for i in range(3)]
    for name, labels in (("numbers", [2, 0, 1]), ("withheld", [-1, -1, -1])):
        rows = Dataset.from_dict({"image": pictures, "label": labels}).cast_column("image", ImageFeature())
        (tmp_path / name).mkdir()
        rows.to_parquet(tmp_path / name / "train.parquet")
    numbers, withheld = load_images(str(tmp_path / "numbers")), load_images(str(tmp_path / "withheld"))
    assert (numbers.labels.tolist(), numbers.label_names, numbers.shape) == ([2, 0, 1], ("0", "1", "2"), (1, 8, 8))
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
        ({"source": "~no-such-user/here"}, "no folder '~no-such-user/here'"),
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
    (empty / "inside").mkdir(parents=True)
    with pytest.raises(ValueError, match="Could not read images .* doesn't contain any data files. Give a folder"):
        load_images(str(empty))
    (empty / "a.txt").write_text("text", encoding="utf-8")
    with pytest.raises(ValueError, match="no column of images; its columns are: text"):
        load_images(str(empty))
    Image.new("RGB", (9, 7)).save(folder / "cat" / "odd.png")
    with pytest.raises(
        ValueError, match="differ in size: cat/0.png is 12x10 pixels and cat/odd.png is 9x7.*resolution"
    ):
        load_images(str(folder))
    assert load_images(str(folder), resolution=8).images.shape == (9, 3, 8, 8)
    table = tmp_path / "table"
    table.mkdir()
    Dataset.from_dict({"text": ["a"]}).to_parquet(table / "train.parquet")
    with pytest.raises(ValueError, match="no column of images; its columns are: text"):
        load_images(str(table))
    with pytest.raises(ValueError, match="train.parquet'. That is a file; give the folder that holds it"):
        load_images(str(table / "train.parquet"))
    (table / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="Could not read images .*Parquet"):
        load_images(str(table))
    (folder / "cat" / "metadata.csv").write_text("file,label\n0.png,3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Could not read images .*file_name"):
        load_images(str(folder / "cat"))
