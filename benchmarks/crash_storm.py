"""Kills training runs at random moments and checks that nothing is lost.

    python -m benchmarks.crash_storm [--kills 20] [--seed 0] [--output benchmarks/results]

A small network is trained once undisturbed.  Then, again and again, a run of the same settings gets SIGKILL at a moment
drawn uniformly over the time of the undisturbed one, and is resumed from its latest checkpoint; its final weights must
be those of the undisturbed run, bit for bit.  Three more are killed while they push to a Hub on loopback, one in each
stage of a push, and must be whole on the Hub in the end.  Runs are processes of their own, forked from one that has
imported the libraries, so a moment may lie in the loading of the data, in a step, a checkpoint, or the pipeline's save.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.hub_server import WRITER, HubServer, client_environment, running_hub

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
STAGES = ("preupload", "lfs-put", "commit")
SETTINGS = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_max": 5.0,
    "num_levels": 8,
    "train_batch_size": 32,
    "max_train_steps": 60,
    "lr_warmup_steps": 5,
    "lr_decay_steps": 20,
    "ema_decay": 0.9,
    "validation_steps": 15,
    "num_validation_images": 64,
    "num_sample_images": 4,
    "checkpointing_steps": 6,
    "report_to": "tensorboard",
}


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it.

    Args:
        moment: seconds after the start, or the stage of a push.
        found: what the kill left in the output directory, the newest checkpoint and what was half-written.
        resumed_at: step of the checkpoint that the second run went on from; 0 for the beginning.
        identical: whether the final weights, on the Hub too where they were pushed, are the undisturbed run's.
    """

    moment: str
    found: str
    resumed_at: int
    identical: bool


def train(settings: dict) -> None:
    """A run, in a process of its own."""
    import torch

    from ncsn_pipeline.training import train as training
    from ncsn_pipeline.training.config import TrainConfig

    torch.set_num_threads(1)
    training.train(TrainConfig(**settings))


def start(output: Path, **others: object) -> BaseProcess:
    """Starts a run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ncsn_pipeline.training.train", "sklearn.datasets", "torch.utils.tensorboard"])
    process = context.Process(target=train, args=(SETTINGS | {"output_dir": str(output)} | others,))
    process.start()
    return process


def finish(output: Path, **others: object) -> None:
    """Runs or resumes to the end.

    Raises:
        RuntimeError: if the run fails.
    """
    process = start(output, **others)
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"The run in {output} ended with exit code {process.exitcode}; its message is above.")


def left_behind(output: Path) -> tuple[str, int]:
    """What a kill left, in words, and the step of the newest checkpoint."""
    steps = [int(path.name[11:]) for path in output.glob("checkpoint-*") if path.name[11:].isdigit()]
    partial = sorted(path.name for path in output.glob("*.partial"))
    newest = max(steps, default=0)
    return ", ".join([f"checkpoint-{newest}" if newest else "no checkpoint", *partial]), newest


def kill_at_random(folder: Path, whole: bytes, seconds: float, generator: random.Random) -> Kill:
    """A run killed after a random part of `seconds`; again, in half the time, where it was over before."""
    longest = seconds
    for attempt in range(20):
        output = folder / f"attempt-{attempt}"
        moment = generator.uniform(0, longest)
        process = start(output)
        process.join(moment)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            break
        longest /= 2
    found, step = left_behind(output)
    finish(output, resume_from_checkpoint="latest")
    return Kill(f"{moment:.2f} s", found, step, (output / WEIGHTS).read_bytes() == whole)


def kill_in_push(folder: Path, whole: bytes, hub: HubServer, stage: str) -> Kill:
    """A run killed while the Hub answers one stage of its push."""
    output = folder / f"pushed-{stage}"
    hub.requests.clear()
    hub.fail(stage, "slow", seconds=1.0)
    process = start(output, push_to_hub=True)
    while process.is_alive() and not any(request[0] == stage for request in hub.requests):
        time.sleep(0.002)
    process.kill()
    process.join()
    found, step = left_behind(output)
    finish(output, push_to_hub=True, resume_from_checkpoint="latest")
    identical = (output / WEIGHTS).read_bytes() == whole == hub.files(f"user/{output.name}")[WEIGHTS]
    return Kill(f"push: {stage}", found, step, identical)


def storm(kills: int, seed: int, folder: Path, hub: HubServer) -> tuple[list[Kill], float]:
    """All kills, and the seconds of the undisturbed run."""
    start(folder / "warm-up", max_train_steps=1).join()  # the imports
    began = time.monotonic()
    finish(folder / "whole")
    seconds = time.monotonic() - began
    whole = (folder / "whole" / WEIGHTS).read_bytes()
    generator = random.Random(seed)
    results = []
    for number in range(kills):
        results.append(kill_at_random(folder / str(number), whole, seconds, generator))
        print(results[-1], flush=True)
    for stage in STAGES:
        results.append(kill_in_push(folder, whole, hub, stage))
        print(results[-1], flush=True)
    return results, seconds


def table(results: list[Kill], seconds: float, seed: int) -> str:
    """The results as Markdown."""
    same = sum(kill.identical for kill in results)
    lines = [
        "# Runs killed at random moments",
        "",
        f"`python -m benchmarks.crash_storm --kills {len(results) - len(STAGES)} --seed {seed}`: "
        f"{SETTINGS['max_train_steps']} steps, a checkpoint every {SETTINGS['checkpointing_steps']}, "
        f"{seconds:.1f} s undisturbed, {platform.machine()}.",
        f"After resuming, **{same} of {len(results)}** end with the weights of the undisturbed run, bit for bit.",
        "",
        "| killed after, or in | found on the disk | resumed at step | final weights |",
        "|---|---|---|---|",
        *(
            f"| {kill.moment} | {kill.found} | {kill.resumed_at} | {'identical' if kill.identical else 'DIFFERENT'} |"
            for kill in results
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the storm; writes `crash_storm.md` and `crash_storm.json`; exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kills training runs at random moments and resumes them.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    if args.kills < 1:
        parser.error(f"--kills must be at least 1; got {args.kills}.")
    with running_hub() as hub, tempfile.TemporaryDirectory() as folder:
        os.environ |= client_environment(hub.url, Path(folder, "home"), WRITER)
        os.environ |= {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
        results, seconds = storm(args.kills, args.seed, Path(folder), hub)
    args.output.mkdir(parents=True, exist_ok=True)
    content = {"seconds": seconds, "settings": SETTINGS, "kills": [asdict(kill) for kill in results]}
    (args.output / "crash_storm.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (args.output / "crash_storm.md").write_text(table(results, seconds, args.seed), encoding="utf-8")
    print(table(results, seconds, args.seed))
    sys.exit(0 if all(kill.identical for kill in results) else 1)


if __name__ == "__main__":
    main()
