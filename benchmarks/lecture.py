"""Every experiment of the laboratory at full size, over several seeds.

    python -m benchmarks.lecture [--jobs 2] [--only NAME ...]

Runs `ncsn lecture all` once a seed and renews, in `benchmarks/results`, the numbers, a table of all
checks with their values for each seed, and the pictures of the first seed; then the table of claims in the README.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import BAR, claims_table
from ncsn_pipeline.lecture import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "lecture"
RESULTS = ROOT / "benchmarks" / "results"
SHIPPED = ROOT / "ncsn_pipeline" / "space" / "lecture" / "shipped"
SEEDS = (0, 1, 2)
START, END = "<!-- claims: written by benchmarks/lecture.py -->", "<!-- end of claims -->"


def run(seed: int, names: list[str], jobs: int) -> dict[str, Any]:
    """Runs experiments with one seed and returns their numbers by name."""
    folder = RUNS / f"seed{seed}"
    numbers = folder / "results.json"
    numbers.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ncsn_pipeline", "lecture", "all", "--seed", str(seed), "--jobs", str(jobs)]
    files = ["--json", str(numbers), "--figures", str(folder)]
    done = subprocess.run([*command, *files, "--only", *names], cwd=ROOT)
    if done.returncode not in (0, 1):
        raise SystemExit(f"seed {seed}: the command failed with {done.returncode}")
    return json.loads(numbers.read_text(encoding="utf-8"))


def as_markdown(runs: dict[str, dict[str, Any]]) -> str:
    """The committed table of checks, and the findings of the first seed."""
    seeds = list(runs)
    minutes = ", ".join(f"{sum(each['seconds'] for each in runs[seed].values()) / 60:.1f}" for seed in seeds)
    lines = [
        "# The lecture's claims, measured",
        "",
        f"`python -m benchmarks.lecture`: full size, seeds {', '.join(seeds)}; {minutes} minutes a seed on one thread, "
        "half of that on two cores.",
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


def save_picture(name: str) -> None:
    """The first seed's picture; also in the package, where the page finds it."""
    picture = (RUNS / f"seed{SEEDS[0]}" / f"{name}.svg").read_bytes()
    for folder in (RESULTS / "lecture", SHIPPED):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_bytes(picture)


def main() -> None:
    """Runs every seed; renews the tables and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="NAME")
    arguments = parser.parse_args()
    written = RESULTS / "lecture.json"
    old = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
    runs = {}
    for seed in map(str, SEEDS):
        known = old.get(seed, {}) | run(int(seed), arguments.only, arguments.jobs)
        runs[seed] = {name: known[name] for name in EXPERIMENTS if name in known}
    for name in arguments.only:
        save_picture(name)
    for path in (written, SHIPPED / "lecture.json"):
        path.write_text(json.dumps(runs, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (RESULTS / "lecture.md").write_text(as_markdown(runs), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = readme.split(START)
    (ROOT / "README.md").write_text(
        f"{before}{START}\n{claims_table(runs)}\n{END}{rest.split(END)[1]}", encoding="utf-8"
    )
    print(as_markdown(runs))


if __name__ == "__main__":
    main()
