"""The Generate tab in a real browser: it draws, stops, refuses clearly, and its endpoint agrees with its snippet."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.space.widgets.grid import image_grid

from .visitor import button, fill, wait_for_status

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


def query(page):
    """The address's settings."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def wait_for_query(page, name, value):
    page.wait_for_function(
        "([name, value]) => new URL(location.href).searchParams.get(name) === value", arg=[name, value]
    )


def test_a_visitor_draws_images_and_takes_the_code_home(page):
    before = page.locator("#samples img").get_attribute("src")
    fill(page, "num-levels", 7)
    expect(page.locator("#cost")).to_contain_text("7 network evaluations of 20 images")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 7 evaluations")
    for element in ("samples", "denoised"):
        image = page.locator(f"#{element} img")
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    assert page.locator("#samples img").get_attribute("src") != before
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
    expect(page.locator("#trajectory")).to_contain_text("After a run")
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
        pictures.append(page.locator("#trajectory .noisy").evaluate("canvas => canvas.toDataURL()"))
    assert len(set(pictures)) == 3
    page.get_by_label("Play the trajectory").click()
    expect(player).to_have_attribute("data-evaluation", "7")
    assert asked == []
    for name, start in {"grid": b"\x89PNG", "animation": b"GIF89a", "program": b"import torch"}.items():
        with page.expect_download() as download:
            page.locator(f"#download-{name}").click()
        assert download.value.path().read_bytes().startswith(start)
        assert download.value.suggested_filename.startswith("ncsn-seed-0.")


def test_every_preset_draws(page):
    names = [each.inner_text() for each in page.locator(".presets button").all()]
    assert len(names) == 6
    for name in names:
        button(page, name).click()
        expect(page.locator("#preset-note b")).to_have_text(f"{name}.")
    button(page, "Fast: 20").click()
    expect(page.locator("#cost")).to_contain_text("20 network evaluations")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 20 evaluations")


def test_a_view_can_be_shared(page, address, browser):
    assert query(page) in ({}, {"tab": "generate"})
    fill(page, "num-levels", 8)
    choose(page, "sampler", "Heun, of diffusers")
    page.get_by_label("Karras").check()
    for name, value in {"num_levels": "8", "sampler": "heun", "ladder": "karras"}.items():
        wait_for_query(page, f"generate.{name}", value)
    shared = page.url
    fill(page, "num-levels", 50)
    wait_for_query(page, "generate.num_levels", None)
    with browser.new_context() as visitor:
        other = visitor.new_page()
        other.goto(shared)
        expect(other.locator("#cost")).to_contain_text("15 network evaluations of 20 images")
        button(other, "Generate").click()
        wait_for_status(other, "Done: 15 evaluations")
    with browser.new_context() as visitor:
        other = visitor.new_page()
        other.goto(f"{address}?tab=generate&generate.num_levels=9000&generate.seed=4&generate.nothing=1")
        wait_for_status(other, "Number of levels must lie between 1 and 200; got 9000")
        expect(other.locator("#cost")).to_contain_text("50 network evaluations of 20 images")
        other.goto(f"{address}?tab=generate&generate.sampler=<img src=x>")
        wait_for_status(other, "Sampler must be one of")
        assert other.locator("#status img").count() == 0
        other.goto(f"{address}?tab=generate&generate.seed=1e999")
        wait_for_status(other, "Seed must lie between")
        fill(other, "num-levels", 8)
        wait_for_query(other, "generate.num_levels", "8")


def test_another_model_brings_its_own_controls(page, browser):
    page.get_by_role("button", name="The same images in Python").click()
    choose(page, "model", "colour")
    expect(page.locator("#class-label")).to_be_hidden()
    expect(page.locator("#sigma-max input[type=number]")).to_have_value("8")
    fill(page, "num-levels", 5)
    expect(page.locator("#code")).to_contain_text('from_pretrained("./colour")')
    button(page, "Generate").click()
    wait_for_status(page, "Done: 5 evaluations")
    wait_for_query(page, "generate.model", "colour")
    with browser.new_context() as visitor:
        other = visitor.new_page()
        other.goto(page.url)
        expect(other.locator("#cost")).to_contain_text("5 network evaluations of 16 images")
        expect(other.locator("#class-label")).to_be_hidden()


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
    client = Client(address, verbose=False)
    assert {"/generate", "/preview", "/stop", "/choose_model"} <= set(
        client.view_api(return_format="dict")["named_endpoints"]
    )
    for sampler in ("consistent", "langevin"):
        samples, denoised, status, code, trajectory, statistics, grid, animation, program = client.predict(
            **RUN, sampler=sampler, api_name="/generate"
        )
        monkeypatch.chdir(model_folder.parent)
        names = {}
        exec(code, names)
        expected = np.stack([np.asarray(image)[..., None] / 255 for image in names["images"]])
        np.testing.assert_array_equal(np.asarray(Image.open(samples)), np.asarray(image_grid(expected, columns=5)))
        np.testing.assert_array_equal(np.asarray(Image.open(denoised)), np.asarray(Image.open(samples)))
        assert "Done" in status and statistics.count("<svg") == 2
        assert Path(program).read_text(encoding="utf-8").strip() == code
        assert Path(grid).read_bytes() == Path(samples).read_bytes()
        assert Image.open(animation).n_frames == len(trajectory["sigmas"]) == min(trajectory["of"], 60)


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
    client = Client(address, verbose=False)
    with pytest.raises(AppError, match=reason):
        client.predict(**(RUN | wrong), api_name="/generate")
