"""The Repair tab: what is kept comes back exactly, in a real browser and by its endpoint; what is refused, and why."""

import io
import json
import math
import re
import struct
import zlib

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.shipped import examples
from ncsn_pipeline.space.repair.canvas import canvas_value, fitted_picture, right_half
from ncsn_pipeline.space.repair.controls import CONTROLS
from ncsn_pipeline.space.repair.handlers import FIRST, RepairHandlers
from ncsn_pipeline.space.repair.settings import check_canvas, check_repair
from ncsn_pipeline.space.runs.calls import scheduler_of
from ncsn_pipeline.space.runs.controls import ModelFacts, arguments_of, defaults
from ncsn_pipeline.space.runs.limits import BUDGET, SettingsError
from ncsn_pipeline.space.server.guard import refuse_large_pictures
from ncsn_pipeline.space.widgets.grid import image_grid

from .ranges import assert_choices, assert_range, refusal
from .visitor import button, connected, fill, slowed_down, wait_for_status

SHAPE = (1, 8, 8)
DEFAULTS = defaults(CONTROLS, ModelFacts())


def facts(num_classes=10, most=12.0):
    return ModelFacts([str(label) for label in range(num_classes or 0)], (0.01, most))


def check(num_classes=10, **changed):
    return check_repair(DEFAULTS | changed, facts(num_classes))


def levels(settings):
    """The noise levels of the run."""
    return scheduler_of(settings.sampler, arguments_of(CONTROLS, settings, facts())).config.sigmas


# What is checked


def test_good_settings_come_back_typed():
    settings = check(num_levels=25.0, seed=7.0)
    assert (settings.num_levels, settings.seed, settings.start_sigma) == (25, 7, None)
    assert levels(settings)[0] == pytest.approx(12)
    edit = check(task="edit")
    assert edit.start_sigma == 0.7
    assert levels(edit)[0] == pytest.approx(0.7)
    assert len(levels(edit)) == 25


@pytest.mark.parametrize(
    "name, label, low, high",
    [
        ("num_levels", "Number of levels", 2, 200),
        ("steps_per_level", "Steps per level", 1, 20),
        ("start_sigma", "Noise to start from", 0.05, 5.0),
        ("noise_std", "Noise of the measurement", 0.01, 0.5),
        ("share", "Measurements", 1, 25),
        ("guidance_scale", "Guidance", 0.0, 8.0),
        ("num_images", "Number of results", 1, 16),
        ("seed", "Seed", 0, 2**31 - 1),
    ],
)
def test_every_number_has_its_range(name, label, low, high):
    assert_range(lambda value: check(**{name: value}), label, low, high)


@pytest.mark.parametrize(
    "name, label, choices",
    [
        ("task", "Task", ["inpaint", "edit", "deblur", "sharpen", "few"]),
        ("sampler", "Sampler", ["consistent", "annealed_langevin"]),
        ("class_label", "Class", ["none", *"0123456789"]),
    ],
)
def test_every_choice_has_its_names(name, label, choices):
    assert_choices(lambda value: check(**{name: value}), label, choices)


@pytest.mark.parametrize(
    "changed, evaluations, images",
    [
        ({}, 97, 8),
        ({"steps_per_level": 1}, 25, 8),
        ({"sampler": "annealed_langevin"}, 101, 8),
        ({"task": "edit"}, 25, 8),
        ({"task": "edit", "sampler": "annealed_langevin"}, 101, 8),
        ({"guidance_scale": 3}, 97, 8),
        ({"task": "deblur"}, 52, 8),
        ({"task": "few", "sampler": "annealed_langevin", "guidance_scale": 3, "class_label": "4"}, 52, 16),
        ({"guidance_scale": 3, "class_label": "4"}, 97, 16),
    ],
)
def test_the_cost_is_counted(changed, evaluations, images):
    settings = check(**changed)
    assert (settings.evaluations, settings.images_per_evaluation) == (evaluations, images)


