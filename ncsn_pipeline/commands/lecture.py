"""The laboratory's command.

ncsn lecture
ncsn lecture mixing --seed 1
ncsn lecture all --json results.json --figures pictures
"""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, get_args, get_origin

from . import user_path

if TYPE_CHECKING:
    from ..lecture.running import Report

PROGRAM = "ncsn lecture"
FIGURES = Path("runs/lecture")
# Bad input, files that cannot be written, and chains that diverge with the step size they were given.
EXPECTED = (ValueError, OSError, ArithmeticError)


def add_common(parser: argparse.ArgumentParser) -> None:
    """The flags that one experiment and all of them share."""
    parser.add_argument("--quick", action="store_true", help="a small version that takes seconds")
    parser.add_argument("--json", type=user_path, metavar="FILE", help="write the numbers to this file")
    parser.add_argument(
        "--figures",
        type=user_path,
        default=FIGURES,
        metavar="DIR",
        help="where pictures are saved (default: %(default)s)",
    )


def add_parameters(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    """A flag for each parameter of an experiment."""
    for parameter in fields(module.Params):
        many = get_origin(parameter.type) is tuple
        kind = get_args(parameter.type)[0] if many else parameter.type
        default = parameter.default
        shown = " ".join(map(str, default)) if many else default
        parser.add_argument(
            f"--{parameter.name.replace('_', '-')}",
            dest=parameter.name,
            type=kind,
            nargs="+" if many else None,
            default=argparse.SUPPRESS,
            metavar=kind.__name__.upper(),
            help=f"{parameter.metadata['help']} (default: {shown})",
        )


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; the experiments are loaded when one of them, or all, is asked for."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="The lecture's claims, measured.  Without NAME: what there is.  NAME is an experiment, or `all`.",
        epilog=f"{PROGRAM} NAME --help tells an experiment's settings.",
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        parser.add_argument("name", metavar="NAME", nargs="?")
        return parser.parse_args(arguments)
    from ..lecture import EXPERIMENTS

    commands = parser.add_subparsers(dest="name", metavar="NAME", title="experiments")
    for name, module in EXPERIMENTS.items():
        sentence = module.CLAIM.sentence
        own = commands.add_parser(name, help=sentence.replace("%", "%%"), description=sentence.replace("%", "%%"))
        add_common(own)
        add_parameters(own, module)
    every = commands.add_parser("all", help="all of them", description="Runs every experiment.")
    add_common(every)
    every.add_argument("--seed", type=int, default=0, help="of every experiment (default: %(default)s)")
    every.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="experiments at a time, one thread each (default: %(default)s)"
    )
    every.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="NAME", help="only these"
    )
    options = parser.parse_args(arguments)
    if options.name == "all" and options.jobs < 1:
        every.error(f"--jobs must be at least 1; got {options.jobs}.")
    return options


def listing() -> str:
    """What there is: number, name, place in the lecture, claim."""
    from ..lecture import EXPERIMENTS

    lines = []
    for name, module in EXPERIMENTS.items():
        claim = module.CLAIM
        lines += textwrap.wrap(
            f"L{claim.number:<3} {name:15} {claim.at:14} {claim.sentence}", width=110, subsequent_indent=" " * 36
        )
    return "\n".join([*lines, "", f"{PROGRAM} NAME [--help]"])


def four_digits(number: float | str) -> str:
    """0.1235; what is not finite is a word already."""
    return number if isinstance(number, str) else f"{number:.4g}"


def table(report: "Report") -> str:
    """The claim, its checks as a table with the null of each, and the findings."""
    claim, result = report.claim, report.result
    width = max(len(check["name"]) for check in result["checks"])
    lines = [f"L{claim.number} {claim.name} ({claim.at})", *textwrap.wrap(claim.sentence, 110), claim.equation, ""]
    for check in result["checks"]:
        mark = "holds" if check["holds"] else "FAILS" if check["null_fails"] else "FAILS: its null holds too"
        value, bound, null = (four_digits(check[number]) for number in ("value", "bound", "null"))
        lines.append(f"  {check['name']:{width}}  {value:>10}  {check['relation']:2} {bound:<8} {mark}")
        lines.append(f"  {'  null: ' + check['null_name']:{width}}  {null:>10}")
    for finding in result["findings"]:
        lines += ["", *textwrap.wrap(finding, 110, initial_indent="  ", subsequent_indent="  ")]
    verdict = "The claim holds" if result["holds"] else "Not confirmed: the claim does not hold here"
    return "\n".join([*lines, "", f"{verdict}; {result['seconds']:.0f} s; {report.figure}"])


def write_json(path: Path, reports: "Sequence[Report]") -> None:
    """The numbers of every run under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {report.claim.name: {"number": report.claim.number} | report.result for report in reports}
    path.write_text(json.dumps(named, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def run_all(options: argparse.Namespace) -> "tuple[list[Report], bool]":
    """Several experiments at a time, each printed when those before it are done; and whether all could be run."""
    from ..lecture.running import perform

    given = {"seed": options.seed}
    reports = []
    with ProcessPoolExecutor(options.jobs) as pool:
        pending = {name: pool.submit(perform, name, given, options.quick, options.figures) for name in options.only}
        for name, future in pending.items():
            try:
                reports.append(future.result())
            except EXPECTED as error:
                print(f"{PROGRAM} {name}: {error}", end="\n\n", file=sys.stderr, flush=True)
            else:
                print(table(reports[-1]), end="\n\n", flush=True)
    return reports, len(reports) == len(pending)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 where every claim holds, 1 where one does not, 2 where one could not be run."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if options.name is None:
        print(listing())
        return 0
    from ..lecture import EXPERIMENTS
    from ..lecture.running import perform

    try:
        if options.name == "all":
            reports, complete = run_all(options)
        else:
            names = {parameter.name for parameter in fields(EXPERIMENTS[options.name].Params)}
            given = {name: value for name, value in vars(options).items() if name in names}
            reports, complete = [perform(options.name, given, options.quick, options.figures)], True
            print(table(reports[0]))
        if options.json:
            write_json(options.json, reports)
    except EXPECTED as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    failing = [report.claim.name for report in reports if not report.result["holds"]]
    if options.name == "all":
        seconds = sum(report.result["seconds"] for report in reports)
        print(f"{len(reports) - len(failing)} of {len(options.only)} claims hold; {seconds:.0f} s of computing")
    return 2 if not complete else 1 if failing else 0
