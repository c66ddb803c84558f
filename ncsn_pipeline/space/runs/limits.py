"""What a visitor may ask for: every input is checked here, once, on the server.

A browser's sliders keep honest visitors within bounds; the named endpoints take anything.  A check gives back a checked
value or raises `SettingsError` with a sentence for the visitor: what was given, what is valid, what to do.

The cost of a run is its number of network evaluations times its number of images, and has one budget.
"""

import math
import sys
from numbers import Real
from typing import Any

LEVELS = (1, 200)
GUIDANCE = (0.0, 8.0)
IMAGES = (1, 64)
SEED = (0, 2**31 - 1)

LARGEST = sys.float_info.max

BUDGET = 40_000  # evaluations x images: about a minute on two slow cores
DEADLINE_SECONDS = 120.0


class SettingsError(ValueError):
    """A setting that this page refuses; its message is meant for the visitor."""


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float within [low, high].

    Raises:
        SettingsError: for anything else; `True` is not a number, and neither is NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} must be a number from {low:,.10g} to {high:,.10g}; got {_shown(value)}.")
    if not low <= value <= high:  # false for NaN too
        if abs(value) > LARGEST:  # a whole number of Python's can be too large for a float
            value = math.inf if value > 0 else -math.inf
        nearest = f" The nearest allowed value is {low if value < low else high:,.10g}." if math.isfinite(value) else ""
        raise SettingsError(f"{name} must lie between {low:,.10g} and {high:,.10g}; got {value:.10g}.{nearest}")
    return float(value)


def check_whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as a whole number within [low, high]; 5.0 is one.

    Raises:
        SettingsError: for anything else.
    """
    number = check_number(name, value, low, high)
    if number != int(number):
        raise SettingsError(f"{name} must be a whole number; got {number:g}. {round(number)} is the nearest.")
    return int(number)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value` where it is one of `choices`.

    Raises:
        SettingsError: for anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}; got {_shown(value)}.")
    return value


def check_class(value: Any, choices: tuple[str, ...]) -> str:
    """A class of the model, as text; the number itself is taken too.

    Raises:
        SettingsError: for anything else.
    """
    # Python writes out no number of more than some thousand digits.
    given = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**6 else value
    return check_choice("Class", given, choices)


def _shown(value: Any) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 40 else f"{text[:37]}..."
