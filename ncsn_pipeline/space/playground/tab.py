"""The Playground tab: its files put together into one component."""

from pathlib import Path

import gradio as gr

SCRIPTS = (
    *("langevin", "densities", "shapes", "settings", "chains", "scene", "verdict", "recording", "average", "run"),
    *("canvas", "bars", "ladder", "controls", "pointer", "numbers", "frames", "main"),
)


def read_scripts(*names: str) -> str:
    """The named parts of the playground's JavaScript as one text.

    Args:
        names: of `SCRIPTS`, in their order.
    """
    return "\n".join(_read(f"{name}.js") for name in names)


class PlaygroundTab:
    """Builds the tab inside the current `gr.Blocks`; nothing of it calls the server."""

    def __init__(self) -> None:
        start = 'new Playground(element.querySelector(".playground"));'
        self.html = gr.HTML(
            html_template=_read("tab.html"),
            css_template=_read("tab.css"),
            js_on_load=f'"use strict";\n{read_scripts(*SCRIPTS)}\n{start}',
            apply_default_css=False,
            elem_id="playground",
        )


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
