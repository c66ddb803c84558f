"""How good posterior samples are: numbers of each picture, what they come to over pictures, a table and a figure.

Of a picture x with measurement y = A x + sigma_y z and samples x_1 ... x_K with mean x_m:

    psnr          -10 lg of the mean over pixels of (x_m - x)²
    error         sum over pixels of (x_m - x)²
    spread        sum over pixels of (1 + 1/K) times the samples' variance, the error that right samples lead to expect
    fidelity      mean over samples of |y - A x_k|² / (m sigma_y²), 1 for right samples
    recognised    share of the samples that the classifier reads as the class of x

The calibration ratio is the error of all pictures over their spread: 1 is right, more is too sure.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

DEFAULT = "pigdm"
Records = dict[str, list[float]]  # a number for each picture, by what it is
COLUMNS = ("truth", "y", "mean", "deviation", "sample", "sample")


def measured(
    samples: Tensor, truth: Tensor, y: Tensor, operator: Callable[[Tensor], Tensor], noise_std: float
) -> Records:
    """All but `recognised`.

    Args:
        samples: shape `(B, K, C, H, W)`, K >= 2, in [0, 1] but not clamped.
        truth: the pictures, shape `(B, C, H, W)`.
        y: their measurements, shape `(B, *M)`.
        operator: A.
        noise_std: sigma_y > 0.
    """
    count = samples.shape[1]
    error = (samples.mean(1) - truth).square().flatten(1)
    spread = (1 + 1 / count) * samples.var(1).flatten(1)
    missed = (y.repeat_interleave(count, 0) - operator(samples.flatten(0, 1))).flatten(1) / noise_std
    found = {
        "psnr": -10 * error.mean(1).log10(),
        "error": error.sum(1),
        "spread": spread.sum(1),
        "fidelity": missed.square().mean(1).unflatten(0, (-1, count)).mean(1),
    }
    return {name: values.tolist() for name, values in found.items()}


def recognised(samples: Tensor, labels: Tensor, classifier: Callable[[Tensor], Tensor]) -> list[float]:
    """The share of each picture's samples that are read as its class.

    Args:
        samples: shape `(B, K, C, H, W)`; clamped to [0, 1] here.
        labels: shape `(B,)`.
        classifier: images `(N, C, H, W)` to logits `(N, classes)`.
    """
    with torch.no_grad():
        read = classifier(samples.flatten(0, 1).clamp(0, 1)).argmax(1).unflatten(0, samples.shape[:2])
    return (read == labels[:, None]).float().mean(1).tolist()


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    found = torch.tensor(values, dtype=torch.float64)
    return found.mean().item(), (found.std() / math.sqrt(len(found))).item()


def calibration(records: Records) -> tuple[float, float]:
    """The calibration ratio R and its standard error, sqrt(N / (N - 1) sum (error - R spread)²) / sum spread."""
    error, spread = (torch.tensor(records[name], dtype=torch.float64) for name in ("error", "spread"))
    ratio, count = error.sum() / spread.sum(), len(error)
    deviation = (count / (count - 1) * (error - ratio * spread).square().sum()).sqrt() / spread.sum()
    return ratio.item(), deviation.item()


def read_results(folder: Path) -> dict[str, Any]:
    """What was stored: results of (task, method), by both names; nothing at first."""
    path = folder / "measurements.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def store(folder: Path, results: dict[str, Any]) -> None:
    """Writes the numbers and the table anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", json.dumps(results, indent=1) + "\n"), ("md", as_markdown(results))):
        part = folder / f"measurements.{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / f"measurements.{name}")


def extended(stored: dict[str, Any] | None, found: dict[str, Any]) -> dict[str, Any]:
    """A result with the records of further pictures; the new one alone where none is :func:`alike`."""
    if not alike(stored, found):
        return found
    old, new = stored["records"], found["records"]
    return found | {"records": {name: old[name] + new[name] for name in new}}


def alike(stored: dict[str, Any] | None, found: dict[str, Any]) -> bool:
    """Whether both are of the same network with the same settings."""
    return stored is not None and all(stored[name] == found[name] for name in ("network", "settings"))


