"""Denoising score matching over many levels: what minimises it, how levels are weighted, how sigma is drawn."""

import math

import pytest
import torch

from ncsn_pipeline import multi_level_denoising_score_matching
from ncsn_pipeline.noise_levels import (
    DiscreteSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    edm_weight,
    sigma_squared_weight,
)


def gaussian_score(x, sigma, scale=1.0):
    """The score of N(0, 1) noised by sigma, times `scale`."""
    return -scale * x / (1 + sigma.reshape(-1, *[1] * (x.dim() - 1)) ** 2)


@pytest.mark.parametrize("shape", [(5,), (1, 3, 3), (2, 4)])
def test_value_is_the_formula(shape):
    x, noise = torch.randn(2, 6, *shape, dtype=torch.float64)
    sigma = torch.rand(6, dtype=torch.float64) + 0.1
    loss = multi_level_denoising_score_matching(gaussian_score, x, sigma, noise=noise)
    for i in range(6):
        residual = gaussian_score((x + sigma.reshape(-1, *[1] * len(shape)) * noise)[i : i + 1], sigma[i : i + 1])
        expected = 0.5 * ((residual + noise[i] / sigma[i]) ** 2).sum() * sigma[i] ** 2
        assert loss[i].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_score_of_the_noised_density_is_the_minimiser(sigma):
    """Along s = -c x / (1 + sigma²) the loss is least at c = 1, by as much as the quadratic says."""
    n = 200_000
    x, noise = torch.randn(2, n, 1, dtype=torch.float64)
    sigmas = torch.full((n,), sigma, dtype=torch.float64)

    def losses(scale):
        score = lambda x, s: gaussian_score(x, s, scale)  # noqa: E731
        return multi_level_denoising_score_matching(score, x, sigmas, noise=noise)

    for scale in (0.8, 1.2):
        difference = losses(scale) - losses(1.0)
        expected = 0.5 * (scale - 1) ** 2 / (1 + sigma**2) * sigma**2
        assert difference.mean().item() == pytest.approx(expected, abs=5 * (difference.std() / math.sqrt(n)).item())
        assert difference.mean() > 0


def test_edm_weight_is_edms_on_the_denoiser():
    """lambda_EDM(sigma) ||D - x||² with D = x + sigma² s; the same number by the two routes."""
    sd = 0.3
    x, noise = torch.randn(2, 8, 4, dtype=torch.float64)
    sigma = torch.rand(8, dtype=torch.float64) * 3 + 0.01
    loss = multi_level_denoising_score_matching(gaussian_score, x, sigma, weight=edm_weight(sd), noise=noise)
    noised = x + sigma[:, None] * noise
    denoised = noised + sigma[:, None] ** 2 * gaussian_score(noised, sigma)
    published = (sigma**2 + sd**2) / (sigma * sd) ** 2
    torch.testing.assert_close(loss, 0.5 * published * (denoised - x).square().sum(1))
    with pytest.raises(ValueError, match="sigma_data"):
        edm_weight(0.0)


def test_sigma_squared_weight_makes_levels_alike_for_a_zero_score():
    x, sigma = torch.zeros(3, 10), torch.tensor([0.01, 1.0, 50.0])
    noise = torch.randn(1, 10).expand(3, 10)
    zero = lambda x, s: torch.zeros_like(x)  # noqa: E731
    loss = multi_level_denoising_score_matching(zero, x, sigma, weight=sigma_squared_weight, noise=noise)
    torch.testing.assert_close(loss, noise.square().sum(1) / 2)


@pytest.mark.parametrize(("sigma", "share"), [(0.05, 0.998), (1.0, 0.500), (5.0, 0.038)])
def test_sigma_squared_weight_does_not_make_levels_alike_for_the_exact_score(sigma, share):
    """N(0, I) in D dimensions: D/2 / (1 + sigma²), by all signs of (x, z), as the loss is quadratic in both."""
    dimension = 3
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * (2 * dimension))
    x, noise = signs.split(dimension, dim=1)
    sigmas = torch.full((len(x),), sigma, dtype=torch.float64)
    loss = multi_level_denoising_score_matching(gaussian_score, x, sigmas, noise=noise).mean().item()
    assert loss / (dimension / 2) == pytest.approx(1 / (1 + sigma**2), rel=1e-9)
    assert loss / (dimension / 2) == pytest.approx(share, abs=5e-4)


def test_generator_decides_the_noise():
    x, sigma = torch.randn(4, 3), torch.tensor(0.5)
    one, two, other = (
        multi_level_denoising_score_matching(
            gaussian_score, x, sigma.expand(4), generator=torch.Generator().manual_seed(seed)
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def within(values, expected, deviation):
    assert values.mean().item() == pytest.approx(expected, abs=5 * deviation / math.sqrt(len(values)))


def test_distributions_of_sigma():
    n, generator = 100_000, torch.Generator().manual_seed(0)
    ladder = DiscreteSigmas([4.0, 2.0, 1.0])(n, generator)
    assert ladder.unique().tolist() == [1, 2, 4]
    within((ladder == 2).double(), 1 / 3, math.sqrt(2 / 9))

    span = math.log(1000)
    uniform = LogUniformSigmas(0.01, 10.0)(n, generator)
    assert 0.01 <= uniform.min() and uniform.max() <= 10
    centred = uniform.log() - (math.log(0.01) + span / 2)
    within(centred, 0, span / math.sqrt(12))
    # A uniform variable's square has the variance span^4 / 180.
    within(centred.square(), span**2 / 12, span**2 / math.sqrt(180))

    normal = LogNormalSigmas(-1.2, 1.2, 1e-6, 1e6)(n, generator)
    within(normal.log(), -1.2, 1.2)
    within((normal.log() + 1.2).square(), 1.44, 1.44 * math.sqrt(2))
    clamped = LogNormalSigmas(-1.2, 1.2, 0.1, 1.0)(n, generator)
    assert (clamped.min(), clamped.max()) == (torch.tensor(0.1), torch.tensor(1.0))

    mixture = MixtureSigmas(DiscreteSigmas([1.0]), DiscreteSigmas([2.0]), 0.7)(n, generator)
    within((mixture == 1).double(), 0.7, math.sqrt(0.21))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteSigmas([]),
        lambda: DiscreteSigmas([1.0, 0.0]),
        lambda: LogUniformSigmas(0.0, 1.0),
        lambda: LogUniformSigmas(2.0, 1.0),
        lambda: LogNormalSigmas(0.0, 0.0, 0.1, 1.0),
        lambda: LogNormalSigmas(math.nan, 1.0, 0.1, 1.0),
        lambda: LogNormalSigmas(0.0, 1.0, 0.1, math.inf),
        lambda: MixtureSigmas(DiscreteSigmas([1.0]), DiscreteSigmas([1.0]), 1.5),
    ],
)
def test_bad_distributions_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


@pytest.mark.parametrize("shape", [(4, 1, 2, 2), (1, 3, 2, 2), (4,)])
def test_a_score_or_noise_of_another_shape_is_refused(shape):
    x, sigma = torch.ones(4, 3, 2, 2), torch.ones(4)
    with pytest.raises(ValueError, match="score_fn returns must have the shape of x"):
        multi_level_denoising_score_matching(lambda x, sigma: torch.zeros(shape), x, sigma)
    with pytest.raises(ValueError, match="noise must have the shape of x"):
        multi_level_denoising_score_matching(lambda x, sigma: x, x, sigma, noise=torch.zeros(shape))
