"""Distribution matching against closed forms: Gaussian teachers, and the sampler that the generator is made for."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ncsn_pipeline import ConsistentAnnealedScheduler
from ncsn_pipeline.sampling.follow import follow
from ncsn_pipeline.score_matching import generate, identity_loss, matching_gradient, within

C = 0.8  # deviation of the teacher's data, of mean 0


def gaussian_score(mean, std):
    """The score of N(mean, std²), noised."""
    return lambda x, sigma: (mean - x) / (std**2 + sigma.reshape(-1, *[1] * (x.dim() - 1)) ** 2)


def test_samples_beyond_the_ends_are_cut_off_and_may_only_come_back():
    """Loss, gradient: below and above, towards the range and away from it, and inside."""
    x = torch.tensor([-1.0, -1.0, 3.0, 3.0, 0.5, 0.5, 0.0, 2.0], requires_grad=True)
    cut = within(x, 0.0, 2.0)
    assert cut.tolist() == [0, 0, 2, 2, 0.5, 0.5, 0, 2]
    (cut * torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0])).sum().backward()
    assert x.grad.tolist() == [-1, 0, 1, 0, 1, -1, 1, -1]  # a descent goes the other way


@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
@pytest.mark.parametrize(("mean", "std"), [(1.5, 0.4), (-0.3, 2.0)])
def test_the_gradient_is_that_of_the_divergence_between_noised_gaussians(mean, std, sigma):
    """E (s_p - s_q) dx of x = m + a z is d KL, to rounding: Gauss-Hermite quadrature over z and the noise."""
    nodes, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(20))
    z, e = torch.cartesian_prod(nodes, nodes).unbind(1)
    weights = torch.outer(weights, weights).flatten() / (2 * math.pi)
    x, levels = mean + std * z, torch.full_like(z, sigma)
    g = matching_gradient(gaussian_score(0, C), gaussian_score(mean, std), x[:, None], levels, e[:, None])[:, 0]
    error = (x - (x + sigma * e) * C**2 / (C**2 + sigma**2)).abs()  # by which it is divided
    difference = g * error / sigma**2

    m, a = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (mean, std))
    noised = Normal(m, (a**2 + sigma**2).sqrt())
    kl_divergence(noised, Normal(torch.zeros_like(m), math.sqrt(C**2 + sigma**2))).backward()
    assert (weights * difference).sum().item() == pytest.approx(m.grad.item(), rel=1e-10)
    assert (weights * difference * z).sum().item() == pytest.approx(a.grad.item(), rel=1e-10)


def test_each_sample_has_its_own_noise_level_and_its_own_weight():
    generator = torch.Generator().manual_seed(0)
    x, e = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.1, 0.5, 1, 2, 9], dtype=torch.float64)
    teacher, fake = gaussian_score(0, C), gaussian_score(0.5, 0.3)
    together = matching_gradient(teacher, fake, x, sigma, e)
    alone = [matching_gradient(teacher, fake, x[i : i + 1], sigma[i : i + 1], e[i : i + 1]) for i in range(5)]
    assert torch.equal(together, torch.cat(alone))
    level = sigma.reshape(-1, 1, 1)
    noised = x + level * e
    of_teacher, of_fake = (noised + level**2 * score(noised, sigma) for score in (teacher, fake))
    error = (x - of_teacher).abs().mean((1, 2), keepdim=True)
    assert torch.allclose(together, (of_fake - of_teacher) / error, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.2])
def test_the_loss_of_the_identity_is_the_fisher_divergence_less_alpha_times_it(alpha):
    """Of the exact scores, whose difference at x is that of two lines; four standard errors of 200 samples."""
    generator = torch.Generator().manual_seed(0)
    mean, std, sigma = 0.5, 0.4, torch.full((200,), 0.7, dtype=torch.float64)
    z, e = torch.randn(2, 200, 3000, generator=generator, dtype=torch.float64)
    x = mean + std * z
    loss, size = identity_loss(gaussian_score(0, C), gaussian_score(mean, std), x, sigma, e, alpha)
    of_teacher = (x + 0.7 * e) * C**2 / (C**2 + 0.7**2)
    error = (x - of_teacher).abs().mean(1)
    slope = C**2 / (C**2 + 0.7**2) - std**2 / (std**2 + 0.7**2)
    offset = mean * (C**2 / (C**2 + 0.7**2) - 1)  # at x = mean
    divergence = slope**2 * (std**2 + 0.7**2) + offset**2
    found = loss * error
    assert abs(found.mean().item() - (1 - alpha) * divergence) < 4 * found.std().item() / math.sqrt(200)
    assert found.std().item() / math.sqrt(200) < 0.01 * divergence
    difference = offset + slope * (x + 0.7 * e - mean)
    assert torch.allclose(size, difference.abs().mean(1) / error, rtol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 1.2])
def test_a_gaussian_generator_that_follows_the_identity_comes_to_rest_there_too(alpha):
    """The gradient goes through both scores, which are held; each sample's vanishes where they agree."""
    generator = torch.Generator().manual_seed(1)
    m, a = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.4))
    optimizer = torch.optim.SGD([m, a], lr=0.1)
    for _ in range(1000):
        z, e = torch.randn(2, 256, 1, generator=generator, dtype=torch.float64)
        sigma = torch.randn(256, generator=generator, dtype=torch.float64).exp()
        optimizer.zero_grad()
        fake = gaussian_score(m.item(), a.item())
        identity_loss(gaussian_score(0, C), fake, m + a * z, sigma, e, alpha)[0].mean().backward()
        optimizer.step()
    assert m.item() == pytest.approx(0, abs=1e-4)
    assert a.item() == pytest.approx(C, abs=1e-4)


