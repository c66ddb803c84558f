"""Sizes of networks, the comparison of their errors, and the weight of their loss."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ncsn_pipeline.densities import two_moons
from ncsn_pipeline.lecture.all_levels import learn_scores
from ncsn_pipeline.lecture.one_network import CLAIM, count_parameters, width_of
from ncsn_pipeline.networks import ScoreMLP
from ncsn_pipeline.noise_levels import DiscreteSigmas


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


class Shrink(nn.Module):
    """s(x, sigma) = -a x, with the `sigma_data` that the weight asks for."""

    def __init__(self, sigma_data):
        super().__init__()
        self.config = SimpleNamespace(sigma_data=sigma_data)
        self.a = nn.Parameter(torch.tensor(0.7))

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        return (-self.a * sample,)


def test_levels_are_weighted_as_the_equation_of_the_claim_says():
    """After one update the gradient is that of mean_i lambda_i 1/2 ||s + z / sigma_i||² over the same draws."""
    assert "lambda_i = sigma_i² (sigma_i² + sd²) / sd²" in CLAIM.equation
    network, density, draw, n, sd = Shrink(0.4), two_moons(), DiscreteSigmas([2.0, 0.7, 0.1]), 32, 0.4
    options = {"num_steps": 1, "batch_size": n, "learning_rate": 1e-3}
    learn_scores(network, density, draw, **options, generator=torch.Generator().manual_seed(3))

    generator = torch.Generator().manual_seed(3)
    x, sigma = density.sample(n, generator=generator), draw(n, generator)[:, None]
    z = torch.randn(x.shape, generator=generator)
    noised, weight = x + sigma * z, sigma**2 * (sigma**2 + sd**2) / sd**2
    expected = (weight * (-0.7 * noised + z / sigma) * -noised).sum(1).mean()
    torch.testing.assert_close(network.a.grad, expected)
