import math

import pytest
import torch
from scipy.optimize import brentq

from ncsn_pipeline.noise_levels import (
    diagnose_noise_levels,
    end_variance_ratio,
    geometric_noise_levels,
    karras_noise_levels,
    num_levels_for_overlap,
    step_size_for_end_variance,
    step_size_for_variance,
)

CIFAR10 = 3 * 32**2


@pytest.mark.parametrize(
    "sigma_max, num_levels, steps, step_size, dimension",
    [(50, 232, 5, 6.2e-6, CIFAR10), (90, 500, 5, 3.3e-6, 3 * 64**2), (348, 2311, 3, 9e-7, 3 * 256**2)],
    ids=["CIFAR-10", "CelebA-64", "FFHQ-256"],
)
def test_published_settings_have_no_fault(sigma_max, num_levels, steps, step_size, dimension):
    sigmas = geometric_noise_levels(sigma_max, 0.01, num_levels)
    assert diagnose_noise_levels(sigmas, steps, step_size, dimension, data_extent=sigma_max) == []


def test_the_first_ncsn_has_the_faults_that_the_second_names():
    """1 -> 0.01 in 10 levels on CIFAR-10: too small a start (technique 1), too wide gaps (technique 2)."""
    faults = diagnose_noise_levels(geometric_noise_levels(1, 0.01, 10), 100, 2e-5, CIFAR10, data_extent=50)
    assert len(faults) == 2
    assert "first level 1 is below the data's extent 50" in faults[0]
    assert "9 of 9 gaps are too wide" in faults[1]
    assert f"Use {num_levels_for_overlap(CIFAR10, 1, 0.01)} geometric levels" in faults[1]


def test_taking_the_advice_removes_the_fault():
    wide = geometric_noise_levels(20, 0.01, 30)
    assert diagnose_noise_levels(wide, 5, step_size_for_variance(wide, 5)[0], 784) != []
    advised = geometric_noise_levels(20, 0.01, num_levels_for_overlap(784, 20, 0.01))
    assert diagnose_noise_levels(advised, 5, step_size_for_variance(advised, 5)[0], 784) == []


def test_only_the_wide_gaps_are_counted():
    good = geometric_noise_levels(10, 0.01, 200).tolist()
    faults = diagnose_noise_levels(good[:100] + good[110:], 5, 1e-5, 784)
    assert len(faults) == 1
    assert "1 of 189 gaps are too wide: levels 100 and 101" in faults[0]


def test_the_extent_is_not_checked_without_being_given():
    sigmas = geometric_noise_levels(1, 0.01, 60)
    step_size, _ = step_size_for_variance(sigmas, 5)
    assert diagnose_noise_levels(sigmas, 5, step_size, 784) == []
    assert len(diagnose_noise_levels(sigmas, 5, step_size, 784, data_extent=1.01)) == 1


@pytest.mark.parametrize("step_size, ends_with", [(1e-7, "2.85e+06"), (1e-30, "2.5e+07")])
def test_a_step_that_is_far_too_small_is_named_with_what_it_leaves(step_size, ends_with):
    """CIFAR-10's levels.  Each level but the first is entered with what the one above left over."""
    sigmas = geometric_noise_levels(50, 0.01, 232, dtype=torch.float64)
    faults = diagnose_noise_levels(sigmas, 5, step_size, CIFAR10)
    assert len(faults) == 1 and "too small" in faults[0]
    assert f"ends with {ends_with} times" in faults[0]
    best, ratio = step_size_for_end_variance(sigmas, 5)
    assert f"Use {best:.2g}, which gives {ratio:.3g}" in faults[0]
    assert diagnose_noise_levels(sigmas, 5, best, CIFAR10) == []


@pytest.mark.parametrize("end_variance, has_fault", [(1.49, False), (1.51, True)])
def test_one_and_a_half_times_the_last_variance_is_the_limit(end_variance, has_fault):
    """On the side of too large a step, where two levels and one step each end with what is solved for here."""
    gamma = 1.1

    def excess(u):
        return end_variance_ratio([gamma, 1.0], u, 1) - end_variance

    faults = diagnose_noise_levels([gamma, 1.0], 1, brentq(excess, 0.3, 1.9), 784)
    assert [fault for fault in faults if "too large" in fault] == faults
    assert bool(faults) == has_fault


