"""From checked settings to one call of the pipeline, and the same call as Python for the visitor to take home."""

from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.sampling import Row

from ...samplers import SAMPLERS
from ..runs.calls import Written, program, scheduler_of, scheduler_source, values_of
from ..runs.controls import Facts, arguments_of
from .controls import CONTROLS, noise_levels
from .settings import GenerateSettings

# What a run's title says in a few words of its own, and the number of images, which is seen.
IN_SHORT = ("sampler", "ladder", "sigma_max", "sigma_min", "num_levels", "steps_per_level", "num_images")


def pipeline_for(settings: GenerateSettings, pipeline: NCSNPipeline, model: Facts) -> NCSNPipeline:
    """A pipeline of one run's own, around the same network."""
    scheduler = scheduler_of(settings.sampler, arguments_of(CONTROLS, settings, model))
    return NCSNPipeline(pipeline.unet, scheduler, pipeline.config.data_min, pipeline.config.data_max)


def call_arguments(settings: GenerateSettings, model: Facts) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded."""
    return values_of(arguments_of(CONTROLS, settings, model))


def python_snippet(settings: GenerateSettings, model: Facts, address: str) -> str:
    """The same call as a program; `images` holds PIL images."""
    arguments = arguments_of(CONTROLS, settings, model)
    source = f'NCSNPipeline.from_pretrained("{address}")'
    pipeline = Written(source, None, (("ncsn_pipeline", "NCSNPipeline"),))
    return program(pipeline, scheduler_source(settings.sampler, arguments), arguments)


def table_of(settings: GenerateSettings, model: Facts) -> list[Row]:
    """A row x <- x + a s(x, sigma) + b z for each evaluation.

    Of the package's samplers, the scheduler's own table.  Of a solver of diffusers, to first order:
    a = sigma_i (sigma_i - sigma_{i+1}) with sigma_{L+1} = 0, and no noise.

    Raises:
        ValueError: for settings that the scheduler refuses, but not for a Langevin step size that diverges.
    """
    if SAMPLERS[settings.sampler].is_solver:
        sigmas = noise_levels(settings, model).value.double()
        following = torch.cat([sigmas[1:], sigmas.new_zeros(1)])
        rows = zip(sigmas.tolist(), (sigmas * (sigmas - following)).tolist(), following.tolist(), strict=True)
        return [Row(sigma, a, 0.0, to) for sigma, a, to in rows]
    arguments = {argument.name: argument for argument in arguments_of(CONTROLS, settings, model)}
    step_size = arguments.pop("step_size", None)  # one that the scheduler refuses is shown too
    scheduler = scheduler_of(settings.sampler, arguments.values())
    if step_size is None:
        return list(scheduler.table)
    times = step_size.written.value / scheduler.step_size
    *langevin, last = scheduler.table
    return [*(row._replace(a=row.a * times, b=row.b * times**0.5) for row in langevin), last]


def asked_of(settings: GenerateSettings, model: Facts) -> list[int] | None:
    """The class that is asked of each image, if one is."""
    labels = call_arguments(settings, model).get("class_labels")
    if isinstance(labels, int):
        return [labels] * settings.num_images
    return labels if isinstance(labels, list) else None


def title_of(settings: GenerateSettings, model: Facts) -> str:
    """The run in a few words, beside others: its sampler and levels, and what else is not as it starts on the page."""
    others = (
        f"{row.called or row.label} = {row.kind.shown(getattr(settings, row.name), model)}"
        for row in CONTROLS
        if row.name not in IN_SHORT
        and row.applies(settings, model)
        and getattr(settings, row.name) != row.default_for(model)
    )
    return ", ".join([_levels_in_short(settings, model), *others])


def _levels_in_short(settings: GenerateSettings, model: Facts) -> str:
    if levels := model.few_levels:
        times = f"{len(levels)} evaluations" if len(levels) > 1 else "1 evaluation"
        return f"{times}, σ {', '.join(f'{sigma:g}' for sigma in levels)}"
    levels = f"{settings.num_levels} levels" if settings.num_levels > 1 else "1 level"
    ends = (
        f"σ {settings.sigma_max:g} → {settings.sigma_min:g}" if settings.num_levels > 1 else f"σ {settings.sigma_max:g}"
    )
    times = f" × {settings.steps_per_level} steps" if settings.sampler == "annealed_langevin" else ""
    return f"{SAMPLERS[settings.sampler].label}, {levels}{times}, {settings.ladder}, {ends}"


def ladder_of(settings: GenerateSettings, model: Facts) -> Tensor:
    """The noise levels, shape `(L,)`, decreasing.

    Raises:
        ValueError: for levels too close to be told apart.
    """
    return noise_levels(settings, model).value
