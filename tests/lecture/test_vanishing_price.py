"""The price of noise in closed form, and the gradient that leads it."""

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture
from ncsn_pipeline.lecture.single_level import three_bars
from ncsn_pipeline.lecture.vanishing_price import (
    VanishingPriceParams,
    laplacian_gradient,
    order_of,
    price_of,
    root_mean_square,
)


def points(density, n=200):
    return density.sample(n, generator=torch.Generator().manual_seed(0)).double()


def test_the_price_of_a_gaussian():
    """s = -x / v and s_sigma = -x / (v + sigma²): apart by x sigma² / (v (v + sigma²))."""
    density = GaussianMixture(torch.zeros(1, 2, dtype=torch.float64), 0.5)
    x = points(density)
    sigmas, v = [0.1, 0.3, 2.0], 0.25
    expected = [root_mean_square(x) * sigma**2 / (v * (v + sigma**2)) for sigma in sigmas]
    assert price_of(density, x, density.score(x), sigmas) == pytest.approx(expected, rel=1e-9)


def test_the_gradient_of_the_laplacian_over_the_density_of_a_gaussian():
    """laplace p / p = ||x||² / v² - d / v, with gradient 2 x / v²."""
    density = GaussianMixture(torch.zeros(1, 3, dtype=torch.float64), 0.5)
    x = points(density)
    torch.testing.assert_close(laplacian_gradient(density, x), 2 * x / 0.25**2)


def test_noise_changes_the_score_by_half_sigma_squared_times_that_gradient():
    """Of a mixture, to the order sigma^4: ten times less sigma leaves a hundred times less of the difference."""
    density = three_bars()
    x = points(density, 50)
    gradient = laplacian_gradient(density, x)
    left = []
    for sigma in (1e-2, 1e-3):
        change = (density.noised(sigma).score(x) - density.score(x)) / (sigma**2 / 2)
        left.append(float((change - gradient).norm() / gradient.norm()))
    assert left[0] < 0.02
    assert left[0] / left[1] == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("order", [2.0, -0.5])
def test_the_order_of_a_power(order):
    sigmas = [0.01, 0.02, 0.5]
    assert order_of(sigmas, [3 * sigma**order for sigma in sigmas[:2]] + [7.0]) == pytest.approx(order)


def test_two_levels_are_too_few():
    with pytest.raises(ValueError, match="num_levels must be at least 3"):
        VanishingPriceParams(num_levels=2)
