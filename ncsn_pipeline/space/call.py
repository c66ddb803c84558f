"""From checked settings to one call of the pipeline, and the same call as Python for the visitor to take home.

Both are here, side by side, because they must say the same: the snippet gives exactly the images of the page.
"""

from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline import geometric_ladder, karras_ladder, step_size_for_variance, uniform_ladder

from .limits import GenerateSettings

LADDER_FUNCTIONS = {"geometric": geometric_ladder, "uniform": uniform_ladder, "karras": karras_ladder}
SCHEDULERS = {"consistent": "ConsistentAnnealedScheduler", "langevin": "AnnealedLangevinScheduler"}


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
    """alpha_i, how far a step of level i follows the score, shape `(L,)`, in squared data units.

    Annealed Langevin dynamics: eps sigma_i² / sigma_L².  Consistent annealed sampling: (1 - gamma_i²) sigma_i², and
    sigma_L² at the last level, which denoises.
    """
    sigmas = sigmas.double()
    if settings.sampler == "langevin":
        return step_size_of(settings, sigmas) * (sigmas / sigmas[-1]) ** 2
    return torch.cat([sigmas[:-1] ** 2 - sigmas[1:] ** 2, sigmas[-1:] ** 2])


def labels_of(settings: GenerateSettings, num_classes: int | None) -> list[int] | int | str | None:
    """The `class_labels` of the call."""
    if num_classes is None or settings.digit == "drawn":
        return None
    if settings.digit == "each":
        return [i % num_classes for i in range(settings.num_images)]
    return "none" if settings.digit == "none" else int(settings.digit)


def call_arguments(settings: GenerateSettings, num_classes: int | None) -> dict[str, Any]:
    """Keyword arguments of the pipeline, the generator seeded."""
    sigmas = ladder_of(settings)
    arguments: dict[str, Any] = {
        "batch_size": settings.num_images,
        "generator": torch.Generator().manual_seed(settings.seed),
        "sigmas": sigmas,
    }
    if settings.sampler == "langevin":
        arguments["steps_per_level"] = settings.steps_per_level
        if settings.step_fraction is not None:
            arguments["step_size"] = step_size_of(settings, sigmas)
    if (labels := labels_of(settings, num_classes)) is not None:
        arguments["class_labels"] = labels
    if settings.guidance_scale != 1:
        arguments["guidance_scale"] = settings.guidance_scale
    return arguments


def python_snippet(settings: GenerateSettings, num_classes: int | None, model_name: str) -> str:
    """The same call as a program; `images` holds PIL images."""
    ladder = LADDER_FUNCTIONS[settings.ladder].__name__
    scheduler = SCHEDULERS[settings.sampler]
    sigmas = f"{ladder}({settings.sigma_max:g}, {settings.sigma_min:g}, {settings.num_levels})"
    lines = [f"batch_size={settings.num_images}", f"generator=torch.Generator().manual_seed({settings.seed})"]
    lines.append(f"sigmas={sigmas}")
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
        lines.append(f"guidance_scale={settings.guidance_scale:g}")
    arguments = "\n".join(f"    {line}," for line in lines)
    return (
        "import torch\n"
        f"from ncsn_pipeline import NCSNPipeline, {scheduler}, {ladder}\n\n"
        f'pipe = NCSNPipeline.from_pretrained("{model_name}")\n'
        f"pipe.scheduler = {scheduler}()\n"
        f"images = pipe(\n{arguments}\n).images\n"
    )
