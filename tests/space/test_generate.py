"""The Generate tab in a real browser: it draws, stops, refuses clearly, and its endpoint agrees with its snippet."""

import contextlib
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import TimeoutError as TooLate
from playwright.sync_api import expect

from ncsn_pipeline.space.widgets.grid import image_grid

from .visitor import button, connected, fill, visit, wait_for_status

pytestmark = pytest.mark.browser

RUN = {"sigma_max": 4, "sigma_min": 0.05, "num_levels": 6, "class_label": "each", "num_images": 10, "seed": 3}


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_selector("#plots svg")
    return page


def choose(page, element, option):
    page.locator(f"#{element} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def picture(page, view="noisy"):
    """What the player shows."""
    return page.locator(f"#trajectory .{view}").evaluate("canvas => canvas.toDataURL()")


def query(page):
    """The address's settings."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def wait_for_query(page, name, value):
    page.wait_for_function(
        "([name, value]) => new URL(location.href).searchParams.get(name) === value", arg=[name, value]
    )


def test_a_visitor_draws_images_and_takes_the_code_home(page):
    before = picture(page)
    fill(page, "num-levels", 7)
    expect(page.locator("#cost")).to_contain_text("7 network evaluations of 20 images")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 7 evaluations")
    expect(page.locator("#trajectory .player")).to_have_attribute("data-evaluation", "7")
    assert picture(page) != before
    expect(button(page, "Generate")).to_be_enabled()
    expect(button(page, "Stop")).to_be_disabled()


def test_the_plot_follows_the_controls_and_the_notes_warn(page):
    expect(page.locator("#notes .good")).to_be_visible()
    drawn = page.locator("#plots").inner_html()
    fill(page, "sigma-max", 0.5)
    expect(page.locator("#notes .warn")).to_contain_text("below the data's extent 12")
    assert page.locator("#plots").inner_html() != drawn


def test_stop_frees_the_worker_at_once(page):
    """20,001 evaluations would take minutes; right after Stop, a short run gets the only worker."""
    choose(page, "sampler", "Annealed Langevin")
    fill(page, "steps-per-level", 100)
    fill(page, "num-levels", 200)
    fill(page, "num-images", 1)
    expect(page.locator("#cost")).to_contain_text("20,001 network evaluations of 1 image")
    button(page, "Generate").click()
    wait_for_status(page, r"evaluation [\d,]+ of 20,001")
    button(page, "Stop").click()
    wait_for_status(page, r"Stopped at evaluation [\d,]+ of 20,001")
    expect(button(page, "Generate")).to_be_enabled()
    page.locator("#trajectory .pin").click()
    expect(page.locator("#trajectory .pins p")).to_have_text(re.compile(r"stopped at \d+ of 20001 evaluations in"))
    fill(page, "num-levels", 1)
    expect(page.locator("#cost")).to_contain_text("101 network evaluations")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 101 evaluations")


def test_a_step_beyond_the_limit_is_refused_in_the_scheduler_s_words(page):
    choose(page, "sampler", "Annealed Langevin")
    page.get_by_label("By hand").check()
    fill(page, "step-fraction", 1.2)
    expect(page.locator("#notes .warn")).to_contain_text("Langevin dynamics diverges")
    button(page, "Generate").click()
    wait_for_status(page, r"it must lie within \(0, 2 sigma_L²\)")
    expect(page.locator(".toast-body")).to_contain_text("2 sigma_L²")
    expect(button(page, "Generate")).to_be_enabled()


def test_a_run_can_be_looked_at_step_by_step_without_the_server_and_taken_home(page):
    fill(page, "num-images", 10)
    fill(page, "num-levels", 7)
    expect(page.locator("#cost")).to_contain_text("7 network evaluations of 10 images")
    expect(page.get_by_label("Step of the trajectory")).to_be_disabled()
    expect(page.locator("#download-animation")).to_be_disabled()
    button(page, "Generate").click()
    player = page.locator("#trajectory .player")
    expect(player).to_have_attribute("data-evaluation", "7")
    assert page.locator("#statistics svg").count() == 2
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    slider = page.get_by_label("Step of the trajectory")
    pictures = []
    for step in (6, 3, 0):
        slider.fill(str(step))
        expect(page.locator("#trajectory output")).to_have_text(re.compile(f"Evaluation {step + 1} of 7, σ = "))
        pictures.append(picture(page))
    assert len(set(pictures)) == 3
    page.get_by_label("Play the trajectory").click()
    expect(player).to_have_attribute("data-evaluation", "7")
    assert asked == []
    for name, start in {"grid": b"\x89PNG", "animation": b"GIF89a", "program": b"import torch"}.items():
        with page.expect_download() as download:
            page.locator(f"#download-{name}").click()
        assert download.value.path().read_bytes().startswith(start)
        assert download.value.suggested_filename.startswith("ncsn-seed-0.")


@pytest.mark.parametrize("most", [50, pytest.param(1001, marks=pytest.mark.check)])
def test_every_preset_draws_at_once(page, most):
    """To the end where it takes at most so many evaluations; longer runs are stopped when their pictures come."""
    evaluations = {"50 evaluations": 50, "Fast: 20": 20, "As in the NCSN paper": 1001, "One noise level": 101}
    evaluations |= {"Step too large": 251, "σ max too small": 50}
    assert [each.inner_text() for each in page.locator(".presets button").all()] == list(evaluations)
    for name, count in evaluations.items():
        button(page, name).click()
        expect(page.locator("#preset-note b")).to_have_text(f"{name}.")
        if count <= most:
            wait_for_status(page, f"Done: {count:,} evaluations")
        else:
            wait_for_status(page, rf"evaluation [\d,]+ of {count:,}|Done: {count:,}")
            with contextlib.suppress(TooLate):  # it may be done by then
                button(page, "Stop").click(timeout=5000)
            wait_for_status(page, rf"Stopped at evaluation [\d,]+ of {count:,}|Done: {count:,}")
        expect(button(page, "Generate")).to_be_enabled()


def test_pictures_of_other_settings_are_greyed_and_say_so(page):
    fill(page, "num-levels", 3)
    button(page, "Generate").click()
    wait_for_status(page, "Done: 3 evaluations")
    stale, views = page.locator("#trajectory .stale"), page.locator("#trajectory .views")
    expect(stale).to_be_hidden()
    fill(page, "num-levels", 4)
    expect(stale).to_be_visible()
    expect(stale).to_have_text("These were made with other settings. Press Generate for new ones.")
    assert float(views.evaluate("views => getComputedStyle(views).opacity")) < 0.5
    fill(page, "num-levels", 3)
    expect(stale).to_be_hidden()
    assert views.evaluate("views => getComputedStyle(views).opacity") == "1"
    fill(page, "sigma-max", 0.5)
    fill(page, "sigma-min", 1)
    expect(stale).to_be_visible()
    button(page, "Generate").click()
    wait_for_status(page, "must be below")
    expect(stale).to_be_visible()
    fill(page, "sigma-min", 0.01)
    fill(page, "sigma-max", 12)
    expect(stale).to_be_hidden()


def test_four_runs_are_pinned_side_by_side(page):
    fill(page, "num-images", 10)
    for levels in (1, *range(3, 7)):
        fill(page, "num-levels", levels)
        button(page, "Generate").click()
        expect(page.locator("#trajectory .player")).to_have_attribute("data-evaluation", str(levels))
        if levels == 1:
            for key in ("ArrowLeft", "ArrowRight"):  # to the evaluation and back: an error would be a complaint
                page.get_by_label("Step of the trajectory").press(key)
        page.locator("#trajectory .pin").click()
    expect(page.locator("#trajectory output")).to_have_text("The samples, after evaluation 6 of 6")
    pins = page.locator("#trajectory .pins li")
    expect(pins).to_have_count(4)
    for levels, pinned in zip(range(3, 7), pins.all(), strict=True):
        words = rf"Consistent annealed, {levels} levels, geometric, σ 12 → 0\.01 · {levels} evaluations in \d+\.\d s"
        expect(pinned.locator("p")).to_have_text(re.compile(words))
        assert len(pinned.locator("polyline").get_attribute("points").split()) == levels + 1
    assert len({pin.locator("img").get_attribute("src") for pin in pins.all()}) == 4
    pins.first.get_by_role("button").press("Enter")
    expect(pins).to_have_count(3)
    expect(pins.first.get_by_role("button")).to_be_focused()
    page.get_by_label("Step of the trajectory").fill("0")
    page.locator("#trajectory .pin").click()
    assert pins.last.locator("img").get_attribute("src") == pins.nth(2).locator("img").get_attribute("src")


def test_a_view_can_be_shared(page, address):
    assert query(page) in ({}, {"tab": "generate"})
    fill(page, "num-levels", 8)
    choose(page, "sampler", "Heun, of diffusers")
    page.get_by_label("Karras").check()
    for name, value in {"num_levels": "8", "sampler": "heun", "ladder": "karras"}.items():
        wait_for_query(page, f"generate.{name}", value)
    shared = page.url
    fill(page, "num-levels", 50)
    wait_for_query(page, "generate.num_levels", None)
    visit(page, shared)
    expect(page.locator("#cost")).to_contain_text("15 network evaluations of 20 images, and one for the start")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 15 evaluations")
    visit(page, f"{address}?tab=generate&generate.num_levels=9000&generate.seed=4&generate.nothing=1")
    wait_for_status(page, "Number of levels must lie between 1 and 200; got 9000")
    expect(page.locator("#cost")).to_contain_text("50 network evaluations of 20 images")
    visit(page, f"{address}?tab=generate&generate.sampler=<img src=x>")
    wait_for_status(page, "Sampler must be one of")
    assert page.locator("#status img").count() == 0
    visit(page, f"{address}?tab=generate&generate.seed=1e999")
    wait_for_status(page, "Seed must lie between")
    fill(page, "num-levels", 8)
    wait_for_query(page, "generate.num_levels", "8")


def test_another_model_brings_its_own_controls(page):
    page.get_by_role("button", name="The same images in Python").click()
    choose(page, "model", "colour")
    expect(page.locator("#class-label")).to_be_hidden()
    expect(page.locator("#sigma-max input[type=number]")).to_have_value("8")
    fill(page, "num-levels", 5)
    expect(page.locator("#code")).to_contain_text('from_pretrained("./colour")')
    button(page, "Generate").click()
    wait_for_status(page, "Done: 5 evaluations")
    wait_for_query(page, "generate.model", "colour")
    visit(page, page.url)
    expect(page.locator("#cost")).to_contain_text("5 network evaluations of 16 images")
    expect(page.locator("#class-label")).to_be_hidden()
    expect(page.locator("#trajectory .stale")).to_be_visible()  # they are another model's


def test_a_model_of_few_evaluations_draws_with_every_change(page):
    """It has no schedule to set; back at the first model, nothing is drawn before it is asked for."""
    before = picture(page, "denoised")
    choose(page, "model", "fast")
    wait_for_status(page, "Done: 2 evaluations")
    for element in ("num-levels", "sampler", "guidance-scale", "plots", "statistics", "preset-note"):
        expect(page.locator(f"#{element}")).to_be_hidden()
    expect(page.locator("#notes")).to_contain_text("Drawn in 2 evaluations, at σ = 2, 0.7, and anew with every change.")
    drawn = [before, picture(page, "denoised")]
    for seed in (5, 6):
        fill(page, "seed", seed)
        page.wait_for_function(
            "before => !before.includes(document.querySelector('#trajectory .denoised').toDataURL())", arg=drawn
        )
        drawn.append(picture(page, "denoised"))
    expect(button(page, "PNG")).to_be_enabled()
    expect(page.locator("#trajectory .stale")).to_be_hidden()
    wait_for_query(page, "generate.model", "fast")
    visit(page, page.url)
    wait_for_status(page, "Done: 2 evaluations")
    expect(page.locator("#notes")).to_contain_text("Drawn in 2 evaluations")
    expect(page.locator("#num-levels")).to_be_hidden()
    expect(page.locator("#trajectory .stale")).to_be_hidden()
    choose(page, "model", "small")
    expect(page.locator("#num-levels")).to_be_visible()
    expect(page.locator("#plots svg").first).to_be_visible()
    fill(page, "num-images", 7)
    expect(page.locator("#cost")).to_contain_text("50 network evaluations of 7 images")
    expect(page.locator("#status")).to_contain_text("Done: 2 evaluations")
    expect(page.locator("#trajectory .stale")).to_be_visible()


def test_what_costs_too_much_is_refused_before_it_runs(page):
    choose(page, "sampler", "Annealed Langevin")
    fill(page, "steps-per-level", 100)
    fill(page, "num-levels", 100)
    fill(page, "num-images", 64)
    expect(page.locator("#cost .error")).to_contain_text("at most 3 image(s)")


def test_a_phone_is_wide_enough_and_the_keyboard_does(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fill(page, "num-levels", 5)
    expect(page.locator("#cost")).to_contain_text("5 network evaluations")
    button(page, "Generate").focus()
    page.keyboard.press("Enter")
    wait_for_status(page, "Done: 5 evaluations")


def test_the_endpoint_gives_the_images_of_the_snippet(address, model_folder, monkeypatch):
    """What the page calls, its named endpoint and the Python it shows make the same images."""
    client = connected(address)
    assert {"/generate", "/preview", "/stop", "/choose_model"} <= set(
        client.view_api(return_format="dict")["named_endpoints"]
    )
    for sampler in ("consistent", "annealed_langevin"):
        told = client.predict(**RUN, sampler=sampler, api_name="/generate")
        monkeypatch.chdir(model_folder.parent)
        names = {}
        exec(told["python"], names)
        expected = np.stack([np.asarray(image)[..., None] / 255 for image in names["images"]])
        np.testing.assert_array_equal(
            np.asarray(Image.open(told["images"])), np.asarray(image_grid(expected, columns=5))
        )
        count = told["evaluations"]
        assert told["status"] == "done" and told["evaluation"] == count and told["seconds"] > 0
        assert len(told["sigmas"]) == len(told["noise_left"]) == len(told["deviations"]) == count
        assert told["sigmas"][0] == pytest.approx(4) and told["sigmas"][-1] == pytest.approx(0.05)
        assert Path(told["program"]).read_text(encoding="utf-8") == told["python"]
        assert Image.open(told["animation"]).n_frames == min(count, 60) + 1


def test_a_preview_answers_in_numbers(address):
    told = connected(address).predict(**RUN, noise_back="ode", api_name="/preview")
    sigmas = np.geomspace(4, 0.05, 6)
    np.testing.assert_allclose(told["sigmas"], sigmas, rtol=1e-5)
    following = [*sigmas[1:], 0]
    np.testing.assert_allclose(np.array(told["table"])[:, 1], sigmas * (sigmas - following), rtol=1e-4)
    assert (told["evaluations"], told["images_per_evaluation"]) == (6, 10)
    assert any("below the data's extent" in words for words in told["warnings"])


@pytest.mark.parametrize(
    "wrong, reason",
    [
        ({"seed": None}, "Seed must be a number"),
        ({"num_levels": True}, "Number of levels must be a number"),
        ({"num_levels": 2.5}, "must be a whole number"),
        ({"sigma_min": 1, "sigma_max": 0.5}, "must be below"),
    ],
)
def test_an_endpoint_refuses_what_a_slider_cannot_say(address, wrong, reason):
    client = connected(address)
    with pytest.raises(AppError, match=reason):
        client.predict(**(RUN | wrong), api_name="/generate")
