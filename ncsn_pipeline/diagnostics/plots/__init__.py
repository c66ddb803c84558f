"""The one look of all figures: a claim as the title, its numbers beneath, few lines, each named where it runs.

Every figure is a `matplotlib.figure.Figure`, so none is kept anywhere and threads do not share one.  `new_figure` and
the functions here set the style on what they draw and leave Matplotlib's global settings alone; `STYLE` is the same
look for `matplotlib.rc_context`, which is global: for scripts, not for a server's threads.

    fig, axes = new_figure("Annealing recovers the weights", "0.80 true, 0.79 ± 0.01 found")
    line(axes, steps, weights, "annealed", label="annealed Langevin", error=standard_errors)
    log_axis(axes, "x")
    label_ends(axes)
    save(fig, "mixing.svg")

    style    colours and sizes
    figure   new_figure, line, save
    labels   words on a panel
    ticks    logarithmic axes with plain numbers
    plane    densities, errors, arrows and samples in the plane
    svg      the figure for light and dark pages, in parts that wrap
"""

from .figure import line, new_figure, save
from .labels import direct_label, label_ends, legend, null_line, panel_title
from .plane import arrow_field, closed_loop, density_background, error_map, plane, plane_grid, samples
from .style import COLOURS, STYLE, colour_of, level_colours
from .svg import Parts, as_svg, inline_svg, taken_apart
from .ticks import log_axis, plain_log_ticks, plain_number

__all__ = [
    "line",
    "new_figure",
    "save",
    "direct_label",
    "label_ends",
    "legend",
    "null_line",
    "panel_title",
    "arrow_field",
    "closed_loop",
    "density_background",
    "error_map",
    "plane",
    "plane_grid",
    "samples",
    "COLOURS",
    "STYLE",
    "colour_of",
    "level_colours",
    "log_axis",
    "plain_log_ticks",
    "plain_number",
    "Parts",
    "as_svg",
    "inline_svg",
    "taken_apart",
]
