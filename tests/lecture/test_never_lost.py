"""The error of a score along the chain that it drives."""

import pytest
import torch

from ncsn_pipeline.densities import exact_score_function
from ncsn_pipeline.lecture.never_lost import NeverLostParams, errors_along
from ncsn_pipeline.lecture.toy import corner_mixture
from ncsn_pipeline.noise_levels import geometric_noise_levels

LEVELS = geometric_noise_levels(4.0, 0.5, 3)
PARAMS = NeverLostParams(num_levels=3, steps_per_level=5)


def along(score_fn):
    generator = torch.Generator().manual_seed(0)
    density = corner_mixture()
    start = density.noised(4.0).sample(50, generator=generator)
    return errors_along(score_fn, density, start, LEVELS, PARAMS, generator)


def test_the_exact_score_has_no_error_and_a_scaled_one_that_of_its_factor():
    exact = exact_score_function(corner_mixture())
    errors, end = along(exact)
    assert errors == [0.0, 0.0, 0.0] and end.shape == (50, 2)
    assert along(lambda x, sigma: 1.5 * exact(x, sigma))[0] == pytest.approx([0.25] * 3, rel=1e-5)


def test_an_error_at_one_level_counts_at_that_level_alone():
    exact = exact_score_function(corner_mixture())
    errors, _ = along(lambda x, sigma: exact(x, sigma) * (2 if float(sigma) == float(LEVELS[1]) else 1))
    assert errors == pytest.approx([0.0, 1.0, 0.0], rel=1e-5)


def test_the_error_is_taken_where_the_chain_is():
    """A score that is wrong on the left alone is right for a chain on the right."""
    exact = exact_score_function(corner_mixture())
    wrong = lambda x, sigma: torch.where(x[:, :1] < 0, 0.0, 1.0) * exact(x, sigma)  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    density, low = corner_mixture(), geometric_noise_levels(0.5, 0.2, 3)
    for at, expected in (([5.0, 5.0], 0.0), ([-5.0, -5.0], 1.0)):
        start = torch.tensor(at) + 0.3 * torch.randn(50, 2, generator=generator)
        errors, _ = errors_along(wrong, density, start, low, PARAMS, generator)
        assert errors == pytest.approx([expected] * 3)


def test_one_level_is_no_annealing():
    with pytest.raises(ValueError, match="num_levels must be at least 2, to anneal; got 1"):
        NeverLostParams(num_levels=1)
