"""The controls of the Generate tab, a row each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline import (
    geometric_noise_levels,
    karras_noise_levels,
    step_size_for_variance,
    uniform_noise_levels,
)

from ...samplers import SAMPLERS, canonical_name
from ..runs.calls import Argument, Written, literal, made_by, seeded
from ..runs.controls import Choice, Control, Facts, Number, Values
from ..runs.limits import GUIDANCE, IMAGES, LEVELS, SEED

SPACINGS = {"geometric": geometric_noise_levels, "uniform": uniform_noise_levels, "karras": karras_noise_levels}
SIGMA_MAX, SIGMA_MIN = (0.1, 50.0), (0.005, 1.0)


def _within(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, ends[0]), ends[1])


def class_options(model: Facts) -> list[tuple[str, str]]:
    """What can be asked of a model with these classes."""
    labels = [(name, f"{number}") for number, name in enumerate(model.class_names)]
    in_turn = [("One of each, in turn", "each")] if labels else []
    return [("Drawn at random", "drawn"), *in_turn, *labels, ("None (no class given)", "none")]


def noise_levels(settings: Values, model: Facts) -> Written:
    """The noise levels, shape `(L,)`, decreasing; of a model that draws in few evaluations, its own.

    Raises:
        ValueError: for levels too close to be told apart.
    """
    if model.few_levels:
        return Written(literal(list(model.few_levels)).source, torch.tensor(model.few_levels, dtype=torch.float64))
    return made_by(SPACINGS[settings.ladder], settings.sigma_max, settings.sigma_min, settings.num_levels)


def step_size_of(settings: Values, sigmas: Tensor) -> float:
    """epsilon of annealed Langevin dynamics: technique 4's, or a fraction of 2 sigma_L² (to six digits)."""
    if settings.step_fraction is None:
        return step_size_for_variance(sigmas, settings.steps_per_level)[0]
    return float(f"{settings.step_fraction * 2 * settings.sigma_min**2:.6g}")


def _two_of_each(model: Facts) -> int:
    """Two images of each class, where there are few of them."""
    classes = len(model.class_names)
    return 2 * classes if 0 < classes <= IMAGES[1] // 4 else 16


# When a row has a meaning.


def _is(sampler: str, **others: str) -> Callable[..., Any]:
    wanted = {"sampler": sampler} | others
    return lambda values, model: all(getattr(values, name) == value for name, value in wanted.items())


def _has_classes(values: Values, model: Facts) -> bool:
    return bool(model.class_names)


def _asks_for_a_class(values: Values, model: Facts) -> bool:
    return bool(model.class_names) and values.class_label != "none" and not model.few_levels


def _of_a_score(row: Control) -> Control:
    """The row, without a meaning for a model that draws in few evaluations: it is sampled in one way."""
    return replace(row, applies=lambda values, model: not model.few_levels and row.applies(values, model))


# How a row enters the call.


def _labels(settings: Values, model: Facts) -> Iterator[Argument]:
    classes, count = len(model.class_names), settings.num_images
    written = {
        "drawn": literal("random"),
        "each": Written(f"[i % {classes} for i in range({count})]", [i % classes for i in range(count) if classes]),
    }
    if classes and settings.class_label != "none":
        label = settings.class_label
        yield Argument("class_labels", written[label] if label in written else literal(int(label)))


