"""The Playground's parts, one by one, in a browser without the page: each does what its name says, to the digit."""

import math

import numpy as np
import pytest
import torch

from ncsn_pipeline import GaussianMixture

pytestmark = pytest.mark.browser

CORNERS = GaussianMixture(torch.tensor([[5.0, 5.0], [-5.0, -5.0]], dtype=torch.float64), 1.0, torch.tensor([0.8, 0.2]))


def test_the_densities_are_where_they_are_said_to_be(javascript):
    """Shares of the modes, and the places of all components in closed form."""
    found = javascript(
        """() => Object.fromEntries(Object.entries(SHAPES).map(([name, { make }]) => {
          const { means, groups, shares, std } = make(firstStrokes());
          return [name, { means: [...means], groups: [...groups], shares: [...shares], std }];
        }))"""
    )
    places = {name: np.reshape(shape["means"], (-1, 2)) for name, shape in found.items()}
    shares = {name: np.round(shape["shares"], 12).tolist() for name, shape in found.items()}
    assert shares["gaussians"] == shares["moons"] == [0.8, 0.2]
    assert shares["ring"] == [0.5, 0.3, 0.15, 0.05] and shares["spiral"] == [0.6, 0.3, 0.1]
    assert shares["checkerboard"] == [0.25, 0.25, 0.13, 0.13, 0.07, 0.07, 0.05, 0.05]
    stds = {"gaussians": 1, "ring": 0.5, "moons": 0.45, "spiral": 0.4, "checkerboard": 0.48, "drawing": 0.45}
    assert {name: shape["std"] for name, shape in found.items()} == stds
    assert places["gaussians"].tolist() == [[5, 5], [-5, -5]]
    angles = np.pi / 2 * np.add.outer(np.arange(4), (np.arange(8) + 0.5) / 8).ravel()
    np.testing.assert_allclose(places["ring"], 6 * np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-9)
    angles = np.pi * (np.arange(14) + 0.5) / 14
    arc = 4.6 * np.stack([np.cos(angles), np.sin(angles)], 1)
    np.testing.assert_allclose(places["moons"], np.concatenate([arc - [2.3, 0.4], [2.3, 0.4] - arc]), atol=1e-9)
    radius = np.linalg.norm(places["spiral"], axis=1)
    part = np.sqrt(0.02 + 0.98 * (np.arange(45) + 0.5) / 45)
    np.testing.assert_allclose(radius, 7.2 * part, atol=1e-9)
    turns = np.exp(1j * 4.5 * np.pi * part)
    np.testing.assert_allclose(places["spiral"] / radius[:, None], np.stack([turns.real, turns.imag], 1), atol=1e-9)
    column, row = (np.floor(np.array([1, -1]) * places["checkerboard"] / 3.6) + 2).T
    assert ((row + column) % 2 == 1).all() and len(set(zip(row, column, strict=True))) == 8
    inside = places["checkerboard"] / 3.6 % 1 * 3.6 - 1.8
    np.testing.assert_allclose(
        np.sort(np.abs(inside).max(1).reshape(8, 5)), [[0, 0.75, 0.75, 0.75, 0.75]] * 8, atol=1e-9
    )


def test_every_setting_of_the_address_is_held_within_its_range(javascript):
    ranges = {
        "sigma": (0.05, 12), "max": (1, 20), "min": (0.05, 0.95), "levels": (1, 24), "steps": (1, 100),
        "step": (0.01, 3), "particles": (100, 3000), "speed": (5, 300), "seed": (1, 9999),
    }  # fmt: skip
    beyond = {
        name: (low - 0.001 if low < 1 else low - 1, high + (0.1 if high < 21 else 1))
        for name, (low, high) in ranges.items()
    }
    read = """(given) => Object.fromEntries(Object.entries(given).map(([name, values]) =>
      [name, values.map((value) => readQuery(new URLSearchParams({ [`playground.${name}`]: value }))[name])]))"""
    for given in (beyond, ranges):
        assert {name: tuple(ends) for name, ends in javascript(read, given).items()} == ranges


def test_what_would_have_to_move_is_half_of_all_differences(javascript):
    assert javascript("() => misplaced([0.5, 0.5, 0], [0.8, 0.15, 0.05])") == pytest.approx(0.35)


