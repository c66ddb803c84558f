"""A data set of images in memory, as one tensor of bytes.

Pictures become floats in the model's own range one batch at a time.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .decoding import BadImageError, SkippedImages, WideValues, decode, name_of
from .left_out import names_and_more
from .selection import Selection
from .sources import DIGITS, DIGITS_ORIGIN, ImageSource, check_digits, is_built_in, open_source, read_digits

_LEAST_RANGE = 16
HELD_OUT_NAMES = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class ImageData:
    """A data set of equally sized images in memory.

    Args:
        images: bytes 0 ... 255, shape `(N, C, H, W)`, dtype uint8.
        labels: class numbers, shape `(N,)`, dtype int64; `None` for data without classes.
        label_names: the names of the classes, in the order of their numbers; `None` for data without classes.
        about: where the images come from, and what was left out, in sentences.
    """

    images: Tensor
    labels: Tensor | None = None
    label_names: tuple[str, ...] | None = None
    about: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Tensor]]:
        """A whole batch at once, which is what a `DataLoader` asks for."""
        images = self.images[indices]
        if self.labels is None:
            return [{"image": image} for image in images]
        return [{"image": image, "label": label} for image, label in zip(images, self.labels[indices], strict=True)]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def float_images(self, data_min: float = 0.0, data_max: float = 1.0) -> Tensor:
        """All images as float32 in [data_min, data_max], shape `(N, C, H, W)`."""
        return to_range(self.images, data_min, data_max)

    def mean_and_std(self, data_min: float = 0.0, data_max: float = 1.0) -> tuple[float, float]:
        """Mean and standard deviation of all pixels in the range [data_min, data_max], from their histogram."""
        counts = torch.bincount(self.images.flatten(), minlength=256).double()
        values = to_range(torch.arange(256), data_min, data_max).double()
        mean = (counts * values).sum() / counts.sum()
        return mean.item(), ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt().item()

    def subset(self, indices: Tensor) -> "ImageData":
        """The images at `indices`, shape `(n,)`, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return ImageData(self.images[indices], labels, self.label_names, self.about)


def to_range(images: Tensor, data_min: float = 0.0, data_max: float = 1.0) -> Tensor:
    """Bytes 0 ... 255 to float32 in [data_min, data_max], any shape."""
    return images.float() * ((data_max - data_min) / 255) + data_min


def load_images(
    source: str,
    *,
    split: str = "train",
    resolution: int | None = None,
    channels: int | None = None,
    selection: Selection | None = None,
) -> ImageData:
    """Reads a data set of images.

    Pictures that cannot be read, and those without a label among labelled ones, are left out with one warning that
    counts and names them; everything that is left out is told in :attr:`ImageData.about`.

    Args:
        source: a folder with images (in one folder per class, if there are classes) or Parquet files, a data set's name
            on the Hub, or `"digits"` (scikit-learn's 1,797 real 8x8 handwritten digits, offline: 1,500 in `train`, 297
            in `test`; unless there is a folder of that name).
        split: which part of the data set.
        resolution: side of the square images in pixels: the shorter side is resized to it, the longer one cropped at
            the centre.  `None` keeps the size, which must then be one for all.
        channels: 1 for grey, 3 for colour, `None` for colour if any image has colour.  Transparency is laid on white.
        selection: which columns and configuration; its splits are not looked at.

    Raises:
        ValueError: for an unknown source, split or column, no images, more than half of them bad, images of different
            sizes without `resolution`, or 16-bit images that use a quarter of their range at most.
    """
    check_shape(resolution, channels)
    opened = _opened(source, selection)
    data = _read_part(opened, split, resolution, channels)
    return replace(data, about=describe(opened, data, (split,), f"{len(data):,} images"))


