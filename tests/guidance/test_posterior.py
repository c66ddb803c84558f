"""A score given a measurement: exact where theory says so, off where it does not, and the same number by autograd."""

import math

import pytest
import torch

from ncsn_pipeline import GaussianMixture
from ncsn_pipeline.guidance import added, posterior
from ncsn_pipeline.sampling import follow, probed_denoiser_error
from ncsn_pipeline.sampling.posterior import DPSSteps
from ncsn_pipeline.sampling.scheduling_annealed import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    PredictorCorrectorScheduler,
)
from tests.known_posteriors import HeunSteps, KnownPosterior, blur_matrix, gaussian, random_matrix, run

MATRICES = {
    "random 3x8": lambda: random_matrix(3, 8),
    "blur": lambda: blur_matrix(6),
    "mask": lambda: torch.eye(6, dtype=torch.float64)[[0, 2, 3]],
}


def levels(count, high=15.0, low=0.005):
    return torch.logspace(math.log10(high), math.log10(low), count, dtype=torch.float64).tolist()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def isotropic_error(deviation):
    """r²(sigma) of N(mean, deviation² I)."""
    return lambda sigma: sigma**2 * deviation**2 / (sigma**2 + deviation**2)


def average_error(known):
    """r²(sigma) of a Gaussian: the mean of sigma² lambda / (sigma² + lambda) over its variances."""
    variances = torch.linalg.eigvalsh(known.density.covariances[0])
    return lambda sigma: float((sigma**2 * variances / (sigma**2 + variances)).mean())


def true_score(known, x, sigma):
    """grad log p(x_sigma | y) of a Gaussian posterior: N(mean, covariance + sigma² I)."""
    noised = known.covariances[0] + sigma**2 * torch.eye(x.shape[1]).double()
    return torch.linalg.solve(noised, (known.means[0] - x).mT).mT


@pytest.mark.parametrize(
    ("name", "noise_std"),  # without noise, the posterior of a blur is a point
    [("random 3x8", 0.0), ("mask", 0.0), *((name, noise_std) for name in MATRICES for noise_std in (0.05, 0.5))],
)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
def test_mmps_has_the_posteriors_score_of_gaussian_data(name, noise_std, sigma):
    known = gaussian(MATRICES[name](), noise_std, low=0.3)
    score = posterior(
        known.y[None], known.operator, noise_std, "mmps", shape=known.operator.shape,
        denoiser_error=average_error(known), iterations=len(known.y),
    )(known.score)  # fmt: skip
    x = known.density.sample(7, generator=seeded()) + sigma * torch.randn(7, known.matrix.shape[1]).double()
    found = score(x, torch.tensor(sigma).double())
    torch.testing.assert_close(found, true_score(known, x, sigma), rtol=1e-6, atol=1e-6 / sigma)


def test_pigdm_has_it_where_all_deviations_are_equal():
    known = gaussian(random_matrix(3, 8), 0.1, low=1.0)
    score = posterior(known.y[None], known.operator, 0.1, "pigdm", shape=(8,), denoiser_error=isotropic_error(1.0))
    x, sigma = 3 * torch.randn(5, 8).double(), torch.tensor(0.4, dtype=torch.float64)
    torch.testing.assert_close(score(known.score)(x, sigma), true_score(known, x, sigma))


def test_annealed_has_that_of_prior_times_the_noised_samples_likelihood():
    """Its g is the gradient of log N(y; A x, sigma_y² + sigma² M M')."""
    known = gaussian(random_matrix(3, 8), 0.2)
    x = torch.randn(4, 8).double().requires_grad_()
    covariance = 0.2**2 * torch.eye(3).double() + 0.7**2 * known.matrix @ known.matrix.mT
    log_p = torch.distributions.MultivariateNormal(x @ known.matrix.mT, covariance).log_prob(known.y)
    (expected,) = torch.autograd.grad(log_p.sum(), x)
    score = posterior(known.y[None], known.operator, 0.2, "annealed", shape=(8,))(known.score)
    sigma = torch.tensor(0.7).double()
    torch.testing.assert_close(score(x.detach(), sigma) - known.score(x.detach(), sigma), expected)


