"""Every experiment of the laboratory at full size, over several seeds.

    python benchmarks/lecture.py [--seeds 0 1 2] [--jobs 2] [--output benchmarks/results]

Runs `python -m ncsn_pipeline.lecture all` once a seed and writes the numbers, a table of every check with its value for
each seed, and the pictures of the first seed; then renews the table of claims in the README, between its two marks.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from ncsn_pipeline.lecture import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "lecture"
START, END = "<!-- claims: written by benchmarks/lecture.py -->", "<!-- end of claims -->"
PICTURE_WIDTH = 800  # pixels
BAR = "\\|"  # a bar within a cell of a table


def run(seed: int, jobs: int) -> tuple[dict[str, Any], float]:
    """All experiments with one seed; returns their numbers and the wall time in seconds."""
    folder = RUNS / f"seed{seed}"
    command = [sys.executable, "-m", "ncsn_pipeline.lecture", "all", "--seed", str(seed), "--jobs", str(jobs)]
    start = time.perf_counter()
    done = subprocess.run([*command, "--json", str(folder / "results.json"), "--figures", str(folder)], cwd=ROOT)
    if done.returncode not in (0, 1):
        raise SystemExit(f"seed {seed}: the command failed with {done.returncode}")
    return json.loads((folder / "results.json").read_text()), time.perf_counter() - start


def as_markdown(runs: dict[int, dict[str, Any]], seconds: dict[int, float], jobs: int) -> str:
    """The committed table of checks, and the findings of the first seed."""
    seeds = list(runs)
    wall = ", ".join(f"{seconds[seed] / 60:.1f}" for seed in seeds)
    lines = [
        "# The lecture's claims, measured",
        "",
        f"`python benchmarks/lecture.py`: full size, seeds {', '.join(map(str, seeds))}; "
        f"{wall} minutes with {jobs} experiments at a time, one thread each.",
        "",
        f"| | check | bound | {' | '.join(f'seed {seed}' for seed in seeds)} | |",
        "|---|---|---|" + "---|" * (len(seeds) + 1),
    ]
    for name, first in runs[seeds[0]].items():
        for i, check in enumerate(first["checks"]):
            each = [runs[seed][name]["checks"][i] for seed in seeds]
            values = " | ".join(f"{one['value']:.4g}" for one in each)
            verdict = "holds" if all(one["holds"] for one in each) else "**fails**"
            label = f"L{first['number']} {name}" if i == 0 else ""
            bound = f"{check['relation']} {check['bound']:.4g}"
            lines.append(f"| {label} | {check['name'].replace('|', BAR)} | {bound} | {values} | {verdict} |")
    lines += ["", "## What else was found", "", f"With seed {seeds[0]}.", ""]
    for name, first in runs[seeds[0]].items():
        lines += [f"- **L{first['number']} {name}** ({first['seconds']:.0f} s): {' '.join(first['findings'])}"]
    return "\n".join([*lines, ""])


def claims_table(runs: dict[int, dict[str, Any]], pictures: Path) -> str:
    """The README's table: name and file, claim, equation, the first check's number over the seeds, picture."""
    lines = ["| | claim | equation | number | picture |", "|---|---|---|---|---|"]
    for name, module in EXPERIMENTS.items():
        claim = module.CLAIM
        file = f"ncsn_pipeline/lecture/{name.replace('-', '_')}.py"
        checks = [numbers[name]["checks"][0] for numbers in runs.values()]
        low, high = min(check["value"] for check in checks), max(check["value"] for check in checks)
        values = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} … {high:.3g}"
        number = f"{checks[0]['name']}: {values} ({checks[0]['relation']} {checks[0]['bound']:.3g})"
        picture = (pictures / f"{name}.png").relative_to(ROOT).as_posix()
        cells = [
            f"L{claim.number} [`{name}`]({file})",
            claim.sentence,
            f"`{claim.equation}`",
            number,
            f'<a href="{picture}"><img src="{picture}" width="220" alt="{name}"></a>',
        ]
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs every seed; saves the tables and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    measured = {seed: run(seed, arguments.jobs) for seed in arguments.seeds}
    runs = {seed: numbers for seed, (numbers, _) in measured.items()}
    seconds = {seed: wall for seed, (_, wall) in measured.items()}

    pictures = arguments.output.resolve() / "lecture"
    pictures.mkdir(parents=True, exist_ok=True)
    for name in EXPERIMENTS:
        with Image.open(RUNS / f"seed{arguments.seeds[0]}" / f"{name}.png") as picture:
            small = picture.convert("RGB").resize(
                (PICTURE_WIDTH, round(picture.height * PICTURE_WIDTH / picture.width)), Image.Resampling.LANCZOS
            )
            small.quantize(128).save(pictures / f"{name}.png", optimize=True)
    (arguments.output / "lecture.json").write_text(json.dumps(runs, indent=1) + "\n")
    (arguments.output / "lecture.md").write_text(as_markdown(runs, seconds, arguments.jobs))
    readme = (ROOT / "README.md").read_text()
    before, rest = readme.split(START)
    after = rest.split(END)[1]
    (ROOT / "README.md").write_text(f"{before}{START}\n{claims_table(runs, pictures)}\n{END}{after}")
    print(as_markdown(runs, seconds, arguments.jobs))


if __name__ == "__main__":
    main()
