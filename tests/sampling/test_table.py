"""What the rows of each sampler's table are, and what following them does to densities with a known score."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.utils import logging
from torch import Tensor

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    GaussianMixture,
    PredictorCorrectorScheduler,
    exact_score_function,
    mode_weights,
)
from ncsn_pipeline.sampling import Row, Table, follow, langevin_dynamics

LEVELS = {"num_train_timesteps": 40, "sigma_min": 0.02, "sigma_max": 8.0}
SAMPLERS = {
    "langevin": AnnealedLangevinScheduler(**LEVELS),
    "ode": ConsistentAnnealedScheduler(**LEVELS, eta="ode"),
    "ancestral": ConsistentAnnealedScheduler(**LEVELS, eta="ancestral"),
    "consistency": ConsistentAnnealedScheduler(**LEVELS, eta=1.0),
    "reverse diffusion": PredictorCorrectorScheduler(**LEVELS, corrector_steps=0),
    "predictor-corrector": PredictorCorrectorScheduler(**LEVELS),
    "ancestral-corrector": PredictorCorrectorScheduler(**LEVELS, predictor="ancestral", corrector_steps=2),
}


def last(states):
    for state in states:  # noqa: B007
        pass
    return state.sample


def levels_of(scheduler):
    return np.unique([row.sigma for row in scheduler.table])[::-1]


def moments(table, mean, std):
    """Mean and variance at the end for N(mean, std²): each row is x -> (1 - r) x + r mean + b z."""
    m, v = 0.0, table[0].sigma ** 2
    for row in table:
        rate = row.a / (std**2 + row.sigma**2)
        m, v = (1 - rate) * m + rate * mean, (1 - rate) ** 2 * v + row.b**2
    return m, v


def test_no_noise_is_eulers_step_of_the_probability_flow():
    """dx / d sigma = -sigma s, so a = sigma_i (sigma_i - sigma_{i+1})."""
    for row in SAMPLERS["ode"].table:
        assert row.a == pytest.approx(row.sigma * (row.sigma - row.to), rel=1e-12)
        assert row.b == 0


def test_the_flow_agrees_with_the_euler_scheduler_of_diffusers():
    config = {"sigma_min": 0.02, "sigma_max": 8.0, "num_train_timesteps": 40}
    euler = EulerDiscreteScheduler.from_config(config, use_exponential_sigmas=True, final_sigmas_type="zero")
    euler.set_timesteps(40)
    euler.set_begin_index(0)
    x = theirs = 8 * torch.randn(500, 3, dtype=torch.float64)
    score = lambda x, sigma: -(x - 1) / (0.5**2 + sigma**2)  # noqa: E731
    ours = last(follow(score, x, SAMPLERS["ode"].table))
    for i, t in enumerate(euler.timesteps):
        sigma = euler.sigmas[i].double()
        euler.is_scale_input_called = True
        theirs = euler.step(-sigma * score(theirs, sigma), t, theirs).prev_sample.double()
    assert (ours - theirs).abs().max() < 1e-5 * 8


def test_ancestral_step_is_the_posterior_of_the_next_level():
    """Mean and variance of x at sigma_{i+1}, given x at sigma_i and x_0, by Bayes' rule; s = (x_0 - x) / sigma²."""
    for row in SAMPLERS["ancestral"].table[:-1]:
        kept = 1 - row.a / row.sigma**2
        assert kept == pytest.approx(row.to**2 / row.sigma**2, rel=1e-12)
        assert row.b**2 == pytest.approx(row.to**2 * (row.sigma**2 - row.to**2) / row.sigma**2, rel=1e-9)


def test_the_two_ancestral_steps_are_one():
    both = SAMPLERS["ancestral"].table, PredictorCorrectorScheduler(**LEVELS, predictor="ancestral", corrector_steps=0)
    np.testing.assert_allclose(both[0], both[1].table, rtol=1e-9)


def test_removing_all_noise_is_denoising_and_noising_again():
    for row in SAMPLERS["consistency"].table:
        assert row.a == pytest.approx(row.sigma**2, rel=1e-15)
        assert row.b == pytest.approx(row.to, rel=1e-12)


def test_reverse_diffusion_adds_the_variance_between_two_levels():
    for row in SAMPLERS["reverse diffusion"].table[:-1]:
        assert row.a == pytest.approx(row.sigma**2 - row.to**2, rel=1e-12)
        assert row.b == pytest.approx(math.sqrt(row.sigma**2 - row.to**2), rel=1e-12)


