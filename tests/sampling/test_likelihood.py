"""Likelihoods by the probability flow: closed forms, orders of convergence, and what is refused."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ncsn_pipeline.densities import GaussianMixture, exact_score_function
from ncsn_pipeline.sampling import log_likelihood

MEAN, STD, LOW, HIGH = 0.4, 0.7, 0.05, 20.0
GAUSSIAN = {
    "sigma_min": LOW,
    "sigma_max": HIGH,
    "prior_mean": MEAN,
    "prior_std": math.hypot(STD, HIGH),
}


def gaussian_score(x, sigma):
    """The score of N(MEAN, STD² I) noised by sigma."""
    return (MEAN - x) / (STD**2 + sigma**2)


def gaussian_log_prob(x):
    """log N(x; MEAN, STD² + LOW²), shape `(B,)`."""
    variance = STD**2 + LOW**2
    return (-(x.double() - MEAN).square() / (2 * variance) - math.log(2 * math.pi * variance) / 2).flatten(1).sum(1)


@pytest.fixture
def mixture():
    """Two Gaussians of different weight and shape in four dimensions, full covariances."""
    factors = torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    means = torch.tensor([[1.0, 0, 0, 1], [-1, 0, 1, 0]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    return GaussianMixture(means, factors @ factors.mT / 4 + 0.3 * torch.eye(4, dtype=torch.float64), weights)


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_is_exact(shape, dtype):
    """Points of the density, and of twice its width, at the default tolerance."""
    for width in (1, 2):
        x = (MEAN + width * STD * torch.randn(20, *shape, dtype=torch.float64)).to(dtype)
        result = log_likelihood(gaussian_score, x, **GAUSSIAN)
        assert result.nats == pytest.approx(-gaussian_log_prob(x).mean().item(), abs=width**2 * 1e-4)
        assert result.dimension == x[0].numel()
        assert result.log_prob.dtype == torch.float64


def test_averages_and_their_standard_errors():
    x = MEAN + STD * torch.randn(50, 3, dtype=torch.float64)
    result = log_likelihood(gaussian_score, x, **GAUSSIAN)
    spread = (result.log_prob - result.log_prob.mean()).square().sum() / 49
    assert result.nats_standard_error == pytest.approx((spread / 50).sqrt().item())
    assert result.bits_per_dim == pytest.approx(result.nats / 3 / math.log(2))
    assert result.bits_per_dim_standard_error == pytest.approx(result.nats_standard_error / 3 / math.log(2))
    assert math.isnan(log_likelihood(gaussian_score, x[:1], **GAUSSIAN).nats_standard_error)


def test_mixture_of_gaussians(mixture):
    """The end is Gaussian only as far as sigma_max is large beside the data: the error falls as its square."""
    x = mixture.noised(LOW).sample(30, generator=torch.Generator().manual_seed(0))
    expected = mixture.noised(LOW).log_prob(x)
    errors = []
    for sigma_max in (10.0, 40.0):
        result = log_likelihood(
            exact_score_function(mixture),
            x,
            sigma_min=LOW,
            sigma_max=sigma_max,
            prior_mean=mixture.mean,
            rtol=1e-7,
            atol=1e-7,
        )
        errors.append((result.log_prob - expected).abs().mean().item())
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.2)


def test_any_field_gives_a_density_that_integrates_to_one():
    """A field with a rotation in it is no gradient, and its flow still transports a density."""

    def score(x, sigma):
        turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
        return (-x + 0.8 * turned * (x[:, :1] / (1 + sigma)).cos()) / (0.5 + sigma**2)

    points = torch.linspace(-5, 5, 81, dtype=torch.float64)
    x = torch.cartesian_prod(points, points)
    result = log_likelihood(score, x, sigma_min=0.1, sigma_max=8.0, method="heun", num_steps=60)
    assert (result.log_prob.exp().sum() * (points[1] - points[0]) ** 2).item() == pytest.approx(1, abs=2e-3)


def test_heun_converges_with_order_two():
    x = MEAN + STD * torch.randn(20, 3, dtype=torch.float64)
    errors = []
    for num_steps in (30, 60, 120):
        result = log_likelihood(gaussian_score, x, **GAUSSIAN, method="heun", num_steps=num_steps)
        assert result.nfe == 2 * num_steps
        errors.append((result.log_prob - gaussian_log_prob(x)).abs().mean().item())
    orders = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    assert orders == pytest.approx([2, 2], abs=0.15)


@pytest.mark.parametrize(("std", "error"), [(1.0, 1.3e-3), (0.1, 2.6e-3)])
def test_a_hundred_steps_of_heun_err_by_the_stated_nats_per_dimension(std, error):
    """On N(0, std²) over a factor of 400 in sigma, averaged over the density: x² is its variance."""
    x = torch.full((1, 1), math.hypot(std, LOW), dtype=torch.float64)
    options = {"sigma_min": LOW, "sigma_max": HIGH, "prior_std": math.hypot(std, HIGH), "method": "heun"}
    result = log_likelihood(lambda x, sigma: -x / (std**2 + sigma**2), x, **options, num_steps=100)
    expected = 0.5 * math.log(2 * math.pi * math.e * (std**2 + LOW**2))
    assert abs(result.nats - expected) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(("data_min", "data_max"), [(0.0, 1.0), (-1.0, 1.0)])
def test_bits_of_8_bit_images(data_min, data_max):
    """Of N(100, 40²) in grey levels, which is as good as constant over a level: the entropy of the rounded level."""
    width = (data_max - data_min) / 256
    mean, std, sigma_min = data_min + 100 * width, 40 * width, 0.1 * width
    # The mean of x² over the density, in one point, as log p is quadratic.
    x = torch.full((1, 1), mean + math.hypot(std, sigma_min), dtype=torch.float64)
    found = log_likelihood(
        lambda x, sigma: (mean - x) / (std**2 + sigma**2),
        x,
        sigma_min=sigma_min,
        sigma_max=400 * width,
        prior_mean=mean,
        prior_std=math.hypot(std, 400 * width),
    )
    probabilities = np.diff(norm(100, 40).cdf(np.arange(-150, 351) + 0.5))
    entropy = -(probabilities * np.log2(probabilities)).sum()
    assert found.bits_per_dim + math.log2(256 / (data_max - data_min)) == pytest.approx(entropy, abs=1e-3)


def test_dopri5_follows_its_tolerance():
    x = MEAN + STD * torch.randn(20, 3, dtype=torch.float64)
    results = [log_likelihood(gaussian_score, x, **GAUSSIAN, rtol=tol, atol=tol) for tol in (1e-4, 1e-6, 1e-8)]
    errors = [(result.log_prob - gaussian_log_prob(x)).abs().max().item() for result in results]
    assert all(tol / 1000 < error < 50 * tol for error, tol in zip(errors, (1e-4, 1e-6, 1e-8), strict=True))
    assert results[0].nfe < results[1].nfe < results[2].nfe


def test_hutchinson_is_unbiased_and_more_probes_vary_less(mixture):
    """One point many times, each with probes of its own, against the exact divergence along the same path."""
    n = 2000
    x = mixture.sample(1, generator=torch.Generator().manual_seed(3))
    settings = {"sigma_min": LOW, "sigma_max": HIGH, "method": "heun", "num_steps": 20}
    score = exact_score_function(mixture)
    exact = log_likelihood(score, x, **settings).log_prob.item()
    variances = {}
    for probes in (1, 4):
        generator = torch.Generator().manual_seed(probes)
        values = log_likelihood(
            score, x.expand(n, -1), **settings, divergence="hutchinson", num_probes=probes, generator=generator
        ).log_prob
        assert values.mean().item() == pytest.approx(exact, abs=5 * (values.std() / math.sqrt(n)).item())
        variances[probes] = values.var().item()
    assert variances[1] > 1e-3
    assert variances[1] / variances[4] == pytest.approx(4, rel=0.25)


def test_hutchinson_with_signs_is_exact_for_a_diagonal_jacobian():
    x = torch.randn(6, 1, 2, 2, dtype=torch.float64)
    estimated = log_likelihood(gaussian_score, x, **GAUSSIAN, divergence="hutchinson").log_prob
    torch.testing.assert_close(estimated, log_likelihood(gaussian_score, x, **GAUSSIAN).log_prob, rtol=0, atol=1e-10)


def test_a_seed_decides_the_probes(mixture):
    x = mixture.sample(5, generator=torch.Generator().manual_seed(3))
    one, two, other = (
        log_likelihood(
            exact_score_function(mixture),
            x,
            sigma_min=0.5,
            sigma_max=5.0,
            method="heun",
            num_steps=5,
            divergence="hutchinson",
            generator=torch.Generator().manual_seed(seed),
        ).log_prob
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_batches_and_a_mean_for_each_point_change_nothing():
    x = torch.randn(7, 3, dtype=torch.float64)
    settings = GAUSSIAN | {"method": "heun", "num_steps": 30}
    whole = log_likelihood(gaussian_score, x, **settings)
    for prior_mean in (MEAN, torch.full((3,), MEAN), torch.full((7, 3), MEAN)):
        parts = log_likelihood(gaussian_score, x, **(settings | {"prior_mean": prior_mean, "batch_size": 3}))
        torch.testing.assert_close(parts.log_prob, whole.log_prob, rtol=0, atol=1e-6)
        assert parts.nfe == whole.nfe


def test_number_of_evaluations_is_the_most_that_a_batch_took():
    x = torch.tensor([[MEAN + 50.0], [MEAN]], dtype=torch.float64)  # the second does not move
    hard, easy = (log_likelihood(gaussian_score, one, **GAUSSIAN).nfe for one in x.split(1))
    assert log_likelihood(gaussian_score, x, **GAUSSIAN, batch_size=1).nfe == hard > easy


def test_gradients_of_parameters_are_left_alone():
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, dtype=torch.float64)
    result = log_likelihood(lambda x, sigma: scale * gaussian_score(x, sigma), x, **GAUSSIAN)
    assert not result.log_prob.requires_grad
    assert scale.grad is None
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", ["dopri5", "heun"])
def test_a_score_that_breaks_or_carries_no_gradient_is_refused(method):
    x = torch.randn(3, 2, dtype=torch.float64)
    broken = lambda x, sigma: gaussian_score(x, sigma) / (sigma < 1)  # noqa: E731
    with pytest.raises(FloatingPointError, match="not finite at sigma = 1"):
        log_likelihood(broken, x, **GAUSSIAN, method=method)
    with pytest.raises(ValueError, match="differentiable operations"):
        log_likelihood(lambda x, sigma: gaussian_score(x, sigma).detach(), x, **GAUSSIAN, method=method)


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma_min": 0.0},
        {"sigma_min": 30.0},
        {"sigma_max": math.inf},
        {"method": "euler"},
        {"divergence": "trace"},
        {"num_steps": 0},
        {"num_probes": 1.5},
        {"batch_size": 0},
        {"rtol": 0.0},
        {"atol": math.nan},
        {"prior_std": -1.0},
        {"x": torch.zeros(3)},
        {"x": torch.zeros(0, 2)},
    ],
)
def test_bad_arguments_are_refused(changes):
    settings = {"x": torch.zeros(2, 2)} | GAUSSIAN | changes
    with pytest.raises(ValueError, match=next(iter(changes))):
        log_likelihood(gaussian_score, settings.pop("x"), **settings)
