"""What trackers are told is true, hidden again where a run was cut off, and free of secrets."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ncsn_pipeline import ScoreUNet
from ncsn_pipeline.data import load_images
from ncsn_pipeline.training import tracking
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.command_line import shown_path, training_command, without_flags
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import Purpose, generator_for
from ncsn_pipeline.training.network import build_pipeline
from ncsn_pipeline.training.objective import held_out_levels, noise_bands
from ncsn_pipeline.training.pixel_quality import PixelDistance, QualityProbe
from ncsn_pipeline.training.run_record import RunRecord
from ncsn_pipeline.training.tracking import band_names

SMALL = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_max": 5.0,
    "sigma_data": 0.3,
    "num_levels": 8,
    "train_batch_size": 16,
    "lr_warmup_steps": 5,
    "ema_decay": 0.9,
    "logging_steps": 1,
    "num_validation_images": 64,
    "num_sample_images": 4,
}


def run(output_dir, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(TrainConfig(output_dir=str(output_dir), **(SMALL | settings)))
    return Path(output_dir)


def events(output):
    return EventAccumulator(str(output / "logs" / "ncsn"), size_guidance={"images": 0, "scalars": 0}).Reload()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Six steps, then again from the checkpoint after the fourth to the eighth."""
    output = tmp_path_factory.mktemp("tracked") / "run"
    settings = {"validation_steps": 4, "checkpointing_steps": 4, "quality_samples": 12, "hub_token": "hf_secret"}
    run(output, max_train_steps=6, **settings)
    run(output, max_train_steps=8, resume_from_checkpoint="checkpoint-4", **settings)
    return output


def test_tensorboard_has_losses_bands_quality_grids_and_settings(tracked):
    log = events(tracked)
    scalars = set(log.Tags()["scalars"])
    assert {"train/loss", "train/learning_rate", "held_out/loss", "quality/pixel distance"} <= scalars
    bands = {tag.removeprefix("held_out/") for tag in scalars if tag.startswith("held_out/sigma")}
    assert len(bands) == 8
    assert {tag.removeprefix("train/") for tag in scalars if tag.startswith("train/sigma")} <= bands
    assert [event.step for event in log.Images("samples")] == [4, 8]
    distances = [event.value for event in log.Scalars("quality/pixel distance")]
    real = [event.value for event in log.Scalars("quality/pixel distance of real images")]
    assert real[0] == real[-1] < min(distances)
    settings = next((tracked / "logs").rglob("hparams.yml")).read_text(encoding="utf-8")
    assert "learning_rate: 0.0015" in settings


def test_steps_after_the_checkpoint_that_a_run_went_on_from_are_hidden(tracked):
    assert [event.step for event in events(tracked).Scalars("train/loss")] == list(range(1, 9))


def test_token_is_nowhere(tracked):
    files = [path for path in tracked.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if b"hf_secret" in path.read_bytes()]
    settings = json.loads((tracked / "train_config.json").read_text(encoding="utf-8"))
    assert settings["sigma_max"] == 5
    assert "hub_token" not in settings
    assert "hf_secret" not in repr(TrainConfig(**SMALL, hub_token="hf_secret"))


@pytest.mark.parametrize(
    "levels",
    [{}, {"sigma_distribution": "levels"}, {"sigma_distribution": "levels", "num_levels": 3}],
    ids=["continuous", "levels", "short ladder"],
)
def test_band_losses_are_the_means_of_each_band(levels):
    """The held-out levels come with the number of their band."""
    config = TrainConfig(**(SMALL | levels))
    (sigma, band), names = held_out_levels(config), band_names(*noise_bands(config))
    loss = torch.rand(len(sigma))
    AcceleratorState._reset_state(reset_partial_state=True)
    losses = tracking.BandLosses(*noise_bands(config), torch.device("cpu"))
    for part in torch.randperm(len(sigma)).split(10):
        losses.add(loss[part], sigma[part])
    means = losses.take(Accelerator(cpu=True))
    assert means.pop("train/loss") == pytest.approx(loss.mean().item(), rel=1e-6)
    assert means == pytest.approx({f"train/{name}": loss[band == i].mean().item() for i, name in enumerate(names)})
    losses.add(torch.tensor([2.0]), torch.tensor([config.sigma_min]))
    assert losses.take(Accelerator(cpu=True)) == {"train/loss": 2.0, f"train/{names[0]}": 2.0}


def test_trackers_are_named_and_checked_before_anything_else(tmp_path, monkeypatch):
    assert tracking.tracker_names(None) == tracking.tracker_names("none") == tracking.tracker_names(()) == []
    assert (
        tracking.tracker_names("tensorboard, tensorboard")
        == tracking.tracker_names(("tensorboard",))
        == ["tensorboard"]
    )
    with pytest.raises(ValueError, match="'tensorbord'; there are: tensorboard, wandb, trackio, none"):
        run(tmp_path / "run", report_to="tensorbord")
    monkeypatch.setitem(tracking.MODULES, "wandb", ("a_module_that_is_nowhere",))
    with pytest.raises(ValueError, match="not installed: pip install"):
        run(tmp_path / "run", report_to="tensorboard,wandb")
    assert not (tmp_path / "run").exists()


