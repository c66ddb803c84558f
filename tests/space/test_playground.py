"""The Playground tab: its arithmetic is the package's, and a visitor sees, steers, draws and shares it."""

import math
import re

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from ncsn_pipeline import (
    GaussianMixture,
    annealed_langevin_dynamics,
    exact_score_function,
    geometric_noise_levels,
    langevin_dynamics,
    mode_weights,
)

from .visitor import button, visit

pytestmark = pytest.mark.browser


@pytest.fixture
def motion():
    """Most visitors: the particles move as soon as the page is open."""
    return "no-preference"


SHAPES = ("gaussians", "ring", "moons", "spiral", "checkerboard", "drawing")
# The arithmetic, in a browser without the page


def mixture_of(javascript, shape):
    """The same density as a `GaussianMixture`, and the group of each component."""
    found = javascript(
        """(density) => {
          const { means, logWeights, std, groups, shares } = mixtureOf({ density });
          return { means: [...means], logWeights: [...logWeights], std, groups: [...groups], shares: [...shares] };
        }""",
        shape,
    )
    means = torch.tensor(found["means"], dtype=torch.float64).reshape(-1, 2)
    weights = torch.tensor(found["logWeights"], dtype=torch.float64).exp()
    shares = torch.tensor(found["shares"], dtype=torch.float64)
    return GaussianMixture(means, found["std"], weights), found["std"], torch.tensor(found["groups"]), shares


