"""Chains whose numbers are known: AR(1), and Langevin dynamics with all data at one point."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.diagnostics import (
    autocorrelation_time,
    effective_sample_size,
    empirical_variance_ratio,
    level_statistics,
    signal_to_noise,
)
from ncsn_pipeline.sampling import langevin_step


def ar1(phi, length, chains):
    """x_{t+1} = phi x_t + noise, stationary with unit variance from the start."""
    noise = torch.randn(length, chains, dtype=torch.float64)
    series = [noise[0]]
    for z in noise[1:]:
        series.append(phi * series[-1] + math.sqrt(1 - phi**2) * z)
    return torch.stack(series)


def sokal_deviation(tau, samples):
    """Standard deviation of the estimate with window M = 5 tau: Sokal 1997, Var = 2 (2 M + 1) / N tau²."""
    return tau * math.sqrt(2 * (2 * 5 * tau + 1) / samples)


@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.5, 0.9])
def test_autocorrelation_time_of_ar1(phi):
    length, chains = 4_000, 8
    tau = (1 + phi) / (1 - phi)
    series = ar1(phi, length, chains)
    deviation = sokal_deviation(max(tau, 1), length * chains)
    # The window cuts off the tail beyond M >= 5 tau: 2 phi^(M + 1) / (1 - phi).
    cut = 2 * abs(phi) ** (max(math.floor(5 * tau), 1) + 1) / (1 - phi)
    assert autocorrelation_time(series) == pytest.approx(tau, abs=5 * deviation + cut)
    assert effective_sample_size(series) == length * chains / autocorrelation_time(series)


@pytest.mark.parametrize("phi", [-0.5, -0.7, -0.9])
def test_chains_that_turn_back_are_worth_more_samples_than_they_have(phi):
    """Summed as far as rho alternates: (1 + phi) / (1 - phi), which is below 1 and above 0."""
    tau, samples = (1 + phi) / (1 - phi), 4_000 * 64
    spread = math.sqrt(2 * (2 * 5 / tau + 1) / samples)  # of the sums of rho up to 5 / tau
    assert autocorrelation_time(ar1(phi, 4_000, 64)) == pytest.approx(tau, abs=5 * spread * tau + 0.01)
    assert effective_sample_size(torch.tensor([[1.0], [-1.0]]).repeat(50, 1)) == 0  # not known


def test_autocorrelation_time_is_the_direct_sum_up_to_sokals_window():
    """1 + 2 sum_{t <= M} rho(t) at the first M >= 5 tau, lag by lag; a window of 4 tau would end elsewhere."""
    series = ar1(0.8, 400, 3)
    centred = series - series.mean()
    variance = centred.square().mean()
    tau, sums = 1.0, {}
    for lag in range(1, 201):
        tau += 2 * ((centred[lag:] * centred[:-lag]).mean() / variance).item()
        for window in (4, 5):
            if lag >= window * tau:
                sums.setdefault(window, tau)
    assert autocorrelation_time(series) == pytest.approx(sums[5], rel=1e-12)
    assert abs(sums[5] - sums[4]) > 1e-6


def test_effective_sample_size_predicts_the_scatter_of_means():
    """For a finite chain the deviation is 0.3 % below 1 / sqrt(size); it has the standard error 1 / sqrt(2 n)."""
    length, chains = 1_000, 2_000
    series = ar1(0.8, length, chains)
    size = effective_sample_size(series) / chains
    of_size = sokal_deviation(9, length * chains) / 9
    relative = 5 * math.hypot(1 / math.sqrt(2 * chains), of_size / 2) + 0.003
    assert series.mean(0).std().item() == pytest.approx(1 / math.sqrt(size), rel=relative)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(scale=st.floats(1e-3, 1e3), sign=st.sampled_from([-1, 1]), shift=st.floats(-100, 100))
def test_unit_and_origin_do_not_matter(scale, sign, shift):
    torch.manual_seed(0)
    series = ar1(0.5, 300, 2)
    assert autocorrelation_time(sign * scale * series + shift) == pytest.approx(autocorrelation_time(series), rel=1e-6)


def test_chains_that_stay_where_they_start_have_no_finite_time():
    """Each chain alone looks like white noise; together they have not mixed."""
    stuck = torch.randn(500, 2, dtype=torch.float64) + torch.tensor([10.0, -10.0])
    assert autocorrelation_time(stuck) == math.inf
    assert effective_sample_size(stuck) == 0
    assert autocorrelation_time(stuck[:, :1]) < 2


def test_short_series_are_not_guessed_at():
    assert autocorrelation_time(ar1(0.9, 20, 3)) == math.inf
    assert autocorrelation_time(torch.randn(1, 3)) == math.inf


def test_signal_to_noise_is_the_ratio_of_a_steps_two_parts():
    x, score, noise = torch.randn(3, 6, 2, 3, dtype=torch.float64)
    alpha, zero = 0.3, torch.zeros(6, 2, 3, dtype=torch.float64)
    signal = (langevin_step(x, score, alpha, zero) - x).flatten(1).norm(dim=1).mean()
    random = (langevin_step(x, zero, alpha, noise) - x).flatten(1).norm(dim=1).mean()
    assert signal_to_noise(score, alpha, noise) == pytest.approx((signal / random).item(), rel=1e-12)


@pytest.mark.parametrize(
    ("dimension", "mean_norm"),
    [(1, math.sqrt(2 / math.pi)), (2, math.sqrt(math.pi / 2)), (784, 28 * (1 - 1 / (4 * 784) + 1 / (32 * 784**2)))],
)
def test_signal_to_noise_takes_the_expected_norm_without_noise(dimension, mean_norm):
    """E || z || in closed form in one and two dimensions, by its expansion in 1 / D in many."""
    score = torch.ones(3, dimension, dtype=torch.float64)
    expected = math.sqrt(0.1 / 2) * math.sqrt(dimension) / mean_norm
    assert signal_to_noise(score, 0.1) == pytest.approx(expected, rel=1e-9)


def test_langevin_at_one_level_around_one_point():
    """The chain is AR(1) with phi = 1 - u, u = alpha / sigma²: tau = (2 - u) / u, variance sigma² / (1 - u / 2)."""
    sigma, u, steps, chains, dimension = 0.5, 0.4, 1_000, 20, 2
    alpha = u * sigma**2
    x = sigma / math.sqrt(1 - u / 2) * torch.randn(chains, dimension, dtype=torch.float64)
    samples, scores = [], []
    for _ in range(steps):
        samples.append(x)
        scores.append(-x / sigma**2)
        x = langevin_step(x, scores[-1], alpha, torch.randn_like(x))
    found = level_statistics(torch.stack(samples), torch.stack(scores), sigma, alpha)
    tau = (2 - u) / u
    # The larger of two independent estimates: 5 standard deviations rather than 4.
    assert found.autocorrelation_time == pytest.approx(tau, abs=5 * sokal_deviation(tau, steps * chains))
    assert found.effective_sample_size == steps * chains / found.autocorrelation_time
    # Squares are correlated with phi²; B chains, of which each batch variance loses nothing by its own mean.
    independent = steps * chains * dimension * (1 - (1 - u) ** 2) / (1 + (1 - u) ** 2)
    expected = 1 / (1 - u / 2)
    assert found.variance_ratio.mean().item() == pytest.approx(expected, rel=5 * math.sqrt(2 / independent))
    # In two dimensions || s || / || z || is the ratio of the two standard deviations, sqrt(variance) / sigma².
    snr = math.sqrt(alpha / 2) / sigma * math.sqrt(expected)
    assert found.signal_to_noise.mean().item() == pytest.approx(snr, rel=5 * 0.53 / math.sqrt(independent / 2))
    assert found.score_norm.shape == found.variance_ratio.shape == (steps,)
    assert found.score_norm[7].item() == pytest.approx(scores[7].norm(dim=1).mean().item(), rel=1e-12)


def test_level_statistics_take_the_slowest_dimension_and_the_variance_of_the_data():
    samples = torch.stack([ar1(phi, 300, 2) for phi in (0.0, 0.8, 0.4)], dim=2)
    found = level_statistics(samples, -samples, sigma=0.5, alpha=0.1, data_variance=3.75)
    assert found.autocorrelation_time == autocorrelation_time(samples[:, :, 1])
    ratios = [x.var(0).mean().item() / 4 for x in samples]
    assert found.variance_ratio.tolist() == pytest.approx(ratios, rel=1e-12)


def test_variance_ratio_takes_the_data_into_account():
    x = torch.tensor([[-1.0, -2.0], [1.0, 2.0]])
    assert empirical_variance_ratio(x, sigma=1.0) == pytest.approx(5.0)
    assert empirical_variance_ratio(x, sigma=1.0, data_variance=4.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: autocorrelation_time(torch.zeros(5)),
        lambda: autocorrelation_time(torch.full((5, 2), math.nan)),
        lambda: autocorrelation_time(torch.full((50, 2), 0.1)),
        lambda: signal_to_noise(torch.ones(2, 2), 0.0),
        lambda: signal_to_noise(torch.ones(2, 2), math.inf),
        lambda: empirical_variance_ratio(torch.ones(2, 2), 0.0),
        lambda: empirical_variance_ratio(torch.ones(2, 2), -1.0),
        lambda: empirical_variance_ratio(torch.ones(1, 2), 1.0),
        lambda: level_statistics(torch.ones(3, 2, 1), torch.ones(3, 2, 2), 1.0, 0.1),
        lambda: level_statistics(torch.ones(3, 2), torch.ones(3, 2), 1.0, 0.1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="got|constant"):
        call()