def test_dps_moves_by_zeta_along_the_gradient_of_the_residuals_length():
    """Of a nonlinear operator; a row x + a g moves by scale J' A'(D)' r / |r|, whatever a is."""
    known = gaussian(random_matrix(3, 8), 0.2)
    y = torch.tensor([[0.5, -0.2]]).double()

    def measure(x):
        return torch.stack([x[:, 0] * x[:, 1], x.square().sum(1)], dim=1)

    sigma = torch.tensor(0.6).double()
    x = torch.randn(4, 8).double().requires_grad_()
    (gradient,) = torch.autograd.grad((y - measure(x + 0.36 * known.score(x, sigma))).norm(dim=1).sum(), x)
    score = posterior(y, measure, 0.1, "dps", shape=(8,), scale=2.0, step=lambda sigma: 0.25)(known.score)
    g = score(x.detach(), sigma) - known.score(x.detach(), sigma)
    torch.testing.assert_close(0.25 * g, -2.0 * gradient, rtol=1e-5, atol=1e-5)  # the measurement is float32


def test_mmps_meets_y_without_noise_whatever_the_network():
    """With the same J' twice, M (D + sigma² g) = y even where J is not symmetric."""
    w = torch.randn(8, 8).double()
    matrix = random_matrix(3, 8)
    y = torch.randn(5, 3).double()
    score = posterior(y, matrix, 0.0, "mmps", shape=(8,), denoiser_error=lambda sigma: 0.1, iterations=3)
    x, sigma = torch.randn(5, 8).double(), torch.tensor(0.5).double()
    denoised = x + sigma**2 * score(lambda x, sigma: torch.tanh(x @ w) - x)(x, sigma)
    torch.testing.assert_close(denoised @ matrix.mT, y)


def test_the_shortest_call_needs_nothing_but_the_measurement():
    """mmps without its preconditioner, of a matrix of whole numbers: with as many products as numbers, the same."""
    known = gaussian(random_matrix(3, 8), 0.2)
    matrix = torch.eye(8, dtype=torch.int64)[[0, 3, 5]]
    x, sigma, y = torch.randn(4, 8).double(), torch.tensor(0.5).double(), torch.randn(1, 3).double()
    found = posterior(y, matrix, 0.2, shape=(8,))(known.score)(x, sigma)
    expected = posterior(y, matrix.double(), 0.2, shape=(8,), denoiser_error=average_error(known))(known.score)
    torch.testing.assert_close(found, expected(x, sigma))


def test_a_function_that_is_added_has_its_part_in_the_jacobian():
    known = gaussian(random_matrix(3, 8), 0.2)
    x, sigma = torch.randn(4, 8).double(), torch.tensor(0.5).double()
    given_y = posterior(known.y[None], known.operator, 0.2, shape=(8,))
    whole = given_y(lambda x, sigma: known.score(x, sigma) - 3 * x)
    torch.testing.assert_close(given_y(added(lambda x, sigma: -3 * x)(known.score))(x, sigma), whole(x, sigma))


@pytest.mark.parametrize(
    "scheduler",
    [AnnealedLangevinScheduler(3, 0.1, 1.0, steps_per_level=2), PredictorCorrectorScheduler(3, 0.1, 1.0)],
    ids=["Langevin", "predictor-corrector"],
)
def test_every_row_moves_by_the_step_of_dps_whatever_it_multiplies_scores_by(scheduler):
    """Rows of one noise level have different lengths: the denoising, a predictor and its corrector."""
    known, table = gaussian(random_matrix(3, 8), 0.2), scheduler.table
    x = torch.randn(4, 8).double()
    steps = DPSSteps(known.y[None], known.operator, table, scale=0.7)
    score = steps.given(known.score)
    for i, sigma in enumerate(table.sigmas):
        sigma = torch.tensor(sigma).double()
        noisy = x.clone().requires_grad_()
        residual = known.y - known.operator(noisy + sigma**2 * known.score(noisy, sigma))
        (direction,) = torch.autograd.grad(-residual.norm(dim=1).sum(), noisy)
        expected = table.step(i, x, known.score(x, sigma), seeded(i)) + 0.7 * direction
        x = steps.step(i, x, score(x, sigma), seeded(i))
        torch.testing.assert_close(x, expected)


