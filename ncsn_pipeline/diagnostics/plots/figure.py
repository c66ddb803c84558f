"""From a claim to a file: the figure with its title, the curves on it, the picture on disk."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from .style import DPI, INK, MUTED, STYLE, SUBTITLE_SIZE, TITLE_SIZE, apply_style, colour_of
from .svg import as_svg

_MARGIN = 0.14  # inches around everything


def new_figure(
    title: str,
    subtitle: str | None = None,
    ncols: int = 1,
    nrows: int = 1,
    size: tuple[float, float] = (8, 4.5),
    **subplots: Any,
) -> tuple[Figure, Any]:
    """A figure with its claim on top.

    Args:
        title: the claim in one sentence, wrapped to the width.
        subtitle: the numbers and settings behind it.
        ncols: columns of panels.
        nrows: rows of panels.
        size: width and height in inches.
        **subplots: what `Figure.subplots` takes (`sharex`, `width_ratios`, ...).

    Returns:
        The figure, and its axes as `Figure.subplots` gives them: one `Axes`, or an array.
    """
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    width, height = size
    top = height - _MARGIN
    for text, points, weight, colour in (
        (title, TITLE_SIZE, "bold", INK),
        (subtitle, SUBTITLE_SIZE, "normal", MUTED),
    ):
        for row in _wrapped(text or "", points, weight, width - 2 * _MARGIN):
            figure.text(_MARGIN / width, top / height, row, size=points, weight=weight, color=colour, va="top")
            top -= 1.28 * points / 72
        top -= 0.03
    figure.get_layout_engine().set(rect=(0, 0, 1, (top - 0.02) / height), w_pad=_MARGIN, h_pad=0.08, wspace=0.04)
    axes = figure.subplots(nrows, ncols, **subplots)
    for panel in np.ravel(axes):
        apply_style(panel)
    return figure, axes


def _wrapped(text: str, points: float, weight: str, width: float) -> list[str]:
    """The fewest lines of at most `width` inches, about equally long, broken at spaces; measured in their own font."""
    font = FontProperties(size=points, weight=weight)

    def inches(word: str) -> float:
        return text_to_path.get_text_width_height_descent(word, font, ismath="$" in word)[0] / 72

    words = [(word, inches(word)) for word in text.split()]
    space = inches("n n") - inches("nn")

    def rows(limit: float) -> list[str]:
        broken, room = [], 0.0
        for word, length in words:
            if broken and length + space <= room:
                broken[-1] += f" {word}"
                room -= length + space
            else:
                broken.append(word)
                room = limit - length
        return broken

    fewest = len(rows(width))
    return next(broken for limit in np.linspace(0, width, 81) if len(broken := rows(limit)) <= fewest)


def line(
    axes: Axes,
    x: Any,
    y: Any,
    colour: str = "learned",
    *,
    label: str | None = None,
    error: Any | None = None,
    dashed: bool = False,
    markers: bool = False,
) -> Line2D:
    """A curve, with a band of two standard errors where they are given.

    Args:
        axes: where to draw.
        x: shape `(n,)`, tensor or array.
        y: shape `(n,)`.
        colour: a name of `COLOURS`, or any colour.
        label: written at its end by `label_ends`.
        error: standard errors of y, shape `(n,)`.
        dashed: for what is known or expected, beside what was measured.
        markers: show the points, where they are few.
    """
    x, y, colour = np.asarray(x), np.asarray(y), colour_of(colour)
    if error is not None:
        error = np.asarray(error)
        axes.fill_between(x, y - 2 * error, y + 2 * error, color=colour, alpha=0.16, linewidth=0)
    (curve,) = axes.plot(
        x,
        y,
        color=colour,
        linewidth=1.6 if dashed else STYLE["lines.linewidth"],
        linestyle=(0, (4, 2.5)) if dashed else "-",
        marker="o" if markers else None,
        markersize=6,
        markeredgecolor="white",
        label=label,
        solid_capstyle="round",
    )
    return curve


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the figure by the ending of `path`; makes its folder.

    `.svg` has colours for light and for dark, see :mod:`.svg`; other formats have white paper and 200 dots per inch (8
    inches are 1,600 pixels).
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        path.write_text(as_svg(figure), encoding="utf-8")
        return path
    figure.savefig(path, dpi=DPI, metadata={"Software": None} if path.suffix == ".png" else None)
    return path
