"""What an experiment of the laboratory is: a claim, parameters, and numbers judged by stated bounds.

Each file of this folder holds one experiment, with the same five names:

    CLAIM       the sentence of the lecture, where it is said, and its equation
    Params      what can be changed, each a flag of the command, with `seed`
    QUICK       the parameters of a version that takes seconds
    run         `run(params) -> Result`: the numbers; nothing is printed, plotted or saved
    figure      `figure(result) -> Figure`

A claim holds where all of its checks do.  Each check knows its null: what the measure is, in the same run, where the
claim is false (an untrained network, shuffled pixels, the exact score, a chain of the same start).  A null that keeps
to the bound as well makes the check fail, since such a check could not tell the claim from its opposite.  What the
experiment found beside the claim, or against it, is said in `findings`.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Claim:
    """What the lecture says.

    Args:
        number: its place in the order of the lecture's claims, from 1.
        name: what the command calls it.
        at: minutes and seconds of the lecture where it is said.
        sentence: the claim in one sentence.
        equation: the formula under it, in plain text.
    """

    number: int
    name: str
    at: str
    sentence: str
    equation: str


def flag(default: Any, help: str, *, least: float = 0, below: float = math.inf, fewest: int = 1) -> Any:
    """A parameter.

    Args:
        default: what it is where nobody says.
        help: the line that `--help` shows for it.
        least: the smallest value, of several ones each; 0 where any positive number will do.
        below: what it must be below.
        fewest: how many values there must be, of a parameter of several.
    """
    return field(default=default, metadata={"help": help, "least": least, "below": below, "fewest": fewest})


@dataclass(frozen=True)
class Params:
    """What every experiment can be given.

    Raises:
        ValueError: for a number that is not finite, or out of its range, and for sigma_min that is not below sigma_max.
    """

    seed: int = flag(0, "everything random follows from it")

    def __post_init__(self) -> None:
        for parameter in fields(self):
            name, value = parameter.name, getattr(self, parameter.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, str):
                    continue
                if not math.isfinite(number):
                    raise ValueError(f"{name} must be finite; got {value}.")
                if name != "seed" and number <= 0:
                    raise ValueError(f"{name} must be positive; got {value}.")
                if name == "seed" and number < 0:
                    raise ValueError(f"seed must not be negative; got {value}.")
                if number < parameter.metadata["least"]:
                    raise ValueError(f"{name} must be at least {parameter.metadata['least']:g}; got {value}.")
                if number >= parameter.metadata["below"]:
                    raise ValueError(f"{name} must be below {parameter.metadata['below']:g}; got {value}.")
            if isinstance(value, tuple) and len(value) < (fewest := parameter.metadata["fewest"]):
                raise ValueError(f"{name} must be at least {fewest} value{'s' * (fewest > 1)}; got {value}.")
        low, high = getattr(self, "sigma_min", 0.0), getattr(self, "sigma_max", math.inf)
        if not low < high:
            raise ValueError(f"sigma_min must be below sigma_max; got {low} and {high}.")


@dataclass(frozen=True)
class Check:
    """A number, the bound it is judged by, and the same number where the claim is false.

    Args:
        name: what was measured.
        value: what came out.
        relation: `<=`, `>=`, `<` or `>`.
        bound: the threshold.
        null: the measure of the same run where the claim is false.
        null_name: what that is, "untrained network", in a few words.
        timing: whether the number is a time, which a busy machine can spoil.
    """

    name: str
    value: float
    relation: str
    bound: float
    null: float
    null_name: str
    timing: bool = False

    @property
    def null_fails(self) -> bool:
        """Whether the null does not keep to the bound, so that the check can tell the claim from its opposite."""
        return not RELATIONS[self.relation](self.null, self.bound)

    @property
    def holds(self) -> bool:
        """Whether the value keeps to the bound, and the null does not; not for NaN."""
        return RELATIONS[self.relation](self.value, self.bound) and self.null_fails


@dataclass(kw_only=True)
class Result:
    """The numbers of one run; each experiment adds the fields that its figure and its reader need.

    Args:
        params: what it was run with.
        checks: the numbers that decide whether the claim holds.
        findings: what else was seen, a sentence each.
    """

    params: Params
    checks: list[Check]
    findings: list[str] = field(default_factory=list)

    # Longer fields are for the figure; as JSON they would bury the numbers.
    LONGEST_LIST: ClassVar[int] = 100

    @property
    def holds(self) -> bool:
        """Whether every check does."""
        return all(check.holds for check in self.checks)

    def numbers(self) -> dict[str, Any]:
        """Every field that is a number or a short list of numbers, ready for JSON."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("params", "checks", "findings"):
            del own[name]
        plain = {name: _plain(value) for name, value in own.items()}
        return {name: value for name, value in plain.items() if value is not None}

    def as_json(self) -> dict[str, Any]:
        """Parameters, checks, numbers and findings, ready for JSON."""
        return {
            "holds": self.holds,
            "params": _plain(asdict(self.params)),
            "checks": [
                _plain(asdict(check) | {"holds": check.holds, "null_fails": check.null_fails}) for check in self.checks
            ],
            "numbers": self.numbers(),
            "findings": self.findings,
        }


def _plain(value: Any) -> Any:
    """Numbers, strings, and short nested lists and dictionaries of them; None for anything else.

    JSON has no word for what is not finite: it becomes the string "nan", "inf" or "-inf".
    """
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist() if math.prod(value.shape) <= Result.LONGEST_LIST else None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) <= Result.LONGEST_LIST:
        entries = [_plain(entry) for entry in value]
        return None if any(entry is None for entry in entries) else entries
    if isinstance(value, dict):
        entries = {str(name): _plain(entry) for name, entry in value.items()}
        return {name: entry for name, entry in entries.items() if entry is not None} or None
    return None
