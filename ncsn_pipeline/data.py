"""Images from a Hub name, a folder, Parquet files, or the built-in handwritten digits, as one tensor.

Training, noise levels and evaluation all see data through :func:`load_images`.  Pictures are kept as bytes, so MNIST
takes 47 MB and CIFAR-10 154 MB; they become floats in the model's own range one batch at a time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

DIGITS = "digits"
_SOURCES = f"Give a folder of images or Parquet files, a data set's name on the Hub, or {DIGITS!r}."
_HELD_OUT_NAMES = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class ImageData:
    """A data set of equally sized images in memory.

    Args:
        images: bytes 0 ... 255, shape `(N, C, H, W)`, dtype uint8.
        labels: class numbers, shape `(N,)`, dtype int64; `None` for data without classes.
        label_names: the names of the classes, in the order of their numbers; `None` for data without classes.
    """

    images: Tensor
    labels: Tensor | None = None
    label_names: tuple[str, ...] | None = None

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
        return ImageData(self.images[indices], labels, self.label_names)


def to_range(images: Tensor, data_min: float = 0.0, data_max: float = 1.0) -> Tensor:
    """Bytes 0 ... 255 to float32 in [data_min, data_max], any shape."""
    return images.float() * ((data_max - data_min) / 255) + data_min


def load_images(
    source: str,
    *,
    split: str = "train",
    resolution: int | None = None,
    channels: int | None = None,
) -> ImageData:
    """Reads a data set of images.

    Args:
        source: `"digits"` (scikit-learn's 1,797 real 8x8 handwritten digits, offline: 1,500 in `train`, 297 in `test`),
            a folder with images (in one folder a class, if there are classes) or Parquet files, or a data set's name on
            the Hub.
        split: which part of the data set.
        resolution: side of the square images in pixels: the shorter side is resized to it, the longer one cropped at
            the centre.  `None` keeps the size, which must then be one for all.
        channels: 1 for grey, 3 for colour, `None` for what the first image has.  Transparency is laid on white.

    Raises:
        ValueError: for an unknown source or split, no images, or images of different sizes without `resolution`.
    """
    if resolution is not None and resolution < 1:
        raise ValueError(f"resolution must be at least 1 pixel; got {resolution}.")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey), 3 (colour) or None (as they are); got {channels}.")
    if source == DIGITS:
        pictures, labels, names = _read_digits(split)
    else:
        pictures, labels, names = _read_dataset(source, split)
    return ImageData(_stack(pictures, source, resolution, channels), labels, names)


def load_train_and_held_out(
    source: str,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    held_out_fraction: float = 0.05,
    seed: int = 0,
) -> tuple[ImageData, ImageData]:
    """The training images and those kept aside to measure the loss on.

    The second part is the data set's `test` or `validation` split where it has one, and else a random
    `held_out_fraction` of the training images, the same for the same `seed`.

    Raises:
        ValueError: as :func:`load_images`, and for fewer than two images.
    """
    splits = ("train", "test") if source == DIGITS else tuple(_open_dataset(source))
    train = load_images(source, split="train", resolution=resolution, channels=channels)
    for name in _HELD_OUT_NAMES:
        if name in splits:
            channels = train.images.shape[1]
            return train, load_images(source, split=name, resolution=resolution, channels=channels)
    if len(train) < 2:
        raise ValueError(f"{source!r} has {len(train)} image(s); training needs some, and one more to measure on.")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    held_out = max(1, round(held_out_fraction * len(train)))
    return train.subset(order[held_out:]), train.subset(order[:held_out])


def _read_digits(split: str) -> tuple[list[Image.Image], Tensor, tuple[str, ...]]:
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise ValueError(f"{DIGITS!r} has no split {split!r}; there are 'train' (1,500 images) and 'test' (297).")
    digits = load_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    grey = np.rint(digits.images[part] * (255 / 16)).astype(np.uint8)
    return [Image.fromarray(g) for g in grey], torch.from_numpy(digits.target[part]).long(), tuple("0123456789")


def _open_dataset(source: str) -> Any:
    from datasets import load_dataset

    path = Path(source).expanduser()
    looks_local = path.exists() or source.startswith((".", "/", "~"))
    if looks_local and not path.is_dir():
        raise ValueError(f"There is no folder {source!r}. {_SOURCES}")
    try:
        return load_dataset(str(path) if looks_local else source)
    except Exception as error:  # the library raises a dozen kinds, from missing repositories to torn files
        raise ValueError(f"Could not read images from {source!r}: {error} {_SOURCES}") from error


def _read_dataset(source: str, split: str) -> tuple[list[Image.Image], Tensor | None, tuple[str, ...] | None]:
    from datasets import ClassLabel, Value
    from datasets import Image as ImageFeature

    parts = _open_dataset(source)
    if split not in parts:
        raise ValueError(f"{source!r} has no split {split!r}; there are: {', '.join(parts)}.")
    data = parts[split]
    image_columns = [name for name, feature in data.features.items() if isinstance(feature, ImageFeature)]
    if not image_columns:
        raise ValueError(f"{source!r} has no column of images; its columns are: {', '.join(data.features)}.")
    labels = names = None
    for column, feature in data.features.items():
        plain = isinstance(feature, Value) and column in ("label", "labels") and "int" in feature.dtype
        if isinstance(feature, ClassLabel) or plain:
            values = data[column][:]
            # A test set whose labels are withheld has -1 or nothing in their place.
            if all(value is not None and value >= 0 for value in values):
                labels = torch.tensor(values, dtype=torch.int64)
                names = tuple(map(str, range(max(values) + 1))) if plain else tuple(feature.names)
            break
    return data[image_columns[0]], labels, names


def _stack(pictures: Any, source: str, resolution: int | None, channels: int | None) -> Tensor:
    """Decodes, converts and resizes every picture into one tensor of bytes, `(N, C, H, W)`."""
    images: np.ndarray | None = None
    for i, picture in enumerate(pictures):
        if channels is None:
            channels = 1 if picture.mode in ("1", "L", "LA", "I", "I;16") else 3
        pixels = np.asarray(_square(_convert(picture, channels), resolution))
        pixels = pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)
        if images is None:
            images = np.empty((len(pictures), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"Images of {source!r} differ in size: {images.shape[1:]} and {pixels.shape} (number {i}). "
                "Pass a resolution to bring them to one."
            )
        images[i] = pixels
    if images is None:
        raise ValueError(f"{source!r} holds no images.")
    return torch.from_numpy(images)


def _convert(picture: Image.Image, channels: int) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode in ("I", "I;16"):
        picture = Image.fromarray((np.asarray(picture, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return picture.convert("L" if channels == 1 else "RGB")


def _square(picture: Image.Image, resolution: int | None) -> Image.Image:
    if resolution is None or picture.size == (resolution, resolution):
        return picture
    return ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
