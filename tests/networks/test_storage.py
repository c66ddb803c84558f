"""Weights that are stored in eight bits, and cast layer by layer as they are used."""

import pytest
import torch

from ncsn_pipeline import NCSNModel, NCSNv2Model, ScoreMLP, ScoreUNet

NETWORKS = {
    "unet": (lambda: ScoreUNet(8, 1, (16, 32), attention_levels=(1,)), (2, 1, 8, 8)),
    "ncsn": (lambda: NCSNModel(8, 1, 16, num_levels=3), (2, 1, 8, 8)),
    "ncsnv2": (lambda: NCSNv2Model(8, 1, 16), (2, 1, 8, 8)),
    "mlp": (lambda: ScoreMLP(2, 32), (2, 2)),
}


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
