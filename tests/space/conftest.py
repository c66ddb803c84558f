"""The real page in a real browser, shared by the tests of its tabs: one server, one browser, a new page a test."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.space.playground.tab import SCRIPTS, read_scripts
from tests.processes import started

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# What should take one second, and what should take ten: machines are shared, and failing early helps nobody.
SECONDS = 60
SECONDS_TO_START = 300
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A small network, untrained: its score is that of a noised Gaussian."""
    folder = tmp_path_factory.mktemp("models") / "small"
    network = ScoreUNet(
        sample_size=8, block_out_channels=(8,), attention_levels=(), num_class_embeds=10, sigma_data=0.3, sigma_max=12
    )
    NCSNPipeline(network, AnnealedLangevinScheduler(sigma_max=12)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other_model_folder(model_folder):
    """One in colour and without classes, for visitors to choose."""
    folder = model_folder.with_name("colour")
    network = ScoreUNet(sample_size=8, in_channels=3, block_out_channels=(8,), attention_levels=(), sigma_max=8)
    NCSNPipeline(network, AnnealedLangevinScheduler(sigma_max=8)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def fast_model_folder(model_folder):
    """One that draws in two evaluations."""
    folder = model_folder.with_name("fast")
    levels = [2.0, 0.7]
    network = ScoreUNet(
        8, 1, (8,), attention_levels=(), num_class_embeds=10, sigma_min=0.7, sigma_max=2.0, trained_sigmas=levels
    )
    NCSNPipeline(network, ConsistentAnnealedScheduler(sigmas=levels, eta=1.0)).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Server:
    """The running app."""

    url: str
    process: subprocess.Popen


@pytest.fixture(scope="session")
def address(server):
    """Where the page is."""
    return server.url


@pytest.fixture(scope="session")
def server(model_folder, other_model_folder, fast_model_folder, tmp_path_factory, repo_root):
    """`python app.py`, from another folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("server")
    settings = {
        "NCSN_MODEL": str(model_folder),
        "NCSN_MODELS": f"{other_model_folder}, {fast_model_folder}",
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(home / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command, environment, url = (
        [sys.executable, repo_root / "app.py"],
        os.environ | settings,
        f"http://127.0.0.1:{port}/",
    )
    with (
        (home / "log").open("w+", encoding="utf-8") as log,
        started(command, seconds=None, cwd=home, env=environment, stdout=log, stderr=log) as server,
    ):
        wait_until_answered(url, server, home / "log")
        yield Server(url, server)
    assert "Traceback" not in (home / "log").read_text(encoding="utf-8"), (home / "log").read_text(encoding="utf-8")


def wait_until_answered(url, server, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)


@pytest.fixture(scope="session")
def browser(browser_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visitor(browser):
    """One visitor for all tests, whose browser keeps the page's files as it would."""
    with browser.new_context() as context:
        yield context


@pytest.fixture
def viewport():
    """The size of the window; tests of phones name another."""
    return {"width": 1280, "height": 900}


@pytest.fixture
def scheme():
    """The colours that the visitor prefers, light or dark."""
    return "light"


LEFT, OPENED = "The page is left.", "The page is opened."
SAY_BOTH = f"""if (window === top) {{
  addEventListener("beforeunload", () => console.debug("{LEFT}"));
  console.debug("{OPENED}");
}}"""


class Window:
    """A tab of the visitor's browser that goes from test to test: the browser keeps the compiled page in it.

    `requested` and `complaints` are the addresses it asked for and the errors in its console, since it was opened.
    Not those between one address and the next: Gradio's client ends its streams when a page is left, and calls that an
    error ("AbortError", "Connection errored out") where an answer was still on its way.
    """

    def __init__(self, context):
        self.page = context.new_page()
        self.page.add_init_script(SAY_BOTH)
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.set_default_timeout(1000 * SECONDS)

    def hear(self, message):
        if message.text in (LEFT, OPENED):
            self.page_is_left = message.text == LEFT
        elif message.type == "error" and not self.page_is_left:
            self.complaints.append(message.text)

    def open(self, address, viewport, scheme, motion):
        self.requested, self.complaints, self.page_is_left = [], [], False
        self.page.set_viewport_size(viewport)
        self.page.emulate_media(color_scheme=scheme, reduced_motion=motion)
        self.page.goto(address)
        self.page.get_by_role("tab").first.wait_for()
        return self.page

    def leave(self):
        """As if it had been closed: what the test began ends, and nothing that it kept is there for the next one."""
        self.page.evaluate("sessionStorage.clear()")
        self.page.goto("about:blank")


@pytest.fixture(scope="session")
def windows(visitor):
    """The tabs that tests without a failure left behind."""
    found = []
    yield found
    for window in found:
        window.page.close()


@pytest.fixture
def motion():
    """Less of it: the Playground's particles, drawn without a GPU, would take a core meanwhile."""
    return "reduce"


@pytest.fixture
def page(request, windows, visitor, address, viewport, scheme, motion):
    """The open page; at the end, nothing was asked of other hosts and the console holds no error."""
    window = windows.pop() if windows else Window(visitor)
    failures = request.session.testsfailed
    yield window.open(address, viewport, scheme, motion)
    complaints, left = window.complaints, window.page_is_left
    hosts = {urlsplit(url).hostname for url in window.requested if not url.startswith(("data:", "blob:"))}
    if request.session.testsfailed > failures or complaints:
        window.page.close()
    else:
        window.leave()
        windows.append(window)
    assert hosts == {"127.0.0.1"}
    assert complaints == [] and not left


@pytest.fixture(scope="session")
def javascript(browser):
    """Calls a JavaScript function, with the playground's code around it, on an argument; without the page."""
    blank = browser.new_page()
    scripts = read_scripts(*SCRIPTS)
    yield lambda function, argument=None: blank.evaluate(
        f'(argument) => {{ "use strict";\n{scripts}\nreturn ({function})(argument); }}', argument
    )
    blank.close()
