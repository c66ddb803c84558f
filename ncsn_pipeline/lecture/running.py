"""One run of an experiment, from its parameters to a report and a saved picture.

Apart from the command, because what runs in other processes must be importable there.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..diagnostics import plots
from . import EXPERIMENTS
from .experiment import Claim, Params, Result


@dataclass(frozen=True)
class Report:
    """One run, ready to be printed and written: it travels between processes.

    Args:
        claim: what was tested.
        result: the result as JSON, with `seconds` of CPU time.
        figure: where the picture was saved.
    """

    claim: Claim
    result: dict[str, Any]
    figure: Path


def parameters(module: ModuleType, given: dict[str, Any], quick: bool) -> Params:
    """The parameters of a run: the defaults, the quick ones over them, what the user gave over both."""
    values = (module.QUICK if quick else {}) | given
    return module.Params(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def perform(name: str, given: dict[str, Any], quick: bool, figures: Path) -> Report:
    """Runs one experiment on one thread and saves its picture."""
    torch.set_num_threads(1)
    module = EXPERIMENTS[name]
    begin = time.process_time()
    result: Result = module.run(parameters(module, given, quick))
    seconds = round(time.process_time() - begin, 1)
    figure = figures / f"{name}.svg"
    figures.mkdir(parents=True, exist_ok=True)
    plots.save(module.figure(result), figure)
    return Report(module.CLAIM, result.as_json() | {"seconds": seconds}, figure)
