"""Training in a process of its own that can be killed; a server with the imports behind it forks it in no time."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from accelerate import Accelerator
from config import TrainConfig
from interruption import Interrupted, StopRequest

import train as training


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Starts `target(*arguments)`, a function of this file, in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def kill_at(event: str, path: str, seconds: float) -> None:
    """This process gets SIGKILL at the first audit event (see `sys.audit`) on a path, or so long after it."""

    def watch(name: str, values: tuple) -> None:
        if name == event and any(path in str(value) for value in values):
            if seconds == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    sys.addaudithook(watch)


def train(config: TrainConfig, death: tuple[str, str, float] | None = None) -> None:
    """A training run; ends with the exit code of the script."""
    if death is not None:
        kill_at(*death)
    try:
        training.train(config)
    except Interrupted:
        sys.exit(training.EXIT_RESUME)


def take_a_long_step(ready: Path) -> None:
    """Asks once in 30 seconds whether to stop."""
    with StopRequest(Accelerator(cpu=True)) as stop:
        ready.touch()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(0.05)
        sys.exit(0 if stop.agreed() else 1)
