"""Endless batches of a stream, made ahead by worker processes, which go on exactly after any of them.

A `DataLoader` takes batches from its workers in turn, so batch n is made by worker n mod W.  Each batch brings along
where its worker then was in the stream.
"""

import copy
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from .streaming import ImageStream


class StreamBatches:
    """Batches of `batch_size` images of a stream, epoch after epoch without end.

    Each is `{"image": uint8 (B, C, H, W)}`, with classes also `"label": int64 (B,)`.  All processes can take the same
    number of batches, whatever the sizes of their shares are.

    Args:
        stream: the images of this process.  Its own position is not used or changed.
        batch_size: images per batch, at least 1.
        num_workers: processes that read and decode; 0 does it when a batch is asked for.
        pin_memory: put batches into memory from which an accelerator copies faster.
    """

    def __init__(self, stream: ImageStream, batch_size: int, *, num_workers: int = 0, pin_memory: bool = False) -> None:
        if batch_size < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size must be at least 1 and num_workers not negative; got {batch_size} and {num_workers}."
            )
        self.stream, self.batch_size, self.num_workers, self.pin_memory = stream, batch_size, num_workers, pin_memory
        self._taken = 0
        self._states: list[dict[str, Any] | None] = [None] * max(1, num_workers)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        workers = len(self._states)
        turns = _Turns(copy.copy(self.stream), self.batch_size, first=self._taken % workers, states=list(self._states))
        loader = DataLoader(
            turns, batch_size=None, num_workers=self.num_workers, pin_memory=self.pin_memory, collate_fn=_as_it_is,
            generator=torch.Generator(),  # else it would draw a number from the global one
            worker_init_fn=serve_until_the_end,
        )  # fmt: skip
        for batch, state in loader:
            self._states[self._taken % workers] = state
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where this process is after the last batch it took, as JSON can hold it; every process has its own."""
        division = {name: getattr(self.stream, name) for name in ("rank", "world_size", "seed", "shuffle_buffer")}
        return {**division, "batch_size": self.batch_size, "taken": self._taken, "workers": copy.deepcopy(self._states)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration yields the batches that came after `state`, with the same images in the same order.

        Raises:
            ValueError: for a state of another number of processes or workers, another process, seed, buffer or batch
                size, with which images come in another order.
        """
        here = self.state_dict()
        for name in ("rank", "world_size", "seed", "shuffle_buffer", "batch_size"):
            if state[name] != here[name]:
                raise ValueError(f"The stream was saved with {name} {state[name]}; here it is {here[name]}.")
        if len(state["workers"]) != len(self._states):
            raise ValueError(
                f"The stream was saved with {len(state['workers'])} worker(s); here there are {len(self._states)}. "
                "Set num_workers to the same number."
            )
        self._taken, self._states = state["taken"], copy.deepcopy(list(state["workers"]))


class _Turns(IterableDataset):
    """The batches of one worker, each with the state after it; worker `first` of the saved ones is number 0 now."""

    def __init__(self, stream: ImageStream, batch_size: int, first: int, states: list[dict[str, Any] | None]) -> None:
        self.stream, self.batch_size, self.first, self.states = stream, batch_size, first, states

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
        info = get_worker_info()
        number, workers = (0, 1) if info is None else (info.id, info.num_workers)
        worker = (number + self.first) % workers
        state = self.states[worker]
        if state is None:
            self.stream.set_epoch(0)
        else:
            self.stream.load_state_dict(state)
        items: list[dict[str, Tensor]] = []
        while True:
            empty = True
            for item in self.stream.share(worker, workers):
                empty = False
                items.append(item)
                if len(items) == self.batch_size:
                    yield default_collate(items), self.stream.state_dict()
                    items = []
            if empty and state is None:
                raise ValueError(
                    f"A share of {self.stream.source.name!r} holds no images: it has too few for "
                    f"{self.stream.world_size} process(es) with {workers} worker(s) each."
                )
            state = None


def serve_until_the_end(worker: int) -> None:
    """Leaves the signals that ask a run to stop to its main process, which needs batches until its step is done.

    A terminal or a cluster sends them to workers too.  The main process's own SIGTERM, by which it ends workers that it
    needs no longer, still does; only Linux tells who sent one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # also in all threads that are started from here on
        threading.Thread(target=_end_with_the_main_process, daemon=True).start()


def _end_with_the_main_process() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != multiprocessing.parent_process().pid:
        pass
    os._exit(0)


def _as_it_is(batch: Any) -> Any:
    return batch