def test_one_measurement_serves_all_samples_or_each_has_its_own():
    known = gaussian(random_matrix(3, 8), 0.2)
    y = torch.randn(2, 3).double()
    x, sigma = torch.randn(2, 8).double(), torch.tensor(0.5).double()

    def given(y):
        return posterior(y, known.operator, 0.2, "pigdm", shape=(8,), denoiser_error=lambda sigma: 0.1)(known.score)

    both = given(y)(x, sigma)
    torch.testing.assert_close(both, torch.cat([given(y[i : i + 1])(x, sigma)[i : i + 1] for i in range(2)]))


@pytest.mark.parametrize("name", MATRICES)
def test_heun_on_mmps_samples_the_posterior(name):
    """Every mean and covariance entry within 5 standard errors of 1,000 samples."""
    assert max(deviations_of_heun(name, 0.2, 1000, "mmps", 30)) < 5


@pytest.mark.check
@pytest.mark.parametrize("noise_std", [0.05, 0.5])
@pytest.mark.parametrize("name", MATRICES)
def test_heun_on_mmps_samples_the_posterior_to_20000_samples(name, noise_std):
    assert max(deviations_of_heun(name, noise_std, 20_000, "mmps", 50)) < 5


def test_heun_on_pigdm_does_where_deviations_are_equal():
    assert max(deviations_of_heun("random 3x8", 0.1, 2000, "pigdm", 60, low=1.0)) < 5


def test_heun_on_pigdm_does_not_where_they_differ():
    """Deviations 1 and 0.1, the first measured: from noise of mean 0, what mmps ends at is the posterior's mean."""
    prior = GaussianMixture(torch.zeros(1, 2).double(), torch.tensor([1.0, 0.01]).double().diag()[None])
    known = KnownPosterior(prior, torch.tensor([[1.0, 0.0]]).double(), 0.3, torch.tensor([1.0]).double())
    found = {}
    for method in ("mmps", "pigdm"):
        score = posterior(
            known.y[None], known.operator, 0.3, method, shape=(2,), denoiser_error=average_error(known)
        )(known.score)  # fmt: skip
        found[method] = run(score, HeunSteps(levels(50)), torch.zeros(1, 2).double())[0, 0].item()
    assert found["mmps"] == pytest.approx(1 / 1.09, abs=1e-4)
    assert found["pigdm"] == pytest.approx(1.068, abs=0.003)


def test_pigdm_stays_in_range_where_what_is_measured_is_the_least_certain():
    """48 values that vary together ten times as much as apart, and their sum: at full length g is 100 times too far."""
    d, sigmas = 48, levels(25, low=0.01)
    together = torch.full((d, d), 1 / d, dtype=torch.float64)
    prior = GaussianMixture(torch.zeros(1, d).double(), (0.99 * together + 0.01 * torch.eye(d).double())[None])
    known = KnownPosterior(prior, d**0.5 * together[:1], 0.05, torch.tensor([1.5]).double())
    score = posterior(
        known.y[None], known.operator, 0.05, "pigdm", shape=(d,), denoiser_error=average_error(known)
    )(known.score)  # fmt: skip
    x = run(score, HeunSteps(sigmas), torch.randn(500, d, generator=seeded(1), dtype=torch.float64))
    assert ((known.operator(x) - known.y) / 0.05).square().mean() < 1.5
    of_mean, of_deviation = known.bias(x)
    assert of_mean < 0.3 and of_deviation < 0.2  # measured: 0.14 and 0.07; at full length 6.7 and 3.4


def deviations_of_heun(name, noise_std, n, method, count, low=0.1):
    known = gaussian(MATRICES[name](), noise_std, low)
    settings = {"iterations": len(known.y)} if method == "mmps" else {}
    score = posterior(
        known.y[None], known.operator, noise_std, method, shape=known.operator.shape,
        denoiser_error=average_error(known), **settings,
    )(known.score)  # fmt: skip
    noise = torch.randn(n, known.matrix.shape[1], generator=seeded(1), dtype=torch.float64)
    return known.deviations(run(score, HeunSteps(levels(count)), noise))


def test_without_the_posteriors_start_the_flow_is_off():
    """The flow is linear here: from mean 0 it ends (C (C + sigma_1² I)^-1)^1/2 mu before the posterior's."""
    known = gaussian(random_matrix(3, 8), 0.2)
    score = posterior(
        known.y[None], known.operator, 0.2, "mmps", shape=(8,), denoiser_error=average_error(known), iterations=3
    )(known.score)
    noise = torch.zeros(1, 8, dtype=torch.float64)
    right, off = (run(score, HeunSteps(levels(50)), noise, start=start)[0] - known.means[0] for start in (True, False))
    (covariance,), (mean,) = known.covariances, known.means
    variances, axes = torch.linalg.eigh(covariance)
    expected = -(axes * (variances / (variances + levels(50)[0] ** 2)).sqrt()) @ axes.mT @ mean
    length = covariance.trace().sqrt()
    assert right.norm() < 0.005 * length and (off - expected).norm() < 0.005 * length < 0.02 * length < off.norm()


