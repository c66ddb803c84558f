"""The repository's files and their syntax trees, and how a rule is run over them."""

import ast
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.processes import run

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ncsn_pipeline"
OURS = (f"{PACKAGE}/", "train/")

Rule = Callable[[ast.AST, str], list[str]]


@cache
def files() -> dict[str, Path]:
    """By name, what is or would be committed; without git, everything that `.gitignore` does not name."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    git = run(command, seconds=60)
    if (ROOT / ".git").exists() and git.returncode == 0:
        found = [ROOT / name for name in git.stdout.split("\0") if name]
    else:
        ignored = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split())]
        found = [
            path
            for path in ROOT.rglob("*")
            if not any(fnmatch(part, pattern) for part in path.relative_to(ROOT).parts for pattern in ignored)
        ]
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(found) if path.is_file()}


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every file of Python, by name."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files().items() if name.endswith(".py")}


def starting(*starts: str) -> list[str]:
    """The files of Python whose names begin with one of these."""
    return [name for name in trees() if name.startswith(starts)]


def complaints(rule: Rule, names: Iterable[str]) -> list[str]:
    """What a rule says of these files, of which there must be some."""
    names = list(names)
    assert names
    return [complaint for name in names for complaint in rule(trees()[name], name)]


def assert_noticed(rule: Rule, *sources: str, name: str = "x.py") -> None:
    """The rule complains of each snippet, once."""
    assert {source: len(rule(ast.parse(source), name)) for source in sources} == dict.fromkeys(sources, 1)


def imports(tree: ast.AST, name: str) -> list[tuple[str, ast.AST]]:
    """Every module that the file `name` imports, absolute and dotted, `from a import b` as `a.b`."""
    here = Path(name).parent.parts
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            found += [(f"{module}.{alias.name}", node) for alias in node.names]
    return found


def unit_of(name: str) -> str:
    """The row of the import rules (`ARROWS` in `test_architecture.py`) that a file belongs to."""
    parts = Path(name).with_suffix("").parts
    if parts[0] != PACKAGE:
        return parts[0]
    return "root" if parts[1] == "__init__" else parts[1]