@pytest.mark.parametrize("shape", SHAPES)
def test_score_density_and_weights_are_the_package_s(javascript, shape):
    density, _, groups, shares = mixture_of(javascript, shape)
    torch.testing.assert_close(torch.zeros_like(shares).index_add(0, groups, density.weights), shares)
    x = 20 * torch.randn(200, 2, dtype=torch.float64) * torch.rand(200, 1, dtype=torch.float64)
    for sigma in (0.05, 0.5, 4.0, 20.0):
        found = javascript(
            """({ density, sigma, points }) => {
              const [mixture, x] = [mixtureOf({ density }), Float64Array.from(points)];
              const score = mixtureScore(mixture, sigma, x, new Float64Array(x.length));
              return [[...score], [...mixtureLogProb(mixture, sigma, x)], [...groupShares(mixture, x)]];
            }""",
            {"density": shape, "sigma": sigma, "points": x.flatten().tolist()},
        )
        score, log_prob, weights = (torch.tensor(values, dtype=torch.float64) for values in found)
        noised = density.noised(sigma)
        torch.testing.assert_close(score.reshape(-1, 2), noised.score(x), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(log_prob, noised.log_prob(x), rtol=1e-6, atol=1e-6)
        expected = torch.zeros_like(shares).index_add(0, groups, mode_weights(x, density.means).weights)
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma_max, sigma_min, levels", [(8, 0.25, 12), (20, 0.05, 24), (3, 1, 2), (5, 0.1, 1)])
def test_the_ladder_is_the_package_s(javascript, sigma_max, sigma_min, levels):
    found = javascript("(given) => [...geometricLadder(...given)]", [sigma_max, sigma_min, levels])
    np.testing.assert_allclose(
        found, geometric_noise_levels(sigma_max, sigma_min, levels, dtype=torch.float64), rtol=1e-12
    )


@pytest.mark.parametrize("shape", ["gaussians", "spiral"])
def test_both_chains_are_the_package_s_given_the_same_noise(javascript, shape):
    """Every step of both, for a whole run: scores, ladder, step sizes and steps at once."""
    levels, steps, share, particles = 5, 6, 0.3, 50
    density, std, *_ = mixture_of(javascript, shape)
    sigmas = geometric_noise_levels(8, 0.25, levels, dtype=torch.float64)
    seeded = torch.Generator().manual_seed(3)
    noises = [torch.randn(particles, 2, generator=seeded, dtype=torch.float64) for _ in range(levels * steps)]
    start, plain, annealed = javascript(
        """({ noises, density, ...given }) => {
          fillNormal = (array) => array.set(noises.shift());
          const chains = new Chains({ ...given, mixture: mixtureOf({ density }), sigmas: geometricLadder(8, 0.25, 5) });
          const [start, plain, annealed] = [[...chains.plain.points], [], []];
          while (!chains.finished) {
            chains.step();
            plain.push([...chains.plain.points]);
            annealed.push([...chains.annealed.points]);
          }
          return [start, plain, annealed];
        }""",
        {"noises": [z.flatten().tolist() for z in noises], "density": shape, "sigma": 0.25, "seed": 1}
        | {"stepsPerLevel": steps, "stepShare": share, "particles": particles},
    )
    start = torch.tensor(start, dtype=torch.float64).reshape(-1, 2)
    assert start.abs().max() <= 8 and start.std() > 3
    expected = langevin_dynamics(
        density.noised(0.25).score,
        start,
        step_size=share * (std**2 + 0.25**2),
        num_steps=levels * steps,
        generator=torch.Generator().manual_seed(3),
    )
    assert_same_chain(plain, expected)
    expected = annealed_langevin_dynamics(
        exact_score_function(density),
        start,
        sigmas=sigmas,
        steps_per_level=steps,
        step_size=share * 0.25**2,
        denoise=False,
        generator=torch.Generator().manual_seed(3),
    )
    assert_same_chain(annealed, expected)


def assert_same_chain(found, states):
    states = list(states)
    assert len(found) == len(states) > 20
    for points, state in zip(found, states, strict=True):
        points = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
        torch.testing.assert_close(points, state.sample, rtol=1e-6, atol=1e-6)


def test_the_noise_is_unit_normal(javascript):
    n = 100_000
    draw = "(n) => { const z = new Float64Array(n); fillNormal(z, randomNumbers(5)); return [...z]; }"
    z = np.array(javascript(draw, n))
    moments = [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]  # power, its mean, its variance
    for power, mean, variance in moments:
        assert abs((z**power).mean() - mean) < 4.5 * math.sqrt(variance / n)
    assert abs((z[::2] * z[1::2]).mean()) < 4.5 / math.sqrt(n / 2)


def test_samples_and_the_contour_are_the_mixture_s(javascript):
    density, *_ = mixture_of(javascript, "gaussians")
    points, edge = javascript(
        """() => {
          const { mixture, edge } = makeScene(mixtureOf({ density: "gaussians" }));
          return [[...mixtureSample(mixture, 4000, randomNumbers(9))], edge];
        }"""
    )
    x = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    weight = mode_weights(x, density.means).weights[0]
    assert abs(float(weight) - 0.8) < 4.5 * math.sqrt(0.16 / 4000)
    inside = (density.log_prob(density.sample(20_000, generator=torch.Generator().manual_seed(0))) >= edge).double()
    # The level comes from 4,000 samples of its own.
    assert abs(float(inside.mean()) - 0.99) < 4.5 * math.sqrt(0.0099 / 20_000 + 0.0099 / 4000)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"density": "ring", "levels": 20, "arrows": False, "step": 2.5, "seed": 77},
        {"sigmas": [8, 5, 0.3], "max": 8, "min": 0.3, "levels": 3},
        {"density": "drawing", "strokes": [[[-9.5, 9.5], [0, 0]], [[9.5, -9.5]]]},
    ],
)
def test_settings_survive_the_address(javascript, changed):
    settings, query, again = javascript(
        """(changed) => {
          const settings = { ...DEFAULTS, ...changed };
          const query = new URLSearchParams("tab=x");
          writeQuery(query, settings);
          return [settings, String(query), readQuery(new URLSearchParams(String(query)))];
        }""",
        changed,
    )
    assert (query == "tab=x") == (not changed)
    if strokes := settings.pop("strokes"):
        for line, line_again in zip(strokes, again["strokes"], strict=True):
            np.testing.assert_allclose(line, line_again, atol=19 / 61 / 2)
    del again["strokes"]
    assert again == settings


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("levels", "1e9", 24),
        ("levels", "nan", 12),
        ("sigma", "-3", 0.05),
        ("density", "constructor", "gaussians"),
        ("density", "<b>", "gaussians"),
        ("arrows", "yes", True),
        ("sigmas", "1-2-3", None),
        ("sigmas", "8-x", None),
        ("strokes", "../..", None),
        ("strokes", "ab" * 61, None),
        ("strokes", "-".join(["ab"] * 9), None),
    ],
)
def test_an_address_cannot_ask_for_what_no_control_allows(javascript, name, text, expected):
    query = {f"playground.{name}": text}
    assert javascript("(query) => readQuery(new URLSearchParams(query))", query)[name] == expected


