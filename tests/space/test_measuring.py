"""Tasks of the Repair tab that measure a picture: what is measured, what the results say, the same program."""

import math
import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.guidance.measurements import average_pooling, gaussian_blur, grey, random_projections
from ncsn_pipeline.shipped import examples
from ncsn_pipeline.space.repair.call import as_picture, repair_arguments
from ncsn_pipeline.space.repair.canvas import canvas_value, fitted_picture, right_half
from ncsn_pipeline.space.repair.controls import CONTROLS
from ncsn_pipeline.space.repair.handlers import INPUTS, RepairHandlers
from ncsn_pipeline.space.repair.measuring import MEASUREMENTS
from ncsn_pipeline.space.repair.settings import check_repair
from ncsn_pipeline.space.repair.spread import deviation_map, fidelity_words, measurement_picture
from ncsn_pipeline.space.runs.controls import ModelFacts, defaults
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.runs.models import SpaceModels
from ncsn_pipeline.space.widgets.grid import image_grid

from .visitor import button, connected, fill, wait_for_status

DEFAULTS = defaults(CONTROLS, ModelFacts())
SMALL = {"num_levels": 4, "num_images": 3, "seed": 5, "noise_std": 0.1}


def facts(*shape):
    return ModelFacts(["0", "1"], (0.01, 12.0), shape)


def check(model, **changed):
    return check_repair(DEFAULTS | changed, model)


def digit(number, shape=(1, 8, 8)):
    return fitted_picture(examples()[number], shape)


# What is measured


@pytest.mark.parametrize(
    "shape, offered",
    [
        ((1, 28, 28), {"deblur", "sharpen", "few"}),
        ((3, 32, 32), {"deblur", "sharpen", "colour", "few"}),
        ((3, 64, 64), {"deblur", "sharpen", "colour"}),  # a matrix of too many columns
        ((1, 2, 2), {"deblur", "few"}),
    ],
)
def test_a_model_has_the_tasks_that_its_pictures_can_have(shape, offered):
    assert {name for name in MEASUREMENTS if MEASUREMENTS[name].suits(shape)} == offered
    for name in MEASUREMENTS.keys() - offered:
        with pytest.raises(SettingsError, match="Task must be one of inpaint, edit, deblur"):
            check(facts(*shape), task=name)


@pytest.mark.parametrize("task", MEASUREMENTS)
def test_y_is_the_measured_picture_with_noise_of_its_own(task):
    """The residual is white, of deviation sigma_y, and not the start of the noise that the samples are drawn with."""
    model = facts(3, 32, 32)
    settings = check(model, task=task, noise_std=0.2, seed=7, share=25)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    arguments = repair_arguments(settings, model, image, np.zeros((32, 32), bool))
    picture = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    expected = {
        "deblur": gaussian_blur(1.5),
        "sharpen": average_pooling(4),
        "colour": grey,
        "few": random_projections(768, 3072, torch.Generator().manual_seed(7)),
    }[task](picture)
    noise = (arguments["y"] - expected).flatten().double() / 0.2
    count = len(noise)
    assert abs(noise.mean()) < 4 / math.sqrt(count)
    assert abs(noise.square().mean() - 1) < 4 * math.sqrt(2 / count)
    torch.testing.assert_close(arguments["operator"](picture), expected)
    next_ones = torch.randn(count, generator=arguments["generator"]).double()
    assert abs((noise * next_ones).mean()) < 4 / math.sqrt(count)
    assert arguments["num_images_per_measurement"] == 8 and arguments["noise_std"] == 0.2


def test_one_result_is_refused_because_it_has_no_spread():
    with pytest.raises(SettingsError, match="at least 2 for this task"):
        check(facts(1, 8, 8), task="deblur", num_images=1)
    assert check(facts(1, 8, 8), num_images=1).num_images == 1


# What is said of the results


def test_fidelity_is_judged_by_its_own_spread():
    """Three standard errors of |y - A x|² / (m sigma_y²) of the truth: 0.06 of 4,900 numbers, 0.6 of 49."""
    assert "by more" in fidelity_words(1.07, 4900) and "by as much" in fidelity_words(1.05, 4900)
    assert "by less" in fidelity_words(0.93, 4900)
    assert "by as much" in fidelity_words(1.55, 49) and "by more" in fidelity_words(1.65, 49)


