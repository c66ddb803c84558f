"""The tables of a model card."""

from collections.abc import Iterable, Sequence
from typing import Any

from .facts import Facts, Result

MEASURES = {
    "sliced_wasserstein": "sliced Wasserstein",
    "two_sample_accuracy": "told apart",
    "precision": "precision",
    "recall": "recall",
}


def quality_table(results: Sequence[Result], default_sampler: str) -> str:
    """One row for each result; columns that no result fills are left out."""
    columns = [
        ("sampler", [_sampler(result, default_sampler) for result in results]),
        ("evaluations", [f"{result.nfe:,}" for result in results]),
        ("samples", [f"{result.count:,}" if result.count else "" for result in results]),
        ("Frechet distance", [_number(result.frechet, ".3g") for result in results]),
        (_real_images(results), [_reference(result) for result in results]),
        ("ratio", [f"{result.ratio:.2g}" if result.ratio else "" for result in results]),
        ("class recognised", [_percent(result.recognised) for result in results]),
        *((name, [_measured(result, key) for result in results]) for key, name in MEASURES.items()),
        ("s / image", [f"{result.seconds:.2g}" if result.seconds else "" for result in results]),
    ]
    return "\n\n".join(
        filter(None, [_table([(name, cells) for name, cells in columns if any(cells)]), legend(results)])
    )


def legend(results: Sequence[Result]) -> str:
    """What the numbers were measured in, as sentences; empty where the files do not say."""
    names = list(dict.fromkeys(result.features for result in results if result.features))
    text = (
        f"Frechet distance and recognised class are measured in the features of {' or '.join(names)}." if names else ""
    )
    if any(result.fewer_real and result.real_frechet is not None for result in results):
        text += (
            " The Frechet distance of fewer images is the larger for that alone, so no ratio is given where there are "
            "fewer real images than samples."
        )
    measured = {name for result in results for name in result.measures}
    if measured:
        told = (
            "; told apart is the accuracy of a classifier that tells samples from real images, 50 % of which is chance"
        )
        text += (
            " In brackets the same of as many real images. The sliced Wasserstein distance is that of patches over the "
            f"scales of a Laplacian pyramid, in their deviations{told if 'two_sample_accuracy' in measured else ''}; "
            "precision and recall are by nearest neighbours."
        )
    return text.strip()


def sweep_table(rows: Sequence[Result]) -> str:
    """Distance against network evaluations, one row for each number of them, two columns for each sampler."""
    counts = sorted({row.count or 0 for row in rows}, reverse=True)
    marks = {count: "*" * i for i, count in enumerate(counts)}
    # Of several numbers of samples, the largest.
    found = {(row.sampler + row.settings, row.nfe): row for row in sorted(rows, key=lambda row: row.count or 0)}
    budgets = sorted({row.nfe for row in rows})
    columns = [("evaluations", [f"{nfe:,}" for nfe in budgets])]
    for sampler, settings in dict.fromkeys((row.sampler, row.settings) for row in rows):
        column = [found.get((sampler + settings, nfe)) for nfe in budgets]
        columns.append((f"`{sampler}`{settings}", [_distance(row, marks) for row in column]))
        recognised = [_percent(row.recognised) if row else "" for row in column]
        columns += [("class recognised", recognised)] if any(recognised) else []
    return f"{_sweep_legend(rows, marks)}\n\n{_table(columns)}"


def training_rows(facts: Facts) -> dict[str, str]:
    """What is known of the training run, as name -> text."""
    settings, training = facts.settings, facts.training
    names = facts.network[1].get("id2label") or {}
    rows = {
        "teacher": str(training.get("teacher") or ""),
        "the teacher's data" if training.get("teacher") else "data": _data(facts),
        "began from": f"the weights of {training['init_from']}" if training.get("init_from") else "",
        "classes": ", ".join(name for _, name in sorted(names.items(), key=lambda item: int(item[0]))),
        "noise levels": _noise_levels(facts),
        "matching": _matching(facts),
        "noise schedule": _noise_schedule(facts.scheduler[1]),
        "optimiser": _optimiser(settings),
        "steps": _steps(settings, training),
        "time": _duration(training.get("seconds")),
        "hardware": _hardware(training),
        "held-out loss": _number(training.get("held_out_loss")),
        "versions": ", ".join(f"{name} {number}" for name, number in (training.get("versions") or {}).items()),
    }
    return {name: text for name, text in rows.items() if text}