def test_a_chain_is_measured_by_its_modes_and_what_lies_outside(javascript):
    found = javascript(
        """() => {
          const scene = makeScene(mixtureOf({ density: "gaussians" }));
          const points = Float64Array.from([5, 5, 4, 5, -5, -5, 9.4, 9.4]);
          const { shares, misplaced, outside } = measure({ points }, scene.mixture, scene.edge);
          return [...shares, misplaced, outside];
        }"""
    )
    np.testing.assert_allclose(found, [0.75, 0.25, 0.05, 0.25], atol=1e-12)


MAKE_CHAINS = """const chains = new Chains({ mixture: mixtureOf({ density: "gaussians" }), sigma: 0.25, seed: 1,
  sigmas: geometricLadder(8, 0.25, 3), stepsPerLevel: 2, stepShare: 0.1, particles: 100 });"""


def test_dropped_particles_take_the_place_of_the_oldest_in_both_views(javascript):
    """Forty at a time, 0.3 around the click; of a hundred, the third click takes the first twenty again."""
    plain, annealed, dropped, start = javascript(
        f"""() => {{
          {MAKE_CHAINS}
          const start = [...chains.plain.points];
          fillNormal = (array) => array.forEach((_, i) => (array[i] = i % 2 ? -1 : 1));
          chains.drop(1, 2);
          const dropped = [[...chains.dropped]];
          const untouched = chains.plain.points.slice(80).every((x, i) => x === start[80 + i]);
          chains.drop(3, 4);
          chains.drop(-5, -6);
          dropped.push([...chains.dropped]);
          return [[...chains.plain.points], [...chains.annealed.points], dropped, untouched];
        }}"""
    )
    assert start is True and dropped == [[1] * 40 + [0] * 60, [1] * 100]
    places = [[-4.7, -6.3]] * 20 + [[1.3, 1.7]] * 20 + [[3.3, 3.7]] * 40 + [[-4.7, -6.3]] * 20
    np.testing.assert_allclose(np.reshape(plain, (-1, 2)), places, atol=1e-12)
    assert annealed == plain


def test_a_chain_has_diverged_at_two_hundred_from_the_origin(javascript):
    """In the root mean square of the distances, and where there is no number."""
    diverged = javascript(
        f"""() => [141, 142, NaN].map((coordinate) => {{
          {MAKE_CHAINS}
          chains.plain.points.fill(coordinate);
          chains.move(chains.plain, 0.25, 0);
          return chains.plain.diverged;
        }})"""
    )
    assert diverged == [200 < math.hypot(141, 141), 200 < math.hypot(142, 142), True] == [False, True, True]


def test_the_contour_lies_where_the_density_is_its_level(javascript):
    """Around each Gaussian a circle, as far as a grid of 140 cells tells; their radii are known."""
    segments, edge = javascript(
        """() => {
          const { contour, edge } = makeScene(mixtureOf({ density: "gaussians" }));
          return [contour, edge];
        }"""
    )
    ends = torch.tensor(segments, dtype=torch.float64)
    cell = 19 / 140
    # Between two grid points the log density is straight but for its second derivative, 1: at most cell² / 8.
    assert (CORNERS.log_prob(ends.reshape(-1, 2)) - edge).abs().max() < 1.01 * cell**2 / 8
    length = float((ends[:, 0] - ends[:, 1]).norm(dim=1).sum())
    radii = [math.sqrt(2 * (math.log(weight / (2 * math.pi)) - edge)) for weight in (0.8, 0.2)]
    assert length == pytest.approx(2 * math.pi * sum(radii), rel=0.003)


def test_labels_stand_beside_few_modes_and_on_many(javascript):
    """Beside: 2.6 deviations and 0.7 from the mode's middle, in sight."""
    few, many, means = javascript(
        """() => {
          const [few, many] = ["gaussians", "checkerboard"].map((density) => makeScene(mixtureOf({ density })));
          return [few.labels, many.labels, [...many.mixture.means]];
        }"""
    )
    np.testing.assert_allclose(np.linalg.norm(few - CORNERS.means.numpy(), axis=1), 2.6 * 1 + 0.7)
    assert np.abs(few).max() < 9
    np.testing.assert_allclose(many, np.reshape(means, (8, 5, 2))[:, 2], atol=1e-12)
    assert javascript("() => [0, 1, 7].map(groupName)") == ["A", "B", "H"]


