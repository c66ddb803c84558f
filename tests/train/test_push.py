"""Training that ends on the Hub: refused beforehand or kept and pushed later, and loaded by who has no package."""

import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.training.publishing import write_summary
from tests.hub_client import Client
from tests.hub_server import READER, STRANGER, WRITER, client_environment, running_hub

SETTINGS = {
    "dataset_name": "digits",
    "block_out_channels": [8, 16],
    "sigma_max": 5.0,
    "num_levels": 8,
    "train_batch_size": 16,
    "max_train_steps": 20,
    "lr_warmup_steps": 5,
    "ema_decay": 0.9,
    "validation_steps": 20,
    "num_validation_images": 64,
    "num_sample_images": 4,
    "checkpointing_steps": 10,
    "report_to": "tensorboard",
    "push_to_hub": True,
}


@pytest.fixture(scope="module")
def hub():
    with running_hub() as server:
        yield server


@pytest.fixture(autouse=True)
def without_faults(hub):
    hub.faults.clear()
    hub.requests.clear()


def started(hub, folder, **options):
    with Client(client_environment(hub.url, folder / "home", options.pop("token", None)), folder, **options) as client:
        yield client


@pytest.fixture(scope="module")
def trainer(hub, tmp_path_factory):
    """A process that trains, logged in nowhere: tokens are given."""
    yield from started(hub, tmp_path_factory.mktemp("trainer"), package=True)


@pytest.fixture(scope="module")
def bare(hub, tmp_path_factory):
    """A process that cannot import the package."""
    yield from started(hub, tmp_path_factory.mktemp("bare"), package=False)


def train(client, output, token=WRITER, **settings):
    """A run in the client's process; its answer is an error where the run ended with one."""
    flags = SETTINGS | settings | {"output_dir": str(output)} | ({"hub_token": token} if token else {})
    words = []
    for name, value in flags.items():
        values = value if isinstance(value, list) else [] if value is True else [value]
        words += [f"--{name}", *map(str, values)]
    code = f"""
import os
import ncsn_pipeline.hub.retry, torch
from ncsn_pipeline.training import validation
from ncsn_pipeline.training.train import train
ncsn_pipeline.hub.retry.LONGEST_WAIT = 0.05
validation.MOST_DENOISED_IMAGES = 16
from accelerate.state import AcceleratorState
from ncsn_pipeline.training.config import TrainConfig
os.environ["ACCELERATE_USE_CPU"] = "true"
AcceleratorState._reset_state(reset_partial_state=True)
words = {words!r}
train(TrainConfig.from_command_line(words), words)
"""
    return client.run(code=code, folder=str(output.parent))


def images(answer):
    assert "value" in answer, answer
    return torch.tensor(answer["value"]["images"])


def holds_token(folder, token):
    return [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]


@pytest.mark.slow
def test_round_trip(tmp_path, hub, trainer, bare):
    output = tmp_path / "digit-scores"
    answer = train(trainer, output, hub_strategy="checkpoint")
    assert "value" in answer, answer
    assert [commit.message for commit in hub.repository("user/digit-scores").branches["main"]][-2:] == [
        "Model after 10 training steps",
        "Model after 20 training steps",
    ]
    files = hub.files("user/digit-scores")
    assert {"README.md", "model_index.json", "pipeline_ncsn.py", "training.json", "samples.png"} <= files.keys()
    assert not [path for path in files if path.startswith(("checkpoint", "logs", "samples/"))]
    for private in (WRITER, str(tmp_path)):
        assert not [path for path, content in files.items() if private.encode() in content]
    assert holds_token(output, WRITER) == []

    there = images(bare.load(model="user/digit-scores", custom=True))
    here = images(trainer.load(model=str(output), custom=False))
    assert there.std() > 0.01
    assert (there - here).abs().max() <= 1e-6

    summary = json.loads(files["training.json"])
    assert (summary["steps"], summary["images_seen"], summary["processes"], summary["resumed"]) == (20, 320, 1, 0)
    assert summary["seconds"] > 0
    assert summary["dataset"] == {"name": "digits", "images": 1500, "held_out": 297, "shape": [1, 8, 8]}
    assert 0 < summary["held_out_loss"] < 1
    assert summary["versions"]["torch"] == torch.__version__
    command = shlex.split(summary["command"])
    assert command[:2] == ["ncsn", "train"]
    assert command[command.index("--output_dir") + 1] == "digit-scores"
    assert "--hub_token" not in command
    assert summary["command"].encode() in files["README.md"]