def test_corrector_has_the_signal_to_noise_ratio_that_was_asked_for():
    """Song et al. 2021, algorithm 4: alpha = 2 (r |z| / |s|)², where |z| = sqrt(D) and |s| = sqrt(D) / sigma."""
    scheduler = PredictorCorrectorScheduler(**LEVELS, corrector_steps=3, signal_to_noise=0.2)
    correctors = [row for row in scheduler.table if row.to == row.sigma]
    assert len(correctors) == 39 * 3
    for row in correctors:
        assert row.a == pytest.approx(2 * 0.2**2 * row.sigma**2, rel=1e-12)
        assert row.b == pytest.approx(math.sqrt(2 * row.a), rel=1e-12)
        assert row.a / row.sigma == pytest.approx(0.2 * row.b, rel=1e-12)  # signal = r noise


def test_langevin_rows_stay_at_their_level_and_the_denoising_ends_them():
    scheduler = AnnealedLangevinScheduler(sigmas=[2.0, 1.0, 0.5], steps_per_level=2, step_size=0.1)
    step = [Row(s, a, math.sqrt(2 * a), s) for s, a in ((2.0, 1.6), (1.0, 0.4), (0.5, 0.1)) for _ in range(2)]
    np.testing.assert_allclose(scheduler.table, [*step, Row(0.5, 0.25, 0, 0)], rtol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_table_goes_down_and_leaves_nothing_out(name):
    table = SAMPLERS[name].table
    for row, following in pairwise(table):
        assert row.to in (row.sigma, following.sigma)
    assert (table[-1].to, table[-1].b, table[-1].a) == (0, 0, table[-1].sigma ** 2)
    assert SAMPLERS[name].timesteps.tolist() == pytest.approx(table.sigmas)


@pytest.mark.parametrize("name", SAMPLERS)
def test_mean_and_variance_of_a_gaussian(name):
    """By sampling, against the rows carried through exactly; and the rows against the density itself."""
    n, mean, std = 40_000, 1.5, 0.7
    table = SAMPLERS[name].table
    score = lambda x, sigma: (mean - x) / (std**2 + sigma**2)  # noqa: E731
    x = last(follow(score, table[0].sigma * torch.randn(n, 1, dtype=torch.float64), table))
    expected_mean, expected_variance = moments(table, mean, std)
    assert abs(x.mean() - expected_mean) < 5 * math.sqrt(expected_variance / n)
    assert abs(x.var() - expected_variance) < 5 * expected_variance * math.sqrt(2 / n)
    if name != "consistency":  # made for networks that map noise to data in one step: of a Gaussian it keeps half
        assert expected_mean == pytest.approx(mean, abs=0.15)
        assert expected_variance == pytest.approx(std**2, rel=0.25)


FINE = {"num_train_timesteps": 400, "sigma_min": 0.02, "sigma_max": 8.0}
FINE_SAMPLERS = {
    "langevin": AnnealedLangevinScheduler(**FINE),
    "ode": ConsistentAnnealedScheduler(**FINE, eta="ode"),
    "ancestral": ConsistentAnnealedScheduler(**FINE),
    "reverse diffusion": PredictorCorrectorScheduler(**FINE, corrector_steps=0),
    "predictor-corrector": PredictorCorrectorScheduler(**FINE),
}


@pytest.mark.parametrize("name", FINE_SAMPLERS)
def test_weights_and_variances_of_a_mixture(name):
    """Two modes of weights .3 and .7: the weights within their sampling error, the variances within 10 % beside it."""
    n = 4000
    density = GaussianMixture(torch.tensor([[-2.0], [2.0]]).double(), 0.5, torch.tensor([0.3, 0.7]).double())
    table = FINE_SAMPLERS[name].table
    x = last(follow(exact_score_function(density), 8 * torch.randn(n, 1, dtype=torch.float64), table))
    found = mode_weights(x, density.means).weights
    assert abs(float(found[1]) - 0.7) < 5 * math.sqrt(0.21 / n) + 0.01
    for sign, weight in ((-1, 0.3), (1, 0.7)):
        mode = x[x.sign() == sign]
        assert float(mode.var()) == pytest.approx(0.25, rel=0.1 + 5 * math.sqrt(2 / (weight * n)))


def test_the_flow_converges_with_order_one():
    """On N(0, 1) it only scales: the end's deviation against 1, as the levels are doubled."""
    errors = []
    for count in (200, 400, 800):
        scheduler = ConsistentAnnealedScheduler(count, sigma_min=1e-4, sigma_max=8.0, eta="ode")
        exact = math.sqrt(1 / (1 + 64)) * 8
        errors.append(abs(math.sqrt(moments(scheduler.table, 0, 1)[1]) - exact))
    orders = [math.log2(errors[i] / errors[i + 1]) for i in (0, 1)]
    assert orders == pytest.approx([1, 1], abs=0.1)


def test_the_corrector_alone_reaches_the_level_s_density():
    """Started far too wide, N(0, std² + sigma²) is left but for Langevin's own 1 / (1 - u / 2), whatever the start."""
    scheduler = PredictorCorrectorScheduler(1, sigma_min=0.5, sigma_max=0.5)
    scheduler.set_timesteps(2001, sigmas=[0.5])
    std, sigma = 0.7, 0.5
    u = scheduler.table[0].a / (std**2 + sigma**2)
    table = Table([Row(5.0, 0.0, 0.0, 0.5), *scheduler.table[:-1]])
    assert moments(table, 0, std)[1] == pytest.approx((std**2 + sigma**2) / (1 - u / 2), rel=1e-9)
    assert u < 2 * 0.16**2


@pytest.mark.parametrize("evaluations", [1, 2, 3, 10, 50, 101])
@pytest.mark.parametrize("corrector_steps", [0, 1, 3])
def test_predictor_corrector_takes_exactly_as_many_evaluations(evaluations, corrector_steps):
    scheduler = PredictorCorrectorScheduler(**LEVELS, corrector_steps=corrector_steps)
    scheduler.set_timesteps(evaluations)
    levels = 1 + (evaluations - 1) // (1 + corrector_steps)
    assert len(scheduler.table) == scheduler.num_inference_steps == evaluations
    assert len(levels_of(scheduler)) == len(scheduler.sigmas) == levels
    predictors = [row for row in scheduler.table[:-1] if row.to < row.sigma]
    assert len(predictors) == levels - 1
    left_over = evaluations - 1 - (levels - 1) * (1 + corrector_steps)
    assert [row.sigma for row in scheduler.table].count(scheduler.table[-1].sigma) == (
        (corrector_steps if levels > 1 else 0) + left_over + 1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictor": "euler"}, "reverse_diffusion"),
        ({"corrector_steps": -1}, "corrector_steps must be at least 0"),
        ({"signal_to_noise": 0.0}, r"\(0, 1\)"),
        ({"signal_to_noise": 1.0}, r"\(0, 1\)"),
        ({"signal_to_noise": math.nan}, r"\(0, 1\)"),
        ({"sigmas": [1.0], "denoise": False}, "too few"),
    ],
)
def test_bad_predictor_corrector_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PredictorCorrectorScheduler(**arguments)


