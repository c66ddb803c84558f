"""Processes that tests start: each has a time limit, and ends with all that it started, whatever becomes of the test.

Children inherit a mark in their environment, by which they are found again also where their parent is gone or they made
a session of their own (as the workers of a launcher do).
"""

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

# Generous: a test that is slow on a loaded machine passes, one that hangs ends.
SECONDS = 240
MARK = "NCSN_TEST_PROCESS"
# How long a process may take to be gone after it was killed, and to print its stacks before.
SECONDS_TO_END = 10
SECONDS_TO_PRINT = 3


class Ended(AssertionError):
    """A process was still running at the end of its time, and was ended."""


def new_mark() -> str:
    """A mark that no other process has; `MARK` holds several, of all who want to end a process."""
    return uuid.uuid4().hex


def marked(mark: str) -> list[psutil.Process]:
    """The running processes that inherited `mark`, and what they started."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if mark in process.environ().get(MARK, "").split():
                found |= {process, *process.children(recursive=True)}
    return [process for process in found if process.pid != os.getpid()]


def end_marked(mark: str, *, stacks: bool = False) -> None:
    """Ends every process that inherited `mark`; with `stacks`, Python's own print where they are first."""
    if stacks:
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGABRT)
            psutil.wait_procs([process], timeout=SECONDS_TO_PRINT)  # one by one: they may write to the same file
    end = time.monotonic() + SECONDS_TO_END
    # Again, until nothing is found: one of them may have started another one meanwhile.
    while (found := marked(mark)) and time.monotonic() < end:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)


@contextlib.contextmanager
def time_limit(mark: str, seconds: float) -> Iterator[None]:
    """Ends the processes that inherited `mark` if the block takes longer than `seconds`.

    Raises:
        Ended: at the end of the block, if they were ended; the stacks are in their standard error.
    """
    late = threading.Event()

    def time_is_up() -> None:
        late.set()
        end_marked(mark, stacks=True)

    timer = threading.Timer(seconds, time_is_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    if late.is_set():
        raise Ended(f"it was ended: it took more than {seconds} s")


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, seconds: float | None = SECONDS, **options: object
) -> Iterator[subprocess.Popen]:
    """A running process; at the end of the block, or after `seconds`, it is gone with everything that it started.

    With `seconds` None the block sets the limits itself, by `time_limit(process.mark, ...)` around every wait.

    Raises:
        Ended: at the end of the block, if its time ran out within it; Python's stacks are in its standard error.
    """
    mark = new_mark()
    environment = dict(options.pop("env", None) or os.environ)
    environment |= {MARK: f"{os.environ.get(MARK, '')} {mark}".strip(), "PYTHONFAULTHANDLER": "1"}
    command = [str(word) for word in command]
    try:
        with subprocess.Popen(command, env=environment, **options) as process:
            process.mark = mark
            try:
                with contextlib.nullcontext() if seconds is None else time_limit(mark, seconds):
                    yield process
            finally:
                end_marked(mark)
    except Ended as ended:
        raise Ended(f"{command}: {ended}") from None


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


def forked(work: Callable[[], object], *, seconds: float = SECONDS) -> int:
    """The number of a copy of this process that does `work` and ends; after `seconds` it prints its stacks and ends."""
    number = os.fork()
    if number == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            work()
        finally:
            os._exit(0)
    return number
