"""A figure as SVG that is read on light and on dark, and whose panels can be taken apart.

Matplotlib draws for white paper.  On the way to SVG each colour gets a second one for dark paper, which keeps its hue
and its contrast to the paper,

    (L_paper + 0.05) / (L + 0.05) = (L' + 0.05) / (L'_paper + 0.05),        L: relative luminance (WCAG 2.1),

so that a faint grid stays faint.  What is not faint gets L' of at least 0.28, a contrast of 6, and what is not grey at
most 0.42, beyond which hues are hard to tell.  Which of the two colours is shown follows the `color-scheme` of the
page.  Text stays text, the background is transparent.

Each panel is an `<svg>` element of its own within the whole, so that a page lets panels wrap where it is narrow.
"""

import hashlib
import io
import re
from functools import cache
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

# For good: a context for each figure would change what other threads draw at that time.
rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "ncsn"}

DARK_PAPER = "#0d1117"
LEAST_LUMINANCE, MOST_LUMINANCE = 0.28, 0.42  # on dark paper
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue in linear light
TINY = 1e-9
FAINT = 2.0  # contrast to white below which something is faint
WHITE_DOTS, WHITE_LINES = {("fill", "#ffffff")}, {("stroke", "#ffffff")}  # on a picture, whatever the paper
_MARGIN = 5.0  # points around a panel: the page's font may be wider than Matplotlib's
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)


class Parts(NamedTuple):
    """A figure taken apart: its claim, the numbers beneath, and an `<svg>` element for each panel."""

    title: str
    subtitle: str
    panels: list[str]


