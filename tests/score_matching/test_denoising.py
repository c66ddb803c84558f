"""Denoising score matching: what it estimates is the score of the noised density, and that score denoises."""

import math

import numpy as np
import pytest
import torch

from ncsn_pipeline import multi_level_denoising_score_matching
from ncsn_pipeline.densities import EmpiricalDensity
from ncsn_pipeline.score_matching import denoise, denoising_score_matching, explicit_score_matching


def test_reference_value(reference):
    network, tensors = reference
    loss = denoising_score_matching(network, tensors["x"], tensors["dsm_sigma"], noise=tensors["dsm_noise"])
    torch.testing.assert_close(loss.mean(), tensors["dsm"], rtol=1e-5, atol=1e-5)


def pairs_on_a_line():
    """Nodes x `(N, 1)`, z `(N, 1)` and weights `(N,)` for x ~ N(0.3, 0.8²), z ~ N(0, 1)."""
    t, w = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(80))
    nodes = torch.cartesian_prod(t, t)
    return 0.3 + 0.8 * nodes[:, :1], nodes[:, 1:], (w[:, None] * w).flatten() / (2 * math.pi)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
def test_divergence_from_the_noised_score_up_to_a_constant(sigma, make_network, gradient_of):
    """Vincent's theorem by quadrature: the constant is 1/2 (1/sigma² - 1/v), v the variance of the noised density."""
    x, z, weights = pairs_on_a_line()
    variance = 0.64 + sigma**2
    constant = 0.5 * (1 / sigma**2 - 1 / variance)
    for _ in range(2):
        network = make_network(1)
        denoising = weights @ denoising_score_matching(network, x, sigma, noise=z)
        explicit = weights @ explicit_score_matching(network, x + sigma * z, lambda x: (0.3 - x) / variance)
        assert (denoising - explicit).item() == pytest.approx(constant, rel=1e-9)
        torch.testing.assert_close(
            gradient_of(denoising, network), gradient_of(explicit, network), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("filled", [0, 1, 2, 3])
@pytest.mark.parametrize("sigma", [1e-3, 0.5, 2.0])
def test_the_loss_of_the_exact_score_counts_the_dimensions_that_the_data_fill(filled, sigma):
    """N(0, c²) in m of three dimensions, 0 in the rest: m c² / (2 sigma² (c² + sigma²)), so m / (2 sigma²) at last.

    The loss is quadratic in x and z, of which all signs of (x, z) have the right second moments.
    """
    c = 0.8
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6)
    fills = (torch.arange(3) < filled).double()
    x, z = c * fills * signs[:, :3], signs[:, 3:]
    loss = denoising_score_matching(lambda x: -x / (c**2 * fills + sigma**2), x, sigma, noise=z).mean().item()
    assert loss == pytest.approx(filled * c**2 / (2 * sigma**2 * (c**2 + sigma**2)), rel=1e-9, abs=1e-9)
    if sigma == 1e-3:
        assert 2 * sigma**2 * loss == pytest.approx(filled, abs=1e-5)


def test_minimiser_is_the_noised_score_and_not_the_clean_one(mixture):
    """On samples of the mixture: the loss at the noised score is below that of the clean one, by the divergence."""
    n, sigma = 100_000, 0.6
    x, noise = mixture.sample(n), torch.randn(n, 2, dtype=torch.float64)
    noised = mixture.noised(sigma)
    of = lambda density: denoising_score_matching(density.score, x, sigma, noise=noise)  # noqa: E731
    excess = of(mixture) - of(noised)
    divergence = explicit_score_matching(mixture.score, x + sigma * noise, noised.score)
    assert divergence.mean() > 0.1
    difference = excess - divergence  # has mean 0
    assert difference.mean().abs().item() <= 5 * difference.std().item() / math.sqrt(n)


def test_minimiser_over_a_data_set_is_the_empirical_score():
    """For points drawn from a data set: no score in this family does better than that of the noised data set."""
    n, sigma = 100_000, 0.5
    data = torch.randn(5, 2, dtype=torch.float64)
    x, noise = data[torch.randint(5, (n,))], torch.randn(n, 2, dtype=torch.float64)
    score = EmpiricalDensity(data).noised(sigma).score(x + sigma * noise)
    best = denoising_score_matching(lambda _: score, x, sigma, noise=noise)
    for wrong in (0.9 * score, 1.1 * score, score + 0.1):
        excess = denoising_score_matching(lambda _, wrong=wrong: wrong, x, sigma, noise=noise) - best
        expected = 0.5 * (wrong - score).square().sum(1).mean().item()
        assert expected > 0.005
        assert excess.mean().item() == pytest.approx(expected, abs=5 * excess.std().item() / math.sqrt(n))


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 2, 2)])
def test_value_is_the_formula_with_one_sigma_or_one_a_sample(shape):
    x, noise = torch.randn(2, 4, *shape, dtype=torch.float64)
    sigmas = torch.tensor([0.1, 0.5, 1.0, 4.0], dtype=torch.float64)
    loss = denoising_score_matching(torch.sin, x, sigmas, noise=noise)
    for i, sigma in enumerate(sigmas.tolist()):
        expected = 0.5 * (torch.sin(x[i] + sigma * noise[i]) + noise[i] / sigma).square().sum()
        assert loss[i].item() == pytest.approx(expected.item(), rel=1e-12)
        for given in (sigma, sigmas[i]):
            alone = denoising_score_matching(torch.sin, x[i : i + 1], given, noise=noise[i : i + 1])
            assert alone.item() == pytest.approx(expected.item(), rel=1e-12)


