"""The Lecture tab: what a visitor may ask of an experiment, a run that can be stopped, the tab in a real browser."""

import json
import math
import re
import threading
import time
from functools import partial

import numpy as np
import pytest
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from ncsn_pipeline.diagnostics import plots
from ncsn_pipeline.lecture import EXPERIMENTS
from ncsn_pipeline.space.lecture.knobs import MOST_WORK, check_experiment, knobs_of
from ncsn_pipeline.space.lecture.results import NUMBERS, shipped_picture, shipped_results
from ncsn_pipeline.space.lecture.run import ExperimentRun
from ncsn_pipeline.space.lecture.stops import NAMES, STOPS, themes
from ncsn_pipeline.space.lecture.tab import report
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.runs.work import watched

from .ranges import STRANGE, assert_range, refusal, taken
from .visitor import connected

FEW = {"num_particles": 300, "num_steps": 40}
PANELS = "#lecture-picture .lecture-panels > svg"
# The sizes of a desk, a tablet and a phone; the width that a picture has on each.
WINDOWS = [{"width": 1280, "height": 900}, {"width": 768, "height": 1024}, {"width": 390, "height": 844}]
PICTURE_WIDTHS = [900, 448, 310]
# Whether the places of the panels and of what stands below them are the same in ten frames one after the other.
COMES_TO_REST = """async (width) => {
  const picture = document.querySelector("#lecture-picture");
  picture.style.width = width ? `${width}px` : "";
  const seen = [...picture.querySelectorAll(".lecture-panels, .lecture-panels > svg"), document.body,
    document.querySelector("#lecture-reset")];
  const places = () => JSON.stringify(seen.map((element) => element.getBoundingClientRect()));
  let last = "", same = 0;
  for (let frame = 0; frame < 300 && same < 10; frame++) {
    await new Promise(requestAnimationFrame);
    const now = places();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  picture.style.width = "";
  return same === 10;
}"""


# What is shown and asked for


def test_every_experiment_has_a_stop_in_the_order_of_the_lecture():
    assert list(STOPS) == list(EXPERIMENTS)
    assert [name for names in themes().values() for name in names] == list(NAMES)
    titles = [stop.title for stop in STOPS.values()]
    assert len(set(titles)) == len(NAMES) and max(map(len, titles)) <= 32


