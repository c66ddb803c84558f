"""What the estimators are tried on: a small smooth network, and a mixture of which every integral is known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ncsn_pipeline.densities import GaussianMixture

MEANS = torch.tensor([[1.0, 0.5], [-1.2, -0.7]], dtype=torch.float64)
STDS = torch.tensor([0.7, 0.5], dtype=torch.float64)
WEIGHTS = torch.tensor([0.8, 0.2], dtype=torch.float64)


def mlp(dimension, width=16):
    """A score network without kinks, in float64."""
    layers = [nn.Linear(dimension, width), nn.Softplus(), nn.Linear(width, width), nn.Softplus()]
    return nn.Sequential(*layers, nn.Linear(width, dimension)).double()


def gradients(loss, network):
    """The gradient of a number in all parameters, as one vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])


@pytest.fixture
def make_network():
    return mlp


@pytest.fixture
def gradient_of():
    return gradients


@pytest.fixture
def mixture():
    return GaussianMixture(MEANS, STDS, WEIGHTS)


@pytest.fixture
def quadrature():
    """`nodes (N, 2), weights (N,) = quadrature(sigma)`: sum(weights * f(nodes)) = E f over the noised mixture."""
    t, w = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(64))
    unit, unit_weights = torch.cartesian_prod(t, t), (w[:, None] * w).flatten() / (2 * math.pi)

    def nodes_and_weights(sigma=0.0):
        stds = (STDS**2 + sigma**2).sqrt()
        nodes = MEANS[:, None] + stds[:, None, None] * unit
        return nodes.flatten(0, 1), (WEIGHTS[:, None] * unit_weights).flatten()

    return nodes_and_weights


@pytest.fixture(scope="session")
def reference():
    """The network, samples, projections and noise of the reference vectors, and the losses there."""
    tensors = load_file(Path(__file__).parents[1] / "data" / "score_matching_mlp.safetensors")
    network = nn.Sequential(nn.Linear(5, 16), nn.Softplus(), nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, 5))
    network.load_state_dict({name: value for name, value in tensors.items() if name[0].isdigit()})
    return network, tensors
