"""How much time NCSNv2 takes beside a plain transcription of its paper's blocks.

    python -m benchmarks.networks [--rounds 30] [--output benchmarks/results]

Both networks have the same weights, and their outputs are compared first.  Then each round runs every variant once,
one after the other, on one thread, and beside them a matrix product, the machine's peak:

    inference   a forward pass without gradients, as written ("eager") and by `torch.compile`
    training    forward, backward and AdamW

Times are seconds of processor time, which on one thread is wall time less what other programs took.  Ratios are taken
within a round; reported are their median and quartiles.  The percentage of peak is the network's own floating-point
operations a second in its fastest round, over those of the matrix product in its fastest; counted with them are the
products with padding, which a convolution can leave out, so a share can pass 100.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_refinenet import PlainNCSNv2
from ncsn_pipeline import NCSNv2Model

# Width, channels, size, batch.
SMALL = (32, 1, 28, 16)
LARGE = (128, 3, 32, 4)
PEAK = 1024  # rows and columns of the matrix product


def networks(width: int, channels: int, size: int, batch: int) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """The package's network, the plain one with the same weights, images and sigmas."""
    torch.manual_seed(0)
    ours = NCSNv2Model(sample_size=size, in_channels=channels, base_channels=width)
    plain = PlainNCSNv2(channels, width)
    plain.load_state_dict(ours.state_dict())
    return ours, plain, torch.rand(batch, channels, size, size), 0.01 * 5000 ** torch.rand(batch)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """|| found - expected || / || expected ||."""
    return ((found - expected).norm() / expected.norm()).item()


def training_step(network: nn.Module, call: Callable[[], Tensor], sigma: Tensor) -> Callable[[], None]:
    """Forward, backward and AdamW on a loss of unit size at every sigma."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        (call() * sigma.view(-1, 1, 1, 1)).square().mean().backward()
        optimizer.step()

    return step


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of every call, one after the other in each round, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 2):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if i > 1:
                times[name].append(time.process_time() - start)
    return times


def median_and_quartiles(values: list[float]) -> dict[str, float]:
    """Median, and lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "lower": low, "upper": high}


def count_operations(call: Callable[[], object]) -> int:
    """Floating-point operations of a call's convolutions and products."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def summary(times: dict[str, list[float]], flops: dict[str, int]) -> dict[str, dict]:
    """For every variant: milliseconds, ratio of the plain network's time to it, and share of the peak."""
    peak = 2 * PEAK**3 / min(times["peak"])
    return {
        name: {
            "milliseconds": statistics.median(times[name]) * 1e3,
            "ratio": median_and_quartiles([a / b for a, b in zip(times["plain"], times[name], strict=True)]),
            "percent_of_peak": 100 * operations / min(times[name]) / peak,
        }
        for name, operations in flops.items()
    }


def measure(case: tuple[int, int, int, int], rounds: int, training: bool) -> dict[str, dict]:
    """Inference at one size, and training where it is asked for."""
    ours, plain, x, sigma = networks(*case)
    left, right = torch.randn(2, PEAK, PEAK)
    compiled = torch.compile(ours)
    calls: dict[str, Callable[[], object]] = {
        "plain": lambda: plain(x, sigma),
        "eager": lambda: ours(x, sigma).sample,
        "compiled": lambda: compiled(x, sigma).sample,
    }
    product = {"peak": lambda: left @ right}
    result = {}
    with torch.no_grad():
        errors = {name: relative_error(calls[name](), calls["plain"]()) for name in ("eager", "compiled")}
        if max(errors.values()) > 1e-5:
            raise RuntimeError(f"The networks differ: {errors}; they must agree within 1e-5 before they are timed.")
        own = count_operations(calls["eager"])
        flops = {"plain": count_operations(calls["plain"]), "eager": own, "compiled": own}
        result["inference"] = summary(interleaved(calls | product, rounds), flops)
        result["relative_error"] = errors
    if training:
        steps = {
            "plain": training_step(plain, calls["plain"], sigma),
            "eager": training_step(ours, calls["eager"], sigma),
        }
        flops = {name: count_operations(step) for name, step in steps.items()}
        result["training"] = summary(interleaved(steps | product, rounds), flops)
    return result


def name_of(case: tuple[int, int, int, int]) -> str:
    """The case in words."""
    width, channels, size, batch = case
    return f"width {width}, {batch} images of {channels}x{size}x{size}"


def as_markdown(result: dict) -> str:
    """The committed table."""
    lines = [
        "# NCSNv2 beside a plain transcription of its blocks",
        "",
        f"`python -m benchmarks.networks`, {result['rounds']} rounds, 1 thread, torch {result['torch']}, "
        f"{result['machine']}, matrix product {result['peak_gflops']:.0f} GFLOP/s.",
        "",
        "| | | ms | plain time / this time (quartiles) | % of peak |",
        "|---|---|---|---|---|",
    ]
    for case, parts in result["cases"].items():
        for part in ("inference", "training"):
            for variant, row in parts.get(part, {}).items():
                ratio = "{median:.2f} ({lower:.2f}, {upper:.2f})".format(**row["ratio"])
                milliseconds, share = row["milliseconds"], row["percent_of_peak"]
                lines.append(f"| {case}, {part} | {variant} | {milliseconds:.0f} | {ratio} | {share:.0f} |")
    errors = "; ".join(
        f"{case}: " + ", ".join(f"{name} {error:.1e}" for name, error in parts["relative_error"].items())
        for case, parts in result["cases"].items()
    )
    lines += [
        "",
        "Products with padding count as operations, though a convolution can leave them out: a share can pass 100.",
        f"Relative difference of the scores from the plain network's: {errors}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    left, right = torch.randn(2, PEAK, PEAK)
    product = interleaved({"peak": lambda: left @ right}, max(arguments.rounds, 10))["peak"]
    result = {
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "peak_gflops": 2 * PEAK**3 / min(product) / 1e9,
        "cases": {
            name_of(SMALL): measure(SMALL, arguments.rounds, training=True),
            name_of(LARGE): measure(LARGE, arguments.rounds, training=False),
        },
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "networks.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "networks.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
