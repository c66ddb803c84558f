"""Figures of noise levels, of a sampler's table and of its run; `diagnostics.plots.inline_svg` makes HTML of them."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from ncsn_pipeline.diagnostics.plots import plain_log_ticks
from ncsn_pipeline.diagnostics.plots.style import INK
from ncsn_pipeline.sampling import Row

SIGMA_COLOUR = "#6366f1"
STEP_COLOUR = "#ea580c"
BAND_COLOUR = "#6366f1"
MOST_DOTS = 60


def panel(
    width: float, height: float, left: float = 0.55, bottom: float = 0.45, right: float = 0.15, top: float = 0.09
) -> tuple[Figure, Axes]:
    """A figure with one plot and fixed room around it, in inches.

    The plot stays where it is while its numbers change; a layout engine would draw everything twice more to find it.
    """
    figure = Figure(figsize=(width, height))
    return figure, add_panel(figure, left, bottom, width - left - right, height - bottom - top)


def add_panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """A plot, or a colour bar, at this place in inches."""
    whole = figure.get_size_inches()
    return figure.add_axes((left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]))


def noise_level_figure(sigmas: Sequence[float], trained_range: tuple[float, float]) -> Figure:
    """The noise levels sigma_i over i, on a logarithmic axis of fixed range, so that a change is seen as one.

    Args:
        sigmas: of the levels, shape `(L,)`, > 0, in data units.
        trained_range: smallest and largest sigma that the network was trained on.
    """
    figure, axes = _panel(len(sigmas))
    low, high = trained_range
    axes.axhspan(low, high, color=BAND_COLOUR, alpha=0.09, linewidth=0)
    axes.text(
        0.03,
        low * 1.12,
        f"trained on {low:g} to {high:g}",
        color=INK,
        alpha=0.7,
        fontsize=8,
        transform=axes.get_yaxis_transform(),
    )
    _levels(axes, sigmas, SIGMA_COLOUR)
    axes.set_ylim(min(0.004, low / 2, min(sigmas) / 1.5), max(70, high * 2, max(sigmas) * 1.5))
    plain_log_ticks(axes.yaxis)
    return figure


def table_figure(table: Sequence[Row], limit: float, limit_name: str) -> Figure:
    """The columns a and b² of x <- x + a s + b z over the evaluations, and what a must stay below.

    Args:
        table: the rows, a > 0 and in squared data units; a row that repeats the one before it is not drawn again.
        limit: a's, in units of the row's sigma².
        limit_name: what to call it.
    """
    figure, axes = _panel(len(table), "evaluation")
    across = [i for i, row in enumerate(table) if i == 0 or row != table[i - 1]]
    rows = [table[i] for i in across]
    across = [1 + i for i in across]
    limits = [limit * row.sigma**2 for row in rows]
    one = "_" if len(rows) == 1 else None
    axes.plot(across, limits, color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (4, 3)), marker=one, label=limit_name)
    size = 3.4 if len(rows) <= MOST_DOTS else 1.8
    noise = [(i, row.b**2) for i, row in zip(across, rows, strict=True) if row.b > 0]
    if noise:
        axes.plot(*zip(*noise, strict=True), "o", color=SIGMA_COLOUR, markersize=size + 1.4, label="b²: noise put back")
    axes.plot(across, [row.a for row in rows], "o", color=STEP_COLOUR, markersize=size, label="a: along the score")
    values = [*limits, *(row.a for row in rows), *(square for _, square in noise)]
    axes.set_ylim(10 ** (math.floor(math.log10(min(values))) - 0.15), 10 ** (math.ceil(math.log10(max(values))) + 0.15))
    plain_log_ticks(axes.yaxis)
    axes.legend(loc="lower left", frameon=False, fontsize=8, labelcolor=INK, handlelength=2.2, reverse=True)
    return figure


def noise_left_figure(noise_left: Sequence[float]) -> Figure:
    """How much noise the network finds in x, of what its level names: sigma ||s|| / sqrt(D) of every evaluation.

    Args:
        noise_left: its values, shape `(N,)`, >= 0.
    """
    figure, axes = _panel(len(noise_left), "evaluation")
    axes.axhline(1, color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (4, 3)))
    marker = "o" if len(noise_left) == 1 else None
    axes.plot(
        range(1, len(noise_left) + 1), noise_left, color=SIGMA_COLOUR, linewidth=1.6, marker=marker, markersize=3.4
    )
    low, high = min(noise_left), max(noise_left)
    axes.set_yscale("log" if high > 20 else "linear")
    axes.set_ylim(min(0.5, low / 1.2) if high > 20 else 0, max(1.5, 1.1 * high))
    if high > 20:
        plain_log_ticks(axes.yaxis)
    return figure


def deviation_figure(sigmas: Sequence[float], deviations: Sequence[float], data: float | None = None) -> Figure:
    """The standard deviation of x over sigma, and what it is in equilibrium: sqrt(sigma² + s²), s that of the images.

    With one level, over the evaluations.

    Args:
        sigmas: of every evaluation, shape `(N,)`, > 0, in data units.
        deviations: of x there, the same shape.
        data: s; by default the last of x, which the least noise hardly hides.
    """
    one_level = len(set(sigmas)) == 1
    across = range(1, len(sigmas) + 1) if one_level else sigmas
    figure, axes = _panel(len(sigmas), "evaluation") if one_level else _panel(2, "σ")
    if not one_level:
        axes.set_xscale("log")
        axes.set_xlim(max(sigmas) * 1.15, min(sigmas) / 1.15)
        plain_log_ticks(axes.xaxis)
    expected = [math.hypot(sigma, data or deviations[-1]) for sigma in sigmas]
    axes.plot(across, expected, color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (4, 3)), label="√(σ² + s²)")
    few = len(set(across)) <= MOST_DOTS
    axes.plot(
        across, deviations, color=STEP_COLOUR, linewidth=1.6, label="of x", marker="o" if few else None, markersize=3
    )
    values = [*deviations, *expected]
    axes.set_ylim(min(values) / 1.6, max(values) * 1.6)
    plain_log_ticks(axes.yaxis)
    axes.legend(loc="upper right", frameon=False, fontsize=8, labelcolor=INK, handlelength=2.2, reverse=True)
    return figure


def _panel(num_levels: int, across: str = "level i") -> tuple[Figure, Axes]:
    figure, axes = panel(3.7, 2.5)
    axes.set_yscale("log")
    margin = 0.03 * (num_levels - 1) or 0.5
    axes.set_xlim(1 - margin, num_levels + margin)
    round_ones = MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]).tick_values(0, num_levels)
    axes.xaxis.set_major_locator(FixedLocator([1, *(tick for tick in round_ones if 1 < tick <= num_levels)]))
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.grid(color=INK, alpha=0.13, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.spines["bottom"].set_alpha(0.4)
    return figure, axes


def _levels(axes: Axes, values: Sequence[float], colour: str) -> None:
    marker = "o" if len(values) <= MOST_DOTS else None
    axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.6, marker=marker, markersize=3.4)
