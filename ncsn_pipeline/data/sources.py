"""Where pictures are: opening a folder, Parquet files, a data set of the Hub or the digits, without decoding any.

Decoding is left to :mod:`.decoding`, because `datasets` would raise at the first torn file without naming it.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import CacheError, check_cache
from .columns import image_column, label_column
from .labels import class_number, declared_names, plain_classes
from .layout import divide_tables
from .left_out import LeftOut
from .listing import list_folder
from .pictures import open_pictures
from .selection import Selection
from .tables import ClassesDiffer, check_classes, open_tables, tables_of

logger = logging.getLogger(__name__)

DIGITS = "digits"
_SOURCES = f"Give a folder of images or Parquet files, a data set's name on the Hub, or {DIGITS!r}."
# A folder with one of these is what training wrote, not what it is given.
_WRITTEN_BY_TRAINING = ("model_index.json", ".run.lock", "checkpoint-*")


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
        origin: what it is, in words.
        left_out: what of it is not used.
    """

    name: str
    parts: Mapping[str, Any]
    image_column: str
    label_column: str | None = None
    classes: Mapping[Any, int] | None = None
    label_names: tuple[str, ...] | None = None
    origin: str = ""
    left_out: LeftOut = field(default_factory=LeftOut)

    def part(self, split: str) -> Any:
        """The data set of one split.

        Raises:
            ValueError: for a split that does not exist.
        """
        if split not in self.parts:
            raise ValueError(
                f"{self.name!r} has no split {split!r}; there are: {', '.join(self.parts)}. Name one of them, in "
                "training as train_split and test_split."
            )
        return self.parts[split]

    def class_of(self, label: Any) -> int | None:
        """The number of a label's class, `None` where it is missing."""
        return None if self.classes is None else class_number(label, self.classes)


def open_source(source: str, *, streaming: bool = False, selection: Selection | None = None) -> ImageSource:
    """Opens a data set.

    Args:
        source: a folder, a data set's name on the Hub, or `"digits"`.
        streaming: read rows when they are asked for, instead of downloading everything now.  Labels are then taken
            only from a column that declares its classes.
        selection: which columns and configuration.

    Raises:
        ValueError: for a source that does not exist, cannot be read, or has no column of images; for several columns
            of images or classes of which none has a usual name.
        OSError: where `datasets` keeps what it reads and cannot write there.
    """
    from datasets import Dataset, Image

    selection = selection or Selection()
    parts, origin, left_out = _open(source, streaming, selection.dataset_config_name)
    features = next(iter(parts.values())).features or {}
    image = image_column(features, selection.image_column, source)
    column = label_column(features, selection.label_column, image, source)
    left_out.add("other column(s)", *(name for name in features if name not in (image, column)))
    parts = {name: part.cast_column(image, Image(decode=False)) for name, part in parts.items()}
    names = declared_names(features[column]) if column else None
    values: list[Any] | None = None if names is None else list(range(len(names)))
    if column and names is None:
        if all(isinstance(part, Dataset) for part in parts.values()):
            values = plain_classes(part[column][:] for part in parts.values())
            names = values and tuple(map(str, values))
            if values is None and selection.label_column:
                raise ValueError(
                    f"The column {column!r} of {source!r} holds no classes, which are whole numbers from 0 on or "
                    "words. Set label_column to another one, or leave it out."
                )
            if values is None:
                left_out.note(f"The column {column!r} holds no classes (whole numbers or words), so it is not used.")
        else:
            logger.warning(
                "The classes in column %r of %r are not declared, and a stream cannot know them all in advance: its "
                "labels are not used. Declare them by a `ClassLabel` feature, or do not stream.", column, source,
            )  # fmt: skip
    if values is None:
        return ImageSource(source, parts, image, origin=origin, left_out=left_out)
    classes = {value: number for number, value in enumerate(values)}
    return ImageSource(source, parts, image, column, classes, names, origin, left_out)


def is_built_in(source: str) -> bool:
    """Whether a name is that of the built-in digits; a folder of that name with pictures or tables is the user's."""
    return source == DIGITS and not _is_data(Path(DIGITS))


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


DIGITS_ORIGIN = f"the built-in {DIGITS!r}, scikit-learn's 8x8 handwritten ones"


