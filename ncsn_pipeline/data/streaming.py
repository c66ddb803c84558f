"""A data set that is read while it is used: for those larger than the memory or the disk.

Files come in an order drawn anew each epoch (row groups, where there are few files), and pictures are shuffled within
blocks by :mod:`.shuffling`.  The images are divided among the processes, and among the workers of each one's
`DataLoader`: whole files or row groups each where there are enough of them, and else every n-th image.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from .decoding import BadImageError, SkippedImages, WideValues, decode, name_of
from .images import ImageData, check_shape, check_sizes, describe, held_out_split, size_of
from .selection import Selection
from .shuffling import BlockPosition, shuffled_in_blocks
from .sources import ImageSource, open_source

_CHUNK = 16  # rows read at once
_FIRST_BLOCK = 256  # rows; blocks double from here, so that the first image does not wait for a whole one
_PROBE = 64  # rows that are looked at to find out the shape
_FINE = 64  # with fewer files than this, row groups are what is shuffled and divided
_FILES, _SIZES, _BLOCKS = range(3)  # purposes of random numbers


class ImageStream(IterableDataset):
    """One split of a data set as a stream: iterating yields one epoch of this process's share.

    An item is `{"image": uint8 (C, H, W)}`, with classes also `"label": int64 ()`.  Which images a process and worker
    sees, and in which order, depends on the seed, :attr:`epoch` and their numbers, and on nothing else.  Bad pictures
    and those without a label are skipped and named in warnings.

    :func:`stream_images` and :func:`stream_train_and_held_out` make one, and say what the arguments are.

    Attributes:
        shape: channels, height and width of every image.
        label_names: the names of the classes in the order of their numbers; `None` for data without classes, and may
            be set to it to leave the labels out.
        epoch: the number of the pass through the data that iterating begins with; one more after a whole pass.
        sample: some of the images, in memory, to measure the data on; the same on every process.
        about: where the images come from, and what is left out, in sentences.
    """

    about = ""

    def __init__(
        self,
        source: ImageSource,
        split: str = "train",
        *,
        resolution: int | None = None,
        channels: int | None = None,
        shuffle_buffer: int = 10_000,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_shape(resolution, channels)
        if shuffle_buffer < 0 or seed < 0:
            raise ValueError(f"shuffle_buffer and seed must not be negative; got {shuffle_buffer} and {seed}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0 ... world_size - 1 = {world_size - 1}; got {rank}.")
        self.source, self.split, self.resolution = source, split, resolution
        self.shuffle_buffer, self.seed, self.rank, self.world_size = shuffle_buffer, seed, rank, world_size
        self.epoch = 0
        self.label_names = source.label_names
        self._rows = _finely_divided(source.part(split), seed if shuffle_buffer else None)
        self._start, self._position = BlockPosition(), None
        self._kept_aside: frozenset[bytes] = frozenset()
        self.shape = self._find_shape(channels)
        self.sample = self.first(_PROBE)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        yield from self.share(0, 1) if worker is None else self.share(worker.id, worker.num_workers)

    def share(self, worker: int, workers: int) -> Iterator[dict[str, Tensor]]:
        """One epoch, or what is left of it, of worker number `worker` of this process's `workers`."""
        part, start = self.rank * workers + worker, self._start
        self._start, self._position = BlockPosition(), start
        rows = self._part(part, self.world_size * workers)
        if start.source is not None:
            rows.load_state_dict(copy.deepcopy(start.source))
        skipped = SkippedImages(self.source.name)
        shuffled = shuffled_in_blocks(
            self._pictures(rows, skipped),
            chunks_in=lambda block: self._chunks_in(block, part, workers),
            generator_of=lambda block: self._generator(_BLOCKS, part, block) if self.shuffle_buffer else None,
            snapshot=lambda: copy.deepcopy(rows.state_dict()),
            start=start,
        )
        for (pixels, label, _), position in shuffled:
            self._position = position
            skipped.warn_at_first()
            item = {"image": torch.from_numpy(pixels)}
            yield item if label is None else item | {"label": torch.tensor(label)}
        skipped.warn()
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is pass number `epoch`, from its start."""
        self.epoch = epoch
        self._start, self._position = BlockPosition(), None

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration is, after the last item it yielded, in numbers, texts, lists and dicts as JSON has them.

        It is that of the process and worker which iterates; :class:`.batches.StreamBatches` collects all workers'.
        """
        return {"epoch": self.epoch, **asdict(self._position or self._start)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration yields what came after `state`: the same items, in the same order.

        For that it decodes at most `shuffle_buffer` pictures again.
        """
        place = dict(state)
        self.set_epoch(place.pop("epoch"))
        self._start = BlockPosition(**place)

    def first(self, count: int) -> ImageData:
        """The first `count` good images of the whole stream, all processes' shares, with files in a random order.

        The same on every process and in every epoch.  Fewer if there are no more.
        """
        return self._data([picture for picture, _ in zip(self._all_pictures(), range(count), strict=False)])

    def keep_aside(self, num_held_out: int, num_sample: int) -> ImageData:
        """Takes the first `num_held_out` images, and copies of them, out of the stream for good.

        A tenth at most, where the stream is so short that it ends within the two numbers together.  The `num_sample`
        after them become :attr:`sample`.

        Raises:
            ValueError: for a stream of one image.
        """
        pictures = list(islice(self._all_pictures(), num_held_out + num_sample))
        if len(pictures) < num_held_out + num_sample:
            num_held_out = min(num_held_out, max(1, len(pictures) // 10))
        held_out, sample = pictures[:num_held_out], pictures[num_held_out:]
        digests = frozenset(digest for _, _, digest in held_out)
        sample = [picture for picture in sample if picture[2] not in digests]
        if not sample:
            raise ValueError(f"{self.source.name!r} has one image; training needs some, and one more to measure on.")
        self._kept_aside |= digests
        self.sample = self._data(sample)
        return self._data(held_out)

    def _part(self, part: int, parts: int) -> Any:
        """The rows of one of `parts` shares, with the files in this epoch's order."""
        number = self._rows.num_shards
        by_files = number % parts == 0 or number >= 4 * parts
        return _share(self._rows, part, parts, by_files, self._file_order(self.epoch) if self.shuffle_buffer else 0)

    def _file_order(self, epoch: int) -> int:
        """`datasets` draws the order of the files from its epoch number, and leaves it at 0."""
        return int(np.random.default_rng([self.seed, _FILES, epoch + 1]).integers(1, 2**31))

    def _generator(self, purpose: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, self.epoch, *numbers])

    @property
    def _chunk(self) -> int:
        return min(_CHUNK, max(1, self.shuffle_buffer // 2)) if self.shuffle_buffer else _CHUNK

    def _chunks_in(self, block: int, part: int, workers: int) -> int:
        """Chunks of a block: double those of the one before, up to half the buffer; the first one's are random."""
        most = max(1, self.shuffle_buffer // workers // 2 // self._chunk)
        first = int(self._generator(_SIZES, part).integers(_FIRST_BLOCK // 2, _FIRST_BLOCK) // self._chunk)
        return min(most, first << min(block, 32))

    def _pictures(self, rows: Any, skipped: SkippedImages) -> Iterator[list["_Picture"]]:
        """The good pictures of a chunk of rows at a time, `(pixels, class number, digest of the file)`."""
        columns = [self.source.image_column, *([self.source.label_column] if self.label_names else [])]
        for chunk in rows.iter(self._chunk):
            pictures = []
            for record, *label in zip(*(chunk[column] for column in columns), strict=True):
                digest = _digest(record)
                if digest not in self._kept_aside:
                    pictures += self._read(record, label, digest, skipped)
            if skipped.seen >= _PROBE:
                skipped.check()
            yield pictures

    def _read(self, record: Any, label: list[Any], digest: bytes, skipped: SkippedImages) -> list["_Picture"]:
        """One picture, or none if it is bad."""
        number = self.source.class_of(label[0]) if label else None
        skipped.seen += 1
        try:
            if label and number is None:
                raise BadImageError("has no label")
            pixels = decode(record, resolution=self.resolution, channels=self.shape[0])
            if pixels.shape != self.shape:
                raise BadImageError(f"is {size_of(pixels.shape)}, not {size_of(self.shape)}")
        except BadImageError as error:
            skipped.add(name_of(record, skipped.seen - 1, self.source.name), str(error))
            return []
        return [(pixels, number, digest)]

    def _all_pictures(self) -> Iterator["_Picture"]:
        rows = _share(self._rows, 0, 1, True, self._file_order(-1))
        for pictures in self._pictures(rows, SkippedImages(self.source.name)):
            yield from pictures

    def _data(self, pictures: list["_Picture"]) -> ImageData:
        images = torch.from_numpy(np.stack([pixels for pixels, _, _ in pictures]))
        if not self.label_names:
            return ImageData(images)
        labels = torch.tensor([label for _, label, _ in pictures], dtype=torch.int64)
        return ImageData(images, labels, self.label_names)

    def _find_shape(self, channels: int | None) -> tuple[int, int, int]:
        """Channels, height and width of some images; also forgets labels that most of them lack."""
        skipped, wide, names = SkippedImages(self.source.name), WideValues(self.source.name), {}
        labels: list[Any] = []
        rows = _share(self._rows, 0, 1, True, self._file_order(-1))
        for chunk in islice(rows.iter(_CHUNK), _PROBE // _CHUNK):
            labels += chunk[self.source.label_column] if self.label_names else []
            for record in chunk[self.source.image_column]:
                name = name_of(record, skipped.seen, self.source.name)
                skipped.seen += 1
                try:
                    pixels = decode(record, resolution=self.resolution, channels=channels, wide=wide)
                    names.setdefault(pixels.shape, name)
                except BadImageError as error:
                    skipped.add(name, str(error))
        skipped.check()
        wide.check()
        if not names:
            raise ValueError(f"{self.source.name!r} holds no images in {self.split!r}.")
        if len({shape[1:] for shape in names}) > 1:
            (one, first), (other, second) = list(names.items())[:2]
            raise ValueError(
                f"Images of {self.source.name!r} differ in size: {first} is {size_of(one)} and {second} is "
                f"{size_of(other)}. Pass a resolution to bring them to one."
            )
        missing = [self.source.class_of(label) for label in labels].count(None)
        if 2 * missing > len(labels):
            first = f"{missing} of the first {len(labels)}"
            self.source.left_out.note(f"The classes of {self.split!r} are not used: {first} images have none.")
            self.label_names = None
        return max(names)  # three channels if any image has colour


_Picture = tuple[np.ndarray, int | None, bytes]


def stream_images(
    source: str,
    *,
    split: str = "train",
    resolution: int | None = None,
    channels: int | None = None,
    shuffle_buffer: int = 10_000,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    selection: Selection | None = None,
) -> ImageStream:
    """Opens a data set that is read while it is used.

    Args:
        source: a folder with images or Parquet files, a data set's name on the Hub, or `"digits"`.  Labels come from a
            column that declares its classes; in a folder of images also from plain ones.
        split: which part of the data set.
        resolution: side of the square images in pixels, as for :func:`.images.load_images`.  Without it, images that
            differ in size from the first ones are skipped.
        channels: 1 for grey, 3 for colour, `None` for colour if any of the first images has colour.
        shuffle_buffer: images that this process holds to shuffle them, C H W bytes each; 0 for the data set's order.
        seed: of the order.
        rank: the number of this process: each sees a share of its own.
        world_size: the number of processes.
        selection: which columns and configuration; its splits are not looked at.

    Raises:
        ValueError: for an unknown source, split or column, no images, first images that are mostly bad or differ in
            size without `resolution`, or arguments out of range.  While iterating, if more than half of the images are
            bad.
    """
    check_shape(resolution, channels)
    return ImageStream(
        open_source(source, streaming=True, selection=selection), split, resolution=resolution, channels=channels,
        shuffle_buffer=shuffle_buffer, seed=seed, rank=rank, world_size=world_size,
    )  # fmt: skip


def stream_train_and_held_out(
    source: str,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    num_held_out: int = 1024,
    num_sample: int = 2048,
    shuffle_buffer: int = 10_000,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    selection: Selection | None = None,
) -> tuple[ImageStream, ImageData]:
    """The training images as a stream, and in memory those kept aside to measure the loss on.

    The second part is the first `num_held_out` images of the split that `selection` names, else of the data set's
    `test` or `validation` split where it has one, and else of the training images with their files in random order,
    which are then never trained on.  The stream's `sample` holds the `num_sample` images after them, to measure the
    data on.  Both are the same on every process.

    Raises:
        ValueError: as :func:`stream_images`, for fewer than two images, and for parts of different sizes without
            `resolution`.
    """
    check_shape(resolution, channels)
    selection = selection or Selection()
    opened = open_source(source, streaming=True, selection=selection)
    train = ImageStream(
        opened, selection.train_split, resolution=resolution, channels=channels,
        shuffle_buffer=shuffle_buffer, seed=seed, rank=rank, world_size=world_size,
    )  # fmt: skip
    name = held_out_split(opened.parts, selection)
    if name is None:
        held_out, whose = train.keep_aside(num_held_out, num_sample), "kept aside"
    else:
        train.sample = train.first(num_sample)
        test = ImageStream(opened, name, resolution=resolution, channels=train.shape[0], seed=seed)
        check_sizes(source, train.shape, name, test.shape)
        held_out, whose = test.first(num_held_out), f"of {name!r}"
    counts = f"a stream of images to train on, {len(held_out):,} {whose} to measure on"
    train.about = describe(opened, train.sample, (selection.train_split, name or ""), counts, whole=False)
    return train, held_out


def _finely_divided(rows: Any, seed: int | None) -> Any:
    """An iterable data set of many pieces; a listed one is shuffled as a whole for `seed`, which costs nothing."""
    from datasets import Dataset

    if isinstance(rows, Dataset):
        rows = rows if seed is None else rows.shuffle(seed=seed, keep_in_memory=True)
        return rows.to_iterable_dataset(num_shards=max(1, min(len(rows) // _CHUNK, 1024)))
    return rows.reshard() if rows.num_shards < _FINE else rows


def _share(rows: Any, part: int, parts: int, by_files: bool, epoch: int) -> Any:
    """A new iterable data set of one of `parts` shares of the rows: whole files, or every n-th row."""
    from datasets.distributed import split_dataset_by_node

    share = split_dataset_by_node(rows, part, parts, strategy="shards" if by_files else "examples")
    share.set_epoch(epoch)
    return share


def _digest(record: Any) -> bytes:
    """What tells a picture from others: its file's content where that is at hand, else its path."""
    content = (record or {}).get("bytes") or ((record or {}).get("path") or "").encode()
    return hashlib.blake2b(content, digest_size=16).digest()