@pytest.mark.parametrize("relative_step, diverges", [(1.99, False), (2.0, True), (5.0, True)])
def test_a_diverging_step_is_named_with_a_better_one(relative_step, diverges):
    sigmas = geometric_noise_levels(50, 1.0, 200)
    faults = diagnose_noise_levels(sigmas, 5, relative_step, 784)
    best, _ = step_size_for_end_variance(sigmas, 5)
    assert len(faults) == 1
    assert ("diverges" in faults[0]) == diverges
    assert f"Use {best:.2g}" in faults[0]


def test_steps_of_the_wrong_size_and_too_few_steps_are_told_apart():
    sigmas = [4.0, 2.0, 1.0]  # two dimensions: gamma = 2 is what technique 2 falls back to
    best, ratio = step_size_for_end_variance(sigmas, 1)
    assert ratio > 1.5
    too_few = diagnose_noise_levels(sigmas, 1, best, 2)
    assert len(too_few) == 1 and "too few" in too_few[0] and f"{ratio:.2f} times" in too_few[0]
    best, _ = step_size_for_end_variance(sigmas, 10)
    assert diagnose_noise_levels(sigmas, 10, best, 2) == []
    assert "too small" in diagnose_noise_levels(sigmas, 10, best / 20, 2)[0]
    assert "too large" in diagnose_noise_levels(sigmas, 10, 1.5, 2)[0]


@pytest.mark.parametrize("step_size", [0.0, -1.0, math.nan, math.inf])
def test_a_step_size_that_is_none_is_named(step_size):
    faults = diagnose_noise_levels([2.0, 1.0], 10, step_size, 2)
    assert len(faults) == 1 and "finite positive" in faults[0]


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_a_number_of_steps_that_is_none_is_named(steps):
    faults = diagnose_noise_levels([2.0, 1.0], steps, 0.1, 2)
    assert len(faults) == 1 and "steps_per_level" in faults[0]


@pytest.mark.parametrize(
    "sigmas, words",
    [
        ([], "at least one"),
        ([[1.0, 0.1]], "at least one"),
        ([1.0, math.nan, 0.1], "Level 2 of 3 is not finite"),
        ([math.inf, 1.0], "Level 1 of 2 is not finite"),
        ([1.0, 0.5, 0.0], "Level 3 of 3 is not positive"),
        ([1.0, -0.5], "Level 2 of 2 is not positive"),
        ([0.1, 1.0, 10.0], "level 1 is 0.1 and level 2 is 1"),
        ([1.0, 0.5, 0.5], "level 2 is 0.5 and level 3 is 0.5"),
    ],
)
def test_what_is_no_ladder_gets_that_fault_alone(sigmas, words):
    faults = diagnose_noise_levels(sigmas, 0, -1.0, 784, data_extent=100.0)
    assert len(faults) == 1 and words in faults[0]


def test_few_dimensions_are_measured_by_the_ratio():
    faults = diagnose_noise_levels([100.0, 10.0, 1.0], 100, 0.1, 2)
    assert len(faults) == 1 and "a factor of 10 apart, where 2 is wanted" in faults[0]


def test_a_ladder_for_odes_is_too_wide_for_langevin():
    faults = diagnose_noise_levels(karras_noise_levels(80, 0.002, 18), 5, 1e-6, CIFAR10)
    assert "17 of 17 gaps" in faults[0]


def test_one_level_has_no_gaps():
    assert diagnose_noise_levels([1.0], 5, 0.1, 784) == []


@pytest.mark.parametrize("steps", [1, 5, 100])
def test_one_level_can_have_too_large_a_step_and_never_too_small_a_one(steps):
    faults = diagnose_noise_levels([0.1], steps, 1.9 * 0.1**2, 784)
    assert len(faults) == 1 and "too large" in faults[0]
    best, _ = step_size_for_end_variance([0.1], steps)
    assert f"Use {best:.2g}" in faults[0]
    assert diagnose_noise_levels([0.1], steps, best, 784) == diagnose_noise_levels([0.1], steps, 1e-30, 784) == []


@pytest.mark.parametrize("arguments", [{"data_extent": math.nan}, {"data_extent": 0.0}, {"overlap": 1.0}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError):
        diagnose_noise_levels([1.0], 5, 0.1, 784, **arguments)
    with pytest.raises(ValueError, match="dimension"):
        diagnose_noise_levels([1.0], 5, 0.1, 0)
