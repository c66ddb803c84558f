"""A stream: every image once an epoch and on one process, shuffled anew, and going on exactly where it was."""

import json
import logging

import numpy as np
import pytest
import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image
from torch.utils.data import DataLoader

from ncsn_pipeline.data import ImageStream, load_images, stream_images, stream_train_and_held_out
from ncsn_pipeline.data.sources import open_source

from .numbered import CLASSES, numbers_of, picture, write_files, write_parquet

COUNT = 330


@pytest.fixture(scope="module", params=["files", "one parquet", "row groups", "four parquets"])
def source(request, tmp_path_factory):
    """An opened data set of `COUNT` numbered pictures."""
    folder = tmp_path_factory.mktemp("images") / "data"
    if request.param == "files":
        return open_source(write_files(folder, COUNT), streaming=True)
    files, rows = {"one parquet": (1, 1000), "row groups": (2, 10), "four parquets": (4, 1000)}[request.param]
    return open_source(write_parquet(folder, COUNT, files, rows), streaming=True)


@pytest.mark.parametrize(("world_size", "workers"), [(1, 1), (2, 1), (3, 2), (4, 1)])
def test_shares_are_disjoint_and_together_everything(source, world_size, workers):
    shares = []
    for rank in range(world_size):
        stream = ImageStream(source, shuffle_buffer=64, rank=rank, world_size=world_size)
        for worker in range(workers):
            stream.set_epoch(2)
            shares.append(numbers_of(stream.share(worker, workers)))
    assert sorted(number for share in shares for number in share) == list(range(COUNT))
    fair = COUNT / len(shares)
    assert all(0.5 * fair < len(share) < 1.7 * fair for share in shares)


def test_labels_belong_to_their_images(source):
    stream = ImageStream(source, shuffle_buffer=100)
    names = stream.label_names
    assert sorted(names) == sorted(CLASSES) and stream.shape == (1, 6, 6)
    items = list(stream)
    assert len(items) == COUNT
    for number, item in zip(numbers_of(items), items, strict=True):
        assert names[item["label"]] == CLASSES[number % 3]
        assert item["image"].dtype == torch.uint8 and item["label"].dtype == torch.int64
        assert torch.equal(item["image"][0], torch.from_numpy(np.array(picture(number))))


def test_epochs_differ_and_are_the_same_again(source):
    stream, again, other = (ImageStream(source, shuffle_buffer=200, seed=seed) for seed in (5, 5, 6))
    first, second = numbers_of(stream), numbers_of(stream)
    assert stream.epoch == 2
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second and second != sorted(second)
    again.set_epoch(1)
    assert numbers_of(again) == second
    assert numbers_of(other) != first


def test_without_a_buffer_the_order_is_the_data_sets(source):
    stream = ImageStream(source, shuffle_buffer=0)
    expected = load_images(source.name).images
    for _ in range(2):
        assert torch.equal(torch.stack([item["image"] for item in stream]), expected)


@pytest.mark.parametrize("buffer", [0, 60, 10_000])
def test_going_on_is_exact(source, buffer):
    options = {"shuffle_buffer": buffer, "seed": 1, "rank": 1, "world_size": 2}
    stream, resumed = ImageStream(source, **options), ImageStream(source, **options)
    stream.set_epoch(3)
    row, states = [], [stream.state_dict()]
    for item in stream:
        row += numbers_of([item])
        states.append(json.loads(json.dumps(stream.state_dict())))
    following = numbers_of(stream)
    for taken in (0, 37, len(row)):
        resumed.load_state_dict(states[taken])
        assert resumed.state_dict() == states[taken]
        assert numbers_of(resumed) == row[taken:]
        assert numbers_of(resumed) == following


def test_workers_of_a_loader_share_the_images(source):
    loader = DataLoader(ImageStream(source, shuffle_buffer=50), batch_size=16, num_workers=2)
    assert sorted(numbers_of(loader)) == list(range(COUNT))


def test_held_out_images_are_never_trained_on(source):
    options = {"num_held_out": 40, "num_sample": 90, "world_size": 2}
    (stream, held_out), (other, same) = (
        stream_train_and_held_out(source.name, rank=rank, **options) for rank in (0, 1)
    )
    kept_aside = numbers_of(held_out)
    assert torch.equal(held_out.images, same.images) and torch.equal(stream.sample.images, other.sample.images)
    assert len(set(kept_aside)) == len(held_out) == 40 and len(stream.sample) == 90
    trained_on = numbers_of(stream) + numbers_of(other)
    assert sorted(trained_on + kept_aside) == list(range(COUNT))
    assert set(numbers_of(stream.sample)) < set(trained_on)
    assert set(numbers_of(stream.first(1000))) == set(trained_on)


def test_a_test_split_is_what_is_held_out(tmp_path):
    write_parquet(tmp_path, 50)
    write_parquet(tmp_path, 20, split="test")
    stream, held_out = stream_train_and_held_out(str(tmp_path), num_held_out=15)
    assert len(held_out) == 15 and set(numbers_of(held_out)) < set(range(20))
    assert sorted(numbers_of(stream)) == list(range(50)) and len(stream.sample) == 50


