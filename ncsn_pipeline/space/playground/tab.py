"""The Playground tab: Langevin particles at one noise level and down a ladder, beside each other, in the browser.

No server work: the page's JavaScript moves and draws the particles.  Its arithmetic is the package's own, see
`tests/space/test_playground.py`.  The files in the order in which they are joined, each using those before it:

langevin    ladder, step sizes, the step, random numbers
densities   mixtures of Gaussians: score, log density, shares of the modes
shapes      the densities to choose from, and drawn ones
settings    ranges, defaults, and the address of the page
chains      the two chains, plain and annealed
scene       contours and labels of a density
canvas      a view of the plane
bars        shares of the modes
ladder      the plot whose levels can be dragged
controls    sliders, boxes and buttons of the settings
pointer     clicks and strokes
numbers     what is said about the chains
main        the page put together, its buttons, the loop of frames
"""

from pathlib import Path

import gradio as gr

SCRIPTS = (
    *("langevin", "densities", "shapes", "settings", "chains", "scene"),
    *("canvas", "bars", "ladder", "controls", "pointer", "numbers", "main"),
)


def read_scripts(*names: str) -> str:
    """The named parts of the playground's JavaScript as one text.

    Args:
        names: of `SCRIPTS`, in their order.
    """
    return "\n".join(_read(f"playground_{name}.js") for name in names)


class PlaygroundTab:
    """Builds the tab inside the current `gr.Blocks`; nothing of it calls the server."""

    def __init__(self) -> None:
        start = 'new Playground(element.querySelector(".playground"));'
        self.html = gr.HTML(
            html_template=_read("playground.html"),
            css_template=_read("playground.css"),
            js_on_load=f'"use strict";\n{read_scripts(*SCRIPTS)}\n{start}',
            apply_default_css=False,
            elem_id="playground",
        )


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
