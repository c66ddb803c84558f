"""From checked settings to one call of the pipeline, and the same call as Python for the visitor to take home.

Both are here, side by side, because they must say the same: the snippet gives exactly the images of the page.
"""

from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline import (
    NCSNPipeline,
    geometric_noise_levels,
    karras_noise_levels,
    step_size_for_variance,
    uniform_noise_levels,
)

from ..runs.samplers import SAMPLERS
from .limits import GenerateSettings

LADDER_FUNCTIONS = {"geometric": geometric_noise_levels, "uniform": uniform_noise_levels, "karras": karras_noise_levels}


def ladder_of(settings: GenerateSettings) -> Tensor:
    """The noise levels, shape `(L,)`, decreasing.

    Raises:
        ValueError: for levels too close to be told apart.
    """
    return LADDER_FUNCTIONS[settings.ladder](settings.sigma_max, settings.sigma_min, settings.num_levels)


def step_size_of(settings: GenerateSettings, sigmas: Tensor) -> float:
    """epsilon of annealed Langevin dynamics: technique 4's, or a fraction of 2 sigma_L² (to six digits)."""
    if settings.step_fraction is None:
        return step_size_for_variance(sigmas, settings.steps_per_level)[0]
    return float(f"{settings.step_fraction * 2 * settings.sigma_min**2:.6g}")


def step_sizes(settings: GenerateSettings, sigmas: Tensor) -> Tensor:
    """a_i, how far the first step from level i follows the score, shape `(L,)`, in squared data units.

    Of the package's samplers, the scheduler's table.  Of a solver of diffusers, to first order:
    sigma_i (sigma_i - sigma_{i+1}), with sigma_{L+1} = 0.
    """
    if SAMPLERS[settings.sampler].is_solver:
        sigmas = sigmas.double()
        return sigmas * (sigmas - torch.cat([sigmas[1:], sigmas.new_zeros(1)]))
    scheduler, run = SAMPLERS[settings.sampler].scheduler_class(), run_settings(settings)
    step_size = run.pop("step_size", None)  # one that the scheduler refuses is shown too
    scheduler.set_timesteps(**run)
    first_rows = {row.sigma: row.a for row in reversed(scheduler.table)}
    values = torch.tensor([first_rows[sigma] for sigma in sorted(first_rows, reverse=True)], dtype=torch.float64)
    return values if step_size is None else values * (step_size / scheduler.step_size)


def labels_of(settings: GenerateSettings, num_classes: int | None) -> list[int] | int | str | None:
    """The `class_labels` of the call."""
    if num_classes is None or settings.class_label == "none":
        return None
    if settings.class_label == "drawn":
        return "random"
    if settings.class_label == "each":
        return [i % num_classes for i in range(settings.num_images)]
    return int(settings.class_label)


def pipeline_for(settings: GenerateSettings, pipeline: NCSNPipeline) -> NCSNPipeline:
    """A pipeline of one run's own, around the same network."""
    sampler = SAMPLERS[settings.sampler]
    if sampler.is_solver:
        config = {"sigma_max": settings.sigma_max, "sigma_min": settings.sigma_min}
        scheduler = sampler.scheduler_class.from_config(config, **sampler.ladders[settings.ladder])
    else:
        scheduler = sampler.scheduler_class()
    return NCSNPipeline(pipeline.unet, scheduler, pipeline.config.data_min, pipeline.config.data_max)


def run_settings(settings: GenerateSettings) -> dict[str, Any]:
    """What lays a run of one of the package's samplers out."""
    run: dict[str, Any] = {"sigmas": ladder_of(settings)}
    if settings.sampler == "langevin":
        run["steps_per_level"] = settings.steps_per_level
        if settings.step_fraction is not None:
            run["step_size"] = step_size_of(settings, run["sigmas"])
    return run


def call_arguments(settings: GenerateSettings, num_classes: int | None) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded."""
    arguments: dict[str, Any] = {
        "batch_size": settings.num_images,
        "generator": torch.Generator().manual_seed(settings.seed),
    }
    if SAMPLERS[settings.sampler].is_solver:
        arguments["num_inference_steps"] = settings.num_levels
    else:
        arguments |= run_settings(settings)
    if (labels := labels_of(settings, num_classes)) is not None:
        arguments["class_labels"] = labels
    if settings.guidance_scale != 1:
        arguments["guidance_scale"] = settings.guidance_scale
    return arguments


def python_snippet(settings: GenerateSettings, num_classes: int | None, address: str) -> str:
    """The same call as a program; `images` holds PIL images."""
    sampler = SAMPLERS[settings.sampler]
    high, low = _number(settings.sigma_max), _number(settings.sigma_min)
    lines = [f"batch_size={settings.num_images}", f"generator=torch.Generator().manual_seed({settings.seed})"]
    if sampler.is_solver:
        options = ", ".join(f"{key}={value!r}" for key, value in sampler.ladders[settings.ladder].items())
        imports = f"from diffusers import {sampler.scheduler}\nfrom ncsn_pipeline import NCSNPipeline\n"
        scheduler = f'{sampler.scheduler}.from_config({{"sigma_max": {high}, "sigma_min": {low}}}, {options})'
        lines.append(f"num_inference_steps={settings.num_levels}")
    else:
        ladder = LADDER_FUNCTIONS[settings.ladder].__name__
        imports = f"from ncsn_pipeline import NCSNPipeline, {sampler.scheduler}, {ladder}\n"
        scheduler = f"{sampler.scheduler}()"
        lines.append(f"sigmas={ladder}({high}, {low}, {settings.num_levels})")
    if settings.sampler == "langevin":
        lines.append(f"steps_per_level={settings.steps_per_level}")
        if settings.step_fraction is not None:
            lines.append(f"step_size={step_size_of(settings, ladder_of(settings))!r}")
    labels = labels_of(settings, num_classes)
    if isinstance(labels, list):
        lines.append(f"class_labels=[i % {num_classes} for i in range({settings.num_images})]")
    elif labels is not None:
        lines.append(f"class_labels={labels!r}")
    if settings.guidance_scale != 1:
        lines.append(f"guidance_scale={_number(settings.guidance_scale)}")
    arguments = "\n".join(f"    {line}," for line in lines)
    return (
        f"import torch\n{imports}\n"
        f'pipe = NCSNPipeline.from_pretrained("{address}")\n'
        f"pipe.scheduler = {scheduler}\n"
        f"images = pipe(\n{arguments}\n).images\n"
    )


def _number(value: float) -> str:
    """Exactly `value`, short where it is round."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
