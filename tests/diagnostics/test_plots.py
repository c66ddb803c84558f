"""Figures say what they were given: the whole title, arrows along the score, the density the right way up."""

import math
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from ncsn_pipeline.diagnostics import circle, plots

EXTENT = (-4.0, 2.0, -1.0, 5.0)
LOG_PANEL = Figure().subplots()
plots.log_axis(LOG_PANEL, "y")


class Bump:
    """exp(-|| x - centre ||²) without its constant."""

    centre = torch.tensor([1.0, 3.5])

    def log_prob(self, x):
        return -(x - self.centre).square().sum(1)


def test_title_and_subtitle_are_whole_and_inside_the_figure():
    title = "A claim that is long enough to need more than one line, whatever the font, at a width of eight inches"
    figure, axes = plots.new_figure(title, "numbers: " + "0.123, " * 30, ncols=2)
    texts = figure.texts
    assert " ".join(text.get_text() for text in texts if text.get_weight() == "bold") == title
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    assert all(box.x0 > 0 and box.x1 < figure.bbox.width for box in boxes)
    assert all(above.y0 > below.y1 for above, below in pairwise(boxes))
    assert boxes[-1].y0 > max(panel.get_tightbbox().y1 for panel in axes)


def test_no_word_is_left_alone_on_the_last_line():
    figure, _ = plots.new_figure("A network's vector field is the score where there are data, and only there")
    first, second = (text.get_text() for text in figure.texts)
    assert len(second) > 0.6 * len(first)


def test_global_settings_are_left_alone_and_style_is_a_style():
    before = dict(matplotlib.rcParams)
    figure, axes = plots.new_figure("A claim", nrows=2)
    assert isinstance(figure, Figure) and axes.shape == (2,)
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context(plots.STYLE):
        assert matplotlib.rcParams["font.size"] >= 11


def test_saved_picture_is_1600_pixels_wide_and_the_same_each_time(tmp_path):
    def picture(name):
        figure, axes = plots.new_figure("A claim", "a number")
        plots.line(axes, torch.arange(3.0), torch.arange(3.0), "annealed", error=torch.ones(3), label="curve")
        plots.label_ends(axes)
        return plots.save(figure, tmp_path / "made" / name)

    one, two = picture("a.png"), picture("b.png")
    with Image.open(one) as image:
        assert image.size == (1600, 900)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    wanted = np.array([int(plots.COLOURS["annealed"][i : i + 2], 16) for i in (1, 3, 5)])
    assert (pixels == wanted).all(1).sum() > 1_000
    assert one.read_bytes() == two.read_bytes()


def test_labels_at_the_ends_stay_in_order_and_apart():
    figure, axes = plots.new_figure("A claim")
    heights = [0.5, 0.501, 0.499, 0.9]
    for i, height in enumerate(heights):
        plots.line(axes, [0, 1], [0, height], label=f"curve {i}")
    plots.line(axes, [0, 1], [1, 1])
    plots.label_ends(axes)
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    ordered = [boxes[f"curve {i}"] for i in (2, 0, 1, 3)]
    assert len(boxes) == 4
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(ordered))
    assert all(box.x0 >= axes.get_window_extent().x1 and box.x1 <= figure.bbox.width for box in ordered)
    end = axes.transData.transform((1, 0.9))[1]
    assert ordered[-1].y0 < end < ordered[-1].y1  # nothing is in its way, so it stands at its own height


def test_a_curve_that_leaves_the_panel_is_named_where_it_does():
    _, axes = plots.new_figure("A claim")
    axes.set_ylim(0, 1)
    plots.line(axes, [0, 1, 2, 3], [0, 0.5, 50, math.nan], label="steep")
    plots.label_ends(axes)
    assert axes.texts[0].xy == (1, 0.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.001, "0.001"),
        (0.05, "0.05"),
        (1.0, "1"),
        (20.0, "20"),
        (1.25, "1.25"),
        (100.0, "100"),
        (3000.0, "3,000"),
        (1e4, "10,000"),
        (50_000.0, "50,000"),
        (1e5, "10⁵"),
        (9.996e5, "10⁶"),
        (3e-5, "3×10⁻⁵"),
        (0.0, "0"),
        (-20.0, "-20"),
    ],
)
def test_plain_numbers(value, words):
    assert plots.plain_number(value) == words


@settings(deadline=None, max_examples=60, derandomize=True)
@given(low=st.floats(-12, 8), decades=st.floats(0.1, 20))
def test_log_axes_have_a_few_ticks_that_are_seen(low, decades):
    bottom, top = 10**low, 10 ** (low + decades)
    ticks = LOG_PANEL.yaxis.get_major_locator().tick_values(bottom, top)
    assert 2 <= len(ticks) <= 9
    assert all(bottom * 0.999 <= tick <= top * 1.001 for tick in ticks)
    labels = LOG_PANEL.yaxis.get_major_formatter().format_ticks(ticks)
    assert len(set(labels)) == len(labels)
    with_powers = {label[-1] in "⁰¹²³⁴⁵⁶⁷⁸⁹" for label, tick in zip(labels, ticks, strict=True) if not 1 <= tick < 10}
    assert len(with_powers) <= 1  # plain numbers or powers, not both on one axis


