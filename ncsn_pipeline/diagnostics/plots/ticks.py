"""Logarithmic axes that are read at a glance: few ticks, numbers as one writes them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, Locator, MaxNLocator, NullLocator

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class _PlainLogLocator(Locator):
    """Ticks at powers of ten, at 1, 3 (or 1, 2, 5) times them where they are few, never more than about seven."""

    def __call__(self) -> Sequence[float]:
        """Ticks of the axis as it is seen now."""
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks from `vmin` to `vmax`, > 0."""
        low, high = sorted((vmin, vmax))
        if low <= 0:
            return []
        powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = np.array([step * 10.0**power for power in powers for step in steps])
            ticks = ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
            if len(ticks) > 3:
                break
        if len(ticks) < 3:
            ticks = MaxNLocator(5).tick_values(low, high)
            return ticks[(ticks >= low) & (ticks <= high)]
        return ticks[:: math.ceil(len(ticks) / 7)]


class _PlainLogFormatter(Formatter):
    """Plain numbers, or powers of ten on the whole axis where one tick needs them."""

    _powers = False

    def set_locs(self, locs: Sequence[float]) -> None:
        """Takes all ticks of the axis, before the first of them is written."""
        self._powers = any(_needs_power(tick) for tick in locs)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The tick at `x`."""
        return plain_number(x, powers=self._powers)


def _needs_power(value: float) -> bool:
    return value != 0 and not 0.999e-3 <= abs(value) < 0.999e5


def plain_number(value: float, powers: bool | None = None) -> str:
    """0.001, 0.5, 20, 3,000; from 100,000 on and below 0.001, or where `powers` asks for it, 10⁶ and 3×10⁻⁵."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    power += round(abs(value) / 10.0**power, 2) == 10
    if not (_needs_power(value) if powers is None else powers):
        return f"{value:,.{max(0, 2 - power)}f}".rstrip("0").rstrip(".") if power < 2 else f"{value:,.0f}"
    factor = round(value / 10.0**power, 2)
    if power == 0:
        return f"{factor:g}"
    return ("" if factor == 1 else f"{factor:g}×") + f"10{str(power).translate(_SUPERSCRIPTS)}"


def log_axis(axes: Axes, which: str = "x") -> None:
    """Makes `"x"`, `"y"` or `"xy"` logarithmic, with few ticks and plain numbers.

    Raises:
        ValueError: for other letters.
    """
    if not which or set(which) - {"x", "y"}:
        raise ValueError(f'which must be "x", "y" or "xy"; got {which!r}.')
    for name in which:
        axes.set(**{f"{name}scale": "log"})
        plain_log_ticks(axes.xaxis if name == "x" else axes.yaxis)


def plain_log_ticks(axis: Axis) -> None:
    """Few ticks and plain numbers on an axis that is logarithmic already."""
    axis.set_major_locator(_PlainLogLocator())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_PlainLogFormatter())
