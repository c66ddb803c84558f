"""Class numbers 0 ... K - 1 from a column of labels, whatever it holds.

A column that declares its classes (`ClassLabel`) keeps their numbers and names.  In a plain column of whole numbers or
words named `label`, the K classes are the values that occur in any split, sorted: labels 0, 3, 7 become 0, 1, 2 with
the names "0", "3", "7", so that no class is without images.  Missing are `None`, NaN, negative numbers (a test set
whose labels are withheld has -1) and numbers beyond the declared classes.  Which column it is, says :mod:`.columns`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def declared_names(feature: Any) -> tuple[str, ...] | None:
    """The names that a `ClassLabel` declares; `None` for a plain column."""
    names = getattr(feature, "names", None)
    return None if names is None else tuple(names)


def plain_classes(columns: Iterable[Sequence[Any]]) -> list[int | str] | None:
    """The values that occur in the columns, sorted.

    Returns:
        Whole numbers or words; `None` if there are none, or values of another kind (measurements, mixtures, lists).
    """
    values = {_plain(value) for column in columns for value in column} - {None}
    if not values or len({type(value) for value in values}) > 1 or not isinstance(next(iter(values)), int | str):
        return None
    return sorted(values)


def class_number(value: Any, classes: Mapping[Any, int]) -> int | None:
    """The number of one label, `None` where it is missing.

    Args:
        value: an entry of the column.
        classes: the number of each class: `{0: 0, 3: 1, 7: 2}`, or the identity for declared classes.
    """
    return classes.get(_plain(value))


def _plain(value: Any) -> Any:
    """One spelling a label: 3.0 is 3 (tables with gaps store floats), true is 1; `None` for a missing one."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, int | float):
        return value if value >= 0 else None
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None else (repr(value),)  # neither a number nor a word: no class
