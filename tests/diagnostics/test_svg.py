"""Figures as SVG: text that stays text, a second colour for dark paper, panels that can be taken apart."""

import colorsys
import re
from xml.etree import ElementTree as ET

import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ncsn_pipeline.densities import GaussianMixture
from ncsn_pipeline.diagnostics import plots
from ncsn_pipeline.diagnostics.plots.style import FRAME, GRID, INK, MUTED
from ncsn_pipeline.diagnostics.plots.svg import DARK_PAPER, for_dark, luminance

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figure():
    """A panel with a picture and its bar, one with dots and arrows, one with curves and labels."""
    density = GaussianMixture(torch.zeros(1, 2), 1.0)
    extent = (-2.0, 2.0, -2.0, 2.0)
    figure, (left, middle, right) = plots.new_figure("A claim < in bold", "its numbers & so on", ncols=3, size=(9, 3))
    plots.error_map(left, density.log_prob(plots.plane_grid(extent, 8)).exp(), extent, "bar's name")
    plots.samples(left, density.sample(20, generator=torch.Generator().manual_seed(0)), "white")
    plots.density_background(middle, density, extent, n=20)
    plots.arrow_field(middle, density.score, extent, 5)
    plots.line(right, [1.0, 2.0, 3.0], [1.0, 4.0, 2.0], "plain", label="end of the curve", markers=True)
    plots.null_line(right, 3.0, "untrained network")
    plots.panel_title(right, "third panel")
    plots.label_ends(right)
    return figure


@pytest.fixture(scope="module")
def svg(figure):
    return plots.as_svg(figure)


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [INK, MUTED, GRID, FRAME, "#ffffff"])
def test_grey_keeps_its_contrast_to_the_paper(colour):
    """To a step of 8-bit colour."""
    assert contrast(for_dark(colour), DARK_PAPER) == pytest.approx(contrast(colour, "#ffffff"), rel=0.03)


@pytest.mark.parametrize("colour", sorted(set(plots.COLOURS.values())))
def test_what_has_a_meaning_is_well_seen_in_the_dark_and_keeps_its_hue(colour):
    dark = for_dark(colour)
    assert contrast(dark, DARK_PAPER) >= 5.9
    (hue, _, saturation), (dark_hue, _, _) = (colorsys.rgb_to_hls(*to_rgb(each)) for each in (colour, dark))
    if saturation > 0.1:
        assert dark_hue == pytest.approx(hue, abs=0.03)


def test_luminance_of_the_primaries():
    assert [luminance(colour) for colour in ("#000000", "#ff0000", "#00ff00", "#0000ff", "#ffffff")] == pytest.approx(
        [0, 0.2126, 0.7152, 0.0722, 1]
    )
    assert luminance("#808080") == pytest.approx(0.2159, abs=1e-4)


def test_text_stays_text(svg):
    words = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]
    for said in ("A claim < in bold", "its numbers & so on", "third panel", "end of the curve", "bar's name"):
        assert words.count(said) == 1, said
    assert "null: untrained network" in words
    assert not re.search(r'<path id="DejaVu', svg)


def test_a_label_has_a_rim_of_the_paper(figure, svg):
    root = ET.fromstring(svg)
    parents = {child: parent for parent in root.iter() for child in parent}
    (label,) = (text for text in root.iter(f"{SVG}text") if text.text == "end of the curve")
    rules = dict(re.findall(r"\.(k\w{7})\{([^}]*)\}", svg))
    above = [label]
    while above[-1] in parents:
        above.append(parents[above[-1]])
    assert any("paint-order:stroke;stroke:#ffffff" in rules.get(each.get("class"), "") for each in above)
    # And Matplotlib's own rim is back.
    assert any(text.get_path_effects() for text in figure.axes[2].texts)


def test_every_colour_has_one_for_the_dark_but_white_dots(svg):
    sheet = "".join(style.text for style in ET.fromstring(svg).iter(f"{SVG}style"))
    plain = re.findall(r"(fill|stroke):(#[0-9a-f]{6})", sheet)
    pairs = re.findall(r"(fill|stroke):light-dark\((#[0-9a-f]{6}),(#[0-9a-f]{6})\)", sheet)
    assert all(dark == for_dark(light) for _, light, dark in pairs)
    assert {(name, light) for name, light, _ in pairs} == set(plain) - {("fill", "#ffffff")}
    assert ("fill", "#ffffff") in plain and len(pairs) > 5
    assert "style=" not in svg


def test_only_dots_are_white(svg):
    """No paper is painted behind the figure or a panel."""
    rules = dict(re.findall(r"\.(k\w{7})\{([^}]*)\}", svg))
    white = [each for each in ET.fromstring(svg).iter() if "fill:#ffffff" in rules.get(each.get("class"), "")]
    assert {each.tag for each in white} == {f"{SVG}use"} and len(white) == 20


def test_the_parts_are_the_panels_with_their_bars(svg):
    parts = plots.taken_apart(svg)
    assert parts[:2] == ("A claim < in bold", "its numbers & so on")
    assert ["bar's name" in panel for panel in parts.panels] == [True, False, False]
    assert ["end of the curve" in panel for panel in parts.panels] == [False, False, True]
    widths = []
    for panel in parts.panels:
        root = ET.fromstring(panel)
        assert not {"x", "y", "width", "height"} & root.attrib.keys()
        _, _, width, height = map(float, root.get("viewBox").split())
        assert root.get("style") == f"--width: {width:.0f}"
        assert 50 < height < 216
        widths.append(width)
    assert sum(widths) < 648 + 6 * 5 and min(widths) > 100  # 9 inches, and a margin on both sides of each


def test_every_reference_is_resolved_once(svg):
    ids = re.findall(r' id="([^"]*)"', svg)
    used = {*re.findall(r"url\(#([^)]*)\)", svg), *re.findall(r'href="#([^"]*)"', svg)}
    assert len(ids) == len(set(ids)) and used <= set(ids) and used


def test_a_figure_is_written_twice_alike(figure, svg, tmp_path):
    assert plots.as_svg(figure) == svg
    assert plots.save(figure, tmp_path / "new" / "a.svg").read_text(encoding="utf-8") == svg


def test_a_figure_within_a_page_has_words_two_colours_and_rules_of_its_own_alone():
    figure = Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#6366f1")
    axes.plot([0, 1], [1, 0], color="white")
    svg = plots.inline_svg(figure, 'said of "it" <here>')
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'said of "it" <here>')
    assert root.get("viewBox") == "0 0 144 72" and root.get("width") is None
    (sheet,) = root.iter(f"{SVG}style")
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", sheet.text)
    assert all(selector.startswith((".k", "svg.")) for selector, _ in rules)
    said = sheet.text
    assert f"stroke:light-dark(#6366f1,{for_dark('#6366f1')})" in said
    assert "stroke:#ffffff" in said and "light-dark(#ffffff" not in said  # on a picture, whatever the paper
    clipped = re.findall(r"url\(#(\w+)\)", svg)
    assert clipped and all(f'id="{name}"' in svg for name in clipped)


def test_a_colour_bar_is_drawn_within_a_page_too(figure):
    """Its size is the figure's: panels beside each other keep their places."""
    assert ET.fromstring(plots.inline_svg(figure, "three panels")).get("viewBox") == "0 0 648 216"