def test_one_level_of_the_loss_over_many():
    """Weighted by sigma², it is the multi-level loss at that level."""
    x, noise = torch.randn(2, 4, 3, dtype=torch.float64)
    sigma = torch.tensor(0.7, dtype=torch.float64)
    many = multi_level_denoising_score_matching(lambda x, sigma: torch.sin(x), x, sigma, noise=noise)
    one = denoising_score_matching(torch.sin, x, sigma, noise=noise)
    torch.testing.assert_close(many, sigma**2 * one)


def test_generator_decides_the_noise():
    x = torch.randn(4, 3)
    one, two, other = (
        denoising_score_matching(torch.sin, x, 0.5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("shape", [(2,), (1, 2, 3)])
def test_denoising_a_gaussian_is_the_posterior_mean(shape):
    """x ~ N(m, s²): E[x | x_tilde] = (s² x_tilde + sigma² m) / (s² + sigma²); at sigma = 0 nothing is to be removed."""
    m, s = 0.3, 0.8
    noised = torch.randn(3, *shape, dtype=torch.float64)
    for sigma in (torch.tensor([0.0, 0.5, 7.0], dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)):
        square = sigma.reshape(-1, *[1] * len(shape)) ** 2
        score = (m - noised) / (s**2 + square)
        expected = (s**2 * noised + square * m) / (s**2 + square)
        torch.testing.assert_close(denoise(noised, score, sigma), expected)
    assert torch.equal(denoise(noised, noised, 0.0), noised)


def test_denoised_and_true_samples_agree_in_the_mean(mixture):
    """Tweedie's formula is E[x | x_tilde]: the error is uncorrelated with any function of x_tilde."""
    n, sigma = 100_000, 1.0
    x = mixture.sample(n)
    noised = x + sigma * torch.randn(n, 2, dtype=torch.float64)
    error = denoise(noised, mixture.noised(sigma).score(noised), sigma) - x
    for function in (torch.ones_like, torch.sin, lambda y: y, torch.sign):
        product = error * function(noised)
        assert (product.mean(0).abs() <= 5 * product.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize("sigma", [0.5, torch.tensor(0.5, dtype=torch.float64)])
def test_dtype_is_that_of_the_samples(sigma):
    x = torch.randn(4, 3)
    assert denoising_score_matching(lambda x: -x, x, sigma).dtype == torch.float32
    assert denoise(x, -x, sigma).dtype == torch.float32


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, torch.tensor([0.1, 0.2, 0.0, 0.3])])
def test_bad_levels_are_refused(sigma):
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match="sigma must be"):
        denoising_score_matching(lambda x: -x, x, sigma)


def test_bad_input_is_refused():
    x = torch.randn(4, 3)
    for sigma in (torch.ones(3), torch.ones(4, 1), torch.ones(1, 4)):
        with pytest.raises(ValueError, match=r"sigma must be one number or one a sample, \(4,\); got shape"):
            denoising_score_matching(lambda x: -x, x, sigma)
    with pytest.raises(ValueError, match=r"noise must have the shape of x, \(4, 3\); got \(3,\)"):
        denoising_score_matching(lambda x: -x, x, 0.5, noise=torch.ones(3))
    with pytest.raises(ValueError, match=r"score that score_fn returns .* got \(4, 1\)"):
        denoising_score_matching(lambda x: x[:, :1], x, 0.5)
    with pytest.raises(ValueError, match=r"score must have the shape of x, \(4, 3\); got \(4,\)"):
        denoise(x, torch.ones(4), 0.5)
    for sigma in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma must be finite and not negative"):
            denoise(x, -x, sigma)
    for samples in (torch.randn(4), torch.ones(4, 3, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"\(B, \*D\); got"):
            denoising_score_matching(lambda x: -x, samples, 0.5)


@pytest.mark.parametrize("sigma", [300.0, torch.tensor([300.0, 300.0], dtype=torch.float16)])
def test_float16_holds_what_its_sigma_squared_does_not(sigma):
    x = torch.tensor([[300.0, -150.0], [0.0, 600.0]], dtype=torch.float16)
    assert denoise(x, -x / 90_000.0, sigma).isfinite().all()
    losses = denoising_score_matching(lambda x: 0 * x, torch.rand(2, 784).half(), 0.01)
    assert losses.isfinite().all()
