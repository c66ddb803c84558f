"""The networks of one noise level, and what their experiments compute in closed form."""

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture
from ncsn_pipeline.lecture.denoising import regression
from ncsn_pipeline.lecture.noised_target import NoisedTargetParams
from ncsn_pipeline.lecture.one_sigma import OneSigmaParams, eight_modes, largest_ratio
from ncsn_pipeline.lecture.single_level import at_level, learn_score, new_network, three_bars
from ncsn_pipeline.lecture.vector_field import paths
from ncsn_pipeline.networks import as_score_function


def test_three_bars_lie_around_the_origin():
    density = three_bars()
    torch.testing.assert_close(density.mean, torch.zeros(2), atol=1e-6, rtol=0)
    assert torch.linalg.eigvalsh(density.covariances[0]).sqrt().tolist() == pytest.approx([0.25, 0.6], rel=1e-5)
    # The first bar leans to the right, the second is its mirror image.
    mirror = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert density.covariances[0][0, 1] > 0
    torch.testing.assert_close(density.covariances[0], density.covariances[1] * mirror)


def test_eight_modes_lie_on_a_circle():
    density = eight_modes(0.1)
    torch.testing.assert_close(density.means.norm(dim=1), torch.full((8,), 2.0))
    torch.testing.assert_close(density.covariance, (2 + 0.01) * torch.eye(2), atol=1e-5, rtol=0)


def test_an_untrained_network_is_the_score_of_a_gaussian_and_follows_from_the_generator():
    density = three_bars()
    before = torch.random.get_rng_state()
    networks = [
        new_network(density, hidden_features=8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    x = density.sample(10, generator=torch.Generator().manual_seed(0))
    variance = density.covariance.diagonal().mean() + 0.5**2
    torch.testing.assert_close(at_level(as_score_function(networks[0]), 0.5)(x), -x / variance)
    first, same, other = (network.hidden[0].weight for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_learning_comes_nearer_to_the_noised_score():
    density = GaussianMixture(torch.tensor([[1.5, 0.0], [-1.5, 0.0]]), 0.5)
    generator = torch.Generator().manual_seed(0)
    arguments = {"batch_size": 256, "hidden_features": 16, "learning_rate": 2e-2, "generator": generator}
    x = density.noised(0.5).sample(2000, generator=generator)
    target = density.noised(0.5).score(x)
    errors = []
    for num_steps in (1, 150):
        score_fn, losses = learn_score(density, 0.5, num_steps=num_steps, **arguments)
        score = at_level(score_fn, 0.5)(x)
        assert losses.shape == (num_steps,)
        assert not score.requires_grad
        errors.append(float((score - target).square().mean()))
    assert errors[1] < errors[0] / 5


def test_the_slope_is_found_within_its_standard_error():
    generator = torch.Generator().manual_seed(0)
    slopes, errors = [], []
    for _ in range(600):
        predictor = torch.randn(500, 2, generator=generator, dtype=torch.float64)
        noise = torch.randn(500, 2, generator=generator, dtype=torch.float64)
        slope, error = regression(predictor, 0.7 * predictor + noise)
        slopes.append(slope)
        errors.append(error)
    slopes, errors = torch.tensor(slopes), torch.tensor(errors)
    assert abs(slopes.mean() - 0.7) < 5 * slopes.std() / 600**0.5
    # The deviation of 600 slopes is known to 1 / sqrt(1200).
    assert float(slopes.std() / errors.mean()) == pytest.approx(1, abs=5 / 1200**0.5)


def test_paths_follow_the_score():
    """Along s = -x each step shrinks x by 1 - alpha."""
    followed = paths(lambda x: -x, 0.1, num_steps=5)
    torch.testing.assert_close(followed[-1], followed[0] * 0.9**5)
    assert followed.shape == (6, 16, 2)


def test_the_largest_ratio():
    assert largest_ratio([8.0, 4.0, 3.0]) == 0.75
    assert largest_ratio([1.0, 2.0, 0.1]) == 2.0


@pytest.mark.parametrize("params", [NoisedTargetParams, OneSigmaParams])
@pytest.mark.parametrize("sigmas", [(0.5,), (0.1, 0.3, 0.2), (0.1, 0.1, 0.2), (0.0, 0.1, 0.2)])
def test_sweeps_must_increase(params, sigmas):
    with pytest.raises(ValueError, match="sigmas must be"):
        params(sigmas=sigmas)
