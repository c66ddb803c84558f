"""The choice of network: what is built for which settings, and from which trained models a run may start."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    NCSNModel,
    NCSNv2Model,
    ScoreUNet,
)
from ncsn_pipeline.data import ImageData
from ncsn_pipeline.pipelines import from_ddpm
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.network import (
    build_network,
    build_pipeline,
    described,
    load_trained,
    measure_data,
    num_classes,
)

LABELLED = ImageData(torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8), torch.arange(6) % 2, ("a", "b"))
COMMON = {"dataset_name": "digits", "sigma_max": 2.0, "sigma_data": 0.3}
REFINENET = {"base_channels": 4, "use_labels": False}
LADDER = {"sigma_distribution": "levels", "num_levels": 6}


def build(**settings):
    config = TrainConfig(**(COMMON | settings))
    trained = load_trained(config)
    config = measure_data(config, LABELLED, trained)
    return config, build_network(config, LABELLED, trained)


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({"block_out_channels": (8, 16)}, ScoreUNet, {"num_class_embeds": 2, "sigma_data": 0.3, "in_channels": 3}),
        ({"network": "ncsn"} | REFINENET | LADDER, NCSNModel, {"num_levels": 6, "base_channels": 4, "sigma_max": 2.0}),
        ({"network": "ncsnv2"} | REFINENET, NCSNv2Model, {"architecture": "ncsnv2", "sigma_min": 0.01}),
        ({"network": "ncsnv2_deeper"} | REFINENET, NCSNv2Model, {"architecture": "ncsnv2_deeper"}),
        ({"network": "ncsnv2_deepest"} | REFINENET, NCSNv2Model, {"architecture": "ncsnv2_deepest"}),
    ],
)
def test_network_is_the_named_one_and_is_told_what_it_needs(settings, kind, expected):
    _, network = build(**settings)
    assert isinstance(network, kind)
    assert {name: network.config[name] for name in expected} == expected
    assert network.config.sample_size == 16
    assert num_classes(network) == (2 if kind is ScoreUNet else None)


def test_how_frequent_classes_are_is_measured_and_no_setting_of_a_run(tmp_path):
    config, network = build(block_out_channels=(8, 16))
    assert network.config.class_frequencies == [0.5, 0.5]
    build_pipeline(config, network).save_pretrained(tmp_path)
    others = replace(LABELLED, labels=torch.tensor([0, 0, 1, 0, 0, 0]))
    config, _ = build(init_from=str(tmp_path))
    for of_checkpoint in (None, described(network)):
        trained = None if of_checkpoint else load_trained(config)
        again = build_network(config, others, trained, of_checkpoint)
        assert again.config.class_frequencies == [0.833333, 0.166667]
        trained = None if of_checkpoint else load_trained(config)
        assert build_network(config, others, trained, of_checkpoint, whole=False).config.class_frequencies is None


def test_pipeline_has_the_named_sampler():
    config, network = build(network="ncsnv2", **REFINENET, num_levels=7)
    scheduler = build_pipeline(config, network).scheduler
    assert isinstance(scheduler, ConsistentAnnealedScheduler)
    assert len(scheduler.timesteps) == 7

    langevin = {"scheduler": "annealed_langevin", "steps_per_level": 3, "step_size": 1e-5, "initial": "uniform"}
    config, network = build(network="ncsnv2", **REFINENET, num_levels=7, **langevin, denoise=False)
    scheduler = build_pipeline(config, network).scheduler
    assert isinstance(scheduler, AnnealedLangevinScheduler)
    assert len(scheduler.timesteps) == 21
    assert (scheduler.step_size, scheduler.config.initial) == (1e-5, "uniform")


def test_a_run_starts_from_a_trained_model_of_its_own_kind(tmp_path):
    settings = {"network": "ncsn"} | REFINENET | LADDER
    config, network = build(**settings)
    build_pipeline(config, network).save_pretrained(tmp_path)
    start = {"init_from": str(tmp_path)}
    _, again = build(**settings, **start)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))
    with pytest.raises(ValueError, match="network is ncsnv2, and the model of .* with ncsn. Set it to that"):
        build(network="ncsnv2", **REFINENET, **start)
    with pytest.raises(ValueError, match="num_levels is 5, and the model of .* was trained with 6"):
        build(**(settings | {"num_levels": 5}), **start)

    config, network = build(network="ncsnv2_deeper", **REFINENET)
    build_pipeline(config, network).save_pretrained(tmp_path / "v2")
    _, again = build(network="ncsnv2_deeper", **REFINENET, init_from=str(tmp_path / "v2"), sigma_min=0.1)
    assert again.config.sigma_min == 0.1
    with pytest.raises(ValueError, match="network is score_unet, and .* with ncsnv2_deeper"):
        build(init_from=str(tmp_path / "v2"))


def test_a_network_of_another_kind_is_no_start(tmp_path):
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    unet = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8,), norm_num_groups=4, **blocks
    )
    from_ddpm(DDPMPipeline(unet, DDPMScheduler(10, beta_end=0.5))).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="A DDPMScoreModel cannot be trained here; networks are score_unet, ncsn"):
        build(init_from=str(tmp_path))


def test_classes_may_be_renamed_at_a_start_and_not_within_a_run(tmp_path):
    build_pipeline(*build(block_out_channels=(8, 16))).save_pretrained(tmp_path)
    start = {"init_from": str(tmp_path)}
    others = replace(LABELLED, label_names=("b", "a"))
    config, network = build(**start)
    known = described(network)
    assert described(build_network(config, LABELLED, None, known)) == known  # the sizes are the model's
    with pytest.raises(ValueError, match="names of the classes is .*'0': 'b'.*, and the checkpoint .*'0': 'a'"):
        build_network(config, others, None, known)
    assert build_network(config, others, load_trained(config)).config.id2label == {0: "b", 1: "a"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_out_channels": (8, 24)}, r"block_out_channels is \[8, 24\], and .* trained with \[8, 16\]"),
        ({"layers_per_block": 2}, "layers_per_block is 2, and .* trained with 1"),
        ({"use_labels": False}, r"number of classes \(use_labels\) is None, and .* trained with 2"),
        ({"sigma_data": 0.4}, "sigma_data is 0.4, and .* trained with 0.3"),
        ({"data_mean": 0.25}, "data_mean is 0.25, and .* trained with 0.5"),
        ({"data_max": 2.0}, "data_max is 2.0, and .* trained with 1.0"),
    ],
)
def test_settings_that_a_trained_model_does_not_fit_are_named(tmp_path, settings, message):
    start = {"block_out_channels": (8, 16), "data_mean": 0.5}
    build_pipeline(*build(**start)).save_pretrained(tmp_path)
    build(init_from=str(tmp_path), data_mean=0.5)  # the size of the network is the model's
    with pytest.raises(ValueError, match=message):
        build(**(start | settings), init_from=str(tmp_path))