def test_the_budget_is_a_bound_and_noise_must_be_known():
    nearest = "at most 10 image(s) or at most 125 levels or at most 12 steps per level."
    with pytest.raises(SettingsError, match=f"{BUDGET:,}.*{re.escape(nearest)}"):
        check(num_levels=200, steps_per_level=20, num_images=16)
    with pytest.raises(SettingsError, match=r"nearest allowed: at most 15 image\(s\) or at most 125 levels"):
        check(num_levels=126, steps_per_level=20, num_images=16)
    with pytest.raises(SettingsError, match="at most 3,"):
        check_repair(DEFAULTS | {"task": "edit", "start_sigma": 4}, facts(most=3.0))


def test_a_canvas_comes_back_as_it_was():
    generator = np.random.default_rng(0)
    for shape in (SHAPE, (3, 8, 8)):
        image = generator.integers(0, 256, (8, 8, shape[0]), dtype=np.uint8)
        mask = generator.integers(0, 2, (8, 8)).astype(bool)
        read_image, read_mask = check_canvas(canvas_value(image, mask), shape)
        assert np.array_equal(read_image, image)
        assert np.array_equal(read_mask, mask)


ROWS = [[0] * 8] * 8


BAD_CANVASES = [
    *(None, True, 3, {}, {"image": ROWS, "mask": ROWS}, "", "{", "null", "[]", "3", '"image"', "{}"),
    *("[" * 900, "[" * 2000, "x" * 10**6, json.dumps({"image": ROWS})),
    *(
        json.dumps({"image": ROWS, "mask": ROWS} | changed)
        for changed in (
            {"image": ROWS[1:]}, {"image": [[0] * 9] * 8}, {"image": [[256] * 8] * 8}, {"mask": [[2] * 8] * 8},
            {"image": [[-1] * 8] * 8}, {"image": [[0.5] * 8] * 8}, {"image": [[math.nan] * 8] * 8},
            {"image": [["0"] * 8] * 8}, {"image": [[None] * 8] * 8}, {"image": [[True] * 8] * 8},
            {"image": [*ROWS[1:], [0]]}, {"image": [[10**30] * 8] * 8}, {"image": [[[0] * 3] * 8] * 8}, {"mask": 1},
        )
    ),
]  # fmt: skip


def test_what_is_no_canvas_is_refused():
    refusals = {repr(canvas)[:90]: refusal(lambda value: check_canvas(value, SHAPE), canvas) for canvas in BAD_CANVASES}
    assert [canvas for canvas, said in refusals.items() if "8 rows of 8 pixels" not in said] == []


def test_a_picture_of_the_model_s_size_is_taken_as_it_is_and_others_are_fitted(tmp_path):
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 100, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    assert np.array_equal(fitted_picture(path, (1, 28, 28))[..., 0], pixels)
    wide = Image.new("RGB", (600, 200), (250, 240, 250))
    wide.paste((10, 10, 10), (280, 0, 320, 200))
    wide.save(path)
    fitted = fitted_picture(path, (1, 28, 28))[..., 0]
    assert fitted[:, 13:15].min() > 200 > 50 > fitted[:, :8].max()
    assert fitted_picture(path, (3, 16, 16)).shape == (16, 16, 3)
    strokes = np.zeros((28, 28, 4), np.uint8)
    strokes[:, 13:15, 3] = 255  # black on nothing
    Image.fromarray(strokes).save(path)
    fitted = fitted_picture(path, (1, 28, 28))[..., 0]
    assert fitted[:, 13:15].min() == 255 and fitted[:, :13].max() == 0
    assert len(examples()) == 10
    for example in examples():
        assert np.array_equal(fitted_picture(example, (1, 28, 28))[..., 0], np.asarray(Image.open(example)))


