"""Every input of the page is checked once: what is let through, what is refused, and what is said then."""

import re

import pytest

from ncsn_pipeline.samplers import SAMPLERS
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.runs.controls import ModelFacts
from ncsn_pipeline.space.runs.limits import BUDGET, SettingsError, check_choice, check_class, check_number, check_whole

from .ranges import STRANGE, assert_choices, assert_range, taken

GOOD = {
    "sampler": "annealed_langevin",
    "ladder": "geometric",
    "sigma_max": 12,
    "sigma_min": 0.01,
    "num_levels": 50,
    "steps_per_level": 5,
    "step_mode": "automatic",
    "step_fraction": 0.1,
    "noise_back": "ancestral",
    "eta": 0.5,
    "predictor": "reverse_diffusion",
    "corrector_steps": 1,
    "signal_to_noise": 0.16,
    "class_label": "each",
    "guidance_scale": 1,
    "num_images": 16,
    "seed": 0,
}


def check(num_classes=10, **changed):
    return check_generate(GOOD | changed, ModelFacts([str(label) for label in range(num_classes or 0)]))


def test_good_settings_come_back_typed():
    settings = check(num_levels=50.0, seed=7.0)
    assert (settings.num_levels, settings.seed) == (50, 7)
    assert all(type(value) is int for value in (settings.num_levels, settings.seed, settings.num_images))
    assert type(settings.sigma_max) is float


def test_no_strange_value_is_a_number():
    outside = [value for value in STRANGE if value != -1]
    assert taken(lambda value: check_number("x", value, -1.0, 2.0), outside) == []
    assert taken(lambda value: check_whole("x", value, -1, 2), [*outside, 0.5]) == []
    assert check_number("x", -1, -1.0, 2.0) == check_whole("x", -1.0, -1, 2) == -1


def test_no_strange_value_is_a_choice():
    assert taken(lambda value: check_choice("x", value, ("geometric", "1")), STRANGE) == []
    assert taken(lambda value: check_class(value, ("none", "1")), [*STRANGE, 0, 1.0, "01"]) == []
    assert check_class(1, ("none", "1")) == check_class("1", ("none", "1")) == "1"


@pytest.mark.parametrize(
    "name, label, low, high",
    [
        ("sigma_max", "σ max", 0.1, 50.0),
        ("sigma_min", "σ min", 0.005, 1.0),
        ("num_levels", "Number of levels", 1, 200),
        ("steps_per_level", "Steps per level", 1, 100),
        ("step_fraction", "Step size as a fraction of its limit", 0.001, 2.0),
        ("eta", "η", 0.01, 2.0),
        ("corrector_steps", "Corrector steps per level", 0, 10),
        ("signal_to_noise", "r", 0.01, 0.99),
        ("guidance_scale", "Guidance", 0.0, 8.0),
        ("num_images", "Number of images", 1, 64),
        ("seed", "Seed", 0, 2**31 - 1),
    ],
)
def test_every_number_has_its_range(name, label, low, high):
    assert_range(lambda value: check(**{"num_images": 1, name: value}), label, low, high)


@pytest.mark.parametrize(
    "name, label, choices",
    [
        ("sampler", "Sampler", list(SAMPLERS)),
        ("ladder", "Spacing", ["geometric", "uniform", "karras"]),
        ("step_mode", "Step size", ["automatic", "fraction"]),
        ("noise_back", "Noise put back after each step", ["ancestral", "ode", "eta"]),
        ("predictor", "Predictor", ["reverse_diffusion", "ancestral"]),
        ("class_label", "Class", ["drawn", "each", *"0123456789", "none"]),
    ],
)
def test_every_choice_has_its_names(name, label, choices):
    assert_choices(lambda value: check(**{name: value}), label, choices)


def test_a_refusal_names_what_is_valid_and_the_nearest_value():
    with pytest.raises(
        SettingsError, match=r"σ max must lie between 0\.1 and 50; got 51\..*nearest allowed value is 50\."
    ):
        check(sigma_max=51)
    with pytest.raises(SettingsError, match="got nothing"):
        check(seed=None)


def test_a_refusal_does_not_repeat_a_long_input():
    with pytest.raises(SettingsError) as caught:
        check(sampler="x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "changed, evaluations, images_each",
    [
        ({"sampler": "consistent"}, 50, 16),
        ({"sampler": "consistent", "steps_per_level": 100}, 50, 16),
        ({}, 251, 16),
        ({"guidance_scale": 2}, 251, 32),
        ({"guidance_scale": 2, "class_label": "none"}, 251, 16),
        ({"guidance_scale": 0}, 251, 32),
        ({"num_levels": 1, "steps_per_level": 100}, 101, 16),
        ({"sampler": "dpm"}, 50, 16),
        ({"sampler": "predictor-corrector"}, 99, 16),
        ({"sampler": "predictor_corrector", "corrector_steps": 3}, 197, 16),
        ({"sampler": "heun"}, 99, 16),
        ({"sampler": "heun", "num_levels": 1}, 1, 16),
    ],
)
def test_the_cost_is_counted(changed, evaluations, images_each):
    settings = check(**changed)
    assert (settings.evaluations, settings.images_per_evaluation) == (evaluations, images_each)


