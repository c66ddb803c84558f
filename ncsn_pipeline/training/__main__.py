"""The command line of a training: `accelerate launch -m ncsn_pipeline.training --config mnist`."""

import logging
import sys
from collections.abc import Sequence

from .command_line import without_flags
from .config import TrainConfig


def main(arguments: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Reads the settings, which loads no library, and trains.

    Args:
        arguments: the flags; `None` reads `sys.argv`.
        prog: what the program is called in its messages.

    Returns:
        0; 75 where a signal ended the run and it can go on; 1 after one line on what was wrong.

    Raises:
        SystemExit: for settings that are refused.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    config = TrainConfig.from_command_line(words, prog)
    words = without_flags(words, TrainConfig.secrets())
    sys.argv[1:] = words  # trackers write it down
    from ..errors import in_one_line
    from ..hub import PushError
    from .interruption import EXIT_RESUME, Interrupted
    from .train import train

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("accelerate").setLevel(logging.WARNING)  # it names every file of every checkpoint
    try:
        train(config, words)
    except Interrupted as stopped:
        print(f"{prog}: {stopped}", file=sys.stderr)
        return EXIT_RESUME
    except (ValueError, FloatingPointError, OSError, PushError) as error:
        print(f"{prog}: {str(error) if isinstance(error, PushError) else in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
