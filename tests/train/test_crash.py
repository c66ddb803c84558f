"""Whatever stops a run: going on from its last checkpoint, it ends with the weights of a run that nothing stopped."""

import contextlib
import errno
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.training import beginning
from ncsn_pipeline.training import checkpoints as checkpointing
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.checkpoints import (
    checkpoints,
    find_checkpoint,
    find_corruption,
    step_of,
    write_manifest,
)
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.interruption import Interrupted, StopRequest
from ncsn_pipeline.training.run_record import RunRecord
from tests.processes import run as run_command
from tests.processes import started

SMALL = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_max": 5.0,
    "num_levels": 8,
    "train_batch_size": 16,
    "lr_warmup_steps": 5,
    "lr_decay_steps": 6,
    "ema_decay": 0.9,
    "max_train_steps": 10,
    "validation_steps": 1000,
    "num_validation_images": 64,
    "num_sample_images": 2,
    "checkpointing_steps": 2,
    "checkpoints_total_limit": 3,
    "report_to": "none",
}
CAPTURED = {"stdout": PIPE, "stderr": PIPE, "text": True}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def settings(output_dir, **others):
    return TrainConfig(output_dir=str(output_dir), **(SMALL | others))


def run(output_dir, **others):
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(settings(output_dir, **others))
    return Path(output_dir)


def resume(output_dir, **others):
    return run(output_dir, resume_from_checkpoint="latest", **others)


def same_weights(one, two):
    one, two = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def wait_for(condition, process=None, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        assert process is None or process.poll() is None, "ended early"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    return run(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        ("os.rename", "model_index.json", 0.02),
        ("open", "checkpoint.partial/progress.json", 0),
        ("open", "pipeline.partial/train_config.json", 0),
    ],
    ids=["in a step", "in a checkpoint", "in saving the pipeline"],
)
def test_killed_run_goes_on_to_the_same_weights(tmp_path, whole, victims, death):
    output = tmp_path / "run"
    with victims.started(victims.train, settings(output), death) as victim:
        victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert not (output / "training.json").exists()
    resume(output)
    assert same_weights(whole, output)
    assert not list(output.glob("*.partial"))
    assert json.loads((output / "training.json").read_text(encoding="utf-8"))["images_seen"] == 160


def test_run_killed_after_its_last_checkpoint_still_writes_what_is_missing(tmp_path, whole):
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    for gone in ("unet", "scheduler"):
        shutil.rmtree(output / gone)
    for gone in ("model_index.json", "training.json", "README.md"):
        (output / gone).unlink()
    written = (output / "checkpoint-10" / "manifest.json").stat().st_mtime_ns
    resume(output)
    assert same_weights(whole, output)
    assert (output / "README.md").is_file()
    summary = json.loads((output / "training.json").read_text(encoding="utf-8"))
    assert (summary["steps"], summary["images_seen"], summary["resumed"]) == (10, 160, 1)
    assert 0 < summary["held_out_loss"] < 1
    assert (output / "checkpoint-10" / "manifest.json").stat().st_mtime_ns == written


def tear(path, how):
    if how == "no manifest":
        (path / "manifest.json").unlink()
    elif how == "missing":
        (path / "optimizer.bin").unlink()
    elif how == "short":
        os.truncate(path / "model.safetensors", 1000)
    elif how == "unreadable":
        size = (path / "model.safetensors").stat().st_size
        (path / "model.safetensors").unlink()
        (path / "model.safetensors").symlink_to("/proc/self/mem")  # reading its beginning is an error
        manifest = (path / "manifest.json").read_text(encoding="utf-8").replace(f'"size": {size}', '"size": 0')
        (path / "manifest.json").write_text(manifest, encoding="utf-8")
    elif how in ("a list", "empty"):
        (path / "manifest.json").write_text(json.dumps({"files": [] if how == "a list" else {}}), encoding="utf-8")
    else:
        content = bytearray((path / "custom_checkpoint_0.pkl").read_bytes())
        content[len(content) // 2] ^= 1
        (path / "custom_checkpoint_0.pkl").write_bytes(content)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no manifest", "manifest.json is missing"),
        ("missing", "optimizer.bin is missing"),
        ("short", r"model.safetensors has 1000 of \d+ bytes"),
        ("one bit", "custom_checkpoint_0.pkl is not what was written"),
        ("unreadable", "model.safetensors cannot be read"),
        ("a list", "manifest.json is missing or cannot be read"),
        ("empty", "manifest.json does not name progress.json"),
    ],
)
def test_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, whole, caplog, how, words):
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    tear(output / "checkpoint-10", how)
    shutil.rmtree(output / "unet")
    with pytest.raises(ValueError, match=f"checkpoint-10 is damaged: {words}.*latest"):
        run(output, resume_from_checkpoint="checkpoint-10")
    assert not (output / "unet").exists()
    resume(output)
    assert any("checkpoint-10 is damaged and passed over" in message for message in caplog.messages)
    assert same_weights(whole, output)
    assert [find_corruption(path) for path in checkpoints(output)] == [None] * 3


