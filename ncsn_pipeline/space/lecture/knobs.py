"""The knobs of an experiment, made from its parameters, and the check of what comes back from them.

They start at the experiment's quick version.  Counts may grow to `MOST_TIMES` what they are there, and all of them
together to `MOST_WORK` times its work; what is not a count may lie within a factor around its defaults.  Names of data
are no knobs: a visitor has no business with folders or other hosts.
"""

import math
import re
from dataclasses import Field, dataclass, fields
from types import ModuleType
from typing import Any, get_args, get_origin

from ncsn_pipeline.lecture import EXPERIMENTS, Params

from ..runs.limits import SEED, SettingsError, check_choice, check_number, check_whole

MOST_TIMES = 4
MOST_WORK = 4.0
AROUND = 10.0  # how far a number may lie from its default, as a factor
SIZES = re.compile(
    "batch_size|hidden_features|learning_rate|grid_size|exact_error|.*_repeats"
    "|num_(samples|test|reference|points|cells|bins|images|networks|particles|data)|.*_batch_size"
)


@dataclass(frozen=True)
class Knob:
    """One parameter of an experiment on the page.

    Args:
        name: the parameter's.
        help: the line that the command shows for it.
        value: where it starts, a number or several.
        low: the smallest number allowed.
        high: the largest.
        whole: whether only whole numbers are.
        most: how many numbers there may be; 0 where it is one number and no list.
        fewest: how many of a list there must be.
    """

    name: str
    help: str
    value: float | tuple[float, ...]
    low: float
    high: float
    whole: bool
    most: int = 0
    fewest: int = 1

    @property
    def label(self) -> str:
        """The name in words: `num_levels` is "levels", `sigma_max` is "σ max"."""
        words = re.sub(r"^num_", "", self.name).replace("sigmas", "sigma").replace("sigma", "σ").replace("_", " ")
        return words[0].upper() + words[1:] if words[0] != "σ" else words

    @property
    def is_size(self) -> bool:
        """Whether it is about the size of the computation rather than about the claim."""
        return SIZES.fullmatch(self.name) is not None

    @property
    def allowed(self) -> str:
        """What is valid, in words."""
        count = f"up to {self.most}" if self.fewest == 1 else f"{self.fewest} to {self.most}"
        return (f"{count} numbers, each " if self.most else "") + f"{self.low:,.10g} to {self.high:,.10g}"

    def check(self, value: Any) -> float | tuple[float, ...]:
        """`value` where it is valid; a list may come as text with commas.

        Raises:
            SettingsError: for anything else.
        """
        check = check_whole if self.whole else check_number
        if not self.most:
            return check(self.label, value, self.low, self.high)
        values = [_number(part) for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not self.fewest <= len(values) <= self.most:
            raise SettingsError(f"{self.label} must be {self.allowed}, with commas between them.")
        return tuple(check(self.label, number, self.low, self.high) for number in values)

    def times(self, value: float | tuple[float, ...]) -> float:
        """The work that it makes, in units of the quick version's."""
        if self.name == "seed":
            return 1.0
        if self.most:
            work = sum if self.whole else len
            return work(value) / work(self.value)
        return value / self.value if self.whole else 1.0


def knobs_of(module: ModuleType) -> list[Knob]:
    """The knobs of an experiment, those of the claim before those of the computation's size, the seed at last."""
    knobs = []
    for parameter in fields(module.Params):
        many = get_origin(parameter.type) is tuple
        kind = get_args(parameter.type)[0] if many else parameter.type
        if kind is str:
            continue
        value = module.QUICK.get(parameter.name, parameter.default)
        knobs.append(
            Knob(
                name=parameter.name,
                help=parameter.metadata["help"],
                value=value,
                **_range(parameter, value, kind is int),
                whole=kind is int,
                most=max(len(value), len(parameter.default)) if many else 0,
                fewest=parameter.metadata["fewest"],
            )
        )
    return sorted(knobs, key=lambda knob: (knob.name == "seed", knob.is_size))


def _range(parameter: Field, value: Any, whole: bool) -> dict[str, float]:
    if parameter.name == "seed":
        return {"low": SEED[0], "high": SEED[1]}
    least, below = parameter.metadata["least"], parameter.metadata["below"]
    quick, full = (given if isinstance(given, tuple) else (given,) for given in (value, parameter.default))
    both = (*quick, *full)
    if whole:
        times = 2 if isinstance(value, tuple) else MOST_TIMES
        low = min(both) if isinstance(value, tuple) else max(least, 1, min(both) // 10)
        return {"low": low, "high": min(times * max(quick), below - 1)}
    low, high = float(f"{min(both) / AROUND:.2g}"), float(f"{max(both) * AROUND:.2g}")
    return {"low": max(low, least), "high": min(high, round(0.95 * below, 3))}


def check_experiment(name: Any, given: Any) -> tuple[ModuleType, Params]:
    """The experiment and its checked parameters.

    Args:
        name: one of `EXPERIMENTS`.
        given: values by the names of its knobs; what is not given is the quick version's.

    Raises:
        SettingsError: for the first input that is not valid, or a run that makes too much work.
    """
    module = EXPERIMENTS[check_choice("Experiment", name, tuple(EXPERIMENTS))]
    knobs = {knob.name: knob for knob in knobs_of(module)}
    if not isinstance(given, dict):
        raise SettingsError(f"Settings must be values by name: {', '.join(knobs)}; none for the quick version.")
    unknown = [str(key)[:40] for key in given if key not in knobs]
    if unknown:
        raise SettingsError(f"{name} has no setting {unknown[0]}; it has {', '.join(knobs)}.")
    values = {key: knob.check(given[key]) if key in given else knob.value for key, knob in knobs.items()}
    _check_work(knobs, values)
    try:
        return module, module.Params(**module.QUICK | values)
    except ValueError as error:  # the experiment's own words
        raise SettingsError(str(error)) from None


def _check_work(knobs: dict[str, Knob], values: dict[str, Any]) -> None:
    times = {key: knob.times(values[key]) for key, knob in knobs.items()}
    work = math.prod(times.values())
    if work <= MOST_WORK * (1 + 1e-9):
        return
    larger = [key for key, factor in times.items() if factor > 1]
    alone = [
        f"{knobs[key].label} at most {math.floor(values[key] * MOST_WORK / work):,}"
        for key in larger
        if not knobs[key].most and values[key] * MOST_WORK / work >= max(knobs[key].low, 1)
    ]
    advice = (
        f"The nearest allowed: {' or '.join(alone)}."
        if alone
        else "Lower " + ", ".join(knobs[key].label for key in larger) + "."
    )
    raise SettingsError(
        f"This is {work:.1f} times the work of the quick version, and a run may have {MOST_WORK:g} times. {advice}"
    )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
