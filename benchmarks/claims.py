"""The lecture's claims, as they were measured: what a run replaces, the README's table, the document of all checks."""

from collections.abc import Iterable
from typing import Any

from ncsn_pipeline.lecture import EXPERIMENTS

BAR = "\\|"  # a bar within a cell of a table
Runs = dict[str, dict[str, Any]]  # by seed, and then by the experiment's name: what `--json` writes of a run


def results_of(runs: Runs, name: str) -> dict[str, Any]:
    """An experiment's result by seed, where there is one."""
    return {seed: numbers[name] for seed, numbers in runs.items() if name in numbers}


def spread(values: Iterable[float | str]) -> str:
    """0.12 … 0.34, or one number where they agree; what is not finite is a word already."""
    values = list(values)
    if any(isinstance(value, str) for value in values):
        return " … ".join(dict.fromkeys(map(str, values)))
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} … {high}"


def bound_and_null(checks: list[dict[str, Any]]) -> tuple[str, str]:
    """The bound of one check over the seeds, and its null with its name."""
    bound = f"{checks[0]['relation']} {spread(check['bound'] for check in checks)}"
    nulls = [check["null"] for check in checks if "null" in check]
    return bound, f"{spread(nulls)} ({checks[0]['null_name']})" if nulls else ""


def verdict(checks: list[dict[str, Any]]) -> str:
    """Of one check over the seeds: holds, fails, or for how many of them it holds."""
    held = sum(check["holds"] for check in checks)
    return "holds" if held == len(checks) else "**fails**" if not held else f"**holds for {held} of {len(checks)}**"


def claim_verdict(by_check: list[tuple[dict[str, Any], ...]]) -> str:
    """Of a claim: whether all of its checks hold over all seeds, or how many fail and with how many seeds."""
    seeds = f"{len(by_check[0])} seed{'s' if len(by_check[0]) > 1 else ''}"
    failing = sum(not all(check["holds"] for check in checks) for checks in by_check)
    if not failing:
        return f"confirmed, {seeds}"
    at = sum(not all(check["holds"] for check in of_seed) for of_seed in zip(*by_check, strict=True))
    fail = "fails" if failing == 1 else "fail"
    return f"**not confirmed**: {failing} of {len(by_check)} checks {fail}, with {at} of {seeds}"


def claims_table(runs: Runs) -> str:
    """The README's table: name, file and command; claim; equation; a check over the seeds; verdict; picture.

    The check is the first; where the claim is not confirmed, the first that fails.
    """
    lines = [
        "A number is the experiment's first check over its seeds, with its bound and its null: the same number where "
        "the claim is false. Of a claim that is not confirmed it is the first check that fails. Confirmed is a claim "
        "of which every check holds with every seed.",
        "",
        "| | claim | equation | number | verdict | picture |",
        "|---|---|---|---|---|---|",
    ]
    for name, module in EXPERIMENTS.items():
        claim = module.CLAIM
        file = f"ncsn_pipeline/lecture/{name.replace('-', '_')}.py"
        by_check = list(zip(*(result["checks"] for result in results_of(runs, name).values()), strict=True))
        failing = [checks for checks in by_check if not all(check["holds"] for check in checks)]
        checks = list((failing or by_check)[0])
        bound, null = bound_and_null(checks)
        number = f"{checks[0]['name']}: {spread(check['value'] for check in checks)} ({bound})"
        picture = f"benchmarks/results/lecture/{name}.svg"
        cells = [
            f"L{claim.number} [{file.rsplit('/')[-1]}]({file}) `ncsn lecture {name}`",
            claim.sentence,
            f"`{claim.equation}`",
            f"{number}; null {null}" if null else number,
            claim_verdict(by_check),
            f'<a href="{picture}"><img src="{picture}" width="220" alt="{name}"></a>',
        ]
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)


def checks_table(runs: Runs) -> str:
    """All checks: claim, measure, bound, null, a value for each seed, verdict."""
    seeds = list(runs)
    lines = [
        f"| claim | measure | bound | null | {' | '.join(f'seed {seed}' for seed in seeds)} | verdict |",
        "|---|---|---|---|" + "---|" * (len(seeds) + 1),
    ]
    for name, module in EXPERIMENTS.items():
        results = results_of(runs, name)
        for i, checks in enumerate(zip(*(result["checks"] for result in results.values()), strict=True)):
            by_seed = dict(zip(results, checks, strict=True))
            bound, null = bound_and_null(list(checks))
            cells = [
                f"L{module.CLAIM.number} {name}" if i == 0 else "",
                checks[0]["name"],
                bound,
                null,
                *(spread([by_seed[seed]["value"]]) if seed in by_seed else "" for seed in seeds),
                verdict(list(checks)),
            ]
            lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)


def updated(runs: Runs, seed: str, found: dict[str, Any]) -> Runs:
    """The stored results with those of one more run, without those whose checks are not the run's any more."""
    kept = {
        other: {
            name: result
            for name, result in numbers.items()
            if name not in found or _names(result) == _names(found[name])
        }
        for other, numbers in runs.items()
    }
    kept[seed] = kept.get(seed, {}) | found
    return {
        each: {name: kept[each][name] for name in EXPERIMENTS if name in kept[each]} for each in sorted(kept, key=int)
    }


def _names(result: dict[str, Any]) -> list[str]:
    return [check["name"] for check in result["checks"]]


def as_markdown(runs: Runs) -> str:
    """The committed table of checks, and the findings of the first seed of each experiment."""
    minutes = ", ".join(
        f"{sum(each['seconds'] for each in numbers.values()) / 60:.1f} with seed {seed}"
        for seed, numbers in runs.items()
        if len(numbers) == len(EXPERIMENTS)
    )
    lines = [
        "# The lecture's claims, measured",
        "",
        f"`python -m benchmarks.lecture`: full size, seeds {', '.join(runs)}. All {len(EXPERIMENTS)} experiments take "
        f"{minutes} minutes of CPU time on one thread, about half of that on two cores. A null is the same measure "
        "where the claim is false: a check holds where its value keeps to the bound and its null does not.",
        "",
        checks_table(runs),
        "",
        "## What else was found",
        "",
        "With the first seed.",
        "",
    ]
    for name, module in EXPERIMENTS.items():
        first = next(iter(results_of(runs, name).values()))
        lines += [f"- **L{module.CLAIM.number} {name}** ({first['seconds']:.0f} s): {' '.join(first['findings'])}"]
    return "\n".join([*lines, ""])
