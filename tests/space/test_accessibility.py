"""Every tab for everybody: axe finds nothing serious, phones are wide enough, headings in order, the keyboard does."""

from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SERIOUS = ("serious", "critical")
HEADINGS = """() => Array.from(document.querySelectorAll("h1, h2, h3, h4, h5, h6"))
  .filter((heading) => heading.checkVisibility())
  .map((heading) => [Number(heading.tagName[1]), heading.textContent.trim()])"""
SETTLED = """() => Promise.allSettled(document.getAnimations()
  .filter((animation) => animation.effect.getComputedTiming().endTime < Infinity)
  .map((animation) => animation.finished))"""
# Controls that a screen reader has no words for.
UNNAMED = """() => Array.from(document.querySelectorAll("[role=tabpanel] :is(button, input, select, textarea)"))
  .filter((element) => element.checkVisibility() && element.type !== "hidden")
  .filter((element) => !(element.textContent.trim() || element.getAttribute("aria-label") || element.title
    || element.getAttribute("aria-labelledby") || element.querySelector("img[alt]:not([alt=''])")
    || element.labels?.length || element.placeholder))
  .map((element) => element.outerHTML.slice(0, 200))"""


# The tabs, and what is there when one is ready.
TABS = {
    "Playground": "#playground canvas",
    "Generate": "#plots svg",
    "Repair": "#repair-status",
    "Learn the score": "#panels svg",
    "Lecture": "#lecture-picture svg",
    "About / API": "#about-equations .katex",
}


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()
    page.locator(TABS[name]).first.wait_for()


def complaints(page, rules=None):
    """What axe finds serious, with the elements that it means, once no colour is on its way to another."""
    page.evaluate(SETTLED)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {node['html'][:160]} | {node['failureSummary'][:200]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("light", ["Generate", "Lecture"]),
        pytest.param("light", list(TABS), marks=pytest.mark.check),
        pytest.param("dark", list(TABS), marks=pytest.mark.check),
    ],
    ids=["most parts", "light", "dark"],
)
def test_axe_finds_nothing_serious_in_any_tab(page, scheme, names):
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    found = {}
    for name in names:
        open_tab(page, name)
        found[name] = complaints(page)
    assert {name: each for name, each in found.items() if each} == {}


def test_axe_notices_what_it_should(page):
    """A picture without words and text too faint: a test that cannot fail is a defect."""
    page.evaluate('document.body.innerHTML += \'<img src="data:,"><p style="color:#ccc;background:#fff">faint</p>\'')
    assert {each.split()[0] for each in complaints(page)} >= {"image-alt", "color-contrast"}


@pytest.mark.parametrize("viewport", [{"width": 390, "height": 844}], ids=["phone"])
def test_on_a_phone_nothing_scrolls_sideways_and_all_tabs_are_in_sight(page, viewport):
    phone, desk = viewport, {"width": 1280, "height": 900}
    for name in TABS:
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_be_visible()
        box = tab.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= phone["width"]
    for name in TABS:
        page.set_viewport_size(desk)
        open_tab(page, name)
        page.set_viewport_size(phone)
        page.wait_for_function("document.documentElement.clientWidth === 390")
        assert page.evaluate("document.documentElement.scrollWidth") <= phone["width"], name


def test_headings_are_in_order_and_every_control_has_a_name(page):
    assert [tab.text_content().strip() for tab in page.get_by_role("tab").all()] == list(TABS)
    for name in TABS:
        open_tab(page, name)
        headings = page.evaluate(HEADINGS)
        assert [text for level, text in headings if level == 1] == ["Images from noise, by following the score"]
        for (above, _), (level, text) in pairwise(headings):
            assert level <= above + 1, (name, text)
        assert page.evaluate(UNNAMED) == [], name


def test_the_keyboard_goes_from_tab_to_tab_and_into_the_page(page):
    page.get_by_role("tab", name="Lecture").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lecture-heading h2")).to_be_visible()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id^=lecture]')?.id"))
    assert {"lecture-contents", "lecture-run"} <= reached


def test_the_radio_buttons_of_a_question_are_one_group_with_its_name(page):
    open_tab(page, "Generate")
    group = page.get_by_role("group", name="Spacing of the noise levels")
    group.get_by_label("Geometric").focus()
    page.keyboard.press("ArrowRight")
    expect(group.get_by_label("Uniform")).to_be_checked()
    page.wait_for_function("new URL(location.href).searchParams.get('generate.ladder') === 'uniform'")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") != "radio"
    slider = page.locator("#sigma-max input[type=range]")
    slider.focus()
    assert slider.evaluate("slider => getComputedStyle(slider).outlineStyle") == "solid"
    page.locator("#class-label input").focus()
    assert page.locator("#class-label .container > .wrap").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_pressing_start_hands_the_focus_to_stop_and_the_end_hands_it_back(page):
    open_tab(page, "Generate")
    start, stop = (
        page.get_by_role("button", name=name, exact=True).locator("visible=true") for name in ("Generate", "Stop")
    )
    start.focus()
    page.keyboard.press("Enter")
    expect(stop).to_be_focused()
    expect(page.locator("#status")).to_contain_text("Done")
    expect(start).to_be_focused()


def test_the_canvas_says_where_the_cursor_is_and_what_is_there(page):
    open_tab(page, "Repair")
    page.get_by_role("button", name="Clear").click()
    page.locator("#repair-canvas canvas").focus()
    heard = page.locator("#repair-canvas .heard")
    page.keyboard.press("ArrowRight")
    expect(heard).to_have_text("Row 5, column 6, kept; 0 of 64 marked")
    page.keyboard.press("Space")
    expect(heard).to_contain_text("Row 5, column 6, marked")


@pytest.mark.check
@pytest.mark.parametrize(("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])], ids=["light", "dark"])
def test_axe_finds_nothing_serious_after_runs_refusals_and_with_everything_open(page, scheme, rules):
    """In the dark only colours are others."""
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    open_tab(page, "Generate")
    page.get_by_text("The same images in Python").click()
    page.locator("#generate").click()
    expect(page.locator("#status")).to_contain_text("Done")
    expect(page.locator("#generate")).to_be_enabled()
    found = complaints(page, rules)
    open_tab(page, "Repair")
    page.get_by_role("button", name="Clear").click()
    page.locator("#repair").click()
    expect(page.locator("#repair-status .error")).to_be_visible()
    expect(page.locator("#repair")).to_be_enabled()
    page.locator(".toast-close").click()
    found += complaints(page, rules)
    open_tab(page, "Learn the score")
    page.locator("#learn-steps input[type=number]").fill("50")
    page.locator("#learn-steps input[type=number]").press("Tab")
    page.locator("#train").click()
    expect(page.locator("#learn-status")).to_contain_text("Done")
    expect(page.locator("#train")).to_be_enabled()
    found += complaints(page, rules)
    open_tab(page, "Lecture")
    page.get_by_role("button", name="The experiment's file").click()
    expect(page.locator("#lecture-source")).to_contain_text("L1.")
    for summary in page.locator(".lecture-found summary, .lecture-knobs summary").all():
        summary.click()
    found += complaints(page, rules)
    for name in ("About / API", "Playground"):
        open_tab(page, name)
        found += complaints(page, rules)
    assert found == []
