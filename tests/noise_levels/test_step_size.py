"""Technique 4 and the variance at the end: published step sizes, simulations, closed forms for one step per level."""

import math

import numpy as np
import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler
from ncsn_pipeline.noise_levels import (
    end_variance_ratio,
    geometric_noise_levels,
    karras_noise_levels,
    step_size_for_end_variance,
    step_size_for_variance,
    variance_ratio,
)


@pytest.mark.parametrize(
    "sigma_max, num_levels, steps_per_level, printed",
    [(50, 232, 5, "6.2e-06"), (90, 500, 5, "3.3e-06"), (348, 2311, 3, "9e-07")],
    ids=["CIFAR-10", "CelebA-64", "FFHQ-256"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_published_step_sizes(sigma_max, num_levels, steps_per_level, printed, dtype):
    sigmas = geometric_noise_levels(sigma_max, 0.01, num_levels, dtype=dtype)
    step_size, _ = step_size_for_variance(sigmas, steps_per_level)
    digits = len(printed.split("e")[0].replace(".", "")) - 1
    assert f"{step_size:.{digits}e}" == printed


@pytest.mark.parametrize("gamma, relative_step, steps", [(1.3, 0.06, 5), (2.0, 0.4, 3), (1.5, 1.6, 2), (1.2, 0.3, 1)])
def test_recursion_is_that_of_langevin_steps(gamma, relative_step, steps):
    """Langevin dynamics on N(0, sigma²) from N(0, (gamma sigma)²): the variance, within four standard errors."""
    sigma, n = 0.7, 400_000
    alpha = relative_step * sigma**2
    x = gamma * sigma * torch.randn(n, dtype=torch.float64)
    for _ in range(steps):
        x = x + alpha * (-x / sigma**2) + math.sqrt(2 * alpha) * torch.randn(n, dtype=torch.float64)
    expected = variance_ratio(gamma, relative_step, steps)
    standard_error = expected * math.sqrt(2 / n)  # of the mean square of Gaussians
    assert (x.square().mean() / sigma**2).item() == pytest.approx(expected, abs=4 * standard_error)
    # The tolerance is fine enough to tell this from one step more or less and from the target itself.
    others = [1.0, variance_ratio(gamma, relative_step, steps + 1), gamma**2]
    assert min(abs(other - expected) for other in others) > 8 * standard_error


@pytest.mark.parametrize("steps", [1, 5, 1000])
def test_recursion_is_exact(steps):
    gamma, u = 1.3, 0.2
    variance = gamma**2
    for _ in range(steps):
        variance = (1 - u) ** 2 * variance + 2 * u
    assert variance_ratio(gamma, u, steps) == pytest.approx(variance, rel=1e-13)


def test_a_long_chain_settles_at_its_own_variance():
    """The stationary variance of x + alpha s + sqrt(2 alpha) z on a unit Gaussian is 1 / (1 - alpha / 2)."""
    assert variance_ratio(3.0, 0.5, 1000) == pytest.approx(1 / (1 - 0.5 / 2), rel=1e-14)


@pytest.mark.parametrize("gamma", [1.01, 1.5, 3.0])
def test_one_step_a_level_has_a_closed_form(gamma):
    """At T = 1 the ratio is (1 - u)² gamma² + 2 u, least at u = 1 - 1/gamma², where it is 2 - 1/gamma²."""
    sigmas = [0.1 * gamma**i for i in (3, 2, 1, 0)]
    step_size, ratio = step_size_for_variance(sigmas, 1)
    assert step_size == pytest.approx(0.1**2 * (1 - gamma**-2), rel=1e-6)
    assert ratio == pytest.approx(2 - gamma**-2, rel=1e-12)


@pytest.mark.parametrize("gamma", [1.004, 1.08, 2.0, 20.0])
@pytest.mark.parametrize("steps", [1, 3, 100])
def test_no_other_step_size_does_better(gamma, steps):
    step_size, ratio = step_size_for_variance([gamma, 1.0], steps)
    assert ratio == pytest.approx(variance_ratio(gamma, step_size, steps), rel=1e-12)
    others = torch.linspace(0, 2, 4001, dtype=torch.float64)[1:-1].tolist()
    others += torch.logspace(-8, 0, 1001, dtype=torch.float64)[:-1].tolist()
    assert all(abs(variance_ratio(gamma, u, steps) - 1) >= (ratio - 1) * (1 - 1e-9) for u in others)


def test_more_steps_bring_the_ratio_to_one_from_above():
    ratios = [step_size_for_variance([2.0, 1.0], steps)[1] for steps in (1, 2, 5, 20, 100, 1000)]
    assert ratios == sorted(ratios, reverse=True)
    assert 1 < ratios[-1] < 1.01


def test_the_widest_gap_decides():
    sigmas = karras_noise_levels(80, 0.002, 18, dtype=torch.float64)
    gaps = sigmas[:-1] / sigmas[1:]
    step_size, ratio = step_size_for_variance(sigmas, 5)
    relative = step_size / 0.002**2
    per_level = [variance_ratio(gap, relative, 5) for gap in gaps.tolist()]
    assert max(per_level) == pytest.approx(ratio, rel=1e-12)
    for other in (0.8 * relative, 1.25 * relative):
        assert max(variance_ratio(gap, other, 5) for gap in gaps.tolist()) > ratio


def test_units_scale_the_step_with_their_square():
    sigmas = geometric_noise_levels(10, 0.01, 50, dtype=torch.float64)
    one, ratio = step_size_for_variance(sigmas, 5)
    two, same_ratio = step_size_for_variance(2 * sigmas, 5)
    assert (two, same_ratio) == pytest.approx((4 * one, ratio), rel=1e-7)


def test_a_single_level_is_entered_from_twice_its_width():
    assert step_size_for_variance([0.3], 7) == step_size_for_variance([0.6, 0.3], 7)


@pytest.mark.parametrize(
    "sigma_max, num_levels, steps_per_level, step_size, printed",
    [
        (50, 232, 5, 6.2e-6, "1.13"),
        (90, 500, 5, 3.3e-6, "1.12"),
        (348, 2311, 3, 9e-7, "1.20"),
        (50, 232, 5, 1e-7, "2853802.53"),
        (50, 232, 5, 1e-30, "25000000.00"),  # no step at all: the start's (50 / 0.01)²
    ],
)
def test_published_settings_end_with_a_little_too_much_variance(
    sigma_max, num_levels, steps_per_level, step_size, printed
):
    sigmas = geometric_noise_levels(sigma_max, 0.01, num_levels, dtype=torch.float64)
    assert f"{end_variance_ratio(sigmas, step_size / 0.01**2, steps_per_level):.2f}" == printed


@pytest.mark.parametrize("levels", [[0.7], [1.5, 0.9, 0.8, 0.3]])
@pytest.mark.parametrize("relative_step, steps", [(0.1, 1), (0.4, 3), (1.6, 2)])
def test_end_variance_is_that_of_the_scheduler(levels, relative_step, steps):
    """The steps of annealed Langevin dynamics are linear in x and z for data at one point.

    Two samples, x = 1 and x = 0 with no noise and then with unit noise in one step at a time, measure the
    coefficients; the variances of all steps add up to v_L sigma_L², the start's sigma_1² times its coefficient first.
    """
    scheduler = AnnealedLangevinScheduler(
        sigmas=levels, steps_per_level=steps, step_size=relative_step * levels[-1] ** 2, denoise=False
    )
    variance = levels[0] ** 2
    for sigma in scheduler.timesteps.double():
        start, generator = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.Generator().manual_seed(0)
        after = scheduler.step(-start / sigma**2, sigma, start, generator).prev_sample
        noise = torch.randn(2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        added = after[0] / noise[0]
        variance = (after[1] - added * noise[1]).item() ** 2 * variance + added.item() ** 2
    # The scheduler's timesteps, and so the scores here, are those of float32.
    assert variance / levels[-1] ** 2 == pytest.approx(end_variance_ratio(levels, relative_step, steps), rel=1e-6)


@pytest.mark.parametrize("gamma", [1.02, 1.0826, 1.5])
def test_technique_4_at_one_step_per_level_ends_with_twice_the_variance_whatever_gamma_is(gamma):
    """One level alone would end with 2 - 1/gamma²; (1 - p) b / (1 - p gamma²) is 2 at u = 1 - 1/gamma²."""
    sigmas = [gamma**-i for i in range(500)]
    step_size, ratio = step_size_for_variance(sigmas, 1)
    assert ratio == pytest.approx(2 - gamma**-2, rel=1e-9)
    assert end_variance_ratio(sigmas, step_size / sigmas[-1] ** 2, 1) == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(
    "steps, one_level, technique_4, its_end, best, best_end",
    [(1, 1.147, 0.147, 2.000, 0.383, 1.383), (5, 1.094, 0.112, 1.146, 0.160, 1.128)],
)
def test_two_steps_for_the_levels_of_28_pixels_squared(steps, one_level, technique_4, its_end, best, best_end):
    sigmas = geometric_noise_levels(1, 0.01, 59, dtype=torch.float64)
    step_size, ratio = step_size_for_variance(sigmas, steps)
    other, end_ratio = step_size_for_end_variance(sigmas, steps)
    found = ratio, step_size / 1e-4, end_variance_ratio(sigmas, step_size / 1e-4, steps), other / 1e-4, end_ratio
    assert found == pytest.approx((one_level, technique_4, its_end, best, best_end), abs=6e-4)


def test_the_end_variance_is_that_of_simulated_langevin_dynamics():
    """Technique 4's step at T = 1: 2.00, not one level's 1.15, within 4.5 standard errors."""
    gamma, n = 1.0826, 20_000
    sigmas = [gamma**-i for i in range(40)]
    u = step_size_for_variance(sigmas, 1)[0] / sigmas[-1] ** 2
    x = torch.randn(n, dtype=torch.float64)
    for sigma in sigmas:
        x = x - u * x + math.sqrt(2 * u) * sigma * torch.randn(n, dtype=torch.float64)
    expected = end_variance_ratio(sigmas, u, 1)
    assert expected == pytest.approx(2, abs=0.01)
    assert (x.square().mean() / sigmas[-1] ** 2).item() == pytest.approx(expected, rel=4.5 * math.sqrt(2 / n))


@pytest.mark.parametrize("sigmas", [[2.0, 1.0], [2.0, 1.9, 1.0, 0.2], karras_noise_levels(80, 0.002, 18).tolist()])
@pytest.mark.parametrize("steps", [1, 3, 100])
def test_no_other_step_size_ends_closer(sigmas, steps):
    step_size, ratio = step_size_for_end_variance(sigmas, steps)
    assert 0 < step_size < sigmas[-1] ** 2
    assert ratio == pytest.approx(end_variance_ratio(sigmas, step_size / sigmas[-1] ** 2, steps), rel=1e-12)
    others = [*np.linspace(0, 2, 201)[1:-1], *np.geomspace(1e-8, 1, 101)]
    assert all(end_variance_ratio(sigmas, u, steps) - 1 >= (ratio - 1) * (1 - 1e-9) for u in others)


@pytest.mark.parametrize(
    "sigmas, steps, message",
    [
        ([], 5, "shape"),
        ([[1.0, 0.5]], 5, "shape"),
        ([1.0, math.nan], 5, "finite and positive"),
        ([1.0, 0.0], 5, "finite and positive"),
        ([0.1, 1.0], 5, "strictly decreasing"),
        ([1.0, 1.0], 5, "strictly decreasing"),
        ([1.0, 0.1], 0, "steps_per_level must be"),
        ([1.0, 0.1], 2.5, "steps_per_level must be"),
        ([1.0, 0.1], math.inf, "steps_per_level must be"),
    ],
)
def test_bad_ladders_are_refused(sigmas, steps, message):
    for function in (step_size_for_variance, step_size_for_end_variance):
        with pytest.raises(ValueError, match=message):
            function(sigmas, steps)
    with pytest.raises(ValueError, match=message):
        end_variance_ratio(sigmas, 0.1, steps)


@pytest.mark.parametrize("arguments", [(0.0, 0.1, 5), (math.nan, 0.1, 5), (1.1, 0.0, 5), (1.1, 2.0, 5), (1.1, 0.1, 0)])
def test_a_ratio_of_bad_values_is_refused(arguments):
    with pytest.raises(ValueError):
        variance_ratio(*arguments)


@pytest.mark.parametrize("relative_step", [0.0, 2.0, math.nan])
def test_an_end_variance_of_a_step_out_of_range_is_refused(relative_step):
    with pytest.raises(ValueError, match=r"relative_step must be eps / sigma_L² in \(0, 2\)"):
        end_variance_ratio([2.0, 1.0], relative_step, 5)
