"""Training in processes of their own that can be killed; a server with the imports behind it forks them in no time."""

import contextlib
import errno
import faulthandler
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from sharded import shard

from ncsn_pipeline.training import distill as distilling
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training import validation
from ncsn_pipeline.training.checkpoints import save_checkpoint
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.distill_config import DistillConfig
from ncsn_pipeline.training.interruption import EXIT_RESUME, Interrupted, StopRequest
from ncsn_pipeline.training.run_record import RunRecord
from tests.processes import forked

# What a run imports while it runs, which takes longer than all that it does here.
IMPORTED_LATE = ("sklearn.datasets", "torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard")
# Generous, as the limit of every process that a test starts.
SECONDS = 240
# What ends a run of two processes, and the error that says so.
WAYS = {"done": None, "stopped": Interrupted, "failed": FloatingPointError}


def server() -> BaseContext:
    """The server of processes, with all that a run imports behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED_LATE])
    return context


@contextlib.contextmanager
def started(
    target: Callable[..., None], *arguments: object, seconds: float = SECONDS, **named: object
) -> Iterator[BaseProcess]:
    """`target(*arguments, **named)`, a function of this file, in a new process; at the end of the block it is gone.

    After `seconds` it prints its stacks and ends with 1, also where it waits for Python's lock.
    """
    process = server().Process(target=limited, args=(seconds, target, *arguments), kwargs=named)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def limited(seconds: float, target: Callable[..., None], *arguments: object, **named: object) -> None:
    """Calls `target(*arguments, **named)` and ends the process if that takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    validation.MOST_DENOISED_IMAGES = 16  # as in the process of the tests
    target(*arguments, **named)


def kill_at(event: str, path: str, seconds: float) -> None:
    """This process gets SIGKILL at the first audit event (see `sys.audit`) on a path, or so long after it."""

    def watch(name: str, values: tuple) -> None:
        if name == event and any(path in str(value) for value in values):
            if seconds == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    sys.addaudithook(watch)


def carry_out(config: TrainConfig | DistillConfig) -> None:
    """The run of these settings."""
    if isinstance(config, DistillConfig):
        distilling.distill(config)
    else:
        training.train(config)


def train(config: TrainConfig | DistillConfig, death: tuple[str, str, float] | None = None) -> None:
    """A run; ends with the exit code of the script."""
    if death is not None:
        kill_at(*death)
    try:
        carry_out(config)
    except Interrupted:
        sys.exit(EXIT_RESUME)


def train_in_a_group(config: TrainConfig) -> None:
    """A run that gets the signals of its process group, as from a terminal."""
    os.setpgrp()
    multiprocessing.set_start_method("fork", force=True)  # as in a run that no test starts
    train(config)


def run_into_a_pipe(words: list[str], begun: Path) -> None:
    """A script whose output goes into a pipe; once `begun` is there, Ctrl-C ends its reader and asks it to stop."""
    reader, writer = os.pipe()
    for number in (1, 2):
        os.dup2(writer, number)
    os.close(writer)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))

    def press() -> None:
        while not begun.exists():
            time.sleep(0.005)
        os.close(reader)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    os.environ["ACCELERATE_USE_CPU"] = "true"
    sys.argv[:] = words
    runpy.run_path(words[0], run_name="__main__")


def run_script(words: list[str], said: Path, environment: dict[str, str]) -> None:
    """A script with its flags, as Python runs it; what it prints, and its messages, go to a file."""
    os.environ |= {"ACCELERATE_USE_CPU": "true"} | environment
    sys.argv[:] = words
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            runpy.run_path(words[0], run_name="__main__")


def launch(config: TrainConfig, ended: Path) -> None:
    """Starts a worker as accelerate's launcher does, which passes no signal on; the file says how the worker ended."""

    def work() -> None:
        try:
            carry_out(config)
        except Interrupted as end:
            ended.write_text(str(end), encoding="utf-8")

    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # as that launcher sets it
    os.waitpid(forked(work), 0)


def take_a_long_step(ready: Path) -> None:
    """Asks once in 30 seconds whether to stop."""
    with StopRequest(Accelerator(cpu=True)) as stop:
        ready.touch()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(0.05)
        sys.exit(0 if stop.agreed() else 1)


