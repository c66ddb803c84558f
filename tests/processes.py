"""Processes that tests start: each has a time limit, and ends with all that it started, whatever becomes of the test.

Children inherit a mark in their environment, by which they are found again also where their parent is gone or they made
a session of their own (as the workers of a launcher do).
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

# Generous: a test that is slow on a loaded machine passes, one that hangs ends.
SECONDS = 240
MARK = "NCSN_TEST_PROCESS"


class Ended(AssertionError):
    """A process was still running at the end of its time, and was ended."""


def marked(mark: str) -> list[psutil.Process]:
    """The running processes that inherited `mark`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if mark in process.environ().get(MARK, "").split() and process.pid != os.getpid():
                found.append(process)
    return found


def end_marked(mark: str, *, stacks: bool = False) -> None:
    """Ends every process that inherited `mark`; with `stacks`, Python's own print where they are first."""
    if stacks:
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGABRT)
        time.sleep(1)
    while found := marked(mark):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, seconds: float = SECONDS, **options: object
) -> Iterator[subprocess.Popen]:
    """A running process; at the end of the block, or after `seconds`, it is gone with everything that it started.

    Raises:
        Ended: at the end of the block, if its time ran out within it; Python's stacks are in its standard error.
    """
    mark, late = uuid.uuid4().hex, threading.Event()
    environment = dict(options.pop("env", None) or os.environ)
    environment |= {MARK: f"{environment.get(MARK, '')} {mark}".strip(), "PYTHONFAULTHANDLER": "1"}

    def time_is_up() -> None:
        late.set()
        end_marked(mark, stacks=True)

    with subprocess.Popen([str(word) for word in command], env=environment, **options) as process:
        timer = threading.Timer(seconds, time_is_up)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            end_marked(mark)
            timer.join()
        if late.is_set():
            raise Ended(f"{process.args} was ended: it ran for more than {seconds} s")


def run(command: Sequence[str | Path], *, seconds: float = SECONDS, **options: object) -> subprocess.CompletedProcess:
    """`subprocess.run` with captured text, within `seconds`; nothing that it started outlives it.

    Raises:
        Ended: if it does not end in time; with the end of what it wrote, where its stacks are.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"} | options
    out = err = ""
    try:
        with started(command, seconds=seconds, stdin=subprocess.DEVNULL, **options) as process:
            out, err = process.communicate()
    except Ended as ended:
        raise Ended(f"{ended}\n{(out or '')[-3000:]}\n{(err or '')[-9000:]}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
