"""Blocks: nothing lost, nothing twice, little held, and going on exactly from any place."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.data.shuffling import BlockPosition, shuffled_in_blocks


class Source:
    """Chunks of numbers, with a state to go on from: the number of chunks read."""

    def __init__(self, chunks):
        self.chunks, self.read = chunks, 0

    def __iter__(self):
        while self.read < len(self.chunks):
            self.read += 1
            yield self.chunks[self.read - 1]


def shuffled(chunks, start=None, sizes=(1, 2, 4), seed=0):
    source, start = Source(chunks), start or BlockPosition()
    source.read = start.source or 0
    blocks = shuffled_in_blocks(
        iter(source),
        chunks_in=lambda block: sizes[min(block, len(sizes) - 1)],
        generator_of=lambda block: None if seed is None else np.random.default_rng([seed, block]),
        snapshot=lambda: source.read,
        start=start,
    )
    return source, blocks


def numbered(lengths):
    ends = np.cumsum([0, *lengths])
    return [list(range(a, b)) for a, b in pairwise(ends)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 5), max_size=20),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_every_item_comes_once_and_any_place_can_be_gone_on_from(lengths, sizes, data):
    chunks = numbered(lengths)
    row = list(shuffled(chunks, sizes=sizes)[1])
    assert sorted(item for item, _ in row) == list(range(sum(lengths)))
    if row:
        at = data.draw(st.integers(0, len(row) - 1))
        rest = list(shuffled(chunks, row[at][1], sizes)[1])
        assert rest == row[at + 1 :]


@pytest.mark.parametrize("sizes", [(1,), (3,), (1, 2, 4, 8)])
def test_no_more_than_two_blocks_are_held_and_reading_is_steady(sizes):
    chunks = numbered([4] * 60)
    source, row = shuffled(chunks, sizes=sizes)
    before = sizes[0]
    for done, (_, position) in enumerate(row, 1):
        next_size = sizes[min(position.block + 1, len(sizes) - 1)]
        assert 4 * source.read - done <= 4 * (sizes[min(position.block, len(sizes) - 1)] + next_size)
        assert source.read - before <= max(1, next_size) + 1
        before = source.read


def test_blocks_are_mixed_within_themselves_and_only_there():
    items = [item for item, _ in shuffled(numbered([10] * 12), sizes=(4,))[1]]
    for block in range(3):
        part = items[40 * block : 40 * (block + 1)]
        assert sorted(part) == list(range(40 * block, 40 * (block + 1))) and part != sorted(part)
    assert [item for item, _ in shuffled(numbered([3, 0, 4]), seed=None)[1]] == list(range(7))