def test_a_gaussian_generator_comes_to_rest_at_the_teachers_density():
    """x = m + a z moves along -g to m = 0 and a = c, where the gradient of every single sample vanishes."""
    generator = torch.Generator().manual_seed(1)
    m, a = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (2.0, 0.2))
    optimizer = torch.optim.SGD([m, a], lr=0.1)
    for _ in range(400):
        z, e = torch.randn(2, 256, 1, generator=generator, dtype=torch.float64)
        sigma = torch.randn(256, generator=generator, dtype=torch.float64).exp()
        x = m + a * z
        fake = gaussian_score(m.item(), a.item())
        optimizer.zero_grad()
        (matching_gradient(gaussian_score(0, C), fake, x, sigma, e) * x).mean().backward()
        optimizer.step()
    assert m.item() == pytest.approx(0, abs=1e-6)
    assert a.item() == pytest.approx(C, abs=1e-6)


@pytest.mark.parametrize("sigmas", [[5.0], [5.0, 1.0, 0.3]])
def test_the_generator_draws_what_the_sampler_with_eta_1_draws(sigmas):
    score = gaussian_score(0.4, C)
    levels = torch.tensor(sigmas, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    noise = torch.stack([torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in sigmas])
    drawn = generate(score, noise.transpose(0, 1), levels)

    generator = torch.Generator().manual_seed(2)
    start = sigmas[0] * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    table = ConsistentAnnealedScheduler(sigmas=sigmas, eta=1.0).table
    *_, last = follow(score, start, table, generator)
    assert len(table) == len(sigmas)
    assert torch.allclose(drawn, last.sample, rtol=1e-12)
    # Samples that end at an earlier level are those of a shorter sampler.
    chosen = torch.arange(6) % len(sigmas)
    mixed = generate(score, noise.transpose(0, 1), levels, chosen)
    for k in range(len(sigmas)):
        short = generate(score, noise[: k + 1].transpose(0, 1), levels[: k + 1])
        assert torch.allclose(mixed[chosen == k], short[chosen == k], rtol=1e-12)


def test_the_gradient_goes_through_the_last_evaluation_alone():
    slope = torch.tensor(-0.1, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    levels = torch.tensor([2.0, 0.5], dtype=torch.float64)
    generate(lambda x, sigma: slope * x, noise, levels).sum().backward()
    given = (1 - 0.1 * 2.0**2) * 2.0 * noise[:, 0] + 0.5 * noise[:, 1]
    assert slope.grad.item() == pytest.approx((0.5**2 * given).sum().item(), rel=1e-12)