def test_strokes_become_few_even_components(javascript):
    """Forty long strokes' worth of points; two strokes in proportion to their lengths, one in three parts."""
    for count in range(1, 9):
        strokes = javascript("(lines) => strokesOf(lines)", [[[-9, 0], [9, 0]]] * count)
        assert len(strokes) == count and sum(map(len, strokes)) <= 60
    steps = np.diff(np.array(strokes[0]), axis=0)
    np.testing.assert_allclose(steps, steps[:1].repeat(len(steps), 0), atol=1e-9)
    shares = "(strokes) => [...drawing(strokes).shares]"
    two = javascript("(lines) => strokesOf(lines)", [[[-6, 0], [6, 0]], [[0, 5], [3, 5]]])
    assert javascript(shares, two)[0] == pytest.approx(12 / 15, abs=0.05)
    assert len(javascript(shares, [[[x, 0] for x in range(-6, 7)]])) == 3
    assert javascript(shares, [[[1, 1]]]) == [1]


# The page


def numbers(page):
    """The data attributes of the section."""
    return page.locator(".playground").evaluate("element => ({ ...element.dataset })")


def wait_until_finished(page):
    page.locator('.playground[data-finished="true"]').wait_for()


def wait_for_frames(page, number):
    """Until the browser has drawn so many times."""
    page.evaluate(
        """async (number) => {
          for (let i = 0; i < number; i++) await new Promise((done) => requestAnimationFrame(done));
        }""",
        number,
    )


def set_by_key(page, name, key):
    """Moves a slider as the keyboard does, and leaves it."""
    slider = page.get_by_role("slider", name=name, exact=True)
    slider.focus()
    page.keyboard.press(key)
    page.keyboard.press("Tab")


def test_a_run_takes_less_than_twenty_seconds_at_its_speed(javascript):
    levels, steps, speed = javascript("() => [DEFAULTS.levels, DEFAULTS.steps, DEFAULTS.speed]")
    assert levels * steps / speed < 20


def test_at_the_end_plain_is_wrong_and_annealed_is_right(page):
    """Without a click: it is the first tab, and it starts by itself."""
    wait_until_finished(page)
    found = numbers(page)
    assert float(found["plainMisplaced"]) > 0.2
    assert float(found["annealedMisplaced"]) < 0.05
    said = r"After [\d,]+ steps, one noise level: wrong shares \(\d+ % of the particles would have to move\)\. "
    expect(page.locator(".playground .said")).to_have_text(re.compile(said + "Many: shares and shape right."))
    true, plain, annealed = re.findall(r"(\d+), \d+", page.locator(".bars").get_attribute("aria-label"))
    assert int(true) == 80 and abs(int(plain) - 80) > 20 and abs(int(annealed) - 80) <= 5
    canvas = page.locator('[data-view="annealed"] canvas')
    assert canvas.get_attribute("role") == "img"
    expect(canvas).to_have_attribute("aria-label", re.compile(r"level 12/12.*% of the particles would have to move"))
    assert float(found["rate"]) > 0
    expect(page.get_by_text(re.compile(r"\d+ frames/s"))).to_be_visible()


def test_pause_step_and_restart(page):
    button(page, "Pause").click()
    before = int(numbers(page)["steps"])
    button(page, "Step").click()
    button(page, "Step").click()
    assert int(numbers(page)["steps"]) == before + 2
    wait_for_frames(page, 20)
    assert int(numbers(page)["steps"]) == before + 2
    button(page, "Restart").click()
    assert numbers(page)["steps"] == "0"
    button(page, "Play").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("Number(document.querySelector('.playground').dataset.steps) > 5")


def test_the_same_seed_gives_the_same_run_and_a_new_start_another(page):
    button(page, "Pause").click()
    pictures = []
    for name in ("Restart", "Restart", "New start"):
        button(page, name).click()
        for _ in range(3):
            button(page, "Step").click()
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        pictures.append(page.locator('[data-view="plain"] canvas').evaluate("canvas => canvas.toDataURL()"))
    assert pictures[0] == pictures[1] != pictures[2]
    assert "playground.seed=" in page.url


def test_a_step_that_is_too_large_diverges_and_says_so(page):
    set_by_key(page, "Step, as a share of the variance", "End")
    expect(page.locator('[data-number="step"]')).to_contain_text("it diverges")
    for view in ("plain", "annealed"):
        expect(page.locator(f'[data-view="{view}"] [role="alert"]')).to_contain_text(
            f"{view.capitalize()} dynamics diverged: the step is too large"
        )
        for key, name in (("misplaced", "shares"), ("outside", "shape")):
            expect(page.locator(f'[data-cell="{view}-{key}"]')).to_have_text("–")
            expect(page.locator(f'[data-view="{view}"] [data-verdict="{name}"]')).to_have_text(f"– {name}")
    set_by_key(page, "Step, as a share of the variance", "Home")
    expect(page.locator('[data-view="plain"] [role="alert"]')).to_be_empty()