@pytest.mark.check
def test_one_langevin_step_per_level_makes_the_ancestral_step_right():
    """u = alpha / sigma² = 0.6, so r² = 0.3; within 5 standard errors of 20,000 samples, and more than 8 without."""
    known = gaussian(random_matrix(3, 8), 0.2)
    score = posterior(
        known.y[None], known.operator, 0.2, "mmps", shape=(8,), denoiser_error=average_error(known), iterations=3
    )(known.score)
    noise = torch.randn(20_000, 8, generator=seeded(1), dtype=torch.float64)
    found = []
    for corrector_steps in (1, 0):
        table = PredictorCorrectorScheduler(
            sigmas=levels(50), predictor="ancestral", corrector_steps=corrector_steps, signal_to_noise=math.sqrt(0.3)
        ).table
        found.append(max(known.deviations(run(score, table, noise, seeded(2)))))
    assert found[0] < 5 < 8 < found[1]


def test_annealed_is_right_by_langevin_steps_and_wrong_by_heun():
    """N(0, 1) measured by itself: the flow ends at y / (1 + sigma_y), the posterior's mean is y / (1 + sigma_y²)."""
    density = GaussianMixture(torch.zeros(1, 1).double(), torch.eye(1).double()[None])
    known = KnownPosterior(density, torch.eye(1).double(), 0.3, torch.tensor([2.0]).double())
    score = posterior(known.y[None], known.operator, 0.3, "annealed", shape=(1,))(known.score)
    noise = torch.randn(500, 1, generator=seeded(1), dtype=torch.float64)
    heun = run(score, HeunSteps(levels(100)), torch.zeros(1, 1).double())
    assert heun.item() == pytest.approx(2 / 1.3, abs=0.01)
    table = AnnealedLangevinScheduler(sigmas=levels(20, 5.0, 0.05), steps_per_level=40, step_size=0.0005).table
    langevin = known.bias(run(score, table, noise, seeded(2)))[0]
    assert langevin < 5 / math.sqrt(500)


def test_a_mixture_keeps_both_modes_that_a_measurement_leaves():
    """0.8 and 0.2 with a first coordinate that is measured: the mean weight by mmps is within 0.08."""
    known = two_modes()
    error = probed_denoiser_error(known.score, known.density.sample(50, generator=seeded()), levels(20), seeded())
    score = posterior(known.y[None], known.operator, 0.5, "mmps", shape=(2,), denoiser_error=error, iterations=1)
    x = run(score(known.score), HeunSteps(levels(40)), torch.randn(2000, 2, generator=seeded(1), dtype=torch.float64))
    share = (x[:, 1] > 0).double().mean()
    assert abs(share - known.weights[0]) < 0.08
    assert 0.15 < known.weights[1] < 0.85


