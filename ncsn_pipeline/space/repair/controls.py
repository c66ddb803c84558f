"""The controls of the Repair tab, a row each; parallel to those of the Generate tab."""

from collections.abc import Iterator

from ncsn_pipeline import geometric_noise_levels

from ...samplers import SAMPLERS, canonical_name
from ..runs.calls import Argument, literal, made_by, seeded
from ..runs.controls import Choice, Control, Facts, Number, Values
from ..runs.limits import GUIDANCE, LEVELS, SEED
from .measuring import MEASUREMENTS

REPAIR_SAMPLERS = ("consistent", "annealed_langevin")


def _steps_info(values: Values) -> str:
    """What the steps of a level are to each sampler."""
    if values.sampler == "annealed_langevin":
        return "Of Langevin dynamics, at every noise level."
    return (
        "How often each level's step is taken, its noise put back in between. Taken once, what is new meets what was "
        "kept only by chance."
    )


def _tasks(model: Facts) -> list[tuple[str, str]]:
    """Those that the model's pictures can have."""
    suited = [(row.label, name) for name, row in MEASUREMENTS.items() if row.suits(model.sample_shape)]
    return [("Repair what is marked", "inpaint"), ("Edit from a sketch", "edit"), *suited]


# When a row has a meaning.


def _measures(values: Values, model: Facts) -> bool:
    return values.task in MEASUREMENTS


def _has_a_choice_of_samplers(values: Values, model: Facts) -> bool:
    return values.task not in MEASUREMENTS


def _projects(values: Values, model: Facts) -> bool:
    return values.task == "few"


def _edits(values: Values, model: Facts) -> bool:
    return values.task == "edit"


def _repeats_steps(values: Values, model: Facts) -> bool:
    return values.task == "inpaint" or (values.task == "edit" and values.sampler == "annealed_langevin")


def _has_classes(values: Values, model: Facts) -> bool:
    return bool(model.class_names)


def _asks_for_a_class(values: Values, model: Facts) -> bool:
    return bool(model.class_names) and values.class_label != "none"


# How a row enters the call.


def _start_sigma(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.task == "edit":
        yield Argument("start_sigma", literal(settings.start_sigma))


def _levels(settings: Values, model: Facts) -> Iterator[Argument]:
    """The noise levels, of an edit from the noise that it starts with down."""
    low, high = model.trained_range
    high = settings.start_sigma if settings.task == "edit" else high
    levels = made_by(geometric_noise_levels, high, low, settings.num_levels)
    yield Argument("sigmas", levels, of="scheduler")


def _steps(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.sampler == "annealed_langevin":
        yield Argument("steps_per_level", literal(settings.steps_per_level), of="scheduler")
        yield Argument("resample_steps", literal(1))
    elif settings.task == "inpaint":
        yield Argument("resample_steps", literal(settings.steps_per_level))


def _count(settings: Values, model: Facts) -> Iterator[Argument]:
    of = "measurement" if settings.task in MEASUREMENTS else "image"
    yield Argument(f"num_images_per_{of}", literal(settings.num_images))


def _seed(settings: Values, model: Facts) -> Iterator[Argument]:
    """The generator, but where it has measured the picture before."""
    if settings.task not in MEASUREMENTS:
        yield Argument("generator", seeded(settings.seed))


def _noise(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.task in MEASUREMENTS:
        yield Argument("noise_std", literal(settings.noise_std))


def _class(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.class_label != "none":
        yield Argument("class_labels", literal(int(settings.class_label)))


def _guidance(settings: Values, model: Facts) -> Iterator[Argument]:
    if settings.guidance_scale != 1:
        yield Argument("guidance_scale", literal(settings.guidance_scale))


CONTROLS = [
    Control(
        "task",
        "",
        Choice(_tasks, radio=True),
        "inpaint",
        called="Task",
        place="task",
    ),
    Control(
        "start_sigma",
        "Noise to start from, σ",
        Number(0.05, 5.0, 0.01, logarithmic=True),
        0.7,
        called="Noise to start from",
        info="Small keeps the sketch, large only its idea.",
        place="result",
        applies=_edits,
        enters=_start_sigma,
    ),
    Control(
        "noise_std",
        "Noise of the measurement",
        Number(0.01, 0.5, 0.01, logarithmic=True),
        0.05,
        info="The standard deviation that is added to each number; pixels go from 0 to 1.",
        place="result",
        applies=_measures,
        enters=_noise,
    ),
    Control(
        "share",
        "Measurements, % of the pixels",
        Number(1, 25, whole=True),
        10,
        called="Measurements",
        place="result",
        applies=_projects,
    ),
    Control(
        "class_label",
        "Class",
        Choice(
            lambda model: [("Not known", "none"), *((name, f"{i}") for i, name in enumerate(model.class_names))],
            numbered=True,
        ),
        "none",
        place="result",
        applies=_has_classes,
        otherwise="none",
        enters=_class,
    ),
    Control(
        "guidance_scale",
        "Guidance",
        Number(*GUIDANCE, 0.1),
        1,
        info="How far to go towards the class. Other values than 1 double the work.",
        place="result",
        applies=_asks_for_a_class,
        otherwise=1.0,
        enters=_guidance,
    ),
    Control(
        "num_images",
        "Number of results",
        Number(1, 16, whole=True),
        8,
        place="result",
        enters=_count,
    ),
    Control(
        "seed",
        "Seed",
        Number(*SEED, whole=True, slider=False),
        0,
        info="The same seed gives the same results.",
        place="result",
        enters=_seed,
    ),
    Control(
        "sampler",
        "Sampler",
        Choice([(SAMPLERS[name].label, name) for name in REPAIR_SAMPLERS], radio=True, meant=canonical_name),
        "consistent",
        place="schedule",
        applies=_has_a_choice_of_samplers,
        otherwise="consistent",
    ),
    Control(
        "num_levels",
        "Number of levels",
        Number(2, LEVELS[1], whole=True, logarithmic=True),
        25,
        place="schedule",
        lowers="levels",
        enters=_levels,
    ),
    Control(
        "steps_per_level",
        "Steps per level",
        Number(1, 20, whole=True),
        4,
        info=_steps_info,
        place="schedule",
        applies=_repeats_steps,
        otherwise=1,
        lowers="steps per level",
        enters=_steps,
    ),
]
