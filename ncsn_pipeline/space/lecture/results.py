"""The results that the project comes with: every experiment at full size, over several seeds, and its picture.

Copies of what `benchmarks/lecture.py` wrote, kept in the package because the Space gets nothing else.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("shipped")
NUMBERS = FOLDER / "lecture.json"


@cache
def _runs() -> dict[str, dict[str, Any]]:
    return json.loads(NUMBERS.read_text(encoding="utf-8"))


def shipped_results(name: str) -> list[dict[str, Any]]:
    """The result of every seed that there is, as the command writes it to JSON."""
    return [run[name] for run in _runs().values() if name in run]


def shipped_picture(name: str) -> str:
    """The picture of the first seed, SVG."""
    return (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
