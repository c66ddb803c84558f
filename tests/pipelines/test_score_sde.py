"""Variance-exploding networks of score-SDE, from the folders that diffusers wrote for them."""

import json

import pytest
import torch
from diffusers import ScoreSdeVePipeline, ScoreSdeVeScheduler, UNet2DModel

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline, as_score_function
from ncsn_pipeline.evaluation.held_out import denoising_losses


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network():
    """NCSN++ in small: Fourier embedding of sigma, resampled skips of the input and the output."""
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=16, center_input_sample=True, time_embedding_type="fourier", freq_shift=0, flip_sin_to_cos=True,
        block_out_channels=(32, 32), layers_per_block=1, mid_block_scale_factor=2**0.5,
        down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
    ).eval()  # fmt: skip


def load(network, scheduler, folder):
    ScoreSdeVePipeline(network, scheduler).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"] == "ScoreSdeVePipeline"
    pipeline = NCSNPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_the_ladder_is_taken_over(network, tmp_path, logged):
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=12, sigma_min=0.02, sigma_max=30.0)
    pipeline = load(network, scheduler, tmp_path / "ve")
    assert isinstance(pipeline.unet, UNet2DModel)
    assert isinstance(pipeline.scheduler, ConsistentAnnealedScheduler)
    torch.testing.assert_close(pipeline.scheduler.sigmas, scheduler.discrete_sigmas.flip(0))
    pipeline(1, generator=seeded())
    assert pipeline.num_timesteps == 12

    pipeline.scheduler = AnnealedLangevinScheduler.from_config(pipeline.scheduler.config, steps_per_level=2)
    assert "snr" not in logged.text  # nor what else the corrector of score-SDE is set by
    images = pipeline(2, generator=seeded(), output_type="pt").images
    assert pipeline.num_timesteps == 25
    assert images.shape == (2, 3, 16, 16)
    assert images.isfinite().all()


def test_every_sigma_reaches_the_network_as_it_is(network, tmp_path):
    """At sigma below 1 an integer would be 0, and its logarithm -inf."""
    pipeline = load(network, ScoreSdeVeScheduler(4, sigma_min=0.01, sigma_max=0.5), tmp_path / "ve")
    seen = []
    pipeline.unet.time_proj.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0][0].item()))
    pipeline(1, generator=seeded())
    assert seen == pytest.approx(pipeline.scheduler.sigmas.tolist())


def test_the_output_is_the_score_as_it_is(network, tmp_path):
    pipeline = load(network, ScoreSdeVeScheduler(4, sigma_max=5.0), tmp_path / "ve")
    x, sigma = torch.randn(2, 3, 16, 16, generator=seeded()), torch.tensor([0.3, 4.0])
    expected = network(x, sigma).sample
    assert torch.equal(as_score_function(pipeline.unet)(x, sigma), expected)
    for i in range(2):
        score = pipeline._score(None)(x[i : i + 1], sigma[i])
        torch.testing.assert_close(score, expected[i : i + 1], rtol=1e-4, atol=1e-5)


def test_pictures_are_those_of_diffusers_own_pipeline(network, tmp_path):
    """Where both ends of the ladder meet hardly any noise is put back, and both samplers take the same steps."""
    scheduler = ScoreSdeVeScheduler(2, sigma_min=0.49999, sigma_max=0.5, correct_steps=0)
    theirs = ScoreSdeVePipeline(network, scheduler)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(2, num_inference_steps=2, generator=seeded(), output_type="np").images
    ours = load(network, scheduler, tmp_path / "ve")(2, generator=seeded(), output_type="np").images
    assert expected.std() > 0.2
    assert abs(ours - expected).max() < 0.02


def test_it_can_be_loaded_with_another_range_of_data(network, tmp_path):
    load(network, ScoreSdeVeScheduler(2, sigma_max=5.0), tmp_path / "ve")
    pipeline = NCSNPipeline.from_pretrained(tmp_path / "ve", data_min=-1.0, data_max=1.0)
    assert (pipeline.config.data_min, pipeline.config.data_max) == (-1, 1)


def test_its_loss_is_measured_over_the_schedulers_levels(network, tmp_path):
    """The network's configuration names none."""
    pipeline = load(network, ScoreSdeVeScheduler(4, sigma_min=0.02, sigma_max=30.0), tmp_path / "ve")
    losses = denoising_losses(pipeline, torch.zeros(2, 3, 16, 16, dtype=torch.uint8) + 100, None)
    assert next(iter(losses)).startswith("sigma 0.02 to") and list(losses)[-1].endswith("to 30")
