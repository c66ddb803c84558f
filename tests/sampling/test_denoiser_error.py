"""r²(sigma): two ways to the same number, and a table between its rows."""

import math

import pytest
import torch

from ncsn_pipeline import GaussianMixture, exact_score_function
from ncsn_pipeline.sampling import DenoiserError, measured_denoiser_error, probed_denoiser_error

SIGMAS = torch.logspace(math.log10(12), math.log10(0.02), 12).double()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_both_ways_find_that_of_gaussian_data():
    """N(0, diag(1, 0.01)): r² = mean sigma² v / (sigma² + v); within 5 standard errors of 2,000 samples, and probes."""
    covariance = torch.diag(torch.tensor([1.0, 0.01]).double())[None]
    density = GaussianMixture(torch.zeros(1, 2).double(), covariance)
    score = exact_score_function(density)
    variances = torch.tensor([1.0, 0.01]).double()
    errors = SIGMAS[:, None] ** 2 * variances / (SIGMAS[:, None] ** 2 + variances)
    expected, spread = errors.mean(1), (2 * errors.square()).sum(1).sqrt() / 2
    measured = measured_denoiser_error(score, density.sample(2000, generator=seeded()), SIGMAS, seeded(1))
    probed = probed_denoiser_error(score, torch.randn(10, 2).double(), SIGMAS, seeded(2))
    found, by_probes = (torch.tensor([error for _, error in table.rows]).double() for table in (measured, probed))
    assert ((found - expected).abs() < 5 * spread / math.sqrt(2000)).all()
    torch.testing.assert_close(by_probes, expected)  # J is diagonal: v' J v is its trace for every v


def test_both_ways_agree_on_a_mixture_within_a_tenth():
    """As for a network: what it is wrong by on data is what its derivative says."""
    generator = seeded()
    density = GaussianMixture(2 * torch.randn(8, 4, generator=generator).double(), 0.3)
    score, data = exact_score_function(density), density.sample(3000, generator=generator)
    sigmas = [3.0, 1.0, 0.3, 0.1, 0.02]
    measured = measured_denoiser_error(score, data, sigmas, generator)
    probed = probed_denoiser_error(score, density.sample(3000, generator=generator), sigmas, generator)
    for sigma in sigmas:
        assert probed(sigma) == pytest.approx(measured(sigma), rel=0.1), sigma


def test_between_rows_it_is_a_power_of_sigma_and_beyond_them_what_noise_says():
    table = DenoiserError([(4.0, 0.5), (1.0, 0.02), (0.1, 0.001)])
    assert [table(sigma) for sigma in (100.0, 4.0, 1.0, 0.1)] == pytest.approx([0.5, 0.5, 0.02, 0.001])
    assert table(2.0) == pytest.approx(math.sqrt(0.5 * 0.02))
    assert table(0.05) == pytest.approx(0.001 / 4)


@pytest.mark.parametrize("rows", [[], [(1.0, 0.1), (2.0, 0.2)], [(2.0, 0.1), (1.0, 0.0)], [(2.0, math.nan)]])
def test_rows_out_of_range_are_refused(rows):
    with pytest.raises(ValueError, match="r² must be finite|Noise levels"):
        DenoiserError(rows)


@pytest.mark.parametrize("measure", [measured_denoiser_error, probed_denoiser_error])
def test_a_score_of_another_shape_and_no_samples_are_refused(measure):
    with pytest.raises(ValueError, match=r"The score has shape \(5,\), the samples have \(5, 1\)"):
        measure(lambda x, sigma: -x[:, 0], torch.ones(5, 1), [1.0])
    with pytest.raises(ValueError, match=r"x must hold samples, shape \(N, \*D\); got shape \(0, 1\)"):
        measure(lambda x, sigma: -x, torch.ones(0, 1), [1.0])


def test_half_precision_is_summed_in_full_and_no_score_hides_behind_its_least_value():
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).half()
    measured = measured_denoiser_error(lambda x, sigma: 0 * x, x, [50.0], generator=torch.Generator().manual_seed(0))
    assert measured(50.0) == pytest.approx(2500, rel=5 * math.sqrt(2 / x.numel()))
    with pytest.raises(ValueError, match="finite"):
        probed_denoiser_error(lambda x, sigma: -math.inf * x, x.float(), [1.0])
    with pytest.raises(ValueError, match="batch_size"):
        measured_denoiser_error(lambda x, sigma: x, x, [1.0], batch_size=0)