def load_train_and_held_out(
    source: str,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    held_out_fraction: float = 0.05,
    seed: int = 0,
    selection: Selection | None = None,
) -> tuple[ImageData, ImageData]:
    """The training images and those kept aside to measure the loss on.

    The second part is the one that `selection` names; else the data set's `test` or `validation` split where it has
    one, and else a random `held_out_fraction` of the training images that differ, the same for the same `seed`, but
    for one at least in either part.  Copies of those kept aside are not trained on.

    Raises:
        ValueError: as :func:`load_images`, for fewer than two images, and for parts of different sizes without
            `resolution`.
    """
    check_shape(resolution, channels)
    selection = selection or Selection()
    opened = _opened(source, selection)
    train = _read_part(opened, selection.train_split, resolution, channels)
    name = held_out_split(opened.parts, selection)
    if name is not None:
        held_out = _read_part(opened, name, resolution, train.shape[0])
        check_sizes(source, train.shape, name, held_out.shape)
        counts = f"{len(train):,} images to train on, {len(held_out):,} of {name!r} to measure on"
        return replace(train, about=describe(opened, train, (selection.train_split, name), counts)), held_out
    if len(train) < 2:
        raise ValueError(f"{source!r} has {len(train)} image(s); training needs some, and one more to measure on.")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
    first: dict[bytes, int] = {}
    same_as = [first.setdefault(hashlib.sha256(image).digest(), i) for i, image in enumerate(train.images.numpy())]
    if len(first) == 1:  # which training refuses in its own words
        same_as = list(range(len(train)))
    different = [i for i in order if same_as[i] == i]
    number = min(len(different) - 1, max(1, round(held_out_fraction * len(different))))
    aside = set(different[:number])
    kept = [i for i in order if same_as[i] not in aside]
    if copies := len(train) - number - len(kept):
        opened.left_out.note(f"Not trained on: {copies:,} more of the same as those kept aside.")
    counts = f"{len(kept):,} images to train on, {number:,} kept aside at random to measure on"
    train = replace(train, about=describe(opened, train, (selection.train_split,), counts))
    return train.subset(torch.tensor(kept)), train.subset(torch.tensor(different[:number]))


def check_sizes(source: str, train: tuple[int, int, int], split: str, held_out: tuple[int, int, int]) -> None:
    """Refuses images to measure on that differ in size from those to train on.

    Raises:
        ValueError: naming both sizes.
    """
    if train[1:] != held_out[1:]:
        raise ValueError(
            f"Images of {source!r} differ in size: those to train on are {size_of(train)}, those of {split!r} are "
            f"{size_of(held_out)}. Pass a resolution to bring them to one."
        )


def held_out_split(parts: Iterable[str], selection: Selection) -> str | None:
    """The name of the split to measure on: the one that is asked for, or a usual one that is not trained on."""
    if selection.test_split is not None:
        return selection.test_split
    return next((name for name in HELD_OUT_NAMES if name in parts and name != selection.train_split), None)


def describe(source: ImageSource, data: ImageData, splits: Iterable[str], counts: str, whole: bool = True) -> str:
    """What is used of a data set and what is not, in sentences.

    Args:
        source: the opened data set.
        data: what is used of it, or a sample.
        splits: the names of the splits that are used.
        counts: how many images.
        whole: whether `data` is all of what is used.
    """
    names, doubts = data.label_names, contrast(data.images)
    if whole and names is not None:
        absent = set(range(len(names))) - set(data.labels.unique().tolist())
        without = tuple(names[number] for number in sorted(absent))
        doubts = " ".join(filter(None, (doubts, f"No image is of {names_and_more(without)}." if without else "")))
    classes = "no classes" if names is None else f"{len(names)} classes ({names_and_more(names)})"
    unused = [name for name in source.parts if name not in splits]
    others = f"Not used: the split(s) {', '.join(unused)}." if unused else ""
    return " ".join(filter(None, (f"{counts}, from {source.origin}; {classes}.", doubts, str(source.left_out), others)))


def contrast(images: Tensor) -> str:
    """A sentence on bytes that lie close together, as class numbers or wrongly scaled values do; else empty."""
    low, high = int(images.min()), int(images.max())
    if high - low >= _LEAST_RANGE:
        return ""
    return f"Their values lie within {low} ... {high} of 0 ... 255, almost one grey: are they scaled as they should be?"