@pytest.mark.parametrize("guidance_scale, factor", [(1, 1), (3, 2)])
def test_the_budget_is_a_bound_and_the_advice_keeps_it(guidance_scale, factor):
    """200 levels of 10 steps: 2001 evaluations."""
    largest = BUDGET // (2001 * factor)
    costly = {"num_levels": 200, "steps_per_level": 10, "guidance_scale": guidance_scale}
    assert check(num_images=largest, **costly).num_images == largest
    with pytest.raises(SettingsError, match=f"at most {largest} image") as caught:
        check(num_images=largest + 1, **costly)
    assert f"{BUDGET:,}" in str(caught.value)


@pytest.mark.parametrize(
    "costly",
    [
        {"num_levels": 200, "steps_per_level": 100, "num_images": 64, "guidance_scale": 3},
        {"num_levels": 200, "steps_per_level": 100, "num_images": 2},
        {"num_levels": 200, "steps_per_level": 100, "num_images": 1, "guidance_scale": 3},
        {"num_levels": 50, "steps_per_level": 30, "num_images": 64},
        {"sampler": "heun", "num_levels": 200, "num_images": 64, "guidance_scale": 3},
    ],
)
def test_every_setting_that_is_advised_is_the_largest_that_fits(costly):
    with pytest.raises(SettingsError, match="The nearest allowed: ") as caught:
        check(**costly)
    advice = str(caught.value).partition("The nearest allowed: ")[2]
    alone = costly | ({"num_images": 1} if "one image and" in advice else {})
    names = {"image(s)": "num_images", "levels": "num_levels", "steps per level": "steps_per_level"}
    found = re.findall(r"at most (\d+) (image\(s\)|levels|steps per level)", advice)
    assert found
    for number, words in found:
        check(**alone | {names[words]: int(number)})
        with pytest.raises(SettingsError):
            check(**alone | {names[words]: int(number) + 1})


@pytest.mark.parametrize("sampler", [name for name, sampler in SAMPLERS.items() if sampler.is_solver])
def test_solvers_have_their_own_ladders_and_need_two_ends(sampler):
    with pytest.raises(SettingsError, match="has no uniform spacing of its levels. Choose karras or geometric"):
        check(sampler=sampler, ladder="uniform")
    with pytest.raises(SettingsError, match=r"must be below"):
        check(sampler=sampler, num_levels=1, sigma_max=0.5, sigma_min=0.5)
    assert check(sampler=sampler, num_levels=1, ladder="karras").sigma_min == 0.01
    if SAMPLERS[sampler].least_levels == 2:
        with pytest.raises(SettingsError, match="needs at least 2 levels of geometric spacing"):
            check(sampler=sampler, num_levels=1)
    else:
        assert check(sampler=sampler, num_levels=1).sigma_min == 0.01


def test_a_ladder_must_go_down():
    with pytest.raises(SettingsError, match=r"σ min \(0\.5\) must be below σ max \(0\.5\)"):
        check(sigma_max=0.5, sigma_min=0.5)


def test_one_level_is_sigma_max_whatever_sigma_min_says():
    assert check(num_levels=1, sigma_max=0.5, sigma_min=1).sigma_min == 0.5


def test_what_a_sampler_does_not_have_is_left_out():
    consistent = check(sampler="consistent", step_mode="fraction", steps_per_level=7)
    assert (consistent.steps_per_level, consistent.step_fraction) == (1, None)
    assert check(step_mode="fraction", step_fraction=1.2).step_fraction == 1.2  # the scheduler refuses it, in its words
    assert check(step_mode="automatic").step_fraction is None


@pytest.mark.parametrize("class_label", ["each", "0", "9"])
def test_a_model_without_classes_has_no_class_labels(class_label):
    with pytest.raises(SettingsError, match="Class must be one of drawn, none"):
        check(num_classes=None, class_label=class_label)
    settings = check(num_classes=None, class_label="drawn", guidance_scale=3)
    assert settings.guidance_scale == 1


def test_the_classes_are_the_model_s():
    assert check(num_classes=3, class_label="2").class_label == "2"
    with pytest.raises(SettingsError):
        check(num_classes=3, class_label="3")


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_numbers_beyond_every_float_are_refused_in_words(value):
    with pytest.raises(SettingsError, match=r"Seed must lie between 0 and 2,147,483,647; got -?inf\."):
        check(seed=value)
