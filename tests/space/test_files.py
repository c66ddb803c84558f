"""What runs leave on the server's disk: what is taken home, and nothing for long."""

import os
import time
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ncsn_pipeline.space.generate.controls import CONTROLS as GENERATE
from ncsn_pipeline.space.generate.handlers import GenerateHandlers
from ncsn_pipeline.space.repair.canvas import canvas_value, right_half
from ncsn_pipeline.space.repair.controls import CONTROLS as REPAIR
from ncsn_pipeline.space.repair.handlers import RepairHandlers
from ncsn_pipeline.space.runs.controls import defaults
from ncsn_pipeline.space.runs.models import SpaceModels
from ncsn_pipeline.space.runs.sessions import offer
from ncsn_pipeline.space.widgets import pictures
from ncsn_pipeline.space.widgets.pictures import KEPT_SECONDS, new_folder, run_folder

FEW = {"num_levels": 3, "num_images": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """What Gradio serves."""
    monkeypatch.setattr(pictures, "get_upload_folder", lambda: str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def models(model_folder):
    return SpaceModels([str(model_folder)])


def aged(folder, seconds):
    """The folder, a file in it so many seconds old; another one was deleted just now."""
    (folder / "picture.png").touch()
    os.utime(folder / "picture.png", (time.time() - seconds,) * 2)
    return folder


def left(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_run_deletes_those_that_are_too_old_and_no_others():
    old, young = aged(run_folder(), KEPT_SECONDS + 60), aged(run_folder(), KEPT_SECONDS - 60)
    start, empty = aged(new_folder("start"), KEPT_SECONDS + 60), run_folder()
    assert [path.exists() for path in (old, young, start, empty)] == [False, True, True, True]


def test_a_program_s_runs_leave_only_what_they_tell_of(models, folder):
    values = (defaults(GENERATE, models.default) | FEW | {"seed": 3}).values()
    *_, told = GenerateHandlers(models).generate_numbers("small", *values, gr.Request())
    expected = {Path(told[name]["path"]).name for name in ("images", "animation", "program")} | {"trajectory.png"}
    assert left(folder) == expected
    values = (defaults(REPAIR, models.default) | FEW).values()
    canvas = canvas_value(np.full((8, 8, 1), 99, np.uint8), right_half((1, 8, 8)))
    *_, told = RepairHandlers(models).repair_numbers(canvas, "small", *values, gr.Request())
    files = {Path(told[name]["path"]).name for name in ("results", "image", "mask")}
    assert left(folder) - expected == files | {"given.png"}


def test_what_is_offered_is_not_read_by_gradio_which_would_write_an_empty_file_each_time():
    with gr.Blocks() as page:
        download = gr.DownloadButton()
        offer(gr.Button().click(lambda: None), [download])
    *_, offering = page.fns.values()
    assert not offering.preprocess
    assert offering.fn({"path": "a"}, None) == [gr.update(interactive=True), gr.update(interactive=False)]


def test_the_last_step_of_the_player_is_the_picture_that_is_taken_home(models):
    values = (defaults(GENERATE, models.default) | FEW).values()
    *_, told = GenerateHandlers(models).generate_numbers("small", *values, gr.Request())
    strip, value = Image.open(told["trajectory"]["strip"]["path"]), told["trajectory"]
    width, height, last = value["width"], value["height"], len(value["evaluations"])
    samples = np.asarray(strip.crop((last * width, 0, (last + 1) * width, height)))
    grid = np.asarray(Image.open(told["images"]["path"]))
    scale = grid.shape[1] // width
    np.testing.assert_array_equal(samples, grid[scale // 2 :: scale, scale // 2 :: scale, [0, 3]])
