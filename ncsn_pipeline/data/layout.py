"""Which files are which part of a data set, and which class a picture is of, by the folders they lie in.

Folders are parts only where their names leave no doubt: all of them are called `train`, `test` or `validation` (or a
word that means the same), or `train` stands beside another such folder.  A class folder `train` beside `bus` and `car`
is a class.  Where there are no parts, everything is `train`.

    train/a.png  test/b.png                     two parts
    bus/a.png  car/b.png  train/c.png           three classes
    train/cat/a.png  train/dog/b.png  test/...  parts of two classes
    cat/train/a.png  dog/train/b.png  cat/test/...  the same
    cat/2023/a.png  dog/2023/b.png              classes cat and dog
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from .left_out import LeftOut

SPLIT_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
}
_SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
_BETWEEN = "-._ 0123456789"
_WORD_INSIDE = re.compile(rf"(.*?[-._ 0-9])??({'|'.join(_SPLIT_OF)})([-._ 0-9].*)?", re.IGNORECASE)
_SHARD = re.compile(r"data/([\w.]+)-\d{5}-of-\d{5}[^/]*")


def divide_pictures(
    paths: Sequence[str], left_out: LeftOut
) -> tuple[list[str | None], list[str | None], tuple[str, ...] | None]:
    """The part and the class of each picture.

    Args:
        paths: below the folder, with `/` between.
        left_out: takes the pictures that are in no part.

    Returns:
        The name of each picture's part, `None` where it is in none; the name of each one's class, `None` where it has
        none; the names of all classes, sorted, `None` where there are fewer than two.
    """
    rows = [path.split("/") for path in paths]
    depth = 0
    while True:  # a folder that holds nothing but another folder says nothing
        heads = {row[depth] for row in rows if len(row) > depth + 1}
        loose = any(len(row) == depth + 1 for row in rows)
        parts = _parts_of(heads, loose)
        if parts or loose or len(heads) != 1:
            break
        depth += 1
    if not parts and not loose and (parts := _parts_of_classes([row[depth:] for row in rows])):
        rows = [
            [*row[:depth], row[depth + 1], row[depth], *row[depth + 2 :]] if row[depth + 2 :] else row for row in rows
        ]
    if not parts:
        classes, names = _classes_of([row[depth:] for row in rows])
        named = [
            path
            for path, row, own in zip(paths, rows, classes, strict=True)
            if any(_is_held_out(folder) for folder in row[depth:-1] if folder != own)
        ]
        _note_no_part("image(s)", named, left_out)
        return ["train"] * len(rows), classes, names
    splits = [parts.get(row[depth]) if len(row) > depth + 1 else None for row in rows]
    outside = [path for path, split in zip(paths, splits, strict=True) if split is None]
    left_out.add(f"beside the folders {' and '.join(sorted(parts))}", *outside)
    inside = [
        [] if split is None else row[depth + (2 if _repeated(row, depth) else 1) :]
        for row, split in zip(rows, splits, strict=True)
    ]
    return splits, *_classes_of(inside)


def divide_tables(paths: Sequence[str], left_out: LeftOut) -> dict[str, list[str]]:
    """Tables by their parts, which are words of a file's name or else of its folder's: `train-00000-of-00001.parquet`.

    Args:
        paths: below the folder, with `/` between, sorted.
        left_out: takes the tables that are in no part.
    """
    named = {path: _split_of_table(path) for path in paths}
    found = set(named.values()) - {None}
    if not found or (None in named.values() and not _are_parts(found)):
        _note_no_part("table(s)", [path for path, split in named.items() if split not in (None, "train")], left_out)
        return {"train": list(paths)}
    left_out.add("in no part by their names", *(path for path, split in named.items() if split is None))
    return {split: [path for path in paths if named[path] == split] for split in sorted(found, key=_order)}


def _parts_of(names: Iterable[str], loose: bool) -> Mapping[str, str]:
    """The parts that folders stand for; none where they are classes."""
    names = list(names)
    plain = {name: _SPLIT_OF[name.lower()] for name in names if name.lower() in _SPLIT_OF}
    if plain and (_are_parts(set(plain.values())) or (len(plain) == len(names) and not loose)):
        return plain
    inside = {name: found for name in names if (found := _WORD_INSIDE.fullmatch(name))}
    around = {tuple((text or "").strip(_BETWEEN) for text in found.group(1, 3)) for found in inside.values()}
    worded = {name: _SPLIT_OF[found[2].lower()] for name, found in inside.items()}
    return worded if len(inside) == len(names) and len(around) == 1 and _are_parts(set(worded.values())) else {}


def _are_parts(splits: set[str | None]) -> bool:
    return "train" in splits and len(splits) > 1


def _parts_of_classes(rows: Sequence[Sequence[str]]) -> Mapping[str, str]:
    """The parts that the folders inside of classes stand for; none unless each class has `train`."""
    inside: dict[str, set[str]] = {}
    for row in rows:
        inside.setdefault(row[0], set()).update(row[1:-1][:1])
    parts = _parts_of(set().union(*inside.values()), loose=True)
    everywhere = all("train" in map(parts.get, names) for names in inside.values())
    return parts if everywhere and not any(name.lower() in _SPLIT_OF for name in inside) else {}


def _is_held_out(folder: str) -> bool:
    return _SPLIT_OF.get(folder.lower(), "train") != "train"


def _note_no_part(what: str, paths: Sequence[str], left_out: LeftOut) -> None:
    """Says which files are in no part, though their names are those of one to measure on."""
    if paths:
        left_out.note(f"Used like all others, though named as for testing: {len(paths):,} {what}, such as {paths[0]}.")


def _repeated(row: Sequence[str], depth: int) -> bool:
    """`seg_train/seg_train/cat`, as unpacked archives have it."""
    return len(row) > depth + 2 and row[depth] == row[depth + 1]


def _classes_of(rows: Sequence[Sequence[str]]) -> tuple[list[str | None], tuple[str, ...] | None]:
    """The outermost folders that tell pictures apart are the classes, those of all parts together."""
    used = [row for row in rows if row]
    depth = 0
    while used and all(len(row) > depth + 1 for row in used) and len({row[depth] for row in used}) == 1:
        depth += 1
    found = [row[depth] if len(row) > depth + 1 else None for row in rows]
    names = tuple(sorted(set(found) - {None}))
    return (found, names) if len(names) > 1 else ([None] * len(rows), None)


def _split_of_table(path: str) -> str | None:
    if sharded := _SHARD.fullmatch(path):
        return _SPLIT_OF.get(sharded[1].lower(), sharded[1])
    *folders, name = path.split("/")
    for text in (name.rpartition(".")[0], *reversed(folders)):
        for word in re.split(f"[{re.escape(_BETWEEN)}]+", text.lower()):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return None


def _order(split: str) -> tuple[int, str]:
    known = ("train", "validation", "test")
    return (known.index(split) if split in known else len(known), split)
