"""`ncsn train --config mnist`: the same as `accelerate launch -m ncsn_pipeline.training`, in one process."""

from collections.abc import Sequence

from . import missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, and returns the exit code; the flags are those of :class:`~ncsn_pipeline.training.config.TrainConfig`."""
    try:
        from ..training.__main__ import main as train

        return train(arguments, prog="ncsn train")
    except ImportError as error:
        return missing("ncsn train", error, "train")
