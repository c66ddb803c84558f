"""Langevin chains: their exact variances, their agreement with the scheduler, and what is refused."""

import math

import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler, geometric_noise_levels
from ncsn_pipeline.sampling import (
    LangevinState,
    annealed_langevin_dynamics,
    langevin_dynamics,
    last_sample,
    metropolis_adjusted_annealed_langevin,
)

LADDER = [5.0, 1.0, 0.2]


class Gaussian:
    """N(0, variance I)."""

    def __init__(self, variance):
        self.variance = variance

    def noised(self, sigma):
        return Gaussian(self.variance + sigma**2)

    def log_prob(self, x):
        return -x.square().flatten(1).sum(1) / (2 * self.variance)

    def score(self, x):
        return -x / self.variance


def noisy_score(x, sigma):
    """The score of N(0, 1) noised by sigma."""
    return -x / (1 + sigma**2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_variance(x, expected):
    """Within five standard errors of a Gaussian's sample variance about a known mean of 0."""
    assert x.square().mean().item() == pytest.approx(expected, abs=5 * expected * math.sqrt(2 / x.numel()))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.5])
def test_stationary_variance_is_one_over_one_minus_half_alpha(alpha):
    """The chain started in that variance stays there; started at 0 its variance is known after every step."""
    stationary = 1 / (1 - alpha / 2)
    x = math.sqrt(stationary) * torch.randn(100_000, 1, dtype=torch.float64, generator=seeded(1))
    assert_variance(
        last_sample(langevin_dynamics(lambda x: -x, x, step_size=alpha, num_steps=20, generator=seeded())), stationary
    )
    variance = 0.0
    for state in langevin_dynamics(lambda x: -x, 0 * x, step_size=alpha, num_steps=4, generator=seeded()):
        variance = (1 - alpha) ** 2 * variance + 2 * alpha
        assert_variance(state.sample, variance)


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("step_size", [None, 0.01])
def test_annealed_dynamics_is_the_schedulers(step_size, denoise):
    """To the last bit, in float32 and with the same noise."""
    network = torch.nn.Linear(3, 3).requires_grad_(False)
    score = lambda x, sigma: (torch.tanh(network(x)) - x) / (1 + sigma**2)  # noqa: E731
    start = 5 * torch.randn(16, 3, generator=seeded(1))
    scheduler = AnnealedLangevinScheduler(sigmas=LADDER, steps_per_level=4, step_size=step_size, denoise=denoise)
    states = annealed_langevin_dynamics(
        score, start, sigmas=LADDER, steps_per_level=4, step_size=step_size, denoise=denoise, generator=seeded()
    )
    x, generator = start, seeded()
    for state, sigma in zip(states, scheduler.timesteps, strict=True):
        x = scheduler.step(score(x, sigma), sigma, x, generator=generator, return_dict=False)[0]
        assert torch.equal(state.sample, x)
        assert state.sigma == pytest.approx(sigma.item())


def test_levels_steps_and_where_the_score_is_asked_for():
    asked = []

    def score(x, sigma):
        asked.append((sigma.item(), sigma.dim(), sigma.dtype))
        return noisy_score(x, sigma)

    states = list(annealed_langevin_dynamics(score, torch.randn(4, 2).double(), sigmas=LADDER, steps_per_level=2))
    assert [state.sigma for state in states] == [5, 5, 1, 1, 0.2, 0.2, 0.2]
    assert [state.step for state in states] == [1, 2, 3, 4, 5, 6, 7]
    assert asked == [(state.sigma, 0, torch.float64) for state in states]
    assert {state.acceptance for state in states} == {None}


