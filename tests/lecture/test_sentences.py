"""What findings and titles say follows from the numbers, and pictures are drawn, whatever an experiment is run with."""

import json
import re
from dataclasses import replace
from functools import cache

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ncsn_pipeline.lecture import EXPERIMENTS
from ncsn_pipeline.lecture.experiment import Check
from ncsn_pipeline.lecture.running import parameters
from ncsn_pipeline.lecture.sentences import at_least, at_most, stated
from ncsn_pipeline.lecture.wrong_sigma import neighbour

# Settings with which an experiment does not find what it finds at full size, and what it must not say then.
SMALL = {"hidden_features": 8, "train_steps": 1}
SETTINGS = {
    "vector-field": SMALL | {"num_particles": 50, "num_steps": 5, "num_samples": 500},
    "implicit": SMALL | {"num_samples": 500, "num_cells": 20, "dimensions": (4,), "num_repeats": 1},
    "denoising": SMALL | {"sigma": 5.0, "num_samples": 500},
    "noised-target": SMALL | {"sigmas": (0.1, 0.3), "num_samples": 500, "ring_sigma": 1.5},
    "sliced": SMALL
    | {"dimensions": (4,), "num_samples": 200, "timed_dimensions": (2, 4), "num_repeats": 1, "exact_repeats": 1},
    "langevin": {"num_steps": 20, "num_particles": 20_000},
    "manifold": {"sigmas": (0.4, 0.2, 0.1, 0.05), "train_steps": 5, "num_samples": 500},
    "clean-loss": SMALL | {"train_steps": 20, "num_runs": 2, "batch_size": 16, "variance": 0.04},
    "low-density": SMALL | {"sigmas": (0.1, 0.5), "num_networks": 1, "grid_size": 10},
    "mixing": {"std": 4.0, "num_particles": 200, "num_steps": 200, "step_size": 0.5},
    "one-sigma": SMALL
    | {"sigmas": (0.3, 0.8, 2.0), "max_train_steps": 1, "num_samples": 200, "num_particles": 100, "num_steps": 5},
    "many-sigmas": {
        "train_steps": 1,
        "joint_steps": 1,
        "num_levels": 2,
        "num_points": 1000,
        "seed": 1,
        "right_angle": 20.0,
    },
    "annealing": SMALL
    | {"budgets": (20, 40), "num_particles": 100, "learned_particles": 50, "sigma_max": 1.5, "sigma_min": 0.5},
    "continuum": SMALL
    | {
        "num_levels": (1, 3, 10, 100),
        "num_steps": 100,
        "num_particles": 50,
        "num_reference": 200,
        "num_points": 5,
        "sigma_min": 5.0,
    },
    "one-network": {"ensemble_steps": 2, "large_steps": 1, "num_levels": 2, "hidden_features": 8, "num_test": 50}
    | {"num_particles": 50, "steps_per_level": 1, "batch_size": 64, "ensemble_batch_size": 64},
    "conservative": {"train_steps": 1, "hidden_features": 8, "num_test": 50, "num_particles": 50, "num_levels": 3},
    "never-lost": SMALL | {"num_levels": 2, "steps_per_level": 5, "num_particles": 200},
    "clean-score": SMALL | {"num_samples": 500},
    "noisy-samples": SMALL | {"sigmas": (0.01, 0.02), "num_particles": 300},
    "full-support": SMALL | {"sigmas": (0.05, 1.0), "grid_size": 10},
    "vanishing-price": {"sigma_min": 0.8, "num_levels": 3, "num_samples": 500},
    "wrong-sigma": SMALL | {"num_levels": 2, "num_samples": 500},
}
NOT_FOUND = {
    "vector-field": ["'At every point' holds"],
    "implicit": ["not near 0"],
    "denoising": ["not near 0"],
    "noised-target": ["levels off at 1", "that of one dimension"],
    "langevin": ["The rest is the step's bias", "gather at the tops"],
    "manifold": ["a smooth network explodes less"],
    "clean-loss": ["with noise it settles", "a noise that no eye sees"],
    "low-density": ["noise lowers the error everywhere", "evens it out"],
    "many-sigmas": [
        "Confirmed",
        "still extrapolates the way back",
        "small noise is needed",
        "far off every level does",
    ],
    "continuum": ["falls ever further behind"],
    "one-network": ["has the larger batch"],
    "never-lost": ["Wide levels are right everywhere", "it is enough"],
    "noisy-samples": ["takes away noise and width alike"],
    "full-support": ["and learned where", "the field grows"],
    "vanishing-price": [", as 1/2"],
}
# Those of them whose quick version takes few seconds and finds all of that.
FOUND = ["vector-field", "implicit", "denoising", "langevin", "manifold", "vanishing-price"]


