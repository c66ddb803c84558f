"""Distillation from scores that are known exactly: what the generator draws has the density that they belong to."""

import copy
import math

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ncsn_pipeline import GaussianMixture, ScoreMLP, as_score_function, exact_score_function, mode_weights
from ncsn_pipeline.diagnostics import sliced_wasserstein
from ncsn_pipeline.noise_levels import LogNormalSigmas, edm_weight
from ncsn_pipeline.score_matching import generate
from ncsn_pipeline.training.averaging import WeightAverage
from ncsn_pipeline.training.matching import DistributionMatching, Learner

STDS = {2: 0.3, 8: 0.1}  # of each mode, by their number


def ring():
    """Eight Gaussians on a circle, of unit deviation in each coordinate."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return GaussianMixture(math.sqrt(1.98) * torch.stack([angles.cos(), angles.sin()], 1), STDS[8])


def pair():
    """Two Gaussians of unequal weights on a line, of unit deviation together."""
    apart = math.sqrt((1 - STDS[2] ** 2) / (0.3 * 0.7))
    return GaussianMixture(apart * torch.tensor([[-0.7], [0.3]]), STDS[2], torch.tensor([0.3, 0.7]))


def exact_score(mixture):
    """The score of an isotropic mixture at a noise level for each sample, all at once."""
    means, log_weights, std = mixture.means, mixture.weights.float().log(), STDS[len(mixture.means)]

    def score(x, sigma):
        noised = (std**2 + sigma**2)[:, None]
        shares = (log_weights - (x[:, None] - means).square().sum(2) / (2 * noised)).softmax(1)
        return (shares @ means - x) / noised

    return score


class Draws:
    """Random numbers as those of a run, of one generator: seeding one for each point takes longer than all else."""

    def __init__(self, generator, count):
        self.generator, self.count = generator, count

    def whole(self, draw, stream):
        return draw(self.count, self.generator)

    def normal(self, shape, device, stream=None):
        return torch.randn(self.count, *shape, generator=self.generator)


def distil(score, dimensions, steps, *, identity_steps=0, levels=(5.0,), batch=256, width=128, learning_rate=1e-3):
    """The average of a generator that learned from `score` alone; both networks begin as a Gaussian's score."""
    network, learners, matching, accelerator = begun(score, dimensions, levels, width)
    ema = WeightAverage(network.parameters(), decay=0.995, use_ema_warmup=True, power=0.75)
    draws = Draws(torch.Generator().manual_seed(0), batch)
    for step in range(steps):
        for learner in learners:
            learner.optimizer.param_groups[0]["lr"] = learning_rate * min(1.0, (steps - step) / (0.3 * steps))
        matching.step(accelerator, [[draws]] * 3, step >= steps - identity_steps)
        ema.step(network.parameters())
    ema.copy_to(network.parameters())
    return network


def begun(score, dimensions, levels=(5.0,), width=128):
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    network = ScoreMLP(dimensions, width, 3, sigma_data=1.0)
    learners = []
    for one in (network, copy.deepcopy(network)):
        optimizer = torch.optim.AdamW(one.parameters(), betas=(0.0, 0.99), weight_decay=0.0, fused=True)
        learners.append(Learner(*accelerator.prepare(one, optimizer), max_grad_norm=10.0))
    matching = DistributionMatching(
        score, *learners, shape=(dimensions,), levels=levels, draw_sigma=LogNormalSigmas(-1.0, 1.3, 0.01, 10.0),
        weight=edm_weight(1.0),
    )  # fmt: skip
    return network, learners, matching, accelerator


def drawn(network, levels, count=5000, seed=1):
    """Samples of a generator, as many as there are to measure on."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, len(levels), network.config.in_features, generator=generator)
    with torch.no_grad():
        return generate(as_score_function(network), noise, torch.tensor(levels))


@pytest.mark.parametrize("identity", [False, True])
def test_the_generators_loss_teaches_the_fake_score_nothing(identity):
    _, (generator, fake), matching, _ = begun(exact_score(ring()), 2, width=8)
    matching.generator_loss(Draws(torch.Generator().manual_seed(0), 16), identity)[0].mean().backward()
    assert all(parameter.grad is not None for parameter in generator.network.parameters())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in fake.network.parameters())


@pytest.mark.parametrize("make", [pair, ring])
def test_the_teachers_of_these_tests_are_the_exact_scores(make):
    mixture = make()
    assert mixture.covariance.diagonal().tolist() == pytest.approx([1.0] * mixture.means.shape[1], rel=1e-5)
    x, sigma = mixture.sample(6), torch.tensor([0.01, 0.1, 0.5, 1, 3, 10])
    assert torch.allclose(exact_score(mixture)(x, sigma), exact_score_function(mixture)(x, sigma), rtol=1e-3, atol=1e-3)


@pytest.mark.check
@pytest.mark.parametrize(
    ("make", "identity_steps", "levels"),
    [(pair, 0, (5.0,)), (pair, 1000, (5.0,)), (ring, 0, (5.0,)), (ring, 0, (5.0, 0.5))],
    ids=["two on a line", "the last steps by identity", "eight on a circle", "eight in two evaluations"],
)
def test_what_is_drawn_has_the_weights_of_the_modes_and_the_density(make, identity_steps, levels):
    """Weights within 0.03 (four standard errors of 5,000 samples: 0.019 and 0.026), at each number of evaluations."""
    mixture = make()
    network = distil(exact_score(mixture), mixture.means.shape[1], 4000, identity_steps=identity_steps, levels=levels)
    fresh = mixture.sample(5000, generator=torch.Generator().manual_seed(2))
    for count in range(1, len(levels) + 1):
        samples = drawn(network, levels[:count])
        assert (mode_weights(samples, mixture.means).weights - mixture.weights).abs().max() < 0.03
        slices = torch.Generator().manual_seed(3)
        assert sliced_wasserstein(samples, fresh, generator=slices) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("identity_steps", [0, 300])
def test_a_gaussian_is_drawn_with_its_mean_and_deviation(identity_steps):
    """From a generator of mean 0; what is learned from is a function, and no sample of it is seen."""
    score = lambda x, sigma: (0.6 - x) / (0.5**2 + sigma[:, None] ** 2)  # noqa: E731
    network = distil(score, 1, 300, identity_steps=identity_steps, batch=64, width=32, learning_rate=3e-3)
    samples = drawn(network, (5.0,), count=20_000)
    assert samples.mean().item() == pytest.approx(0.6, abs=0.05)
    assert samples.std().item() == pytest.approx(0.5, rel=0.1)
