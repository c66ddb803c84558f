"""What the sampling loop costs beside the network.

    python -m benchmarks.sampling_loop [--model pretrained/mnist] [--rounds 15] [--output benchmarks/results]

Three measurements, all at 16 images:

    ratio     time of a pipeline call over that of the same number of bare network evaluations, interleaved in one run,
              medians over the rounds;
    overhead  microseconds a step over a network that returns a tensor it already has (median over the rounds), beside
              the unit normal numbers of one step alone;
    memory    peak memory of 100 and of 1,000 steps, each in a process of its own.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline

BATCH = 16
SCHEDULERS = {"annealed Langevin": AnnealedLangevinScheduler, "consistent annealed": ConsistentAnnealedScheduler}


class NullNetwork(ModelMixin, ConfigMixin):
    """Returns the same zeros at every call."""

    @register_to_config
    def __init__(self, sample_size: int = 28, in_channels: int = 1) -> None:
        super().__init__()
        zeros = torch.zeros(BATCH, in_channels, sample_size, sample_size)
        self.score = torch.nn.Parameter(zeros, requires_grad=False)

    def forward(self, sample: Tensor, timestep: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        """The score zero, at no cost."""
        return (self.score,)


def pipeline_with(scheduler: str, network: torch.nn.Module) -> NCSNPipeline:
    """A quiet pipeline around the network."""
    pipeline = NCSNPipeline(network, SCHEDULERS[scheduler](50, sigma_min=0.01, sigma_max=12.0))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, one after the other in each round, after a round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name, call in calls.items():
            elapsed = seconds(call)
            if i:
                times[name].append(elapsed)
    return times


@torch.no_grad()
def bare(network: torch.nn.Module, x: Tensor, sigmas: Tensor, labels: Tensor) -> None:
    """The network evaluations of a run, and nothing else."""
    for sigma in sigmas:
        network(x, sigma, class_labels=labels, return_dict=False)


def measure_ratio(model: str, rounds: int) -> dict[str, dict[str, float]]:
    """Time over that of the bare network, for both schedulers at 50 evaluations."""
    network = NCSNPipeline.from_pretrained(model).unet.eval()
    labels = torch.arange(BATCH) % network.config.num_class_embeds
    x = torch.rand(BATCH, network.config.in_channels, network.config.sample_size, network.config.sample_size)
    pipelines = {name: pipeline_with(name, network) for name in SCHEDULERS}
    sigmas = torch.linspace(12, 0.01, 50)
    calls: dict[str, Callable[[], object]] = {"bare": lambda: bare(network, x, sigmas, labels)}
    for name, pipeline in pipelines.items():
        calls[name] = lambda pipeline=pipeline: pipeline(
            BATCH, num_inference_steps=50, class_labels=labels, output_type="pt"
        )
    times = interleaved(calls, rounds)
    base = statistics.median(times["bare"])
    return {
        name: {
            "ratio": statistics.median(times[name]) / base,
            "lowest": min(a / b for a, b in zip(times[name], times["bare"], strict=True)),
            "highest": max(a / b for a, b in zip(times[name], times["bare"], strict=True)),
        }
        for name in pipelines
    }


def measure_overhead(rounds: int, steps: int = 1000) -> dict[str, float]:
    """Microseconds a step over a network that costs nothing, and of the random numbers alone."""
    x = torch.zeros(BATCH, 1, 28, 28)

    def noise() -> None:
        for _ in range(steps):
            torch.randn(x.shape)

    calls: dict[str, Callable[[], object]] = {"random numbers alone": noise}
    for name in SCHEDULERS:
        pipeline = pipeline_with(name, NullNetwork())
        calls[name] = lambda pipeline=pipeline: pipeline(BATCH, num_inference_steps=steps, output_type="pt")
    return {name: statistics.median(t) / steps * 1e6 for name, t in interleaved(calls, rounds).items()}


def peak_memory(steps: int) -> float:
    """Peak memory of this process in MiB after one run over the null network."""
    pipeline_with("annealed Langevin", NullNetwork())(BATCH, num_inference_steps=steps, output_type="pt")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory() -> dict[str, float]:
    """Peak memory in MiB of short and long runs."""
    context = multiprocessing.get_context("spawn")
    result = {}
    for steps in (100, 1000):
        with context.Pool(1) as pool:
            result[f"{steps} steps"] = pool.apply(peak_memory, (steps,))
    return result


def as_markdown(result: dict) -> str:
    """The committed table."""
    lines = [
        "# What the sampling loop costs beside the network",
        "",
        f"`python -m benchmarks.sampling_loop`, {result['rounds']} rounds, {BATCH} images of 1x28x28, "
        f"{result['threads']} thread(s), torch {result['torch']}, {result['machine']}.",
        "",
        "| | time over bare network evaluations (lowest, highest round) | over a null network |",
        "|---|---|---|",
    ]
    for name, row in result["ratio"].items():
        spread = f"{row['ratio']:.3f} ({row['lowest']:.3f}, {row['highest']:.3f})"
        lines.append(f"| {name} | {spread} | {result['overhead'][name]:.0f} us a step |")
    lines.append(f"| random numbers of one step alone | | {result['overhead']['random numbers alone']:.0f} us |")
    memory = ", ".join(f"{value:.1f} MiB after {name}" for name, value in result["memory"].items())
    return "\n".join([*lines, "", f"Peak memory of the process: {memory}.", ""])


def main() -> None:
    """Measures, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pretrained/mnist")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = {
        "rounds": arguments.rounds,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "memory": measure_memory(),
        "overhead": measure_overhead(arguments.rounds),
        "ratio": measure_ratio(arguments.model, arguments.rounds),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "sampling_loop.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "sampling_loop.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