def test_the_shipped_results_are_those_of_the_benchmark(repo_root):
    results = repo_root / "benchmarks" / "results"
    assert NUMBERS.read_bytes() == (results / "lecture.json").read_bytes()
    for name in NAMES:
        assert shipped_picture(name) == (results / "lecture" / f"{name}.svg").read_text(encoding="utf-8")
        assert next(result["params"]["seed"] for result in shipped_results(name)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_knobs_start_at_the_quick_version_and_leave_out_data_sources(name):
    module, params = check_experiment(name, {})
    assert params == module.Params(**module.QUICK)
    knobs = knobs_of(module)
    assert knobs[-1].name == "seed" and "data" not in [knob.name for knob in knobs]
    assert len({knob.label for knob in knobs}) == len(knobs)
    for knob in knobs:
        values = knob.value if knob.most else (knob.value,)
        assert all(knob.low <= value <= knob.high for value in values), knob
        assert knob.check(knob.value) == knob.value
        assert math.isclose(knob.times(knob.value), 1.0)
    as_typed = {
        knob.name: ", ".join(f"{value:g}" for value in knob.value) if knob.most else knob.value for knob in knobs
    }
    assert check_experiment(name, as_typed)[1] == params


def test_no_knob_takes_what_lies_beyond_its_ends():
    """The ends themselves it takes; those of a whole knob are whole numbers."""
    knobs = [knob for name in NAMES for knob in knobs_of(EXPERIMENTS[name])]
    for knob in knobs:
        low, high = (int(end) if knob.whole else float(end) for end in (knob.low, knob.high))
        if knob.most:
            for end in (low, high):
                fewest = (end,) * knob.fewest
                assert knob.check(fewest) == knob.check(", ".join(map(repr, fewest))) == fewest, knob
                assert refusal(knob.check, fewest[1:]), knob
            assert knob.check([low] * knob.most) == (low,) * knob.most, knob
            assert refusal(knob.check, [low] * (knob.most + 1)), knob
            assert refusal(knob.check, [low, high + 1]), knob
        else:
            assert_range(knob.check, knob.label, low, high)
    assert len(knobs) > 100


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_takes_what_its_knobs_allow(name):
    """Both ends; of several numbers, the fewest and the most between them."""
    module = EXPERIMENTS[name]
    for knob in knobs_of(module):
        for values in allowed_of(knob):
            module.Params(**module.QUICK | {knob.name: knob.check(values)})


def allowed_of(knob):
    if not knob.most:
        return knob.low, knob.high
    increases = list(knob.value) == sorted(knob.value)
    found = [np.geomspace(knob.low, knob.high, count).clip(knob.low, knob.high) for count in (knob.fewest, knob.most)]
    return [(values.round() if knob.whole else values)[:: 1 if increases else -1].tolist() for values in found]


def test_the_least_that_an_experiment_takes_is_said():
    knobs = {name: {knob.name: knob for knob in knobs_of(EXPERIMENTS[name])} for name in NAMES}
    assert knobs["clean-loss"]["num_runs"].allowed == "2 to 12"
    assert knobs["vanishing-price"]["num_levels"].allowed == "3 to 36"
    assert knobs["full-support"]["sigmas"].allowed == "2 to 3 numbers, each 0.005 to 10"
    assert knobs["many-sigmas"]["far"].allowed == "0.1 to 3.8"


def test_no_strange_value_passes_a_knob():
    """One of each kind: a whole number, another number, and several of either."""
    knobs = [knob for name in NAMES for knob in knobs_of(EXPERIMENTS[name])]
    kinds = {(knob.whole, bool(knob.most)): knob for knob in knobs if knob.name != "seed"}
    strange = [*(value for value in STRANGE if value not in ("12", [1])), "x", [], "1e999", "nan", [math.nan], ["x"]]
    assert [(kind, value) for kind, knob in kinds.items() for value in taken(knob.check, strange)] == []
    assert len(kinds) == 4


@pytest.mark.parametrize(
    "name, given, reason",
    [
        ("nothing", {}, "Experiment must be one of vector-field, "),
        (None, {}, "Experiment must be one of"),
        ("mixing", None, "Settings must be values by name: num_steps"),
        ("mixing", {"data": "folder"}, "mixing has no setting data; it has num_steps"),
        ("clean-loss", {"data": "folder"}, "clean-loss has no setting data"),
        ("mixing", {"num_steps": 45.5}, "Steps must be a whole number"),
        ("many-sigmas", {"sigma_min": 0.25, "sigma_max": 0.2}, "sigma_min must be below sigma_max"),
        ("one-sigma", {"sigmas": "0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8"}, "3 to 7 numbers"),
    ],
)
def test_what_is_wrong_is_said(name, given, reason):
    with pytest.raises(SettingsError, match=reason):
        check_experiment(name, given)


def test_the_work_is_bounded_and_the_advice_is_allowed():
    assert check_experiment("mixing", {"num_steps": 1200})[1].num_steps == 4 * 300
    with pytest.raises(SettingsError, match=r"16.0 times the work .* Steps at most 300 or Particles at most 2,000"):
        check_experiment("mixing", {"num_steps": 1200, "num_particles": 8000})
    assert MOST_WORK == 4
    check_experiment("mixing", {"num_steps": 300, "num_particles": 8000})


# A run


def run_of(name, given, stop=None, deadline=60.0):
    return ExperimentRun(*check_experiment(name, given), stop or threading.Event(), deadline)


def test_a_run_gives_what_the_experiment_gives():
    run = run_of("mixing", FEW)
    seconds = list(run.seconds())
    assert seconds == sorted(seconds) and run.outcome.seconds >= seconds[0]
    module, params = check_experiment("mixing", FEW)
    assert run.outcome.result == module.run(params).as_json()
    assert plots.taken_apart(run.outcome.picture).panels


def test_a_run_is_stopped_in_the_middle_of_its_computation():
    """16 times what is allowed, so that a run that goes on passes its deadline."""
    module = EXPERIMENTS["mixing"]
    stop = threading.Event()
    run = ExperimentRun(module, module.Params(num_steps=1_000_000), stop, 60.0)
    states = run.seconds()
    next(states)
    next(states)
    stop.set()
    list(states)
    assert run.outcome is None and not run.timed_out


def test_a_run_ends_at_its_deadline_and_one_that_is_left_lets_go():
    module = EXPERIMENTS["mixing"]
    run = ExperimentRun(module, module.Params(num_steps=1_000_000), threading.Event(), 0.5)
    list(run.seconds())
    assert run.timed_out and run.outcome is None
    threads = threading.active_count()
    left = ExperimentRun(module, module.Params(num_steps=1_000_000), threading.Event(), 60.0).seconds()
    next(left)
    left.close()
    end = time.monotonic() + 60
    while threading.active_count() > threads:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_works_at_a_time_and_errors_come_through():
    events, stop = [], threading.Event()

    def work(name):
        events.append(f"{name} begins")
        stop.wait(0.3)
        events.append(f"{name} ends")

    first, second = (watched(partial(work, name), threading.Event(), 0.01) for name in "ab")
    next(first), next(second)
    list(first), list(second)
    assert [event.partition(" ")[2] for event in events] == ["begins", "ends"] * 2
    with pytest.raises(ZeroDivisionError):
        list(watched(lambda: 1 / 0, threading.Event(), 0.01))


def test_who_leaves_waits_for_nothing():
    over, told = threading.Event(), threading.Event()
    left = watched(over.wait, told, 0.01)
    next(left)
    left.close()  # returns while the work goes on: the server's loop is what closes it
    assert told.is_set() and not over.is_set()
    over.set()


def test_an_experiment_s_own_error_comes_through():
    with pytest.raises(ValueError, match="at least 10"):
        module = EXPERIMENTS["clean-loss"]
        list(ExperimentRun(module, module.Params(train_steps=5), threading.Event(), 60.0).seconds())


def test_the_table_shows_the_range_over_the_seeds_and_what_fails():
    check = {"name": "share", "relation": ">", "bound": 0.25, "null": 0.125, "null_name": "chance", "timing": False}
    one, other = (
        {"checks": [check | {"value": value, "holds": holds}], "findings": []}
        for value, holds in ((0.5, True), (0.75, True))
    )
    shown = report.numbers([one, other])
    for words in ("0.5 … 0.75", "&gt; 0.25<", "0.125 <small>null: chance", "✓ holds"):
        assert words in shown
    failing = {"checks": [check | {"value": 0.2, "holds": False}], "findings": []}
    assert "✗ fails with 1 of 2 seeds<" in report.numbers([one, failing])
    assert "✗ fails<" in report.numbers([failing, failing])


def test_a_claim_that_is_not_confirmed_says_with_how_many_seeds():
    for name in NAMES:
        results = shipped_results(name)
        failing = sum(not result["holds"] for result in results)
        said = f"Not confirmed: with {failing} of {len(results)} seeds a check fails"
        assert (said in report.shipped_view(name)[0]) is (failing > 0), name
    assert "Not confirmed: with" in report.shipped_view("many-sigmas")[0]


# The tab


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Lecture").click()
    page.wait_for_selector("#lecture-picture svg")
    return page


def claim(page, number):
    return page.locator("#lecture-heading").get_by_text(f"Claim {number} of {len(NAMES)}")


def knob(page, name):
    return page.locator(f"#lecture-controls input[name={name}]")


@pytest.mark.browser
@pytest.mark.parametrize(("step", "widths"), [(4, 1), pytest.param(1, len(PICTURE_WIDTHS), marks=pytest.mark.check)])
def test_the_lecture_shows_every_claim_with_picture_equation_and_numbers(page, step, widths):
    """Each picture comes to rest at so many widths, in turn."""
    for number, name in reversed(list(enumerate(NAMES, 1))[::-step]):
        if step > 1:
            page.locator(f"#lecture-contents [data-name={name}]").click()
        expect(claim(page, number)).to_be_visible()
        expect(page.locator("#lecture-contents [aria-current]")).to_have_attribute("data-name", name)
        expect(page.locator("#lecture-heading h2")).to_have_text(EXPERIMENTS[name].CLAIM.sentence)
        expect(page.locator(f"#lecture-controls [data-name={name}]")).to_be_visible()
        expect(page.locator("#lecture-equation .katex-html")).to_be_visible()
        assert page.locator("#lecture-equation .katex-error").count() == 0
        expect(page.locator(PANELS)).to_have_count(len(plots.taken_apart(shipped_picture(name)).panels))
        turned = [*PICTURE_WIDTHS[number % 3 :], *PICTURE_WIDTHS[: number % 3]]
        assert all(page.evaluate(COMES_TO_REST, width) for width in turned[:widths]), name
        rows = page.locator("#lecture-numbers tbody tr")
        expect(rows).to_have_count(len(shipped_results(name)[0]["checks"]))
        if step == 1 and number < len(NAMES):
            page.get_by_role("button", name="Next →").click()
    expect(page.get_by_role("button", name="Next →")).to_be_disabled()


@pytest.mark.browser
@pytest.mark.parametrize(
    "viewport",
    [WINDOWS[0], *(pytest.param(window, marks=pytest.mark.check) for window in WINDOWS[1:])],
    ids=lambda window: window["width"],
)
def test_an_experiment_runs_again_with_other_settings_and_goes_back(page, viewport):
    if viewport["width"] < 768:
        page.locator("#lecture-contents summary").click()
    page.locator("#lecture-contents [data-name=mixing]").click()
    expect(claim(page, 10)).to_be_visible()
    shipped = page.locator(PANELS).first.inner_html()
    knob(page, "num_steps").fill("40")
    assert page.get_by_label("Steps, slider").get_attribute("aria-valuetext") == "40"
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-status")).to_contain_text("Done in")
    assert page.locator(PANELS).first.inner_html() != shipped
    expect(page.locator("#lecture-picture figcaption")).to_contain_text("Your run")
    expect(page.locator("#lecture-numbers")).to_contain_text("after 40 steps")
    expect(page.locator("#lecture-stop")).to_be_disabled()
    assert page.evaluate(COMES_TO_REST)
    page.locator("#lecture-reset").click()
    expect(page.locator("#lecture-picture figcaption")).to_contain_text("At full size")
    expect(knob(page, "num_steps")).to_have_value("300")


@pytest.mark.browser
def test_panels_stand_below_each_other_on_a_phone_and_follow_the_theme(page, address):
    page.goto(f"{address}?tab=lecture&lecture.experiment=vanishing-price")
    expect(claim(page, NAMES.index("vanishing-price") + 1)).to_be_visible()
    expect(page.locator(PANELS)).to_have_count(2)

    def boxes():
        return [panel.bounding_box() for panel in page.locator(PANELS).all()]

    left, right = boxes()
    assert left["x"] + left["width"] <= right["x"]
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.clientWidth === 390")
    above, below = boxes()
    assert above["y"] + above["height"] <= below["y"] and min(above["width"], below["width"]) > 250
    words = page.locator(f"{PANELS} text").first
    colour = "text => getComputedStyle(text).fill"
    page.evaluate("document.body.classList.remove('dark')")
    assert words.evaluate(colour) == "rgb(95, 95, 95)"
    page.evaluate("document.body.classList.add('dark')")
    assert words.evaluate(colour) == "rgb(150, 150, 150)"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["dark"])
