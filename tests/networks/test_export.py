"""`torch.export` with a batch of any size: what it writes gives the network's own scores."""

import pytest
import torch
from diffusers import UNet2DModel
from torch.export import Dim, export

from ncsn_pipeline import DDPMScoreModel, NCSNModel, NCSNv2Model, ScoreMLP, ScoreUNet
from ncsn_pipeline.networks.modeling_ncsn import ARCHITECTURES


def ddpm(classes=None, **settings):
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=classes,
    )  # fmt: skip
    return DDPMScoreModel(dict(unet.config), {}, **settings)


IMAGE = (1, 8, 8)
NETWORKS = {
    "unet": (lambda: ScoreUNet(8, 1, (8, 8)), IMAGE, False),
    "unet, null class": (lambda: ScoreUNet(8, 1, (8, 8), num_class_embeds=3), IMAGE, False),
    "unet, classes": (lambda: ScoreUNet(8, 1, (8, 8), num_class_embeds=3), IMAGE, True),
    "ncsn": (lambda: NCSNModel(8, 1, 8, sigmas=[1.0, 0.5, 0.1]), IMAGE, False),
    "ncsn, interpolated": (lambda: NCSNModel(8, 1, 8, interpolate_levels=True), IMAGE, False),
    "ncsnv2": (lambda: NCSNv2Model(8, 1, 8), IMAGE, False),
    "ddpm": (ddpm, IMAGE, False),
    "ddpm, null class": (lambda: ddpm(4, null_class=True), IMAGE, False),
    "ddpm, classes": (lambda: ddpm(4), IMAGE, True),
    "mlp": (lambda: ScoreMLP(2, 16), (2,), False),
}


EVERY = [*((name, True) for name in NETWORKS), ("unet", False), ("ncsn", False), ("mlp", False)]
QUICK = [("unet, classes", True), ("ncsn", True), ("ddpm, null class", True), ("mlp", True), ("mlp", False)]


@pytest.mark.parametrize(
    ("name", "each"), [each if each in QUICK else pytest.param(*each, marks=pytest.mark.check) for each in EVERY]
)
def test_an_exported_network_takes_any_number_of_samples(name, each, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "ncsnv2", ARCHITECTURES["ncsnv2"][:1])  # its whole graph takes half a minute
    make, shape, labelled = NETWORKS[name]
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))

    def arguments(count):
        sigma = torch.full((count,), 0.5) if each else torch.tensor(0.5)
        labels = {"class_labels": torch.arange(count) % 3} if labelled else {}
        return {"sample": torch.rand(count, *shape), "timestep": sigma} | labels

    batch = Dim("batch", min=2, max=63)  # a U-Net of diffusers takes another way from 64 on
    sizes = {name: {0: batch} if value.dim() else None for name, value in arguments(3).items()}
    program = export(network, (), arguments(3), dynamic_shapes=sizes).module()
    for count in (2, 5):
        given = arguments(count)
        with torch.no_grad():
            expected = network(**given).sample
            torch.testing.assert_close(program(**given).sample, expected, rtol=1e-4, atol=1e-4)