def test_trackers_from_a_file_and_from_flags(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("dataset_name: digits\nreport_to: [tensorboard, trackio]\n", encoding="utf-8")
    config = TrainConfig.from_command_line(["--config", str(path)])
    assert config.report_to == ("tensorboard", "trackio")
    assert TrainConfig.from_command_line(config.flags()).report_to == "tensorboard,trackio"
    assert TrainConfig.from_command_line(["--config", str(path), "--report_to", "none"]).report_to is None


def test_flags_give_the_same_settings_again():
    config = TrainConfig(**SMALL | {"use_ema": False, "push_to_hub": True, "report_to": "none", "learning_rate": 3e-7})
    assert TrainConfig.from_command_line(config.flags()) == config


def test_command_is_without_secrets_and_folders_without_what_lies_above(monkeypatch):
    for name in ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    config = TrainConfig(**SMALL)
    words = ["--train_data_dir=/home/me/pictures", "--hub_token", "hf_secret", "--seed", "3", "--hub_token=hf_secret"]
    words += ["--hub-token", "hf_secret", "--hub-token=hf_secret", "--resume-from-checkpoint", "checkpoint-2"]
    words += ["--resume_from_checkpoint", "checkpoint-3", "--output_dir", "/home/me/runs/a b", "--push_to_hub"]
    command = training_command(config, words, 1)
    assert command == "ncsn train --train_data_dir=pictures --seed 3 --output_dir 'a b' --push_to_hub"
    command = training_command(config, words, 4, resume=True)
    launcher = "accelerate launch --num_processes 4 -m ncsn_pipeline.training"
    assert command.startswith(f"{launcher} --train_data_dir=/home/me/pictures")
    assert command.endswith("--output_dir '/home/me/runs/a b' --push_to_hub --resume_from_checkpoint latest")
    assert "hf_secret" not in command
    assert without_flags(["--a", "--b", "1", "--c"], {"b"}) == ["--a", "--c"]
    assert [shown_path(word) for word in ("ylecun/mnist", "~/x/y", "../z", "-1")] == ["ylecun/mnist", "y", "z", "-1"]


def test_pixel_distance_of_a_shift_is_its_square():
    """Equal covariances: what is left is the squared distance of the means, along the components."""
    images = torch.rand(400, 1, 4, 4, dtype=torch.float64)
    distance = PixelDistance(images, 400)
    assert distance(images) == pytest.approx(0, abs=1e-8)
    shift = 0.3 * distance.components[:, 0].reshape(1, 1, 4, 4)
    assert distance(images + shift) == pytest.approx(0.09, rel=1e-6)


def test_pixel_distance_of_a_scale_is_that_of_the_standard_deviations():
    """tr(C + C' - 2 (C C')^(1/2)) = (1 - a)² tr(C) for C' = a² C."""
    images = torch.rand(300, 1, 3, 3, dtype=torch.float64)
    distance = PixelDistance(images, 300)
    centre = images.mean(0, keepdim=True)
    variance = images.flatten(1).var(0).sum().item()
    assert distance(centre + 0.5 * (images - centre)) == pytest.approx(0.25 * variance, rel=1e-6)


def test_pixel_distance_looks_along_the_widest_spread_about_the_mean():
    """Not along the mean itself, which is far from zero."""
    direction = torch.randn(16, dtype=torch.float64)
    direction -= direction.mean()
    direction /= direction.norm()
    images = 5 + (0.1 * torch.randn(50, 1, dtype=torch.float64) * direction).reshape(50, 1, 4, 4)
    components = PixelDistance(images, 2).components
    torch.testing.assert_close(components.abs(), direction.abs()[:, None])


def test_quality_is_that_of_samples_and_of_held_out_images():
    """Measured against the training images, along half as many directions as there are samples."""
    data, held_out = load_images("digits"), load_images("digits", split="test")
    config = TrainConfig(**SMALL | {"quality_samples": 12, "train_batch_size": 5, "num_levels": 2, "seed": 4})
    network = ScoreUNet(8, 1, (8, 16), sigma_data=0.3, sigma_max=5.0)
    pipeline = build_pipeline(config, network)
    probe = QualityProbe(config, data, held_out)
    numbers = probe(pipeline)
    order = torch.randperm(1500, generator=generator_for(4, Purpose.MEASURING))
    distance = PixelDistance(data.float_images()[order], 12)
    assert distance.components.shape == (64, 6)
    generator = generator_for(4, Purpose.SAMPLES, 1)
    samples = torch.cat([pipeline(size, generator=generator, output_type="pt").images for size in (5, 5, 2)])
    assert numbers == pytest.approx(
        {
            "quality/pixel distance": distance(samples),
            "quality/pixel distance of real images": distance(held_out.float_images()[:12]),
        }
    )
    assert probe(pipeline) == numbers


def test_a_record_goes_on_from_its_checkpoint(tmp_path):
    record = RunRecord(step=3, images_seen=48, seconds=1.5)
    later = record.later(step=5, images_per_step=16, seconds=2.25)
    assert (later.run_id, later.step, later.images_seen, later.seconds) == (record.run_id, 5, 80, 3.75)
    later.write(tmp_path)
    assert RunRecord.of(tmp_path) == dataclasses.replace(later, resumed=1)
    assert RunRecord.of(None).step == 0
    assert RunRecord.of(None).run_id != RunRecord.of(None).run_id


def test_pixel_distance_needs_two_of_each():
    with pytest.raises(ValueError, match="Two images and two samples"):
        PixelDistance(torch.rand(1, 1, 4, 4), 10)
    with pytest.raises(ValueError, match="at least 2"):
        TrainConfig(**SMALL, quality_samples=1)
