"""The score network: its preconditioning, sizes, classes, and what is refused."""

import math

import pytest
import torch

from ncsn_pipeline import ScoreUNet, as_score_function
from ncsn_pipeline.networks.modeling_score_unet import LogSigmaFeatures


def small(**changes):
    settings = {"sample_size": 8, "block_out_channels": (16, 32), "sigma_data": 0.3, "data_mean": 0.2}
    return ScoreUNet(**(settings | changes)).eval()


def trained_looking(network):
    """Gives the last layer, which starts at zero, weights of its own."""
    torch.nn.init.normal_(network.conv_out.weight, std=0.2)
    return network


@pytest.mark.parametrize("sigma", [0.001, 0.1, 30.0])
def test_untrained_network_is_the_score_of_the_noised_gaussian(sigma):
    network = small().double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    expected = -(x - 0.2) / (0.3**2 + sigma**2)
    torch.testing.assert_close(network(x, sigma).sample, expected)


def test_preconditioning_is_edms():
    """Written the other way round: the denoiser x + sigma² s equals c_skip x' + c_out F(c_in x', sigma) + mean."""
    network = trained_looking(small()).double()
    x, sigma, sd = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor([0.05, 2.0]).double(), 0.3
    per_image = sigma.reshape(2, 1, 1, 1)
    total = (per_image**2 + sd**2).sqrt()
    raw = network._residual((x - 0.2) / total, sigma, None)
    denoiser = sd**2 / total**2 * (x - 0.2) + per_image * sd / total * raw + 0.2
    torch.testing.assert_close(x + per_image**2 * network(x, sigma).sample, denoiser)


def test_sigma_enters_by_cosines_and_sines_of_a_quarter_of_its_logarithm():
    """Sixteen frequencies a constant ratio apart, from 1/8 to 8 cycles per unit of ln(sigma) / 4."""
    sigma = torch.tensor([0.02, 1.0, 7.0], dtype=torch.float64)
    angles = 2 * math.pi / 4 * sigma.log()[:, None] * (64.0 ** (torch.arange(16, dtype=torch.float64) / 15) / 8)
    expected = torch.cat([angles.cos(), angles.sin()], 1)
    torch.testing.assert_close(LogSigmaFeatures(32)(sigma), expected, rtol=0, atol=1e-9)


def test_float32_is_accurate_at_small_sigma():
    network = trained_looking(small())
    x = torch.rand(2, 1, 8, 8)
    single = network(x, 0.001).sample
    double = network.double()(x.double(), 0.001).sample
    assert ((single - double).norm() / double.norm()).item() < 1e-5


def test_half_precision_keeps_large_and_small_sigma():
    """sigma² = 250,000 is beyond float16, and ln(sigma) needs more digits than bfloat16 has."""
    network = trained_looking(small(sigma_max=500.0))
    x = torch.rand(2, 1, 8, 8) * 100
    for sigma in (500.0, 0.01):
        expected = network.float()(x, sigma).sample
        for dtype in (torch.float16, torch.bfloat16):
            assert ((network.to(dtype)(x, sigma).sample - expected).norm() / expected.norm()).item() < 0.05
            assert network(x, sigma).sample.dtype == torch.float32


@pytest.mark.parametrize("size", [8, 9, 28, 31, 64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_size_and_channel_count(size, channels):
    network = trained_looking(ScoreUNet(sample_size=size, in_channels=channels, block_out_channels=(8, 8, 16)))
    x = torch.randn(2, channels, size, size)
    score = network(x, torch.tensor([0.1, 1.0])).sample
    assert score.shape == x.shape
    assert score.isfinite().all()


def test_odd_sizes_are_padded_by_their_edges_and_cropped_to_the_same_pixels():
    """9 x 11 pixels become 12 x 12: one row before and two after, no column before and one after."""
    network = trained_looking(ScoreUNet(sample_size=9, block_out_channels=(8, 8, 16))).double()
    x = torch.randn(2, 1, 9, 11, dtype=torch.float64)
    padded = torch.cat([x[:, :, :1], x, x[:, :, -1:], x[:, :, -1:]], 2)
    padded = torch.cat([padded, padded[..., -1:]], 3)
    torch.testing.assert_close(network(x, 0.7).sample, network(padded, 0.7).sample[:, :, 1:10, :11])


@pytest.mark.slow
def test_largest_size():
    network = ScoreUNet(sample_size=256, in_channels=3, block_out_channels=(8, 8, 8, 16, 16))
    assert network(torch.randn(1, 3, 256, 256), 1.0).sample.shape == (1, 3, 256, 256)


def test_one_sigma_for_all_is_each_with_its_own():
    network = trained_looking(small())
    x = torch.randn(3, 1, 8, 8)
    alone = torch.cat([network(x[i : i + 1], 0.7, return_dict=False)[0] for i in range(3)])
    torch.testing.assert_close(network(x, 0.7).sample, alone)
    torch.testing.assert_close(network(x, torch.tensor(0.7)).sample, alone)
    torch.testing.assert_close(network(x, torch.full((3,), 0.7)).sample, alone)
    assert (network(x, 0.5).sample - alone).abs().max() > 1e-3


def test_classes_change_the_score_and_none_is_the_null_class():
    network = trained_looking(small(num_class_embeds=4))
    x = torch.randn(2, 1, 8, 8)
    null = network(x, 0.5, class_labels=torch.tensor([4, 4])).sample
    torch.testing.assert_close(network(x, 0.5).sample, null)
    labels = torch.tensor([1, 2])
    assert (network(x, 0.5, class_labels=labels).sample - null).abs().max() > 1e-3
    torch.testing.assert_close(as_score_function(network, labels)(x, torch.tensor(0.5)), network(x, 0.5, labels).sample)
    with pytest.raises(ValueError, match="no classes"):
        small()(x, 0.5, class_labels=labels)


def test_every_parameter_learns():
    network = trained_looking(small(num_class_embeds=2, layers_per_block=2, attention_levels=(0, 1)))
    network(torch.randn(4, 1, 8, 8), torch.rand(4) + 0.1, torch.tensor([0, 1, 2, 0])).sample.square().sum().backward()
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert not idle


def test_saving_and_loading(tmp_path):
    network = trained_looking(small(num_class_embeds=3))
    network.save_pretrained(tmp_path)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(ScoreUNet.from_pretrained(tmp_path)(x, 0.4).sample, network(x, 0.4).sample)


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_size": 7},
        {"sample_size": 257},
        {"in_channels": 0},
        {"block_out_channels": ()},
        {"block_out_channels": (12,)},
        {"attention_levels": (2,)},
        {"attention_head_dim": 24},
        {"sigma_data": 0.0},
        {"data_mean": float("nan")},
        {"sigma_min": 2.0, "sigma_max": 1.0},
        {"num_class_embeds": 0},
        {"norm_num_groups": 0},
        {"attention_head_dim": 0},
        {"trained_sigmas": [0.1, 1.0]},
        {"trained_sigmas": [1.0, 0.0]},
    ],
)
def test_bad_configuration_is_refused(changes):
    with pytest.raises(ValueError, match="|".join(changes)):
        small(**changes)
