"""The command that started a run, as it can be shown and copied: without secrets, folders without what lies above."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .run_config import RunConfig


def launched() -> bool:
    """Whether a launcher (accelerate's or torch's) started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ


def shown_path(word: str) -> str:
    """A word of a command line; of an absolute path, or one that leads upwards, the last name alone."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + equals + (Path(value).name if value.startswith(("/", "~", "..")) else value)


def without_flags(words: Sequence[str], names: set[str]) -> list[str]:
    """`words` without the flags called `names` and their values, `--name value` or `--name=value`, also with dashes."""
    kept, skip = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") in names:
            skip = not equals
        elif skip:
            skip = False
        else:
            kept.append(word)
    return kept


def training_command(
    config: RunConfig, arguments: Sequence[str] | None, processes: int, *, resume: bool = False
) -> str:
    """The command line of a run, without its token.

    Args:
        config: settings of the run.
        arguments: the flags it was started with; by default all settings that are not the default ones.
        processes: number of processes.
        resume: whether the command goes on from the last checkpoint on this machine; otherwise it begins anew anywhere.
    """
    by_script = sys.argv[0].endswith(config.script)
    if launched() or processes > 1:
        words = ["accelerate", "launch", *(["--num_processes", str(processes)] if processes > 1 else [])]
        words += [config.script] if by_script else ["-m", config.module]
    else:
        words = ["python", config.script] if by_script else [*config.command]
    flags = config.flags() if arguments is None else arguments
    flags = without_flags(flags, {*config.secrets(), "resume_from_checkpoint"})
    flags = [*flags, "--resume_from_checkpoint", "latest"] if resume else [shown_path(word) for word in flags]
    return shlex.join([*words, *flags])
