"""The score's error: closed forms, invariances, and bins that leave nothing out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import sem

from ncsn_pipeline.diagnostics import (
    binned_mean,
    error_by_density_quantile,
    error_by_distance,
    relative_fisher_divergence,
    squared_error,
)
from ncsn_pipeline.score_matching import explicit_score_matching


@pytest.mark.parametrize("shape", [(), (3,), (1, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_squared_error_is_a_sum_over_dimensions(shape, dtype):
    score, true_score = torch.randn(2, 5, *shape, dtype=dtype)
    error = squared_error(score, true_score)
    assert error.shape == (5,) and error.dtype == dtype
    for i in range(5):
        torch.testing.assert_close(error[i], (score[i] - true_score[i]).square().sum())


def test_relative_divergence_of_a_wrong_variance():
    """For N(0, 1) and the score of N(0, v) it is (1 - 1/v)², whatever the samples."""
    x = torch.randn(100, 3)
    for v in (0.5, 1.0, 4.0):
        assert relative_fisher_divergence(-x / v, -x) == pytest.approx((1 - 1 / v) ** 2, abs=1e-7)
    assert relative_fisher_divergence(torch.zeros_like(x), -x) == 1


def test_divergence_is_half_the_mean_squared_error_everywhere():
    """What explicit score matching averages is F = 1/2 E ||s - s*||²; relative to the zero score's it is the ratio."""
    score, true_score = torch.randn(2, 50, 3, dtype=torch.float64)
    divergence = explicit_score_matching(lambda x: score, true_score, true_score).mean()
    of_zero = explicit_score_matching(torch.zeros_like, true_score, true_score).mean()
    torch.testing.assert_close(divergence, squared_error(score, true_score).mean() / 2)
    assert relative_fisher_divergence(score, true_score) == pytest.approx((divergence / of_zero).item(), rel=1e-12)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-6, 1e6))
def test_relative_divergence_has_no_unit_and_no_axes(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    score, true_score = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    plain = relative_fisher_divergence(score, true_score)
    turned = relative_fisher_divergence(scale * score @ rotation, scale * true_score @ rotation)
    assert turned == pytest.approx(plain, rel=1e-12)


def test_bins_of_equal_counts_match_a_plain_loop():
    values, by = torch.randn(2, 103, dtype=torch.float64)
    binned = binned_mean(values, by, num_bins=10)
    assert binned.count.sum() == 103 and set(binned.count.tolist()) == {10, 11}
    start = 0
    for i, count in enumerate(binned.count.tolist()):
        mine = values[by.argsort()[start : start + count]]
        assert binned.mean[i].item() == pytest.approx(mine.mean().item(), rel=1e-12)
        assert binned.standard_error[i].item() == pytest.approx(sem(mine.numpy()), rel=1e-12)
        assert binned.edges[i] == by.sort().values[start]
        start += count
    assert binned.edges[-1] == by.max()


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 50), data=st.data())
def test_bins_keep_the_whole_mean_and_forget_the_order(seed, n, data):
    num_bins = data.draw(st.integers(1, n))
    generator = torch.Generator().manual_seed(seed)
    values, by = torch.rand(2, n, generator=generator, dtype=torch.float64)
    binned = binned_mean(values, by, num_bins=num_bins)
    assert (binned.mean * binned.count).sum().item() / n == pytest.approx(values.mean().item(), rel=1e-12)
    order = torch.randperm(n, generator=generator)
    torch.testing.assert_close(binned_mean(values[order], by[order], num_bins=num_bins).mean, binned.mean)


def test_given_edges_hold_their_ends_and_leave_out_the_rest():
    by = torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.5, 3.0, 3.1])
    binned = binned_mean(torch.arange(7.0), by, edges=[0.0, 1.0, 2.0, 3.0])
    assert binned.count.tolist() == [2, 2, 1]
    assert binned.mean.tolist() == [1.5, 3.5, 5.0]
    assert binned.centres.tolist() == [0.5, 1.5, 2.5]
    assert binned.standard_error[0].item() == pytest.approx(math.sqrt(0.5) / math.sqrt(2))
    assert binned.standard_error[2].isnan()
    empty = error_by_distance(torch.ones(2), torch.tensor([0.1, 0.2]), [0.0, 1.0, 2.0])
    assert empty.count.tolist() == [2, 0] and empty.mean[1].isnan()


def test_error_by_density_starts_where_density_is_lowest():
    log_prob = torch.cat([torch.full((10,), -math.inf), torch.linspace(-5, 0, 90)])
    binned = error_by_density_quantile(torch.where(log_prob == -math.inf, 100.0, -log_prob), log_prob)
    assert len(binned.mean) == 10 and binned.mean[0] == 100
    assert (binned.mean.diff() < 0).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: squared_error(torch.zeros(2, 3), torch.zeros(2, 4)),
        lambda: squared_error(torch.zeros(0, 3), torch.zeros(0, 3)),
        lambda: relative_fisher_divergence(torch.ones(2, 3), torch.zeros(2, 3)),
        lambda: binned_mean(torch.ones(3), torch.ones(4), num_bins=1),
        lambda: binned_mean(torch.ones(3), torch.ones(3)),
        lambda: binned_mean(torch.ones(3), torch.ones(3), num_bins=2, edges=[0.0, 1.0]),
        lambda: binned_mean(torch.ones(3), torch.ones(3), num_bins=4),
        lambda: binned_mean(torch.ones(3), torch.ones(3), edges=[1.0, 1.0]),
        lambda: binned_mean(torch.tensor([math.nan]), torch.ones(1), num_bins=1),
        lambda: binned_mean(torch.ones(1), torch.tensor([math.nan]), num_bins=1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="got|zero"):
        call()