def test_the_grid_s_points_are_the_middles_of_its_cells_from_the_top(javascript):
    found = javascript("() => [...gridPoints(2)]")
    assert found == [-4.75, 4.75, 4.75, 4.75, -4.75, -4.75, 4.75, -4.75]


def test_the_shade_follows_the_square_root_of_the_density(javascript):
    alphas, points = javascript(
        """() => {
          const picture = shading(mixtureOf({ density: "gaussians" }), 0.5, "#ff0000");
          const { data } = picture.getContext("2d").getImageData(0, 0, GRID, GRID);
          return [[...data].filter((_, i) => i % 4 === 3), [...gridPoints(GRID)]];
        }"""
    )
    log_prob = CORNERS.noised(0.5).log_prob(torch.tensor(points, dtype=torch.float64).reshape(-1, 2)).numpy()
    np.testing.assert_allclose(alphas, 0.75 * 255 * np.exp((log_prob - log_prob.max()) / 2), atol=1)


def test_what_is_said_of_a_step_is_how_much_its_variance_is_too_large(javascript):
    """A chain with alpha = u v has the variance v / (1 - u / 2)."""
    said = javascript(
        """(shares) => shares.map((share) => {
          const root = document.createElement("div");
          root.innerHTML = '<p data-number="step"></p>';
          Numbers.prototype.showStep.call({ root }, share);
          return root.textContent;
        })""",
        [0.1, 0.5, 1, 1.99, 2],
    )
    expected = [f"{100 / (1 - u / 2) - 100:.0f} % too large" for u in (0.1, 0.5, 1, 1.99)]
    assert all(words in text for words, text in zip([*expected, "From 2 on every step"], said, strict=True)), said


def test_the_ladder_s_plot_puts_a_level_where_a_drag_finds_it(javascript):
    ends, again, across, bounds = javascript(
        """() => {
          const plot = Object.assign(Object.create(LadderPlot.prototype), { sigmas: [8, 2, 0.25] });
          const levels = [25, 8, 1, 0.04];
          return [
            [plot.y(25), plot.y(1), plot.y(0.04)], levels.map((sigma) => plot.sigmaAt(plot.y(sigma))),
            [0, 1, 2].map((i) => plot.x(i)), [0, 1, 2].map((i) => plot.bounds(i)),
          ];
        }"""
    )
    np.testing.assert_allclose(ends, [12, 12 + 148 * math.log(25) / math.log(625), 160])
    np.testing.assert_allclose(again, [25, 8, 1, 0.04])
    assert across == [46, 146, 246]
    ends = [(1, 20), (0.25 * 1.02, 8 / 1.02), (0.05, 0.95)]
    np.testing.assert_allclose([(bound["low"], bound["high"]) for bound in bounds], ends)


def test_a_place_of_the_plane_is_found_again_under_the_pointer(javascript):
    pixels, places = javascript(
        """() => {
          const canvas = document.createElement("canvas");
          canvas.style = "position: fixed; left: 10px; top: 20px; width: 190px; height: 190px";
          document.body.append(canvas);
          const view = Object.assign(Object.create(View.prototype), { canvas, size: 380 });
          const at = (x, y) => view.toPlane({ clientX: x, clientY: y });
          const places = [at(10, 20), at(105, 115), at(155, 65), at(500, 500)];
          canvas.remove();
          return [[view.toPixel(-9.5, 9.5), view.toPixel(0, 0), view.toPixel(5, 5)], places];
        }"""
    )
    assert pixels == [[0, 0], [190, 190], [290, 90]]
    np.testing.assert_allclose(places, [[-9.5, 9.5], [0, 0], [5, 5], [9.5, -9.5]], atol=1e-9)


