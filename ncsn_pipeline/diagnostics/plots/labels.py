"""Words on a panel: what it shows, and names beside what they name rather than in a legend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from .style import INK, LABEL_SIZE, TICK_SIZE, colour_of

_HALO = (withStroke(linewidth=3, foreground="white"),)


def panel_title(axes: Axes, text: str, colour: str = "true") -> Text:
    """What one panel shows, above its left edge."""
    return axes.set_title(text, loc="left", fontsize=LABEL_SIZE, color=colour_of(colour), pad=7)


def direct_label(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str = "true",
    offset: tuple[float, float] = (6, 0),
    **text_kw: Any,
) -> Text:
    """Text beside a point of the data, in the colour of what it names, `offset` points to the right and up.

    It stands on the side to which the offset points, with a white rim, so that it is read over lines and arrows.
    """
    sides = {-1: "right", 0: "center", 1: "left"}
    ends = {-1: "top", 0: "center", 1: "bottom"}
    placed = {"ha": sides[int(np.sign(offset[0]))], "va": ends[int(np.sign(offset[1]))], "size": TICK_SIZE} | text_kw
    return axes.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        color=colour_of(colour),
        path_effects=_HALO,
        zorder=10,
        annotation_clip=False,
        **placed,
    )


def null_line(axes: Axes, value: float, name: str) -> Text:
    """Where a measure lies if the claim is false: a dotted line across the panel, its name on it at the left."""
    axes.axhline(value, color=colour_of("muted"), linewidth=1.2, linestyle=":")
    return axes.annotate(
        f"null: {name}",
        (0.02, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        va="bottom",
        size=TICK_SIZE,
        color=colour_of("muted"),
        path_effects=_HALO,
        zorder=10,
    )


def label_ends(axes: Axes, curves: Sequence[Line2D] | None = None) -> None:
    """Writes each curve's label to the right of its last visible point, in its colour, and keeps labels apart.

    Call it when limits and scales are final; the x axis then ends where the last curve does.

    Args:
        axes: what the curves are on.
        curves: which ones to name; `None` for all with a label.
    """
    named = [curve for curve in curves or axes.get_lines() if not str(curve.get_label()).startswith("_")]
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    last_points = []
    for curve in named:
        points = np.column_stack([np.asarray(values, dtype=float) for values in curve.get_data()])
        x, y = points.T
        visible = points[(left <= x) & (x <= right) & (bottom <= y) & (y <= top)]
        last_points.append(visible[-1] if len(visible) else np.array([right, bottom]))
    if not named:
        return
    if not axes.xaxis_inverted():
        axes.set_xlim(right=max(x for x, _ in last_points))
    axes.figure.draw_without_rendering()  # lays out the panels, so that heights are known
    heights = axes.transData.transform(last_points)[:, 1] * 72 / axes.figure.dpi
    order = heights.argsort(kind="stable")
    # As near to the curves as labels at least this far apart can be: isotonic regression of heights less steps.
    steps = 1.35 * TICK_SIZE * np.arange(len(named))
    placed = _isotonic(heights[order] - steps) + steps
    for index, height in zip(order, placed, strict=True):
        curve, (x, y) = named[index], last_points[index]
        offset = (8, height - heights[index])
        direct_label(axes, x, y, str(curve.get_label()), curve.get_color(), offset, va="center")


def _isotonic(values: np.ndarray) -> np.ndarray:
    """The nondecreasing sequence nearest to `values`, by pooling neighbours that are out of order."""
    pools: list[list[float]] = []  # mean, size
    for value in values:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, n), (high, m) = pools[-2:]
            pools[-2:] = [[(low * n + high * m) / (n + m), n + m]]
    return np.concatenate([[mean] * size for mean, size in pools]) if pools else values


def legend(axes: Axes, **legend_kw: Any) -> None:
    """A legend without frame, for what cannot be named directly."""
    axes.legend(**{"frameon": False, "fontsize": TICK_SIZE, "labelcolor": INK, "handlelength": 1.6} | legend_kw)
