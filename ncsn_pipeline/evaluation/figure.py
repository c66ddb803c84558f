"""Pictures of an evaluation: functions from samples and numbers to Matplotlib figures."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from .features import as_floats
from .quality import SampleQuality

SAMPLES, REAL, INK, FAINT = "#c8553d", "#3d6b8c", "#2b2b2b", "#8a8a8a"


def tile(images: Tensor, columns: int, *, gap: int = 2, background: float = 1.0) -> np.ndarray:
    """Images row by row in one picture, `(rows (H + gap) - gap, columns (W + gap) - gap, 3)` in [0, 1].

    Args:
        images: `(N, 1 or 3, H, W)`, bytes or floats in [0, 1].
        columns: images in a row.
        gap: pixels between them.
        background: grey of the gaps and of missing images.
    """
    pictures = as_floats(images).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), background, dtype=np.float32)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_axis_off()
    axes.set_anchor("NW")


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)


def closest_pairs_picture(images: Tensor, train_images: Tensor, quality: SampleQuality, count: int) -> np.ndarray:
    """The `count` samples nearest to a training image (upper row) over those training images (lower row)."""
    order = quality.sample_distances.argsort()[:count]
    upper = as_floats(images[order]).cpu()
    lower = as_floats(train_images[quality.neighbour_indices[order]])
    return tile(torch.cat([upper, lower]), len(order))


def evaluation_figure(
    images: Tensor, train_images: Tensor, quality: SampleQuality, *, title: str, num_classes: int = 10, rows: int = 10
) -> Figure:
    """Samples, the closest training images, class counts and distances to training images, in one figure.

    Args:
        images: samples `(N, C, H, W)` in [0, 1], the classes in rotation if there are any.
        train_images: training images `(M, C, H, W)`, bytes.
        quality: what was measured on `images`.
        title: first line over the figure.
        num_classes: images in a row of the grid, so that a column is a class.
        rows: rows of the grid.
    """
    figure = Figure(figsize=(12.5, 7.2), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.05), wspace=0.02)
    figure.suptitle(f"{title}\n{_headline(quality)}", fontsize=12, color=INK)
    shown = images[: rows * num_classes]
    _show(left.subplots(), tile(shown, num_classes), f"{len(shown)} of {len(images)} samples, not selected")

    has_classes = quality.predicted_classes is not None
    panels = right.subplots(3 if has_classes else 2, 1, height_ratios=(1.0, 1.1, 1.1) if has_classes else (1.0, 2.2))
    pairs = min(10, len(images))
    closest = closest_pairs_picture(images, train_images, quality, pairs)
    _show(panels[0], closest, f"The {pairs} samples closest to a training image (above), and that image (below)")
    _neighbour_panel(panels[1], quality)
    if has_classes:
        _class_panel(panels[2], quality)
    return figure


def _headline(quality: SampleQuality) -> str:
    """The distance of the samples, and of as many real images: in features, else of patches."""
    if quality.samples is not None:
        return (
            f"Frechet distance {quality.samples.frechet:.3g}, of {quality.real.count} real images "
            f"{quality.real.frechet:.3g}; features of {quality.features}"
        )
    distance = quality.measures["sliced_wasserstein"]
    return f"Sliced Wasserstein distance {distance.samples:.3g}, of real images {distance.real:.3g}; no features"


def _neighbour_panel(axes: Axes, quality: SampleQuality) -> None:
    both = torch.cat([quality.sample_distances, quality.test_distances])
    bins = np.linspace(0, float(both.max()) * 1.02 + 1e-6, 41)
    for distances, colour, name in (
        (quality.test_distances, REAL, "test images"),
        (quality.sample_distances, SAMPLES, "samples"),
    ):
        weights = np.full(len(distances), 100 / len(distances))
        axes.hist(distances.numpy(), bins, weights=weights, color=colour, alpha=0.55, label=name)
    axes.axvline(quality.test_neighbours.quantile_01, color=FAINT, linestyle="--", linewidth=1)
    axes.set_xlabel("L2 distance to the nearest training image (dashed: 1 % quantile of test images)", fontsize=8)
    axes.set_ylabel("per cent of images", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    part = quality.closer_than_test
    told = (
        f"{len(quality.test_distances)} images are too few to tell"
        if part is None
        else (f"{100 * part:.1f} % of the samples lie left of the dashed line")
    )
    _plain(axes, f"Copies? {told}")


def _class_panel(axes: Axes, quality: SampleQuality) -> None:
    counts = quality.predicted_classes
    axes.bar(range(len(counts)), counts, color=SAMPLES, alpha=0.8, width=0.7)
    if quality.requested_classes is not None:
        requested = quality.requested_classes
        axes.hlines(
            requested, np.arange(len(requested)) - 0.42, np.arange(len(requested)) + 0.42, color=INK, linewidth=1.2
        )
    title = "Recognised class"
    if quality.agreement is not None:
        title += f" (line: asked for); {100 * quality.agreement:.1f} % agree"
    axes.set_xticks(range(len(counts)))
    axes.set_xlabel("class", fontsize=8)
    axes.set_ylabel("samples", fontsize=8)
    axes.set_ylim(0, 1.15 * max(*counts, *(quality.requested_classes or [0])))
    _plain(axes, title)


def sweep_figure(rows: Sequence[dict], *, title: str) -> Figure:
    """Distance against network evaluations, one line a scheduler and count, real images dashed.

    Args:
        rows: with the keys `scheduler`, `count`, `nfe`, `frechet` and `real_frechet`; where `frechet` is `None`,
            `sliced_wasserstein` and `real_sliced_wasserstein`; `real_count` where it is not `count`.
        title: over the figure.
    """
    figure = Figure(figsize=(8.6, 4.6), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    axes = figure.subplots()
    in_features = all(row["frechet"] is not None for row in rows)
    distance, called = ("frechet", "Frechet") if in_features else ("sliced_wasserstein", "Sliced Wasserstein")
    schedulers = list(dict.fromkeys(row["scheduler"] for row in rows))
    for i, count in enumerate(sorted({row["count"] for row in rows})):
        style = ("-", "--", ":", "-.")[i % 4]
        for j, scheduler in enumerate(schedulers):
            chosen = [row for row in rows if (row["scheduler"], row["count"]) == (scheduler, count)]
            if chosen:
                points = sorted((row["nfe"], row[distance]) for row in chosen)
                label = f"{scheduler}, {count} samples"
                axes.plot(*zip(*points, strict=True), style, color=f"C{j}", marker="o", markersize=4, label=label)
        row = next(row for row in rows if row["count"] == count)
        label = f"{row.get('real_count') or count} real images"
        axes.axhline(row[f"real_{distance}"], color=FAINT, linestyle=style, linewidth=1.2, label=label)
    axes.set(xscale="log", yscale="log", xlabel="network evaluations", ylabel=f"{called} distance to the test images")
    nfes = sorted({row["nfe"] for row in rows})
    axes.set_xticks(nfes, [str(nfe) for nfe in nfes])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    _plain(axes, title)
    return figure
