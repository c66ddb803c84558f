"""What a run has done so far, over all its interruptions; and `training.json`, which tells it with the model."""

import json
import math
import platform
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

from .command_line import shown_path, training_command
from .config import TrainConfig

# The kind of network, what the data are split by, what the weights began from, and the range of what they are shown.
UNCHANGING = ("network", "seed", "held_out_fraction", "streaming", "init_from", "data_min", "data_max")
OF_A_STREAM = ("num_validation_images", "train_batch_size", "shuffle_buffer", "dataloader_num_workers")
# Which data are read: another folder may hold the same ones.
OF_THE_DATA = (
    "train_data_dir", "dataset_name", "dataset_config_name", "image_column", "label_column", "train_split",
    "test_split",
)  # fmt: skip
MEASURED = ("sigma_max", "sigma_data", "data_mean")
PACKAGES = ("ncsn-pipeline", "torch", "diffusers", "accelerate", "datasets", "numpy")


@dataclass(frozen=True)
class RunRecord:
    """The part of a run's history that its checkpoints carry on.

    Args:
        run_id: names the run to experiment trackers; the same after resuming.
        step: updates of the weights.
        images_seen: images that went through the network, each as often as it did.
        seconds: wall-clock time, from when the data were read.
        resumed: how often the run was taken up again.
        settings: those of the run, with what was measured on its data.
        network: what its network is made from.
        images: number of images that it trains on; `None` for a stream.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    resumed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    images: int | None = None

    @classmethod
    def of(cls, checkpoint: Path | None) -> Self:
        """A new record, or the one of a checkpoint, resumed once more."""
        if checkpoint is None:
            return cls()
        record = cls(**json.loads((checkpoint / "progress.json").read_text(encoding="utf-8")))
        return replace(record, resumed=record.resumed + 1)

    def carried_on(self, config: TrainConfig) -> TrainConfig:
        """The settings of a run that goes on with these: what was measured stays as it was.

        Raises:
            ValueError: for a setting that cannot change within a run, by name.
        """
        for name in (*UNCHANGING, *(OF_A_STREAM if config.streaming else ())):
            value = getattr(config, name)
            if name in self.settings and self.settings[name] != value:
                raise ValueError(
                    f"{name} is {value}, and the checkpoint was trained with {self.settings[name]}, which stays for "
                    "the whole of a run. Set it to that, or begin a new run in another output_dir."
                )
        if config.mixed_precision == "fp16" != self.settings.get("mixed_precision", "fp16"):
            raise ValueError(
                f"mixed_precision is fp16, and the checkpoint was trained with {self.settings['mixed_precision']}: the "
                "state of fp16's loss scaling is missing. Set it to no or bf16."
            )
        # A single sigma is no measurement of the data.
        single = "single_sigma" in (config.objective, self.settings.get("objective"))
        measured = MEASURED[1:] if single else MEASURED
        return replace(config, **{name: self.settings.get(name) for name in measured if getattr(config, name) is None})

    def other_data(self, config: TrainConfig) -> str:
        """What says that other data are read than before, as `name (before, now)`; empty if nothing does."""
        pairs = {
            name: (self.settings.get(name), getattr(config, name)) for name in OF_THE_DATA if name in self.settings
        }
        return "; ".join(f"{name} ({before}, now {now})" for name, (before, now) in pairs.items() if before != now)

    def later(self, step: int, images_per_step: int, seconds: float, **others: Any) -> Self:
        """The record at a later `step`, `seconds` after this one; `others` are fields to replace."""
        images_seen = self.images_seen + (step - self.step) * images_per_step
        return replace(self, step=step, images_seen=images_seen, seconds=round(self.seconds + seconds, 3), **others)

    def write(self, folder: Path) -> None:
        """Writes `progress.json` into a checkpoint."""
        (folder / "progress.json").write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def hardware(device: torch.device) -> str:
    """The accelerator or processor behind a device, in words."""
    if device.type != "cpu":
        return torch.get_device_module(device).get_device_name(device)
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """Of Python and of the packages that a run rests on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # used from its folder
            continue
    return found


def training_summary(
    config: TrainConfig,
    record: RunRecord,
    *,
    arguments: Sequence[str] | None,
    processes: int,
    device: torch.device,
    dataset: dict[str, Any],
    held_out_loss: float | None,
) -> dict[str, Any]:
    """The content of `training.json`.

    Args:
        config: settings of the run.
        record: what it did.
        arguments: as in :func:`~command_line.training_command`.
        processes: number of processes.
        device: that the main process computed on.
        dataset: `images`, `held_out` and `shape`; its name is added.
        held_out_loss: the last one that was measured.
    """
    return {
        "command": training_command(config, arguments, processes),
        "steps": record.step,
        "images_seen": record.images_seen,
        "seconds": record.seconds,
        "resumed": record.resumed,
        "hardware": hardware(device),
        "processes": processes,
        "versions": versions(),
        "init_from": shown_path(config.init_from) if config.init_from else None,
        "dataset": {"name": shown_path(config.source), **dataset},
        "held_out_loss": held_out_loss if math.isfinite(held_out_loss or 0.0) else None,
    }
