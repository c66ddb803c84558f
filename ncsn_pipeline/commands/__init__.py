"""The command `ncsn`, or `python -m ncsn_pipeline`: one file per command, which holds its arguments.

A command imports what it works with when it runs, so that `--help` loads neither torch nor diffusers.
"""

import difflib
import importlib
import os
import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from ..errors import in_one_line

COMMANDS = {
    "train": "train a score network on images; on several processes, accelerate launch -m ncsn_pipeline.training",
    "distill": "make of a score network one that draws in one evaluation",
    "evaluate": "draw samples from a model and measure their distance to test images",
    "generate": "draw images from a model, as a grid or as a folder of files",
    "convert": "make a pipeline folder of a checkpoint of the NCSN or NCSNv2 authors' code",
    "noise-levels": "suggest noise levels and a step size for a data set",
    "lecture": "run the experiments that measure the lecture's claims",
    "hub": "push a model or the page to the Hub, or write a model card",
    "app": "open the page",
}


def user_path(text: str) -> Path:
    """A path that a user gave, `~` written out: a shell leaves it as it is in `--output_dir=~/runs`."""
    return Path(os.path.expanduser(text))


def seed(text: str) -> int:
    """A seed that a user gave.

    Raises:
        ValueError: for text that is no whole number.
        argparse.ArgumentTypeError: for a number that torch's generators do not take.
    """
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ArgumentTypeError(f"it must lie in {-(2**63)} ... {2**64 - 1}; got {number}.")
    return number


def missing(program: str, error: ImportError, extra: str) -> int:
    """Says which extra brings a library that is not installed, and returns the exit code."""
    advice = f'. It comes with: pip install "ncsn-pipeline[{extra}]"' if error.name else ""  # else it is in the words
    print(f"{program}: error: {in_one_line(error)}{advice}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first word names, and returns its exit code; `None` reads `sys.argv`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the terminal lacks is spelled out: no reason to fail
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("usage: ncsn COMMAND [ARGUMENTS], ncsn COMMAND --help\n")
        print("\n".join(f"  {command:{width}}  {described}" for command, described in COMMANDS.items()))
        return 0
    if name == "--version":
        from .. import __version__

        print(f"ncsn {__version__}")
        return 0
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(COMMANDS)}."
        print(f"ncsn: error: There is no command {name}; {meant}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f".{name.replace('-', '_')}", __name__).main(words[1:])
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as shells say of a program that Ctrl-C ended