def test_a_slider_in_the_middle_of_its_scale_is_the_geometric_mean(javascript):
    """And shows it there again; a change of an end forgets levels that were moved one by one."""
    read, shown, words, sigmas = javascript(
        """() => {
          const root = document.createElement("div");
          const row = (name) => `<label><input type="range" data-setting="${name}"><b></b></label>`;
          root.innerHTML = '<div class="densities"></div>' + row("sigma") + row("max") + row("steps");
          const settings = { ...DEFAULTS, sigmas: [8, 1, 0.3] };
          const controls = new Controls(root, settings, () => {}, () => {});
          const [sigma, max, steps] = controls.inputs;
          sigma.value = 200;
          controls.read(sigma);
          steps.value = 37;
          controls.read(steps);
          const kept = settings.sigmas;
          controls.read(max);
          sigma.value = 0;
          controls.show();
          return [[settings.sigma, settings.steps], [sigma.value, steps.value],
            sigma.getAttribute("aria-valuetext"), [kept, settings.sigmas]];
        }"""
    )
    assert read == [float(f"{math.sqrt(0.05 * 12):.3g}"), 37]
    assert shown == ["200", "37"] and words == "0.78"
    assert sigmas == [[8, 1, 0.3], None]


def test_bars_are_as_high_as_their_shares_of_the_largest(javascript):
    heights, whiskers, words = javascript(
        """() => {
          const bars = new Bars(document.createElement("div"));
          bars.setGroups([0.8, 0.2], 400);
          bars.update([0.4, 0.6], [0.79, 0.21]);
          const columns = [...bars.element.querySelectorAll(".bar")];
          const of = (name) => columns.map((bar) => Number(bar.style.getPropertyValue(name)));
          return [of("--height"), of("--whisker"), bars.element.getAttribute("aria-label")];
        }"""
    )
    assert whiskers == [0.05, 0, 0, 0.2, 0, 0]  # of the true bar: 2 sqrt(0.8 x 0.2 / 400) / 0.8
    np.testing.assert_allclose(heights, [1, 0.5, 0.9875, 0.25, 0.75, 0.2625], atol=1e-4)
    assert words == "Percent of the particles in each mode: true 80, 20; plain 40, 60; annealed 79, 21"


def test_as_many_steps_are_taken_in_a_second_as_the_speed_says(javascript):
    """Sixty frames a second, whatever the steps cost: two seconds at fifty steps per second."""
    taken = javascript(
        f"""() => {{
          {MAKE_CHAINS}
          const recording = new Recording(chains);
          const run = Object.assign(Object.create(Run.prototype), {{ chains, recording, owed: 0 }});
          const [numbers, frames] = [{{ show() {{}}, sayEnd() {{}} }}, Object.create(Frames.prototype)];
          const parts = {{ run, numbers, frames, settings: {{ ...DEFAULTS, speed: 50 }} }};
          const page = Object.assign(Object.create(Playground.prototype), parts);
          for (let frame = 0; frame <= 120; frame++) page.play((frame * 1000) / 60);
          return chains.stepsTaken;
        }}"""
    )
    assert abs(taken - 100) <= 1


def test_chance_is_what_independent_draws_come_to(javascript):
    """The mean over 400 draws of 300; the normal approximation of a binomial share is off by less than 1 %."""
    approximate, found = javascript(
        """() => {
          const mixture = makeMixture([[0, 0], [50, 0], [0, 50]], [0.5, 0.3, 0.2], 1, [0, 1, 2]);
          const random = randomNumbers(3);
          const draw = () => misplaced(groupShares(mixture, mixtureSample(mixture, 300, random)), mixture.shares);
          return [chance(mixture.shares, 300), Array.from({ length: 400 }, draw)];
        }"""
    )
    assert abs(np.mean(found) - approximate) < 4 * np.std(found) / 20 + 0.01 * approximate


@pytest.mark.parametrize(
    "moved, outside, wrong, words",
    [
        (0.05, 0.05, [False, False], "shares and shape right"),
        (0.3, 0.02, [True, False], "wrong shares (30 % of the particles would have to move)"),
        (0.01, 0.61, [False, True], "the wrong shape (61 % lie outside the contour)"),
        (
            0.2,
            0.2,
            [True, True],
            "wrong shares (20 % of the particles would have to move) and "
            "the wrong shape (20 % lie outside the contour)",
        ),
    ],
)
def test_what_fails_is_named_with_its_number(javascript, moved, outside, wrong, words):
    found = javascript(
        """([misplaced, outside]) => {
          const found = { misplaced, outside };
          const wrong = verdict(found, [0.8, 0.2], 1500);
          return [[wrong.shares, wrong.shape], verdictWords(found, wrong)];
        }""",
        [moved, outside],
    )
    assert found == [wrong, words]


