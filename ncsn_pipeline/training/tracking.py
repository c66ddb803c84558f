"""What experiment trackers are told: settings, losses, the loss in each band of noise levels, grids of samples."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from .run_config import RunConfig
from .run_record import RunRecord

PROJECT = "ncsn"
# accelerate leaves an uninstalled tracker out without a word.
MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}


def tracker_names(report_to: str | tuple[str, ...] | None) -> list[str]:
    """The trackers that a setting names, each once; none for `none` or `None`.

    Raises:
        ValueError: for an unknown tracker, or one that is not installed.
    """
    given = report_to.split(",") if isinstance(report_to, str) else list(report_to or ())
    names = list(dict.fromkeys(name.strip() for name in given if name.strip() not in ("", "none")))
    for name in names:
        if name not in MODULES:
            raise ValueError(f"report_to names {name!r}; there are: {', '.join(MODULES)}, none.")
        if not any(find_spec(module) for module in MODULES[name]):
            raise ValueError(f"report_to names {name!r}, which is not installed: pip install {MODULES[name][0]}.")
    return names


def start_trackers(accelerator: Accelerator, config: RunConfig, record: RunRecord) -> None:
    """Opens the run in every tracker, again after resuming, and tells them the settings."""
    settings = {
        name: value if isinstance(value, int | float | str | bool) else str(value)
        for name, value in config.public().items()
    }
    name = f"{Path(config.output_dir).resolve().name}-{record.run_id}"
    accelerator.init_trackers(
        PROJECT,
        config=settings,
        init_kwargs={
            # What was logged after the checkpoint that a run goes on from is hidden.
            "tensorboard": {"purge_step": record.step + 1} if record.step else {},
            "wandb": {"name": name, "id": name, "resume": "allow", "dir": config.output_dir},
            "trackio": {"name": name, "resume": "allow"},
        },
    )


def log_grid(accelerator: Accelerator, grid: Image.Image, step: int) -> None:
    """Shows a grid of samples in every tracker that shows pictures."""
    for tracker in accelerator.trackers:
        if tracker.name == "trackio":
            import trackio

            tracker.log({"samples": trackio.Image(grid)}, step=step)
        else:
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"samples": np.asarray(grid.convert("RGB"))[None]}, step=step, **layout)


NUM_BANDS = 8


def even_bands(sigma_min: float, sigma_max: float) -> tuple[Tensor, Tensor]:
    """The ends of eight bands that are equally wide in ln sigma, increasing, `(8,)` each."""
    edges = torch.from_numpy(np.geomspace(sigma_min, sigma_max, NUM_BANDS + 1))
    return edges[:-1], edges[1:]


def band_names(low: Tensor, high: Tensor) -> list[str]:
    """The name of each band of noise levels from `low` to `high`, `(bands,)` each."""
    ends = zip(low.tolist(), high.tolist(), strict=True)
    return [
        f"sigma {one:.2g} to {two:.2g}" if f"{one:.2g}" != f"{two:.2g}" else f"sigma {one:.2g}" for one, two in ends
    ]


class BandLosses:
    """Mean training loss in each band of noise levels, added up on the device without waiting for it.

    Args:
        low: the lowest noise level of each band, increasing, `(bands,)`, in data units.
        high: the highest one of each, likewise.
        device: where losses are.
        kind: the first part of the names that they are logged by.
    """

    def __init__(self, low: Tensor, high: Tensor, device: torch.device, kind: str = "train") -> None:
        self.names, self.kind = band_names(low, high), kind
        self.inner_edges = (high[:-1] * low[1:]).sqrt().float()  # on single levels, between them
        wide = torch.float64 if device.type in ("cpu", "cuda") else torch.float32  # not every device has the former
        self.totals = torch.zeros(2, len(self.names), dtype=wide, device=device)  # losses, images

    def add(self, losses: Tensor, sigma: Tensor) -> None:
        """Counts a batch: `losses` on the device and `sigma` on the CPU, both `(B,)`."""
        band = torch.bucketize(sigma, self.inner_edges).to(losses.device, non_blocking=True)
        losses = losses.detach().to(self.totals.dtype)
        self.totals[0].index_add_(0, band, losses)
        self.totals[1].index_add_(0, band, torch.ones_like(losses))

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """Means since the last call over all processes: `{kind}/loss`, and the bands that had images."""
        losses, counts = accelerator.reduce(self.totals, reduction="sum").tolist()
        self.totals = torch.zeros_like(self.totals)
        means = {f"{self.kind}/loss": sum(losses) / max(1, sum(counts))}
        for name, loss, count in zip(self.names, losses, counts, strict=True):
            if count:
                means[f"{self.kind}/{name}"] = loss / count
        return means


def describe(numbers: dict[str, Any]) -> str:
    """Numbers of one kind on one line: the first part of their names is left out."""
    return ", ".join(f"{name.partition('/')[2]} {value:.4f}" for name, value in numbers.items())