def two_modes():
    """Modes at (0.3, 3) and (-0.3, -3); the first coordinate is measured, the second tells them apart."""
    means = torch.tensor([[0.3, 3.0], [-0.3, -3.0]]).double()
    density = GaussianMixture(means, 0.5, torch.tensor([0.8, 0.2]))
    return KnownPosterior(density, torch.tensor([[1.0, 0.0]]).double(), 0.5, torch.tensor([-0.6]).double())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "ddrm"}, "method must be one of annealed, dps, pigdm, mmps; got 'ddrm'"),
        ({"method": "annealed", "operator": lambda x: x.square()}, "not linear, which annealed needs"),
        ({"method": "annealed", "iterations": 3}, "annealed has no iterations; its settings are none"),
        ({"method": "pigdm"}, "pigdm needs denoiser_error"),
        (
            {"method": "mmps", "denoiser_error": float, "iterations": 0},
            "iterations must be at least 1 and a whole number; got 0",
        ),
        ({"method": "mmps", "iterations": 1.5}, "iterations must be at least 1 and a whole number; got 1.5"),
        ({"method": "dps", "scale": 0.0}, "scale must be a finite number > 0; got 0"),
        ({"method": "dps", "scale": "1"}, "scale must be a finite number > 0; got '1'"),
        ({"method": "dps", "step": 3}, "step must be a function; got 3"),
        ({"method": "mmps", "denoiser_error": 3}, "denoiser_error must be a function; got 3"),
        ({"method": ["dps"]}, "method must be one of annealed, dps"),
        ({"y": [1.0, 2.0]}, "y must be a tensor of what the operator returns.*got list"),
        ({"noise_std": -0.1}, "noise_std must be a finite number of at least 0.* got -0.1"),
        ({"noise_std": math.nan}, "noise_std must be a finite number"),
        ({"y": torch.ones(1, 3)}, r"what the operator returns, shape \(B, 4\); got shape \(1, 3\)"),
        ({"y": torch.full((1, 4), torch.nan)}, "y has values that are not finite"),
        ({"operator": lambda x: x / 0}, "The operator returned values that are not finite"),
        ({"operator": torch.eye(4) * 1j}, "The operator returns complex numbers, and y holds real ones"),
        ({"y": torch.ones(1, 4) * 1j}, "The operator returns real numbers, and y holds complex ones"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    given = {"y": torch.ones(1, 4), "operator": lambda x: x, "noise_std": 0.1, "method": "annealed", "shape": (4,)}
    with pytest.raises(ValueError, match=message):
        posterior(**(given | settings))


def test_gradients_reach_through_a_run_that_is_without():
    """The loop runs without gradients, and the transform differentiates inside of it."""
    known = gaussian(random_matrix(3, 8), 0.2)
    score = posterior(known.y[None], known.operator, 0.2, "pigdm", shape=(8,), denoiser_error=lambda sigma: 0.1)
    states = follow(score(known.score), torch.randn(2, 8).double(), HeunSteps([1.0, 0.5]))
    assert not next(states).sample.requires_grad


@pytest.mark.parametrize("noise_std", [1e-3, 1e-4])
def test_little_noise_leaves_a_residual_of_its_size(noise_std):
    """In float32, from sigma = 50 on: what rounding leaves is divided by the noise variance."""
    matrix, y = random_matrix(16, 64).float(), torch.randn(1, 16)
    score = posterior(y, matrix, noise_std, "annealed", shape=(64,))(lambda x, sigma: -x / (1 + sigma**2))
    x = run(score, ConsistentAnnealedScheduler(50, 0.01, 50.0).table, torch.randn(20, 64), seeded(1), start=False)
    # In float64 the same: at most 0.2 and 1.4 noise_std, of forty matrices.
    assert (x @ matrix.mT - y).square().mean().sqrt() < 2 * noise_std


@pytest.mark.parametrize("method", ["pigdm", "mmps"])
def test_half_precision_is_not_left_on_the_way_back(method):
    """At sigma = 300 the derivative's sigma² is more than float16 holds."""

    def score(x, sigma):
        return (-x.half() / (1 + sigma.half()) / sigma.half()).float()

    settings = {"denoiser_error": isotropic_error(1.0)} if method == "pigdm" else {}
    given = posterior(torch.ones(1, 3), torch.eye(8)[:3], 0.1, method, shape=(8,), **settings)
    x, sigma = 300 * torch.randn(4, 8), torch.tensor(300.0)
    exact = given(lambda x, sigma: -x / (1 + sigma) / sigma)(x, sigma)
    torch.testing.assert_close(given(score)(x, sigma), exact, rtol=2e-2, atol=2e-2 * float(exact.abs().max()))


def test_denoised_samples_that_are_not_finite_are_told():
    given = posterior(torch.ones(1, 3), torch.eye(8)[:3], 0.1, "mmps", shape=(8,))
    with pytest.raises(FloatingPointError, match="denoised samples are not finite at sigma = 2"):
        given(lambda x, sigma: x / 0)(torch.ones(1, 8), torch.tensor(2.0))


def test_an_operator_that_torch_cannot_differentiate_is_said_to_be_one():
    given = posterior(torch.ones(1, 4), lambda x: torch.from_numpy(x.detach().numpy() ** 2), 0.1, "dps", shape=(4,))
    with pytest.raises(ValueError, match="The operator or the score is not differentiable"):
        given(lambda x, sigma: -x)(torch.ones(2, 4), torch.tensor(1.0))