def _table(columns: list[tuple[str, list[str]]]) -> str:
    names, cells = zip(*columns, strict=True)
    rows = [names, ["---"] * len(names), *zip(*cells, strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _distance(row: Result | None, marks: dict[int, str]) -> str:
    if row is None:
        return ""
    ratio = row.ratio
    shown = "" if ratio is None else f" ({ratio:.2g})" if ratio < 99.5 else f" ({ratio:.0f})"
    distance = row.frechet if row.frechet is not None else row.measures["sliced_wasserstein"][0]
    return f"{distance:.3g}{marks[row.count or 0]}{shown}"


def _measured(result: Result, name: str) -> str:
    value, real = result.measures.get(name, (None, None))
    if value is None:
        return ""
    kind = ".3g" if name == "sliced_wasserstein" else ".1%"
    shown = [f"{number:{kind}}".replace("%", " %") for number in (value, real) if number is not None]
    return shown[0] + "".join(f" ({reference})" for reference in shown[1:])


def _sampler(result: Result, default_sampler: str) -> str:
    text = f"`{result.sampler}`"
    text += f", {result.steps_per_level} steps per level" if result.steps_per_level else ""
    text += result.settings + (f", compared with {result.data}" if result.data else "")
    return text + (", the default" if result.sampler == default_sampler and not result.settings else "")


def _reference(result: Result) -> str:
    if result.real_frechet is None:
        return ""
    spread = f" ± {result.real_frechet_std:#.2g}" if result.real_frechet_std else ""
    return f"{result.real_frechet:.3g}{spread}" + (f" ({result.fewer_real:,} images)" if result.fewer_real else "")


def _real_images(results: Iterable[Result]) -> str:
    return "real images" if any(result.fewer_real for result in results) else "as many real images"


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.1f} %"


def _sweep_legend(rows: Sequence[Result], marks: dict[int, str]) -> str:
    spreads = {row.count or 0: row for row in rows}
    counted = [
        (f"those with {mark}: " if mark else "")
        + f"{count:,} samples"
        + (f" ({_real_images([row])}: {_reference(row)})" if (row := spreads[count]).real_frechet else "")
        for count, mark in marks.items()
        if count
    ]
    in_features = any(row.frechet is not None for row in rows)
    kind = "Frechet distance" if in_features else "Sliced Wasserstein distance of patches"
    text = f"{kind} against the number of network evaluations"
    text += f", {'; '.join(counted)}" if counted else ""
    return text + (". In brackets the ratio to real images." if any(row.ratio for row in rows) else ".")


def _data(facts: Facts) -> str:
    known = facts.training.get("dataset")
    known = known if isinstance(known, dict) else {}
    parts = [facts.data_name or ""]
    parts += [f"{known['images']:,} images"] if known.get("images") else []
    parts += [f"{known['held_out']:,} held out"] if known.get("held_out") else []
    parts += ["x".join(map(str, known["shape"]))] if known.get("shape") else []
    settings = facts.settings
    if parts[0] and {"data_min", "data_max"} <= settings.keys():
        parts.append(f"values in [{settings['data_min']:g}, {settings['data_max']:g}]")
    if facts.network[1].get("num_class_embeds") and settings.get("class_dropout") and not facts.trained_sigmas:
        parts.append(f"labels used, {100 * settings['class_dropout']:g} % dropped for the null class")
    return ", ".join(filter(None, parts))


def _noise_levels(facts: Facts) -> str:
    settings = facts.settings
    normal = f"log-normal({settings.get('sigma_log_mean')}, {settings.get('sigma_log_std')})"
    part = settings.get("sigma_lognormal_fraction") or 0
    kinds = {
        "mixture": f"{100 * part:g} % {normal}, {100 * (1 - part):g} % log-uniform",
        "lognormal": normal,
        "loguniform": "log-uniform",
        "levels": f"the {settings.get('num_levels')} levels of the noise schedule",
    }
    drawn = kinds.get(settings.get("sigma_distribution", ""), "")
    if not drawn or not facts.sigma_range:
        return ""
    low, high = facts.sigma_range
    weight = {"edm": "EDM's weight", "sigma_squared": "weight sigma²"}.get(settings.get("loss_weight", ""), "")
    return f"sigma drawn {drawn}, within [{low:g}, {high:g}]" + (f"; {weight}" if weight else "")


def _matching(facts: Facts) -> str:
    """How a generator was made: by which updates, and where the scores were compared."""
    settings = facts.settings
    if not facts.trained_sigmas or "fake_steps" not in settings:
        return ""
    drawn = f"log-normal({settings['sigma_log_mean']}, {settings['sigma_log_std']})"
    last = settings.get("identity_steps")
    refined = f", the last {last:,} by score identity distillation" if last else ""
    if (w := settings.get("guidance_scale", 1)) != 1:
        low, high = settings["guidance_interval"] or (settings["sigma_min"], settings["sigma_max"])
        refined += f", the teacher guided towards the class by {w:g} at sigma {low:g} to {high:g}"
    updates = f"{settings['fake_steps']} update{'s' if settings['fake_steps'] > 1 else ''}"
    return (
        f"of distributions, without data; {updates} of the fake score for each of the generator{refined}; sigma drawn "
        f"{drawn}, within [{settings['sigma_min']:g}, {settings['sigma_max']:g}]"
    )


def _noise_schedule(config: dict[str, Any]) -> str:
    sigmas = config.get("sigmas")
    levels = len(sigmas) if sigmas else config.get("num_train_timesteps")
    low, high = (sigmas[-1], sigmas[0]) if sigmas else (config.get("sigma_min"), config.get("sigma_max"))
    if levels == 1 and high:
        return f"1 level, {high:g}, of the sampler"
    return f"{levels} levels from {high:g} to {low:g}, of the sampler" if levels and low and high else ""


def _optimiser(settings: dict[str, Any]) -> str:
    rate = settings.get("learning_rate")
    if rate is None:
        return ""
    parts = [f"AdamW, learning rate {rate:g}"]
    parts += [f"warmed up over {settings['lr_warmup_steps']:,} steps"] if settings.get("lr_warmup_steps") else []
    parts += [f"linear decay over the last {settings['lr_decay_steps']:,}"] if settings.get("lr_decay_steps") else []
    parts += [f"EMA {settings['ema_decay']:g}"] if settings.get("use_ema") and settings.get("ema_decay") else []
    precision = settings.get("mixed_precision")
    return ", ".join(parts + ([precision] if precision not in (None, "no") else []))


def _steps(settings: dict[str, Any], training: dict[str, Any]) -> str:
    steps = training.get("steps") or settings.get("max_train_steps")
    if not steps:
        return ""
    seen, resumed = training.get("images_seen"), training.get("resumed")
    return (
        f"{steps:,}"
        + (f" of {seen // steps} images, {seen:,} in all" if seen else "")
        + (f"; resumed {resumed} time{'s' if resumed > 1 else ''}" if resumed else "")
    )


def _hardware(training: dict[str, Any]) -> str:
    processes = training.get("processes")
    parts = [training.get("hardware") or ""]
    parts += [f"{processes} process{'es' if processes > 1 else ''}"] if processes else []
    return ", ".join(filter(None, parts))


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _number(value: Any, kind: str = ".4g") -> str:
    return f"{value:{kind}}" if isinstance(value, int | float) else str(value or "")