def test_a_visitor_draws_a_density_of_his_own_and_shares_it(page):
    button(page, "Draw your own").click()
    box = page.locator('[data-view="plain"] canvas').bounding_box()
    for stroke in ([(0.2, 0.2), (0.2, 0.8)], [(0.7, 0.5), (0.8, 0.5)]):
        for i, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
            if i == 0:
                page.mouse.down()
        page.mouse.up()
    expect(page.locator(".bars > div")).to_have_count(2)
    long, short = map(int, re.search(r"true (\d+), (\d+)", page.locator(".bars").get_attribute("aria-label")).groups())
    assert long + short == 100 and 75 < long < 95
    assert "playground.strokes=" in page.url and "playground.density=drawing" in page.url
    wait_until_finished(page)
    assert float(numbers(page)["annealedMisplaced"]) < 0.1
    shared = page.url
    for name in ("Draw one for me", "Undo"):
        for _ in range(6):  # too many for all to be as finely spaced
            button(page, name).click()
    assert page.url == shared
    button(page, "Undo").click()
    expect(page.locator(".bars > div")).to_have_count(3)
    button(page, "Draw one for me").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(".bars > div")).to_have_count(3)
    button(page, "Start over").click()
    assert "strokes" not in page.url
    visit(page, shared)
    expect(page.locator(".bars")).to_have_attribute("aria-label", re.compile(f"true {long}, {short};"))


def test_a_click_drops_particles_into_both_views(page):
    button(page, "Pause").click()
    count = """canvas => {
      const [red, green, blue] = getComputedStyle(canvas).getPropertyValue("--dropped").match(/[0-9a-f]{2}/g);
      const wanted = [red, green, blue].map((text) => parseInt(text, 16));
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let i = 0; i < data.length; i += 4) {
        found += wanted.every((value, k) => Math.abs(value - data[i + k]) < 25);
      }
      return found;
    }"""
    canvases = [page.locator(f'[data-view="{name}"] canvas') for name in ("plain", "annealed")]
    assert [canvas.evaluate(count) for canvas in canvases] == [0, 0]
    canvases[0].click(position={"x": 300, "y": 300})
    for canvas in canvases:
        page.wait_for_function(f"canvas => ({count})(canvas) > 40", arg=canvas.element_handle())


def test_the_ladder_is_dragged_and_moved_by_keys(page):
    dots = page.locator(".ladder-plot .dot")
    assert dots.count() == 12
    dots.first.focus()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("σ max")).to_have_attribute("aria-valuetext", "8.4")
    page.keyboard.press("ArrowRight")
    expect(dots.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    assert "playground.sigmas=" in page.url
    dots.nth(11).scroll_into_view_if_needed()
    box = dots.nth(11).bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] - 25, steps=4)
    page.mouse.up()
    assert float(dots.nth(11).get_attribute("aria-valuenow")) > 0.4
    assert "playground.sigmas=" not in page.url and "playground.min=" in page.url
    set_by_key(page, "Levels", "Home")
    assert dots.count() == 1
    expect(page.locator('[data-number="budget"]')).to_have_text("1 × 40 = 40 steps")
    button(page, "Defaults").click()
    assert dots.count() == 12 and "playground." not in page.url


