"""Technique 2 against its closed form, a simulation of shells, and the numbers of the paper."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import chi

from ncsn_pipeline.noise_levels import num_levels_for_overlap, overlap_probability
from ncsn_pipeline.noise_levels.overlap import ratio_for_overlap

CIFAR10, MNIST, CELEBA64, FFHQ256 = 3 * 32**2, 28**2, 3 * 64**2, 3 * 256**2


def test_cifar10_needs_219_levels():
    assert num_levels_for_overlap(CIFAR10, 50, 0.01) == 219


def test_mnist_needs_59_levels():
    unrounded = 1 + math.log(100) / math.log(ratio_for_overlap(MNIST))
    assert unrounded == pytest.approx(59.45, abs=0.005)
    assert num_levels_for_overlap(MNIST, 1, 0.01) == 59


@pytest.mark.parametrize(
    "dimension, sigma_max, num_levels", [(CIFAR10, 50, 232), (CELEBA64, 90, 500), (FFHQ256, 348, 2311)]
)
def test_published_ladders_overlap_with_the_same_probability(dimension, sigma_max, num_levels):
    """The authors took somewhat more levels than an overlap of 0.5 asks for: 0.567 in all three."""
    gamma = (sigma_max / 0.01) ** (1 / (num_levels - 1))
    assert overlap_probability(gamma, dimension) == pytest.approx(0.567, abs=5e-4)


@pytest.mark.parametrize("dimension", [8, 64, MNIST, CIFAR10, 10**9])
def test_half_has_a_closed_form(dimension):
    """At 0.5 the lower argument is zero, sqrt(2D) (gamma - 1) = 3 gamma, as long as the upper tail is negligible."""
    root = math.sqrt(2 * dimension)
    assert ratio_for_overlap(dimension) == pytest.approx(root / (root - 3), rel=1e-6)


@pytest.mark.parametrize("dimension", [5, 16, MNIST, FFHQ256])
@pytest.mark.parametrize("overlap", [1e-3, 0.1, 0.5, 0.9, 0.997])
def test_the_ratio_solves_the_equation(dimension, overlap):
    ratio = ratio_for_overlap(dimension, overlap)
    assert ratio > 1
    assert overlap_probability(ratio, dimension) == pytest.approx(overlap, rel=1e-6)


def test_probability_is_that_of_simulated_shells():
    """Norms of N(0, sigma² I) fall into the wider shell as often as said.

    Within four standard errors, and 1/sqrt(D) for the shell's not quite normal profile.
    """
    dimension, gamma, n = 10**6, 1.0025, 100_000
    norms = np.sqrt(np.random.default_rng(0).chisquare(dimension, n))
    centre, deviation = math.sqrt(dimension) * gamma, gamma / math.sqrt(2)
    inside = np.mean(np.abs(norms - centre) < 3 * deviation)
    expected = overlap_probability(gamma, dimension)
    assert 0.1 < expected < 0.9
    tolerance = 4 * math.sqrt(expected * (1 - expected) / n) + 1 / math.sqrt(dimension)
    assert inside == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("dimension", "probability"), [(11, 0.443), (64, 0.476), (784, 0.493)])
def test_probability_is_a_normal_approximation(dimension, probability):
    """The norm of N(0, I) is chi distributed: the true share within three deviations of the shell, at C = 0.5."""
    gamma = ratio_for_overlap(dimension)
    centre, deviation = math.sqrt(dimension) * gamma, gamma / math.sqrt(2)
    low, high = chi(dimension).cdf([centre - 3 * deviation, centre + 3 * deviation])
    assert high - low == pytest.approx(probability, abs=5e-4)
    assert overlap_probability(gamma, dimension) == pytest.approx(0.5)


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_four_dimensions_and_fewer_have_no_root(dimension):
    assert ratio_for_overlap(dimension) is None
    assert all(overlap_probability(gamma, dimension) > 0.997 for gamma in np.geomspace(1, 1e6, 100))
    with pytest.warns(UserWarning, match="has no solution.*gamma = 2"):
        assert num_levels_for_overlap(dimension, 16, 1) == 5


@pytest.mark.parametrize("dimension", [5, 8, 10])
def test_useless_roots_are_replaced(dimension):
    assert ratio_for_overlap(dimension) > 3
    with pytest.warns(UserWarning, match="wider than 3.*gamma = 2"):
        assert num_levels_for_overlap(dimension, 16, 1) == 5


def test_from_eleven_dimensions_on_nothing_is_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert num_levels_for_overlap(11, 16, 1) == 4  # gamma = 2.78


@pytest.mark.parametrize("sigma_max, expected", [(1.0, 1), (1.0001, 2), (1.5, 2)])
def test_two_ends_need_two_levels_unless_they_are_one(sigma_max, expected):
    assert num_levels_for_overlap(64, sigma_max, 1.0) == expected


def test_more_overlap_takes_more_levels():
    counts = [num_levels_for_overlap(MNIST, 10, 0.01, overlap) for overlap in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 1, 0.01), "dimension must be"),
        ((2.5, 1, 0.01), "dimension must be"),
        ((64, math.nan, 0.01), "sigma_max must be"),
        ((64, 1, 0), "sigma_min must be"),
        ((64, 0.01, 1), "must not exceed"),
        ((64, 1, 0.01, 0.0), "overlap must lie"),
        ((64, 1, 0.01, 0.9974), "overlap must lie"),
        ((64, 1, 0.01, math.nan), "overlap must lie"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        num_levels_for_overlap(*arguments)


@pytest.mark.parametrize("ratio", [0.99, math.nan])
def test_a_ratio_below_one_is_refused(ratio):
    with pytest.raises(ValueError, match="at least 1"):
        overlap_probability(ratio, 64)
