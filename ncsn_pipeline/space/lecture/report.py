"""What the Lecture tab says: claim, picture, numbers beside their bounds, knobs; small pieces of HTML."""

import html
import os
from typing import Any

from ncsn_pipeline.diagnostics import plots

from .knobs import MOST_WORK, Knob, knobs_of
from .results import shipped_picture, shipped_results
from .run import Outcome
from .stops import EXPERIMENTS, NAMES, STOPS, claim_of, file_of, themes
from .symbols import symbols_of
from .words import WORDS


def contents() -> str:
    """All claims under their themes: what the list of the tab is drawn from."""
    parts = []
    for theme, names in themes().items():
        stops = "".join(
            f'<li><button type="button" data-name="{name}"><span>L{claim_of(name).number}</span>'
            f" {html.escape(STOPS[name].title)}</button></li>"
            for name in names
        )
        parts.append(f"<h3>{theme}</h3><ul>{stops}</ul>")
    return (
        '<nav class="lecture-contents" aria-label="Claims of the lecture"><details open><summary>'
        f"All {len(NAMES)} claims</summary>{''.join(parts)}</details></nav>"
    )


def heading(name: str) -> str:
    """Where in the lecture, and what is claimed."""
    claim = claim_of(name)
    return (
        f'<div class="lecture-claim"><p>Claim {claim.number} of {len(NAMES)} · {STOPS[name].theme} · at '
        f"{claim.at} in the lecture</p><h2>{html.escape(claim.sentence)}</h2></div>"
    )


def equation(name: str) -> str:
    """The claim's equation, for Markdown with LaTeX."""
    return f"$${STOPS[name].latex}$$"


def explanation(name: str) -> str:
    """The claim in words, the symbols of its equation, and a link to where it is seen moving."""
    words = WORDS[name]
    symbols = "".join(
        f"<div><dt>{shown}</dt><dd>{meaning}</dd></div>" for shown, meaning in symbols_of(STOPS[name].latex)
    )
    link = f'<p><a href="?{html.escape(words.moving)}">See it move in the Playground</a></p>' if words.moving else ""
    return f'<div class="lecture-words"><p>{html.escape(words.text)}</p><dl>{symbols}</dl>{link}</div>'


def shipped_view(name: str) -> tuple[str, str]:
    """Picture and numbers that the project comes with."""
    results = shipped_results(name)
    seeds = ", ".join(str(result["params"]["seed"]) for result in results)
    said = f"At full size, with seeds {seeds}; the picture is of seed 0."
    held = sum(result["holds"] for result in results)
    if held < len(results):
        said += f" Not confirmed: with {len(results) - held} of {len(results)} seeds a check fails, see below."
    return picture(name, shipped_picture(name), said), numbers(results)


def run_view(name: str, outcome: Outcome) -> tuple[str, str]:
    """Picture and numbers of a visitor's run."""
    said = f"Your run, {outcome.seconds:.1f} s."
    if not all(check["holds"] for check in outcome.result["checks"]):
        said += " With these settings the claim does not hold in full: see below."
    return picture(name, outcome.picture, said), numbers([outcome.result])


