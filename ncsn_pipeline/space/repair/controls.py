"""The controls of the Repair tab, by the names of `check_repair`'s arguments."""

import gradio as gr
from gradio.components import Component

from ..runs import limits as shared
from ..runs.model import SpaceModel
from ..widgets.seeds import seed_control
from . import limits

TASK_NAMES = [("Repair what is marked", "inpaint"), ("Edit from a sketch", "edit")]
# What the page starts with, by the names of `check_repair`'s arguments.
DEFAULTS = {
    "task": "inpaint",
    "sampler": "consistent",
    "num_levels": 25,
    "steps_per_level": 4,
    "start_sigma": 0.7,
    "class_label": "none",
    "guidance_scale": 1,
    "num_images": 8,
    "seed": 0,
}
SAMPLER_NAMES = [("Consistent annealed", "consistent"), ("Annealed Langevin", "langevin")]
# What the steps of a level are to each sampler.
STEPS_OF_CONSISTENT = (
    "How often each level's step is taken, its noise put back in between. Taken once, new strokes meet kept ones only "
    "by chance."
)
STEPS_OF_LANGEVIN = "Of Langevin dynamics, at every noise level."


def task_control() -> gr.Radio:
    """Which of the two jobs."""
    return gr.Radio(
        TASK_NAMES, value=DEFAULTS["task"], show_label=False, container=False, label="Task", elem_id="repair-task"
    )


def result_controls(model: SpaceModel) -> dict[str, Component]:
    """What to paint: class, guidance, number of results and seed."""
    classes = model.num_classes
    labels = [(name, f"{number}") for number, name in enumerate(model.class_names)]
    return {
        "start_sigma": gr.Slider(
            *limits.START_SIGMA,
            value=DEFAULTS["start_sigma"],
            step=0.05,
            label="Noise to start from, σ",
            info="Small keeps the sketch, large only its idea.",
            visible=False,
            elem_id="repair-start",
        ),
        "class_label": gr.Dropdown(
            [("Not known", "none"), *labels],
            value=DEFAULTS["class_label"],
            label="Class",
            filterable=False,
            visible=bool(classes),
            elem_id="repair-class-label",
        ),
        "guidance_scale": gr.Slider(
            *shared.GUIDANCE,
            value=DEFAULTS["guidance_scale"],
            step=0.1,
            label="Guidance",
            info="How far to go towards the class. Other values than 1 double the work.",
            visible=False,
            elem_id="repair-guidance",
        ),
        "num_images": gr.Slider(
            *limits.COMPLETIONS,
            value=DEFAULTS["num_images"],
            step=1,
            label="Number of results",
            elem_id="repair-images",
        ),
        "seed": seed_control("repair-seed", "results"),
    }


def sampler_controls() -> dict[str, Component]:
    """How to paint it: sampler, levels, repetitions."""
    return {
        "sampler": gr.Radio(SAMPLER_NAMES, value=DEFAULTS["sampler"], label="Sampler", elem_id="repair-sampler"),
        "num_levels": gr.Slider(
            2, shared.LEVELS[1], value=DEFAULTS["num_levels"], step=1, label="Number of levels", elem_id="repair-levels"
        ),
        "steps_per_level": gr.Slider(
            *limits.STEPS_PER_LEVEL,
            value=DEFAULTS["steps_per_level"],
            step=1,
            label="Steps per level",
            info=STEPS_OF_CONSISTENT,
            elem_id="repair-steps",
        ),
    }
