"""Langevin's closed forms, the layout of a run, and what is refused."""

import math

import numpy as np
import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler, step_size_for_variance
from ncsn_pipeline.sampling import langevin_step


def gaussian_score(x, sigma, mean, std):
    """The exact score of N(mean, std²) noised by sigma."""
    return (mean - x) / (std**2 + float(sigma) ** 2)


def sample(scheduler, score, x, generator=None):
    for sigma in scheduler.timesteps:
        x = scheduler.step(score(x, sigma), sigma, x, generator=generator).prev_sample
    return x


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1.5])
def test_stationary_variance_is_one_over_one_minus_half_alpha(alpha):
    """The step is linear for N(0, 1), so its two coefficients give the variance without sampling."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    kept = langevin_step(one, -one, alpha, zero).item()
    added = langevin_step(zero, zero, alpha, one).item()
    variance = 7.0
    for _ in range(5000):
        variance = kept**2 * variance + added**2
    assert variance == pytest.approx(1 / (1 - alpha / 2), rel=1e-12)


def test_step_is_the_papers_half_alpha_form_at_twice_the_step():
    x, score, noise = torch.randn(3, 5, dtype=torch.float64).unbind(0)
    paper = 0.2
    assert torch.allclose(langevin_step(x, score, paper / 2, noise), x + paper / 2 * score + math.sqrt(paper) * noise)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("relative_step", [0.05, 0.3])
def test_variance_after_a_level_follows_technique_4(steps, relative_step):
    """For data at one point the scheduler's steps are linear; their coefficients give s_T² / sigma_i² exactly."""
    ladder = np.geomspace(2.0, 0.1, 8)
    gamma = ladder[0] / ladder[1]
    scheduler = AnnealedLangevinScheduler(
        sigmas=ladder.tolist(), steps_per_level=steps, step_size=relative_step * ladder[-1] ** 2, denoise=False
    )
    for level in range(1, len(ladder)):
        kept, noise_variance = 1.0, 0.0
        for i in range(level * steps, (level + 1) * steps):
            alpha, sigma = scheduler.table[i].a, float(scheduler.timesteps[i])
            shrink = langevin_step(torch.ones(1).double(), -torch.ones(1).double() / sigma**2, alpha, torch.zeros(1))
            kept *= shrink.item()
            noise_variance = shrink.item() ** 2 * noise_variance + 2 * alpha
        a, b = 1 - relative_step, 1 / (1 - relative_step / 2)
        expected = a ** (2 * steps) * (gamma**2 - b) + b
        assert (kept**2 * ladder[level - 1] ** 2 + noise_variance) / ladder[level] ** 2 == pytest.approx(
            expected, rel=1e-5
        )


def test_published_step_size_of_cifar10():
    step_size, ratio = step_size_for_variance(np.geomspace(50, 0.01, 232), 5)
    assert step_size == pytest.approx(6.2e-6, abs=0.05e-6)
    assert 1 < ratio < 1.06
    scheduler = AnnealedLangevinScheduler(232, sigma_min=0.01, sigma_max=50, steps_per_level=5)
    assert scheduler.step_size == pytest.approx(step_size)


def exact_moments(scheduler, mean, std):
    """Mean and variance of the chain's end for N(mean, std²): every step is x -> (1 - r) x + r mean + N(0, 2 alpha)."""
    expected_mean, expected_variance = 0.0, scheduler.init_noise_sigma**2
    for i, sigma in enumerate(scheduler.timesteps.tolist()):
        denoises = scheduler.config.denoise and i == len(scheduler.timesteps) - 1
        alpha = sigma**2 if denoises else scheduler.table[i].a
        rate = alpha / (std**2 + sigma**2)
        expected_mean = (1 - rate) * expected_mean + rate * mean
        expected_variance = (1 - rate) ** 2 * expected_variance + (0 if denoises else 2 * alpha)
    return expected_mean, expected_variance


@pytest.mark.parametrize("denoise", [True, False])
def test_whole_chain_gives_the_mean_and_variance_of_a_gaussian(denoise):
    n, mean, std = 50_000, 1.5, 0.7
    scheduler = AnnealedLangevinScheduler(20, sigma_min=0.05, sigma_max=10, steps_per_level=5, denoise=denoise)
    expected_mean, expected_variance = exact_moments(scheduler, mean, std)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 1, dtype=torch.float64, generator=generator) * scheduler.init_noise_sigma
    x = sample(scheduler, lambda x, sigma: gaussian_score(x, sigma, mean, std), x, generator)
    assert x.mean().item() == pytest.approx(expected_mean, abs=5 * math.sqrt(expected_variance / n))
    assert x.var().item() == pytest.approx(expected_variance, abs=5 * expected_variance * math.sqrt(2 / n))


