import math

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler
from ncsn_pipeline.noise_levels import geometric_noise_levels, karras_noise_levels, uniform_noise_levels
from ncsn_pipeline.noise_levels.spacing import check_noise_levels

LADDERS = [geometric_noise_levels, uniform_noise_levels, karras_noise_levels]
every_ladder = pytest.mark.parametrize("ladder", LADDERS)


@every_ladder
@pytest.mark.parametrize("ends", [(50.0, 0.01), (1.0, 0.999), (1e30, 1e-30), (0.03, 0.001)])
@pytest.mark.parametrize("num_levels", [2, 3, 10, 232])
def test_decreases_strictly_between_exact_ends(ladder, ends, num_levels):
    sigmas = ladder(*ends, num_levels, dtype=torch.float64)
    assert sigmas.shape == (num_levels,)
    assert (sigmas[0].item(), sigmas[-1].item()) == ends
    assert (sigmas.diff() < 0).all()


@every_ladder
def test_float32_is_the_rounded_float64(ladder):
    single, double = ladder(50, 0.01, 232), ladder(50, 0.01, 232, dtype=torch.float64)
    assert single.dtype == torch.float32
    assert torch.equal(single, double.float())


def test_geometric_has_a_constant_ratio():
    sigmas = geometric_noise_levels(50, 0.01, 232, dtype=torch.float64)
    gamma = 5000 ** (1 / 231)
    torch.testing.assert_close(
        sigmas[:-1] / sigmas[1:], torch.full((231,), gamma, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_uniform_has_a_constant_difference():
    sigmas = uniform_noise_levels(5, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(sigmas, torch.arange(5, 0.75, -0.5, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("rho", [0.5, 2.0, 7.0])
def test_karras_is_uniform_in_the_root_of_sigma(rho):
    steps = (karras_noise_levels(80, 0.002, 18, rho, dtype=torch.float64) ** (1 / rho)).diff()
    torch.testing.assert_close(steps, steps.mean().expand(17), rtol=1e-10, atol=0)


def test_karras_first_levels_of_the_published_sampler():
    """EDM's 18-step ladder, whose first values are printed in many reports: 80, 57.586, 40.786."""
    sigmas = karras_noise_levels(80, 0.002, 18, dtype=torch.float64)
    expected = torch.tensor([80.0, 57.586, 40.786], dtype=torch.float64)
    torch.testing.assert_close(sigmas[:3], expected, rtol=0, atol=5e-4)


def test_karras_lies_between_uniform_and_geometric():
    arguments = {"sigma_max": 10.0, "sigma_min": 0.01, "num_levels": 30, "dtype": torch.float64}
    geometric, uniform = geometric_noise_levels(**arguments), uniform_noise_levels(**arguments)
    torch.testing.assert_close(karras_noise_levels(**arguments, rho=1.0), uniform, rtol=1e-13, atol=0)
    # The distance to the geometric ladder falls like 1 / rho: with rho = 1e9 it is below 1e-7.
    torch.testing.assert_close(karras_noise_levels(**arguments, rho=1e9), geometric, rtol=1e-7, atol=0)
    middle = karras_noise_levels(**arguments)[1:-1]
    assert (geometric[1:-1] < middle).all() and (middle < uniform[1:-1]).all()


@every_ladder
@pytest.mark.parametrize("sigma_min", [2.0, 0.01])
def test_one_level_is_sigma_max(ladder, sigma_min):
    assert ladder(2.0, sigma_min, 1).tolist() == [2.0]


@every_ladder
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((math.nan, 0.01, 10), "got 0.01 and (nan|inf)"),
        ((math.inf, 0.01, 10), "got 0.01 and (nan|inf)"),
        ((1.0, 0.0, 10), "0 < sigma_min <= sigma_max must hold"),
        ((1.0, -0.1, 10), "0 < sigma_min <= sigma_max must hold"),
        ((0.01, 1.0, 10), "got 1.0 and 0.01"),
        ((0.01, 1.0, 1), "got 1.0 and 0.01"),
        ((1.0, 1.0, 2), "equal for one level alone; got 1.0 and 1.0 for 2 level"),
        ((1.0, 0.01, 0), "num_levels must be at least 1 and a whole number"),
        ((1.0, 0.01, 2.5), "num_levels must be at least 1 and a whole number"),
        ((1.0, 0.01, math.inf), "num_levels must be at least 1 and a whole number"),
        ((1.0, 0.01, True), "num_levels must be at least 1 and a whole number"),
    ],
)
def test_bad_arguments_are_refused(ladder, arguments, message):
    with pytest.raises(ValueError, match=message):
        ladder(*arguments)


@every_ladder
def test_levels_that_a_type_cannot_hold_are_refused(ladder):
    with pytest.raises(ValueError, match="cannot be told apart"):
        ladder(1.0, 0.9, 232, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="underflow"):
        ladder(1.0, 1e-60, 3)
    with pytest.raises(ValueError, match="floating type"):
        ladder(1.0, 0.1, 3, dtype=torch.int64)


@pytest.mark.parametrize("rho", [0.0, -7.0, math.nan, math.inf])
def test_bad_rho_is_refused(rho):
    with pytest.raises(ValueError, match="rho must be"):
        karras_noise_levels(1.0, 0.01, 10, rho)


def test_levels_of_any_floating_type_are_read():
    for sigmas in (torch.tensor([4.0, 2.0, 1.0], dtype=torch.bfloat16), torch.tensor([4.0, 2.0, 1.0]).requires_grad_()):
        assert check_noise_levels(sigmas).tolist() == [4, 2, 1]
        scheduler = ConsistentAnnealedScheduler()
        scheduler.set_timesteps(sigmas=sigmas)
        assert scheduler.table.sigmas == [4, 2, 1]
