"""Figures of the Learn tab, in the ink of the page: score fields, where they are wrong, the loss, and the dilemma."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from ...densities import Density, ScoreFn
from ...diagnostics.plots import arrow_field, plain_log_ticks, plain_number, plane, plane_grid
from ...diagnostics.plots.plane import ERROR_MAP, Extent
from ..widgets.plots import INK, SIGMA_COLOUR, STEP_COLOUR, add_panel, panel

# Shades of the density let the page's ground through, light or dark.
DENSITY_MAP = LinearSegmentedColormap.from_list("density", ["#6366f100", "#6366f166", "#6366f1b0"])
ARROWS = 15
SHADES = 96
ERROR_LIMITS = (1e-3, 1e3)
MOST_BINS = 120
FOR_BAR = 0.38  # inches below a square: all squares are of one size, and stand on one line


def field_figure(
    score_fn: ScoreFn | None,
    extent: Extent,
    longest: float,
    density: Density | None,
    points: Tensor | None = None,
    drawn: bool = False,
) -> Figure:
    """A score as arrows over the density, or over samples where there is none.

    Args:
        score_fn: `(B, 2) -> (B, 2)`, or None for no arrows.
        extent: `(x_min, x_max, y_min, y_max)`, in data units.
        longest: the norm, in 1 / data units, from which on arrows are drawn with their full length.
        density: shaded, with a `log_prob`; None for none.
        points: samples, shape `(N, 2)`.
        drawn: whether they were drawn by that score, rather than from the data.
    """
    figure, axes = _plane_panel(extent)
    if density is not None:
        shade = _relative_density(density, extent, SHADES).sqrt().numpy()
        axes.imshow(shade, origin="lower", extent=extent, cmap=DENSITY_MAP, vmin=0, vmax=1, interpolation="bilinear")
    if points is not None:
        axes.scatter(*points.T.numpy(), s=3, color=STEP_COLOUR if drawn else SIGMA_COLOUR, linewidths=0)
    if score_fn is not None:
        arrow_field(axes, score_fn, extent, ARROWS, INK, longest=longest)
    _ink_frame(axes, extent)
    return figure


def longest_arrow(score_fn: ScoreFn, extent: Extent) -> float:
    """The norm that nine of ten arrows stay below."""
    return float(score_fn(plane_grid(extent, ARROWS)).norm(dim=1).quantile(0.9)) or 1.0


def error_figure(relative_error: Tensor, density: Density, extent: Extent) -> Figure:
    """Where the learned score is wrong, on a logarithmic scale that is the same for every run.

    Args:
        relative_error: || s - s* ||² / E || s* ||² at the points of a `plane_grid`, shape `(n²,)`.
        density: what the network was trained on; a line is drawn at a hundredth of its maximum.
        extent: `(x_min, x_max, y_min, y_max)`, in data units.
    """
    n = math.isqrt(len(relative_error))
    figure, axes = _plane_panel(extent, FOR_BAR)
    values = relative_error.reshape(n, n).clamp(*ERROR_LIMITS).numpy()
    image = axes.imshow(
        values, origin="lower", extent=extent, cmap=ERROR_MAP, norm=LogNorm(*ERROR_LIMITS), interpolation="nearest"
    )
    x, y = plane_grid(extent, SHADES).reshape(SHADES, SHADES, 2).unbind(2)
    axes.contour(x, y, _relative_density(density, extent, SHADES), levels=[0.01], colors="white", linewidths=1.2)
    place = add_panel(figure, 0.52, 0.25, 2.86, 0.095)
    bar = figure.colorbar(image, cax=place, orientation="horizontal", extend="both")
    bar.ax.tick_params(colors=INK, labelsize=8, length=0)
    plain_log_ticks(bar.ax.xaxis)
    for end in bar.ax.patches:
        end.set_rasterized(True)  # as the bar itself: its colours mean values, on any paper
    bar.outline.set_visible(False)
    _ink_frame(axes, extent)
    return figure


def loss_figure(
    losses: Sequence[float],
    num_steps: int,
    least: float | None,
    before: tuple[str, Sequence[float]] | None = None,
) -> Figure:
    """The loss over the steps, each bin's mean with its lowest and highest value around it.

    Args:
        losses: of every step so far.
        num_steps: of the whole run.
        least: the loss of the exact score; None where nothing bounds the loss from below.
        before: name and losses of an earlier run, to be held beside; left out where none of it would be in sight.
    """
    figure, axes = panel(5.0, 2.4, left=0.65, right=0.25)
    _style(axes)
    axes.set_xlim(0, num_steps)
    axes.set_xlabel("step", color=INK, fontsize=9)
    if len(losses) > 0:
        steps, means, low, high = _binned(losses)
        axes.fill_between(steps, low, high, color=SIGMA_COLOUR, alpha=0.25, linewidth=0)
        axes.plot(steps, means, color=SIGMA_COLOUR, linewidth=1.8, label="this run")
        settled = np.asarray(losses)[len(losses) // 30 :]
        ends = [*np.quantile(settled, (0.01, 0.995)), *([] if least is None else [least])]
        margin = 0.08 * (max(ends) - min(ends)) or 1.0
        axes.set_ylim(min(ends) - margin, max(ends) + margin)
    if before is not None:
        steps, means, low, high = _binned(before[1])
        bottom, top = axes.get_ylim()
        if not len(losses) or ((bottom < means) & (means < top)).any():
            axes.fill_between(steps, low, high, color=STEP_COLOUR, alpha=0.15, linewidth=0, zorder=0.5)
            axes.plot(steps, means, color=STEP_COLOUR, linewidth=1.2, label=before[0], zorder=1.5)
    if least is not None:
        label = "the exact score: " + plain_number(float(f"{least:.3g}")).replace("-", "−")
        axes.axhline(least, color=INK, alpha=0.7, linewidth=1.2, linestyle=(0, (4, 3)), label=label)
    if not len(losses) and before is None and least is None:
        axes.set_yticks([])  # nothing to read there yet
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace("-", "−"))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper right", frameon=False, fontsize=8, labelcolor=INK, handlelength=2.2)
    return figure


def dilemma_figure(
    curve: tuple[Sequence[float], Sequence[float]] | None,
    marks: Sequence[tuple[float, float]],
    sigma: float,
    limits: tuple[float, float],
    chance: float | None = None,
    all_levels: float | None = None,
) -> Figure:
    """A number over sigma, both logarithmic: a curve that is known, and a mark for every run that was made.

    Args:
        curve: values of sigma and of what is known, dashed; None for none.
        marks: pairs of sigma and of what was measured.
        sigma: the one that is set, as an upright line; 0 for none.
        limits: of the upright axis, widened where marks lie outside.
        chance: what a perfect sampler comes to, dotted.
        all_levels: what was measured with all levels, a line across; None for none.
    """
    figure, axes = panel(3.7, 2.7)
    _style(axes)
    axes.set(xscale="log", yscale="log", xlim=(0.008, 2.5))
    values = [value for _, value in marks] + [value for value in (chance, all_levels) if value is not None]
    axes.set_ylim(min([limits[0], *(value / 1.5 for value in values)]), max([limits[1], *(v * 1.5 for v in values)]))
    if sigma > 0:
        axes.axvline(sigma, color=INK, alpha=0.35, linewidth=1.2)
    if curve is not None:
        axes.plot(*curve, color=INK, alpha=0.7, linewidth=1.4, linestyle=(0, (4, 3)))
    for name, value, style in (("all levels", all_levels, "-"), ("chance", chance, ":")):
        if value is not None:
            colour = SIGMA_COLOUR if name == "all levels" else INK
            axes.axhline(value, color=colour, linewidth=1.8, linestyle=style, label=name)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=INK, handlelength=2.2)
    if marks:
        axes.plot(*zip(*marks, strict=True), color=STEP_COLOUR, linestyle="", marker="o", markersize=5.5)
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_ticks(axis)
    axes.set_xlabel("σ", color=INK, fontsize=9)
    return figure


def _relative_density(density: Density, extent: Extent, n: int) -> Tensor:
    """p over its largest value on an n x n grid, shape `(n, n)`."""
    log_prob = density.log_prob(plane_grid(extent, n)).reshape(n, n)
    return (log_prob - log_prob.max()).exp()


def _binned(losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Middle, mean, lowest and highest of at most so many bins of steps."""
    parts = np.array_split(np.asarray(losses), min(len(losses), MOST_BINS))
    ends = np.cumsum([len(part) for part in parts])
    middles = ends - np.array([len(part) for part in parts]) / 2
    return middles, *(np.array([measure(part) for part in parts]) for measure in (np.mean, np.min, np.max))


def _plane_panel(extent: Extent, below: float = 0.0) -> tuple[Figure, Axes]:
    figure, axes = panel(3.7, 3.5 + below, left=0.4, bottom=0.3 + below, right=0.2, top=0.1)
    figure.set_dpi(110)
    plane(axes, extent)
    return figure, axes


def _ink_frame(axes: Axes, extent: Extent) -> None:
    axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set(color=INK, alpha=0.3, linewidth=0.8)


def _style(axes: Axes) -> None:
    axes.tick_params(which="both", colors=INK, labelsize=8.5, length=0)
    axes.grid(color=INK, alpha=0.13, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=INK, alpha=0.4)
