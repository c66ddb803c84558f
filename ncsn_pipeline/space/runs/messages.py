"""What the tabs say of a run: why it is refused, what it costs, how far it is."""

import html
import math
import re

from ...diagnostics.plots import plain_number
from .budget import Settings
from .limits import DEADLINE_SECONDS
from .model import SpaceModel
from .run import Frame, SamplingRun

E_NOTATION = re.compile(r"\b\d(\.\d+)?e[+-]?\d+\b")


def plain(text: str) -> str:
    """The text with its numbers as one writes them: 3×10¹⁴, not 3e+14; too large for a float, as they are."""

    def written(number: re.Match[str]) -> str:
        value = float(number[0])
        return plain_number(value).replace("-", "−") if math.isfinite(value) else number[0]

    return E_NOTATION.sub(written, text)


def refusal(reason: str) -> str:
    """Why settings cannot run."""
    return f'<div class="notes error"><p>{html.escape(plain(reason))}</p></div>'


def toast(text: str) -> str:
    """Words for `gr.Warning` and `gr.Error`, which Gradio shows as HTML: a link's words must load nothing."""
    return html.escape(plain(text), quote=False)


def cost(settings: Settings, model: SpaceModel) -> str:
    """How much a run costs and, once one was seen, about how long it takes here."""
    images = "1</b> image" if settings.num_images == 1 else f"{settings.num_images}</b> images"
    guided = ", each twice for the guidance" if settings.images_per_evaluation > settings.num_images else ""
    start = ", and one for the start" if getattr(settings, "starts_at_mean", False) else ""
    return (
        f'<div class="cost"><b>{settings.evaluations:,}</b> network evaluation{"s" * (settings.evaluations > 1)} of '
        f"<b>{images}{guided}{start}{_about(settings, model)}</div>"
    )


def _about(settings: Settings, model: SpaceModel) -> str:
    """How long a run takes; nothing before one was seen: a machine at work on other things misleads a guess."""
    if not model.pace.is_known:
        return ""
    seconds = model.seconds(settings.evaluations, settings.images_per_evaluation)
    if seconds > DEADLINE_SECONDS:
        return f": about {seconds / 60:.0f} min on this machine, and a run ends after {DEADLINE_SECONDS:.0f} s"
    return f": {'under a second' if seconds < 1 else f'about {seconds:.0f} s'} on this machine"


def cost_numbers(settings: Settings, model: SpaceModel) -> dict[str, float | None]:
    """The same as numbers; the seconds are `None` before a run was seen."""
    seconds = model.seconds(settings.evaluations, settings.images_per_evaluation)
    return {
        "evaluations": settings.evaluations,
        "images_per_evaluation": settings.images_per_evaluation,
        "seconds": seconds if model.pace.is_known else None,
    }


def said(text: str, kind: str = "") -> dict[str, str]:
    """A line of status for a program."""
    return {"status": kind, "message": text}


def reading(words: str) -> str:
    """What the classifier reads in pictures."""
    return f'<p class="reading">A classifier reads: {html.escape(words)}.</p>'


def status(text: str, done: int = 0, of: int = 1, *, kind: str = "") -> str:
    """The line above the images, with a bar for what is done."""
    bar = f'<progress value="{done}" max="{of}" aria-label="Done so far"></progress>'
    live = "off" if kind == "running" else "polite"
    words = html.escape(plain(text))
    return f'<div class="status {kind}" role="status" aria-live="{live}"><span>{words}</span>{bar}</div>'


def count(evaluations: int) -> str:
    """So many evaluations, in words."""
    return f"{evaluations:,} evaluation{'s' * (evaluations > 1)}"


def kind_of(frame: Frame) -> str:
    """Whether a run is `"done"`, `"stopped"` or `"running"`."""
    return "done" if frame.evaluation == frame.evaluations else "stopped" if frame.final else "running"


def progress(frame: Frame, run: SamplingRun) -> str:
    """The line above the images while a sampler runs, and when it has ended."""
    so_far, kind = f"evaluation {frame.evaluation:,} of {frame.evaluations:,}", kind_of(frame)
    if kind == "done":
        text = f"Done: {count(frame.evaluations)} in {run.seconds:.1f} s"
    elif run.timed_out:
        text = f"Ended after {run.deadline:.0f} s, the most a run may take, at {so_far}"
    elif kind == "stopped":
        text = f"Stopped at {so_far}"
    else:
        text = f"σ = {frame.sigma:.3g} · {so_far} · {run.seconds:.1f} s"
    return status(text, frame.evaluation, frame.evaluations, kind=kind)


def progress_numbers(frame: Frame, run: SamplingRun) -> dict[str, str | float]:
    """The same for a program."""
    return {
        "status": kind_of(frame),
        "evaluation": frame.evaluation,
        "evaluations": frame.evaluations,
        "sigma": frame.sigma,
        "seconds": run.seconds,
    }
