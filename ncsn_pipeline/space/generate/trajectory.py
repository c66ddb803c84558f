"""The player: a run while it goes on, and step by step when it has ended, x and its denoised estimate side by side.

Of a finished run the browser gets one picture that holds all kept steps and cuts it up itself, so dragging asks nothing
of the server.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..runs.recording import Recording
from ..widgets.pictures import STRIP_ROW, file_data, save_strip

HERE = Path(__file__)


def trajectory_player(value: dict[str, Any], elem_id: str = "trajectory") -> gr.HTML:
    """The component; its value is what `live_value` or `trajectory_value` makes."""
    return gr.HTML(
        value,
        html_template=HERE.with_suffix(".html").read_text(encoding="utf-8"),
        js_on_load=HERE.with_suffix(".js").read_text(encoding="utf-8"),
        label="Trajectory",
        elem_id=elem_id,
    )


def live_value(noisy: str | Path, denoised: str | Path, words: str, made_with: Sequence[Any]) -> dict[str, Any]:
    """A run that goes on.

    Args:
        noisy: the file of x.
        denoised: the file of x + sigma² s.
        words: about them.
        made_with: the values of the page's controls that they were made with.
    """
    return {"noisy": file_data(noisy), "denoised": file_data(denoised), "words": words, "made_with": made_with}


def trajectory_value(recording: Recording, columns: int | None, folder: Path, evaluations: int) -> dict[str, Any]:
    """Writes the strip into `folder` and describes it; after the evaluations named here it holds the samples.

    Args:
        recording: of the run.
        columns: images in a row of a picture.
        folder: one that Gradio serves.
        evaluations: how many the run was to have; stopped, it has fewer.
    """
    path = folder / "trajectory.png"
    width, height = save_strip(recording, columns, path)
    return {
        "strip": file_data(path),
        "columns": STRIP_ROW,
        "width": width,
        "height": height,
        "evaluations": [frame.evaluation for frame in recording.frames],
        "sigmas": [frame.sigma for frame in recording.frames],
        "noise_left": [recording.noise_left[frame.evaluation - 1] for frame in recording.frames],
        "of": evaluations,
    }
