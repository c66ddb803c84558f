"""The scrubber: a finished run, step by step, x and its denoised estimate side by side.

The browser gets one picture that holds all kept steps and cuts it up itself, so dragging asks nothing of the server.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData

from ..runs.recording import Recording
from ..widgets.pictures import STRIP_ROW, save_strip

HERE = Path(__file__)


def trajectory_player(elem_id: str = "trajectory") -> gr.HTML:
    """The component; its value is what `trajectory_value` makes, or None before the first run."""
    return gr.HTML(
        None,
        html_template=HERE.with_suffix(".html").read_text(encoding="utf-8"),
        js_on_load=HERE.with_suffix(".js").read_text(encoding="utf-8"),
        label="Trajectory: a file with all kept steps, its layout, and sigma of each",
        elem_id=elem_id,
    )


def trajectory_value(recording: Recording, columns: int | None, folder: Path, evaluations: int) -> dict[str, Any]:
    """Writes the strip into `folder` and describes it.

    Args:
        recording: of the run.
        columns: images in a row of a picture.
        folder: one that Gradio serves.
        evaluations: how many the run was to have; stopped, it has fewer.
    """
    path = folder / "trajectory.png"
    width, height = save_strip(recording, columns, path)
    return {
        "strip": FileData(path=str(path)).model_dump(),
        "columns": STRIP_ROW,
        "width": width,
        "height": height,
        "evaluations": [frame.evaluation for frame in recording.frames],
        "sigmas": [frame.sigma for frame in recording.frames],
        "noise_left": [recording.noise_left[frame.evaluation - 1] for frame in recording.frames],
        "of": evaluations,
    }