def check_shape(resolution: int | None, channels: int | None) -> None:
    """Refuses sizes that no image can have.

    Raises:
        ValueError: for a resolution below 1, or channels other than 1, 3 and None.
    """
    if resolution is not None and resolution < 1:
        raise ValueError(f"resolution must be at least 1 pixel; got {resolution}.")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey), 3 (colour) or None (as they are); got {channels}.")


class _Digits(ImageSource):
    """The built-in digits as they are, which need no decoding."""


def _opened(source: str, selection: Selection | None) -> ImageSource:
    if not is_built_in(source):
        return open_source(source, selection=selection)
    check_digits(selection or Selection())
    return _Digits(DIGITS, dict.fromkeys(("train", "test")), "image", "label", origin=DIGITS_ORIGIN)


def _read_part(source: ImageSource, split: str, resolution: int | None, channels: int | None) -> ImageData:
    """Decodes every picture of a split, and its label if most have one."""
    if isinstance(source, _Digits):
        if resolution not in (None, 8) or channels == 3:
            return _read_part(open_source(DIGITS), split, resolution, channels)
        images, labels = read_digits(split)
        return ImageData(torch.from_numpy(images), torch.from_numpy(labels), tuple("0123456789"))
    data = source.part(split)
    numbers: list[int | None] | None = None
    if source.label_column:
        numbers = [source.class_of(value) for value in data[source.label_column][:]]
        if 2 * numbers.count(None) > len(numbers):  # a test set whose labels are withheld
            missing = f"{numbers.count(None):,} of {len(numbers):,}"
            source.left_out.note(f"The classes of {split!r} are not used: {missing} images have none.")
            numbers = None
    chunks = data.select_columns(source.image_column).iter(256)
    records = (record for chunk in chunks for record in chunk[source.image_column])
    images, kept, skipped = _stack(records, numbers, source.name, resolution, channels)
    source.left_out.add("that cannot be used", *skipped)
    if numbers is None:
        return ImageData(images)
    return ImageData(images, torch.tensor([numbers[i] for i in kept], dtype=torch.int64), source.label_names)


def _stack(
    records: Iterable[Any], numbers: list[int | None] | None, source: str, resolution: int | None, channels: int | None
) -> tuple[Tensor, list[int], list[str]]:
    """The good pictures as one tensor of bytes, `(N, C, H, W)`, their positions, and the names of the others."""
    skipped, wide, kept, others = SkippedImages(source), WideValues(source), [], []
    pixels = bytearray()
    shape: tuple[int, ...] | None = None
    first = ""
    for i, record in enumerate(records):
        skipped.seen += 1
        if numbers is not None and numbers[i] is None:
            others.append(name_of(record, i, source))
            skipped.add(others[-1], "has no label")
            continue
        try:
            picture = decode(record, resolution=resolution, channels=channels, wide=wide)
        except BadImageError as error:
            others.append(name_of(record, i, source))
            skipped.add(others[-1], str(error))
            continue
        if shape is None:
            shape, first = picture.shape, name_of(record, i, source)
        if picture.shape[1:] != shape[1:]:
            raise ValueError(
                f"Images of {source!r} differ in size: {first} is {size_of(shape)} and {name_of(record, i, source)} is "
                f"{size_of(picture.shape)}. Pass a resolution to bring them to one."
            )
        if len(picture) > shape[0]:  # the first colour after grey ones
            grey = np.frombuffer(pixels, np.uint8).reshape(-1, *shape)
            shape, pixels = picture.shape, bytearray(np.repeat(grey, 3, axis=1).tobytes())
        pixels += np.broadcast_to(picture, shape).tobytes()
        kept.append(i)
    skipped.check()
    wide.check()
    if shape is None:
        raise ValueError(f"{source!r} holds no images.")
    skipped.warn()
    return torch.frombuffer(pixels, dtype=torch.uint8).reshape(-1, *shape), kept, others


def size_of(shape: tuple[int, ...]) -> str:
    """Width and height of an image of shape `(C, H, W)`, in words."""
    return f"{shape[2]}x{shape[1]} pixels"
