"""Sizes of networks, and the comparison of their errors."""

import pytest

from ncsn_pipeline.lecture.one_network import count_parameters, width_of, worst_ratio
from ncsn_pipeline.networks import ScoreMLP


def size(width):
    """Three hidden layers and the maps of 32 features of sigma to their shifts: 2 w² + 106 w + 2."""
    return 2 * width**2 + 106 * width + 2


def test_size_in_closed_form():
    assert count_parameters(ScoreMLP(hidden_features=44)) == size(44)


@pytest.mark.parametrize("width", [2, 44, 181])
def test_widest_network_that_fits(width):
    assert width_of(size(width)) == width
    assert width_of(size(width) - 1) == width - 1
    assert width_of(size(width + 1) - 1) == width


@pytest.mark.parametrize("most", [0, size(1) - 1, size(1023)])
def test_sizes_without_a_network_are_refused(most):
    with pytest.raises(ValueError, match="take hidden_features"):
        width_of(most)


def test_worst_ratio_leaves_out_levels_where_both_are_exact_enough():
    assert worst_ratio([0.001, 0.02, 0.03], [1e-6, 0.04, 0.02], exact_error=0.005) == pytest.approx(1.5)
    assert worst_ratio([0.01], [0.001], exact_error=0.005) == pytest.approx(10)
    assert worst_ratio([0.001], [0.001], exact_error=0.005) == 0