def test_unknown_names_of_eta_are_refused():
    with pytest.raises(ValueError, match="'ode', 'ancestral'"):
        ConsistentAnnealedScheduler(eta="euler")


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_starts_where_its_first_timestep_says(name):
    """Image to image without `set_begin_index`; the steps after it are counted."""
    scheduler = SAMPLERS[name]
    scheduler.set_timesteps()
    begin = len(scheduler.table) // 2
    first = scheduler.table.sigmas.index(scheduler.table[begin].sigma)
    x = torch.ones(2, 3)
    scheduler.step(x, scheduler.timesteps[begin], x)
    assert scheduler.step_index == first + 1
    scheduler.step(x, scheduler.timesteps[begin], x)
    assert scheduler.step_index == first + 2
    scheduler.set_timesteps()
    with pytest.raises(ValueError, match=r"no evaluation at sigma = 7\.9; .* from 8 to 0\.02"):
        scheduler.step(x, 7.9, x)
    scheduler.set_timesteps()


def test_no_noise_is_drawn_where_none_is_added():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    last(follow(lambda x, sigma: -x, torch.ones(2, 2), SAMPLERS["ode"].table, generator))
    assert torch.equal(generator.get_state(), before)


def test_schedulers_are_made_of_each_other_in_silence():
    logger = logging.get_logger("diffusers.configuration_utils")
    for scheduler in SAMPLERS.values():
        assert set(scheduler.compatibles) >= {type(other) for other in SAMPLERS.values()}
        for other in SAMPLERS.values():
            with logging_captured(logger) as lines:
                made = type(other).from_config(scheduler.config)
            assert lines == []
            assert (len(made), made.config.sigma_max) == (40, 8.0)
    back = ConsistentAnnealedScheduler.from_config(
        AnnealedLangevinScheduler.from_config(ConsistentAnnealedScheduler(**LEVELS, eta=1.0).config).config
    )
    assert back.config.eta == 1.0  # settings that the other did not have were kept
    undenoised = ConsistentAnnealedScheduler.from_config(AnnealedLangevinScheduler(**LEVELS, denoise=False).config)
    assert undenoised.table[-1].to == 0  # but this one's last step is always the denoising


