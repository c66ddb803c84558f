"""The constant that the denoising loss ends at, by the dimension of the data."""

import pytest
import torch

from ncsn_pipeline.lecture.noised_target import Params, least_loss


@pytest.mark.parametrize("sigma", [0.01, 0.02])
def test_the_constant_of_a_ring_is_that_of_one_dimension(sigma):
    params = Params(ring_sigma=sigma, num_samples=20_000)
    constant, standard_error = least_loss(params, torch.Generator().manual_seed(0))
    one = 1 / (2 * sigma**2)
    # Across the ring the squared score is chi-squared with one degree of freedom: variance 2 / sigma^4.
    assert standard_error == pytest.approx(2**0.5 * one / 20_000**0.5, rel=0.05)
    assert abs(constant - one) < 4 * standard_error
    assert abs(constant - 2 * one) > 50 * standard_error
