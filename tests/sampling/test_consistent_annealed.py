"""Consistent annealed sampling: the reference vectors, the noise it leaves, and what is refused."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler

REFERENCE = Path(__file__).parents[1] / "data" / "consistent_sampling.safetensors"


@pytest.mark.fixed_seed
def test_reference_vectors_of_the_authors_sampler():
    """A Gaussian with its exact score, from x0 by eta, one unit normal a level; the last level denoises."""
    reference = load_file(REFERENCE)
    sigmas, x = reference["sigmas"], reference["x0"]
    scheduler = ConsistentAnnealedScheduler(sigmas=sigmas, eta=float(reference["eta"]))
    torch.manual_seed(int(reference["seed"]))
    for sigma in scheduler.timesteps:
        score = (reference["mu"] - x) / (reference["s0"] ** 2 + sigma**2)
        x = scheduler.step(score, sigma, x).prev_sample
    torch.testing.assert_close(x, reference["final_denoised"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", [None, 0.5, 1.0])
def test_noise_left_after_each_level_is_the_next_sigma(eta):
    """For data at 0, x is all noise; its deviation follows from the coefficients, without sampling."""
    scheduler = ConsistentAnnealedScheduler(12, sigma_min=0.05, sigma_max=5, eta=eta)
    ladder = scheduler.sigmas.double()
    for level in range(11):
        left = ladder[level] - scheduler.table[level].a / ladder[level]
        assert math.hypot(left, scheduler.table[level].b) == pytest.approx(float(ladder[level + 1]), rel=1e-6)
    assert scheduler.table[-1].a == pytest.approx(float(ladder[-1]) ** 2)
    assert scheduler.table[-1].b == 0


def test_default_step_draws_the_next_level_given_the_denoised_estimate():
    """For data at 0: x sigma_{i+1}² / sigma_i² + N(0, sigma_{i+1}² (1 - sigma_{i+1}² / sigma_i²)), then 0."""
    ladder = [2.0, 1.0, 0.25]
    scheduler = ConsistentAnnealedScheduler(sigmas=ladder)
    x, noise = torch.randn(2, 6, dtype=torch.float64)
    for sigma, following in itertools.pairwise([*ladder, 0.0]):
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        kept = following**2 / sigma**2
        expected = kept * x + following * math.sqrt(1 - kept) * noise
        x = scheduler.step(-x / sigma**2, sigma, x, generator=generator).prev_sample
        torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)


def test_eta_may_be_anything_that_leaves_no_more_than_the_next_level():
    """At the ends, 1 - gamma and 1 + gamma of the widest gap, the noise that is left needs no other: beta = 0."""
    ladder = [4.0, 2.0, 1.5]
    x = torch.ones(3, dtype=torch.float64)
    for eta, left in ((0.5, 0.5), (1.5, -0.5)):
        scheduler = ConsistentAnnealedScheduler(sigmas=ladder, eta=eta)
        torch.testing.assert_close(scheduler.step(-x / 16, 4.0, x).prev_sample, left * x, rtol=0, atol=0)
    for eta in (0.499, 1.501):
        with pytest.raises(ValueError, match=r"within \[1 - gamma, 1 \+ gamma\] = \[0.5, 1.5\]"):
            ConsistentAnnealedScheduler(sigmas=ladder, eta=eta)


SCHEDULERS = [
    lambda: ConsistentAnnealedScheduler(sigmas=[3.0, 2.0, 1.0]),
    lambda: AnnealedLangevinScheduler(sigmas=[3.0, 2.0, 1.0], steps_per_level=1),
]


@pytest.mark.parametrize("make", SCHEDULERS)
def test_a_run_can_begin_at_a_later_evaluation_and_ends_after_the_last(make):
    scheduler = make()
    scheduler.set_begin_index(1)
    for sigma in scheduler.timesteps[1:].tolist():
        denoised = scheduler.step(torch.ones(2), sigma, torch.zeros(2)).pred_original_sample
        assert denoised.tolist() == [sigma**2] * 2
    with pytest.raises(RuntimeError, match=f"All {len(scheduler.timesteps)} steps of this run were taken"):
        scheduler.step(torch.ones(2), 1.0, torch.zeros(2))


@pytest.mark.parametrize("make", SCHEDULERS)
def test_a_new_layout_begins_at_its_first_evaluation(make):
    scheduler = make()
    scheduler.set_begin_index(1)
    scheduler.step(torch.ones(2), 2.0, torch.zeros(2))
    scheduler.set_timesteps()
    assert (scheduler.begin_index, scheduler.step_index) == (None, None)
    denoised = scheduler.step(torch.ones(2), 3.0, torch.zeros(2)).pred_original_sample
    assert denoised.tolist() == [9, 9]


@pytest.mark.parametrize("make", SCHEDULERS)
def test_noise_is_added_by_each_samples_own_sigma(make):
    x, noise = torch.randn(2, 3, 1, 2, 2)
    sigma = torch.tensor([0.5, 1.0, 2.0])
    expected = torch.stack([x[i] + sigma[i] * noise[i] for i in range(3)])
    torch.testing.assert_close(make().add_noise(x, noise, sigma), expected)
    torch.testing.assert_close(make().add_noise(x, noise, sigma[:1]), x + 0.5 * noise)


def test_whole_chain_gives_the_mean_and_variance_of_a_gaussian():
    n, mean, std = 50_000, -0.4, 0.8
    scheduler = ConsistentAnnealedScheduler(200, sigma_min=0.01, sigma_max=8)
    expected_mean, expected_variance = 0.0, 64.0
    for sigma, following in itertools.pairwise([*np.geomspace(8, 0.01, 200), 0.0]):
        eta = 1 - (following / sigma) ** 2
        rate = eta * sigma**2 / (std**2 + sigma**2)
        expected_mean = (1 - rate) * expected_mean + rate * mean
        expected_variance = (1 - rate) ** 2 * expected_variance + following**2 * eta
    x = 8 * torch.randn(n, dtype=torch.float64)
    for sigma in scheduler.timesteps:
        x = scheduler.step((mean - x) / (std**2 + sigma**2), sigma, x).prev_sample
    assert x.mean().item() == pytest.approx(expected_mean, abs=5 * math.sqrt(expected_variance / n))
    assert x.var().item() == pytest.approx(expected_variance, abs=5 * expected_variance * math.sqrt(2 / n))
    assert expected_mean == pytest.approx(mean, abs=0.02)
    assert expected_variance == pytest.approx(std**2, rel=0.04)


def exact_variances(scheduler, variance, data_variance):
    """The variance before each level and after the last, for N(0, c²) and its exact score, without sampling.

    A step is linear in x and in its noise; two samples, x = 0 and x = 1, with known noise measure the coefficients.
    """
    generator, start = torch.Generator(), torch.tensor([0.0, 1.0], dtype=torch.float64)
    zero, one = torch.randn(2, dtype=torch.float64, generator=generator.manual_seed(0)).tolist()
    variances = [variance]
    for sigma in scheduler.timesteps.double():
        score = -start / (data_variance + sigma**2)
        x = scheduler.step(score, sigma, start, generator.manual_seed(0)).prev_sample.tolist()
        added = x[0] / zero
        variances.append((x[1] - added * one) ** 2 * variances[-1] + added**2)
    return variances


@pytest.mark.parametrize("eta", [None, 0.6, 1.0])
@pytest.mark.parametrize("data_variance", [0.0, 0.3, 4.0])
def test_each_level_loses_some_of_the_variance_of_data_that_are_no_point(eta, data_variance):
    """From c² + sigma_i² to c² + sigma_{i+1}² - eta² sigma_i² c² / (c² + sigma_i²)."""
    sigmas = [3.0, 1.9, 1.0, 0.5]
    for sigma, following in itertools.pairwise(sigmas):
        scheduler = ConsistentAnnealedScheduler(sigmas=[sigma, following], eta=eta)
        part = 1 - (following / sigma) ** 2 if eta is None else eta
        loss = part**2 * sigma**2 * data_variance / (data_variance + sigma**2)
        _, after, _ = exact_variances(scheduler, data_variance + sigma**2, data_variance)
        # The scores here are those of the timesteps, which are float32.
        assert after == pytest.approx(data_variance + following**2 - loss, rel=1e-6)


@pytest.mark.parametrize(("levels", "variance"), [(50, 0.871), (232, 0.971), (1000, 0.993)])
def test_a_unit_gaussian_ends_narrower_the_fewer_the_levels(levels, variance):
    scheduler = ConsistentAnnealedScheduler(levels, sigma_min=0.01, sigma_max=10)
    assert exact_variances(scheduler, 101.0, 1.0)[-1] == pytest.approx(variance, abs=5e-4)


@pytest.mark.parametrize("evaluations", [1, 2, 49, 1000])
def test_one_evaluation_per_level(evaluations):
    scheduler = ConsistentAnnealedScheduler(50, sigma_min=0.01, sigma_max=12)
    scheduler.set_timesteps(evaluations)
    assert len(scheduler.timesteps) == len(scheduler.sigmas) == evaluations
    assert scheduler.timesteps[0] == 12


def test_ladder_survives_saving_and_a_swap_of_schedulers(tmp_path):
    ConsistentAnnealedScheduler(7, sigma_min=0.02, sigma_max=3).save_pretrained(tmp_path)
    swapped = AnnealedLangevinScheduler.from_config(ConsistentAnnealedScheduler.load_config(tmp_path))
    assert (len(swapped.sigmas), swapped.config.sigma_min, swapped.config.sigma_max) == (7, 0.02, 3)
    numbers = ConsistentAnnealedScheduler.from_config(AnnealedLangevinScheduler(sigmas=[3, 2, 0.5]).config)
    assert numbers.timesteps.tolist() == [3, 2, 0.5]
    numbers.set_timesteps(5)  # halfway between two levels is their geometric mean
    assert numbers.timesteps.tolist() == pytest.approx([3, 6**0.5, 2, 1, 0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train_timesteps": 0}, "at least 1"),
        ({"sigma_min": 2.0}, "sigma_min < sigma_max"),
        ({"sigma_min": 1.0}, r"\(or =, for one level\)"),
        ({"sigma_max": math.nan}, "< inf must hold"),
        ({"sigmas": [1.0, 2.0]}, "strictly decreasing"),
        ({"eta": 0.01, "num_train_timesteps": 5}, r"\[1 - gamma, 1 \+ gamma\]"),
        ({"eta": math.nan}, "eta"),
    ],
)
def test_bad_configuration_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConsistentAnnealedScheduler(**arguments)


def test_bad_run_is_refused():
    scheduler = ConsistentAnnealedScheduler()
    for count, message in (
        (0, "at least 1"),
        (1, "too few for 2 levels"),
        (3, "3 evaluations are too many for 2 levels, which take 2"),
    ):
        with pytest.raises(ValueError, match=message):
            scheduler.set_timesteps(count, sigmas=[1.0, 0.5])


def test_samples_that_are_not_finite_stop_the_run():
    for levels, message in ((50, "after evaluation 10 of 50"), (3, "after evaluation 3 of 3")):
        scheduler, x = ConsistentAnnealedScheduler(levels), torch.zeros(2)
        with pytest.raises(FloatingPointError, match=message):
            for sigma in scheduler.timesteps:
                x = scheduler.step(torch.full((2,), math.inf), sigma, x).prev_sample