def test_the_heat_map_is_the_deviation_of_each_pixel_from_0_to_its_scale():
    std = np.zeros((4, 4, 3))
    std[1, 2] = [0.3, 0.0, 0.0]
    figure = deviation_map(std)
    shown, scale = figure.axes[0].images[0], figure.axes[1]
    assert shown.get_array()[1, 2] == pytest.approx(0.3 / math.sqrt(3)) and np.count_nonzero(shown.get_array()) == 1
    assert scale.get_ylim() == shown.get_clim() == (0, pytest.approx(0.3 / math.sqrt(3)))
    assert deviation_map(np.zeros((4, 4, 1))).axes[0].images[0].get_clim() == (0, 0.01)


def test_a_measurement_is_shown_as_it_is_and_numbers_from_black_to_white():
    picture = np.asarray(measurement_picture(torch.tensor([[[[0.0, 0.5], [1.5, 1.0]]]])))
    scale = picture.shape[0] // 2
    assert picture[scale // 2 :: scale, scale // 2 :: scale, 0].tolist() == [[0, 128], [255, 255]]
    numbers = np.asarray(measurement_picture(torch.tensor([[-2.0, 0.0, 2.0]])))
    scale = numbers.shape[0] // 2
    assert numbers[scale // 2 :: scale, scale // 2 :: scale, 0].tolist() == [[0, 128], [255, 0]]


def run_program(told, folder, model_folder, monkeypatch):
    """The variables of the program that came with an answer, run beside its picture."""
    monkeypatch.chdir(folder)
    (folder / model_folder.name).symlink_to(model_folder)
    names = {}
    exec(told["python"], names)
    return names


def assert_same(told, names, results):
    """Pictures to the bit, mean and deviation as the answer rounds them, and the fidelity."""
    pictures = np.stack([np.asarray(picture) for picture in names["images"]]) / 255
    pictures = pictures if pictures.ndim == 4 else pictures[..., None]
    np.testing.assert_array_equal(results, np.asarray(image_grid(pictures, 4)))
    for name in ("mean", "std"):
        values = names[name][0].permute(1, 2, 0).numpy().squeeze()
        np.testing.assert_allclose(told[name], values, atol=1e-4)
    assert told["fidelity"] == pytest.approx(float(names["fidelity"].mean()), rel=1e-5)
    assert told["measurements"] == names["y"].numel()


def test_a_colour_model_colours_in(other_model_folder, tmp_path, monkeypatch):
    handlers = RepairHandlers(SpaceModels([str(other_model_folder)]))
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    values = [(DEFAULTS | SMALL | {"model": "colour", "task": "colour"})[name] for name in INPUTS]
    canvas = canvas_value(image, right_half((3, 8, 8)))
    told = list(handlers.repair_numbers(canvas, *values, SimpleNamespace(session_hash=None)))[-1]
    assert told["status"] == "done" and told["evaluation"] == told["evaluations"] == 10
    assert np.shape(told["mean"]) == np.shape(told["std"]) == (8, 8, 3) and told["measurements"] == 64
    as_picture(image).save(tmp_path / "image.png")
    names = run_program(told, tmp_path, other_model_folder, monkeypatch)
    assert_same(told, names, np.asarray(Image.open(told["results"]["path"])))
    assert names["operator"] is grey


def test_a_stopped_run_says_nothing_of_its_results_together(model_folder):
    """It ends after its first level, where the samples are still noise."""
    handlers = RepairHandlers(SpaceModels([str(model_folder)]))
    values = DEFAULTS | SMALL | {"model": handlers.models.default.name, "task": "deblur"}
    model, settings = handlers.check(*[values[name] for name in INPUTS])
    stop = threading.Event()
    stop.set()
    moments = list(handlers._run(model, settings, digit(3), np.zeros((8, 8), bool), stop))
    assert moments[-1].frame.evaluation == 4 and moments[-1].frame.evaluations == 10
    assert moments[-1].spread is None and "fidelity" not in handlers._told(moments[-1])


# The endpoint


@pytest.mark.browser
@pytest.mark.parametrize(
    "changed",
    [{"task": "deblur"}, {"task": "sharpen", "class_label": "3", "guidance_scale": 1.5}, {"task": "few", "share": 20}],
)
def test_the_endpoint_gives_what_the_program_gives(address, model_folder, tmp_path, monkeypatch, changed):
    client = connected(address)
    settings = DEFAULTS | SMALL | changed
    told = client.predict(canvas_value(digit(3), right_half((1, 8, 8))), **settings, api_name="/repair")
    assert told["status"] == "done" and told["evaluation"] == told["evaluations"] == 10
    Image.open(told["image"]).save(tmp_path / "image.png")
    names = run_program(told, tmp_path, model_folder, monkeypatch)
    assert_same(told, names, np.asarray(Image.open(told["results"])))
    preview = client.predict(**settings, api_name="/preview_repair")
    assert preview["python"] == told["python"] and preview["evaluations"] == 10


@pytest.mark.browser
def test_the_endpoint_refuses_in_words(address):
    client = connected(address)
    blank = canvas_value(np.zeros((8, 8, 1), np.uint8), right_half((1, 8, 8)))
    for canvas, wrong, reason in (
        (canvas_value(digit(3), right_half((1, 8, 8))), {"task": "colour"}, "must be one of inpaint, edit, deblur"),
        (blank, {"task": "few", "noise_std": 0}, "Noise of the measurement must lie between 0.01 and 0.5"),
        (blank, {"task": "few", "share": 90}, "Measurements must lie between 1 and 25"),
        (blank, {"task": "deblur"}, "Nothing is drawn"),
    ):
        with pytest.raises(AppError, match=reason):
            client.predict(canvas, **(DEFAULTS | wrong), api_name="/repair")


# What a visitor sees


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Repair").click()
    page.locator("#repair-canvas canvas").wait_for()
    return page


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_scale_of_the_heat_map_is_read_on_light_and_on_dark(page, scheme):
    page.get_by_label("Sharpen (4×)").check()
    fill(page, "repair-num-levels", 3)
    fill(page, "repair-num-images", 2)
    page.locator("#repair").click()
    wait_for_status(page, "Done", "repair-status")
    expect(page.locator(".spread svg text")).not_to_have_count(0)
    colours = page.locator(".spread svg text").evaluate_all("all => all.map((each) => getComputedStyle(each).fill)")
    shades = {sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours}
    assert max(shades) < 100 if scheme == "light" else min(shades) > 150


@pytest.mark.browser
def test_a_visitor_sees_y_the_mean_and_where_the_results_differ(page):
    expect(page.get_by_label("Colour in")).to_have_count(0)
    page.get_by_label("Sharpen (4×)").check()
    expect(page.locator("#repair-note")).to_contain_text("only the mean is kept")
    expect(page.locator("#repair-noise-std")).to_be_visible()
    expect(page.locator("#repair-sampler")).to_be_hidden()
    expect(page.locator("#repair-steps-per-level")).to_be_hidden()
    fill(page, "repair-num-levels", 5)
    expect(page.locator("#repair-cost")).to_contain_text("12 network evaluations of 8 images")
    button(page, "Paint").click()
    wait_for_status(page, "Done: 12 evaluations", "repair-status")
    spread = page.locator("#repair-spread")
    expect(spread.locator("svg")).to_have_attribute("aria-label", re.compile("Standard deviation of each pixel"))
    expect(spread).to_contain_text("m = 4.")
    expect(page.locator("#repair-download-mask")).to_be_disabled()
    page.get_by_label("Repair what is marked").check()
    wait_for_status(page, "Ready", "repair-status")
    expect(spread.locator("svg")).to_have_count(0)


@pytest.mark.browser
def test_measuring_shares_the_picture_with_repairing_and_draws_on_it(page):
    shown = "canvas => canvas.toDataURL()"
    canvas = page.locator("#repair-canvas canvas")
    button(page, "Clear").click()
    unmarked = canvas.evaluate(shown)
    page.get_by_label("Few measurements").check()
    expect(page.locator("#repair-canvas [data-tool=paint]")).to_have_text("Draw")
    assert canvas.evaluate(shown) == unmarked
    expect(page.locator("#repair-share")).to_be_visible()
    page.get_by_label("Edit from a sketch").check()
    expect(page.locator("#repair-share")).to_be_hidden()
    assert canvas.evaluate(shown) != unmarked
    page.get_by_label("Deblur").check()
    expect(page.locator("#repair-noise-std")).to_be_visible()
    assert canvas.evaluate(shown) == unmarked


@pytest.mark.browser
def test_a_phone_is_wide_enough_for_mean_and_map(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_label("Deblur").check()
    expect(page.locator("#repair-noise-std")).to_be_visible()
    fill(page, "repair-num-levels", 2)
    expect(page.locator("#repair-cost")).to_contain_text("6 network evaluations")
    button(page, "Paint").click()
    wait_for_status(page, "Done: 6 evaluations", "repair-status")
    expect(page.locator("#repair-spread svg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#repair-model input").click()
    page.get_by_role("option", name="colour").click()
    wait_for_status(page, "Ready", "repair-status")
    expect(page.locator("#repair-spread svg")).to_have_count(0)
