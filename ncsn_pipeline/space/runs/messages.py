"""What the tabs say of a run: why it is refused, what it costs, how far it is."""

import html

from .budget import Settings
from .limits import DEADLINE_SECONDS
from .model import SpaceModel
from .run import Frame, SamplingRun


def refusal(reason: str) -> str:
    """Why settings cannot run."""
    return f'<div class="notes error"><p>{html.escape(reason)}</p></div>'


def toast(text: str) -> str:
    """Words for `gr.Warning` and `gr.Error`, which Gradio shows as HTML: a link's words must load nothing."""
    return html.escape(text, quote=False)


def cost(settings: Settings, model: SpaceModel) -> str:
    """How much a run costs and about how long it takes here."""
    seconds = model.seconds(settings.evaluations, settings.images_per_evaluation)
    about = "under a second" if seconds < 1 else f"about {seconds:.0f} s"
    if seconds > DEADLINE_SECONDS:
        about = f"about {seconds / 60:.0f} min on this machine, and a run ends after {DEADLINE_SECONDS:.0f} s"
    else:
        about += " on this machine"
    images = "1</b> image" if settings.num_images == 1 else f"{settings.num_images}</b> images"
    guided = ", each twice for the guidance" if settings.images_per_evaluation > settings.num_images else ""
    return (
        f'<div class="cost"><b>{settings.evaluations:,}</b> network evaluation{"s" * (settings.evaluations > 1)} of '
        f"<b>{images}{guided}: {about}</div>"
    )


def status(text: str, done: int = 0, of: int = 1, *, kind: str = "") -> str:
    """The line above the images, with a bar for what is done."""
    bar = f'<progress value="{done}" max="{of}" aria-label="Done so far"></progress>'
    live = "off" if kind == "running" else "polite"
    return f'<div class="status {kind}" role="status" aria-live="{live}"><span>{html.escape(text)}</span>{bar}</div>'


def count(evaluations: int) -> str:
    """So many evaluations, in words."""
    return f"{evaluations:,} evaluation{'s' * (evaluations > 1)}"


def progress(frame: Frame, run: SamplingRun) -> str:
    """The line above the images while a sampler runs, and when it has ended."""
    so_far = f"evaluation {frame.evaluation:,} of {frame.evaluations:,}"
    if frame.evaluation == frame.evaluations:
        text, kind = f"Done: {count(frame.evaluations)} in {run.seconds:.1f} s", "done"
    elif run.timed_out:
        text, kind = f"Ended after {run.deadline:.0f} s, the most a run may take, at {so_far}", "stopped"
    elif frame.final:
        text, kind = f"Stopped at {so_far}", "stopped"
    else:
        text, kind = f"σ = {frame.sigma:.3g} · {so_far} · {run.seconds:.1f} s", "running"
    return status(text, frame.evaluation, frame.evaluations, kind=kind)
