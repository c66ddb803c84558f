"""What the shipped classifier reads in pictures, and when it is asked."""

import threading

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.shipped import examples, folder_or_shipped
from ncsn_pipeline.space.generate.controls import CONTROLS as GENERATE
from ncsn_pipeline.space.generate.handlers import GenerateHandlers
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.repair import handlers as repair
from ncsn_pipeline.space.repair.canvas import right_half
from ncsn_pipeline.space.runs.controls import defaults
from ncsn_pipeline.space.runs.models import SpaceModels
from ncsn_pipeline.space.runs.reading import DIGITS as WORDS
from ncsn_pipeline.space.runs.reading import read, reader_for, words_about
from ncsn_pipeline.space.runs.run import Frame

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
    assert words_about([3, 0, 3], None, ["dress"]) == "2 of class 3, 1 dress"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small network without classes, trained on the digits by its own account."""
    folder = tmp_path_factory.mktemp("models") / "digits"
    network = ScoreUNet(sample_size=8, block_out_channels=(8,), attention_levels=(), sigma_max=12)
    NCSNPipeline(network, ConsistentAnnealedScheduler(sigma_max=12)).save_pretrained(folder)
    (folder / "training.json").write_text('{"dataset": "ylecun/mnist"}', encoding="utf-8")
    return SpaceModels([str(folder)])


def test_a_model_without_classes_is_read_by_the_digits_names(models):
    values = defaults(GENERATE, models.default) | {"num_levels": 2, "num_images": 1}
    *_, told = GenerateHandlers(models).generate_numbers("digits", *values.values(), gr.Request())
    assert told["read"].removeprefix("1 ") in WORDS


def test_nothing_is_read_in_the_noise_of_a_stopped_run(models):
    model, stop = models.default, threading.Event()
    stop.set()
    settings = check_generate(defaults(GENERATE, model) | {"num_images": 1}, model)
    *_, moment = GenerateHandlers(models)._run(model, settings, stop)
    assert moment.done.keys() == {"images", "animation", "trajectory"} and "read" not in moment.done["trajectory"]


@pytest.mark.parametrize("evaluation, shown", [(2, 0.0), (5, 1.0)])
def test_of_a_repair_what_is_shown_is_read(models, monkeypatch, evaluation, shown):
    """Stopped, the network's estimate; at the end, the samples."""
    seen, model = [], models.default
    monkeypatch.setattr(repair, "read", lambda reader, pictures: seen.append(pictures) or [0])
    monkeypatch.setattr(repair, "image_grid", lambda pictures, columns: seen.append(pictures))
    samples = np.ones((1, 8, 8, 1))
    frame = Frame(evaluation, 5, 1.0, samples, 0 * samples, True)
    image, mask = np.full((8, 8, 1), 51, np.uint8), right_half(model.sample_shape)
    assert repair.RepairHandlers._read(model, frame, image, mask) == "1 zero"
    repair.RepairHandlers._results(frame, image, mask)
    for pictures in seen:
        np.testing.assert_allclose(pictures[0, :, :4], 0.2)
        np.testing.assert_allclose(pictures[0, :, 4:], shown)


def test_nothing_of_the_run_before_stays_under_one_that_begins(models):
    begun = repair.Progress(None, "given.png", None, "")
    *_, read_in_it, together = repair.RepairHandlers(models)._shown([], begun)[:6]
    assert read_in_it == together == ""