def test_nothing_whole_is_refused_and_nothing_at_all_is_a_beginning(tmp_path, whole):
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    for path in checkpoints(output):
        tear(path, "short")
    with pytest.raises(ValueError, match="Every checkpoint .* is damaged .checkpoint-6, checkpoint-8, checkpoint-10"):
        resume(output)
    assert same_weights(whole, resume(tmp_path / "new"))


def test_killed_while_a_checkpoint_is_written_again_the_one_before_is_whole(tmp_path, whole, victims):
    """Killed between the two renames, with a limit of one checkpoint."""
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    config = settings(output, resume_from_checkpoint="checkpoint-8", checkpoints_total_limit=1)
    with victims.started(victims.train, config, ("os.rename", "checkpoint.partial", 0)) as victim:
        victim.join()
    assert victim.exitcode == -signal.SIGKILL
    there = {path.name: find_corruption(path) for path in checkpoints(output)}
    assert there["checkpoint-8"] is None
    resume(output)
    assert same_weights(whole, output)
    assert [path.name for path in output.glob("checkpoint*")].count("checkpoint-10") == 1


def test_seal_tells_every_file(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("progress.json", "deep/b"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert find_corruption(tmp_path) == "manifest.json is missing or cannot be read"
    write_manifest(tmp_path)
    assert find_corruption(tmp_path) is None
    (tmp_path / "deep/b").write_text("deep/c", encoding="utf-8")
    assert find_corruption(tmp_path) == "deep/b is not what was written: its SHA-256 differs"


def test_seal_is_written_where_folders_cannot_be_opened_and_only_writers_flush(tmp_path, monkeypatch):
    """The rules of Windows."""
    (tmp_path / "deep").mkdir()
    for name in ("deep/a", "progress.json"):
        (tmp_path / name).write_text("a", encoding="utf-8")
    flushed, writers = [], {}

    def opened(path, flags):
        if os.path.isdir(path):
            raise PermissionError(f"Permission denied: {path}")
        handle = os.open(path, flags)
        if flags & os.O_RDWR:
            writers[handle] = path.name
        return handle

    def flush(handle):
        if handle not in writers:
            raise OSError("Bad file descriptor")
        flushed.append(writers.pop(handle))

    windows = SimpleNamespace(**vars(os) | {"name": "nt", "open": opened, "fsync": flush})
    monkeypatch.setattr(checkpointing, "os", windows)
    write_manifest(tmp_path)
    assert flushed == ["a", "progress.json", "manifest.json"]
    assert find_corruption(tmp_path) is None


def test_only_digits_name_a_checkpoint(tmp_path):
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-\u00b2", "checkpoint-", "checkpoint-3.replaced"):
        (tmp_path / name).mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-10"]


@pytest.mark.parametrize("wanted", [None, "latest", "elsewhere"])
def test_a_model_without_checkpoints_is_not_trained_over(tmp_path, whole, wanted):
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    for path in checkpoints(output):
        path.rename(tmp_path / path.name)
    wanted = str(tmp_path / "checkpoint-8") if wanted == "elsewhere" else wanted
    with pytest.raises(ValueError, match="holds a model, which would be overwritten, .*--init_from"):
        run(output, resume_from_checkpoint=wanted)
    assert same_weights(whole, output)


def test_a_branch_that_was_left_does_not_come_back(tmp_path, monkeypatch):
    """Killed as the first checkpoint of the other branch is moved into place."""
    accelerator = Accelerator(cpu=True)
    for step in (10, 20):
        checkpointing.save_checkpoint(settings(tmp_path), accelerator, RunRecord(step=step))
    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "put_in_place", lambda *paths: sys.exit())
        with pytest.raises(SystemExit):
            checkpointing.save_checkpoint(settings(tmp_path), accelerator, RunRecord(step=15))
    assert find_checkpoint(settings(tmp_path, resume_from_checkpoint="latest")).name == "checkpoint-10"
    assert (tmp_path / "left-checkpoint-20" / "manifest.json").is_file()
    checkpointing.save_checkpoint(settings(tmp_path), accelerator, RunRecord(step=15))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-15"]
    assert not list(tmp_path.glob("left-*"))


@pytest.mark.parametrize(
    ("number", "repair"), [(errno.ENOSPC, r"\(.* MB are free in .*\).*Make space"), (errno.EACCES, "Repair that")]
)
def test_space_is_asked_for_where_it_is_missing(tmp_path, number, repair):
    with pytest.raises(OSError, match=f"checkpoint-3 could not be written: .*{repair}, then go on") as raised:
        with checkpointing.report_write_errors("checkpoint-3", tmp_path / "checkpoint.partial"):
            raise OSError(number, os.strerror(number))
    assert ("MB are free" in str(raised.value)) is (number == errno.ENOSPC)


@pytest.mark.parametrize("full", [0, 1])
def test_a_disk_that_is_full_for_one_process_stops_both_in_good_order(tmp_path, victims, full):
    output, meeting_point = tmp_path / "run", tmp_path / "peers"
    output.mkdir()
    with contextlib.ExitStack() as stack:
        arguments = (victims.save_on_a_full_disk, settings(output), meeting_point)
        processes = [stack.enter_context(victims.started(*arguments, rank, full)) for rank in (0, 1)]
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in (0, 1):
        said = Path(f"{meeting_point}-{rank}.txt").read_text(encoding="utf-8")
        assert "checkpoint-5 could not be written: " in said and "No space left" in said and "Make space" in said
    assert not list(output.iterdir())


class SmallDisk:
    """A folder where little more can be written: a small file system, or, without the right to mount one, a limit."""

    def __init__(self, folder):
        self.folder, self.ballast = folder, folder / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
        self.mounted = bool(shutil.which("mount")) and run_command(mount).returncode == 0
        self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, left):
        """No more than `left` bytes can be written; without a file system, to one file."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (left, self.limit[1]))
            return
        with self.ballast.open("wb") as file:
            file.write(bytes(shutil.disk_usage(self.folder).free - left))

    def free(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)
        self.ballast.unlink(missing_ok=True)

    def close(self):
        self.free()
        if self.mounted:
            assert run_command(["umount", "--lazy", str(self.folder)]).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    (tmp_path / "disk").mkdir()
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.close()


@pytest.mark.parametrize("share", [0.2, 0.75], ids=["while the weights are written", "while the optimiser is"])
def test_full_disk_loses_nothing(small_disk, whole, share):
    output = Path(shutil.copytree(whole, small_disk.folder / "run"))
    for gone in ("checkpoint-8", "checkpoint-10"):
        shutil.rmtree(output / gone)
    sizes = {name: (output / "checkpoint-6" / name).stat().st_size for name in ("model.safetensors", "optimizer.bin")}
    assert sizes["optimizer.bin"] > sizes["model.safetensors"]
    small_disk.fill(int(share * sizes["optimizer.bin"]) // 4096 * 4096)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="checkpoint-8 could not be written: .* still there: checkpoint-6. Make space"):
        resume(output)
    small_disk.free()
    assert not list(output.glob("*.partial"))
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert same_weights(whole, resume(output))


def test_full_disk_while_the_pipeline_is_saved(small_disk, whole):
    output = Path(shutil.copytree(whole, small_disk.folder / "run"))
    small_disk.fill(8192)
    with pytest.raises(OSError, match="pipeline folder could not be written: .*checkpoint-8, checkpoint-10"):
        resume(output)
    small_disk.free()
    assert not list(output.glob("*.partial"))
    assert same_weights(whole, output)
    assert same_weights(whole, resume(output))


def script(output, *flags):
    """The training script as a user starts it, with the settings of the other runs."""
    return ["train/train.py", *settings(output).flags(), *flags]


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(tmp_path, whole, victims, repo_root):
    output, said = tmp_path / "run", tmp_path / "said"
    words = [str(repo_root / "train" / "train.py"), *settings(output).flags()]
    with victims.started(victims.run_script, words, said, {}) as victim:
        wait_for(lambda: (output / "checkpoint-2").exists() or not victim.is_alive())
        os.kill(victim.pid, signal.SIGTERM)
        victim.join()
    said = said.read_text(encoding="utf-8")
    assert victim.exitcode == 75, said[-3000:]
    stopped = checkpoints(output)[-1]
    assert find_corruption(stopped) is None
    assert f"{stopped.name} is saved" in said
    command = next(line.strip() for line in said.splitlines() if "--resume_from_checkpoint latest" in line)
    words = shlex.split(command)
    assert words[:2] == ["python", "train/train.py"]
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(TrainConfig.from_command_line(words[2:]))
    assert same_weights(whole, output)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "streaming"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_workers_serve_until_the_step_is_done_when_all_get_the_signal(tmp_path, victims, number, streaming):
    output = tmp_path / "run"
    forever = {"max_train_steps": 100_000, "train_batch_size": 4, "gradient_accumulation_steps": 8}
    config = settings(output, streaming=streaming, dataloader_num_workers=1, **forever)
    with victims.started(victims.train_in_a_group, config) as victim:
        wait_for(lambda: (output / "checkpoint-2").exists() or not victim.is_alive())
        os.killpg(victim.pid, number)
        victim.join()
    assert victim.exitcode == 75
    stopped = checkpoints(output)[-1]
    assert find_corruption(stopped) is None
    assert json.loads((output / "training.json").read_text(encoding="utf-8"))["steps"] == step_of(stopped)
    assert (output / "README.md").is_file()


@pytest.mark.slow
def test_ctrl_c_that_ends_the_reader_of_the_output_too_loses_nothing(tmp_path, victims, repo_root):
    """As of `... 2>&1 | tee log`; each step writes to the pipe."""
    output = tmp_path / "run"
    flags = settings(output, max_train_steps=100_000, logging_steps=1).flags()
    words = [str(repo_root / "train" / "train.py"), *flags]
    with victims.started(victims.run_into_a_pipe, words, output / "checkpoint-2") as victim:
        victim.join()
    assert victim.exitcode == 75
    assert find_corruption(checkpoints(output)[-1]) is None


def test_second_signal_stops_at_once_and_an_echo_does_not(tmp_path, victims):
    with victims.started(victims.take_a_long_step, tmp_path / "ready") as victim:
        wait_for((tmp_path / "ready").exists)
        for pause in (0.2, 2.2, 0):
            os.kill(victim.pid, signal.SIGTERM)
            time.sleep(pause)
            assert victim.is_alive() or pause == 0
        victim.join()
    assert victim.exitcode == -signal.SIGTERM


@pytest.mark.slow
def test_a_worker_whose_launcher_was_killed_stops_in_good_order(tmp_path, victims):
    output, ended = tmp_path / "run", tmp_path / "ended"
    with victims.started(victims.launch, settings(output, max_train_steps=100_000), ended) as launcher:
        wait_for(lambda: (output / "checkpoint-2").exists() or not launcher.is_alive())
        launcher.kill()
        launcher.join()
        wait_for(ended.exists)
    assert launcher.exitcode == -signal.SIGKILL
    stopped = checkpoints(output)[-1]
    assert find_corruption(stopped) is None
    assert json.loads((stopped / "progress.json").read_text(encoding="utf-8"))["step"] < 100_000


@pytest.mark.check
@pytest.mark.slow
def test_launcher_that_is_killed_stops_its_workers_in_good_order(tmp_path, repo_root):
    """accelerate's launcher of one process passes no signal on."""
    output = tmp_path / "run"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    command = [*launcher, *script(output, "--max_train_steps", "100000")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with started(command, cwd=repo_root, env=environment, stdout=DEVNULL, stderr=PIPE) as process:
        wait_for(lambda: (output / "checkpoint-2").exists(), process)
        process.kill()
        process.communicate()  # until the worker closes its end of the pipe
    stopped = checkpoints(output)[-1]
    assert find_corruption(stopped) is None
    assert json.loads((stopped / "progress.json").read_text(encoding="utf-8"))["step"] < 100000


@pytest.mark.slow
def test_sigterm_to_two_processes_names_the_launcher_that_goes_on(tmp_path, victims, repo_root):
    """Started and stopped as torch's launcher does it, which passes the signal on to both."""
    output = tmp_path / "run"
    words = [str(repo_root / "train" / "train.py"), *settings(output, max_train_steps=100_000).flags()]
    with socket.socket() as free, contextlib.ExitStack() as stack:
        free.bind(("localhost", 0))
        names = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
        free.close()
        names |= {"TORCHELASTIC_RUN_ID": "none"}
        processes = [
            stack.enter_context(
                victims.started(victims.run_script, words, tmp_path / rank, names | {"RANK": rank, "LOCAL_RANK": rank})
            )
            for rank in "01"
        ]
        wait_for(lambda: (output / "checkpoint-2").exists() or not processes[0].is_alive())
        for process in processes:
            os.kill(process.pid, signal.SIGTERM)
        for process in processes:
            process.join()
    said = (tmp_path / "0").read_text(encoding="utf-8")
    assert [process.exitcode for process in processes] == [75, 75], said[-3000:]
    assert "accelerate launch --num_processes 2 train/train.py" in said
    stopped = checkpoints(output)[-1]
    assert f"{stopped.name} is saved" in said
    assert find_corruption(stopped) is None
    assert {"random_states_0.pkl", "random_states_1.pkl"} <= {path.name for path in stopped.iterdir()}


@pytest.mark.check
@pytest.mark.slow
def test_sigterm_to_a_launcher_of_two_processes(tmp_path, repo_root):
    """torch's launcher passes the signal on and ends with 1 whatever its workers say; both stop after the same step."""
    output = tmp_path / "run"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command = [*launcher, *script(output, "--max_train_steps", "100000")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    with started(command, cwd=repo_root, env=environment, **CAPTURED) as process:
        wait_for(lambda: (output / "checkpoint-2").exists(), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode != 0
    assert "accelerate launch --num_processes 2 train/train.py" in out
    stopped = checkpoints(output)[-1]
    assert f"{stopped.name} is saved" in err
    assert find_corruption(stopped) is None
    assert {"random_states_0.pkl", "random_states_1.pkl"} <= {path.name for path in stopped.iterdir()}


def test_a_run_that_is_stopped_before_its_first_checkpoint_is_a_model_too(tmp_path, monkeypatch):
    monkeypatch.setattr(StopRequest, "agreed", lambda self: True)
    with pytest.raises(Interrupted):
        run(tmp_path / "run", checkpointing_steps=1000)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-1"]
    NCSNPipeline.from_pretrained(tmp_path / "run")
    assert "| steps | 1 of 16 images, 16 in all |" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    monkeypatch.undo()
    assert same_weights(run(tmp_path / "straight"), resume(tmp_path / "run"))


def test_a_stop_keeps_its_checkpoint_where_the_card_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "card.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(StopRequest, "agreed", lambda self: True)
    with pytest.raises(Interrupted):
        run(tmp_path)
    assert any("card.json is not JSON" in message for message in caplog.messages)


def test_a_card_that_cannot_be_written_between_the_steps_is_a_warning(tmp_path, monkeypatch, caplog):
    """At the end it is an error: then the model was not pushed."""
    (tmp_path / "card.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(beginning, "prepare_repository", lambda config: "user/name")
    with pytest.raises(ValueError, match="card.json is not JSON"):
        run(tmp_path, max_train_steps=4, hub_strategy="checkpoint")
    (said,) = [message for message in caplog.messages if "card.json" in message]
    assert "after step 2 was not pushed; the next checkpoint's will be" in said
    assert checkpoints(tmp_path)[-1].name == "checkpoint-4"
