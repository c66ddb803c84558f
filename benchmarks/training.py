"""How fast training is, and where its time goes.

    python -m benchmarks.training [--rounds 10] [--steps 4] [--launches 5] [--output benchmarks/results]

The network of `--config mnist` at batch 64 on random bytes, one thread a process.  Four measurements:

    loops       images/s of `train/train.py` with all its features, of a plain loop in the manner of diffusers'
                `train_unconditional.py`, and of forward, backward and optimiser step alone.  They take turns within one
                process, a few steps each; medians over the rounds.  In seconds of this process's processor time, which
                other programs take nothing of; nothing here waits for anything else.
    profile     milliseconds a step in each part of `train/train.py`, each part's own without that of others within it
    processes   images/s of one process and of two, with 32 images each (that model's own batch) and with 64, and, to
                see what the machine's cores give together, of two runs that know nothing of each other; in turns
    compiled    images/s with `--torch_compile`, beside eager, each in a process of its own

The last two are in wall-clock time, so run them in a quiet moment.  All of it takes about ten minutes.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from diffusers.training_utils import EMAModel
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.clock import Clock
from ncsn_pipeline.data import ImageData
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.averaging import WeightAverage
from ncsn_pipeline.training.batches import Batches
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import BatchDraws
from ncsn_pipeline.training.network import build_network, measure_data
from ncsn_pipeline.training.objective import Objective
from ncsn_pipeline.training.tracking import BandLosses

BATCH = 64
NAMES = {"bare": "forward, backward, step", "plain": "plain loop", "ours": "train/train.py"}
# Launched side by side: what it is called, how many runs, processes of each, images of each process.
LAUNCHED = {
    "one of 32": ("one process of 32 images", 1, 1, 32),
    "two of 32": ("two processes of 32 images", 1, 2, 32),
    "one of 64": ("one process of 64 images", 1, 1, 64),
    "two of 64": ("two processes of 64 images", 1, 2, 64),
    "apart": ("two runs of 64 images side by side that know nothing of each other", 2, 1, 64),
}
Run = Callable[[int], None]


def images(count: int = 4096) -> ImageData:
    """Random bytes in the shape of MNIST, with ten classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return ImageData(pixels, torch.arange(count) % 10, tuple("0123456789"))


def settings(output_dir: str, **changes: object) -> TrainConfig:
    """Those of the MNIST model; nothing is validated or saved before the end."""
    path = "mnist"
    flags = {"output_dir": output_dir, "train_batch_size": BATCH, "sigma_data": 0.3, "num_validation_images": 8}
    flags |= {"num_sample_images": 1, "validation_steps": 10**9, "checkpointing_steps": 10**9, "max_train_steps": 10**9}
    words = [str(word) for name, value in (flags | changes).items() for word in (f"--{name}", value)]
    return TrainConfig.from_command_line(["--config", path, *words])


class Finished(Exception):
    """Enough steps were measured."""


def train_in_turns(config: TrainConfig, data: ImageData, turn: Callable[[int], None]) -> None:
    """Runs `train/train.py`, which calls `turn(n)` when it asks for the n-th batch, until that raises `Finished`."""

    class Turns(Batches):
        def of_steps_from(self, step: int) -> Iterator[dict[str, Tensor]]:
            stream = super().of_steps_from(step)
            number = 0
            while True:
                turn(number)
                yield next(stream)
                number += 1

    batches, load = training.Batches, training.load_data
    training.Batches = Turns
    training.load_data = lambda *args: (data, data, data)
    try:
        training.train(config)
    except Finished:
        pass
    finally:
        training.Batches, training.load_data = batches, load


