"""Weights that are stored in eight bits, and cast layer by layer as they are used; networks of a configuration."""

import json

import pytest
import torch

from ncsn_pipeline import DDPMScoreModel, NCSNModel, NCSNv2Model, ScoreMLP, ScoreUNet

NETWORKS = {
    "unet": (lambda: ScoreUNet(8, 1, (16, 32), attention_levels=(1,)), (2, 1, 8, 8)),
    "ncsn": (lambda: NCSNModel(8, 1, 16, num_levels=3), (2, 1, 8, 8)),
    "ncsnv2": (lambda: NCSNv2Model(8, 1, 16), (2, 1, 8, 8)),
    "mlp": (lambda: ScoreMLP(2, 32), (2, 2)),
}

DDPM = {"sample_size": 8, "block_out_channels": (32,), "down_block_types": ("DownBlock2D",)}
DDPM |= {"up_block_types": ("UpBlock2D",)}
BY_POSITION = {
    "unet": lambda: ScoreUNet(8, 1, (16, 32)),
    "ncsn": lambda: NCSNModel(8, 1, 16, 3),
    "ncsnv2": lambda: NCSNv2Model(16, 1, 16, "ncsnv2_deeper"),
    "mlp": lambda: ScoreMLP(3, 32),
    "ddpm": lambda: DDPMScoreModel(DDPM, {"num_train_timesteps": 10}),
}


@pytest.mark.parametrize("make", BY_POSITION.values(), ids=BY_POSITION)
def test_a_configuration_makes_the_same_network(make):
    """Also of what was given by position, and what was written into it later."""
    network = make()
    later = {"denoiser_error": [[1.0, 0.5]]} if "denoiser_error" in network.config else {}
    network.register_to_config(**later)
    again = type(network).from_config(network.config)
    told, other = (
        {name: value for name, value in one.config.items() if not name.startswith("_")} for one in (network, again)
    )
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(other)) and told.items() >= later.items()
    shapes = [{name: weights.shape for name, weights in one.state_dict().items()} for one in (network, again)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("make", BY_POSITION.values(), ids=BY_POSITION)
def test_a_sigma_for_each_sample_or_one_for_all(make):
    network = make()
    shape = (3,) if "in_features" in network.config else (network.config.in_channels, *2 * [network.config.sample_size])
    with pytest.raises(ValueError, match=r"timestep must be one sigma or 2, one an? .*; got \(3,\)"):
        network(torch.rand(2, *shape), torch.ones(3))


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_computed_in_full_precision_from_weights_of_eight_bits(name):
    """Three bits of mantissa round a weight by up to 1/16; what a score is off by is of that size."""
    make, shape = NETWORKS[name]
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, sigma = torch.rand(shape), torch.tensor([1.0, 0.1])
    exact = network(x, sigma).sample
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert network.dtype == torch.float32
    stored = {module.weight.dtype for module in network.modules() if type(module) in (torch.nn.Linear, torch.nn.Conv2d)}
    assert torch.float8_e4m3fn in stored
    error = (network(x, sigma).sample - exact).norm() / exact.norm()
    assert 0 < error < 0.3
