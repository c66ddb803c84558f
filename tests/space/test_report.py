"""What the Generate tab says about settings before they run, in the sentences that a visitor reads."""

import re
from types import SimpleNamespace

import pytest

from ncsn_pipeline import step_size_for_variance
from ncsn_pipeline.noise_levels import end_variance_ratio, step_size_for_end_variance
from ncsn_pipeline.space.generate import report
from ncsn_pipeline.space.generate.call import ladder_of
from ncsn_pipeline.space.generate.controls import CONTROLS, step_size_of
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.runs.controls import ModelFacts, defaults
from ncsn_pipeline.space.runs.model import SpaceModel

MODEL = ModelFacts([str(label) for label in range(10)])
LANGEVIN = {"sampler": "annealed_langevin", "num_levels": 100, "class_label": "none", "num_images": 1}


@pytest.fixture(scope="module")
def model(model_folder):
    return SpaceModel.load(str(model_folder))


def settings(**changed):
    return check_generate(defaults(CONTROLS, MODEL) | LANGEVIN | changed, MODEL)


def written(number):
    """The value of a number as the page writes it, 1.05×10⁻⁵."""
    factor, _, power = number.partition("×10")
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    return float(factor) * 10.0 ** int(power.translate(digits) or 0)


def test_a_step_that_is_too_small_is_warned_about(model):
    faults = report.warnings_about(settings(step_mode="fraction", step_fraction=0.001), model)
    assert len(faults) == 1 and "too small" in faults[0]
    assert report.warnings_about(settings(), model) == []


def test_technique_4_at_one_step_per_level_is_warned_about_with_the_better_step(model):
    chosen = settings(steps_per_level=1)
    best, least = step_size_for_end_variance(ladder_of(chosen, MODEL), 1)
    fault = next(fault for fault in report.warnings_about(chosen, model) if "too small" in fault)
    assert f"Use {best:.2g}, which gives {least:.3g}" in fault


@pytest.mark.parametrize("sampler", ["consistent", "heun"])
def test_other_samplers_have_no_step_size_to_warn_about(model, sampler):
    chosen = settings(sampler=sampler, num_levels=20)
    assert report.warnings_about(chosen, model) == []
    assert "ε" not in report.notes(chosen, model)


@pytest.mark.parametrize("sampler", ["consistent", "annealed_langevin"])
def test_what_the_control_cannot_reach_is_not_asked_for(sampler):
    """A network that was trained up to 80; the first level goes up to 50."""
    facts = ModelFacts(MODEL.class_names, (0.01, 80.0))
    chosen = check_generate(defaults(CONTROLS, facts) | LANGEVIN | {"sampler": sampler}, facts)
    large = SimpleNamespace(trained_range=facts.trained_range, few_levels=(), dimension=64)
    assert chosen.sigma_max == 50 and report.warnings_about(chosen, large) == []


@pytest.mark.parametrize("sigma_min, praise", [(0.01, "is the least that the network knows."), (0.05, "is 0.05; the ")])
def test_the_last_level_is_called_the_least_only_where_it_is(model, sigma_min, praise):
    said = report.notes(settings(sampler="consistent", num_levels=20, sigma_min=sigma_min), model)
    assert praise in said and ("is the least" in said) == (sigma_min == 0.01)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_note_tells_the_variance_at_the_end_and_the_least(model, steps):
    chosen = settings(steps_per_level=steps)
    sigmas = ladder_of(chosen, MODEL)
    epsilon = step_size_of(chosen, sigmas)
    assert epsilon == step_size_for_variance(sigmas, steps)[0]
    best, least = step_size_for_end_variance(sigmas, steps)
    ends_with = end_variance_ratio(sigmas, epsilon / float(sigmas[-1]) ** 2, steps)
    said = re.search(r"ends at (\S+) σ²; the least is (\S+) σ², at ε = (\S+)\.<", report.notes(chosen, model)).groups()
    assert [written(number) for number in said] == pytest.approx([ends_with, least, best], rel=5e-3)
    assert ends_with > least


def test_one_level_and_a_diverging_step_have_notes_of_their_own(model):
    one = report.notes(settings(num_levels=1, sigma_max=0.5), model)
    assert re.search(r"ends at \S+ σ²\.<", one)
    diverging = report.notes(settings(step_mode="fraction", step_fraction=1.5), model)
    assert "diverges" in diverging and "1.5 of the limit" in diverging and "ends at" not in diverging


@pytest.mark.parametrize(
    "changed", [{}, {"step_mode": "fraction", "step_fraction": 0.001}, {"steps_per_level": 1}, {"sigma_min": 0.005}]
)
def test_numbers_are_powers_of_ten_and_never_programs_own(model, changed):
    chosen = settings(**changed)
    said = report.notes(chosen, model) + report.ladder_plots(chosen, model).partition("<style>")[0]
    assert not re.search(r"\d(\.\d+)?e[+-]?\d", said)
    assert "×10⁻" in said