def test_only_the_axis_asked_for_is_logarithmic():
    assert (LOG_PANEL.get_xscale(), LOG_PANEL.get_yscale()) == ("linear", "log")
    with pytest.raises(ValueError, match="got 'z'"):
        plots.log_axis(Figure().subplots(), "z")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grid_runs_row_by_row_from_the_bottom_left(dtype):
    grid = plots.plane_grid(EXTENT, 3, dtype)
    assert grid.dtype == dtype
    assert grid[:4].tolist() == [[-3, 0], [-1, 0], [1, 0], [-3, 2]]
    with pytest.raises(ValueError, match="got"):
        plots.plane_grid((1.0, 0.0, 0.0, 1.0), 3)


def test_density_is_the_right_way_up_and_darkest_at_its_peak():
    _, axes = plots.new_figure("A claim")
    image = plots.density_background(axes, Bump(), EXTENT, n=60)
    shade = image.get_array()
    row, column = np.unravel_index(shade.argmax(), shade.shape)
    assert (column + 0.5) / 60 * 6 - 4 == pytest.approx(1.0, abs=0.1)
    assert (row + 0.5) / 60 * 6 - 1 == pytest.approx(3.5, abs=0.1)
    assert image.origin == "lower" and tuple(image.get_extent()) == EXTENT
    *colour, opacity = np.moveaxis(image.to_rgba(shade), -1, 0)
    darkness = (opacity * colour + (1 - opacity)).sum(0)  # on white paper
    assert darkness[row, column] == darkness.min() < darkness.max()


def test_error_map_keeps_the_order_of_the_grid():
    figure, axes = plots.new_figure("A claim")
    grid = plots.plane_grid(EXTENT, 20)
    image = plots.error_map(axes, 1 + Bump().log_prob(grid).square(), EXTENT, "squared error", limits=(1.0, 100.0))
    row, column = np.unravel_index(image.get_array().argmin(), (20, 20))
    assert torch.dist(grid[row * 20 + column], Bump.centre) < 0.25
    assert figure.axes[1].get_ylabel() == "squared error"
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["1", "3", "10", "30", "100"]


def test_arrows_point_along_the_score():
    _, axes = plots.new_figure("A claim", ncols=2)
    spacing, field = 6 / 5, lambda x: Bump.centre - x
    grid = plots.plane_grid(EXTENT, 5)
    score = field(grid).numpy()
    arrows = plots.arrow_field(axes[0], field, EXTENT, n=5, longest=3.0)
    drawn = np.stack([arrows.U, arrows.V], 1)
    norm = np.linalg.norm(score, axis=1)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 0.95 * spacing * np.minimum(norm / 3, 1), rtol=1e-5)
    np.testing.assert_allclose(drawn * norm[:, None], score * np.linalg.norm(drawn, axis=1)[:, None], atol=1e-5)
    np.testing.assert_allclose(arrows.XY, grid.numpy(), atol=1e-6)
    arrows = plots.arrow_field(axes[1], field, EXTENT, n=5, unit_length=True)
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), 0.72 * spacing, rtol=1e-5)


def test_zero_score_has_no_arrows():
    _, axes = plots.new_figure("A claim")
    for unit_length in (False, True):
        arrows = plots.arrow_field(axes, torch.zeros_like, EXTENT, n=4, unit_length=unit_length)
        assert not arrows.U.any() and not arrows.V.any()


@pytest.mark.parametrize(("n", "shown"), [(0, 0), (5, 5), (4_000, 4_000), (4_001, 4_000), (100_000, 4_000)])
def test_samples_are_thinned_evenly(n, shown):
    _, axes = plots.new_figure("A claim")
    x = torch.arange(2.0 * n).reshape(n, 2)
    dots = plots.samples(axes, x, "annealed")
    assert len(dots.get_offsets()) == shown
    if n:
        assert dots.get_offsets()[0].tolist() == [0, 1] and dots.get_offsets()[-1, 0] >= 2 * n * 0.99 - 4


def test_a_loop_is_closed():
    _, axes = plots.new_figure("A claim")
    plots.closed_loop(axes, circle([0.0, 0.0], 1.0, 5))
    x, y = axes.lines[0].get_data()
    assert (len(x), x[0], y[0]) == (6, x[-1], y[-1])


def test_colours_of_levels_darken():
    shades = np.array(plots.level_colours(10))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(shades) < 0).all()
    assert plots.colour_of("true") == plots.COLOURS["true"] and plots.colour_of("white") == "white"


def test_unused_labels_do_no_harm():
    _, axes = plots.new_figure("A claim")
    plots.label_ends(axes)
    plots.direct_label(axes, 0, 0, "here", "plain")
    plots.panel_title(axes, "panel")
    plots.legend(axes, handles=[])
    assert axes.get_title(loc="left") == "panel" and len(axes.texts) == 1


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_null_is_a_line_at_its_value_with_its_name_on_it(scale):
    figure, axes = plots.new_figure("A claim")
    axes.set(xlim=(1, 2), ylim=(0.1, 1), yscale=scale)
    name = plots.null_line(axes, 0.4, "untrained network")
    (drawn,) = axes.lines
    assert list(drawn.get_ydata()) == [0.4, 0.4]
    figure.draw_without_rendering()
    _, height = axes.transData.transform((1, 0.4))
    box = name.get_window_extent()
    assert "untrained network" in name.get_text()
    assert axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and height - 2 < box.y0 < height + 10
