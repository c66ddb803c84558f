"""Gaussian mixtures against scipy, and the moments of the whole."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from ncsn_pipeline.densities import GaussianMixture

F64 = torch.float64


def random_mixture(d, k=3):
    factors = torch.randn(k, d, d, dtype=F64)
    covariances = factors @ factors.mT + 0.1 * torch.eye(d, dtype=F64)
    return GaussianMixture(2 * torch.randn(k, d, dtype=F64), covariances, torch.tensor([0.2, 0.5, 0.3], dtype=F64))


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_log_prob_and_responsibilities_are_scipys(d, sigma):
    mixture, x = random_mixture(d), torch.randn(20, d, dtype=F64)
    joint = np.stack(
        [
            weight * multivariate_normal(mean, covariance + sigma**2 * np.eye(d)).pdf(x.numpy())
            for weight, mean, covariance in zip(
                mixture.weights.numpy(), mixture.means.numpy(), mixture.covariances.numpy(), strict=True
            )
        ],
        axis=1,
    )
    noised = mixture.noised(sigma)
    np.testing.assert_allclose(noised.log_prob(x), np.log(joint.sum(1)), rtol=1e-10)
    np.testing.assert_allclose(noised.responsibilities(x), joint / joint.sum(1, keepdims=True), rtol=1e-9, atol=1e-300)


def test_given_covariances_come_back_and_grow_by_the_noise():
    covariances = torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[1.0, 0.0], [0.0, 3.0]]], dtype=F64)
    mixture = GaussianMixture(torch.zeros(2, 2, dtype=F64), covariances)
    torch.testing.assert_close(mixture.covariances, covariances)
    torch.testing.assert_close(mixture.noised(2.0).covariances, covariances + 4 * torch.eye(2, dtype=F64))
    torch.testing.assert_close(mixture.covariances, covariances)  # the mixture itself has not changed
    stds = GaussianMixture(torch.zeros(2, 3), torch.tensor([1.0, 2.0])).covariances
    torch.testing.assert_close(stds, torch.stack([torch.eye(3), 4 * torch.eye(3)]))


@pytest.mark.parametrize("d", [1, 4])
def test_standard_deviations_are_covariances(d):
    means, stds = torch.randn(3, d, dtype=F64), torch.tensor([0.3, 1.0, 2.0], dtype=F64)
    fast = GaussianMixture(means, stds).noised(0.4)
    full = GaussianMixture(means, stds[:, None, None] ** 2 * torch.eye(d, dtype=F64)).noised(0.4)
    x = 3 * torch.randn(30, d, dtype=F64)
    torch.testing.assert_close(fast.log_prob(x), full.log_prob(x), rtol=1e-12, atol=0)
    torch.testing.assert_close(fast.score(x), full.score(x), rtol=1e-10, atol=1e-12)
    one = GaussianMixture(means, 0.5)
    torch.testing.assert_close(one.score(x), GaussianMixture(means, torch.full((3,), 0.5)).score(x))


def test_mean_and_covariance_are_those_of_samples():
    mixture, n = random_mixture(3).noised(0.5), 50_000
    x = mixture.sample(n)
    centred = x - mixture.mean
    assert (centred.mean(0).abs() < 5 * x.std(0) / math.sqrt(n)).all()
    products = centred[:, :, None] * centred[:, None, :]
    assert ((products.mean(0) - mixture.covariance).abs() < 5 * products.std(0) / math.sqrt(n)).all()


def test_responsibilities_stay_exact_where_every_component_underflows():
    mixture = GaussianMixture(torch.tensor([[0.0], [1.0]], dtype=F64), 1.0)
    x = torch.tensor([[-1000.0], [0.5], [1000.0]], dtype=F64)
    odds = torch.exp(x[:, 0] - 0.5)  # of the second against the first
    torch.testing.assert_close(mixture.responsibilities(x)[:, 1], torch.where(odds.isinf(), 1.0, odds / (1 + odds)))
    assert mixture.responsibilities(x)[1].tolist() == [0.5, 0.5]


def test_component_without_weight_is_not_there():
    means = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=F64)
    one, two = GaussianMixture(means[:1]), GaussianMixture(means, weights=torch.tensor([1.0, 0.0], dtype=F64))
    x = torch.randn(5, 2, dtype=F64)
    assert torch.equal(one.score(x), two.score(x))
    assert torch.equal(one.log_prob(x), two.log_prob(x))


def test_weights_are_made_exact():
    weights = GaussianMixture(torch.zeros(2, 1), weights=torch.tensor([0.2, 0.8 + 5e-7], dtype=F64)).weights
    assert float(weights.sum()) == pytest.approx(1, abs=1e-15)
    assert GaussianMixture(torch.zeros(4, 1)).weights.tolist() == [0.25] * 4


def test_integers_become_the_default_type():
    mixture = GaussianMixture(torch.tensor([[5, 5], [-5, -5]]), 1, torch.tensor([0.8, 0.2]))
    assert mixture.sample(3).dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2),), "means"),
        ((torch.full((1, 2), math.nan),), "means"),
        ((torch.zeros(2, 2), 0.0), "standard deviations"),
        ((torch.zeros(2, 2), torch.tensor([1.0, math.inf])), "standard deviations"),
        ((torch.zeros(2, 2), torch.ones(3)), r"have shape \(2,\) or \(2, 2, 2\); got \(3,\)"),
        ((torch.zeros(2, 2), torch.ones(2, 2)), "covariances_or_stds"),
        ((torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.0, 1.0]]])), "symmetric"),
        ((torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]])), "positive definite; the smallest .* -1"),
        ((torch.zeros(2, 2), 1.0, torch.tensor([0.5, 0.6])), "sum 1"),
        ((torch.zeros(2, 2), 1.0, torch.tensor([1.5, -0.5])), "at least 0"),
        ((torch.zeros(2, 2), 1.0, torch.tensor([1.0])), "2 numbers"),
        ((torch.zeros(2, 2), 1.0, torch.tensor([math.nan, 1.0])), "weights"),
    ],
)
def test_bad_mixtures_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*arguments)


def test_a_covariance_rounded_to_float32_is_symmetric_enough():
    for seed in range(20):
        u = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(seed))).Q
        covariances = ((u * torch.linspace(1, 2, 8)) @ u.mT)[None]
        torch.testing.assert_close(GaussianMixture(torch.zeros(1, 8), covariances).covariances, covariances)


def test_a_small_entry_that_is_not_symmetric_is_not_rounding():
    with pytest.raises(ValueError, match="symmetric"):
        GaussianMixture(torch.zeros(1, 2).double(), torch.tensor([[[1e6, 5.0], [-5.0, 1.0]]]).double())