def train_two(config: TrainConfig, meeting_point: Path, **options: object) -> str:
    """A run of two processes, as in `two`; what its main process wrote."""
    with two(config, meeting_point, **options) as processes:
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return Path(f"{meeting_point}-0.txt").read_text(encoding="utf-8")


@contextlib.contextmanager
def two(
    config: TrainConfig, meeting_point: Path, *, seconds: float = SECONDS, **options: object
) -> Iterator[list[BaseProcess]]:
    """A run of two processes; at the end of the block both are gone.

    Args:
        config: settings of the run.
        meeting_point: a file that is not there yet; beside it is written what the processes print.
        seconds: limit of each process.
        options: of `be_one_of_two`.
    """
    with contextlib.ExitStack() as stack:
        arguments = (be_one_of_two, config, meeting_point)
        yield [stack.enter_context(started(*arguments, rank, seconds=seconds, **options)) for rank in (0, 1)]


def be_one_of_two(
    config: TrainConfig,
    meeting_point: Path,
    rank: int,
    *,
    way: str = "done",
    late: bool = False,
    sharded: bool = False,
) -> None:
    """One of the two processes of a run; in the end it is connected to nobody.

    Args:
        config: settings of the run.
        meeting_point: a file that both know.
        rank: 0 or 1.
        way: what ends the run, one of `WAYS`.
        late: whether a thread of gloo is at work when the group is destroyed.
        sharded: whether the network is divided by FSDP, whose parts hold the group for as long as they live.
    """
    connect(meeting_point, rank)
    group = weakref.ref(torch.distributed.group.WORLD)
    if late:
        delay_the_end(rank)
    if sharded:
        shard()
    if way == "stopped" and rank == 0:
        threading.Thread(target=ask_to_stop, daemon=True).start()
    ended_by = None
    with open(f"{meeting_point}-{rank}.txt", "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        try:
            carry_out(config)
        except tuple(filter(None, WAYS.values())) as error:
            ended_by = error  # its traceback holds the run's own variables
    assert type(ended_by) is (WAYS[way] or type(None)), ended_by
    assert not torch.distributed.is_initialized(), "the process group is still there"
    assert sharded or group() is None, "the process group has another owner"


def connect(meeting_point: Path, rank: int) -> None:
    """Makes this process number `rank` of two."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 0}
    os.environ |= {name: str(value) for name, value in names.items()} | {"ACCELERATE_USE_CPU": "true"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=2)


def save_on_a_full_disk(config: TrainConfig, meeting_point: Path, rank: int, full: int) -> None:
    """One of two processes that save a checkpoint, of which number `full` cannot write; a file tells its error."""
    connect(meeting_point, rank)
    accelerator = Accelerator()

    def fail(folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if rank == full:
        accelerator.save_state = fail
    try:
        save_checkpoint(config, accelerator, RunRecord(step=5))
    except OSError as error:
        Path(f"{meeting_point}-{rank}.txt").write_text(str(error), encoding="utf-8")


def ask_to_stop() -> None:
    """Sends SIGTERM to this process as soon as the run takes it for a request."""
    while getattr(signal.getsignal(signal.SIGTERM), "__func__", None) is not StopRequest._receive:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)


def delay_the_end(rank: int) -> None:
    """Just before the group is destroyed, a thread of gloo in process 1 begins to drop a tensor, for one second."""
    destroy = PartialState.destroy_process_group

    def destroy_with_a_late_thread(self: PartialState, group: object = None) -> None:
        if torch.distributed.is_initialized():
            tensor, dropping = torch.zeros(1), threading.Event()
            if rank == 1:
                # Called by whoever drops the tensor last, which is gloo: the other process comes later.
                weakref.finalize(tensor, lambda: (dropping.set(), time.sleep(1)))
                torch.distributed.all_reduce(tensor, async_op=True)
                del tensor
                assert dropping.wait(60)
            else:
                time.sleep(0.2)
                torch.distributed.all_reduce(tensor)
        destroy(self, group)

    PartialState.destroy_process_group = destroy_with_a_late_thread