def test_a_picture_of_sixteen_bits_keeps_its_greys(tmp_path):
    ramp = np.linspace(0, 40000, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert Image.open(tmp_path / "deep.png").mode.startswith("I")
    assert np.array_equal(fitted_picture(tmp_path / "deep.png", SHAPE)[..., 0], (ramp >> 8).astype(np.uint8))


def test_what_was_marked_is_tinted_in_the_picture_of_what_was_given():
    image, mask = np.full((8, 8, 1), 200, np.uint8), right_half(SHAPE)
    for task, tinted in (("inpaint", [129, 131, 229, 255]), ("edit", [200, 200, 200, 255])):
        given = RepairHandlers._given(check(task=task), image, mask)
        scale = given.width // 8
        pixels = np.asarray(given)[scale // 2 :: scale, scale // 2 :: scale]
        assert (pixels[:, :4] == [200, 200, 200, 255]).all() and (pixels[:, 4:] == tinted).all()


def png_of(width, height):
    """A PNG that says it is that large; its data end early."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "no picture"),
        (b"%PDF-1.7", "no picture"),
        (b"P5 8 8 255\n" + bytes(64), "no picture"),  # Pillow reads it: a kind that is not offered
        (png_of(40_000, 40_000), "too many pixels"),
    ],
)
def test_what_is_no_picture_and_a_bomb_are_refused(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    refuse_large_pictures()
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=reason):
        fitted_picture(path, SHAPE)


# What a visitor sees


def drag(page, *points):
    """Paints along points given in pixels of the model."""
    canvas = page.locator("#repair-canvas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x / 8 * box["width"], box["y"] + y / 8 * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def downloaded(page, element):
    expect(page.locator("#repair")).to_be_enabled()  # the run has ended: its files are there
    with page.expect_download() as download:
        page.locator(f"#{element}").click()
    return np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())))


def cells(grid, number, columns=4, size=8):
    """The pictures of an enlarged grid, in the model's own pixels."""
    scale = grid.shape[1] // (columns * (size + 1) - 1)
    small = grid[scale // 2 :: scale, scale // 2 :: scale, 0]
    corners = [((i // columns) * (size + 1), (i % columns) * (size + 1)) for i in range(number)]
    return np.stack([small[top : top + size, left : left + size] for top, left in corners])


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Repair").click()
    page.locator("#repair-canvas canvas").wait_for()
    expect(page.locator("#repair-cost")).to_contain_text("97 network evaluations of 8 images")
    return page


@pytest.mark.browser
def test_a_visitor_marks_with_the_mouse_and_the_kept_pixels_survive(page):
    stale, pictures = page.locator("#repair-stale .stale"), page.locator("#repair-results")
    expect(stale).to_be_hidden()
    button(page, "Clear").click()
    drag(page, (1.5, 2.5), (6.5, 2.5))
    fill(page, "repair-num-levels", 6)
    fill(page, "repair-steps-per-level", 2)
    expect(page.locator("#repair-cost")).to_contain_text("11 network evaluations of 8 images")
    button(page, "Paint").click()
    wait_for_status(page, "Done: 11 evaluations", "repair-status")
    for element in ("repair-given", "repair-results"):
        shown = page.locator(f"#{element} img")
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    expect(page.locator("#repair-download-mask")).to_be_enabled()
    image, mask = downloaded(page, "repair-download-image"), downloaded(page, "repair-download-mask") > 0
    results = cells(downloaded(page, "repair-download"), 8)
    assert np.array_equal(image, fitted_picture(examples()[FIRST], SHAPE)[..., 0])
    assert mask[2, 1:7].all()
    assert not mask[5:].any()
    assert np.array_equal(results[:, ~mask], np.tile(image[~mask], (8, 1)))
    expect(stale).to_be_hidden()
    assert pictures.evaluate("results => getComputedStyle(results).opacity") == "1"
    button(page, "New seed").locator("visible=true").click()
    expect(stale).to_have_text("These were made with other settings. Press Paint for new ones.")
    expect(stale).to_be_visible()
    assert float(pictures.evaluate("results => getComputedStyle(results).opacity")) < 0.5
    painted = results[:, mask].astype(int)
    assert min(np.abs(painted[i] - painted[j]).mean() for i in range(8) for j in range(i)) > 5


@pytest.mark.browser
def test_a_sketch_is_drawn_and_edited_and_each_task_keeps_its_picture(page):
    page.get_by_label("Edit from a sketch").check()
    expect(page.locator("#repair-start-sigma")).to_be_visible()
    expect(page.locator("#repair-cost")).to_contain_text("25 network evaluations of 8 images")
    drag(page, (1.5, 1.5), (6.5, 6.5))
    fill(page, "repair-start-sigma", 0.05)
    fill(page, "repair-num-levels", 5)
    expect(page.locator("#repair-cost")).to_contain_text("5 network evaluations")
    button(page, "Paint").click()
    wait_for_status(page, "Done: 5 evaluations", "repair-status")
    expect(page.locator("#repair-download")).to_be_enabled()
    expect(page.locator("#repair-download-mask")).to_be_disabled()
    sketch = downloaded(page, "repair-download-image").astype(int)
    results = cells(downloaded(page, "repair-download"), 8).astype(int)
    assert [sketch[i, i] for i in range(2, 6)] == [255] * 4
    assert sketch[0, 7] == sketch[7, 0] == 0
    assert np.abs(results - sketch).mean() < 0.1 * 255
    assert np.abs(results - sketch).max() > 0
    page.get_by_label("Repair what is marked").check()
    expect(page.locator("#repair-start-sigma")).to_be_hidden()
    button(page, "Paint").click()
    wait_for_status(page, "Done: 17 evaluations", "repair-status")
    expect(page.locator("#repair-download-mask")).to_be_enabled()
    image = downloaded(page, "repair-download-image")
    assert np.array_equal(image, fitted_picture(examples()[FIRST], SHAPE)[..., 0])


@pytest.mark.browser
def test_nothing_drawn_is_refused_and_forgotten_with_the_task(page):
    page.get_by_label("Edit from a sketch").check()
    expect(page.locator("#repair-start-sigma")).to_be_visible()
    button(page, "Paint").click()
    wait_for_status(page, "Nothing is drawn", "repair-status")
    page.get_by_label("Repair what is marked").check()
    wait_for_status(page, "Ready", "repair-status")


@pytest.mark.browser
def test_another_model_has_its_pixels_its_tasks_and_its_address(page, address):
    """Of a colour model without classes, and back; one that draws in few evaluations is not offered."""
    page.get_by_text("The same results in Python").click()
    page.locator("#repair-model input").click()
    offered = page.get_by_role("option").all_inner_texts()
    assert [name.split()[-1] for name in offered] == ["small", "colour"]
    page.get_by_role("option", name="colour").click()
    expect(page.get_by_label("Colour in")).to_be_visible()
    expect(page.locator("#repair-class-label")).to_be_hidden()
    expect(page.locator("#repair-code")).to_contain_text('from_pretrained("./colour")')
    page.get_by_label("Colour in").check()
    fill(page, "repair-num-levels", 4)
    button(page, "Paint").click()
    wait_for_status(page, "Done: 10 evaluations", "repair-status")
    assert downloaded(page, "repair-download-image").shape == (8, 8, 3)
    page.wait_for_url("**repair.model=colour**")
    page.goto(page.url)
    expect(page.get_by_label("Colour in")).to_be_checked()
    page.get_by_text("The same results in Python").click()
    expect(page.locator("#repair-code")).to_contain_text('from_pretrained("./colour")')
    page.locator("#repair-model input").click()
    page.get_by_role("option", name="small").click()
    expect(page.get_by_label("Colour in")).to_have_count(0)
    expect(page.locator("#repair-class-label")).to_be_visible()
    button(page, "Paint").click()
    wait_for_status(page, "Done: ", "repair-status")
    assert downloaded(page, "repair-download-image").shape == (8, 8)


@pytest.mark.browser
def test_another_model_has_a_blank_sketch_and_a_picture_of_its_own(page):
    """What was sketched for the one before does not fit."""
    page.get_by_label("Edit from a sketch").check()
    drag(page, (1.5, 1.5), (6.5, 6.5))
    page.locator("#repair-model input").click()
    page.get_by_role("option", name="colour").click()
    expect(page.get_by_label("Colour in")).to_be_visible()
    expect(page.get_by_label("Repair what is marked")).to_be_checked()
    fill(page, "repair-num-levels", 4)
    button(page, "Paint").click()
    wait_for_status(page, "Done: ", "repair-status")
    picture = downloaded(page, "repair-download-image")
    assert picture.shape == (8, 8, 3) and picture.std() > 10
    page.get_by_label("Edit from a sketch").check()
    button(page, "Paint").click()
    wait_for_status(page, "Nothing is drawn", "repair-status")


@pytest.mark.browser
def test_a_model_that_is_no_score_is_refused_by_the_endpoint(address):
    canvas = canvas_value(fitted_picture(examples()[0], SHAPE), right_half(SHAPE))
    with pytest.raises(AppError, match="fast draws in few evaluations, and this needs a score. Choose another model."):
        connected(address).predict(**({"canvas": canvas} | DEFAULTS), model="fast", api_name="/repair")


@pytest.mark.browser
def test_an_address_may_ask_for_an_edit_while_another_tab_is_open(page, address):
    page.goto(f"{address}?tab=generate&repair.task=edit")
    page.locator("#plots svg").first.wait_for()
    page.get_by_role("tab", name="Repair").click()
    expect(page.locator("#repair-canvas .pixel-canvas")).to_have_attribute("data-task", "edit")
    expect(page.locator("#repair-canvas [data-tool=paint]")).to_have_text("Draw")


@pytest.mark.browser
def test_examples_and_uploads_come_to_the_canvas(page, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 100, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    before = page.locator("#repair-canvas canvas").evaluate("canvas => canvas.toDataURL()")
    own = page.locator(".repair-examples input[type=file]")
    for levels, choose, expected in (
        (2, lambda: page.locator("#repair-digit_7").click(), fitted_picture(examples()[7], SHAPE)[..., 0]),
        (3, lambda: own.set_input_files(tmp_path / "mine.png"), pixels),
    ):
        fill(page, "repair-num-levels", levels)
        choose()
        page.wait_for_function(
            "before => document.querySelector('#repair-canvas canvas').toDataURL() !== before", arg=before
        )
        before = page.locator("#repair-canvas canvas").evaluate("canvas => canvas.toDataURL()")
        button(page, "Paint").click()
        wait_for_status(page, f"Done: {4 * (levels - 1) + 1} evaluations", "repair-status")
        expect(page.locator("#repair-download-image")).to_be_enabled()
        assert np.array_equal(downloaded(page, "repair-download-image"), expected)


@pytest.mark.browser
@pytest.mark.parametrize("factor", [1, pytest.param(10, marks=pytest.mark.check)])
def test_stop_in_a_slow_browser_and_a_refusal(page, factor):
    fill(page, "repair-num-levels", 200)
    fill(page, "repair-steps-per-level", 20)
    fill(page, "repair-num-images", 16)
    expect(page.locator("#repair-cost .error")).to_contain_text("a run may cost")
    fill(page, "repair-num-images", 10)
    expect(page.locator("#repair-cost")).to_contain_text("3,981 network evaluations of 10 images")
    with slowed_down(page, factor):
        button(page, "Paint").click()
        wait_for_status(page, r"evaluation [\d,]+ of 3,981", "repair-status")
        page.locator("#repair-stop").click()
        wait_for_status(page, r"Stopped at evaluation [\d,]+ of 3,981", "repair-status")
    expect(button(page, "Paint")).to_be_enabled()
    button(page, "Clear").click()
    button(page, "Paint").click()
    wait_for_status(page, "Nothing is marked", "repair-status")
    expect(button(page, "Paint")).to_be_enabled()


@pytest.mark.browser
def test_a_phone_is_wide_enough_and_the_keyboard_paints(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fill(page, "repair-num-levels", 2)
    expect(page.locator("#repair-cost")).to_contain_text("5 network evaluations")
    button(page, "Clear").click()
    page.locator("#repair-canvas .size").fill("1")
    page.locator("#repair-canvas canvas").focus()
    for key in ("ArrowLeft", "ArrowUp", "Space", "ArrowUp", "Space", "ArrowRight", "Space", "Delete"):
        page.keyboard.press(key)
    button(page, "Paint").focus()
    page.keyboard.press("Enter")
    wait_for_status(page, "Done: 5 evaluations", "repair-status")
    expect(page.locator("#repair-download-mask")).to_be_enabled()
    mask = downloaded(page, "repair-download-mask") > 0
    assert np.argwhere(mask).tolist() == [[2, 3], [3, 3]]


# The endpoint


@pytest.mark.browser
@pytest.mark.parametrize(
    "changed",
    [
        {"class_label": "3", "guidance_scale": 1.5},
        {"sampler": "annealed_langevin", "steps_per_level": 2},
        {"task": "edit", "start_sigma": 0.3},
        {"task": "edit", "sampler": "annealed_langevin", "steps_per_level": 2},
    ],
)
def test_the_endpoint_gives_the_images_of_the_snippet(address, model_folder, tmp_path, monkeypatch, changed):
    client = connected(address)
    image = fitted_picture(examples()[3], SHAPE)
    settings = DEFAULTS | {"num_levels": 6, "num_images": 5, "seed": 3} | changed
    told = client.predict(canvas_value(image, right_half(SHAPE)), **settings, api_name="/repair")
    assert told["status"] == "done"
    monkeypatch.chdir(tmp_path)
    Image.open(told["image"]).save("image.png")
    if settings["task"] == "inpaint":
        Image.open(told["mask"]).save("mask.png")
    (tmp_path / "small").symlink_to(model_folder)
    names = {}
    exec(told["python"], names)
    expected = np.stack([np.asarray(picture)[..., None] / 255 for picture in names["images"]])
    np.testing.assert_array_equal(np.asarray(Image.open(told["results"])), np.asarray(image_grid(expected, 4)))


@pytest.mark.browser
def test_a_caller_without_a_page_gets_a_canvas(address):
    client = connected(address)
    assert client.predict(4, api_name="/example_canvas") == canvas_value(
        fitted_picture(examples()[4], SHAPE), right_half(SHAPE)
    )
    with pytest.raises(AppError, match="Index must lie between 0 and 9; got 10"):
        client.predict(10, api_name="/example_canvas")
    assert client.predict(api_name="/stop_repair") == "Nothing of this session is running."


@pytest.mark.browser
def test_the_endpoints_refuse_in_words(address, tmp_path):
    client = connected(address)
    canvas = canvas_value(fitted_picture(examples()[0], SHAPE), right_half(SHAPE))
    for wrong, reason in (
        ({"canvas": "{}"}, "8 rows of 8 pixels"),
        ({"canvas": None}, "8 rows of 8 pixels"),
        ({"seed": None}, "Seed must be a number"),
        ({"num_levels": 2.5}, "must be a whole number"),
        ({"num_images": True}, "Number of results must be a number"),
    ):
        with pytest.raises(AppError, match=reason):
            client.predict(**({"canvas": canvas} | DEFAULTS | wrong), api_name="/repair")
    (tmp_path / "bomb.png").write_bytes(png_of(40_000, 40_000))
    with pytest.raises(AppError, match="too many pixels"):
        client.predict(handle_file(tmp_path / "bomb.png"), api_name="/fit_picture")
    Image.new("L", (40, 40), 30).save(tmp_path / "grey.png")
    fitted = json.loads(client.predict(handle_file(tmp_path / "grey.png"), api_name="/fit_picture"))
    assert fitted["image"] == [[30] * 8] * 8