@pytest.mark.slow
def test_failed_push_keeps_the_model_and_says_how_to_push_it_later(tmp_path, hub, trainer, bare):
    output = tmp_path / "later"
    hub.fail("commit", "cut", times=None)
    train_quickly = {"max_train_steps": 2, "hub_private_repo": True, "hub_model_id": "user/kept"}
    answer = train(trainer, output, **train_quickly)
    assert "PushError" in answer["kinds"]
    assert "failed 6 times" in answer["error"]
    assert hub.files("user/kept").keys() <= {".gitattributes"}
    assert NCSNPipeline.from_pretrained(output).unet.config.sigma_max == 5
    command = shlex.split(answer["error"].strip().splitlines()[-1])
    assert command[:3] == ["ncsn", "hub", "push"]
    hub.faults.clear()
    code, printed, errors = trainer.command(arguments=[*command[2:], "--token", WRITER])["value"]
    assert code == 0, printed + errors
    assert hub.repository("user/kept").private
    assert "model_index.json" in hub.files("user/kept")

    hub.fail("commit", "error", status=403, times=None)
    again = train(trainer, output, resume_from_checkpoint="latest", **train_quickly)
    assert "refused" in again["error"]
    hub.faults.clear()
    again = train(trainer, output, resume_from_checkpoint="latest", **train_quickly)
    assert "value" in again, again
    assert json.loads(hub.files("user/kept")["training.json"])["resumed"] == 1


@pytest.mark.slow
def test_failed_push_in_between_is_only_a_warning(tmp_path, hub, trainer):
    hub.fail("commit", "error", status=503, times=2)
    answer = train(trainer, tmp_path / "between", max_train_steps=4, checkpointing_steps=2, hub_strategy="checkpoint")
    assert "value" in answer, answer
    messages = [commit.message for commit in hub.repository("user/between").branches["main"]]
    assert "Model after 2 training steps" not in messages
    assert messages[-1] == "Model after 4 training steps"


@pytest.mark.parametrize(
    ("token", "settings", "words"),
    [
        ("hf_wrong", {}, "refused.*Training has not begun"),
        (None, {}, "refused.*Training has not begun"),
        (READER, {}, "refused.*right to write"),
        (STRANGER, {"hub_model_id": "user/mine"}, "refused"),
        (WRITER, {"hub_model_id": "a/b/c"}, "no name of a repository"),
    ],
)
def test_push_that_would_fail_is_refused_before_training(tmp_path, hub, trainer, token, settings, words):
    answer = train(trainer, tmp_path / "refused", token, **settings)
    assert {"PushError", "ValueError"} & set(answer["kinds"])
    message = " ".join(answer["error"].split())
    assert re.search(words, message), message
    assert "hf_wrong" not in message
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_reader_of_a_repository_that_exists_is_refused_before_training(tmp_path, hub, trainer):
    assert "value" in train(trainer, tmp_path / "first", max_train_steps=1, hub_model_id="user/existing")
    answer = train(trainer, tmp_path / "second", READER, max_train_steps=1, hub_model_id="user/existing")
    assert "refused" in answer["error"]
    assert not (tmp_path / "second").exists()


def test_summary_is_written_with_card_and_picture(tmp_path):
    network = ScoreUNet(sample_size=8, block_out_channels=(8, 16), sigma_max=5.0)
    NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0)).save_pretrained(tmp_path)
    write_summary(str(tmp_path), {"command": "python train/train.py --dataset_name digits", "steps": 7})
    assert "python train/train.py --dataset_name digits" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert not (tmp_path / "samples.png").exists()
    assert json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))["steps"] == 7


def test_the_picture_is_the_newest_grid_up_to_the_step(tmp_path):
    network = ScoreUNet(sample_size=8, block_out_channels=(8, 16), sigma_max=5.0)
    NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0)).save_pretrained(tmp_path)
    (tmp_path / "samples").mkdir()
    for step in (900, 1000, 10_000):
        Image.new("L", (8, 8), step // 100).save(tmp_path / "samples" / f"step-{step:07d}.png")
    for steps, shown in ((10_000, 100), (1001, 10), (1000, 10), (999, 9)):
        write_summary(str(tmp_path), {"steps": steps})
        assert np.unique(np.asarray(Image.open(tmp_path / "samples.png"))).tolist() == [shown]
