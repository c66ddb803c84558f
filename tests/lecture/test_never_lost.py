"""The error of a score along the chain that it drives, and scores that are wrong on one side of a contour."""

import math

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture, exact_score_function
from ncsn_pipeline.lecture.never_lost import MANY_SAMPLES, NeverLostParams, errors_along, lowest_own, without_arrows
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
    with pytest.raises(ValueError, match="num_levels must be at least 2; got 1"):
        NeverLostParams(num_levels=1)


@pytest.mark.parametrize("inside", [True, False])
def test_a_score_without_arrows_on_one_side_is_the_score_on_the_other(inside):
    """The contour is that of the level before, not of the level that is asked."""
    density = corner_mixture()
    exact = exact_score_function(density)
    handed = torch.tensor([4.0, 4.0, 2.0])
    heights = torch.tensor([-9.0, -6.0, -5.0])
    wrong = without_arrows(exact, density, LEVELS, handed, heights, inside=inside)
    x = 8 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    for i, sigma in enumerate(LEVELS):
        zero = (density.noised(float(handed[i])).log_prob(x) >= heights[i]) == inside
        assert 10 < zero.sum() < 490
        score = wrong(x, sigma)
        assert (score[zero] == 0).all()
        assert torch.equal(score[~zero], exact(x, sigma)[~zero])


def test_the_lowest_of_many_own_samples_lies_far_out():
    """For N(0, s² I) in the plane the density of the farthest of n samples is 1 / n of that at the centre."""
    density = GaussianMixture(torch.zeros(1, 2), 1.0)
    lowest = lowest_own(density, LEVELS, torch.Generator().manual_seed(0))
    centre = torch.stack([density.noised(float(sigma)).log_prob(torch.zeros(1, 2))[0] for sigma in LEVELS])
    # n times that ratio is exponential with mean 1: within (0.001, 7) but for 0.2 % of the seeds.
    assert ((lowest - centre + math.log(MANY_SAMPLES)).exp() < 7).all()
    assert ((lowest - centre + math.log(MANY_SAMPLES)).exp() > 0.001).all()
