"""What a visitor on a slow line sees first."""

import gzip
import re

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

KILOBYTES_PER_SECOND = 50  # 400 kbit/s


TEXT_WIDTHS = """(tabs) => tabs.map((tab) => {
  const range = document.createRange();
  range.selectNodeContents(tab);
  return range.getBoundingClientRect().width;
})"""


def test_the_poster_stands_at_the_beginning_and_the_page_is_compressed(address):
    with httpx.stream("GET", address, timeout=60, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    html = gzip.decompress(raw)
    assert int(answer.headers["content-length"]) == len(raw) < 0.4 * len(html)
    assert httpx.get(address, timeout=60, headers={"Accept-Encoding": "identity"}).content == html
    # Before it is painted come the HTML up to its end and the style sheets that stand before it.
    end = html.index(b"The page is loading")
    sheets = re.findall(rb'<link rel="stylesheet"[^>]*href="([^"]*)"', html[:end])
    sizes = [len(gzip.compress(httpx.get(f"{address}{sheet.decode()}", timeout=60).content, 6)) for sheet in sheets]
    assert sheets and len(gzip.compress(html[:end], 6)) + sum(sizes) < 2 * 1000 * KILOBYTES_PER_SECOND
    assert html.index(b"window.gradio_config = {") > end


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
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 6 * 32
        expect(page.locator(".introduction h1")).to_have_count(0)  # the page itself is still on its way
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length", timeout=120_000)
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        throttled.send("Network.emulateNetworkConditions", line | {"downloadThroughput": -1, "latency": 0})
        page.locator(".introduction h1").wait_for()
        expect(page.locator("#poster")).to_be_hidden()
        tabs = [tab.bounding_box() for tab in page.get_by_role("tab").all()]
        texts = page.get_by_role("tab").evaluate_all(TEXT_WIDTHS)
        assert all(box["width"] > width + 16 for box, width in zip(tabs, texts, strict=True))  # styled as ever
    print(f"first paint after {painted / 1000:.1f} s")
