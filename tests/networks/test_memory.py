"""What saves memory changes no score: activations made again, weights in files, in eight bits or not there yet."""

import pytest
import torch
from diffusers import UNet2DModel

from ncsn_pipeline import DDPMScoreModel, NCSNModel, NCSNv2Model, ScoreMLP, ScoreUNet
from ncsn_pipeline.networks import EnergyModel


def ddpm():
    unet = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return DDPMScoreModel(dict(UNet2DModel(**unet).config), {})


IMAGES = (2, 1, 8, 8)
NETWORKS = {
    "unet": (lambda: ScoreUNet(8, 1, (16, 32), attention_levels=(1,), num_class_embeds=3), IMAGES),
    "ncsn": (lambda: NCSNModel(8, 1, 16, num_levels=3), IMAGES),
    "ncsnv2": (lambda: NCSNv2Model(8, 1, 16), IMAGES),
    "ncsnv2 deepest": (lambda: NCSNv2Model(8, 1, 4, architecture="ncsnv2_deepest"), IMAGES),
    "ddpm": (ddpm, IMAGES),
    "mlp": (lambda: ScoreMLP(2, 32), (2, 2)),
    "mlp of one sigma": (lambda: ScoreMLP(2, 32, sigma_conditioned=False), (2, 2)),
}
SIGMA = torch.tensor([1.0, 0.1])


def network_of(name):
    """A network whose last layer is not zero any more, and its samples."""
    make, shape = NETWORKS[name]
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network, torch.rand(shape)


def learn(network, x):
    """The score, the gradient of every parameter, and the bytes that were kept for the way back."""
    kept = []
    network.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        score = network(x, SIGMA).sample
    (score**2).sum().backward()
    return score.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}, sum(kept)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(name):
    network, x = network_of(name)
    score, gradients, kept = learn(network, x)
    network.enable_gradient_checkpointing()
    assert network.is_gradient_checkpointing
    again, same, less = learn(network, x)
    assert torch.equal(again, score)
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(same[parameter], gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item())
    assert less < 0.7 * kept
    network.disable_gradient_checkpointing()
    assert learn(network, x)[2] == kept


@pytest.mark.parametrize("name", ["ncsn", "ncsnv2", "mlp"])
def test_a_second_derivative_goes_through_what_is_made_again(name):
    network, x = network_of(name)
    energy = EnergyModel(network)
    _, gradients, _ = learn(energy, x)
    network.enable_gradient_checkpointing()
    for parameter, gradient in learn(energy, x)[1].items():
        expected = gradients[parameter]
        assert (gradient is None) == (expected is None)
        if expected is not None:
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("kind", ["leaf_level", "block_level"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_may_lie_in_files_in_whatever_layout_they_are(name, kind, tmp_path):
    network, x = network_of(name)
    network.eval()
    with torch.no_grad():
        expected = network(x, SIGMA).sample
        network.enable_group_offload(
            onload_device=torch.device("cpu"), offload_type=kind, offload_to_disk_path=str(tmp_path),
            num_blocks_per_group=1 if kind == "block_level" else None,
        )  # fmt: skip
        assert list(tmp_path.glob("*.safetensors"))
        score = network(x, SIGMA).sample
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_training_reads_the_weights_that_layerwise_casting_stores_in_eight_bits(name):
    for storage in (torch.float16, torch.float8_e4m3fn):
        network, x = network_of(name)
        network.enable_layerwise_casting(storage_dtype=storage, compute_dtype=torch.float32)
        with torch.autocast("cpu"):
            loss = network(x, SIGMA).sample.float().square().mean()
        loss.backward()
        assert all(parameter.grad.float().isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_lower_the_precision_the_smaller_the_footprint(name):
    sizes = []
    for storage, compute in ((None, None), (torch.float8_e4m3fn, torch.float32), (torch.float8_e4m3fn, torch.bfloat16)):
        network, x = network_of(name)
        if storage is not None:
            network.to(compute).enable_layerwise_casting(storage_dtype=storage, compute_dtype=compute)
            assert network(x.to(compute), SIGMA).sample.isfinite().all()
        sizes.append(network.get_memory_footprint())
    assert sizes[2] < sizes[1] < sizes[0] / 2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_the_meta_device_takes_weights_later(name):
    network, x = network_of(name)
    with torch.device("meta"):
        empty = NETWORKS[name][0]()
    assert all(parameter.is_meta for parameter in empty.parameters())
    empty.load_state_dict(network.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(empty.eval()(x, SIGMA).sample, network.eval()(x, SIGMA).sample)
