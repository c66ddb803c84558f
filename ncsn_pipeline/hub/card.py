"""The model card: the facts beside the weights as Markdown, with the metadata that the Hub reads.

A card says only what is known.  What a person writes goes into `card.json` and stays when the card is written again:

    title, summary, samples      the heading, the first paragraph, the line under the picture of samples
    repairs                      the line under the picture of repaired images
    license, license_text        the Hub's name of the weights' licence, and what there is to say about it
    datasets, data_name, tags    names on the Hub, and how the data set is called in a sentence
    quality, sweep, limits       paragraphs under the tables, and under "Limits"
    training                     rows of the training table: they come before, or instead of, those of the same name
    command, citations           the training command, and BibTeX entries beside those of the method
"""

import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .card_tables import quality_table, sweep_table, training_rows
from .citations import citations_for
from .contents import CARD, FACT_FILES, REPAIRS, SAMPLES
from .facts import Facts, Result, read_facts

TASK = "unconditional-image-generation"
TAGS = ("score-based", "ncsn", "annealed-langevin-dynamics", "diffusers")
METRIC = "frechet_distance"

_MODEL_LINE = re.compile(r'^model = "[^"\n]*".*$', re.MULTILINE)
_LIMITS = (
    "It draws what it was trained on and nothing else.",
    "The distances above are for comparing with each other; in other features they are other numbers.",
)


def write_card(folder: str | Path) -> Path:
    """Writes `README.md` of a pipeline folder from the JSON files in it; see `facts` for which.

    Args:
        folder: as `NCSNPipeline.save_pretrained` writes it.

    Returns:
        The file.

    Raises:
        ValueError: if the folder is no pipeline, or one of its JSON files is not what it should be.
    """
    path = Path(folder).expanduser() / CARD
    try:
        card = ModelCard(render_card(read_facts(folder)))
    except (TypeError, AttributeError, LookupError) as error:
        names = ", ".join(name for name in FACT_FILES if (path.parent / name).is_file())
        raise ValueError(
            f"One of {names} in {path.parent} holds something of another type than it should: {error}. Repair it or "
            "take it away."
        ) from error
    beside = path.with_suffix(".partial")
    try:
        # A folder's name may hold bytes that the locale cannot read; they go into the card as they are.
        beside.write_text(card.content, encoding="utf-8", errors="surrogateescape")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def render_card(facts: Facts) -> str:
    """The whole card: metadata between two lines of dashes, then Markdown."""
    metadata = card_metadata(facts).to_yaml()
    sections = [
        f"# {_title(facts)}",
        _summary(facts),
        _picture(facts, SAMPLES),
        _usage(facts),
        _quality(facts),
        (picture := _picture(facts, REPAIRS)) and f"## From a part\n\n{picture}",
        _training(facts),
        "## Limits\n\n" + " ".join(_texts(facts.written.get("limits", _LIMITS))),
        _licence(facts),
        "## Citation\n\n" + "\n\n".join(f"```bibtex\n{entry}\n```" for entry in citations_for(facts)),
    ]
    return f"---\n{metadata}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def card_metadata(facts: Facts) -> ModelCardData:
    """What the Hub reads: licence, library, task, tags, data sets, and the measured quality as `model-index`."""
    results = [entry for result in facts.results for entry in _eval_results(facts, result)]
    return ModelCardData(
        license=facts.written.get("license", "unknown"),
        library_name="diffusers",
        pipeline_tag=TASK,
        tags=list(dict.fromkeys([*TAGS, *facts.written.get("tags", [])])),
        datasets=facts.data_on_the_hub or None,
        model_name=_title(facts) if results else None,
        eval_results=results or None,
    )


def named_card(text: str, repo_id: str, revision: str | None = None) -> str:
    """A card whose usage snippets load `repo_id`, of its branch, as they should where that repository shows it."""
    text = _MODEL_LINE.sub(f'model = "{repo_id}"', text, count=1)
    return text.replace('revision="main"', f'revision="{revision}"') if revision else text


def _eval_results(facts: Facts, result: Result) -> list[EvalResult]:
    how = f"{result.sampler}{result.settings}, {result.nfe} evaluations"
    how += f", {result.count:,} samples" if result.count else ""
    name = result.data or _data_name(facts) or "unknown"
    shared = {
        "task_type": TASK,
        "task_name": "Unconditional image generation",
        "dataset_type": result.data or next(iter(facts.data_on_the_hub), name),
        "dataset_name": name,
        "dataset_split": result.split or "test",
        "metric_args": {"sampler": result.sampler, "nfe": result.nfe, "num_samples": result.count},
    }
    measured = []
    if result.frechet is not None:
        measured.append((METRIC, f"Frechet distance ({how})", _rounded(result.frechet)))
    if result.real_frechet is not None:
        real = f"{result.fewer_real:,} real images" if result.fewer_real else "real images"
        measured.append((f"{METRIC}_of_real_images", f"the same of {real} ({how})", _rounded(result.real_frechet)))
    if result.recognised is not None:
        measured.append(("accuracy", f"class recognised ({how})", _rounded(result.recognised)))
    for kind, (value, _) in result.measures.items():
        measured.append((kind, f"{kind.replace('_', ' ')} ({how})", _rounded(value)))
    return [EvalResult(metric_type=kind, metric_name=label, metric_value=v, **shared) for kind, label, v in measured]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _title(facts: Facts) -> str:
    return facts.written.get("title") or facts.folder.resolve().name