@cache
def for_dark(colour: str) -> str:
    """The colour that does on dark paper what `colour`, `#rrggbb`, does on white."""
    rgb = np.array(to_rgb(colour))
    linear = _linear(rgb)
    now, paper = luminance(colour), luminance(DARK_PAPER)
    contrast = 1.05 / (now + 0.05)
    wanted = contrast * (paper + 0.05) - 0.05
    if contrast >= FAINT:
        wanted = max(wanted, LEAST_LUMINANCE)
    if np.ptp(rgb) > 0.1:  # not grey
        wanted = max(now, min(wanted, MOST_LUMINANCE))
    # Luminance is linear in linear light: as bright as the hue gets, and from there towards white.
    linear = linear * min(wanted / max(now, TINY), 1 / max(linear.max(), TINY))
    now = float(linear @ LUMINANCE)
    if wanted > now:
        linear = linear + (1 - linear) * (wanted - now) / (1 - now)
    return to_hex(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).clip(0, 1))


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 for black and 1 for white (WCAG 2.1)."""
    return float(_linear(np.array(to_rgb(colour))) @ LUMINANCE)


def _linear(rgb: np.ndarray) -> np.ndarray:
    """sRGB, shape `(3,)`, in linear light."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def as_svg(figure: Figure) -> str:
    """The whole figure as a file: it has two colour schemes, its title and subtitle as `<title>` and `<desc>`.

    Its panels keep the places that they have now.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # each drawing would lay out a colour bar anew
    panels = _panels(figure)
    for i, axes in enumerate(figure.axes):
        axes.set_gid(f"axes-{i}")
    drawn = _drawn(figure)
    parents = {child: parent for parent in drawn.iter() for child in parent}
    width, height = (72 * inches for inches in figure.get_size_inches())
    root = ET.Element(f"{{{_SVG}}}svg", {"viewBox": f"0 0 {width:g} {height:g}", "class": "figure", "role": "img"})
    root.set("font-family", "system-ui, 'DejaVu Sans', sans-serif")
    words = {False: [], True: []}  # by whether they are bold
    for text in figure.texts:
        words[text.get_weight() == "bold"].append(text.get_text())
    for tag, said in (("title", words[True]), ("desc", words[False])):
        ET.SubElement(root, f"{{{_SVG}}}{tag}").text = " ".join(said)
    styles: dict[str, str] = {}
    _restyle(drawn, styles, WHITE_DOTS)
    groups = {group.get("id"): group for group in drawn.iter(f"{{{_SVG}}}g")}
    nested = []
    for indices, box in panels:
        place = {"x": f"{box.x0:.2f}", "y": f"{height - box.y1:.2f}"}
        place |= {"width": f"{box.width:.2f}", "height": f"{box.height:.2f}"}
        panel = ET.Element(f"{{{_SVG}}}svg", {"class": "panel", "viewBox": " ".join(place.values())} | place)
        for i in indices:
            group = groups[f"axes-{i}"]
            parents[group].remove(group)
            panel.append(group)
        nested.append(panel)
    nested[0].insert(0, _stylesheet(styles))
    definitions = drawn.findall(f"{{{_SVG}}}defs")  # the clip paths of all panels
    nested[0].extend(each for each in definitions if len(each))
    for text in drawn.iter(f"{{{_SVG}}}text"):  # the title: what is left
        root.append(text)
    root.extend(nested)
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}g":
            element.attrib.pop("id", None)
    return _written(root) + "\n"


def inline_svg(figure: Figure, description: str) -> str:
    """The whole figure as one `<svg>` element within a page, whose `color-scheme` says which colours are shown.

    What is drawn in white stays white: it is meant for what lies below it.

    Args:
        figure: its size is its viewBox; it is as wide as the page lets it be.
        description: what a screen reader says.
    """
    drawn, styles = _drawn(figure), {}
    _restyle(drawn, styles, WHITE_DOTS | WHITE_LINES)
    for child in list(drawn):
        # What is of the file, and Matplotlib's rules, which would be the whole page's.
        if child.tag == f"{{{_SVG}}}metadata" or child.find(f"{{{_SVG}}}style") is not None:
            drawn.remove(child)
    for element in drawn.iter(f"{{{_SVG}}}g"):  # a page has many figures; only clip paths need their names
        element.attrib.pop("id", None)
    for name in ("width", "height", "version"):
        drawn.attrib.pop(name, None)
    drawn.attrib |= {"class": "panel", "role": "img", "aria-label": description}
    drawn.insert(0, _stylesheet(styles))
    return _written(drawn)


def taken_apart(svg: str) -> Parts:
    """A figure that `as_svg` wrote as parts for a page, each panel as wide as it is given room."""
    root = ET.fromstring(svg)
    panels = []
    for panel in root.findall(f"{{{_SVG}}}svg"):
        width = float(panel.get("width"))
        for name in ("x", "y", "width", "height"):
            del panel.attrib[name]
        panel.set("style", f"--width: {width:.0f}")
        panels.append(ET.tostring(panel, encoding="unicode"))
    title, subtitle = (root.findtext(f"{{{_SVG}}}{tag}") or "" for tag in ("title", "desc"))
    return Parts(title, subtitle, panels)


def _drawn(figure: Figure) -> ET.Element:
    """What Matplotlib writes; text with a halo is in groups named so."""
    haloed = [text for text in figure.findobj(Text) if text.get_path_effects()]
    effects = [text.get_path_effects() for text in haloed]
    for text in haloed:  # a path effect would turn text into outlines
        text.set(path_effects=None, gid="halo")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    for text, own in zip(haloed, effects, strict=True):
        text.set(path_effects=own, gid=None)
    return ET.fromstring(buffer.getvalue())


def _written(root: ET.Element) -> str:
    """Without what is between elements; two decimals of a point are enough for places."""
    written = re.sub(r">\s+<", "><", ET.tostring(root, encoding="unicode"))
    places = re.compile(r'(?<= d=")[^"]*|(?<= [xy]=")[^"]*')
    return places.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), written)


def _panels(figure: Figure) -> list[tuple[list[int], Bbox]]:
    """Each panel with its colour bar: the indices of its axes, and its box, in points from the bottom left."""
    of_bar = {bar: axes for axes in figure.axes for bar in _bars(axes)}
    panels: dict[Axes, list[int]] = {}
    for i, axes in enumerate(figure.axes):
        panels.setdefault(of_bar.get(axes, axes), []).append(i)
    boxes = []
    for indices in panels.values():
        box = Bbox.union([figure.axes[i].get_tightbbox() for i in indices])
        points = Bbox(box.get_points() * 72 / figure.dpi)
        boxes.append((indices, points.padded(_MARGIN)))
    return boxes


def _bars(axes: Axes) -> list[Axes]:
    shown = (*axes.images, *axes.collections)
    return [image.colorbar.ax for image in shown if image.colorbar is not None]


def _restyle(drawn: ET.Element, styles: dict[str, str], constant: set[tuple[str, str]]) -> None:
    """Turns each `style` into a class named by what it says; colours get their second one, unless they are constant."""
    for element in drawn.iter():
        style = element.attrib.pop("style", None)
        halo = element.tag == f"{{{_SVG}}}g" and element.get("id") == "halo"
        if halo:
            style = "paint-order: stroke; stroke: #ffffff; stroke-width: 3; stroke-linejoin: round"
        if not style:
            continue
        rules = []
        for rule in style.split(";"):
            name, _, value = (part.strip() for part in rule.partition(":"))
            if not name or name == "font-family":
                continue
            if name == "font":
                value = re.sub(r"(\d+(?:\.\d+)?px).*", r"\1 inherit", value)
            rules.append(f"{name}:{value}")
            if re.fullmatch("#[0-9a-f]{6}", value) and (halo or (name, value) not in constant):
                rules.append(f"{name}:light-dark({value},{for_dark(value)})")
        said = ";".join(rules)
        styles[said] = "k" + hashlib.sha1(said.encode()).hexdigest()[:7]
        element.set("class", styles[said])


def _stylesheet(styles: dict[str, str]) -> ET.Element:
    sheet = ET.Element(f"{{{_SVG}}}style")
    rules = [f".{name}{{{said}}}" for said, name in styles.items()]
    # Matplotlib's own rule, for all of its pictures.
    sheet.text = "".join(["svg.figure{color-scheme:light dark}svg.panel *{stroke-linejoin:round}", *rules])
    return sheet
