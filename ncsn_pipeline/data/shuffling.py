"""Shuffling what is larger than the memory, so that it can go on exactly where it was.

A reservoir that is refilled one by one mixes well, but its content depends on everything before; to go on in the middle
of an epoch, all of that has to be read again.  Blocks that are permuted by themselves depend on nothing before them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class BlockPosition:
    """A place in a shuffled row of chunks.

    Args:
        block: number of the block.
        taken: items of the block that were handed out.
        source: the source's own state where the block begins; `None` for its start.
    """

    block: int = 0
    taken: int = 0
    source: Any = None


def shuffled_in_blocks(
    chunks: Iterator[Sequence[T]],
    *,
    chunks_in: Callable[[int], int],
    generator_of: Callable[[int], np.random.Generator | None],
    snapshot: Callable[[], Any],
    start: BlockPosition,
) -> Iterator[tuple[T, BlockPosition]]:
    """The items of all chunks, permuted within blocks, each with the position after it.

    While block k is handed out, block k + 1 is read in equal steps: both are held, and the source never has to keep up
    with a whole block at once.

    Args:
        chunks: lists of items from the beginning of block `start.block` on; a chunk may be empty.
        chunks_in: how many chunks block k has.
        generator_of: what block k is permuted by; `None` keeps its order.
        snapshot: the state of the source of `chunks` after the last one it yielded.
        start: the position to go on from.
    """
    number, taken, here = start.block, start.taken, start.source
    read = list(islice(chunks, chunks_in(number)))
    while read:
        there = snapshot()
        block = [item for chunk in read for item in chunk]
        generator = generator_of(number)
        order = range(len(block)) if generator is None else generator.permutation(len(block))
        wanted, read = chunks_in(number + 1), []
        for done, i in enumerate(order, 1):
            read += islice(chunks, wanted * done // len(block) - len(read))
            if done > taken:
                yield block[i], BlockPosition(number, done, here)
        read += islice(chunks, wanted - len(read))
        number, taken, here = number + 1, 0, there