def test_short_streams_keep_a_tenth_aside_and_copies_with_them(tmp_path):
    source = write_parquet(tmp_path / "short", 39)
    stream, held_out = stream_train_and_held_out(source)
    assert (len(held_out), len(list(stream))) == (3, 36)
    copies = {"image": [picture(1)] * 5 + [picture(2)] * 5}
    (tmp_path / "copies").mkdir()
    Dataset.from_dict(copies).cast_column("image", ImageFeature()).to_parquet(tmp_path / "copies" / "train.parquet")
    stream, held_out = stream_train_and_held_out(str(tmp_path / "copies"))
    assert set(numbers_of(stream)).isdisjoint(numbers_of(held_out)) and len(list(stream)) == 5
    (tmp_path / "one").mkdir()
    picture(7).save(tmp_path / "one" / "7.png")
    with pytest.raises(ValueError, match="has one image"):
        stream_train_and_held_out(str(tmp_path / "one"))


def test_measured_numbers_are_those_of_the_whole_where_the_sample_is(source):
    stream, _ = stream_train_and_held_out(source.name, num_held_out=1, num_sample=COUNT)
    whole = load_images(source.name)
    assert stream.sample.mean_and_std(-1, 1) == pytest.approx(whole.mean_and_std(-1, 1), rel=0.02)
    assert stream.first(10).label_names == stream.label_names


def test_bad_images_are_skipped_and_named(tmp_path, caplog):
    source = write_files(tmp_path / "data", 150)
    for number, content in ((4, b""), (8, b"text"), (140, b"\x89PNG")):
        (tmp_path / "data" / CLASSES[number % 3] / f"{number:04d}.png").write_bytes(content)
    Image.new("L", (9, 9)).save(tmp_path / "data" / "zero" / "0099.png")
    stream = stream_images(source, resolution=6, channels=3)
    assert stream.shape == (3, 6, 6)
    with caplog.at_level(logging.WARNING):
        items = list(stream)
    assert len(items) == 147
    assert f"Skipped 3 of 150 images of {source!r}" in caplog.messages[-1]
    assert "one/0004.png is empty" in caplog.messages[-1]


def test_sizes_that_differ_are_refused_at_once_or_skipped_later(tmp_path, caplog):
    source = write_files(tmp_path / "data", 300)
    stream = stream_images(source)
    Image.new("L", (7, 6)).save(tmp_path / "data" / "zero" / "0150.png")
    assert sorted(numbers_of(stream)) == [number for number in range(300) if number != 150]
    assert "zero/0150.png is 7x6 pixels, not 6x6 pixels" in caplog.messages[-1]
    for number in range(0, 300, 6):
        Image.new("L", (7, 6)).save(tmp_path / "data" / "zero" / f"{number:04d}.png")
    with pytest.raises(ValueError, match="differ in size: .* is .x6 pixels and .* is .x6 pixels. Pass a resolution"):
        stream_images(source)


def test_mostly_bad_streams_are_refused_before_and_while_reading(tmp_path):
    source = write_files(tmp_path / "data", 300)
    stream = stream_images(source, shuffle_buffer=0)
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_text("gone", encoding="utf-8")
    with pytest.raises(ValueError, match="64 of 64 images of .* cannot be used"):
        list(stream)
    with pytest.raises(ValueError, match="64 of 64 images of .* cannot be used"):
        stream_images(source)


def test_classes_that_a_stream_cannot_know_are_left_out(tmp_path, caplog):
    rows = {"image": [picture(i) for i in range(30)], "label": [7 * (i % 2) for i in range(30)]}
    Dataset.from_dict(rows).cast_column("image", ImageFeature()).to_parquet(tmp_path / "train.parquet")
    stream = stream_images(str(tmp_path))
    assert stream.label_names is None and stream.sample.labels is None
    assert "'label' of" in caplog.messages[0] and "ClassLabel" in caplog.messages[0]
    assert all(item.keys() == {"image"} for item in stream)


def test_withheld_labels_are_no_labels_and_labels_can_be_left_out(tmp_path):
    for i in range(30):
        picture(i).save(tmp_path / f"{i:02d}.png")
    labels = [i % 2 if i < 10 else "" for i in range(30)]
    lines = [f"{i:02d}.png,{label}" for i, label in enumerate(labels)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]), encoding="utf-8")
    stream = stream_images(str(tmp_path))
    assert stream.label_names is None and len(list(stream)) == 30
    digits = stream_images("digits")
    digits.label_names = None
    assert next(iter(digits)).keys() == {"image"}


def test_digits_stream_too():
    stream, held_out = stream_train_and_held_out("digits", resolution=16)
    assert (stream.shape, len(held_out), stream.label_names) == ((1, 16, 16), 297, tuple("0123456789"))
    assert sum(1 for _ in stream) == 1500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "no split 'dev'; there are: train"),
        ({"resolution": 0}, "resolution"),
        ({"channels": 2}, "channels"),
        ({"shuffle_buffer": -1}, "shuffle_buffer .* not be negative"),
        ({"rank": 2, "world_size": 2}, "rank must lie in 0 ... world_size - 1 = 1; got 2"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        stream_images("digits", **options)
