"""The Generate tab in a real browser: it draws, stops, refuses clearly, and its endpoint agrees with its snippet."""

import re

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.space.grid import image_grid

pytestmark = pytest.mark.browser

RUN = {"sigma_max": 4, "sigma_min": 0.05, "num_levels": 6, "digit": "each", "num_images": 10, "seed": 3}


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_selector("#plots svg")
    return page


def fill(page, element, value):
    box = page.locator(f"#{element} input[type=number]")
    box.fill(str(value))
    box.press("Tab")


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def wait_for_status(page, pattern):
    expect(page.locator("#status")).to_contain_text(re.compile(pattern))


def test_a_visitor_draws_images_and_takes_the_code_home(page):
    before = page.locator("#samples img").get_attribute("src")
    fill(page, "levels", 7)
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
    page.get_by_label("Annealed Langevin").check()
    fill(page, "steps", 100)
    fill(page, "levels", 200)
    fill(page, "images", 1)
    expect(page.locator("#cost")).to_contain_text("20,001 network evaluations of 1 image")
    button(page, "Generate").click()
    wait_for_status(page, r"evaluation [\d,]+ of 20,001")
    button(page, "Stop").click()
    wait_for_status(page, r"Stopped at evaluation [\d,]+ of 20,001")
    expect(button(page, "Generate")).to_be_enabled()
    fill(page, "levels", 1)
    expect(page.locator("#cost")).to_contain_text("101 network evaluations")
    button(page, "Generate").click()
    wait_for_status(page, "Done: 101 evaluations")


def test_a_step_that_is_too_large_is_refused_in_the_scheduler_s_words(page):
    button(page, "Step too large").click()
    expect(page.locator("#notes .warn")).to_contain_text("Langevin dynamics diverges")
    button(page, "Generate").click()
    wait_for_status(page, r"it must lie within \(0, 2 sigma_L²\)")
    expect(page.locator(".toast-body")).to_contain_text("2 sigma_L²")
    expect(button(page, "Generate")).to_be_enabled()


def test_what_costs_too_much_is_refused_before_it_runs(page):
    page.get_by_label("Annealed Langevin").check()
    fill(page, "steps", 100)
    fill(page, "levels", 100)
    fill(page, "images", 64)
    expect(page.locator("#cost .error")).to_contain_text("at most 3 image(s)")


def test_a_phone_is_wide_enough_and_the_keyboard_does(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fill(page, "levels", 5)
    expect(page.locator("#cost")).to_contain_text("5 network evaluations")
    button(page, "Generate").focus()
    page.keyboard.press("Enter")
    wait_for_status(page, "Done: 5 evaluations")


def test_the_endpoint_gives_the_images_of_the_snippet(address, model_folder, monkeypatch):
    """What the page calls, its named endpoint and the Python it shows make the same images."""
    client = Client(address, verbose=False)
    assert {"/generate", "/preview", "/stop"} == set(client.view_api(return_format="dict")["named_endpoints"])
    for sampler in ("consistent", "langevin"):
        samples, denoised, status, code = client.predict(**RUN, sampler=sampler, api_name="/generate")
        monkeypatch.chdir(model_folder.parent)
        names = {}
        exec(code, names)
        expected = np.stack([np.asarray(image)[..., None] / 255 for image in names["images"]])
        np.testing.assert_array_equal(np.asarray(Image.open(samples)), np.asarray(image_grid(expected, columns=5)))
        np.testing.assert_array_equal(np.asarray(Image.open(denoised)), np.asarray(Image.open(samples)))
        assert "Done" in status


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