def test_a_picture_lies_on_the_page_itself(page):
    """Its colours are made for the page's, dark or light; a box that scrolls would move it while it is laid out."""
    styles = page.locator(".lecture-panels").evaluate("""panels => {
      const { backgroundColor, overflowX, overflowY } = getComputedStyle(panels);
      return [backgroundColor, overflowX, overflowY];
    }""")
    assert styles == ["rgba(0, 0, 0, 0)", "visible", "visible"]
    assert page.locator(f"{PANELS} text").first.evaluate("text => getComputedStyle(text).fill") == "rgb(150, 150, 150)"


@pytest.mark.browser
def test_what_a_knob_cannot_be_is_refused_beside_the_button(page):
    knob(page, "num_steps").fill("9000")
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-status .status.error")).to_contain_text("Steps must lie between 15 and 600; got 9000")
    expect(page.locator("#lecture-run")).to_be_enabled()
    knob(page, "num_steps").fill("")
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-status .status.error")).to_contain_text("Steps must be a number")


@pytest.mark.browser
def test_stop_ends_a_run(page):
    knob(page, "train_steps").fill("2000")
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-status")).to_contain_text("s of at most")
    page.locator("#lecture-stop").click()
    expect(page.locator("#lecture-status")).to_contain_text("Stopped")
    expect(page.locator("#lecture-run")).to_be_enabled()