@pytest.fixture(scope="module")
def run_of():
    """A result and its figure, of each experiment once."""

    @cache
    def run(name):
        module = EXPERIMENTS[name]
        result = module.run(module.Params(**SETTINGS[name]))
        return result, module.figure(result)

    return run


def texts(figure):
    """Title, subtitle and the titles of panels."""
    return " ".join(
        [*(text.get_text() for text in figure.texts), *(each.get_title(loc="left") for each in figure.axes)]
    )


@pytest.mark.parametrize("name", NOT_FOUND)
def test_a_run_does_not_say_what_it_did_not_find(name, run_of):
    result, figure = run_of(name)
    said = " ".join([*result.findings, texts(figure)])
    assert [words for words in NOT_FOUND[name] if words in said] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_a_run_says_what_it_found(name):
    module = EXPERIMENTS[name]
    said = " ".join(module.run(parameters(module, {}, quick=True)).findings)
    assert [words for words in NOT_FOUND[name] if words not in said] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_title_says_where_its_checks_fail(name, run_of):
    result, _ = run_of(name)
    for value, fails in ((0.0, False), (3.0, True)):
        checks = [replace(check, value=value, relation="<=", bound=1.0, null=2.0) for check in result.checks]
        shown = texts(EXPERIMENTS[name].figure(replace(result, checks=checks)))
        assert ("not confirmed" in shown) is fails


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_the_figure_is_drawn(name, run_of, tmp_path):
    _, figure = run_of(name)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png", dpi=50)
    picture = Image.open(tmp_path / "figure.png").convert("L")
    assert picture.width >= 400 and len(picture.getcolors()) > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_the_numbers_survive_json(name, run_of):
    written = run_of(name)[0].as_json()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["numbers"]


@pytest.mark.parametrize("value", [3.639, 3.66, 3.6, 0.29, 0.04, 0.0, -0.25, 1e20])
@pytest.mark.parametrize("places", [0, 1, 2])
def test_a_bound_is_one_and_the_tightest_of_its_places(value, places):
    last = 10**-places
    low, high = float(at_least(value, places)), float(at_most(value, places))
    assert value - last < low <= value <= high < value + last or value == 1e20 == low == high
    assert at_least(2.5, 2) == at_most(2.5, 2) == "2.50"


def test_a_sentence_stands_if_its_checks_hold_times_aside():
    holds, fails, slow = (
        Check("a", value, "<=", 2.0, null=3.0, null_name="chance", timing=timing)
        for value, timing in ((1.0, False), (4.0, False), (4.0, True))
    )
    assert stated("It is so", [holds, slow]) == "It is so"
    assert stated("It is so", [holds, fails]) == "It is so: not confirmed"


def test_the_bounds_of_wrong_sigmas_are_bounds(run_of):
    result, _ = run_of("wrong-sigma")
    off, beside = re.findall(r"([0-9.]+) %", result.findings[0])
    assert (off, beside) == (
        at_most(100 * float(result.errors.diagonal().max()), 1),
        at_least(100 * float(neighbour(result.errors).min()), 1),
    )
    shown = texts(EXPERIMENTS["wrong-sigma"].figure(replace(result, wrong_over_right=[3.639, 5.0])))
    assert "at the best wrong sigma it is 3.6 times that at the right one, or more" in shown


