"""The real page in a real browser: it draws, stops, refuses clearly, and asks nobody else for anything."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from ncsn_pipeline import AnnealedLangevinScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.space.grid import image_grid

pytestmark = pytest.mark.browser

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# What should take one second, and what should take ten: machines are shared, and failing early helps nobody.
SECONDS = 60
SECONDS_TO_START = 300
expect.set_options(timeout=1000 * SECONDS)
RUN = {"sigma_max": 4, "sigma_min": 0.05, "num_levels": 6, "digit": "each", "num_images": 10, "seed": 3}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A small network, untrained: its score is that of a noised Gaussian."""
    folder = tmp_path_factory.mktemp("models") / "small"
    network = ScoreUNet(
        sample_size=8, block_out_channels=(8,), attention_levels=(), num_class_embeds=10, sigma_data=0.3, sigma_max=12
    )
    NCSNPipeline(network, AnnealedLangevinScheduler(sigma_max=12)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(model_folder, tmp_path_factory, repo_root):
    """`python app.py`, from another folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("server")
    settings = {
        "NCSN_MODEL": str(model_folder),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(home / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    log = (home / "log").open("w+")
    server = subprocess.Popen(
        [sys.executable, str(repo_root / "app.py")],
        cwd=home,
        env=os.environ | settings,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until_answered(url, server, home / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()
    assert "Traceback" not in (home / "log").read_text(), (home / "log").read_text()


def wait_until_answered(url, server, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser(browser_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The open page; at the end, nothing was asked of other hosts and the console holds no error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * SECONDS)
    requested, complaints = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#plots svg")
    yield page
    page.close()
    hosts = {urlsplit(url).hostname for url in requested if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}
    assert complaints == []


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