def picture(name: str, svg: str, caption: str) -> str:
    """The experiment's own drawing, panel by panel, so that they stand below each other where the page is narrow."""
    parts = plots.taken_apart(svg)
    return (
        f'<figure class="lecture-picture"><p class="title">{html.escape(parts.title)}</p>'
        f'<p class="subtitle">{html.escape(parts.subtitle)}</p>'
        f'<div class="lecture-panels" role="img" aria-label="{html.escape(description(name))}">{"".join(parts.panels)}'
        f"</div><figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def description(name: str) -> str:
    """What a picture shows, for those who do not see it: its claim; the numbers are in the table below it."""
    return f"Plots of the experiment {name}: {claim_of(name).sentence} Its numbers are in the table below."


def numbers(results: list[dict[str, Any]]) -> str:
    """Every check beside its bound and its null, over all results, and what else the first one found."""
    rows = []
    for checks in zip(*(result["checks"] for result in results), strict=True):
        check, values = checks[0], [each["value"] for each in checks]
        held = sum(each["holds"] for each in checks)
        relation = {"<=": "≤", ">=": "≥", "<": "&lt;", ">": "&gt;"}[check["relation"]]
        nulls = [each["null"] for each in checks if "null" in each]
        null = f"{_span(nulls)} <small>null: {html.escape(check['null_name'])}</small>" if nulls else "–"
        rows.append(
            f'<tr><th scope="row">{html.escape(check["name"])}</th><td>{_span(values)}</td><td>{relation} '
            f"{_span([each['bound'] for each in checks])}</td><td>{null}</td>"
            f'<td class="{"good" if held == len(checks) else "error"}">{_verdict(held, len(checks))}'
            f"{' *' if check['timing'] else ''}</td></tr>"
        )
    timed = any(check["timing"] for check in results[0]["checks"])
    found = "".join(f"<li>{html.escape(finding)}</li>" for finding in results[0]["findings"])
    return (
        '<table class="lecture-numbers"><thead><tr><th scope="col">What is measured</th><th scope="col">Found</th>'
        '<th scope="col">Bound</th><th scope="col">If the claim were false</th><th scope="col">Check</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        + ("<p class='lecture-help'>* A time: a busy machine can spoil it.</p>" if timed else "")
        + (
            f'<details class="lecture-found"><summary>What else was found</summary><ul>{found}</ul></details>'
            if found
            else ""
        )
    )


def controls(name: str) -> str:
    """The knobs of an experiment, those of its size folded away."""
    knobs = knobs_of(EXPERIMENTS[name])
    shown = "".join(_control(knob) for knob in knobs if not knob.is_size)
    folded = "".join(_control(knob) for knob in knobs if knob.is_size)
    more = f"<details><summary>Sizes of the computation</summary><div>{folded}</div></details>" if folded else ""
    return (
        f'<div class="lecture-knobs" data-name="{name}"><p class="lecture-help">The knobs start at a version that '
        f"takes seconds; raise them to at most {MOST_WORK:g} times its work in all.</p><div>{shown}</div>{more}</div>"
    )


def source_note(name: str) -> str:
    """Where the experiment is written down: its file, a link to it on a Space, and its command."""
    path = file_of(name)
    space = os.environ.get("SPACE_ID")
    file = f"<code>{path}</code>"
    if space:
        file = f'<a href="https://huggingface.co/spaces/{html.escape(space)}/blob/main/{path}" target="_top">{file}</a>'
    return f'<p class="lecture-help">{file} · at full size: <code>ncsn lecture {name}</code></p>'


def progress(text: str, kind: str = "") -> str:
    """The line beside the button."""
    live = "off" if kind == "running" else "polite"
    return f'<div class="status {kind}" role="status" aria-live="{live}"><span>{html.escape(text)}</span></div>'


def _control(knob: Knob) -> str:
    name, label = f"lecture-{knob.name}", html.escape(knob.label)
    value = ", ".join(f"{number:g}" for number in knob.value) if knob.most else f"{knob.value:.15g}"
    shared = f'id="{name}" name="{knob.name}" value="{value}" aria-describedby="{name}-help" autocomplete="off"'
    slider = f'<input type="range" min="0" max="200" step="1" aria-label="{label}, slider" data-for="{name}">'
    if knob.most:
        field = f'<input type="text" {shared}>'
    else:
        step = "1" if knob.whole else "any"
        field = f'<input type="number" min="{knob.low:.15g}" max="{knob.high:.15g}" step="{step}" {shared}>'
        field += slider if knob.name != "seed" else ""
    words = f'<p id="{name}-help">{html.escape(knob.help)}; {knob.allowed}</p>'
    return f'<div class="lecture-knob"><label for="{name}">{label}</label>{field}{words}</div>'


def _verdict(held: int, seeds: int) -> str:
    """Of a check that holds with so many of all seeds."""
    return "✓ holds" if held == seeds else "✗ fails" if not held else f"✗ fails with {seeds - held} of {seeds} seeds"


def _span(values: list[float | str]) -> str:
    """0.12 … 0.34, or one number where they agree; what is not finite is a word."""
    if any(isinstance(value, str) for value in values):
        return " … ".join(dict.fromkeys(map(_short, values)))
    low, high = _short(min(values)), _short(max(values))
    return low if low == high else f"{low} … {high}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
