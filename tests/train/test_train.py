"""The training script: it learns, its folder samples, it resumes to the same weights, and it refuses bad settings."""

import itertools
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ncsn_pipeline import AnnealedLangevinScheduler, NCSNPipeline
from ncsn_pipeline.data import load_train_and_held_out
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.run import learning_rate_at
from tests.processes import run as run_process

SMALL = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_max": 5.0,
    "num_levels": 8,
    "train_batch_size": 16,
    "lr_warmup_steps": 5,
    "ema_decay": 0.9,
    "validation_steps": 1000,
    "num_validation_images": 64,
    "num_sample_images": 4,
    "checkpointing_steps": 1000,
    "report_to": "none",
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def run(output_dir, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(TrainConfig(output_dir=str(output_dir), **(SMALL | settings)))
    return Path(output_dir)


def launch(*flags, processes=1, root):
    """The script as a user starts it."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    launcher += ["--multi_gpu"] if processes > 1 else ["--cpu"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    script = [*launcher, "train/train.py", *map(str, flags)]
    return run_process(script, cwd=root, env=environment)


def same_weights(one, two):
    one, two = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_launched_run_learns_and_its_folder_samples(tmp_path, repo_root, victims):
    """Two processes, started as users start them; taken up half-way, two end with the same weights."""
    output = tmp_path / "digits"
    flags = ["--config", "digits", "--output_dir", output, "--max_train_steps", 60, "--train_batch_size", 32]
    flags += ["--lr_decay_steps", 20, "--lr_warmup_steps", 10, "--validation_steps", 30, "--num_levels", 10]
    flags += ["--block_out_channels", 16, 32, "--checkpointing_steps", 30, "--ema_decay", 0.9]
    result = launch(*flags, processes=2, root=repo_root)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "64 images per step, 2 process(es)" in result.stdout
    assert re.search(r"(About \d+ min|Less than a minute) for 60 steps, by a trial", result.stdout)

    events = EventAccumulator(str(output / "logs" / "ncsn"), size_guidance={"images": 0}).Reload()
    losses = [event.value for event in events.Scalars("held_out/loss")]
    assert [event.step for event in events.Scalars("held_out/loss")] == [30, 60]
    assert losses[1] < losses[0] < 0.5  # 0.5 is the untrained network's: unit weight, unit target, half the square
    assert len([tag for tag in events.Tags()["scalars"] if tag.startswith("held_out/sigma")]) == 8
    assert events.Tags()["images"]
    assert sorted(path.name for path in (output / "samples").iterdir()) == ["step-0000030.png", "step-0000060.png"]
    assert {path.name for path in output.glob("checkpoint-*")} == {"checkpoint-30", "checkpoint-60"}
    assert json.loads((output / "train_config.json").read_text(encoding="utf-8"))["max_train_steps"] == 60

    pipeline = NCSNPipeline.from_pretrained(output)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.config.num_class_embeds == 10
    make = lambda: pipeline(6, generator=torch.Generator().manual_seed(0), output_type="pt").images  # noqa: E731
    images = make()
    assert images.shape == (6, 1, 8, 8)
    assert torch.equal(images, make())
    pipeline.scheduler = AnnealedLangevinScheduler.from_config(pipeline.scheduler.config)
    assert make().isfinite().all()

    resumed = Path(shutil.copytree(output, tmp_path / "resumed"))
    shutil.rmtree(resumed / "checkpoint-60")
    shutil.rmtree(resumed / "unet")
    words = [*map(str, flags), "--output_dir", str(resumed), "--resume_from_checkpoint", "latest"]
    victims.train_two(TrainConfig.from_command_line(words), tmp_path / "peers")
    assert same_weights(output, resumed)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resumed_run_ends_with_the_same_weights(tmp_path, accumulation):
    """Batches, noise, dropped labels, learning rate and average go on where they were; 4 batches are an epoch."""
    settings = {"train_batch_size": 375, "max_train_steps": 7, "lr_decay_steps": 4, "checkpointing_steps": 3}
    settings |= {"gradient_accumulation_steps": accumulation, "checkpoints_total_limit": 3}
    whole = run(tmp_path / "whole", **settings)
    resumed = Path(shutil.copytree(whole, tmp_path / "resumed"))
    for gone in ("checkpoint-6", "checkpoint-7", "unet"):
        shutil.rmtree(resumed / gone)
    run(resumed, **settings, resume_from_checkpoint="latest")
    assert same_weights(whole, resumed)
    assert not same_weights(whole, run(tmp_path / "other", **settings, seed=1))


def test_old_checkpoints_are_deleted_and_named_ones_are_found(tmp_path):
    output = run(tmp_path, max_train_steps=4, checkpointing_steps=1, checkpoints_total_limit=2)
    assert {path.name for path in output.glob("checkpoint*")} == {"checkpoint-3", "checkpoint-4"}
    run(tmp_path, max_train_steps=5, resume_from_checkpoint="checkpoint-3")
    assert (output / "checkpoint-5").is_dir()
    with pytest.raises(ValueError, match="no checkpoint 'checkpoint-9'; .* checkpoint-4, checkpoint-5"):
        run(tmp_path, max_train_steps=5, resume_from_checkpoint="checkpoint-9")


def test_colour_folder_without_labels_and_a_start_from_trained_weights(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(tmp_path / "data" / f"{i}.png")
    colour = {"dataset_name": None, "train_data_dir": str(tmp_path / "data"), "resolution": 9, "sigma_max": None}
    colour |= {"data_min": -1.0, "sigma_distribution": "levels", "loss_weight": "sigma_squared"}
    output = run(tmp_path / "first", **colour, max_train_steps=3)
    pipeline = NCSNPipeline.from_pretrained(output)
    assert pipeline.unet.config.in_channels == 3
    assert pipeline.unet.config.num_class_embeds is None
    assert pipeline.config.data_min == -1
    images = load_train_and_held_out(colour["train_data_dir"], resolution=9)[0].float_images(-1, 1)
    assert pipeline.unet.config.sigma_max == pytest.approx(torch.pdist(images.flatten(1)).max().item(), rel=1e-5)
    assert pipeline.unet.config.sigma_data == pytest.approx(images.std().item(), rel=1e-3)
    assert pipeline.unet.config.data_mean == pytest.approx(images.mean().item(), rel=1e-3)

    colour["sigma_max"] = 20.0
    second = run(tmp_path / "second", **colour, max_train_steps=1, learning_rate=1e-12, init_from=str(output))
    before, after = load_file(output / WEIGHTS), load_file(second / WEIGHTS)
    assert all(torch.allclose(before[name], after[name], atol=1e-7) for name in before)

    assert NCSNPipeline.from_pretrained(second).unet.config.sigma_max == 20
    with pytest.raises(ValueError, match="data_min is 0.0, and the model of .* was trained with -1.0"):
        run(tmp_path / "third", **(colour | {"data_min": 0.0}), max_train_steps=1, init_from=str(output))
    for path in (tmp_path / "data").glob("*.png"):
        Image.open(path).resize((12, 10)).save(path)
    with pytest.raises(ValueError, match="not square"):
        run(tmp_path / "fourth", **(colour | {"resolution": None}), max_train_steps=1)


def test_new_run_does_not_mix_with_an_old_one_and_settings_count_on_resuming(tmp_path):
    run(tmp_path, max_train_steps=4, checkpointing_steps=2, checkpoints_total_limit=None)
    with pytest.raises(ValueError, match="holds checkpoints"):
        run(tmp_path, max_train_steps=4)
    before = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    frozen = {"learning_rate": 1e-12, "resume_from_checkpoint": "checkpoint-2"}
    run(tmp_path, max_train_steps=3, **frozen)
    assert {path.name for path in tmp_path.glob("checkpoint*")} == {"checkpoint-2", "checkpoint-3"}
    after = load_file(tmp_path / "checkpoint-3" / "model.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-7) for name in before)


def test_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path):
    with pytest.raises(FloatingPointError, match="no checkpoint from before; begin anew with a learning_rate below"):
        run(tmp_path, max_train_steps=10, learning_rate=1e30, lr_warmup_steps=0, logging_steps=1, use_ema=False)
    assert not list(tmp_path.glob("checkpoint*")) and not (tmp_path / "unet").exists()


@pytest.mark.parametrize("asked_to_stop", [False, True], ids=["due", "asked to stop"])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch, asked_to_stop):
    """One derivative overflows in the last step before a checkpoint; no loss tells of it yet."""
    clip, steps = Accelerator.clip_grad_norm_, itertools.count(1)
    broken = 3 if asked_to_stop else 4

    def overflow(self, parameters, norm):
        parameters = list(parameters)
        if next(steps) == broken:
            parameters[0].grad.view(-1)[0] = torch.inf
            if asked_to_stop:
                signal.raise_signal(signal.SIGTERM)
        return clip(self, parameters, norm)

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", overflow)
    words = f"Weights are not finite at step {broken}. Checkpoints hold the weights from before; resume from one with"
    with pytest.raises(FloatingPointError, match=words):
        run(tmp_path, max_train_steps=8, checkpointing_steps=2, checkpoints_total_limit=1, logging_steps=50)
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint-2"]
    for file in (tmp_path / "checkpoint-2" / "model.safetensors", tmp_path / WEIGHTS):
        assert all(weight.isfinite().all() for weight in load_file(file).values())


def test_flags_replace_the_files_values():
    path = f"{Path(training.__file__).parent}/configs/digits.yaml"
    flags = ["--learning_rate", "0.5", "--block_out_channels", "8", "16", "--no-use_ema"]
    config = TrainConfig.from_command_line(["--config", path, *flags])
    assert TrainConfig.from_command_line(["--config", path, "--train_data_dir", "mine"]).source == "mine"
    assert (config.learning_rate, config.block_out_channels, config.use_ema) == (0.5, (8, 16), False)
    assert (config.dataset_name, config.max_train_steps) == ("digits", 800)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_committed_configurations_are_valid(name):
    config = TrainConfig.from_command_line(["--config", f"{Path(training.__file__).parent}/configs/{name}.yaml"])
    assert config.source
    assert config.output_dir == f"runs/{name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset_name: digits\nlerning_rate: 1", "has no setting lerning_rate"),
        ("dataset_name: digits\ntrain_batch_size: many", "train_batch_size is 'many'"),
        ("dataset_name: digits\ntrain_batch_size: 0", "train_batch_size is 0; it should be greater than or equal to 1"),
        ("dataset_name: digits\nlearning_rate: -1", "learning_rate is -1; it should be greater than 0"),
        ("dataset_name: digits\nsigma_max: 0.001", "sigma_max must exceed"),
        ("dataset_name: digits\nsigma_distribution: cosine", "'mixture', 'lognormal'"),
        ("max_train_steps: 1", "Give one of dataset_name"),
        ("dataset_name: [digits", "is not YAML"),
        ("digits", "must hold settings"),
    ],
)
def test_bad_settings_are_refused(tmp_path, capsys, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        TrainConfig.from_command_line(["--config", str(path)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_learning_rate_rises_holds_and_falls():
    config = TrainConfig(
        **SMALL | {"lr_warmup_steps": 4, "lr_decay_steps": 5, "max_train_steps": 20, "learning_rate": 1.0}
    )
    factors = [learning_rate_at(step, config) for step in range(20)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1, 1]
    assert factors[-6:] == pytest.approx([1, 1, 0.8, 0.6, 0.4, 0.2])