RUNS = {
    "plain": lambda x, g: langevin_dynamics(lambda x: -x, x, step_size=0.1, num_steps=3, generator=g),
    "annealed": lambda x, g: annealed_langevin_dynamics(noisy_score, x, sigmas=LADDER, steps_per_level=2, generator=g),
    "adjusted": lambda x, g: metropolis_adjusted_annealed_langevin(
        Gaussian(1.0), x, sigmas=LADDER, steps_per_level=2, generator=g
    ),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_shape_and_precision_and_a_seed_decides(run, shape, dtype):
    start = torch.randn(5, *shape, dtype=dtype)
    untouched = start.clone()
    x = last_sample(run(start, seeded(1)))
    assert (x.shape, x.dtype) == (start.shape, dtype)
    assert torch.equal(x, last_sample(run(start, seeded(1))))
    assert not torch.equal(x, last_sample(run(start, seeded(2))))
    assert torch.equal(start, untouched)


def test_no_gradients_inside_and_the_callers_mode_outside():
    weight = torch.ones(1, requires_grad=True)
    modes = []

    def score(x):
        modes.append(torch.is_grad_enabled())
        return -weight * x

    for state in langevin_dynamics(score, torch.ones(2, 1), step_size=0.1, num_steps=3):
        assert torch.is_grad_enabled()
        assert not state.sample.requires_grad
    assert modes == [False] * 3


@pytest.mark.parametrize("relative_step", [0.5, 1.5])
def test_adjusted_chain_keeps_the_exact_variance_and_the_plain_chain_does_not(relative_step):
    """Both start in the exact density of the level and take twenty large steps."""
    variance = 1 + 0.5**2
    alpha = relative_step * variance
    x = math.sqrt(variance) * torch.randn(50_000, 1, dtype=torch.float64, generator=seeded(1))
    adjusted = metropolis_adjusted_annealed_langevin(
        Gaussian(1.0), x, sigmas=[0.5], steps_per_level=20, step_size=alpha, generator=seeded()
    )
    assert_variance(last_sample(adjusted), variance)
    plain = langevin_dynamics(Gaussian(variance).score, x, step_size=alpha, num_steps=20, generator=seeded())
    biased = variance * (1 - (1 - relative_step) ** 40 * relative_step / 2) / (1 - relative_step / 2)
    assert_variance(last_sample(plain), biased)


def test_adjusted_chain_keeps_the_density_of_each_level():
    """Started in that of the first level, it stays there; then it comes to that of the second."""
    x = math.sqrt(26) * torch.randn(40_000, 1, dtype=torch.float64, generator=seeded(1))
    states = list(
        metropolis_adjusted_annealed_langevin(
            Gaussian(1.0), x, sigmas=[5.0, 2.0], steps_per_level=20, step_size=1.2, generator=seeded()
        )
    )
    assert_variance(states[19].sample, 26)
    assert_variance(states[-1].sample, 5)


def test_adjusted_chain_keeps_a_skewed_density():
    """The Gumbel density exp(-x - exp(-x)), of mean 0.5772, variance pi²/6 and third central moment 2.4041."""

    class Gumbel:
        noised = lambda self, sigma: self  # noqa: E731
        log_prob = staticmethod(lambda x: (-x - (-x).exp()).sum(1))
        score = staticmethod(lambda x: -1 + (-x).exp())

    n, steps = 100_000, 15
    x = -(-torch.rand(n, 1, dtype=torch.float64, generator=seeded(1)).log()).log()
    states = list(
        metropolis_adjusted_annealed_langevin(
            Gumbel(), x, sigmas=[1.0], steps_per_level=steps, step_size=0.6, generator=seeded()
        )
    )
    centred = states[-1].sample - 0.5772156649
    for power, expected in ((1, 0.0), (2, math.pi**2 / 6), (3, 2.4041138063)):
        values = centred**power
        assert values.mean().item() == pytest.approx(expected, abs=5 * (values.std() / math.sqrt(n)).item())


def test_acceptance_is_how_many_move():
    """The mean probability against the fraction that moved; and 1 at a small step, 0 at a far too large one."""
    n = 20_000
    x = torch.randn(n, 2, dtype=torch.float64, generator=seeded(1))
    previous = x
    chain = {"sigmas": [1.0], "steps_per_level": 5, "generator": seeded()}
    for state in metropolis_adjusted_annealed_langevin(Gaussian(1.0), x, step_size=1.5, **chain):
        moved = (state.sample != previous).any(1).double().mean().item()
        assert 0.3 < state.acceptance < 0.98
        assert moved == pytest.approx(state.acceptance, abs=5 * math.sqrt(0.25 / n))
        previous = state.sample
    *_, last = metropolis_adjusted_annealed_langevin(Gaussian(1.0), x, step_size=1e-3, **chain)
    assert last.acceptance > 0.999
    *_, last = metropolis_adjusted_annealed_langevin(Gaussian(1.0), x, step_size=1e6, **chain)
    assert last.acceptance < 1e-3
    assert torch.equal(last.sample, x)


def test_adjusted_step_of_a_level_grows_with_its_variance():
    """In a flat density every proposal is accepted: x + sqrt(2 alpha_i) z, alpha_i = epsilon sigma_i² / sigma_L²."""

    class Flat(Gaussian):
        noised = lambda self, sigma: self  # noqa: E731
        log_prob = lambda self, x: torch.zeros(len(x), dtype=x.dtype)  # noqa: E731
        score = staticmethod(torch.zeros_like)

    generator, x = seeded(), torch.zeros(40, 2, dtype=torch.float64)
    for state in metropolis_adjusted_annealed_langevin(
        Flat(1.0), x, sigmas=LADDER, steps_per_level=2, step_size=0.03, generator=seeded()
    ):
        noise = torch.randn(40, 2, dtype=torch.float64, generator=generator)
        torch.randn(40, dtype=torch.float64, generator=generator)  # decides
        x = x + math.sqrt(2 * 0.03) * state.sigma / 0.2 * noise
        torch.testing.assert_close(state.sample, x, rtol=1e-12, atol=1e-12)
        assert state.acceptance == pytest.approx(1, abs=1e-12)


def test_adjusted_chain_refuses_proposals_without_a_density():
    class HalfLine(Gaussian):
        """NaN below 0, as a log density outside its support often is."""

        noised = lambda self, sigma: self  # noqa: E731
        log_prob = lambda self, x: super().log_prob(x) + x.sqrt().flatten(1).sum(1) * 0  # noqa: E731

    x = torch.rand(500, 1, dtype=torch.float64, generator=seeded(1))
    states = list(
        metropolis_adjusted_annealed_langevin(
            HalfLine(1.0), x, sigmas=[1.0], steps_per_level=20, step_size=0.5, generator=seeded()
        )
    )
    assert states[-1].sample.min() >= 0
    assert 0 < states[-1].acceptance < 1
    with pytest.raises(FloatingPointError, match="not finite where the level sigma = 1 starts"):
        next(metropolis_adjusted_annealed_langevin(HalfLine(1.0), -x, sigmas=[1.0], steps_per_level=1))


def test_adjusted_annealing_denoises_last():
    """With a given ladder all is as without the denoising, and then x + sigma_L² s."""
    x = torch.randn(50, 2, dtype=torch.float64)
    chain = {"sigmas": LADDER, "steps_per_level": 3}
    without, with_it = (
        list(metropolis_adjusted_annealed_langevin(Gaussian(1.0), x, denoise=denoise, generator=seeded(), **chain))
        for denoise in (False, True)
    )
    assert [state.sigma for state in with_it] == [5.0] * 3 + [1.0] * 3 + [0.2] * 4
    torch.testing.assert_close(with_it[-1].sample, without[-1].sample * (1 - 0.04 / 1.04))


@pytest.mark.parametrize("budget", [(5, 2), (20, 5)])
def test_annealing_from_far_away_brings_a_gaussian_home(budget):
    """The variance after every level from the linear recursion, without adjustment."""
    levels, steps = budget
    ladder = geometric_noise_levels(10.0, 0.1, levels, dtype=torch.float64)
    x = 10 * torch.randn(50_000, 1, dtype=torch.float64, generator=seeded(1))
    variance, epsilon = 100.0, 0.2 * 0.01
    for state in annealed_langevin_dynamics(
        noisy_score, x, sigmas=ladder, steps_per_level=steps, step_size=epsilon, denoise=False, generator=seeded()
    ):
        alpha = epsilon * (state.sigma / 0.1) ** 2
        variance = (1 - alpha / (1 + state.sigma**2)) ** 2 * variance + 2 * alpha
    assert_variance(state.sample, variance)


def test_divergence_is_stopped_where_it_happens():
    start = torch.ones(4, 2)
    with pytest.raises(FloatingPointError, match=r"after step \d+ of 1000, step_size = 50. Try 12"):
        last_sample(langevin_dynamics(lambda x: -x, start, step_size=50.0, num_steps=1000))
    broken = lambda x, sigma: x / 0 if sigma == 1 else -x  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"after evaluation 7 of 7 \(sigma = 0.2\)"):
        last_sample(annealed_langevin_dynamics(broken, start, sigmas=LADDER, steps_per_level=2, step_size=0.01))


