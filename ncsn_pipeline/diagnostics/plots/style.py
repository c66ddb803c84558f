"""Colours and sizes, and how they are put on a panel.

Five colours carry one meaning each in every figure.  Text is sized for 8 inches of width, the size it is drawn at, and
still read at half of it.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

# Okabe & Ito's palette, which colour-blind readers tell apart; one meaning a colour in every figure.
COLOURS = {
    "true": "#1b1b1b",
    "learned": "#0072B2",
    "plain": "#D55E00",
    "annealed": "#009E73",
    "accent": "#CC79A7",
    "second": "#E69F00",
    "muted": "#8a8a8a",
}
INK, MUTED, GRID, FRAME = COLOURS["true"], "#5f5f5f", "#e4e4e4", "#cfcfcf"
TITLE_SIZE, SUBTITLE_SIZE, LABEL_SIZE, TICK_SIZE = 15, 11.5, 12, 11
DPI = 200

STYLE = {
    "font.size": TICK_SIZE,
    "text.color": INK,
    "axes.labelsize": LABEL_SIZE,
    "axes.labelcolor": INK,
    "axes.titlesize": LABEL_SIZE,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": TICK_SIZE,
    "ytick.labelsize": TICK_SIZE,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": TICK_SIZE,
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
}


def colour_of(name: str) -> str:
    """A name of `COLOURS` as its colour; anything else is taken for a colour of Matplotlib's own."""
    return COLOURS.get(name, name)


def level_colours(num_levels: int) -> list[tuple[float, float, float, float]]:
    """A colour for each level of a noise schedule, from the largest sigma (light green) to the smallest (dark blue)."""
    return [tuple(colour) for colour in colormaps["viridis_r"](np.linspace(0.25, 0.95, num_levels))]


def apply_style(axes: Axes) -> None:
    """`STYLE`, set on one panel."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(STYLE["axes.edgecolor"])
    axes.grid(True, color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"])
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=TICK_SIZE, labelcolor=MUTED, pad=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(size=LABEL_SIZE, color=INK)
        axis.get_offset_text().set_size(TICK_SIZE)
