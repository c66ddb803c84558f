"""The command line of a training: `accelerate launch -m ncsn_pipeline.training --config mnist`."""

import sys
from collections.abc import Sequence

from .config import TrainConfig
from .program import run_program


def main(arguments: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Trains, and returns the exit code; see :func:`~.program.run_program`."""
    return run_program(TrainConfig, "train", arguments, prog)


if __name__ == "__main__":
    sys.exit(main())
