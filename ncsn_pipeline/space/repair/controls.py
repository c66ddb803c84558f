"""The controls of the Repair tab, by the names of `check_repair`'s arguments."""

import gradio as gr
from gradio.components import Component

from . import limits, repair_limits
from .model import SpaceModel

TASK_NAMES = [("Repair what is marked", "inpaint"), ("Edit from a sketch", "edit")]
SAMPLER_NAMES = [("Consistent annealed", "consistent"), ("Annealed Langevin", "langevin")]


def task_control() -> gr.Radio:
    """Which of the two jobs."""
    return gr.Radio(TASK_NAMES, value="inpaint", show_label=False, container=False, label="Task", elem_id="repair-task")


def result_controls(model: SpaceModel) -> dict[str, Component]:
    """What to paint: class, guidance, number of results and seed."""
    classes = model.num_classes
    digits = [(f"{label}", f"{label}") for label in range(classes or 0)]
    return {
        "start_sigma": gr.Slider(
            *repair_limits.START_SIGMA,
            value=0.7,
            step=0.05,
            label="Noise to start from, σ",
            info="Small keeps the sketch, large only its idea.",
            visible=False,
            elem_id="repair-start",
        ),
        "digit": gr.Dropdown(
            [("Not known", "none"), *digits],
            value="none",
            label="Digit",
            filterable=False,
            visible=bool(classes),
            elem_id="repair-digit",
        ),
        "guidance_scale": gr.Slider(
            *limits.GUIDANCE,
            value=1,
            step=0.1,
            label="Guidance",
            info="How far to go towards the digit. Other values than 1 double the work.",
            visible=False,
            elem_id="repair-guidance",
        ),
        "num_images": gr.Slider(
            *repair_limits.COMPLETIONS, value=8, step=1, label="Number of results", elem_id="repair-images"
        ),
        "seed": gr.Number(
            0,
            minimum=limits.SEED[0],
            maximum=limits.SEED[1],
            precision=0,
            label="Seed",
            info="The same seed gives the same results.",
            elem_id="repair-seed",
        ),
    }


def sampler_controls() -> dict[str, Component]:
    """How to paint it: sampler, levels, repetitions."""
    return {
        "sampler": gr.Radio(SAMPLER_NAMES, value="consistent", label="Sampler", elem_id="repair-sampler"),
        "num_levels": gr.Slider(
            2, limits.LEVELS[1], value=25, step=1, label="Number of levels", elem_id="repair-levels"
        ),
        "repeats": gr.Slider(
            *repair_limits.REPEATS,
            value=4,
            step=1,
            label="Times each step is taken",
            info="Back up by as much noise, and down again: at 1, new strokes meet kept ones only by chance.",
            elem_id="repair-repeats",
        ),
    }