def test_shares_are_wrong_from_five_percent_beyond_chance_and_the_shape_from_six_percent_outside(javascript):
    chance = 0.5 * 2 * math.sqrt(2 / math.pi * 0.8 * 0.2 / 100)
    ends = [(chance + 0.0499, 0.0599), (chance + 0.0501, 0.0601)]
    found = javascript(
        """(ends) => ends.map(([misplaced, outside]) => verdict({ misplaced, outside }, [0.8, 0.2], 100))""", ends
    )
    assert found == [{"shares": False, "shape": False}, {"shares": True, "shape": True}]


def test_a_run_is_kept_at_its_moments_and_shown_as_it_was(javascript):
    """480 steps: every fourth; the levels of a moment are those that it was at."""
    steps, level, points, kept, late = javascript(
        """() => {
          const chains = new Chains({ mixture: mixtureOf({ density: "gaussians" }), sigma: 0.25, seed: 1,
            sigmas: geometricLadder(8, 0.25, 12), stepsPerLevel: 40, stepShare: 0.1, particles: 100 });
          const recording = new Recording(chains);
          let kept;
          while (chains.stepsTaken < 490) {
            chains.step();
            recording.keep(chains);
            if (chains.stepsTaken === 200) kept = [...Float32Array.from(chains.annealed.points)];
          }
          const moment = recording.at(201, chains);
          const late = recording.at(1e9, chains);
          return [recording.moments.map(({ stepsTaken }) => stepsTaken), [moment.level, moment.annealedSigma,
            moment.stepsTaken, chains.stepsTaken], [...moment.annealed.points], kept, [late.stepsTaken, late.finished]];
        }"""
    )
    assert steps == list(range(0, 481, 4))
    assert level == [5, pytest.approx(8 * (0.25 / 8) ** (5 / 11)), 200, 490]
    assert points == kept and late == [480, True]


def test_a_retuned_chain_goes_on_from_where_it_is_with_the_new_levels(javascript):
    same, alpha, alphas = javascript(
        f"""() => {{
          {MAKE_CHAINS}
          chains.step();
          const before = [...chains.plain.points];
          chains.retune({{ sigma: 2, sigmas: geometricLadder(4, 0.5, 2), stepsPerLevel: 5, stepShare: 0.2 }});
          return [before.every((x, i) => x === chains.plain.points[i]), chains.plainAlpha, [...chains.alphas]];
        }}"""
    )
    assert same is True and alpha == pytest.approx(0.2 * (1 + 2**2))
    np.testing.assert_allclose(alphas, [0.2 * 16, 0.2 * 0.25])


def test_an_average_is_the_mean_of_its_starts_and_their_standard_error(javascript):
    """Eight runs one by one, against the average made in slices of no time."""
    ends, result, slices = javascript(
        """() => {
          const scene = makeScene(mixtureOf({ density: "gaussians" }));
          const settings = { mixture: scene.mixture, sigma: 0.25, sigmas: geometricLadder(8, 0.25, 3), stepsPerLevel: 5,
            stepShare: 0.1, particles: 100 };
          const average = new Average(settings, scene, 7);
          let slices = 0;
          for (; !average.finished; slices++) average.advance(0);
          const ends = Array.from({ length: 8 }, (_, i) => {
            const chains = new Chains({ ...settings, seed: 7 + i });
            while (!chains.finished) chains.step();
            return measure(chains.plain, scene.mixture, scene.edge).misplaced;
          });
          return [ends, average.result("plain", "misplaced"), slices];
        }"""
    )
    assert result["mean"] == pytest.approx(np.mean(ends))
    assert result["standardError"] == pytest.approx(np.std(ends, ddof=1) / math.sqrt(8))
    assert slices == 8 * 15 + 1  # a step each, and one that finds the last chain at its end


def test_a_start_that_diverged_has_no_average(javascript):
    result = javascript(
        """() => {
          const scene = makeScene(mixtureOf({ density: "gaussians" }));
          const average = new Average({ mixture: scene.mixture, sigma: 0.25, sigmas: geometricLadder(8, 0.25, 3),
            stepsPerLevel: 40, stepShare: 3, particles: 100 }, scene, 1);
          average.advance(Infinity);
          return average.result("plain", "misplaced");
        }"""
    )
    assert result is None
