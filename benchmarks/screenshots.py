"""Pictures of every tab of the page, for the README and to look at after a change.

    python -m benchmarks.screenshots [--tabs generate ...] [--output .github/assets]

`python app.py` with the shipped models in a real browser, 1280 and 390 pixels wide, light and dark: each tab after it
has done its main job, the whole height of it.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.served import BROWSER, ROOT, start
from tests.conftest import find_browser

SIZES = {1280: {"width": 1280, "height": 900}, 390: {"width": 390, "height": 844}}
DONE = "id => document.querySelector(id)?.innerText.includes('Done')"


def playground(page: Page) -> None:
    """A whole run of both chains, until nothing moves any more."""
    page.wait_for_function("document.querySelector('.playground')?.dataset.finished === 'true'")
    page.wait_for_function("document.querySelector('.playground').dataset.playing === 'false'")


def generate(page: Page) -> None:
    """The default run."""
    page.wait_for_selector("#plots svg")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_function(DONE, arg="#status")
    page.wait_for_selector("#trajectory .player[data-evaluation]")


def repair(page: Page) -> None:
    """The default run."""
    page.locator("#repair").click()
    page.wait_for_function(DONE, arg="#repair-status")


def sharpen(page: Page) -> None:
    """What was measured, the results, their mean and where they differ."""
    page.get_by_label("Sharpen (4×)").check()
    repair(page)


def learn(page: Page) -> None:
    """The default training."""
    page.wait_for_selector("#panels svg")
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(DONE, arg="#learn-status")


def lecture(page: Page) -> None:
    """The first claim with its shipped results."""
    page.locator("#lecture-picture svg").first.wait_for()


def about(page: Page) -> None:
    """The text, its equations drawn, its programs measured."""
    page.locator("#about-equations .katex").first.wait_for()
    page.locator("#about-client .cm-content").wait_for()
    for key in ("End", "Home"):  # the editor measures what has been in sight, and guesses the height of the rest
        page.keyboard.press(key)
        page.wait_for_timeout(500)


TABS: dict[str, Callable[[Page], None]] = {
    "playground": playground,
    "generate": generate,
    "repair": repair,
    "repair-sharpen": sharpen,
    "learn": learn,
    "lecture": lecture,
    "about": about,
}


def take(browser: Browser, address: str, width: int, scheme: str, tabs: list[str], folder: Path) -> None:
    """Tabs in one size and one scheme of colours."""
    scale = 1 if width > 800 else 1.5
    for key in tabs:
        page = browser.new_page(viewport=SIZES[width], color_scheme=scheme, device_scale_factor=scale)
        page.set_default_timeout(180_000)
        page.goto(f"{address}?tab={key.partition('-')[0]}")
        TABS[key](page)
        page.wait_for_timeout(500)  # for what fades in
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        picture.convert("RGB").save(folder / f"{key}-{width}-{scheme}.webp", quality=80, method=6)
        page.close()


def main() -> None:
    """Takes the pictures and saves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / ".github" / "assets")
    parser.add_argument("--tabs", nargs="+", choices=TABS, default=list(TABS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        process, address, _ = start("", 2, Path(folder))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER)
                for width in SIZES:
                    for scheme in ("light", "dark"):
                        take(browser, address, width, scheme, arguments.tabs, arguments.output)
                browser.close()
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
