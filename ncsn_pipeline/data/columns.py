"""Which column of a table holds the pictures, and which their classes.

It is the one that is named, the only one, or the one with a usual name; else it is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "jpg", "png", "webp")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "cls", "category", "target")
PLAIN_LABELS = ("label", "labels")  # columns of classes even where these are not declared


def image_column(features: Mapping[str, Any], wanted: str | None, source: str) -> str:
    """The column of pictures.

    Args:
        features: of the table, by the names of its columns.
        wanted: the column's name, if it was given; files' contents without a declared type are then pictures too.
        source: the data set's name, for messages.

    Raises:
        ValueError: if there is none, none of that name, or several without a usual name.
    """
    from datasets import Image, Value

    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if wanted is not None:
        feature = features.get(wanted)
        contents = (isinstance(feature, Value) and "binary" in feature.dtype) or (
            isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}
        )
        if wanted not in images and not contents:
            raise ValueError(
                f"{source!r} has no column of images {wanted!r}; {_listed('columns of images', images, features)}. "
                "Set image_column to one of them."
            )
        return wanted
    if not images:
        raise ValueError(f"{source!r} has no column of images; its columns are: {', '.join(features)}.")
    return _one_of(images, IMAGE_NAMES, "images", "image_column", source)


def label_column(features: Mapping[str, Any], wanted: str | None, image: str, source: str) -> str | None:
    """The column of classes, declared or plain; `None` if there is none.

    Args:
        features: of the table, by the names of its columns.
        wanted: the column's name, if it was given.
        image: the column of pictures.
        source: the data set's name, for messages.

    Raises:
        ValueError: if there is none of that name, or several without a usual name.
    """
    from datasets import ClassLabel, Value

    if wanted is not None:
        if wanted not in features or wanted == image:
            others = [name for name in features if name != image]
            raise ValueError(
                f"{source!r} has no column of labels {wanted!r}; its other columns are: {', '.join(others) or 'none'}. "
                "Set label_column to one of them, or leave it out."
            )
        return wanted
    found = [
        name
        for name, feature in features.items()
        if isinstance(feature, ClassLabel) or (isinstance(feature, Value) and name in PLAIN_LABELS)
    ]
    return _one_of(found, LABEL_NAMES, "classes", "label_column", source) if found else None


def _one_of(found: Sequence[str], usual: Sequence[str], of_what: str, setting: str, source: str) -> str:
    """The only one, or the first of the usual names, whatever their letters' case."""
    by_name = {name.lower(): name for name in reversed(found)}
    usual_ones = [by_name[name] for name in usual if name in by_name]
    if len(found) > 1 and not usual_ones:
        raise ValueError(
            f"{source!r} has {len(found)} columns of {of_what}: {', '.join(found)}. Which one is meant? "
            f"Set {setting} to it."
        )
    return usual_ones[0] if usual_ones else found[0]


def _listed(what: str, some: Sequence[str], every: Mapping[str, Any]) -> str:
    return f"its {what} are: {', '.join(some)}" if some else f"its columns are: {', '.join(every)}"
