"""The data as a density: a mixture of their points, whatever the chunks, for data of any shape."""

import math

import pytest
import torch

from ncsn_pipeline.densities import EmpiricalDensity, GaussianMixture

F64 = torch.float64


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("chunk_size", [1, 7, 40, 1000])
def test_is_the_mixture_of_its_points_in_any_chunks(sigma, chunk_size):
    data, x = torch.randn(40, 3, dtype=F64), 2 * torch.randn(25, 3, dtype=F64)
    mixture = GaussianMixture(data, sigma)
    empirical = EmpiricalDensity(data, chunk_size=chunk_size).noised(sigma)
    torch.testing.assert_close(empirical.log_prob(x), mixture.log_prob(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(empirical.score(x), mixture.score(x), rtol=1e-9, atol=1e-9)


def test_images_are_flat_points_of_another_shape():
    data, x = torch.rand(20, 1, 4, 4), torch.rand(6, 1, 4, 4)
    images, points = EmpiricalDensity(data, 0.3), EmpiricalDensity(data.flatten(1), 0.3)
    assert images.sample(5).shape == (5, 1, 4, 4)
    torch.testing.assert_close(images.log_prob(x), points.log_prob(x.flatten(1)))
    torch.testing.assert_close(images.score(x).flatten(1), points.score(x.flatten(1)))
    assert images.denoise(x).shape == x.shape


def test_denoise_is_the_posterior_mean():
    """Tweedie's formula, x + sigma² s; and in the mean over noised data the one denoiser whose error is orthogonal."""
    data, sigma = torch.tensor([[0.0], [1.0], [3.0]], dtype=F64), 0.8
    density = EmpiricalDensity(data, sigma)
    x = torch.linspace(-4, 6, 50, dtype=F64)[:, None]
    torch.testing.assert_close(density.denoise(x), x + sigma**2 * density.score(x))
    likelihood = torch.exp(-((x - data.T) ** 2) / (2 * sigma**2))
    torch.testing.assert_close(density.denoise(x), likelihood @ data / likelihood.sum(1, keepdim=True))


def test_noise_far_below_the_spacing_of_the_data_finds_the_nearest():
    data = torch.randn(50, 4, dtype=F64)
    x = data[:10] + 1e-4 * torch.randn(10, 4, dtype=F64)
    density = EmpiricalDensity(data, 1e-4)
    torch.testing.assert_close(density.denoise(x), data[:10], rtol=0, atol=1e-12)
    nearest = -(x - data[:10]).square().sum(1) / 2e-8 - 2 * math.log(2 * math.pi * 1e-8) - math.log(50)
    torch.testing.assert_close(density.log_prob(x), nearest, rtol=1e-5, atol=0)


def test_common_offset_costs_no_digits():
    data, x = torch.randn(30, 2, dtype=F64).float().double(), torch.randn(9, 2, dtype=F64).float().double()
    offset = 2.0**20  # exact in float64
    near, far = EmpiricalDensity(data, 0.1), EmpiricalDensity(data + offset, 0.1)
    torch.testing.assert_close(far.score(x + offset), near.score(x), rtol=1e-6, atol=1e-6)


def test_bare_points_can_be_drawn_and_noised_only():
    data = torch.randn(4, 2)
    bare = EmpiricalDensity(data)
    drawn = bare.sample(100)
    assert (drawn[:, None] == data).all(2).any(1).all()
    for function in (bare.log_prob, bare.score, bare.denoise):
        with pytest.raises(ValueError, match=r"call .noised\(sigma\) first"):
            function(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2, dtype=torch.uint8),), "Convert integers"),
        ((torch.zeros(0, 2),), "N >= 1"),
        ((torch.zeros(3),), "data must be"),
        ((torch.full((3, 1), math.inf),), "finite"),
        ((torch.zeros(3, 2), -1.0), "sigma"),
        ((torch.zeros(3, 2), 1.0, 0), "chunk_size"),
    ],
)
def test_bad_data_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EmpiricalDensity(*arguments)
