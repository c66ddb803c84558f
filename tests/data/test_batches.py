"""Endless batches: whole ones, every image of an epoch, and the same ones again after a stop."""

import json
from collections import Counter
from itertools import islice

import pytest
import torch

from ncsn_pipeline.data import ImageStream, StreamBatches, stream_images
from ncsn_pipeline.data.sources import open_source

from .numbered import CLASSES, numbers_of, write_files, write_parquet

COUNT = 330


@pytest.fixture(scope="module", params=["files", "parquet"])
def source(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "data"
    path = write_files(folder, COUNT) if request.param == "files" else write_parquet(folder, COUNT, 2, 10)
    return open_source(path, streaming=True)


@pytest.mark.parametrize("workers", [0, 3])
def test_batches_are_whole_and_epochs_follow_each_other(source, workers):
    batches = list(islice(StreamBatches(ImageStream(source, shuffle_buffer=99), 32, num_workers=workers), 31))
    assert {tuple(batch["image"].shape) for batch in batches} == {(32, 1, 6, 6)}
    for batch in batches:
        names = {CLASSES[number % 3] for number in numbers_of([batch])}
        assert len(batch["label"]) == 32 and len(set(batch["label"].tolist())) == len(names)
    times = Counter(numbers_of(batches))  # 992 images are 3.006 epochs
    assert set(times) == set(range(COUNT))
    assert all(1 <= n <= 5 for n in times.values()) if workers else max(times.values()) <= 4
    if workers == 0:
        assert sorted(numbers_of(batches)[:COUNT]) == list(range(COUNT))


@pytest.mark.parametrize(
    ("workers", "taken"),
    [(0, 0), (0, 5), (0, 14), (3, 5), *(pytest.param(3, taken, marks=pytest.mark.check) for taken in (0, 14))],
)
def test_going_on_is_exact(source, workers, taken):
    def batches():
        stream = ImageStream(source, shuffle_buffer=80, rank=1, world_size=2)
        return StreamBatches(stream, 16, num_workers=workers)

    whole = batches()
    row = iter(whole)
    list(islice(row, taken))
    state = json.loads(json.dumps(whole.state_dict()))
    expected = list(islice(row, 12))
    resumed = batches()
    resumed.load_state_dict(state)
    for batch, again in zip(expected, resumed, strict=False):
        assert torch.equal(batch["image"], again["image"]) and torch.equal(batch["label"], again["label"])
    for batch, again in zip(expected[taken - 1 : taken] if taken else [], batches(), strict=False):
        assert not torch.equal(batch["image"], again["image"])


def test_the_global_random_numbers_are_left_alone(source):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(islice(StreamBatches(ImageStream(source), 8), 2))
    assert torch.equal(torch.rand(4), expected)


def test_states_of_another_division_are_refused(source):
    state = StreamBatches(ImageStream(source), 8).state_dict()
    with pytest.raises(ValueError, match="saved with batch_size 8; here it is 4"):
        StreamBatches(ImageStream(source), 4).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with world_size 1; here it is 2"):
        StreamBatches(ImageStream(source, world_size=2), 8).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with seed 0; here it is 1"):
        StreamBatches(ImageStream(source, seed=1), 8).load_state_dict(state)
    with pytest.raises(ValueError, match=r"saved with 1 worker\(s\); here there are 3"):
        StreamBatches(ImageStream(source), 8, num_workers=3).load_state_dict(state)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        StreamBatches(ImageStream(source), 0)


def test_too_few_images_for_all_are_refused(tmp_path):
    stream = stream_images(write_files(tmp_path / "few", 3), rank=3, world_size=4)
    with pytest.raises(ValueError, match=r"holds no images: it has too few for 4 process\(es\) with 1 worker"):
        next(iter(StreamBatches(stream, 2)))
