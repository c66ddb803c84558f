"""Sentences that follow from their numbers, whatever an experiment is run with.

A title states what checks found, and a bound in a text is one: the least of some numbers rounded down, the largest up.
"""

from collections.abc import Iterable

from .experiment import Check


def stated(sentence: str, checks: Iterable[Check]) -> str:
    """The sentence if all of these checks hold, and otherwise the sentence with ": not confirmed" behind it.

    Args:
        sentence: what the checks are of, without a full stop.
        checks: those that decide; times are left out, as a busy machine spoils them.
    """
    return sentence if all(check.holds for check in checks if not check.timing) else f"{sentence}: not confirmed"


def at_least(value: float, places: int) -> str:
    """A number rounded down to so many decimal places: 3.66 to one place is "3.6"."""
    shown = round(value, places)
    return f"{shown - 10**-places if shown > value else shown:.{places}f}"


def at_most(value: float, places: int) -> str:
    """A number rounded up to so many decimal places: 1.82 to one place is "1.9"."""
    shown = round(value, places)
    return f"{shown + 10**-places if shown < value else shown:.{places}f}"
