"""What `train.py` and `distill.py` do around a run: settings, messages, exit codes."""

import importlib
import logging
import sys
from collections.abc import Sequence

from .command_line import without_flags
from .output import lasting_output
from .run_config import RunConfig


@lasting_output()
def run_program(settings: type[RunConfig], name: str, arguments: Sequence[str] | None, prog: str) -> int:
    """Reads the settings, which loads no library, and runs.

    Args:
        settings: what the flags are.
        name: of the function that runs by them, and of its file here.
        arguments: the flags; `None` reads `sys.argv`.
        prog: what the program is called in its messages.

    Returns:
        0; 75 where a signal ended the run and it can go on; 1 after one line on what was wrong.

    Raises:
        SystemExit: for settings that are refused.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    config = settings.from_command_line(words, prog)
    words = without_flags(words, settings.secrets())
    sys.argv[1:] = words  # trackers write it down
    from ..errors import in_one_line
    from ..hub import PushError
    from .interruption import EXIT_RESUME, Interrupted

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("accelerate").setLevel(logging.WARNING)  # it names every file of every checkpoint
    try:
        getattr(importlib.import_module(f".{name}", __package__), name)(config, words)
    except Interrupted as stopped:
        print(f"{prog}: {stopped}", file=sys.stderr)
        return EXIT_RESUME
    except (ValueError, FloatingPointError, OSError, PushError) as error:
        print(f"{prog}: {str(error) if isinstance(error, PushError) else in_one_line(error)}", file=sys.stderr)
        return 1
    return 0
