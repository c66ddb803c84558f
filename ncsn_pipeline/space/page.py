"""The page: its tabs, its theme, and how it is launched."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import fonts

from .generate import GenerateTab
from .model import SpaceModel

TITLE = "Noise-conditional score networks"
INTRODUCTION = """
<header class="introduction"><h1>Images from noise, by following the score</h1>
<p>A network estimates <i>s(x, σ)</i>, the gradient of the log density of images blurred by noise of deviation σ. Start
from pure noise, follow <i>s</i> at a large σ, then at smaller and smaller ones: digits appear.</p></header>
"""
DAY = 24 * 60 * 60


def build_page(model_source: str) -> gr.Blocks:
    """The page for one model.

    Args:
        model_source: a folder that `NCSNPipeline.save_pretrained` wrote, or the id of a model on the Hub.

    Raises:
        FileNotFoundError: for a folder without a model.
        OSError: for a model that the Hub does not give.
    """
    model = SpaceModel.load(model_source)
    with gr.Blocks(title=TITLE, fill_width=True, delete_cache=(DAY // 24, DAY)) as page:
        gr.HTML(INTRODUCTION)
        with gr.Tabs():
            with gr.Tab("Generate"):
                generate = GenerateTab(model)
        generate.connect_page(page)
    # One run of torch at a time (its events share a concurrency_id); who comes later waits, up to a point.
    return page.queue(max_size=32)


def launch_options() -> dict[str, Any]:
    """Keyword arguments of `launch`; address and port come from Gradio's own environment variables."""
    return {
        "theme": _theme(),
        "css_paths": Path(__file__).with_name("page.css"),
        "footer_links": ["api", "gradio"],
        "run_history": False,
    }


def _theme() -> gr.themes.Base:
    """Fonts that Gradio serves itself: a visitor's browser asks nobody else."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        font=[fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=[fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"],
    )
