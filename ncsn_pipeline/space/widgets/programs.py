"""Programs and other text of a fixed width, to be read and taken along."""

from typing import Any

import gradio as gr


def code_view(value: str | None, label: str, elem_id: str | None = None, **options: Any) -> gr.Code:
    """Text that cannot be edited, its long lines wrapped: what scrolls sideways, a keyboard does not reach.

    Args:
        value: the text.
        label: what it is.
        elem_id: of the component.
        **options: of `gr.Code`; the language is Python's by default.
    """
    return gr.Code(
        value, label=label, elem_id=elem_id, interactive=False, wrap_lines=True, **{"language": "python"} | options
    )