def plain(**changes):
    return langevin_dynamics(lambda x: -x, torch.ones(2, 1), **({"step_size": 0.1, "num_steps": 3} | changes))


def annealed(**changes):
    settings = {"sigmas": LADDER, "steps_per_level": 2}
    return annealed_langevin_dynamics(noisy_score, torch.ones(2, 1), **(settings | changes))


def adjusted(**changes):
    settings = {"sigmas": LADDER, "steps_per_level": 2}
    return metropolis_adjusted_annealed_langevin(Gaussian(1.0), torch.ones(2, 1), **(settings | changes))


@pytest.mark.parametrize(
    "run, changes, message",
    [
        (plain, {"step_size": 0.0}, "step_size"),
        (plain, {"step_size": math.inf}, "step_size"),
        (plain, {"num_steps": 0}, "num_steps"),
        (plain, {"num_steps": 2.0}, "num_steps"),
        (annealed, {"sigmas": [1.0, 2.0]}, "strictly decreasing"),
        (annealed, {"steps_per_level": 0}, "steps_per_level"),
        (annealed, {"step_size": 0.1}, r"within \(0, 2 sigma_L²\)"),
        (adjusted, {"sigmas": []}, "at least one"),
        (adjusted, {"steps_per_level": True}, "steps_per_level"),
        (adjusted, {"step_size": math.nan}, "step_size"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_step(run, changes, message):
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_the_last_sample_is_the_last_and_of_nothing_is_refused():
    states = [LangevinState(torch.tensor([float(i)]), None, i) for i in (1, 2)]
    assert last_sample(states) == 2
    chain = plain()
    last_sample(chain)
    with pytest.raises(ValueError, match="no states"):
        last_sample(chain)
