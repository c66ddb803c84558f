"""Where pictures are: opening a folder, Parquet files, a data set of the Hub or the digits, without decoding any.

Decoding is left to :mod:`.decoding`, because `datasets` would raise at the first torn file without naming it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .labels import class_number, declared_names, label_column, plain_classes

logger = logging.getLogger(__name__)

DIGITS = "digits"
_SOURCES = f"Give a folder of images or Parquet files, a data set's name on the Hub, or {DIGITS!r}."


@dataclass(frozen=True)
class ImageSource:
    """An opened data set.

    Args:
        name: as it was given.
        parts: `datasets`' data sets by the names of their splits, with undecoded pictures.
        image_column: the column of pictures.
        label_column: the column of labels; `None` for data without classes.
        classes: the number of each value of that column; `None` for data without classes.
        label_names: the names of the classes in the order of their numbers; `None` for data without classes.
    """

    name: str
    parts: Mapping[str, Any]
    image_column: str
    label_column: str | None = None
    classes: Mapping[Any, int] | None = None
    label_names: tuple[str, ...] | None = None

    def part(self, split: str) -> Any:
        """The data set of one split.

        Raises:
            ValueError: for a split that does not exist.
        """
        if split not in self.parts:
            raise ValueError(f"{self.name!r} has no split {split!r}; there are: {', '.join(self.parts)}.")
        return self.parts[split]

    def class_of(self, label: Any) -> int | None:
        """The number of a label's class, `None` where it is missing."""
        return None if self.classes is None else class_number(label, self.classes)


def open_source(source: str, *, streaming: bool = False) -> ImageSource:
    """Opens a data set.

    Args:
        source: a folder, a data set's name on the Hub, or `"digits"`.
        streaming: read rows when they are asked for, instead of downloading everything now.  Labels are then taken
            only from a column that declares its classes.

    Raises:
        ValueError: for a source that does not exist, cannot be read, or has no column of images.
    """
    from datasets import Dataset, Image

    parts = _open(source, streaming)
    features = next(iter(parts.values())).features or {}
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if not images:
        raise ValueError(f"{source!r} has no column of images; its columns are: {', '.join(features)}.")
    parts = {name: part.cast_column(images[0], Image(decode=False)) for name, part in parts.items()}
    column = label_column(features)
    names = declared_names(features[column]) if column else None
    values: list[Any] | None = None if names is None else list(range(len(names)))
    if column and names is None:
        if all(isinstance(part, Dataset) for part in parts.values()):
            values = plain_classes(part[column][:] for part in parts.values())
            names = values and tuple(map(str, values))
        else:
            logger.warning(
                "The classes in column %r of %r are not declared, and a stream cannot know them all in advance: its "
                "labels are not used. Declare them by a `ClassLabel` feature, or do not stream.", column, source,
            )  # fmt: skip
    if values is None:
        return ImageSource(source, parts, images[0])
    classes = {value: number for number, value in enumerate(values)}
    return ImageSource(source, parts, images[0], column, classes, names)


def read_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits as bytes, `(N, 1, 8, 8)`, and their classes, `(N,)`.

    Raises:
        ValueError: for a split other than `train` (1,500 images) and `test` (297).
    """
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise ValueError(f"{DIGITS!r} has no split {split!r}; there are 'train' (1,500 images) and 'test' (297).")
    digits = load_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    return np.rint(digits.images[part] * (255 / 16)).astype(np.uint8)[:, None], digits.target[part].astype(np.int64)


def _open(source: str, streaming: bool) -> Mapping[str, Any]:
    from datasets import load_dataset

    if source == DIGITS:
        return _digits_as_datasets()
    path = Path(source).expanduser()
    looks_local = path.exists() or source.startswith((".", "/", "~"))
    if looks_local and not path.is_dir():
        hint = "That is a file; give the folder that holds it." if path.exists() else _SOURCES
        raise ValueError(f"There is no folder {source!r}. {hint}")
    try:
        return _open_folder(path, streaming) if looks_local else load_dataset(source, streaming=streaming)
    except Exception as error:  # the library raises a dozen kinds, from missing repositories to torn files
        reasons = ": ".join(str(reason).rstrip(".") for reason in (error, error.__cause__) if reason)
        raise ValueError(f"Could not read images from {source!r}: {reasons}. {_SOURCES}") from error


def _open_folder(path: Path, streaming: bool) -> Mapping[str, Any]:
    """Tables as they are; pictures, by their paths, even where there are as many captions or notes beside them."""
    from datasets import load_dataset_builder
    from datasets.data_files import DataFilesDict, get_data_patterns
    from datasets.packaged_modules.arrow.arrow import Arrow
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.packaged_modules.parquet.parquet import Parquet
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = load_dataset_builder(str(path))
    if not isinstance(builder, Arrow | ImageFolder | Parquet | WebDataset):
        base = path.resolve().as_posix()
        extensions = [*ImageFolder.EXTENSIONS, *(extension.upper() for extension in ImageFolder.EXTENSIONS)]
        files = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base, allowed_extensions=None).filter(
            extensions=extensions, file_names=ImageFolder.METADATA_FILENAMES
        )
        if any(Path(file).suffix in extensions for part in files.values() for file in part):
            builder = ImageFolder(data_files=files)
    # A folder's pictures are listed, not streamed: paths are few bytes, and can be shuffled all at once.
    if streaming and not isinstance(builder, ImageFolder):
        return builder.as_streaming_dataset()
    builder.download_and_prepare()
    return builder.as_dataset()


def _digits_as_datasets() -> Mapping[str, Any]:
    from datasets import ClassLabel, Dataset, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    parts = {split: read_digits(split) for split in ("train", "test")}
    return {
        split: Dataset.from_dict({"image": list(images[:, 0]), "label": labels}, features)
        for split, (images, labels) in parts.items()
    }
