"""`ncsn distill --teacher mnist`: the same as `accelerate launch train/distill.py`, in one process."""

from collections.abc import Sequence

from . import missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Distils, and returns the exit code; flags are those of :class:`~ncsn_pipeline.training.distill_config`."""
    try:
        from ..training.distill_config import DistillConfig
        from ..training.program import run_program

        return run_program(DistillConfig, "distill", arguments, "ncsn distill")
    except ImportError as error:
        return missing("ncsn distill", error, "train")
