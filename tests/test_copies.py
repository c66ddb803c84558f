"""Files that travel to the Hub alone hold marked copies of what stands elsewhere; each is kept equal to it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^# Copied from (ncsn_pipeline[\w.]*)\n(?:@.*\n)*(?:def|class) (\w+)", re.MULTILINE)


def copies():
    for path in sorted((ROOT / "ncsn_pipeline").rglob("*.py")):
        for module, name in MARK.findall(path.read_text(encoding="utf-8")):
            yield pytest.param(path, module, name, id=f"{path.name}:{name}")


def code_of(source, name):
    """The definition of `name` without docstrings and annotations."""
    node = next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
        if isinstance(inner, ast.FunctionDef):
            inner.returns = None
        if isinstance(inner, ast.arg):
            inner.annotation = None
    return ast.unparse(node)


def test_there_are_marked_copies():
    assert {name.values[2] for name in copies()} >= {"classifier_free", "check_noise_levels", "least_excess"}


@pytest.mark.parametrize(("path", "module", "name"), copies())
def test_a_copy_is_equal_to_what_it_copies(path, module, name):
    original = ROOT / (module.replace(".", "/") + ".py")
    assert code_of(path.read_text(encoding="utf-8"), name) == code_of(original.read_text(encoding="utf-8"), name)


def test_a_copy_that_differs_is_noticed():
    one = 'def f(x: int) -> int:\n    """F."""\n    return x + 1'
    assert code_of(one, "f") == code_of("def f(x):\n    return x + 1", "f")
    assert code_of(one, "f") != code_of("def f(x):\n    return x + 2", "f")