@pytest.mark.browser
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.check)])
def test_a_run_ends_when_another_address_is_opened(page, address, times):
    """In a row, each time a run that would take longer than this test waits."""
    for _ in range(times):
        knob(page, "train_steps").fill("2000")
        page.locator("#lecture-run").click()
        expect(page.locator("#lecture-status")).to_contain_text("s of at most")
        page.goto(f"{address}?tab=lecture&lecture.experiment=vector-field")
        expect(page.locator("#lecture-run")).to_be_enabled()


@pytest.mark.browser
def test_results_do_not_come_under_another_claim(page):
    knob(page, "train_steps").fill("2000")
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-status")).to_contain_text("s of at most")
    page.locator("#lecture-contents [data-name=sliced]").click()
    expect(claim(page, 5)).to_be_visible()
    expect(page.locator("#lecture-run")).to_be_enabled()
    expect(page.locator("#lecture-status")).to_contain_text(re.compile("Stopped|Ready"))
    expect(page.locator("#lecture-numbers")).not_to_contain_text("Your run")


@pytest.mark.browser
def test_a_claim_can_be_shared_and_the_keyboard_walks_through_the_list(page, address):
    page.locator("#lecture-contents [data-name=vector-field]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(claim(page, 3)).to_be_visible()
    page.wait_for_function("new URL(location.href).searchParams.get('lecture.experiment') === 'denoising'")
    page.goto(f"{address}?tab=lecture&lecture.experiment=annealing")
    expect(claim(page, 13)).to_be_visible()
    expect(page.locator("#lecture-contents [aria-current]")).to_have_attribute("data-name", "annealing")
    page.get_by_role("button", name="The experiment's file").click()
    expect(page.locator("#lecture-source")).to_contain_text("L13.")
    page.goto(f"{address}?tab=lecture&lecture.experiment=nothing")
    expect(page.locator("#lecture-status .error")).to_contain_text("Experiment must be one of")


@pytest.mark.browser
def test_knobs_are_kept_for_each_claim_and_stand_in_the_address(page, address):
    def query():
        return page.evaluate("Object.fromEntries(new URL(location.href).searchParams)")

    page.goto(f"{address}?tab=lecture&lecture.experiment=mixing&lecture.num_steps=45&lecture.sigma=9&steps=7")
    expect(claim(page, 10)).to_be_visible()
    expect(knob(page, "num_steps")).to_have_value("45")
    knob(page, "num_particles").evaluate("input => input.closest('details').open = true")
    knob(page, "num_particles").fill("400")
    expected = {"tab": "lecture", "lecture.experiment": "mixing", "lecture.num_steps": "45", "steps": "7"}
    assert query() == expected | {"lecture.num_particles": "400"}
    page.locator("#lecture-run").click()
    expect(page.locator("#lecture-numbers")).to_contain_text("after 45 steps")

    page.get_by_role("button", name="Next →").click()
    expect(claim(page, 11)).to_be_visible()
    page.wait_for_function("new URL(location.href).searchParams.get('lecture.experiment') === 'one-sigma'")
    assert not {"lecture.num_steps", "lecture.num_particles"} & set(query())
    page.get_by_role("button", name="← Previous").click()
    expect(claim(page, 10)).to_be_visible()
    expect(knob(page, "num_steps")).to_have_value("45")
    expect(knob(page, "num_particles")).to_have_value("400")
    page.wait_for_function("new URL(location.href).searchParams.get('lecture.num_particles') === '400'")
    page.locator("#lecture-reset").click()
    expect(knob(page, "num_steps")).to_have_value("300")
    page.wait_for_function("!new URL(location.href).searchParams.has('lecture.num_steps')")


@pytest.mark.browser
def test_the_endpoint_runs_an_experiment(address):
    client = connected(address)
    claims = client.predict(api_name="/claims")
    assert list(claims) == list(NAMES)
    assert claims["mixing"]["claim"] == EXPERIMENTS["mixing"].CLAIM.sentence
    assert (
        claims["mixing"]["knobs"]["num_steps"] | {"value": 300, "low": 30, "high": 1200}
        == (claims["mixing"]["knobs"]["num_steps"])
    )
    *seconds, found = client.submit("mixing", FEW, api_name="/lecture")
    assert all(set(each) == {"seconds"} for each in seconds)
    assert found == client.predict("mixing", FEW, api_name="/lecture")
    module, params = check_experiment("mixing", FEW)
    assert found == json.loads(json.dumps(module.run(params).as_json()))
    with pytest.raises(AppError, match="Steps must lie between"):
        client.predict("mixing", {"num_steps": 10**9}, api_name="/lecture")
