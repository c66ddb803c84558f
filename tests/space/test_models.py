"""The owner's list of models: only those, each loaded once, a few kept, and a failure said in words."""

import json
import shutil
import threading
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ncsn_pipeline.shipped import examples
from ncsn_pipeline.space import build_page
from ncsn_pipeline.space.generate.controls import CONTROLS
from ncsn_pipeline.space.generate.handlers import INPUTS, GenerateHandlers
from ncsn_pipeline.space.repair.handlers import RepairHandlers
from ncsn_pipeline.space.runs import models as module
from ncsn_pipeline.space.runs.controls import defaults
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.runs.model import Pace
from ncsn_pipeline.space.runs.models import SpaceModels
from ncsn_pipeline.space.widgets.grid import image_grid


@pytest.fixture
def models(model_folder, other_model_folder, tmp_path):
    return SpaceModels([str(model_folder), str(other_model_folder), str(tmp_path / "gone"), "nobody/nothing"])


def test_the_first_is_the_default_and_every_one_has_a_name(models):
    assert models.names[:2] == ("small", "colour")
    assert models.names[2].endswith("gone") and models.names[3] == "nobody/nothing"
    assert models.default is models.get("small")
    assert models.default.num_classes == 10


def test_a_model_is_loaded_when_it_is_asked_for_and_kept(models):
    colour = models.get("colour")
    assert colour.num_classes is None
    assert colour.pipeline.unet.config.in_channels == 3
    assert models.get("colour") is colour


def test_one_that_draws_in_few_evaluations_is_sampled_in_its_own_way_alone(fast_model_folder, monkeypatch):
    """Whatever the controls of its schedule are set to, which are hidden; the program draws the same."""
    handlers = GenerateHandlers(SpaceModels([str(fast_model_folder)]))
    model = handlers.models.default
    assert model.few_levels == (2.0, 0.7)
    given = defaults(CONTROLS, model) | {"model": "fast", "num_images": 10, "seed": 3}

    def run(**changed):
        values = [(given | changed)[name] for name in INPUTS]
        return list(handlers.generate_numbers(*values, gr.Request()))[-1]

    told = run()
    assert told["sigmas"] == pytest.approx([2.0, 0.7]) and told["evaluations"] == 2
    for changed in ({"sampler": "heun", "num_levels": 1}, {"sigma_max": 0.2, "sigma_min": 0.9, "guidance_scale": 2}):
        assert run(**changed)["python"] == told["python"]
    monkeypatch.chdir(fast_model_folder.parent)
    names = {}
    exec(told["python"], names)
    expected = np.stack([np.asarray(image)[..., None] / 255 for image in names["images"]])
    drawn = np.asarray(Image.open(told["images"]["path"]))
    np.testing.assert_array_equal(drawn, np.asarray(image_grid(expected, columns=5)))


def test_a_page_of_such_a_model_has_no_repair(fast_model_folder, model_folder):
    tabs = lambda folder: [  # noqa: E731
        block.label for block in build_page(str(folder)).blocks.values() if isinstance(block, gr.Tab)
    ]
    assert set(tabs(model_folder)) - set(tabs(fast_model_folder)) == {"Repair"}


def test_a_model_of_fewer_examples_than_others_has_a_page(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "small")
    (folder / "examples").mkdir()
    shutil.copy(examples()[0], folder / "examples")
    build_page(str(folder))
    handlers = RepairHandlers(SpaceModels([str(folder)]))
    assert json.loads(handlers.choose_model("small")[0])["mask"]


@pytest.mark.parametrize("name", ["google/ncsnpp", "", None, True, 3, ["small"], "../small"])
def test_what_is_not_on_the_list_is_refused(models, name):
    with pytest.raises(SettingsError, match="Model must be one of small, colour"):
        models.get(name)


def test_what_cannot_be_loaded_is_said_and_tried_again_a_minute_later(models, caplog, monkeypatch):
    for tries, after in ((1, module.TRIED_AGAIN_AFTER), (1, module.TRIED_AGAIN_AFTER), (2, 0.0)):
        monkeypatch.setattr(module, "TRIED_AGAIN_AFTER", after)
        with pytest.raises(SettingsError, match="could not be loaded. Choose another model"):
            models.get(models.names[2])
        assert caplog.text.count("could not be loaded") == tries


def test_who_asks_for_a_loaded_model_does_not_wait_for_another(models, monkeypatch):
    colour = models.get("colour")
    loading, go_on = threading.Event(), threading.Event()

    def slow(source, name):
        loading.set()
        go_on.wait(60)
        raise OSError

    monkeypatch.setattr(module.SpaceModel, "load", slow)
    thread = threading.Thread(target=pytest.raises, args=(SettingsError, models.get, models.names[2]))
    thread.start()
    assert loading.wait(60)
    assert models.get("colour") is colour
    go_on.set()
    thread.join()


def test_the_one_unused_for_longest_is_forgotten(model_folder, other_model_folder, tmp_path):
    folders = [tmp_path / f"m{i}" for i in range(module.MOST_LOADED)]
    for folder in folders:
        folder.symlink_to(other_model_folder)
    models = SpaceModels([str(model_folder), *map(str, folders)])
    loaded = [models.get(folder.name) for folder in folders]
    assert models.get(folders[-1].name) is loaded[-1]
    assert models.get(folders[0].name) is not loaded[0]
    assert models.default is models.get("small")


def test_folders_of_one_name_are_listed_each_and_told_apart(model_folder, other_model_folder, tmp_path, monkeypatch):
    for place, target in (("a/best", model_folder), ("b/best", other_model_folder), ("c/a/best", other_model_folder)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    models = SpaceModels(["a/best", str(tmp_path / "b" / "best"), "c/a/best", "a/best/", "./a/best", str(model_folder)])
    mine = tmp_path.name
    assert models.names == (f"{mine}/a/best", "b/best", "c/a/best", "small")
    assert models.default.name == f"{mine}/a/best" and models.default.num_classes == 10
    other = models.get("b/best")
    assert (other.name, other.address, other.num_classes) == ("b/best", "./b/best", None)
    assert models.get("c/a/best") is not other
    monkeypatch.chdir(tmp_path / "a" / "best")
    assert SpaceModels(["."]).names != ("",)


def test_a_folder_with_the_name_of_a_model_of_the_hub_keeps_its_own(model_folder, tmp_path, monkeypatch):
    for place in ("here/user/best", "here/other/best"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).symlink_to(model_folder)
    models = SpaceModels([str(tmp_path / "here/user/best"), str(tmp_path / "here/other/best"), "user/best"])
    assert models.names == ("here/user/best", "other/best", "user/best")


def test_a_page_without_a_model_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        SpaceModels([])


def test_short_runs_say_little_about_long_ones(models):
    model = replace(models.default, seconds_per_evaluation=0.002, seconds_per_image=0.0004, pace=Pace())
    estimated = model.seconds(1000, 64)
    for _ in range(5):
        model.learn_pace(10, 1, 0.1)
    assert estimated < model.seconds(1000, 64) < 1.5 * estimated


def test_estimates_come_to_what_runs_take(models):
    model = replace(models.default, seconds_per_evaluation=0.1, seconds_per_image=0.1, pace=Pace())
    estimated = model.seconds(100, 8)
    for _ in range(12):
        model.learn_pace(50, 8, 3 * estimated / 2)
    assert model.seconds(100, 8) == pytest.approx(3 * estimated, rel=1e-3)
    for _ in range(12):
        model.learn_pace(100, 8, estimated)
    assert model.seconds(200, 8) == pytest.approx(2 * estimated, rel=1e-3)
