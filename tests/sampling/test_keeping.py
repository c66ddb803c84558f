"""Known values are kept while the others are sampled, in any number of dimensions."""

import math

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler
from ncsn_pipeline.sampling import Row, Table, follow, last_sample
from ncsn_pipeline.sampling.inpainting import keeping, repeated

CORRELATION = 0.8


def correlated(x, sigma):
    """The score of N(0, [[1, r], [r, 1]]) with noise of deviation sigma."""
    covariance = torch.tensor([[1, CORRELATION], [CORRELATION, 1]], dtype=x.dtype)
    return -x @ (covariance + sigma**2 * torch.eye(2, dtype=x.dtype)).inverse()


def test_each_step_but_the_last_is_taken_again():
    table = ConsistentAnnealedScheduler(4).table
    assert repeated(table, 2) == [0, 0, 1, 1, 2, 2, 3]
    assert repeated(table, 3, begin=2) == [2, 2, 2, 3]
    assert repeated(table, 1, begin=3) == [3]


def test_known_values_have_the_noise_of_the_level_and_the_way_up_that_of_the_step():
    n = 20_000
    table = Table([Row(2.0, 1.0, 0.0, 1.0), Row(1.0, 1.0, 0.0, 0.0)])
    known, mask = torch.full((n, 2), 5.0), torch.tensor([False, True])
    before = keeping(known, mask, table, torch.Generator().manual_seed(0))
    first = before(torch.zeros(n, 2), 0, False)
    assert torch.equal(first[:, 1], torch.zeros(n))
    assert float(first[:, 0].mean()) == pytest.approx(5, abs=4 * 2 / math.sqrt(n))
    assert float(first[:, 0].std()) == pytest.approx(2, rel=4 / math.sqrt(2 * n))
    again = before(torch.zeros(n, 2), 0, True)
    assert float(again[:, 1].std()) == pytest.approx(math.sqrt(3), rel=4 / math.sqrt(2 * n))
    assert float(again[:, 0].std()) == pytest.approx(2, rel=4 / math.sqrt(2 * n))


def test_steps_that_are_taken_again_bring_the_conditional_mean_closer():
    """Of two correlated values, the first is kept at 1: the other's mean is 0.8."""
    table, n, means = ConsistentAnnealedScheduler(30, 0.01, 10.0).table, 4000, []
    for repeats in (1, 8):
        generator = torch.Generator().manual_seed(1)
        known, mask = torch.ones(n, 2, dtype=torch.float64), torch.tensor([False, True])
        x = 10 * torch.randn(n, 2, dtype=torch.float64, generator=generator)
        before = keeping(known, mask, table, generator)
        run = follow(correlated, x, table, generator, order=repeated(table, repeats), before=before)
        means.append(float(last_sample(run)[:, 1].mean()))
    once, often = means
    error = 4 * 1 / math.sqrt(n)
    assert abs(often - CORRELATION) < abs(once - CORRELATION) - error
    assert often == pytest.approx(CORRELATION, abs=0.1 + error)
