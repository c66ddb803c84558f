"""What a run has done so far, over all its interruptions; and `training.json`, which tells it with the model."""

import json
import math
import platform
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from .command_line import training_command
from .run_config import RunConfig

Settings = TypeVar("Settings", bound=RunConfig)
PROGRESS = "progress.json"
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
        images: number of images that it trains on; `None` for a stream, and where there are none.
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
        record = cls(**json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))
        return replace(record, resumed=record.resumed + 1)

    def carried_on(self, config: Settings) -> Settings:
        """The settings of a run that goes on with these: what was measured stays as it was.

        Raises:
            ValueError: for a setting that cannot change within a run, by name.
        """
        for name in config.unchanging:
            value = json.loads(json.dumps(getattr(config, name)))  # as a checkpoint has it
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
        return replace(config, **config.measured_before(self.settings))

    def later(self, step: int, images_per_step: int, seconds: float, **others: Any) -> Self:
        """The record at a later `step`, `seconds` after this one; `others` are fields to replace."""
        images_seen = self.images_seen + (step - self.step) * images_per_step
        return replace(self, step=step, images_seen=images_seen, seconds=round(self.seconds + seconds, 3), **others)

    def write(self, folder: Path) -> None:
        """Writes `progress.json` into a checkpoint."""
        (folder / PROGRESS).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def hardware(device: torch.device) -> str:
    """The accelerator or processor behind a device, in words."""
    if device.type != "cpu":
        name_of = getattr(torch.get_device_module(device), "get_device_name", None)
        return name_of(device) if name_of else device.type
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
    config: RunConfig,
    record: RunRecord,
    *,
    arguments: Sequence[str] | None,
    processes: int,
    device: torch.device,
    held_out_loss: float | None,
    **origin: Any,
) -> dict[str, Any]:
    """The content of `training.json`.

    Args:
        config: settings of the run.
        record: what it did.
        arguments: as in :func:`~command_line.training_command`.
        processes: number of processes.
        device: that the main process computed on.
        held_out_loss: the last one that was measured.
        **origin: what it learned from: `init_from`, `teacher`, `dataset`.
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
        **origin,
        "held_out_loss": held_out_loss if math.isfinite(held_out_loss or 0.0) else None,
    }
