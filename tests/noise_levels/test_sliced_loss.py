"""Sliced score matching over many levels: the denoising loss in expectation, less a known number."""

import itertools
import math

import numpy as np
import pytest
import torch

from ncsn_pipeline import multi_level_denoising_score_matching
from ncsn_pipeline.noise_levels import edm_weight, multi_level_sliced_score_matching, sigma_squared_weight

D = 2


def quadrature(num_nodes=6):
    """Nodes z `(n, D)` and weights `(n,)` that integrate polynomials of degree 11 against N(0, I) without error."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    nodes, weights = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    z = torch.tensor(list(itertools.product(nodes.tolist(), repeat=D)), dtype=torch.float64)
    return z, torch.cartesian_prod(*[weights] * D).prod(1)


def quadratic_network():
    """s(x, sigma) = (A x + B (x x)) / sigma, not the gradient of anything, and its parameters."""
    a, b = (torch.randn(D, D, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return lambda x, sigma: (x @ a.T + (x * x) @ b.T) / sigma[:, None], (a, b)


@pytest.mark.parametrize("weight", [sigma_squared_weight, edm_weight(0.3)])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 7.0])
def test_expectation_and_gradient_are_the_denoising_losses(sigma, weight):
    """Over z by quadrature and over all Rademacher v: nothing is left to chance."""
    network, parameters = quadratic_network()
    z, probability = quadrature()
    points = torch.randn(3, D, dtype=torch.float64)
    x, noise = points.repeat_interleave(len(z), 0), z.repeat(len(points), 1)
    probability = probability.repeat(len(points)) / len(points)
    v = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=D)), dtype=torch.float64)
    v = v[:, None, :].expand(-1, len(x), -1)
    level = torch.tensor(sigma, dtype=torch.float64)

    options = {"weight": weight, "noise": noise}
    sliced = multi_level_sliced_score_matching(network, x, level, projections=v, **options) @ probability
    denoising = multi_level_denoising_score_matching(network, x, level, **options) @ probability
    constant = D * weight(level) / (2 * level**2)
    torch.testing.assert_close(sliced + constant, denoising, rtol=1e-10, atol=1e-10)
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (sliced, denoising)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
        assert other.abs().max() > 1e-3


def test_drawn_noise_and_projections_are_unbiased_at_the_exact_score():
    """For N(0, 1) data and the exact score -x / (1 + sigma²), E l = -D sigma² / (2 (1 + sigma²))."""
    n, generator = 20_000, torch.Generator().manual_seed(0)
    sigma = torch.tensor([0.3, 2.0], dtype=torch.float64).repeat_interleave(n)
    x = torch.randn(2 * n, 1, 3, dtype=torch.float64, generator=generator)

    def score(x, sigma):
        return -x / (1 + sigma.reshape(-1, 1, 1) ** 2)

    losses = multi_level_sliced_score_matching(score, x, sigma, num_projections=2, generator=generator)
    assert losses.shape == (2 * n,)
    for level, part in zip((0.3, 2.0), losses.split(n), strict=True):
        expected = -3 * level**2 / (2 * (1 + level**2))
        assert part.mean().item() == pytest.approx(expected, abs=5 * part.std().item() / math.sqrt(n))
        assert part.std() > 1e-2
