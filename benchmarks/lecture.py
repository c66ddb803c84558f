"""Every experiment of the laboratory at full size, over several seeds.

    python -m benchmarks.lecture [--jobs 2] [--only NAME ...] [--seeds 0 1 ...]
    python -m benchmarks.lecture --only mixing --seeds 3        one experiment with one seed
    python -m benchmarks.lecture --seeds                        no run: the tables anew from what is stored

Runs `ncsn lecture all` once per seed.  After each seed it renews, in `benchmarks/results`, the numbers, the table of
all checks with bound, null and a value for each seed, and the pictures of the first seed; the copy of numbers and
pictures that the page shows; and the table of claims in the README.  What is stored of an experiment whose checks have
changed since is dropped.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import Runs, as_markdown, claims_table, updated
from ncsn_pipeline.lecture import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "lecture"
RESULTS = ROOT / "benchmarks" / "results"
SHIPPED = ROOT / "ncsn_pipeline" / "space" / "lecture" / "shipped"
SEEDS = (0, 1, 2, 3, 4)
PICTURED = 0  # the seed whose pictures are kept
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


def write(runs: Runs) -> None:
    """Numbers, the page's copies, the table of checks, and the README's table of claims."""
    (RESULTS / "lecture.json").write_text(json.dumps(runs, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for file in (RESULTS / "lecture.json", *(RESULTS / "lecture").glob("*.svg")):
        shutil.copyfile(file, SHIPPED / file.name)
    (RESULTS / "lecture.md").write_text(as_markdown(runs), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = readme.split(START)
    (ROOT / "README.md").write_text(
        f"{before}{START}\n{claims_table(runs)}\n{END}{rest.split(END)[1]}", encoding="utf-8"
    )


def save_picture(name: str) -> None:
    """The picture of one seed."""
    (RESULTS / "lecture").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(RUNS / f"seed{PICTURED}" / f"{name}.svg", RESULTS / "lecture" / f"{name}.svg")


def main() -> None:
    """Runs the seeds one after the other; renews tables and pictures after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), metavar="SEED")
    arguments = parser.parse_args()
    written = RESULTS / "lecture.json"
    runs = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
    for seed in arguments.seeds:
        runs = updated(runs, str(seed), run(seed, arguments.only, arguments.jobs))
        if seed == PICTURED:
            for name in arguments.only:
                save_picture(name)
        write(runs)
    write(runs)
    print(as_markdown(runs))


if __name__ == "__main__":
    main()