def bare_steps(config: TrainConfig, data: ImageData) -> Run:
    """Forward, backward and the optimiser's step on one batch that is noised already."""
    network = build_network(config, data)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, fused=True)
    x, sigma, target = torch.rand(BATCH, 1, 28, 28), torch.rand(BATCH) + 0.1, torch.randn(BATCH, 1, 28, 28)
    labels = torch.arange(BATCH) % 10

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = (network(x, sigma, class_labels=labels).sample - target).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def plain_steps(config: TrainConfig, data: ImageData) -> Run:
    """A loop with accelerate, EMA and a learning rate schedule as in diffusers' `train_unconditional.py`."""
    accelerator = Accelerator()
    network = build_network(config, data)
    ema = EMAModel(network.parameters(), decay=config.ema_decay, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, betas=(0.95, 0.999), weight_decay=1e-6)
    loader = torch.utils.data.DataLoader(
        [{"image": x, "label": y} for x, y in zip(data.float_images(), data.labels, strict=True)],
        batch_size=BATCH, shuffle=True, drop_last=True,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 500))
    network, optimizer, loader, schedule = accelerator.prepare(network, optimizer, loader, schedule)
    progress = tqdm(disable=False, file=open(os.devnull, "w", encoding="utf-8"))
    count = 0

    def stream() -> Iterator[dict[str, Tensor]]:
        while True:
            yield from loader

    batches = stream()

    def run(steps: int) -> None:
        nonlocal count
        network.train()
        for _ in range(steps):
            batch = next(batches)
            clean = batch["image"]
            noise = torch.randn(clean.shape, device=clean.device)
            sigma = (torch.randn(len(clean), device=clean.device) * 1.3 - 1).exp()
            noisy = clean + sigma.reshape(-1, 1, 1, 1) * noise
            with accelerator.accumulate(network):
                score = network(noisy, sigma, class_labels=batch["label"]).sample
                error = score * sigma.reshape(-1, 1, 1, 1) + noise
                loss = error.square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            ema.step(network.parameters())
            progress.update(1)
            count += 1
            logs = {"loss": loss.detach().item(), "lr": schedule.get_last_lr()[0], "step": count}
            progress.set_postfix(**logs, ema_decay=ema.cur_decay_value)
            accelerator.log(logs, step=count)

    return run


def measure_loops(folder: str, rounds: int, steps: int) -> dict[str, list[float]]:
    """Images/s of the three loops in every round; the first round warms up."""
    data, config = images(), settings(folder, logging_steps=50)
    measured = measure_data(config, data, None)
    others = {"bare": bare_steps(measured, data), "plain": plain_steps(measured, data)}
    speeds: dict[str, list[float]] = {name: [] for name in NAMES}
    started = 0.0

    def note(name: str, seconds: float, count: int) -> None:
        speeds[name].append(BATCH * count / seconds)

    def turn(number: int) -> None:
        nonlocal started
        if number % steps == 0:
            if number:
                note("ours", time.process_time() - started, steps)
            if number == steps * (rounds + 1):
                raise Finished
            for name, run in others.items():
                started = time.process_time()
                run(steps)
                note(name, time.process_time() - started, steps)
            started = time.process_time()

    train_in_turns(config, data, turn)
    return {name: values[1:] for name, values in speeds.items()}


def measure_profile(folder: str, steps: int) -> dict[str, float]:
    """Milliseconds a step in each part of `train/train.py`."""
    clock = Clock()
    clock.watch(Objective, "__call__", "network: forward and loss")
    clock.watch(Accelerator, "backward", "network: backward")
    clock.watch(Batches, "_placed", "data")
    clock.watch(BatchDraws, "_fill", "random numbers")
    clock.watch(BatchDraws, "whole", "random numbers")
    clock.watch(AcceleratedOptimizer, "step", "optimiser")
    clock.watch(AcceleratedOptimizer, "zero_grad", "optimiser")
    clock.watch(Accelerator, "clip_grad_norm_", "gradient clipping")
    clock.watch(WeightAverage, "step", "average of the weights")
    clock.watch(BandLosses, "add", "losses of the bands")
    started, warm_up = 0.0, 3

    def turn(number: int) -> None:
        nonlocal started
        if number == warm_up:
            clock.seconds.clear()
            started = time.process_time()
        if number == warm_up + steps:
            total = time.process_time() - started
            clock.seconds["rest"] = total - sum(clock.seconds.values())
            raise Finished

    try:
        train_in_turns(settings(folder, logging_steps=50), images(), turn)
    finally:
        clock.stop()
    return {part: 1e3 * seconds / steps for part, seconds in clock.seconds.items()}


def work(folder: str, batch_size: int, steps: int, compiled: bool) -> None:
    """What a launched process does: prints the images/s of all processes, from the median time of a step."""
    times: list[float] = []
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    config = settings(folder, train_batch_size=batch_size, logging_steps=50)
    config = dataclasses.replace(config, torch_compile=compiled)

    def turn(number: int) -> None:
        times.append(time.perf_counter())
        if number == steps + 3:
            raise Finished

    train_in_turns(config, images(), turn)
    durations = [after - before for before, after in pairwise(times[3:])]
    if os.environ.get("RANK", "0") == "0":
        print(f"speed {processes} {processes * batch_size / statistics.median(durations)}", flush=True)


