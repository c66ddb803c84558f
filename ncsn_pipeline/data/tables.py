"""Tables of a folder, opened by `datasets` from a list of files, so that no name is read as a pattern."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cache import check_cache
from .listing import Listing

_BUILDERS = {
    ".parquet": ("parquet.parquet", "Parquet"),
    ".arrow": ("arrow.arrow", "Arrow"),
    ".tar": ("webdataset.webdataset", "WebDataset"),
    ".csv": ("csv.csv", "Csv"),
    ".jsonl": ("json.json", "Json"),
}
_DECLARE_CLASSES = (".parquet", ".arrow")
FEW = 3  # pictures, which may lie beside archives of pictures to show what is in them


class ClassesDiffer(ValueError):
    """Files of one data set number their classes differently."""


def open_tables(
    root: Path, parts: Mapping[str, Sequence[str]], *, streaming: bool = False, **options: Any
) -> Mapping[str, Any]:
    """The data sets of tables of one kind.

    Args:
        root: the folder.
        parts: the files of each part by their paths below it.
        streaming: read rows when they are asked for.
        **options: of `datasets` for files of this kind.

    Raises:
        OSError: where `datasets` keeps what it reads and cannot write there.
        ClassesDiffer: for files that number their classes differently.
        Exception: of many kinds, for tables that cannot be read.
    """
    from importlib import import_module

    from datasets.data_files import DataFilesDict, DataFilesList

    check_cache()
    files = [name for names in parts.values() for name in names]
    if len(files) > 1:
        check_classes(root, files)

    def listed(names: Sequence[str]) -> DataFilesList:
        paths = [root / name for name in names]
        # With the time of the last change, what is cached of an older file is not taken for it.
        return DataFilesList([path.as_posix() for path in paths], [(str(path.stat().st_mtime_ns),) for path in paths])

    module, name = _BUILDERS[Path(next(iter(parts.values()))[0]).suffix.lower()]
    kind = getattr(import_module(f"datasets.packaged_modules.{module}"), name)
    builder = kind(data_files=DataFilesDict({split: listed(names) for split, names in parts.items()}), **options)
    if streaming:
        return builder.as_streaming_dataset()
    builder.download_and_prepare()
    return builder.as_dataset()


def check_classes(root: Path, names: Sequence[str]) -> None:
    """Refuses files whose numbers mean different classes: all would be read by the names of the first.

    Args:
        root: a folder.
        names: the files, by their paths below it or absolute; those of a kind that declares no classes are passed over.

    Raises:
        ClassesDiffer: naming two of them.
    """
    from datasets import ClassLabel

    first: dict[str, tuple[str, list[str]]] = {}
    for name in names:
        if Path(name).suffix.lower() not in _DECLARE_CLASSES:
            continue
        for column, feature in _features(root, name).items():
            if isinstance(feature, ClassLabel) and feature.names is not None:
                other, classes = first.setdefault(column, (name, feature.names))
                if classes != feature.names:
                    raise ClassesDiffer(
                        f"The classes in the column {column!r} are {', '.join(classes)} in {other}, and "
                        f"{', '.join(feature.names)} in {name}, by the same numbers. Write all files with one list, by "
                        f"dataset.cast_column({column!r}, ClassLabel(names=[...])) of the labels as words."
                    )


def tables_of(listing: Listing) -> list[str]:
    """The tables that a folder is about: those of the kind that takes most room, if they hold more than its pictures.

    A table of other things beside the pictures, captions or features, is none of them, nor is an archive beside more
    than a few: it holds the same pictures, or others.
    """
    kinds: dict[str, list[str]] = {}
    for name in listing.tables:
        kind = Path(name).suffix.lower()
        if kind == ".tar" and len(listing.pictures) > FEW:
            continue
        if not listing.pictures or holds_pictures(listing.root, name):
            kinds.setdefault(kind, []).append(name)
    largest = max(kinds.values(), key=listing.size, default=[])
    return largest if listing.size(largest) > listing.size(listing.pictures) else []


def holds_pictures(root: Path, name: str) -> bool:
    """Whether a table has a column of images; one that cannot be read may have one."""
    from datasets import Image

    try:
        features = _features(root, name)
    except Exception:  # of many kinds; whoever opens it will say so
        return True
    return any(isinstance(feature, Image) for feature in features.values())


def _features(root: Path, name: str) -> Mapping[str, Any]:
    """The columns of one table, as it declares them."""
    return open_tables(root, {"train": [name]}, streaming=True)["train"].features or {}
