"""The README's table of the lecture's claims, as they were measured."""

from typing import Any

from ncsn_pipeline.lecture import EXPERIMENTS

BAR = "\\|"  # a bar within a cell of a table


def claims_table(runs: dict[str, dict[str, Any]]) -> str:
    """The README's table: name, file and command; claim; equation; the first check over the seeds; picture."""
    lines = [
        f"A number is the experiment's first check over the seeds {', '.join(runs)}, with its bound.",
        "",
        "| | claim | equation | number | picture |",
        "|---|---|---|---|---|",
    ]
    for name, module in EXPERIMENTS.items():
        claim = module.CLAIM
        file = f"ncsn_pipeline/lecture/{name.replace('-', '_')}.py"
        checks = [numbers[name]["checks"][0] for numbers in runs.values()]
        low, high = min(check["value"] for check in checks), max(check["value"] for check in checks)
        values = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} … {high:.3g}"
        number = f"{checks[0]['name']}: {values} ({checks[0]['relation']} {checks[0]['bound']:.3g})"
        picture = f"benchmarks/results/lecture/{name}.svg"
        cells = [
            f"L{claim.number} [{file.rsplit('/')[-1]}]({file}) `ncsn lecture {name}`",
            claim.sentence,
            f"`{claim.equation}`",
            number,
            f'<a href="{picture}"><img src="{picture}" width="220" alt="{name}"></a>',
        ]
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)