class logging_captured:
    """The messages of a logger within the block."""

    def __init__(self, logger):
        self.logger, self.lines = logger, []

    def __enter__(self):
        import logging as standard

        self.handler = standard.Handler()
        self.handler.emit = lambda record: self.lines.append(record.getMessage())
        self.logger.addHandler(self.handler)
        return self.lines

    def __exit__(self, *error):
        self.logger.removeHandler(self.handler)


# The loop


def test_states_say_what_each_step_did():
    table = Table([Row(2.0, 0.5, 0.0, 1.0), Row(1.0, 0.25, 0.0, 0.0)])
    first, second = follow(lambda x, sigma: -x / sigma, torch.ones(3, dtype=torch.float64), table)
    assert torch.allclose(first.score, torch.full((3,), -0.5).double())
    assert torch.allclose(first.denoised, torch.full((3,), -1.0).double())
    assert torch.allclose(first.sample, torch.full((3,), 0.75).double())
    assert (float(first.sigma), first.index, second.index) == (2.0, 0, 1)
    assert torch.allclose(second.sample, torch.full((3,), 0.75 - 0.25 * 0.75).double())


def test_order_and_what_is_done_before_an_evaluation():
    seen = []

    def before(x: Tensor, i: int, again: bool) -> Tensor:
        seen.append((i, again))
        return x + 1

    table = Table([Row(2.0, 0.0, 0.0, 1.0), Row(1.0, 0.0, 0.0, 0.0)])
    states = follow(lambda x, sigma: x, torch.zeros(1), table, order=[0, 0, 1], before=before)
    assert last(states).item() == 3
    assert seen == [(0, False), (0, True), (1, False)]


def test_a_score_may_differentiate_inside_and_nothing_else_is_recorded():
    def score(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(-(x**4).sum() / 4, x)[0]

    state = next(follow(score, torch.full((2,), 2.0), Table([Row(1.0, 0.5, 0.0, 0.0)])))
    assert state.sample.tolist() == [-2.0, -2.0]
    assert not state.sample.requires_grad


def test_samples_that_are_not_finite_stop_the_run_at_the_tenth_row_and_the_last():
    for count, message in ((50, "after evaluation 10 of 50"), (3, "after evaluation 3 of 3")):
        scheduler = ConsistentAnnealedScheduler(count)
        with pytest.raises(FloatingPointError, match=f"{message} .*Take more levels or a smaller step_size"):
            last(follow(lambda x, sigma: x * math.inf, torch.ones(2), scheduler.table))


def test_a_score_of_another_shape_is_refused():
    """One number for each sample of one dimension would be added to all of them."""
    x, message = torch.ones(5, 1), r"The score has shape \(5,\), the samples have \(5, 1\)"
    with pytest.raises(ValueError, match=message):
        next(follow(lambda x, sigma: -x[:, 0], x, AnnealedLangevinScheduler(3, 0.1, 1.0).table))
    with pytest.raises(ValueError, match=message):
        next(langevin_dynamics(lambda x: -x[:, 0], x, step_size=0.1, num_steps=1))


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_of_generators_has_one_for_each_sample(count):
    generators = [torch.Generator().manual_seed(i) for i in range(count)]
    with pytest.raises(ValueError, match=f"{count} generators were given for 3 samples"):
        next(follow(lambda x, sigma: x, torch.ones(3, 1), Table([Row(1.0, 0.0, 1.0, 0.0)]), generators))


@pytest.mark.parametrize("make", [ConsistentAnnealedScheduler, AnnealedLangevinScheduler, PredictorCorrectorScheduler])
def test_float16_goes_through_noise_levels_beyond_its_square(make):
    scheduler = make(50, 0.01, 348.0)
    x = 348 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).half()
    for sigma in scheduler.timesteps[:3]:
        output = scheduler.step(-x / float(sigma) ** 2, sigma, x)
        x = output.prev_sample
        assert x.dtype == torch.float16
        assert x.isfinite().all() and output.pred_original_sample.isfinite().all()
    state = next(follow(lambda x, sigma: -x / sigma.float() ** 2, x, scheduler.table))
    assert state.denoised.isfinite().all()


def test_one_level_takes_what_evaluations_it_can():
    for settings in ({"sigmas": [5.0]}, {"num_train_timesteps": 1, "sigma_min": 5.0, "sigma_max": 5.0}):
        langevin = AnnealedLangevinScheduler(**settings)
        langevin.set_timesteps(14)
        assert langevin.table.sigmas == [5.0] * 14
        assert all(row.b > 0 for row in langevin.table[:-1])
        with pytest.raises(ValueError, match="6 evaluations are too many for 1 levels, which take 1"):
            ConsistentAnnealedScheduler(**settings).set_timesteps(6)
