"""The controls of the Generate tab, by the names of `check_generate`'s arguments."""

import gradio as gr
from gradio.components import Component

from ..runs import limits as shared
from ..runs.model import SpaceModel
from ..runs.models import SpaceModels
from ..runs.samplers import SAMPLERS
from ..widgets.seeds import seed_control
from . import limits

LADDER_NAMES = [("Geometric", "geometric"), ("Uniform", "uniform"), ("Karras", "karras")]
STEP_NAMES = [("Automatic", "automatic"), ("By hand", "fraction")]


def defaults(model: SpaceModel) -> dict[str, str | float]:
    """What the page starts with: the model's own range of noise, 50 evaluations, each class twice."""
    low, high = model.trained_range
    return {
        "model": model.name,
        "sampler": "consistent",
        "ladder": "geometric",
        "sigma_max": _within(high, limits.SIGMA_MAX),
        "sigma_min": _within(low, limits.SIGMA_MIN),
        "num_levels": 50,
        "steps_per_level": 5,
        "step_mode": "automatic",
        "step_fraction": 0.1,
        "class_label": "each" if model.num_classes else "drawn",
        "guidance_scale": 1,
        "num_images": 20 if model.num_classes else 16,
        "seed": 0,
    }


def _within(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, ends[0]), ends[1])


def class_choices(model: SpaceModel) -> list[tuple[str, str]]:
    """Names and values of what can be asked of a model with these classes."""
    classes = model.num_classes
    labels = [(name, f"{number}") for number, name in enumerate(model.class_names)]
    one_of_each = [("One of each, in turn", "each")] if classes else []
    return [("Drawn at random", "drawn"), *one_of_each, *labels, ("None (no class given)", "none")]


def image_controls(models: SpaceModels) -> dict[str, Component]:
    """What to draw: model, class, guidance, number and seed."""
    classes = models.default.num_classes
    default = defaults(models.default)
    return {
        "model": gr.Dropdown(
            list(models.names),
            value=models.default.name,
            label="Model",
            filterable=False,
            visible=len(models.names) > 1,
            elem_id="model",
        ),
        "class_label": gr.Dropdown(
            class_choices(models.default),
            value=default["class_label"],
            label="Class",
            filterable=False,
            visible=bool(classes),
            elem_id="class-label",
        ),
        "guidance_scale": gr.Slider(
            *shared.GUIDANCE,
            value=default["guidance_scale"],
            step=0.1,
            label="Guidance",
            info="How far to go towards the class. At 1 costs nothing; other values double the work.",
            visible=bool(classes),
        ),
        "num_images": gr.Slider(
            *shared.IMAGES, value=default["num_images"], step=1, label="Number of images", elem_id="images"
        ),
        "seed": seed_control("seed", "images"),
    }


def ladder_controls(model: SpaceModel) -> dict[str, Component]:
    """How to draw it: sampler and ladder."""
    default = defaults(model)
    return {
        "sampler": gr.Dropdown(
            [
                (sampler.label + (", of diffusers" if sampler.is_solver else ""), name)
                for name, sampler in SAMPLERS.items()
            ],
            value=default["sampler"],
            label="Sampler",
            filterable=False,
            elem_id="sampler",
        ),
        "ladder": gr.Radio(LADDER_NAMES, value=default["ladder"], label="Spacing of the levels", elem_id="ladder"),
        "sigma_max": gr.Slider(
            *limits.SIGMA_MAX, value=default["sigma_max"], step=0.1, label="σ max, the first level", elem_id="sigma-max"
        ),
        "sigma_min": gr.Slider(
            *limits.SIGMA_MIN,
            value=default["sigma_min"],
            step=0.005,
            label="σ min, the last level",
            elem_id="sigma-min",
        ),
        "num_levels": gr.Slider(
            *shared.LEVELS, value=default["num_levels"], step=1, label="Number of levels", elem_id="levels"
        ),
    }


def langevin_controls(model: SpaceModel) -> dict[str, Component]:
    """What only annealed Langevin dynamics has: steps at each level and their size."""
    default = defaults(model)
    return {
        "steps_per_level": gr.Slider(
            *limits.STEPS_PER_LEVEL, value=default["steps_per_level"], step=1, label="Steps per level", elem_id="steps"
        ),
        "step_mode": gr.Radio(
            STEP_NAMES,
            value=default["step_mode"],
            label="Step size",
            info="Automatic: each level ends as near to its own variance as it can.",
            elem_id="step-mode",
        ),
        "step_fraction": gr.Slider(
            *limits.STEP_FRACTION,
            value=default["step_fraction"],
            step=0.001,
            label="Step size ε as a fraction of 2σ²",
            info="σ of the last level. From 1 on the chain diverges.",
            elem_id="step-fraction",
            visible=False,
        ),
    }
