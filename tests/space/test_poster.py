"""What a visitor on a slow line sees first."""

import gzip
import re

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

KILOBYTES_PER_SECOND = 50  # 400 kbit/s


def test_the_poster_stands_at_the_beginning_and_the_page_is_compressed(address):
    with httpx.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    html = gzip.decompress(raw)
    assert int(answer.headers["content-length"]) == len(raw) < 0.4 * len(html)
    assert httpx.get(address, headers={"Accept-Encoding": "identity"}).content == html
    assert html.index(b'id="poster"') < 4_000
    # All of the poster has come within a second; nothing before it is fetched from elsewhere.
    end = html.index(b"The page is loading")
    assert len(gzip.compress(html[:end], 6)) < KILOBYTES_PER_SECOND * 1000
    assert not re.search(rb"<link[^>]*stylesheet|<script[^>]*src", html[:end])


def test_a_slow_line_shows_the_poster_within_three_seconds_and_then_the_page(browser, address):
    with browser.new_context() as visitor:
        page = visitor.new_page()
        throttled = page.context.new_cdp_session(page)
        throttled.send("Network.enable")
        line = {"offline": False, "latency": 100, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
        throttled.send("Network.emulateNetworkConditions", line)
        page.goto(address, wait_until="commit")
        picture = page.locator("#poster img")
        picture.wait_for()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 6 * 28
        expect(page.locator(".introduction h1")).to_have_count(0)  # the page itself is still on its way
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        throttled.send("Network.emulateNetworkConditions", line | {"downloadThroughput": -1, "latency": 0})
        page.locator(".introduction h1").wait_for()
        expect(page.locator("#poster")).to_be_hidden()
    print(f"first paint after {painted / 1000:.1f} s")
