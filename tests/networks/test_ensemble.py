"""The ensemble: which network answers, with what, and what is refused."""

import math

import pytest
import torch
from torch import nn

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet, as_score_function
from ncsn_pipeline.networks import ScoreEnsemble, ScoreMLP, ScoreUNetOutput

LADDER = [8.0, 2.0, 0.5]


class Signature(nn.Module):
    """Returns its number, the sigma it was given and the sample, so that who answered what can be read off."""

    def __init__(self, number):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(float(number), dtype=torch.float64))
        self.calls = []

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        self.calls.append(len(sample))
        sigma = timestep.expand(len(sample))
        label = torch.zeros_like(sigma) if class_labels is None else class_labels
        out = torch.stack([self.number.expand(len(sample)), sigma, sample[:, 2], label], dim=1)
        return ScoreUNetOutput(sample=out) if return_dict else (out,)


@pytest.fixture
def ensemble():
    return ScoreEnsemble([Signature(i) for i in range(3)], LADDER)


def test_each_sample_goes_to_the_nearest_level_with_its_own_sigma(ensemble):
    """Nearest by ratio: 3.99 and 4.01 lie on either side of sqrt(8 * 2) = 4."""
    sigma = torch.tensor([0.5, 100.0, 4.01, 3.99, 1.01, 0.99, 1e-4, 8.0], dtype=torch.float64)
    x = torch.randn(8, 4, dtype=torch.float64)
    labels = torch.arange(8.0, dtype=torch.float64)
    out = ensemble(x, sigma, class_labels=labels).sample
    assert out[:, 0].tolist() == [2, 0, 0, 1, 1, 2, 2, 0]
    assert torch.equal(out[:, 1:], torch.stack([sigma, x[:, 2], labels], dim=1))
    assert [network.calls for network in ensemble.networks] == [[3], [2], [3]]


@pytest.mark.parametrize("sigma", [2.0, torch.tensor(2.0), torch.tensor([2.0]), torch.full((5,), 2.0)])
def test_one_sigma_for_all_calls_one_network(ensemble, sigma):
    x = torch.randn(5, 4, dtype=torch.float64)
    out = ensemble(x, sigma, return_dict=False)[0]
    assert out[:, 0].tolist() == [1] * 5
    assert torch.equal(out[:, 2], x[:, 2])
    assert [network.calls for network in ensemble.networks] == [[], [5], []]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_of_a_long_ladder_find_their_own_network(dtype):
    sigmas = torch.logspace(2, -2, 500, dtype=torch.float64)
    ensemble = ScoreEnsemble([nn.Identity() for _ in sigmas], sigmas)
    assert torch.equal(ensemble.nearest_level(sigmas.to(dtype)), torch.arange(500))


def test_each_network_learns_from_its_own_samples():
    networks = [ScoreMLP(hidden_features=8).double() for _ in LADDER]
    ensemble = ScoreEnsemble(networks, LADDER)
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([8.0, 0.5, 8.0, 0.5, 7.0, 0.4], dtype=torch.float64)
    score = as_score_function(ensemble)(x, sigma)
    expected = torch.stack([networks[i](x[n : n + 1], sigma[n]).sample[0] for n, i in enumerate([0, 2, 0, 2, 0, 2])])
    torch.testing.assert_close(score, expected)
    score.square().sum().backward()
    assert [network.out.weight.grad is not None for network in networks] == [True, False, True]
    torch.testing.assert_close(x.grad, torch.autograd.grad(expected.square().sum(), x)[0])


@pytest.mark.parametrize(
    "count, sigmas, message",
    [
        (2, LADDER, "got 2 for 3 levels"),
        (3, [0.5, 2.0, 8.0], "strictly decreasing"),
        (3, [2.0, 1.0, 0.0], "finite and positive"),
        (1, [math.inf], "finite and positive"),
        (0, [], "at least one number"),
    ],
)
def test_bad_ensembles_are_refused(count, sigmas, message):
    with pytest.raises(ValueError, match=message):
        ScoreEnsemble([nn.Identity() for _ in range(count)], sigmas)


def test_a_pipeline_samples_with_it_and_refuses_to_save_it(tmp_path):
    networks = [ScoreUNet(sample_size=8, block_out_channels=(8, 16)) for _ in LADDER]
    pipe = NCSNPipeline(ScoreEnsemble(networks, LADDER), ConsistentAnnealedScheduler(sigmas=LADDER))
    pipe.set_progress_bar_config(disable=True)
    assert pipe(2, output_type="pt").images.shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"ScoreEnsemble cannot be saved.*Save the network that it wraps"):
        pipe.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
