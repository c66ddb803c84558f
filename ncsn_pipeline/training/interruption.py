"""A run that is asked to stop (SIGTERM of a node that is taken away, SIGINT from the keyboard) finishes its step first.

The first signal is a request, which all processes answer after the same step: they save a checkpoint and end with exit
code 75, the "try again later" of `sysexits.h`.  A second signal ends the process at once.
"""

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

import torch
from accelerate import Accelerator

from .command_line import launched

EXIT_RESUME = 75
# A launcher passes on what terminal or cluster have sent to its workers too: that echo is no second request.
ECHO_SECONDS = 2.0


class Interrupted(Exception):
    """A run was stopped by a signal, after a checkpoint was saved."""


class StopRequest:
    """Whether this run shall stop, the same answer in all processes.  A context: signals are its own until it ends.

    A launcher that died without passing on a signal counts as a request too; its workers would train on unseen.

    Args:
        accelerator: knows the processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.received: float | None = None
        self.process = os.getpid()
        self.launcher = os.getppid() if launched() else None
        self.votes: torch.Tensor | None = None

    def __enter__(self) -> Self:
        # Python delivers signals to its main thread alone; a run in another one is stopped by other means.
        numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        self.previous = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # Workers of the data loader inherit this handler, until they have their own.
        if os.getpid() != self.process:
            return
        now = time.monotonic()
        if self.received is None:
            self.received = now
            with contextlib.suppress(OSError):  # Ctrl-C ends a reader of the output too
                os.write(2, b"\nStopping after this step; a second signal stops at once.\n")
        elif now - self.received > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def agreed(self) -> bool:
        """Whether to stop after the present step; to be called once a step in every process.

        With several processes the votes of one step are read at the next: no process waits for another's signal, and no
        device for the answer.
        """
        orphaned = self.launcher is not None and os.getppid() != self.launcher
        mine = self.received is not None or orphaned
        if self.accelerator.num_processes == 1:
            return mine
        before = self.votes
        vote = torch.full((1,), float(mine), device=self.accelerator.device)
        self.votes = self.accelerator.reduce(vote, reduction="sum")
        return before is not None and before.item() > 0