def test_bias_of_the_chain_shrinks_as_its_budget_grows():
    errors = []
    for levels, steps in ((10, 5), (30, 20), (100, 100)):
        scheduler = AnnealedLangevinScheduler(levels, sigma_min=0.05, sigma_max=10, steps_per_level=steps)
        mean, variance = exact_moments(scheduler, 1.5, 0.7)
        errors.append(max(abs(mean - 1.5), abs(variance / 0.7**2 - 1)))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.03


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 5, 100])
@pytest.mark.parametrize("evaluations", [2, 3, 7, 50, 101, 1000])
def test_num_inference_steps_is_exact(evaluations, steps, denoise):
    scheduler = AnnealedLangevinScheduler(10, sigma_min=0.01, sigma_max=1, steps_per_level=steps, denoise=denoise)
    scheduler.set_timesteps(evaluations)
    assert len(scheduler.timesteps) == scheduler.num_inference_steps == evaluations
    assert len(scheduler.sigmas) == max(1, (evaluations - denoise) // steps)
    assert (scheduler.timesteps.diff() <= 0).all()


def test_fifty_evaluations_are_nine_levels_of_five_four_more_and_the_denoising():
    scheduler = AnnealedLangevinScheduler(10, sigma_min=0.01, sigma_max=12)
    scheduler.set_timesteps(50)
    assert torch.unique_consecutive(scheduler.timesteps, return_counts=True)[1].tolist() == [5] * 8 + [10]
    assert scheduler.timesteps[0] == 12
    assert scheduler.timesteps[-1] == pytest.approx(0.01)


def test_one_evaluation_is_the_denoising_alone():
    scheduler = AnnealedLangevinScheduler(10, sigma_min=0.01, sigma_max=3)
    scheduler.set_timesteps(1)
    x = torch.randn(4, 2)
    score = torch.randn(4, 2)
    assert torch.allclose(scheduler.step(score, 3.0, x).prev_sample, x + 9 * score)


def test_levels_of_a_run_replace_those_of_the_configuration():
    scheduler = AnnealedLangevinScheduler(10, sigma_min=0.5, sigma_max=1, steps_per_level=3, step_size=0.1)
    scheduler.set_timesteps(sigmas=[2.0, 1.0, 0.5])
    assert scheduler.timesteps.tolist() == [2.0] * 3 + [1.0] * 3 + [0.5] * 4
    assert [row.a for row in scheduler.table[::3]] == pytest.approx([1.6, 0.4, 0.1, 0.25])
    scheduler.set_timesteps(23, sigmas=[2.0, 1.0, 0.5])
    assert (len(scheduler.sigmas), scheduler.steps_per_level, len(scheduler.timesteps)) == (3, 7, 23)
    scheduler.set_timesteps()
    assert len(scheduler.timesteps) == 31


def test_ladder_as_numbers_survives_saving_and_keeps_its_shape_when_resampled(tmp_path):
    scheduler = AnnealedLangevinScheduler(sigmas=torch.tensor([4.0, 1.0, 0.5]))
    scheduler.save_pretrained(tmp_path)
    loaded = AnnealedLangevinScheduler.from_pretrained(tmp_path)
    assert loaded.timesteps.tolist() == scheduler.timesteps.tolist()
    assert (loaded.config.sigma_max, loaded.config.sigma_min, len(loaded)) == (4.0, 0.5, 3)
    loaded.set_timesteps(26)
    assert loaded.sigmas.tolist() == pytest.approx([4, 2, 1, 0.5**0.5, 0.5])


def test_same_seed_same_samples_and_a_generator_for_each():
    scheduler = AnnealedLangevinScheduler(5, sigma_min=0.1, sigma_max=1)
    score = lambda x, sigma: gaussian_score(x, sigma, 0.0, 1.0)  # noqa: E731
    x = torch.randn(2, 3)
    together = sample(scheduler, score, x, [torch.Generator().manual_seed(s) for s in (5, 6)])
    for i in (0, 1):
        scheduler.set_timesteps()
        alone = sample(scheduler, score, x[i : i + 1], torch.Generator().manual_seed(5 + i))
        assert torch.equal(alone[0], together[i])


def test_a_run_can_begin_in_the_middle_and_ends():
    scheduler = AnnealedLangevinScheduler(5, sigma_min=0.1, sigma_max=1, steps_per_level=2)
    scheduler.set_begin_index(10)
    x, score = torch.randn(4), torch.randn(4)
    assert torch.allclose(scheduler.step(score, 0.1, x).prev_sample, x + 0.01 * score)
    with pytest.raises(RuntimeError, match="All 11 steps"):
        scheduler.step(score, 0.1, x)


def test_score_networks_scale_their_own_input():
    scheduler, x = AnnealedLangevinScheduler(5, sigma_min=0.1, sigma_max=1), torch.randn(2, 3)
    assert scheduler.scale_model_input(x, 0.3) is x
    assert scheduler.order == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train_timesteps": 0}, "at least 1"),
        ({"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min < sigma_max"),
        ({"sigma_min": 1.0, "sigma_max": 1.0}, r"\(or =, for one level\)"),
        ({"sigma_min": math.nan}, "< inf must hold"),
        ({"sigma_max": math.inf}, "< inf must hold"),
        ({"sigma_min": 0.0}, "sigma_min"),
        ({"sigmas": [1.0, math.nan]}, "finite"),
        ({"sigmas": [1.0, 1.0]}, "strictly decreasing"),
        ({"sigmas": []}, "at least one"),
        ({"steps_per_level": 0}, "at least 1"),
        ({"steps_per_level": 2.5}, "steps_per_level must be at least 1 and a whole number"),
        ({"step_size": 2e-4}, "diverges"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": math.nan}, "step_size"),
        ({"initial": "zeros"}, "initial"),
    ],
)
def test_bad_configuration_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AnnealedLangevinScheduler(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
        (
            {"num_inference_steps": 5, "sigmas": [5.0, 4.0, 3.0, 2.0, 1.0]},
            "5 evaluations are too few for 5 levels, which take 6",
        ),
        ({"sigmas": [1.0, 1e-3]}, "step_size is 0.0001; .*diverges"),
        ({"sigmas": [0.5, 1.0]}, "strictly decreasing"),
    ],
)
def test_bad_run_is_refused(arguments, message):
    scheduler = AnnealedLangevinScheduler(step_size=1e-4)
    with pytest.raises(ValueError, match=message):
        scheduler.set_timesteps(**arguments)


