"""The papers' recipes: their numbers, and every one of them trained for a few steps at reduced width."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file

from ncsn_pipeline import NCSNPipeline, step_size_for_variance
from ncsn_pipeline.data import ImageData
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.network import build_network, build_pipeline

CONFIGS = Path(training.__file__).parent / "configs"
# name: side, channels, network evaluations of the paper's sampler, updates, images per step
RECIPES = {
    "ncsn_mnist": (28, 1, 1000, 200_000, 128),
    "ncsn_cifar10": (32, 3, 1000, 200_000, 128),
    "ncsnv2_cifar10": (32, 3, 1161, 300_000, 128),
    "ncsnv2_celeba64": (64, 3, 2501, 210_000, 128),
    "ncsnv2_ffhq256": (256, 3, 6934, 80_000, 32),
}
LARGE = ("ncsn_cifar10", "ncsnv2_ffhq256")
# The objectives that are no recipe's own, on small real digits.
VARIANTS = {
    "sliced": ["--objective", "sliced", "--sigma_max", 5, "--num_projections", 2, "--mixed_precision", "bf16"],
    "sliced ncsnv2": ["--objective", "sliced", "--sigma_max", 5, "--network", "ncsnv2", "--no-use_labels"],
    "single_sigma": ["--objective", "single_sigma", "--sigma_min", 0.3, "--scheduler", "annealed_langevin"],
    "single_sigma ncsn": ["--objective", "single_sigma", "--sigma_min", 0.3, "--network", "ncsn", "--no-use_labels"],
}
SHORT = ["--logging_steps", 1, "--checkpointing_steps", 1, "--num_validation_images", 8, "--num_sample_images", 1]
SHORT += ["--train_batch_size", 2, "--report_to", "none"]
WIDTH = 8


def settings(name, *flags):
    return TrainConfig.from_command_line(["--config", str(CONFIGS / f"{name}.yaml"), *map(str, flags)])


def pictures(folder, size, channels, count=8):
    """A folder of smooth random pictures."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse if channels == 3 else coarse[..., 0])
        picture.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def train(*flags):
    """Trains, and returns the weights after the first update and after the last one, and the saved pipeline."""
    AcceleratorState._reset_state(reset_partial_state=True)
    config = TrainConfig.from_command_line([*map(str, flags), *map(str, SHORT)])
    training.train(config)
    output = Path(config.output_dir)
    last = config.max_train_steps
    weights = [load_file(output / f"checkpoint-{step}" / "model.safetensors") for step in (last - 1, last)]
    pipeline = NCSNPipeline.from_pretrained(output)
    pipeline.set_progress_bar_config(disable=True)
    return weights, pipeline


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.check) if name in LARGE else name for name in RECIPES]
)
def test_recipe_trains_saves_and_samples(tmp_path, name):
    size, channels, *_ = RECIPES[name]
    folder = pictures(tmp_path / "pictures", size, channels)
    flags = ["--config", CONFIGS / f"{name}.yaml", "--train_data_dir", folder, "--output_dir", tmp_path / "out"]
    flags += ["--base_channels", WIDTH, "--max_train_steps", 2 if size == 256 else 3, "--held_out_fraction", 0.25]
    # A few levels are enough for the grid; the network of NCSN has its ten.
    flags += ["--steps_per_level", 1, *([] if name.startswith("ncsn_") else ["--num_levels", 3])]
    (before, after), pipeline = train(*flags)
    assert all(weights.isfinite().all() for weights in after.values())
    assert [key for key in before if torch.equal(before[key], after[key])] == []
    images = pipeline(1, num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="pt").images
    assert images.shape == (1, channels, size, size)
    assert images.isfinite().all()


@pytest.mark.parametrize("name", VARIANTS)
def test_other_objectives_train_save_and_sample(tmp_path, name):
    flags = ["--dataset_name", "digits", "--output_dir", tmp_path, "--max_train_steps", 3, "--lr_warmup_steps", 0]
    flags += ["--base_channels", WIDTH] if "ncsn" in name else ["--block_out_channels", 8, 16]
    flags += [] if "single" in name else ["--num_levels", 4]
    (before, after), pipeline = train(*flags, *VARIANTS[name])
    assert all(weights.isfinite().all() for weights in after.values())
    assert [key for key in before if torch.equal(before[key], after[key])] == []
    assert pipeline(1, output_type="pt").images.isfinite().all()
    assert pipeline.scheduler.config.num_train_timesteps == (1 if "single" in name else 4)
    if "single" in name:
        assert pipeline.scheduler.config.sigma_max == pipeline.scheduler.config.sigma_min == 0.3


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_the_papers_numbers(name):
    size, channels, evaluations, updates, batch = RECIPES[name]
    config = settings(
        name, "--base_channels", WIDTH, *([] if "cifar" in name or "mnist" in name else ["--train_data_dir", "x"])
    )
    assert settings(name, "--train_data_dir", "x").base_channels == (64 if name == "ncsn_mnist" else 128)
    network = build_network(config, ImageData(torch.zeros(1, channels, size, size, dtype=torch.uint8)))
    scheduler = build_pipeline(config, network).scheduler
    assert len(scheduler.timesteps) == evaluations
    assert scheduler.config.initial == "uniform"
    assert (config.max_train_steps, config.train_batch_size) == (updates, batch)
    assert (config.resolution, config.output_dir) == (size, f"runs/{name}")
    assert (config.adam_beta1, config.adam_beta2, config.adam_weight_decay) == (0.9, 0.999, 0.0)
    # The papers sum the loss over dimensions, so their epsilon is so many times larger.
    epsilon = 1e-3 if name == "ncsnv2_ffhq256" else 1e-8
    assert config.adam_epsilon * channels * size**2 == pytest.approx(epsilon, rel=0.03)
    assert config.use_ema == name.startswith("ncsnv2")
    if config.use_ema:
        # Technique 4, from which the papers round.
        best, _ = step_size_for_variance(scheduler.sigmas, config.steps_per_level)
        assert config.step_size == pytest.approx(best, rel=0.05)
    else:
        assert config.step_size == 2e-5
