"""Checkpoints to resume from, and the pipeline folder: written beside, then renamed into place."""

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path

from accelerate import Accelerator
from config import TrainConfig

from ncsn_pipeline import NCSNPipeline

logger = logging.getLogger("train")


def checkpoints(output_dir: str) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = Path(output_dir).glob("checkpoint-*")
    return sorted((path for path in found if path.name[11:].isdigit()), key=lambda path: int(path.name[11:]))


def save_checkpoint(config: TrainConfig, accelerator: Accelerator, step: int) -> None:
    """Writes `checkpoint-{step}` beside, renames it into place, and deletes the oldest beyond the limit."""
    partial = Path(config.output_dir, "checkpoint.partial")
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        final = Path(config.output_dir, f"checkpoint-{step}")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        there = checkpoints(config.output_dir)
        newest = there.index(final)
        oldest_kept = max(0, newest + 1 - config.checkpoints_total_limit) if config.checkpoints_total_limit else 0
        # Those beyond this step are of a run that was left when an earlier checkpoint was resumed.
        for old in there[:oldest_kept] + there[newest + 1 :]:
            shutil.rmtree(old)


def find_checkpoint(config: TrainConfig) -> Path | None:
    """The checkpoint that `resume_from_checkpoint` names; `None` to start anew.

    Raises:
        ValueError: for a checkpoint that is not there, or a new run where another's checkpoints are.
    """
    wanted = config.resume_from_checkpoint
    if wanted is None:
        if checkpoints(config.output_dir):
            raise ValueError(
                f"{config.output_dir} holds checkpoints of a run. Go on with it by --resume_from_checkpoint latest, or "
                "choose another output_dir."
            )
        return None
    if wanted == "latest":
        found = checkpoints(config.output_dir)
        if not found:
            logger.warning("There is no checkpoint in %s yet: starting anew.", config.output_dir)
        return found[-1] if found else None
    for path in (Path(wanted), Path(config.output_dir, wanted)):
        if path.is_dir() and path.name[11:].isdigit():
            return path
    there = ", ".join(path.name for path in checkpoints(config.output_dir)) or "none"
    raise ValueError(f"There is no checkpoint {wanted!r}; in {config.output_dir} there are: {there}.")


def save_pipeline(config: TrainConfig, pipeline: NCSNPipeline) -> None:
    """Writes the pipeline folder beside the output directory's, then moves each file into place."""
    output, beside = Path(config.output_dir), Path(config.output_dir, "pipeline.partial")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline.save_pretrained(beside)
    (beside / "train_config.json").write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")
    # The index goes last: it is what makes a folder a pipeline.
    for path in sorted(beside.rglob("*"), key=lambda path: path.name == pipeline.config_name):
        if path.is_file():
            target = output / path.relative_to(beside)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(beside)
