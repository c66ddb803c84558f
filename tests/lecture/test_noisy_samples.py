"""Where a chain at one level settles, and what one variance is made of."""

import pytest
import torch

from ncsn_pipeline.lecture.noisy_samples import NoisySamplesParams, settled, within_modes
from ncsn_pipeline.lecture.toy import corner_mixture


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_chain_in_a_gaussian_settles_at_v_over_1_less_half_a(share):
    """Standard error of a variance v from 2n numbers: v / sqrt(n).  At a = 0.5 the step adds a third of v."""
    sigma, n = 0.5, 20_000
    v = 1 + sigma**2
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x = settled(lambda x: -x / v, start, share * v, 120, generator)
    expected = v / (1 - share / 2)
    assert abs(float(x.var(0).mean()) - expected) < 4 * expected / n**0.5
    denoised = x + sigma**2 * (-x / v)
    assert float(denoised.var(0).mean()) == pytest.approx(float(x.var(0).mean()) / v**2)


def test_the_variance_within_modes_is_that_about_their_own_means_and_its_error_is_what_it_scatters_by():
    density = corner_mixture(0.7)
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor([within_modes(density.sample(500, generator=generator), density) for _ in range(300)])
    variances, errors = found.T
    assert abs(variances.mean() - 0.49) < 4 * variances.std() / 300**0.5
    # The deviation of 300 values is known to 1 / sqrt(600).
    assert float(variances.std() / errors.mean()) == pytest.approx(1, abs=4 / 600**0.5)


@pytest.mark.parametrize("sigmas", [(0.5,), (0.5, 0.2), (0.5, 0.5)])
def test_levels_increase(sigmas):
    with pytest.raises(ValueError, match="sigmas must be (at least 2 values|strictly increasing)"):
        NoisySamplesParams(sigmas=sigmas)
