"""What holds in every tab: back and forward, links, sliders of factors, uploads from a telephone, the pace of runs."""

import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.space.repair.canvas import fitted_picture

from .visitor import button, fill, visit, wait_for_status

pytestmark = pytest.mark.browser


def tab(page, name):
    return page.get_by_role("tab", name=name)


def test_back_and_forward_move_between_tabs_and_claims(page):
    tab(page, "Generate").click()
    page.wait_for_url(re.compile("tab=generate"))
    fill(page, "num-levels", 7)
    page.wait_for_url(re.compile("num_levels=7"))
    tab(page, "Lecture").click()
    page.locator("#lecture-heading h2").wait_for()
    page.locator("#lecture-contents [data-name=mixing]").click()
    page.wait_for_url(re.compile("experiment=mixing"))
    current = page.locator("#lecture-contents [aria-current]")
    page.go_back()
    expect(current).to_have_attribute("data-name", "vector-field")
    expect(tab(page, "Lecture")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(tab(page, "Generate")).to_have_attribute("aria-selected", "true")
    assert "generate.num_levels=7" in page.url
    page.go_back()
    expect(tab(page, "Playground")).to_have_attribute("aria-selected", "true")
    for _ in range(3):
        page.go_forward()
    expect(current).to_have_attribute("data-name", "mixing")
    expect(tab(page, "Lecture")).to_have_attribute("aria-selected", "true")


def test_back_keeps_what_was_set_and_the_address_names_it(page):
    """Else a link that is copied after going back would show other settings than those on the page."""
    tab(page, "Generate").click()
    page.wait_for_url(re.compile("tab=generate"))
    fill(page, "num-levels", 7)
    page.wait_for_url(re.compile("num_levels=7"))
    tab(page, "Learn the score").click()
    page.wait_for_url(re.compile("tab=learn"))
    fill(page, "learn-steps", 150)
    tab(page, "Generate").click()
    page.wait_for_url(re.compile("tab=generate"))
    fill(page, "num-levels", 9)
    page.wait_for_url(re.compile("num_levels=9"))
    for name, going in (("learn", page.go_back), ("generate", page.go_back), ("learn", page.go_forward)):
        going()
        page.wait_for_url(
            re.compile(rf"tab={name}.*num_levels=9.*num_steps=150|tab={name}.*num_steps=150.*num_levels=9")
        )
    expect(page.locator("#num-levels input[type=number]")).to_have_value("9")
    expect(page.locator("#learn-steps input[type=number]")).to_have_value("150")


@pytest.mark.parametrize("framed", [pytest.param(False, marks=pytest.mark.check), True], ids=["page", "frame"])
def test_a_link_is_copied_from_every_tab_in_a_frame_too(browser, address, framed):
    """A frame may not write to the clipboard: it copies by hand. The test hears what is copied."""
    with browser.new_context(reduced_motion="reduce") as visitor:
        page = visitor.new_page()
        page.set_default_timeout(60_000)
        if framed:
            page.goto(f"{address}/theme.css")
            page.set_content(f'<iframe src="{address}?tab=generate" width="1200" height="800"></iframe>')
            inside = page.frames[1]
        else:
            page.goto(f"{address}?tab=generate")
            inside = page.main_frame
        inside.locator("#plots svg").first.wait_for()
        inside.evaluate("""() => {
          window.taken = [];
          const say = (text) => window.taken.push(text);
          const refuse = () => { throw new Error("The permissions policy of this frame refuses the clipboard."); };
          navigator.clipboard.writeText = async (text) => (window === top ? say(text) : refuse());
          document.addEventListener("copy", () => say(document.activeElement.value));
        }""")
        for name in ("Generate", "Repair"):
            inside.get_by_role("tab", name=name).click()
            inside.wait_for_function("tab => location.href.includes(`tab=${tab}`)", arg=name.lower())
            inside.locator(".copy-link button").click()
            expect(inside.locator(".copy-link span")).to_have_text(f"A link to {name} as it is set now is copied.")
            assert inside.evaluate("window.taken.at(-1) === location.href")


def test_a_page_without_settings_in_its_address_asks_for_two_costs_and_no_more(page, address):
    """What a tab restores is asked for where there is something to restore."""
    asked = []
    names = {each["id"]: each["api_name"] for each in page.evaluate("window.gradio_config.dependencies")}

    def note(request):
        if "/run/predict" in request.url or "/queue/join" in request.url:
            asked.append(re.sub(r"_\d+$", "", names[request.post_data_json["fn_index"]]))

    page.on("request", note)
    visit(page, f"{address}?tab=learn")
    page.locator("body[data-composed]").wait_for()
    assert asked == ["opened", "opened"]
    visit(page, f"{address}?tab=generate&generate.num_levels=7")
    expect(page.locator("#cost")).to_contain_text("7 network evaluations")
    assert asked.count("restore") == 1


def test_what_is_listened_to_has_a_value_from_the_start(page):
    """Gradio makes None of a text "", and of that None again where a page is slow: a change that nobody made."""
    watched, empty = page.evaluate("""() => {
      const { components, dependencies } = window.gradio_config;
      const watched = dependencies.flatMap(({ targets }) => targets).filter(([, event]) => event === "change");
      const values = new Map(components.map(({ id, props }) => [id, props.value]));
      return [watched.length, watched.filter(([id]) => values.get(id) == null)];
    }""")
    assert watched > 40 and empty == []


SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => shifts.push(...list.getEntries().filter((entry) => !entry.hadRecentInput)))
  .observe({ type: "layout-shift", buffered: true });"""
QUICK = [("learn", 390), ("about", 1280)]  # those that were the worst
TABS = ("playground", "generate", "repair", "learn", "lecture", "about")
EVERY = list(itertools.product(TABS, (1280, 390)))


@pytest.mark.parametrize(
    ("name", "width"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.check) for each in EVERY if each not in QUICK)]
)
def test_nothing_jumps_while_a_tab_is_loading(browser, address, name, width):
    """The cumulative layout shift, of which web.dev calls 0.1 good; shown part by part, the page has up to 1.1."""
    with browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce") as visitor:
        page = visitor.new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(SHIFTS)
        page.goto(f"{address}?tab={name}")
        page.locator(".introduction h1").wait_for()
        expect(page.locator("#poster")).to_be_hidden()
        if page.locator("body[data-composed=late]").count():  # shown before it stood, after 15 s on a busy machine
            page.reload()
            page.locator("body[data-composed='']").wait_for()
        page.wait_for_timeout(1500)
        assert page.evaluate("shifts.reduce((sum, { value }) => sum + value, 0)") < 0.02
        page.evaluate("""() => {
          const pushing = document.createElement("p");
          pushing.textContent = "pushes the page down";
          document.querySelector("main").prepend(pushing);
        }""")
        page.wait_for_function("shifts.length && shifts.at(-1).value > 0")  # it does notice


def test_a_slider_of_factors_gives_every_factor_the_same_way(page):
    tab(page, "Generate").click()
    slider, box = (page.locator(f"#sigma-max input[type={kind}]") for kind in ("range", "number"))
    expect(slider).to_have_attribute("aria-valuetext", "12")
    for place, value in ((0, 0.1), (0.5, (0.1 * 50) ** 0.5), (1, 50)):
        slider.fill(str(place))
        expect(box).to_have_value(f"{value:.3g}")
    fill(page, "sigma-max", 5)
    expect(slider).to_have_attribute("aria-valuetext", "5")
    assert float(slider.input_value()) == pytest.approx(np.log(5 / 0.1) / np.log(50 / 0.1), abs=1e-3)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(box).to_have_value(f"{5 * 500**0.01:.3g}")
    levels, count = (page.locator(f"#num-levels input[type={kind}]") for kind in ("range", "number"))
    fill(page, "num-levels", 1)
    levels.focus()
    page.keyboard.press("ArrowRight")  # a factor of 1.05 would be no level more
    expect(count).to_have_value("2")
    expect(page.locator("#cost")).to_contain_text("2 network evaluations")


def test_a_slider_of_factors_may_begin_at_zero(page):
    tab(page, "Learn the score").click()
    slider, box = (page.locator(f"#learn-sigma input[type={kind}]") for kind in ("range", "number"))
    expect(slider).to_have_attribute("aria-valuetext", "0.1")
    for place, value in ((1, "2"), (0.04, "0.01"), (0.52, "0.14"), (0, "0")):  # 0.14: the geometric mean of 0.01 and 2
        slider.fill(str(place))
        expect(box).to_have_value(value)
    slider.focus()
    for value in ("0.01", "0.02"):
        page.keyboard.press("ArrowRight")
        expect(box).to_have_value(value)


def test_a_telephone_s_photograph_is_scaled_in_the_browser(page, tmp_path):
    """Twelve million pixels, three times what the server takes."""
    tab(page, "Repair").click()
    page.locator("#repair-canvas canvas").wait_for()
    pixels = np.zeros((3000, 4000), dtype=np.uint8)
    pixels[:, 1000:] = np.linspace(0, 255, 3000, dtype=np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "photograph.png")
    before = page.locator("#repair-canvas canvas").evaluate("canvas => canvas.toDataURL()")
    page.locator(".repair-examples input[type=file]").set_input_files(path)
    page.wait_for_function(
        "before => document.querySelector('#repair-canvas canvas').toDataURL() !== before", arg=before
    )
    fill(page, "repair-num-levels", 2)
    expect(page.locator("#repair-cost")).to_contain_text("5 network evaluations")
    button(page, "Paint").click()
    expect(page.locator("#repair-download-image")).to_be_enabled()
    with page.expect_download() as download:
        page.locator("#repair-download-image").click()
    found = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L")).astype(int)
    Image.fromarray(pixels).resize((1200, 900)).save(small := tmp_path / "small.png")
    assert np.abs(found - fitted_picture(small, (1, 8, 8))[..., 0]).max() <= 6


TELLS = """name => {
  const { components, dependencies } = window.gradio_config;
  const { id } = components.find(({ props }) => props.elem_id === name);
  return dependencies.find(({ targets }) => targets.some(([of, event]) => of === id && event === "change")).id;
}"""


@pytest.mark.parametrize(
    ("place", "start", "status", "settings"),
    [
        ("repair", "Paint", "repair-status", {"repair-num-levels": 200, "repair-num-images": 10}),
        pytest.param("learn", "Train", "learn-status", {"learn-steps": 1500}, marks=pytest.mark.check),
        pytest.param("generate", "Generate", "status", {"num-levels": 200, "num-images": 64}, marks=pytest.mark.check),
    ],
    ids=["repair", "learn", "generate"],
)
def test_the_page_tells_the_server_what_it_has_shown(page, address, place, start, status, settings):
    """Each line of a run waits for that of the last: a browser that is too slow for them would hear no Stop."""
    visit(page, f"{address}?tab={place}")
    for element, value in settings.items():
        fill(page, element, value)
    told = []
    tells = page.evaluate(TELLS, status)
    page.on("request", lambda asked: told.append(1) if f'"fn_index":{tells},' in (asked.post_data or "") else None)
    button(page, start).click()
    wait_for_status(page, "Done", status)
    assert len(told) > 2, told
