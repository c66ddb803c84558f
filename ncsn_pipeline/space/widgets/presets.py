"""Settings worth looking at, a button each."""

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Values of the controls and what they show.

    Args:
        name: on the button.
        note: what to look for.
        values: by the names of the arguments of the tab's check; what is not named stays as the visitor left it.
    """

    name: str
    note: str
    values: dict[str, str | float]


def preset_note(name: str, note: str) -> str:
    """What a preset is for."""
    return f'<p class="preset-note"><b>{html.escape(name)}.</b> {html.escape(note)}</p>'
