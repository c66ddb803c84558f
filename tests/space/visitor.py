"""What a visitor does with the page, and waits for."""

import re
from contextlib import contextmanager

from gradio_client import Client
from playwright.sync_api import expect


def button(page, name):
    """The button with exactly these words."""
    return page.get_by_role("button", name=name, exact=True)


def fill(page, element, value):
    """Types a number into the box beside a slider, and leaves it."""
    box = page.locator(f"#{element} input[type=number]")
    box.fill(str(value))
    box.press("Tab")


def visit(page, address):
    """Opens an address as another visitor would: nothing of what this one did is kept but the page's files."""
    page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    page.goto(address)


def wait_for_status(page, pattern, element="status"):
    """Waits until the line of status says so."""
    expect(page.locator(f"#{element}")).to_contain_text(re.compile(pattern))


def connected(address):
    """A visitor without a browser, who waits longer than the five seconds that a busy server may need."""
    return Client(address, verbose=False, httpx_kwargs={"timeout": 60})


@contextmanager
def slowed_down(page, factor):
    """As if the browser ran on a processor that is so many times slower; a cheap phone is about 6.

    It stays slow until the session that asked for it asks for something else: another one's wish does not end it.
    """
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": factor})
    yield
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    session.detach()
