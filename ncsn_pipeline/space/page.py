"""The page: its tabs, its theme, and how it is launched."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import fonts

from ..shipped import MODELS, examples, folder_or_shipped
from .about import AboutTab
from .generate import GenerateTab
from .learn import LearnTab
from .lecture import LectureTab
from .playground import PlaygroundTab
from .repair import RepairTab
from .runs.models import SpaceModels
from .runs.sessions import place_in
from .server.guard import MOST_BYTES, BoundedUploads, GuardedBlocks, refuse_large_pictures
from .server.poster import Poster, poster
from .server.sharing import share_tabs
from .widgets.pictures import KEPT_SECONDS

TITLE = "Noise-conditional score networks"
HEADING = "Images from noise, by following the score"
SENTENCE = """A network estimates <i>s(x, σ)</i>, the gradient of the log density of images with added noise of standard
deviation σ. Start from pure noise, follow <i>s</i> at a large σ, then at smaller and smaller ones: images appear."""
INTRODUCTION = f"""
<header class="introduction"><div class="copy-link"><button type="button">Copy link</button>
<span role="status"></span><input hidden readonly aria-label="Link to this view"></div>
<h1>{HEADING}</h1><p>{SENTENCE}</p></header>
"""
POSTER_PICTURE = 2
MOST_SESSIONS = 100  # up to a megabyte each, and a caller without a page never closes his


def models_to_show(first: str | None, others: Sequence[str]) -> list[str]:
    """Where the models of a page lie.

    Args:
        first: the one that the page begins with; `None` or nothing for the shipped ones.
        others: more of them.
    """
    return [folder_or_shipped(name) for name in (*([first] if first else MODELS), *others)]


def build_page(*model_sources: str) -> gr.Blocks:
    """The page for one model, or for several to choose among.

    Args:
        *model_sources: folders that `NCSNPipeline.save_pretrained` wrote, or ids of models on the Hub.  The first is
            loaded at once and shown by every tab, the others when they are asked for.

    Raises:
        ValueError: for no source.
        FileNotFoundError: for a folder without a model.
        OSError: for a model that the Hub does not give.
    """
    refuse_large_pictures()
    models = SpaceModels(model_sources)
    with GuardedBlocks(title=TITLE, fill_width=True, delete_cache=(KEPT_SECONDS // 12, KEPT_SECONDS)) as page:
        gr.HTML(INTRODUCTION)
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Playground", id="playground"):
                PlaygroundTab()
            with gr.Tab("Generate", id="generate"):
                generate = GenerateTab(models)
            repair = []
            if not models.default.few_levels:  # it needs a score
                with gr.Tab("Repair", id="repair"):
                    repair = [RepairTab(models)]
            with gr.Tab("Learn the score", id="learn"):
                learn = LearnTab()
            with gr.Tab("Lecture", id="lecture"):
                lecture = LectureTab()
            with gr.Tab("About / API", id="about"):
                about = AboutTab(models.default)
        share_tabs(page, tabs)
        for tab in (lecture, about, generate, *repair, learn):
            tab.connect_page(page)

        def queue() -> dict[str, int]:
            return place_in(page)

        gr.api(
            queue,
            api_name="queue",
            api_description="How many runs are running on this server, and how many wait.",
            queue=False,
        )
    # One run of torch at a time (its events share a concurrency_id); who comes later waits, up to a point.
    # Closed to direct calls, which would not wait.
    return page.queue(max_size=32, api_open=False)


def serve(page: gr.Blocks, **address: Any) -> None:
    """Serves the page until Ctrl-C, also where that comes while Gradio starts: alone it ends in order only afterwards.

    Args:
        page: of `build_page`.
        **address: `server_name` and `server_port`; Gradio's own environment variables where they are not given.
    """
    html = poster(HEADING, SENTENCE, examples(MODELS[0])[POSTER_PICTURE])
    with suppress(KeyboardInterrupt):
        page.launch(
            theme=_theme(),
            css_paths=[Path(__file__).with_name("page.css"), Path(__file__).parent / "lecture" / "tab.css"],
            js=Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
            footer_links=["api", "gradio"],
            max_file_size=MOST_BYTES,
            app_kwargs={"middleware": [(BoundedUploads, (), {}), (Poster, (), {"html": html})]},
            state_session_capacity=MOST_SESSIONS,
            run_history=False,
            _frontend=False,  # else it asks itself for the page and gives up after three seconds, on a busy machine too
            **address,
        )


def _theme() -> gr.themes.Base:
    """Fonts that Gradio serves itself: a visitor's browser asks nobody else; colours that can be read."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        font=[fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=[fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"],
    ).set(
        # Gradio's own are too faint: text on white, white on a button.
        body_text_color_subdued="*neutral_500",
        button_primary_background_fill="*primary_600",
        checkbox_border_color_dark="*neutral_500",
        button_cancel_background_fill=gr.themes.colors.red.c600,
        button_cancel_background_fill_hover=gr.themes.colors.red.c700,
    )