class LaunchedRun:
    """A run of `train/train.py` by accelerate, in the background, on one machine.

    Args:
        processes: how many.
        batch_size: images of each process.
        steps: how many are measured.
        compiled: whether with `--torch_compile`.
    """

    def __init__(self, processes: int, batch_size: int, steps: int, *, compiled: bool = False) -> None:
        self.processes, self.folder = processes, tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
        command += ["--multi_gpu", "--main_process_port", "0"] if processes > 1 else ["--cpu"]
        command += [__file__, "--worker", self.folder.name, str(batch_size), str(steps)]
        environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command + ["--compiled"] * compiled, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8"
        )  # fmt: skip

    def speed(self) -> float:
        """Images/s of all processes.

        Raises:
            RuntimeError: if the run fails, or was started with another number of processes.
        """
        with self.folder:
            output, errors = self.process.communicate(timeout=1200)
        found = [line.split() for line in output.splitlines() if line.startswith("speed ")]
        if self.process.returncode or not found or found[0][1] != str(self.processes):
            raise RuntimeError(f"The run in {self.processes} process(es) failed: {errors[-3000:]}")
        return float(found[0][2])


def measure_processes(rounds: int, steps: int) -> dict[str, list[float]]:
    """Images/s of launched runs, by their names in `LAUNCHED`, in turns; of the compiled one once."""
    speeds: dict[str, list[float]] = {name: [] for name in LAUNCHED}
    for _ in range(rounds):
        for name, (_, runs, processes, batch_size) in LAUNCHED.items():
            started = [LaunchedRun(processes, batch_size, steps) for _ in range(runs)]
            speeds[name].append(sum(run.speed() for run in started))
    speeds["compiled"] = [LaunchedRun(1, BATCH, steps, compiled=True).speed()]
    return speeds


def ratio_of(speeds: dict[str, list[float]], name: str, base: str) -> str:
    """The speed of `name` over that of `base` in the same round: median, lowest and highest."""
    values = [speed / one for speed, one in zip(speeds[name], speeds[base], strict=True)]
    return f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def as_markdown(result: dict) -> str:
    """The committed table."""
    loops = {name: statistics.median(values) for name, values in result["loops"].items()}
    ratios = {
        name: statistics.median(
            other / base for other, base in zip(result["loops"]["ours"], result["loops"][name], strict=True)
        )
        for name in ("bare", "plain")
    }
    total = sum(result["profile"].values())
    lines = [
        "# How fast training is",
        "",
        f"`python -m benchmarks.training`: the network of `--config mnist`, {BATCH} images of 1x28x28 a "
        f"step, one thread a process, torch {result['torch']}, {result['machine']}, {result['cores']} cores; load "
        f"average {result['load'][0]:.1f} at the start and {result['load'][1]:.1f} at the end, with this benchmark.",
        "",
        "| loop | images a second of processor time (lowest, highest round) | train/train.py over it, median |",
        "|---|---|---|",
    ]
    for name, title in NAMES.items():
        values = result["loops"][name]
        ratio = f"{ratios[name]:.3f}" if name in ratios else ""
        lines.append(f"| {title} | {loops[name]:.0f} ({min(values):.0f}, {max(values):.0f}) | {ratio} |")
    lines += ["", "| part of a step of train/train.py | ms | share |", "|---|---|---|"]
    for part, value in sorted(result["profile"].items(), key=lambda item: -item[1]):
        lines.append(f"| {part} | {value:.2f} | {100 * value / total:.1f} % |")
    if "processes" not in result:
        return "\n".join([*lines, ""])
    speeds = result["processes"]
    lines += [
        "",
        "| in wall-clock time | images a second, median | over one process of as many, median (lowest, highest) |",
        "|---|---|---|",
    ]
    for name, (title, runs, processes, batch_size) in LAUNCHED.items():
        ratio = ratio_of(speeds, name, f"one of {batch_size}") if runs * processes > 1 else ""
        lines.append(f"| {title} | {statistics.median(speeds[name]):.0f} | {ratio} |")
    lines += [f"| one compiled process of {BATCH} images | {speeds['compiled'][0]:.0f} | |", ""]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and saves the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--launches", type=int, default=5, help="rounds of launched runs")
    parser.add_argument("--no-processes", action="store_true", help="leave out what needs a quiet machine")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--worker", nargs=3, metavar=("FOLDER", "BATCH", "STEPS"), help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.worker:
        work(arguments.worker[0], int(arguments.worker[1]), int(arguments.worker[2]), arguments.compiled)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        loops = measure_loops(f"{folder}/loops", arguments.rounds, arguments.steps)
        profile = measure_profile(f"{folder}/profile", 4 * arguments.steps)
    result = {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "loops": loops,
        "profile": profile,
    }
    if not arguments.no_processes:
        result["processes"] = measure_processes(arguments.launches, 20)
    result["load"] = [load, os.getloadavg()[0]]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "training.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "training.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