@pytest.mark.parametrize("name", ["never-lost", "manifold"])
def test_no_error_is_above_the_largest(name, run_of):
    result, figure = run_of(name)
    errors = result.along if name == "never-lost" else [100 * error for error in result.relative_error]
    bounds = re.findall(
        r"relative error (?:is )?(?:at most )?([0-9.]+)(?: %| at most)|error at most ([0-9.]+)",
        result.findings[1] + texts(figure),
    )
    assert bounds and all(float(one or other) >= max(errors) for one, other in bounds)


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (0.3, "at sigma 0.3 (distance 0.10), not at 2 (0.30)."),
        (0.8, "at sigma 0.8 (distance 0.20), not at 0.3 (0.10) nor at 2 (0.30)."),
        (2.0, "at sigma 2 (distance 0.30), not at 0.3 (0.10)."),
    ],
)
def test_the_best_sigma_is_not_among_those_that_are_not(best, words, run_of):
    result, _ = run_of("one-sigma")
    found = replace(result, best_sigma=best, learned_distance=[0.1, 0.2, 0.3])
    assert words in texts(EXPERIMENTS["one-sigma"].figure(found))


@pytest.mark.parametrize(("errors", "words"), [([0.1, 0.2], ("falls", "rises")), ([0.2, 0.1], ("", ""))])
def test_a_panel_says_falls_and_rises_of_what_does(errors, words, run_of):
    result, _ = run_of("one-sigma")
    found = replace(result, estimation_error=[*errors[::-1], 0.01], noised_distance=[*errors, 0.3])
    titles = [axes.get_title(loc="left") for axes in EXPERIMENTS["one-sigma"].figure(found).axes]
    for title, verb, rest in zip(
        titles, words, ("error of the learned score", "distance noised to clean"), strict=False
    ):
        assert title == f"{verb}: {rest}" if verb else title == rest


@pytest.mark.parametrize(("errors", "verb"), [([0.02, 0.98], "grows"), ([0.41, 0.32], "goes")])
def test_an_error_grows_if_it_does(errors, verb, run_of):
    result, _ = run_of("noised-target")
    shown = texts(EXPERIMENTS["noised-target"].figure(replace(result, against_clean=errors)))
    assert f"the error {verb} from {100 * errors[0]:.0f} % to {100 * errors[1]:.0f} %" in shown


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([1.9, 2.1], "unbiased, and twice the price of denoising at any dimension"),
        ([1.2, 3.4], "unbiased, and 1.2 to 3.4 times the price of denoising"),
    ],
)
def test_twice_the_price_is_said_of_what_costs_it(times, words, run_of):
    result, _ = run_of("sliced")
    shown = texts(EXPERIMENTS["sliced"].figure(replace(result, times=result.times | {"sliced": times})))
    assert words in shown


def test_the_last_check_of_the_continuum_is_not_its_own_null(run_of):
    result, _ = run_of("continuum")
    check = result.checks[-1]
    assert check.name.endswith("distance with 3 levels over that with 100") and check.null_name == "with 10 levels"
    assert check.value != check.null


def test_the_largest_level_is_not_called_wider_than_the_data(run_of):
    """The data deviate by 1.13 and 1.04; the largest level is 1."""
    result, _ = run_of("vanishing-price")
    assert result.checks[-1].null_name == "sigma 1, the largest"


@pytest.mark.parametrize(("extent", "is_as_wide"), [(20.0, False), (0.8, True)])
def test_noise_as_wide_as_the_data_is_as_wide(extent, is_as_wide, run_of):
    result, _ = run_of("low-density")
    found = replace(result, data_extent=extent, ratio=[300.0, 1.5])  # the largest sigma is 0.5
    shown = texts(EXPERIMENTS["low-density"].figure(found))
    assert ("noise as wide as the data, sigma 0.5, evens it out to 1.5" in shown) is is_as_wide
