"""Pictures of a folder as tables of their paths, with what the folders and metadata files say of them.

A metadata file, as `datasets` has it, lists pictures below its folder: `file_name` is the picture, `mask_file_name` one
more called `mask`, and the other columns are labels, captions or anything else.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .columns import PLAIN_LABELS
from .layout import divide_pictures
from .listing import Listing
from .tables import open_tables

_FILE_NAME = "file_name"


def open_pictures(listing: Listing) -> dict[str, Any]:
    """The pictures of a folder by their parts, as `datasets.Dataset` with undecoded images; nothing is copied.

    Labels come from a metadata file, if one has a column `label`, and else from the folders.  Pictures in a metadata
    file's folder that it does not list are left out.

    Raises:
        ValueError: for a metadata file that names no pictures, or pictures outside of its folder.
    """
    from datasets import ClassLabel, Dataset, Features, Image, Value

    columns, pictures = _columns(listing)
    paths = columns["image" if "image" in pictures else pictures[0]]
    splits, classes, names = divide_pictures([path or "" for path in paths], listing.left_out)
    declared: dict[str, Any] = {name: Image(decode=False) for name in pictures}
    if names and not set(PLAIN_LABELS) & columns.keys():
        number = {name: i for i, name in enumerate(names)}
        columns["label"] = [number.get(name) for name in classes]
        declared["label"] = ClassLabel(names=list(names))
    for name in columns.keys() - declared.keys():
        columns[name] = _of_one_kind(columns[name])
    for name in pictures:
        columns[name] = [value and str(listing.root / value) for value in columns[name]]
    parts = {}
    for split in ("train", "validation", "test"):
        chosen = [i for i, found in enumerate(splits) if found == split]
        if chosen:
            rows = {name: [values[i] for i in chosen] for name, values in columns.items()}
            features = Dataset.from_dict({name: rows[name] for name in rows if name not in declared}).features
            mixed = Features({name: declared.get(name, features.get(name, Value("string"))) for name in rows})
            parts[split] = Dataset.from_dict(rows, mixed)
    return parts


def _columns(listing: Listing) -> tuple[dict[str, list[Any]], list[str]]:
    """What is known of each picture, column by column, and which columns are pictures."""
    tables = {name: _read_metadata(listing, name) for name in sorted(listing.metadata)}
    listed = {path for table, pictures in tables.values() for name in pictures for path in table[name]}
    rest = []
    for path in listing.pictures:
        over = [name for name in tables if path.startswith(_folder(name))]
        if not over:
            rest.append(path)
        elif path not in listed:
            listing.left_out.add(f"not in {max(over, key=len)}", path)
    every = [*tables.values(), *([({"image": rest}, ["image"])] if rest or not tables else [])]
    pictures = list(dict.fromkeys(name for _, names in every for name in names))
    names = list(dict.fromkeys(name for table, _ in every for name in table))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for table, _ in every:
        count = len(next(iter(table.values())))
        for name in names:
            columns[name] += table.get(name, [None] * count)
    return columns, pictures


def _of_one_kind(values: list[Any]) -> list[Any]:
    """Numbers as they are; words, and what is neither in every metadata file, as words."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return values
    return [None if value is None else str(value) for value in values]


def _read_metadata(listing: Listing, name: str) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns of a metadata file, its pictures by their paths below the whole folder, and which those are."""
    try:
        table: Mapping[str, Any] = open_tables(listing.root, {"train": [name]})["train"][:]
    except Exception as error:  # of many kinds
        raise ValueError(f"{name} lists no pictures or cannot be read: {error}") from error
    columns, pictures = {}, []
    for column, values in table.items():
        if column != _FILE_NAME and not column.endswith(f"_{_FILE_NAME}"):
            columns[column] = list(values)
            continue
        picture = column[: -len(_FILE_NAME) - 1] or "image"
        pictures.append(picture)
        columns[picture] = [_below(name, value) for value in values]
    if not pictures:
        raise ValueError(
            f"{name} has no column {_FILE_NAME} with the names of the pictures; its columns are: {', '.join(table)}"
        )
    return columns, pictures


def _below(metadata: str, value: Any) -> str | None:
    """The path of a picture that a metadata file names; it must not lead out of that file's folder."""
    if value is None:
        return None
    path = posixpath.normpath(str(value).replace("\\", "/"))
    if "://" in str(value) or posixpath.isabs(path) or path.split("/")[0] == ".." or Path(str(value)).is_absolute():
        raise ValueError(f"{metadata} names {value!r}; it must be a path below the folder of {metadata}")
    return _folder(metadata) + path


def _folder(metadata: str) -> str:
    """The folder of a metadata file, with the `/` at its end; empty for the whole folder."""
    folder = posixpath.dirname(metadata)
    return f"{folder}/" if folder else ""
