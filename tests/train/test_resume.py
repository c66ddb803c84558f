"""Going on with a run: what was measured stays, a setting that differs takes effect or is refused by its name."""

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig

SMALL = {
    "block_out_channels": (8, 16),
    "num_levels": 8,
    "train_batch_size": 16,
    "lr_warmup_steps": 1,
    "num_validation_images": 64,
    "num_sample_images": 2,
    "report_to": "none",
}


def run(output_dir, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(TrainConfig(output_dir=str(output_dir), **(SMALL | settings)))


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A finished run with two checkpoints, on a folder of pictures in two classes."""
    folder = tmp_path_factory.mktemp("resumed")
    add_pictures(folder / "data", {"cat": 12, "dog": 12})
    run(folder / "run", **in_folder(folder), max_train_steps=2, checkpointing_steps=1)
    return folder


def add_pictures(folder, classes, brightness=256):
    rng = np.random.default_rng(len(classes))
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, brightness, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{brightness}-{number}.png")


def in_folder(folder):
    return {"train_data_dir": str(folder / "data")}


def test_settings_of_the_optimiser_take_effect_on_resuming(tmp_path, two_steps, capsys):
    output = Path(shutil.copytree(two_steps / "run", tmp_path / "run"))
    changed = {"adam_beta1": 0.5, "adam_beta2": 0.6, "adam_epsilon": 0.1, "adam_weight_decay": 0.3}
    run(output, **in_folder(two_steps) | changed, max_train_steps=3, resume_from_checkpoint="latest")
    state = torch.load(output / "checkpoint-3" / "optimizer.bin", weights_only=True)
    (group,) = state["param_groups"]
    assert (*group["betas"], group["eps"], group["weight_decay"]) == (0.5, 0.6, 0.1, 0.3)
    assert "Resumed" in (said := capsys.readouterr().out) and "differ from before" not in said
    before = torch.load(output / "checkpoint-2" / "optimizer.bin", weights_only=True)["state"][0]["exp_avg_sq"]
    assert (state["state"][0]["exp_avg_sq"] >= 0.6 * before).all()  # not .99 of it


def test_another_number_of_micro_batches_takes_effect_on_resuming(tmp_path, two_steps):
    """Three micro-batches of 16 images are one of 48; the checkpoint was written after steps of two."""
    start = tmp_path / "start"
    in_all = in_folder(two_steps) | {"adam_epsilon": 1e-3, "use_ema": False}
    run(start, **in_all, gradient_accumulation_steps=2, max_train_steps=2)
    ends = {}
    for size, parts in ((16, 3), (48, 1)):
        output = Path(shutil.copytree(start, tmp_path / str(size)))
        spread = {"train_batch_size": size, "gradient_accumulation_steps": parts}
        run(output, **in_all | spread, max_train_steps=4, resume_from_checkpoint="latest")
        ends[size] = NCSNPipeline.from_pretrained(output).unet.state_dict()
    for name, weight in ends[16].items():
        torch.testing.assert_close(weight, ends[48][name], rtol=1e-4, atol=1e-6)


def test_a_single_sigma_is_no_measurement(tmp_path, two_steps):
    output = tmp_path / "run"
    one = {"objective": "single_sigma", "sigma_min": 0.5, "num_levels": 50}
    run(output, **in_folder(two_steps) | one, max_train_steps=1)
    again = in_folder(two_steps) | {"resume_from_checkpoint": "latest"}
    run(output, **again | one | {"sigma_min": 0.4}, max_train_steps=2)
    assert NCSNPipeline.from_pretrained(output).scheduler.config.sigma_max == 0.4
    run(output, **again, max_train_steps=3)
    assert NCSNPipeline.from_pretrained(output).scheduler.config.sigma_max > 1


def test_another_runs_checkpoint_is_refused_where_there_are_own_ones(tmp_path, two_steps):
    run(tmp_path / "run", **in_folder(two_steps), max_train_steps=1)
    other = str(two_steps / "run" / "checkpoint-2")
    with pytest.raises(ValueError, match="checkpoint-2 is another run's checkpoint, and .* holds checkpoint-1"):
        run(tmp_path / "run", **in_folder(two_steps), max_train_steps=3, resume_from_checkpoint=other)
    assert (tmp_path / "run" / "checkpoint-1").is_dir()
    run(tmp_path / "new", **in_folder(two_steps), max_train_steps=3, resume_from_checkpoint=other)
    assert (tmp_path / "new" / "checkpoint-3").is_dir()


def test_a_refused_run_leaves_no_folder_and_takes_none_away(tmp_path, two_steps):
    (tmp_path / "made").mkdir()
    for name in ("made", "new"):
        with pytest.raises(ValueError, match="no checkpoint 'checkpoint-7'"):
            run(tmp_path / name, **in_folder(two_steps), resume_from_checkpoint="checkpoint-7")
    assert (tmp_path / "made").is_dir() and not (tmp_path / "new").exists()


def test_what_was_measured_stays_where_the_data_have_grown(tmp_path, two_steps, capsys):
    folder = Path(shutil.copytree(two_steps, tmp_path / "grown"))
    add_pictures(folder / "data", {"cat": 6, "dog": 6}, brightness=40)
    run(folder / "run", **in_folder(folder), max_train_steps=3, resume_from_checkpoint="latest")
    said = capsys.readouterr().out
    assert f"differ from before: train_data_dir ({two_steps / 'data'}, now {folder / 'data'}); images to train" in said
    assert re.search(r"images to train on \(23, now \d+\). Images kept aside now may have been", said)
    before, after = (NCSNPipeline.from_pretrained(path / "run") for path in (two_steps, folder))
    names = ("sigma_data", "data_mean", "sigma_max")
    assert {name: before.unet.config[name] for name in names} == {name: after.unet.config[name] for name in names}
    assert after.scheduler.config.sigma_max == before.scheduler.config.sigma_max


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"block_out_channels": (8, 24)}, r"block_out_channels is \[8, 24\], and the checkpoint .* \[8, 16\]"),
        ({"network": "ncsnv2", "block_out_channels": (16, 32, 64)}, "network is ncsnv2, and the checkpoint"),
        ({"attention_levels": (0,)}, r"attention_levels is \[0\]"),
        ({"use_labels": False}, r"number of classes \(use_labels\) is None, and .* 2"),
        ({"resolution": 12}, "resolution is 12, and .* 8"),
        ({"channels": 3}, "channels is 3, and .* 1"),
        ({"sigma_data": 0.1}, "sigma_data is 0.1, and"),
        ({"data_min": -1.0}, "data_min is -1.0, and .* stays"),
        ({"seed": 5}, "seed is 5, and .* 0"),
        ({"held_out_fraction": 0.2}, "held_out_fraction is 0.2"),
        ({"init_from": "elsewhere"}, "init_from is elsewhere, and .* None"),
        ({"streaming": True}, "streaming is True, and .* False"),
        ({"mixed_precision": "fp16"}, "mixed_precision is fp16, and .* with no"),
    ],
)
def test_settings_that_cannot_change_are_refused_by_name(two_steps, changed, message):
    if "network" in changed:
        changed = changed | {"use_labels": False}
    with pytest.raises(ValueError, match=message) as refused:
        run(two_steps / "run", **in_folder(two_steps) | changed, max_train_steps=3, resume_from_checkpoint="latest")
    assert "\n" not in str(refused.value)
    assert {path.name for path in two_steps.glob("run/checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}


def test_another_class_among_the_pictures_is_refused(tmp_path, two_steps):
    folder = Path(shutil.copytree(two_steps, tmp_path / "more"))
    add_pictures(folder / "data", {"bird": 3})
    with pytest.raises(ValueError, match="number of classes .* is 3, and the checkpoint was trained with 2"):
        run(folder / "run", **in_folder(folder), max_train_steps=3, resume_from_checkpoint="latest")


def test_the_names_of_the_classes_are_kept_and_other_ones_are_refused(tmp_path, two_steps):
    pipe = NCSNPipeline.from_pretrained(two_steps / "run")
    assert pipe.unet.config.id2label == {"0": "cat", "1": "dog"}
    assert "| classes | cat, dog |" in (two_steps / "run" / "README.md").read_text(encoding="utf-8")
    pipe.set_progress_bar_config(disable=True)
    make = lambda label: pipe(1, torch.Generator().manual_seed(0), 2, class_labels=label, output_type="pt").images  # noqa: E731
    assert torch.equal(make("dog"), make(1)) and not torch.equal(make("dog"), make("cat"))
    folder = Path(shutil.copytree(two_steps, tmp_path / "renamed"))
    (folder / "data" / "dog").rename(folder / "data" / "wolf")
    with pytest.raises(ValueError, match="names of the classes is {.*wolf.*}, and the checkpoint .*dog"):
        run(folder / "run", **in_folder(folder), max_train_steps=3, resume_from_checkpoint="latest")
    fresh = in_folder(folder) | {"init_from": str(two_steps / "run")}
    run(tmp_path / "fresh", **fresh, max_train_steps=1)
    assert NCSNPipeline.from_pretrained(tmp_path / "fresh").unet.config.id2label == {"0": "cat", "1": "wolf"}
    (folder / "data" / "wolf").rename(folder / "data" / "none")
    with pytest.raises(ValueError, match="A class is called 'none'"):
        run(tmp_path / "none", **in_folder(folder), max_train_steps=1)


def test_a_second_run_in_the_same_directory_is_refused_while_the_first_lives(tmp_path, victims):
    digits = {"dataset_name": "digits", "sigma_max": 5.0}
    endless = TrainConfig(
        output_dir=str(tmp_path), **SMALL | digits | {"max_train_steps": 100_000, "report_to": "tensorboard"}
    )
    with victims.started(victims.train, endless) as first:
        while not (tmp_path / "logs").exists() and first.is_alive():
            time.sleep(0.01)
        with pytest.raises(ValueError, match="Another run is writing to .* choose another output_dir"):
            run(tmp_path, **digits, max_train_steps=1)
        first.kill()
        first.join()
    run(tmp_path, **digits, max_train_steps=1)
    assert (tmp_path / "checkpoint-1").is_dir()