def test_a_crowded_ladder_stays_in_order_and_can_be_shared(page, address):
    page.goto(f"{address}?playground.max=1&playground.min=0.95")
    dots = page.locator(".ladder-plot .dot")
    dots.first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    for key in ("ArrowUp", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    levels = [float(dot.get_attribute("aria-valuenow")) for dot in dots.all()]
    assert levels == sorted(levels, reverse=True)
    low, now, high = (float(dots.nth(5).get_attribute(f"aria-value{name}")) for name in ("min", "now", "max"))
    assert low <= now <= high


def test_a_ladder_is_shortened_by_the_pointer_while_it_runs(page):
    """Between the first move of the slider and its rest, the run is still at a level that the plot no longer has."""
    wait_until_finished(page)
    slider = page.get_by_role("slider", name="Levels", exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 6, box["y"] + box["height"] / 2, steps=4)
    assert page.locator(".ladder-plot .dot").count() < 8
    page.locator('.playground[data-finished="true"]').wait_for()
    page.wait_for_timeout(400)
    page.mouse.up()
    expect(page.locator('[data-number="budget"]')).to_have_text(re.compile(r"^[2-7] × 40"))


# Somebody who asked for less motion: it shows where the run ends.
still = pytest.mark.parametrize("motion", ["reduce"], ids=["still"])


@pytest.fixture
def still_page(page, address):
    """Opens the page at an address, and waits for the end that it shows."""

    def open_at(query):
        page.goto(f"{address}?{query}")
        wait_until_finished(page)
        return page

    return open_at


@still
def test_one_large_level_has_the_right_shares_and_the_wrong_shape_and_is_told_so(still_page):
    """At sigma 3 its variance is ten times the density's: 1 - (1 - 0.99) and more lies outside the contour."""
    page = still_page("playground.sigma=3")
    marks = {
        name: page.locator(f'[data-view="{name}"] [data-verdict]').all_inner_texts() for name in ("plain", "annealed")
    }
    assert marks == {"plain": ["✓ shares", "✗ shape"], "annealed": ["✓ shares", "✓ shape"]}
    said = re.compile(
        r"one noise level: the wrong shape \((\d+) % lie outside the contour\)\. Many: shares and shape right"
    )
    expect(page.locator(".playground .said")).to_have_text(said)
    assert float(numbers(page)["plainOutside"]) > 0.5
    alphas = "Step α: 1 with one level, 6.4 down to 0.0063 with many."
    expect(page.locator('[data-number="alphas"]')).to_have_text(alphas)


@still
def test_the_first_sentence_holds_for_every_density_at_the_defaults(page):
    """One small level: wrong shares; many levels: shares and shape right."""
    for place, density in enumerate(SHAPES):
        page.locator(".densities button").nth(place).click()
        page.locator(f'.playground[data-density="{density}"][data-finished="true"]').wait_for()
        said = page.locator(".playground .said").inner_text()
        assert "one noise level: wrong shares" in said and "Many: shares and shape right." in said, density


@still
def test_several_starts_are_averaged_with_their_standard_errors(page):
    wait_until_finished(page)
    button(page, "Average 8 starts").click()
    page.locator('.playground[data-averaged="true"]').wait_for()
    found = {}
    for name in ("plain", "annealed"):
        text = page.locator(f'[data-cell="{name}-mean-misplaced"]').inner_text()
        found[name] = [float(number) for number in re.fullmatch(r"([\d.]+) ± ([\d.]+) %", text).groups()]
        outside = page.locator(f'[data-cell="{name}-mean-outside"]').inner_text()
        assert 1 <= float(outside.split()[0]) < 5
    assert 25 < found["plain"][0] < 35 and 1 < found["annealed"][0] < 4
    assert all(0.05 < error < 1 for _, error in found.values())
    expect(page.locator('[data-number="chance"]')).to_have_text("1 %")
    button(page, "New start").click()
    expect(page.locator('[data-cell="plain-mean-misplaced"]')).to_have_text("–")


@still
def test_the_last_run_is_looked_at_again_by_its_time(page):
    wait_until_finished(page)
    time = page.get_by_role("slider", name="Time: back over the last run")
    assert time.input_value() == time.get_attribute("max") == "480"
    end = page.locator('[data-view="annealed"] canvas').evaluate("canvas => canvas.toDataURL()")
    time.fill("122")
    canvas = page.locator('[data-view="annealed"] canvas')
    expect(canvas).to_have_attribute("aria-label", re.compile(r"level 4/12, σ = 3\.1, after 12[04] steps"))
    expect(page.locator('[data-number="time"]')).to_have_text(re.compile(r"step 12[04] of 480"))
    wait_for_frames(page, 3)
    assert canvas.evaluate("canvas => canvas.toDataURL()") != end
    time.fill("480")
    expect(canvas).to_have_attribute("aria-label", re.compile("level 12/12, σ = 0.25, after 480 steps"))
    button(page, "Step").click()
    assert numbers(page)["steps"] == "481"
    expect(page.locator('[data-number="time"]')).to_have_text("all 480 steps taken, 1 more at the last level")


@still
def test_density_and_arrows_follow_sigma_while_it_is_dragged(page):
    """Before the pointer lets go: the background is painted anew, and the caption says the new sigma."""
    wait_until_finished(page)
    pixels = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 40, 40).data).join()"
    plain, annealed = (page.locator(f'[data-view="{name}"] canvas') for name in ("plain", "annealed"))
    before = [canvas.evaluate(pixels) for canvas in (plain, annealed)]
    slider = page.locator('[data-setting="sigma"]')
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=4)
    wait_for_frames(page, 3)
    expect(page.locator('[data-view="plain"] [data-number="where"]')).to_have_text(re.compile(r"σ = [34]\.\d"))
    assert plain.evaluate(pixels) != before[0] and annealed.evaluate(pixels) == before[1]
    assert "playground.sigma" not in page.url
    page.mouse.up()
    page.wait_for_url(re.compile("playground.sigma"))


