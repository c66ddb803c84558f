"""Paths with L levels and their limit."""

import math

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture, exact_score_function
from ncsn_pipeline.lecture.continuum import ContinuumParams, path_ends, path_order, run, start_std

PARAMS = ContinuumParams(sigma_max=10.0, sigma_min=0.1)


def test_paths_of_a_gaussian_end_where_the_ode_ends():
    """dx / d sigma = sigma x / (sigma² + 1) scales x by the ratio of the deviations; Euler is off by O(1 / L)."""
    density = GaussianMixture(torch.zeros(1, 2, dtype=torch.float64), 1.0)
    z = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert start_std(density, PARAMS) == pytest.approx(math.sqrt(101))
    # The scheduler ends with a full step, from sigma_min to 0, which for N(0, 1) divides by 1 + sigma_min².
    exact = z * math.sqrt(1.01) / 1.01

    def ends(number):
        return path_ends(exact_score_function(density), density, number, "ode", PARAMS, z)

    far, near = ((ends(number) / exact - 1).abs().max().item() for number in (50, 500))
    assert 9 < far / near < 11
    assert path_order(ends, [200, 400]) == pytest.approx(1, abs=0.02)


def test_the_order_is_read_off_the_ends():
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert path_order(lambda number: x / number**2, [10, 40]) == pytest.approx(2, rel=1e-5)


def test_fewer_than_four_numbers_of_levels_are_refused():
    with pytest.raises(ValueError, match="num_levels must be at least 4 values"):
        ContinuumParams(num_levels=(1, 10, 100))
    with pytest.raises(ValueError, match="increasing numbers of at most num_steps = 1000"):
        run(ContinuumParams(num_levels=(1, 10, 100, 2000)))