def _guidance(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.guidance_scale != 1:
        yield Argument("guidance_scale", literal(settings.guidance_scale))


def _spacing(settings: Values, model: Facts) -> Iterator[Argument]:
    """One argument of four rows; a solver of diffusers lays the levels out itself, between their ends."""
    sampler = SAMPLERS[settings.sampler]
    if not sampler.is_solver:
        yield Argument("sigmas", noise_levels(settings, model), of="scheduler")
        return
    yield Argument("num_inference_steps", literal(settings.num_levels))
    ends = {"sigma_max": settings.sigma_max, "sigma_min": settings.sigma_min}
    for name, value in {**ends, **sampler.spacings[settings.ladder]}.items():
        yield Argument(name, literal(value), of="scheduler")


def _steps_per_level(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.sampler == "annealed_langevin":
        yield Argument("steps_per_level", literal(settings.steps_per_level), of="scheduler")


def _step_size(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.step_fraction is not None:
        step_size = step_size_of(settings, noise_levels(settings, model).value)
        yield Argument("step_size", literal(step_size), of="scheduler")


def _eta(settings: Values, model: Facts) -> Iterator[Argument]:
    if model.few_levels:
        yield Argument("eta", literal(1.0), of="scheduler")
    elif settings.sampler == "consistent" and settings.noise_back != "ancestral":
        eta = settings.eta if settings.noise_back == "eta" else settings.noise_back
        yield Argument("eta", literal(eta), of="scheduler")


def _to_the_scheduler(name: str) -> Callable[..., Any]:
    def enters(settings: Values, model: Facts) -> Iterator[Argument]:
        if (value := getattr(settings, name)) is not None:
            yield Argument(name, literal(value), of="scheduler")

    return enters


SAMPLER_OPTIONS = [
    (sampler.label + (", of diffusers" if sampler.is_solver else ""), name) for name, sampler in SAMPLERS.items()
]
CONTROLS = [
    Control(
        "sampler",
        "Sampler",
        Choice(SAMPLER_OPTIONS, meant=canonical_name),
        "consistent",
        place="schedule",
        otherwise="consistent",
    ),
    Control(
        "ladder",
        "Spacing of the noise levels",
        Choice([("Geometric", "geometric"), ("Uniform", "uniform"), ("Karras", "karras")], radio=True),
        "geometric",
        called="Spacing",
        place="schedule",
        otherwise="geometric",
        enters=_spacing,
    ),
    Control(
        "sigma_max",
        "σ max, the first level",
        Number(*SIGMA_MAX, 0.01, logarithmic=True),
        lambda model: _within(model.trained_range[1], SIGMA_MAX),
        called="σ max",
        place="schedule",
        otherwise=lambda model: model.few_levels[0],
    ),
    Control(
        "sigma_min",
        "σ min, the last level",
        Number(*SIGMA_MIN, 0.001, logarithmic=True),
        lambda model: _within(model.trained_range[0], SIGMA_MIN),
        called="σ min",
        place="schedule",
        otherwise=lambda model: model.few_levels[-1],
    ),
    Control(
        "num_levels",
        "Number of levels",
        Number(*LEVELS, whole=True, logarithmic=True),
        50,
        place="schedule",
        otherwise=lambda model: len(model.few_levels),
        lowers="levels",
    ),
    Control(
        "steps_per_level",
        "Steps per level",
        Number(1, 100, whole=True, logarithmic=True),
        5,
        place="schedule",
        applies=_is("annealed_langevin"),
        otherwise=1,
        lowers="steps per level",
        enters=_steps_per_level,
    ),
    Control(
        "step_mode",
        "Step size",
        Choice([("Automatic", "automatic"), ("By hand", "fraction")], radio=True),
        "automatic",
        info="Automatic: each level ends as near to its own variance as it can.",
        place="schedule",
        applies=_is("annealed_langevin"),
        otherwise="automatic",
    ),
    Control(
        "step_fraction",
        "Step size ε as a fraction of 2σ²",
        Number(0.001, 2.0, 0.001, logarithmic=True),
        0.1,
        called="Step size as a fraction of its limit",
        info="σ of the last level. From 1 on the chain diverges.",
        place="schedule",
        applies=_is("annealed_langevin", step_mode="fraction"),
        enters=_step_size,
    ),
    Control(
        "noise_back",
        "Noise put back after each step",
        Choice([("Ancestral", "ancestral"), ("None (ODE)", "ode"), ("By η", "eta")], radio=True),
        "ancestral",
        info="With none, the start alone decides what is drawn.",
        place="schedule",
        applies=_is("consistent"),
        otherwise="ancestral",
        enters=_eta,
    ),
    Control(
        "eta",
        "η, the share of the noise that a step removes",
        Number(0.01, 2.0, 0.01),
        0.5,
        called="η",
        info="1 removes all of it and puts the next level's back: multi-step consistency sampling.",
        place="schedule",
        applies=_is("consistent", noise_back="eta"),
    ),
    Control(
        "predictor",
        "Predictor",
        Choice([("Reverse diffusion", "reverse_diffusion"), ("Ancestral", "ancestral")], radio=True),
        "reverse_diffusion",
        info="Goes from each level to the next; Langevin steps there, the corrector, mend what it gets wrong.",
        place="schedule",
        applies=_is("predictor_corrector"),
        enters=_to_the_scheduler("predictor"),
    ),
    Control(
        "corrector_steps",
        "Corrector steps per level",
        Number(0, 10, whole=True),
        1,
        place="schedule",
        applies=_is("predictor_corrector"),
        lowers="corrector steps",
        enters=_to_the_scheduler("corrector_steps"),
    ),
    Control(
        "signal_to_noise",
        "r, signal to noise of a corrector step",
        Number(0.01, 0.99, 0.01),
        0.16,
        called="r",
        place="schedule",
        applies=_is("predictor_corrector"),
        enters=_to_the_scheduler("signal_to_noise"),
    ),
    Control(
        "class_label",
        "Class",
        Choice(class_options, numbered=True),
        lambda model: "each" if model.class_names else "drawn",
        place="image",
        applies=_has_classes,
        otherwise="none",
        enters=_labels,
    ),
    Control(
        "guidance_scale",
        "Guidance",
        Number(*GUIDANCE, 0.1),
        1,
        info="How far to go towards the class. At 1 costs nothing; other values double the work.",
        place="image",
        applies=_asks_for_a_class,
        otherwise=1.0,
        enters=_guidance,
    ),
    Control(
        "num_images",
        "Number of images",
        Number(*IMAGES, whole=True),
        _two_of_each,
        place="image",
        enters=lambda settings, model: [Argument("batch_size", literal(settings.num_images))],
    ),
    Control(
        "seed",
        "Seed",
        Number(*SEED, whole=True, slider=False),
        0,
        info="The same seed gives the same images.",
        place="image",
        enters=lambda settings, model: [Argument("generator", seeded(settings.seed))],
    ),
]
CONTROLS = [_of_a_score(row) if row.place == "schedule" else row for row in CONTROLS]