WHERE_KNOBS_STAND = """async () => {
  const frames = async (n) => { for (; n; n--) await new Promise((done) => requestAnimationFrame(done)); };
  const found = [];
  for (const knob of document.querySelectorAll(".playground .controls input")) {
    knob.focus();
    await frames(2);
    const box = knob.getBoundingClientRect();
    const at = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const views = document.querySelector(".playground .views").getBoundingClientRect();
    found.push([knob.dataset.setting, at === knob, views.top >= 0, views.bottom <= innerHeight]);
  }
  return found;
}"""


@still
def test_the_views_stay_in_sight_while_a_knob_is_used(page):
    """Reached by the Tab key, a knob stands below both views, all of them on the screen."""
    wait_until_finished(page)
    for width, height in ((1366, 768), (1024, 768), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function("width => document.documentElement.clientWidth === width", arg=width)
        seen = page.evaluate(WHERE_KNOBS_STAND)
        assert len(seen) == 13 and all(all(rest) for _, *rest in seen), seen


def test_it_rests_while_another_tab_is_open(page):
    page.get_by_role("tab", name="Generate").click()
    wait_for_frames(page, 20)
    before = numbers(page)["steps"]
    wait_for_frames(page, 40)
    assert numbers(page)["steps"] == before
    page.get_by_role("tab", name="Playground").click()
    page.wait_for_function(f"Number(document.querySelector('.playground').dataset.steps) > {before}")


@still
def test_with_less_motion_it_shows_the_end_and_stands_still(still_page):
    found = numbers(still_page("playground.density=moons&playground.levels=junk"))
    assert (found["playing"], found["density"], found["steps"]) == ("false", "moons", "480")
    assert float(found["annealedMisplaced"]) < 0.05 < 0.2 < float(found["plainMisplaced"])


def test_a_phone_shows_both_views_at_once_and_gives_room_to_draw(page):
    page.set_viewport_size({"width": 390, "height": 844})

    def boxes():
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        return (page.locator(f'[data-view="{name}"] canvas').bounding_box() for name in ("plain", "annealed"))

    plain, annealed = boxes()
    assert plain["y"] == annealed["y"] and plain["x"] + plain["width"] < annealed["x"]
    assert annealed["y"] + annealed["height"] < 844
    page.get_by_role("button", name="Draw your own").click()
    plain, annealed = boxes()
    assert annealed["y"] > plain["y"] + plain["height"] and plain["width"] > 300


def test_every_control_has_a_name_and_a_visible_focus(page):
    nameless = page.locator(".playground").evaluate(
        """root => [...root.querySelectorAll("button, input, [role=slider], [role=img]")].filter((element) => {
          const label = element.closest("label")?.textContent ?? "";
          return !(element.getAttribute("aria-label") || element.textContent || label).trim();
        }).map((element) => element.outerHTML)"""
    )
    assert nameless == []
    button(page, "Pause").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


FAINT_WORDS = """root => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
  };
  return [...root.querySelectorAll("*")].filter((element) => {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || !element.checkVisibility()) return false;
    const style = getComputedStyle(element);
    const lights = [light(element.closest("svg") ? style.fill : style.color), light(ground(element))];
    return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05) < 4.5;
  }).map((element) => element.outerHTML);
}"""


@still
def test_words_stand_out_from_the_page(still_page):
    """WCAG's contrast, 4.5 at least, of every text of the section that is not on a button's own ground."""
    for scheme in ("light", "dark"):
        page = still_page(f"__theme={scheme}")
        assert page.locator("body.dark").count() == (scheme == "dark")
        assert page.locator(".playground").evaluate(FAINT_WORDS) == [], scheme
