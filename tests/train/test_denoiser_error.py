"""r²(sigma) of held-out images, measured by training into the network's config."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState

from ncsn_pipeline import NCSNPipeline, NCSNPosteriorPipeline, ScoreUNet, as_score_function
from ncsn_pipeline.data import load_images
from ncsn_pipeline.sampling import DenoiserError, measured_denoiser_error
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import Purpose, generator_for
from ncsn_pipeline.training.network import described
from ncsn_pipeline.training.validation import measure_denoiser_error


@pytest.fixture(scope="module", autouse=True)
def few_denoised_images():
    """Here on as many images as elsewhere."""


def test_an_untrained_network_has_the_error_of_a_gaussian_denoiser(tmp_path):
    """D = m + k (x - m) with k = sd² / (sigma² + sd²): r² = (1 - k)² mean (x - m)² + k² sigma²."""
    config = TrainConfig(dataset_name="digits", output_dir=str(tmp_path), sigma_max=4.0, num_levels=50)
    network, held_out = ScoreUNet(8, block_out_channels=(8,), sigma_data=0.4, data_mean=0.3), load_images("digits")
    measure_denoiser_error(config, network, held_out)
    sigma, found = torch.tensor(network.config.denoiser_error).double().unbind(1)
    k = 0.16 / (sigma**2 + 0.16)
    squares = (held_out.float_images()[:100].double() - 0.3).square().mean()
    expected = (1 - k) ** 2 * squares + k**2 * sigma**2
    assert len(sigma) == 20 and sigma[0] == 4 and sigma[-1].item() == pytest.approx(config.sigma_min)
    torch.testing.assert_close(found, expected, rtol=0.08, atol=0)  # 6,400 pixels, whose noise is 1.8 %
    assert "denoiser_error" not in described(network)


def test_a_run_measures_it_on_images_that_it_did_not_train_on(tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    config = TrainConfig(
        dataset_name="digits", output_dir=str(tmp_path), block_out_channels=(8, 16), sigma_max=5.0, num_levels=8,
        train_batch_size=16, max_train_steps=3, num_validation_images=16, num_sample_images=2, report_to="none",
    )  # fmt: skip
    training.train(config)
    pipe = NCSNPipeline.from_pretrained(tmp_path)
    rows = pipe.unet.config.denoiser_error
    assert rows == json.loads((tmp_path / "unet" / "config.json").read_text(encoding="utf-8"))["denoiser_error"]
    x = load_images("digits", split="test").float_images()[:100]  # trained on is the other split
    again = measured_denoiser_error(
        as_score_function(pipe.unet), x, pipe.scheduler.sigmas, generator_for(config.seed, Purpose.DENOISER_ERROR), 16
    )
    assert torch.allclose(torch.tensor(rows), torch.tensor(again.rows), rtol=1e-4)
    posterior = NCSNPosteriorPipeline.from_pipe(pipe)
    assert posterior._denoiser_error(0.3) == DenoiserError(rows)(0.3)
