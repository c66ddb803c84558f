"""What the page says about settings before they run, and about a run while it does: small pieces of HTML."""

import html

from ncsn_pipeline import diagnose_noise_levels
from ncsn_pipeline.diagnostics.plots import inline_svg
from ncsn_pipeline.noise_levels import end_variance_ratio, step_size_for_end_variance

from ...samplers import SAMPLERS
from ..runs.messages import plain
from ..runs.model import SpaceModel
from ..runs.recording import Recording
from ..widgets.plots import deviation_figure, noise_left_figure, noise_level_figure, table_figure
from .call import ladder_of, table_of
from .controls import SIGMA_MAX, step_size_of
from .settings import GenerateSettings


def ladder_plots(settings: GenerateSettings, model: SpaceModel) -> str:
    """The noise levels and the columns of the sampler's table, beside each other where there is room."""
    sigmas, table = ladder_of(settings, model), table_of(settings, model)
    levels = inline_svg(
        noise_level_figure(sigmas.tolist(), model.trained_range),
        f"Noise levels: {len(sigmas)} from {float(sigmas[0]):.3g} to {float(sigmas[-1]):.3g}",
    )
    langevin = settings.sampler == "annealed_langevin"
    steps = inline_svg(
        table_figure(table, 2 if langevin else 1, "2σ²: diverges" if langevin else "σ²: removes all noise"),
        plain(
            f"Steps: a from {table[0].a:.3g} to {table[-1].a:.3g}, "
            f"b² from {table[0].b ** 2:.3g} to {table[-1].b ** 2:.3g}"
        ),
    )
    first_order = ", to first order" if SAMPLERS[settings.sampler].is_solver else ""
    return (
        f'<div class="ladder"><figure><figcaption>Noise levels <i>σ<sub>i</sub></i></figcaption>{levels}</figure>'
        f"<figure><figcaption>Steps <i>x ← x + a s + b z</i>{first_order}</figcaption>"
        f"{steps}</figure></div>"
    )


def run_plots(recording: Recording, model: SpaceModel) -> str:
    """The two numbers that tell whether a run kept its equilibrium, each over the whole of it."""
    noise = recording.noise_left
    left = inline_svg(
        noise_left_figure(noise),
        plain(f"Noise found in x, of what its level names: from {noise[0]:.3g} to {noise[-1]:.3g}"),
    )
    deviations = recording.deviations
    right = inline_svg(
        deviation_figure(recording.sigmas, deviations, model.data_deviation),
        plain(f"Standard deviation of x: from {deviations[0]:.3g} to {deviations[-1]:.3g}"),
    )
    return (
        '<div class="ladder"><figure><figcaption>Noise found in <i>x</i>: <i>σ‖s‖/√D</i></figcaption>'
        f"{left}<p>In equilibrium 1, or less where the noise hides something of the images. "
        "Above: steps too large, or too few.</p></figure>"
        f"<figure><figcaption>Standard deviation of <i>x</i></figcaption>{right}"
        "<p>In equilibrium it follows the dashed line, <i>s</i> that of the images.</p></figure></div>"
    )


def warnings_about(settings: GenerateSettings, model: SpaceModel) -> list[str]:
    """What is wrong with the settings, a sentence a fault."""
    if model.few_levels:
        return []
    sigmas = ladder_of(settings, model)
    low, high = model.trained_range
    extent = min(high, SIGMA_MAX[1])  # further up the control does not go
    if settings.sampler == "annealed_langevin":
        step_size = step_size_of(settings, sigmas)
        faults = diagnose_noise_levels(sigmas, settings.steps_per_level, step_size, model.dimension, data_extent=extent)
    else:
        # Gaps and step sizes are annealed Langevin dynamics' concern; the first level is everybody's.
        first = sigmas[:1]
        step_size = step_size_for_end_variance(first, 1)[0]
        faults = diagnose_noise_levels(first, 1, step_size, model.dimension, data_extent=extent)
    if float(sigmas[0]) > 1.01 * high or float(sigmas[-1]) < 0.99 * low:
        faults.append(
            f"The network was trained on σ from {low:g} to {high:g}: scores outside this range are extrapolated. "
            "Keep σ max and σ min within it."
        )
    elif float(sigmas[-1]) > 10 * low:
        remedy = "Lower σ min." if len(sigmas) > 1 else "Use more levels."
        faults.append(
            f"The last level {float(sigmas[-1]):.3g} is far above {low:g}, the least noise that the network knows: "
            f"one denoising step from there blurs the images. {remedy}"
        )
    elif len(sigmas) > 1 and float(sigmas[-2] / sigmas[-1]) > 10:
        faults.append(
            f"The last step goes from {float(sigmas[-2]):.3g} to {float(sigmas[-1]):.3g} at once, which blurs the "
            "images as ending there would. Choose another spacing, or more levels."
        )
    return faults


def notes(settings: GenerateSettings, model: SpaceModel) -> str:
    """The warnings, or what is good about the settings."""
    faults = warnings_about(settings, model)
    said = plain(step_size_note(settings, model)) if settings.sampler == "annealed_langevin" else ""
    if not faults:
        if model.few_levels:
            times = f"{len(model.few_levels)} evaluations" if len(model.few_levels) > 1 else "one evaluation"
            praise = (
                f"Drawn in {times}, at σ = {', '.join(f'{sigma:g}' for sigma in model.few_levels)}, and anew with "
                "every change. The network was made of another for this alone: elsewhere it is no score, so there are "
                "no steps to set."
            )
        elif (last := float(ladder_of(settings, model)[-1])) > 1.01 * (least := model.trained_range[0]):
            praise = (
                f"The first level's noise covers the data. The last is {last:.3g}; the network knows {least:g} too."
            )
        else:
            praise = "The first level's noise covers the data, and the last is the least that the network knows."
        return f'<div class="notes good"><p>✓ {praise}</p>{f"<p>{said}</p>" if said else ""}</div>'
    items = "".join(f"<li>{html.escape(plain(fault))}</li>" for fault in faults)
    return f'<div class="notes warn"><ul>{items}</ul>{f"<p>{said}</p>" if said else ""}</div>'


def step_size_note(settings: GenerateSettings, model: SpaceModel) -> str:
    """The step size of annealed Langevin dynamics, and the noise variance with which it ends."""
    sigmas = ladder_of(settings, model)
    epsilon, steps, variance = step_size_of(settings, sigmas), settings.steps_per_level, float(sigmas[-1]) ** 2
    said = f"ε = {epsilon:.3g}, which is {epsilon / (2 * variance):.3g} of the limit 2σ² of the last level."
    if not epsilon < 2 * variance:
        return said
    ends_with = end_variance_ratio(sigmas, epsilon / variance, steps)
    said += f" With all data at one point, the variance of the noise ends at {ends_with:.3g} σ²"
    if len(sigmas) == 1:
        return f"{said}."
    best, least = step_size_for_end_variance(sigmas, steps)
    return f"{said}; the least is {least:.3g} σ², at ε = {best:.3g}."