def as_markdown(results: dict[str, Any]) -> str:
    """A table for each task, the best mean of the samples first, on the pictures that the default has too."""
    lines = [
        "# Posterior samples of digits, ours and deepinv's, by the same network",
        "",
        "`python -m benchmarks.measurements` and `python -m benchmarks.deepinv_methods`: MNIST's first test pictures, "
        "noise 0.05, null class. Evaluations of the network are those of all samples of a picture, each backward pass "
        "counted as one. Calibration and fidelity are 1 for right samples. Beside each number is its standard error "
        f"over pictures. The difference is that of the PSNR from {DEFAULT}'s on the same pictures. Settings were "
        "chosen on five other pictures; where there are none, they are the defaults.",
    ]
    for task, found in results.items():
        network = found.get(DEFAULT, next(iter(found.values())))["network"]
        methods = {method: result for method, result in found.items() if result["network"] == network}
        left_out = ", ".join(found.keys() - methods.keys())
        lines += [
            "",
            f"## {task}",
            "",
            f"The SHA-256 of the network's weights begins with {network}."
            + (f" Left out, since they were measured with another: {left_out}." if left_out else ""),
            "",
            "| method | settings | samples | evaluations | PSNR of the mean, dB | difference | calibration | fidelity "
            "| read as the true class | pictures |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        rows = [
            (method, result, differences(result, methods.get(DEFAULT, result))) for method, result in methods.items()
        ]
        for method, result, against in sorted(rows, key=lambda each: -sum(each[2]) / len(each[2])):
            lines.append(f"| {' | '.join([method, *cells(result, [] if method == DEFAULT else against)])} |")
    return "\n".join([*lines, ""])


def differences(result: dict[str, Any], default: dict[str, Any]) -> list[float]:
    """PSNR less the default's, of the pictures that both have: the first ones."""
    both = zip(result["records"]["psnr"], default["records"]["psnr"], strict=False)
    return [psnr - other for psnr, other in both]


def cells(result: dict[str, Any], against: list[float]) -> list[str]:
    """A row of the table, with its differences from the default."""
    records, settings = result["records"], dict(result["settings"])
    samples = settings.pop("samples")

    def shown(pair: tuple[float, float], digits: int = 2) -> str:
        return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"

    return [
        ", ".join(f"{name} {value}" for name, value in settings.items()),
        str(samples),
        f"{samples * result['evaluations']:,}",
        shown(mean_and_error(records["psnr"])),
        shown(mean_and_error(against)) if against else "",
        shown(calibration(records)),
        shown(mean_and_error(records["fidelity"])),
        shown(mean_and_error([100 * share for share in records["recognised"]]), 0) + " %",
        str(len(records["psnr"])),
    ]


def row(truth: Tensor, y: Tensor, samples: Tensor) -> list[Tensor]:
    """The pictures of one row of the figure, each `(H, W)`: truth, y, mean, deviation and two samples.

    Args:
        truth: shape `(1, H, W)`.
        y: its measurement; numbers without places are laid in rows of 13.
        samples: shape `(K, 1, H, W)`.
    """
    plain = y[0] if y.dim() == 3 and y.shape[-1] > 1 else y.reshape(-1, 28 if y.numel() % 28 == 0 else 13)
    return [truth[0], plain, samples.mean(0)[0], samples.std(0)[0], samples[0, 0], samples[1, 0]]


def drawn(rows: dict[str, dict[str, list[Tensor]]]) -> Figure:
    """The figure: tasks side by side, below each a row for each method, as :func:`row` has them.

    Args:
        rows: by task and method.
    """
    methods = sorted({method for by_method in rows.values() for method in by_method})
    figure = Figure(figsize=(0.62 * len(COLUMNS) * len(rows), 0.72 * len(methods) + 0.5), dpi=110, layout="constrained")
    parts = figure.subfigures(1, len(rows), squeeze=False)[0]
    for part, (task, by_method) in zip(parts, rows.items(), strict=True):
        part.suptitle(task, fontsize=9)
        axes = part.subplots(len(methods), len(COLUMNS), squeeze=False)
        for name, axis in zip(COLUMNS, axes[0], strict=True):
            axis.set_title(name, fontsize=6)
        for method, line in zip(methods, axes, strict=True):
            if part is parts[0]:
                line[0].set_ylabel(method, fontsize=6)
            for i, (name, axis) in enumerate(zip(COLUMNS, line, strict=True)):
                axis.set_xticks([]), axis.set_yticks([])
                if method not in by_method:
                    axis.set_frame_on(False)
                    continue
                colours, most = ("magma", 0.5) if name == "deviation" else ("gray", 1.0)
                axis.imshow(by_method[method][i].numpy(), cmap=colours, vmin=0, vmax=most)
    return figure
