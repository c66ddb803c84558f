"""What every field must refuse: values of another kind, and whatever lies just beyond its bounds."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ncsn_pipeline.space.runs.limits import SettingsError

STRANGE = (None, True, False, "", "12", "Geometric ", [1], [None], {}, {"a": 1}, 1j, math.nan, math.inf, -math.inf, -1)
STRANGE += (10**12, 10**400, -(10**400))


def refusal(check: Callable[[Any], Any], value: Any) -> str:
    """The words in which a value is refused; empty where it is taken."""
    try:
        check(value)
    except SettingsError as error:
        return str(error)
    return ""


def taken(check: Callable[[Any], Any], values: Iterable[Any]) -> list[str]:
    """The values that a check does not refuse."""
    return [repr(value)[:60] for value in values if not refusal(check, value)]


def assert_range(check: Callable[[Any], Any], label: str, low: float, high: float) -> None:
    """A field takes its ends and nothing beyond them, and says which field it is; whole ends are a count's."""
    whole = isinstance(low, int)
    beyond = (low - 1, high + 1) if whole else (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    said = {value: refusal(check, value) for value in (low, high, *beyond)}
    assert said[low] == said[high] == ""
    for value in beyond:
        assert said[value].startswith(f"{label} must lie between {low:,.10g} and {high:,.10g};"), (value, said[value])
    assert refusal(check, None) == f"{label} must be a number from {low:,.10g} to {high:,.10g}; got nothing."
    if whole:
        assert refusal(check, low + 0.5).startswith(f"{label} must be a whole number; got {low + 0.5:g}")


def assert_choices(check: Callable[[Any], Any], label: str, choices: Iterable[str]) -> None:
    """A field takes these choices and no other, and names them."""
    assert [choice for choice in choices if refusal(check, choice)] == []
    with pytest.raises(SettingsError) as caught:
        check("Geometric ")
    assert str(caught.value) == f"{label} must be one of {', '.join(choices)}; got 'Geometric '."