def _data_name(facts: Facts) -> str | None:
    return facts.written.get("data_name") or facts.data_name


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _summary(facts: Facts) -> str:
    kind, config = facts.network
    size, channels, classes = (config.get(name) for name in ("sample_size", "in_channels", "num_class_embeds"))
    height, width = size if isinstance(size, list) else (size, size)
    colour = {1: "grey ", 3: "colour "}.get(channels, "")
    what = "generator" if facts.trained_sigmas else "noise-conditional score network"
    text = (
        f"A {what} (`{kind}`, {facts.num_parameters:,} parameters, {facts.num_bytes / 1e6:.1f} MB) for {colour}images "
        f"of {height}x{width} pixels"
    )
    text += f", with {classes} classes and a null class" if classes else ""
    text += _distilled(facts) if facts.trained_sigmas else _trained(facts)
    text += f". `{facts.scheduler[0]}` draws images with it."
    return "\n\n".join([*_texts(facts.written.get("summary", [])), text])


def _trained(facts: Facts) -> str:
    """What a score network was trained on, as the end of a sentence."""
    trained = f" on {_data_name(facts)}" if _data_name(facts) else ""
    if facts.sigma_range:
        low, high = facts.sigma_range
        trained += f" for every noise level sigma from {low:g} to {high:g} at once"
    return f", trained{trained}" if trained else ""


def _distilled(facts: Facts) -> str:
    """What a generator was made from and what it is good for, as the end of a sentence."""
    teacher, data, evaluations = facts.training.get("teacher"), _data_name(facts), len(facts.trained_sigmas)
    text = ", distilled" + (f" from the score network {teacher}" if teacher else "")
    text += f", which was trained on {data}" if teacher and data else ""
    return text + (
        f". It draws an image in {'one evaluation' if evaluations == 1 else f'1 to {evaluations} evaluations'}, at "
        f"sigma = {', '.join(f'{sigma:g}' for sigma in facts.trained_sigmas)}. It is no score: samplers that evaluate "
        "it at other noise levels, annealed Langevin dynamics among them, are refused"
    )


def _picture(facts: Facts, name: str) -> str:
    if not (facts.folder / name).is_file():
        return ""
    title = Path(name).stem
    caption = facts.written.get(title)
    return f"![{title}]({name})" + (f"\n\n*{caption}*" if caption else "")


def _usage(facts: Facts) -> str:
    classes = facts.network[1].get("num_class_embeds")
    drawn = ', class_labels="random"' if classes else ""
    one_class = f"ones = pipe(batch_size=4, class_labels={min(1, classes - 1)}).images\n" if classes else ""
    return f"""## Use

```python
import torch
from diffusers import DiffusionPipeline

model = "{_model_source(facts.folder)}"  # this folder, or its repository on the Hub
# The code beside the weights runs on your machine.
# Read it, and put the commit that you have read in place of "main".
pipe = DiffusionPipeline.from_pretrained(model, trust_remote_code=True, revision="main")
images = pipe(batch_size=16{drawn}, generator=torch.Generator().manual_seed(0)).images
images[0].save("sample.png")
{one_class}```

Where `ncsn_pipeline` is installed, its own code is used and none of the folder's:

```python
{_installed_usage(facts, drawn)}
```"""


def _installed_usage(facts: Facts, drawn: str) -> str:
    """The lines that sample by the installed package: of a score, by another sampler too."""
    if facts.trained_sigmas:
        count = len(facts.trained_sigmas)
        evaluations = f"{count} network evaluation{'s' if count > 1 else ''}"
        return f"""from ncsn_pipeline import NCSNPipeline

pipe = NCSNPipeline.from_pretrained(model, revision="main")
images = pipe(batch_size=64{drawn}).images  # {evaluations}"""
    return f"""from ncsn_pipeline import AnnealedLangevinScheduler, NCSNPipeline

pipe = NCSNPipeline.from_pretrained(model, revision="main")
pipe.scheduler = AnnealedLangevinScheduler.from_config(pipe.scheduler.config)  # annealed Langevin dynamics
images = pipe(batch_size=4{drawn}, num_inference_steps=500).images  # 500 network evaluations"""


def _model_source(folder: Path) -> str:
    """A path that works where the card was written, and tells nothing about that machine."""
    if not folder.is_absolute():
        return folder.as_posix()
    here = Path.cwd()
    return folder.relative_to(here).as_posix() if folder.is_relative_to(here) else folder.name


def _quality(facts: Facts) -> str:
    parts = []
    if facts.results:
        parts += [quality_table(facts.results, facts.scheduler[0]), *_texts(facts.written.get("quality", []))]
    if facts.sweep:
        parts += [sweep_table(facts.sweep), *_texts(facts.written.get("sweep", []))]
    return "\n\n".join(["## Quality", *parts]) if parts else ""


def _training(facts: Facts) -> str:
    command = facts.written.get("command") or facts.training.get("command")
    written = facts.written.get("training", {})
    rows = written | {name: text for name, text in training_rows(facts).items() if name not in written}
    parts = [f"```bash\n{command}\n```"] if command else []
    if rows:
        parts.append("\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]))
    return "\n\n".join(["## Training", *parts]) if parts else ""


def _licence(facts: Facts) -> str:
    text = facts.written.get("license_text")
    if not text and "license" in facts.written:
        text = f"The weights are under {facts.written['license']}."
    if not text:
        text = (
            "No licence was stated for the weights; whoever publishes them should, in `card.json`, with regard to the "
            "licence of the data."
        )
    return f"## Data and licence\n\n{text} The code in this folder is under Apache-2.0."
