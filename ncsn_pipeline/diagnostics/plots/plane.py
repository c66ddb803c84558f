"""Pictures of the plane: a density as shade, an error as colour, a score as arrows, samples as dots.

The style is that of :mod:`.style`.  An extent is `(x_min, x_max, y_min, y_max)`, in data units, everywhere; a unit is
as long upwards as sideways.
"""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.quiver import Quiver
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ncsn_pipeline.densities import Density, ScoreFn

from .style import FRAME, INK, LABEL_SIZE, MUTED, TICK_SIZE, colour_of
from .ticks import plain_log_ticks

Extent = tuple[float, float, float, float]

# More and more of one colour on whatever the paper is.
DENSITY_MAP = LinearSegmentedColormap.from_list("density", ["#5b7fa800", "#5b7fa899"])
ERROR_MAP = "cividis"


def plane_grid(extent: Extent, n: int, dtype: torch.dtype | None = None) -> Tensor:
    """The middles of n x n equal cells of the extent, shape `(n², 2)`, row by row from the bottom left.

    Args:
        extent: `(x_min, x_max, y_min, y_max)`, in data units, increasing.
        n: cells along each side, at least 1.
        dtype: floating type of the points; `None` for torch's default.

    Raises:
        ValueError: for an extent that does not increase, or no cells.
    """
    x_min, x_max, y_min, y_max = extent
    if not (x_min < x_max and y_min < y_max) or n < 1:
        raise ValueError(f"extent must be x_min < x_max, y_min < y_max, and n at least 1; got {extent} and {n}.")
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    x, y = x_min + (x_max - x_min) * middle, y_min + (y_max - y_min) * middle
    return torch.cartesian_prod(y, x).flip(1).to(dtype or torch.get_default_dtype())


def density_background(axes: Axes, density: Density, extent: Extent, n: int = 128, strength: float = 1.0) -> AxesImage:
    """The density as a light shade, to draw on; its square root, so that a small mode beside a large one is seen.

    Args:
        axes: where to draw; its limits become the extent.
        density: in the plane, with a `log_prob` (noise it first where it has none).
        extent: `(x_min, x_max, y_min, y_max)`, in data units.
        n: points along each side.
        strength: in (0, 1]: 1 is the darkest the shade gets.
    """
    log_prob = density.log_prob(plane_grid(extent, n)).detach().double().reshape(n, n)
    shade = ((log_prob - log_prob.max()) / 2).exp().cpu().numpy()
    return _image(axes, shade, extent, cmap=DENSITY_MAP, norm=Normalize(0, 1 / strength), interpolation="bilinear")


def error_map(
    axes: Axes,
    values: Tensor,
    extent: Extent,
    label: str,
    *,
    log: bool = True,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """A number at each point of a `plane_grid`, as colour with a bar beside.

    Args:
        axes: where to draw; its limits become the extent.
        values: shape `(n²,)`, in the order of `plane_grid`; > 0 where `log`.
        extent: `(x_min, x_max, y_min, y_max)`, in data units.
        label: what the colours mean, with the unit.
        log: logarithmic colours.
        limits: of the colours, to compare panels; `None` for the 1 % and 99 % quantiles of the values.
    """
    n = round(len(values) ** 0.5)
    numbers = values.detach().double().reshape(n, n).cpu().numpy()
    low, high = limits or np.quantile(numbers, (0.01, 0.99))
    norm = LogNorm(low, high) if log else Normalize(low, high)
    image = _image(axes, numbers, extent, cmap=ERROR_MAP, norm=norm, interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.9, aspect=22, pad=0.02)
    bar.set_label(label, size=LABEL_SIZE, color=INK)
    if log:
        plain_log_ticks(bar.ax.yaxis)
    bar.ax.tick_params(which="both", length=0, labelsize=TICK_SIZE, labelcolor=MUTED)
    bar.outline.set_visible(False)
    return image


def plane(axes: Axes, extent: Extent) -> None:
    """Makes a panel a picture of the plane: these limits, equal units, a light frame, no grid."""
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=FRAME, linewidth=0.8)
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _image(axes: Axes, values: np.ndarray, extent: Extent, **image_kw: object) -> AxesImage:
    plane(axes, extent)
    return axes.imshow(values, origin="lower", extent=extent, aspect="equal", zorder=0, **image_kw)


def arrow_field(
    axes: Axes,
    score_fn: ScoreFn,
    extent: Extent,
    n: int = 16,
    colour: str = "learned",
    *,
    unit_length: bool = False,
    longest: float | None = None,
) -> Quiver:
    """The score as n x n arrows, the middle of each at its point.

    Args:
        axes: where to draw.
        score_fn: `(n², 2) -> (n², 2)`.
        extent: `(x_min, x_max, y_min, y_max)`, in data units.
        n: arrows along each side.
        colour: a name of `COLOURS`, or any colour.
        unit_length: all arrows of one length: directions alone.
        longest: the norm, in 1 / data units, whose arrow is as long as arrows stand apart; longer ones are drawn with
            that length.  Give both panels of a comparison the same.  `None` for the 90 % quantile of the norms.
    """
    points = plane_grid(extent, n)
    score = score_fn(points).detach().double().cpu()
    norm = score.norm(dim=1, keepdim=True)
    if unit_length:
        length = torch.full_like(norm, 0.72)
    else:
        longest = longest or norm.quantile(0.9).item() or 1.0
        length = 0.95 * (norm / longest).clamp(max=1)
    spacing = min(extent[1] - extent[0], extent[3] - extent[2]) / n
    arrows = (spacing * length * score / norm.clamp(min=torch.finfo(norm.dtype).tiny)).numpy()
    x, y = points.double().numpy().T
    plane(axes, extent)
    return axes.quiver(
        x,
        y,
        *arrows.T,
        color=colour_of(colour),
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        units="inches",
        width=0.016,
        headwidth=4.2,
        headlength=4.6,
        headaxislength=4.0,
        minlength=0.5,
        zorder=3,
    )


def samples(
    axes: Axes, x: Tensor, colour: str = "learned", *, size: float | None = None, most: int = 4_000
) -> PathCollection:
    """Samples as dots, smaller and paler where they are many.

    Args:
        axes: where to draw.
        x: shape `(N, 2)`, in data units.
        colour: a name of `COLOURS`, or any colour.
        size: diameter of a dot in points; `None` for one that suits their number.
        most: of more samples, so many are drawn, evenly taken.
    """
    number = min(len(x), most)
    shown = x[torch.arange(number, device=x.device) * len(x) // max(number, 1)].detach().double().cpu().numpy()
    size = size or float(np.clip(60 / max(number, 1) ** 0.5, 1.5, 6))
    alpha = float(np.clip(12 / max(number, 1) ** 0.5, 0.35, 0.9))
    return axes.scatter(*shown.T, s=size**2, color=colour_of(colour), alpha=alpha, linewidths=0, zorder=4)


def closed_loop(axes: Axes, loop: Tensor, colour: str = "accent") -> None:
    """A closed polyline, shape `(M, 2)`, with an arrow head where it starts to show which way it runs."""
    x, y = torch.cat([loop, loop[:1]]).detach().double().cpu().numpy().T
    colour = colour_of(colour)
    axes.plot(x, y, color=colour, linewidth=2, zorder=5)
    axes.annotate(
        "",
        (x[1], y[1]),
        (x[0], y[0]),
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2, "mutation_scale": 18, "shrinkA": 0},
        zorder=5,
    )