def test_any_step_below_the_bound_is_taken():
    for step_size in (1e-12, 1.9999e-4):
        assert AnnealedLangevinScheduler(sigma_min=0.01, step_size=step_size).step_size == step_size


def test_one_level_may_have_equal_ends():
    scheduler = AnnealedLangevinScheduler(1, sigma_min=0.5, sigma_max=0.5)
    assert scheduler.timesteps.tolist() == [0.5] * 6


def test_samples_that_are_not_finite_end_the_run_and_the_advice_is_a_smaller_step():
    scheduler = AnnealedLangevinScheduler(3, sigma_min=0.1, sigma_max=1, steps_per_level=2, step_size=0.015)
    x = torch.zeros(2, 2)
    with pytest.raises(FloatingPointError, match=r"after evaluation 7 of 7 .*a smaller step_size"):
        for i, sigma in enumerate(scheduler.timesteps):
            x = scheduler.step(torch.full((2, 2), math.nan if i == 3 else 0.0), sigma, x).prev_sample


def test_the_steps_per_level_are_what_fits_also_at_one_level():
    scheduler = AnnealedLangevinScheduler()
    for levels in (1, 2):
        scheduler.set_timesteps(2001, sigmas=[1.0, 0.5][:levels])
        assert scheduler.steps_per_level == 2000 // levels
        assert scheduler.step_size == pytest.approx(step_size_for_variance(scheduler.sigmas, 2000 // levels)[0])


def test_a_refused_step_size_leaves_the_run_as_it_was():
    scheduler = AnnealedLangevinScheduler(step_size=1e-4)
    before = scheduler.step_size, scheduler.steps_per_level, list(scheduler.table)
    with pytest.raises(ValueError, match="step_size is 0.0001"):
        scheduler.set_timesteps(21, sigmas=[1.0, 1e-3])
    assert before == (scheduler.step_size, scheduler.steps_per_level, list(scheduler.table))