def check_digits(selection: Selection) -> None:
    """Refuses names of columns and configurations that the built-in digits do not have.

    Raises:
        ValueError: for one of them.
    """
    have = {"image_column": "image", "label_column": "label", "dataset_config_name": None}
    for name, only in have.items():
        value = getattr(selection, name)
        if value not in (None, only):
            raise ValueError(f"The built-in {DIGITS!r} has no {name} {value!r}. Leave it out.")


def _is_data(folder: Path) -> bool:
    if not folder.is_dir() or any(any(folder.glob(pattern)) for pattern in _WRITTEN_BY_TRAINING):
        return False
    listing = list_folder(folder)
    return bool(listing.pictures or listing.tables)


def _open(source: str, streaming: bool, config_name: str | None) -> tuple[Mapping[str, Any], str, LeftOut]:
    """The parts, what they are in words, and what of them is not used."""
    from datasets import load_dataset

    if is_built_in(source):
        check_digits(Selection(dataset_config_name=config_name))
        return _digits_as_datasets(), DIGITS_ORIGIN, LeftOut()
    path = Path(os.path.expanduser(source))
    looks_local = path.exists() or source.startswith((".", "/", "~"))
    if looks_local and not path.is_dir():
        hint = "That is a file; give the folder that holds it." if path.exists() else _SOURCES
        raise ValueError(f"There is no folder {source!r}. {hint}")
    try:
        if looks_local:
            return _open_folder(path, source, streaming, config_name)
        check_cache()
        return load_dataset(source, config_name, streaming=streaming), f"{source!r} on the Hub", LeftOut()
    except (CacheError, ClassesDiffer):
        raise
    except Exception as error:  # the library raises a dozen kinds, from missing repositories to torn files
        reasons = ": ".join(str(reason).rstrip(".") for reason in (error, error.__cause__) if reason)
        advice = "Choose one by dataset_config_name." if "Config name is missing" in reasons else _SOURCES
        raise ValueError(f"Could not read images from {source!r}: {reasons}. {advice}") from error


def _open_folder(
    path: Path, source: str, streaming: bool, config_name: str | None
) -> tuple[Mapping[str, Any], str, LeftOut]:
    """What lies in a folder; a data set of the Hub that was copied there is read as its README.md says."""
    from datasets import load_dataset_builder

    listing = list_folder(path)
    left_out = listing.left_out
    tables = tables_of(listing)
    declared = listing.tables and _declares_files(path / "README.md")
    if config_name is not None or declared or not (tables or listing.pictures):
        check_cache()
        builder = load_dataset_builder(str(path), config_name)
        files = [file for names in (builder.config.data_files or {}).values() for file in names if "://" not in file]
        check_classes(listing.root, files)
        if streaming:
            return builder.as_streaming_dataset(), f"the folder {source!r}", LeftOut()
        builder.download_and_prepare()
        return builder.as_dataset(), f"the folder {source!r}", LeftOut()
    if not tables:
        left_out.add("table(s)", *listing.tables)
        # A folder's pictures are listed, not streamed: paths are few bytes, and can be shuffled all at once.
        return open_pictures(listing), f"{listing.files:,} file(s) in the folder {source!r}", left_out
    left_out.add("beside the tables", *listing.pictures, *listing.metadata, *sorted({*listing.tables} - {*tables}))
    parts = divide_tables(tables, left_out)
    count = sum(map(len, parts.values()))
    kind = Path(tables[0]).suffix
    return open_tables(listing.root, parts, streaming=streaming), f"{count:,} {kind} file(s) in {source!r}", left_out


def _declares_files(readme: Path) -> bool:
    """Whether a README.md begins with a data set's description, as the Hub reads it."""
    if not readme.is_file():
        return False
    head = readme.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    return head.startswith("---") and ("\nconfigs:" in head or "\ndataset_info:" in head)


def _digits_as_datasets() -> Mapping[str, Any]:
    from datasets import ClassLabel, Dataset, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    parts = {split: read_digits(split) for split in ("train", "test")}
    return {
        split: Dataset.from_dict({"image": list(images[:, 0]), "label": labels}, features)
        for split, (images, labels) in parts.items()
    }
