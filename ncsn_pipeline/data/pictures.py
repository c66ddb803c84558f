"""Pictures of a folder as tables of their paths, with what the folders and metadata files say of them.

A metadata file, as `datasets` has it, lists pictures below its folder: `file_name` is the picture, `mask_file_name` one
more called `mask`, and the other columns are labels, captions or anything else.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .columns import PLAIN_LABELS
from .layout import divide_pictures
from .left_out import LeftOut
from .listing import Listing
from .tables import open_tables

_FILE_NAME = "file_name"
_PADDED = re.compile(r"\s*[-+]?0\d")  # `007`, which is a word


def open_pictures(listing: Listing) -> dict[str, Any]:
    """The pictures of a folder by their parts, as `datasets.Dataset` with undecoded images; nothing is copied.

    Labels come from a metadata file, if one has a column `label`, and else from the folders.  Pictures in a metadata
    file's folder that it does not list are left out.

    Raises:
        ValueError: for a metadata file that names no pictures, or pictures outside of its folder.
    """
    from datasets import ClassLabel, Dataset, Features, Image, Value

    columns, pictures = _columns(listing)
    splits, classes, names = divide_pictures([path or "" for path in columns[pictures[0]]], listing.left_out)
    declared: dict[str, Any] = {name: Image(decode=False) for name in pictures}
    if names and not set(PLAIN_LABELS) & columns.keys():
        number = {name: i for i, name in enumerate(names)}
        columns["label"] = [number.get(name) for name in classes]
        declared["label"] = ClassLabel(names=list(names))
    for name in columns.keys() - declared.keys():
        columns[name] = columns[name] if _are_numbers(columns[name]) else _as_words(columns[name])
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
    """What is known of each picture, column by column, and which columns are pictures, `image` first if it is one."""
    tables = {name: _read_metadata(listing, name) for name in sorted(listing.metadata)}
    listed = {path for table, pictures in tables.values() for name in pictures for path in table[name]}
    rest = []
    for path in listing.pictures:
        over = [name for name in tables if path.startswith(_folder(name))]
        if not over:
            rest.append(path)
        elif path not in listed:
            listing.left_out.add(f"not in {max(over, key=len)}", path)
    unlisted = ["image"] if rest or not tables else []
    pictures = list(dict.fromkeys([name for _, own in tables.values() for name in own] + unlisted))
    pictures.sort(key=lambda name: name != "image")
    names = dict.fromkeys([name for table, _ in tables.values() for name in table] + unlisted)
    rows = _join({name: table for name, (table, _) in tables.items()}, pictures[0], listing.left_out)
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name, values in columns.items():
        values += rest if name == "image" else [None] * len(rest)
    return columns, pictures


def _join(tables: Mapping[str, dict[str, list[Any]]], picture: str, left_out: LeftOut) -> list[dict[str, Any]]:
    """The rows of all metadata files; of a picture in several, later ones fill in what the first one leaves open."""
    rows: list[dict[str, Any]] = []
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for file, table in tables.items():
        found = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
        new = [row for row in found if row.get(picture) not in rows_of]
        again = [row for row in found if row.get(picture) in rows_of]
        for row in again:
            for first in rows_of[row[picture]]:
                first |= {name: value for name, value in row.items() if first.get(name) is None}
        left_out.add(f"in {file} that another metadata file lists", *(row[picture] for row in again))
        for row in new:
            if row.get(picture) is not None:
                rows_of.setdefault(row[picture], []).append(row)
        rows += new
    return rows


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in values)


def _as_words(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def _read_metadata(listing: Listing, name: str) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns of a metadata file, its pictures by their paths below the whole folder, and which those are."""
    try:
        table = _read_csv(listing.root, name) if name.endswith(".csv") else _rows(listing.root, name)
    except Exception as error:  # of many kinds
        raise ValueError(f"{name} lists no pictures or cannot be read: {error}") from error
    picture_of = {column: column[: -len(_FILE_NAME) - 1] or "image" for column in table if _names_pictures(column)}
    pictures = list(picture_of.values())
    if not pictures:
        raise ValueError(
            f"{name} has no column {_FILE_NAME} with the names of the pictures; its columns are: {', '.join(table)}"
        )
    columns = {}
    for column, values in table.items():
        if column in picture_of:
            columns[picture_of[column]] = [_below(name, value) for value in values]
        elif column in pictures:
            listing.left_out.add("other column(s)", column)
        else:
            columns[column] = list(values)
    return columns, pictures


def _names_pictures(column: str) -> bool:
    return column == _FILE_NAME or column.endswith(f"_{_FILE_NAME}")


def _rows(root: Path, name: str, **options: Any) -> Mapping[str, Any]:
    """A table column by column."""
    return open_tables(root, {"train": [name]}, **options)["train"][:]


def _read_csv(root: Path, name: str) -> Mapping[str, Any]:
    """A table whose values have no types: numbers where a column has no others, and else words as they are written.

    `NA` is a word among words, and `001` is one too.
    """
    from datasets import Features, Value

    guessed = _rows(root, name)
    strings = Features({column: Value("string") for column in guessed})
    written = _rows(root, name, features=strings, keep_default_na=False, na_values=[""])

    def are_meant(column: str) -> bool:
        padded = any(_PADDED.match(value or "") for value in written[column])
        return _are_numbers(guessed[column]) and not padded and not _names_pictures(column)

    return {column: (guessed if are_meant(column) else written)[column] for column in guessed}


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
