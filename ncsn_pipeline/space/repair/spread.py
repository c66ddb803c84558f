"""What several results say together: their mean, where they differ, and whether they fit the measurement."""

import base64
import html
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from ncsn_pipeline.diagnostics.plots import inline_svg
from ncsn_pipeline.diagnostics.plots.style import INK
from ncsn_pipeline.pipelines.posterior import NCSNPosteriorOutput

from ..widgets.grid import image_grid
from ..widgets.plots import add_panel, panel

LEAST_SCALE = 0.01  # of the heat map, in [0, 1]: below, differences are rounding


@dataclass(frozen=True)
class Spread:
    """What the results of one measurement say together.

    Args:
        mean: of the results, shape `(H, W, C)`, for pixels in [0, 1] and not clamped.
        std: their standard deviation, the same shape.
        fidelity: |y - A x|² / (m sigma_y²), its mean over the results.
        count: m, of the real numbers in y.
    """

    mean: np.ndarray
    std: np.ndarray
    fidelity: float
    count: int

    @classmethod
    def of(cls, result: NCSNPosteriorOutput, y: Tensor) -> "Spread":
        """That of what the pipeline returned for one y."""
        mean, std = (values[0].permute(1, 2, 0).cpu().numpy() for values in (result.mean, result.std))
        return cls(mean, std, float(result.fidelity.mean()), y.numel())


def measurement_picture(y: Tensor) -> Image.Image:
    """A measurement `(1, *M)` to look at: an image as it is, numbers as squares, the least black and the most white."""
    if y.dim() == 4:
        return image_grid(y.clamp(0, 1).permute(0, 2, 3, 1).numpy())
    numbers = y.flatten().numpy()
    side = math.ceil(math.sqrt(len(numbers)))
    low, high = float(numbers.min()), float(numbers.max())
    squares = np.zeros(side * side, dtype=np.float32)
    squares[: len(numbers)] = (numbers - low) / max(high - low, 1e-6)
    return image_grid(squares.reshape(1, side, side, 1))


def deviation_map(std: np.ndarray) -> Figure:
    """A heat map of the standard deviation of each pixel with its scale, from 0.

    Args:
        std: shape `(H, W, C)`, for pixels in [0, 1]; of several channels, the root of their mean square.
    """
    figure, axes = panel(3.7, 3.0, left=0.05, bottom=0.08, right=0.75, top=0.02)
    values = np.sqrt(np.square(std).mean(-1))
    shown = axes.imshow(
        values, cmap="inferno", vmin=0, vmax=max(float(values.max()), LEAST_SCALE), interpolation="nearest"
    )
    axes.set_axis_off()
    scale = figure.colorbar(shown, cax=add_panel(figure, 3.05, 0.2, 0.13, 2.65), ticks=MaxNLocator(4))
    scale.ax.tick_params(colors=INK, labelsize=9, length=0)
    scale.outline.set_visible(False)
    return figure


def fidelity_words(fidelity: float, count: int) -> str:
    """What |y - A x|² / (m sigma_y²) says of samples, in a sentence.

    Args:
        fidelity: its mean over the samples.
        count: m, of the numbers that were measured: of the truth itself it is 1 up to some sqrt(2 / m).
    """
    slack = 3 * math.sqrt(2 / count)
    if fidelity > 1 + slack:
        return "Measured again, they miss what was measured by more than its noise does: they leave some of it out."
    if fidelity < 1 - slack:
        return "Measured again, they miss what was measured by less than its noise does: they show some of the noise."
    return "Measured again, they miss what was measured by as much as its noise does, as the true picture would."


def spread_panel(spread: Spread) -> str:
    """The mean, the heat map and the fidelity for the page."""
    buffer = io.BytesIO()
    image_grid(spread.mean.clip(0, 1)[None]).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    heat = inline_svg(deviation_map(spread.std), f"Standard deviation of each pixel, at most {spread.std.max():.2g}")
    words = html.escape(fidelity_words(spread.fidelity, spread.count))
    return (
        f'<div class="spread"><figure><figcaption>Their mean</figcaption><img src="{source}" alt="Mean of the results">'
        f"</figure><figure><figcaption>Where they differ: standard deviation</figcaption>{heat}</figure>"
        f"<p><b>|y − Ax|² / (m σ<sub>y</sub>²) = {spread.fidelity:.2f}</b>, m = {spread.count:,}. {words}</p></div>"
    )


def spread_numbers(spread: Spread) -> dict[str, Any]:
    """The same for a program: rows of pixels, those of a colour model lists of three."""
    pictures = {"mean": spread.mean, "std": spread.std}
    rows = {name: np.round(values, 4).tolist() for name, values in pictures.items()}
    if spread.mean.shape[-1] == 1:
        rows = {name: [[value for (value,) in row] for row in picture] for name, picture in rows.items()}
    return rows | {"fidelity": spread.fidelity, "measurements": spread.count}
