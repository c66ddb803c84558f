"""What is imported is declared in `pyproject.toml`, and what is declared is pinned in `requirements*.txt`."""

import ast
import sys
import tomllib
from collections import Counter
from functools import partial

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.source_tree import OURS, PACKAGE, ROOT, assert_noticed, complaints, imports, starting, unit_of

IMPORT_NAMES = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
    "torch-fidelity": "torch_fidelity",
    "dicebear-core": "dicebear",
}


def run_when_imported(tree: ast.AST) -> list[ast.AST]:
    """The nodes that importing a module executes: not the bodies of functions, not `if TYPE_CHECKING`."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found.append(node)
            waiting += ast.iter_child_nodes(node)
    return found


def undeclared(tree: ast.AST, name: str, core: set[str], extras: dict[str, set[str]]) -> list[str]:
    """Imports that an installation would lack: eager ones need a dependency, those inside functions an extra."""
    here = unit_of(name)
    at_home = set(sys.stdlib_module_names) | {PACKAGE}
    eager = at_home | core | extras.get("train" if here in ("training", "evaluation") else here, set())
    late = eager.union(*extras.values())
    executed = {id(node) for node in run_when_imported(tree)}
    return [
        f"{name}:{node.lineno}: {module.split('.')[0]} is no dependency of {here} in pyproject.toml"
        for module, node in imports(tree, name)
        if module.split(".")[0] not in (eager if id(node) in executed else late)
    ]


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def import_names(requirements: list[str]) -> set[str]:
    names = (Requirement(line).name for line in requirements)
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_imports_are_declared():
    project = pyproject()
    extras = {extra: import_names(lines) for extra, lines in project["optional-dependencies"].items()}
    rule = partial(undeclared, core=import_names(project["dependencies"]), extras=extras)
    assert complaints(rule, starting(*OURS)) == []


def test_an_undeclared_import_is_noticed():
    rule = partial(undeclared, core={"torch"}, extras={"train": {"datasets"}})
    assert_noticed(
        rule,
        "import datasets",
        "try:\n    import datasets\nexcept ImportError:\n    datasets = None",
        "def f():\n    import pandas",
        "import torch\nfrom .densities import x\ndef f():\n    import datasets\nimport pandas",
        name="ncsn_pipeline/data.py",
    )
    assert_noticed(rule, "import datasets\nimport pandas", name="ncsn_pipeline/training/train.py")


def disagreements(declared: list[str], pinned: list[str]) -> list[str]:
    """Dependencies without an exact pin, and pins outside what is declared."""
    versions = {}
    found = []
    for line in pinned:
        requirement = Requirement(line)
        exact = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        if len(exact) == 1 and not exact[0].endswith("*"):
            versions[canonicalize_name(requirement.name)] = exact[0]
        else:
            found.append(f"{line} is not pinned exactly")
    for requirement in map(Requirement, declared):
        version = versions.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"{requirement} is declared and not pinned")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement} is declared, {version} is pinned")
    return found


def pins(file: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def test_pins_agree_with_what_is_declared():
    project = pyproject()
    extras = project["optional-dependencies"]
    for_the_space, for_the_tests = pins("requirements.txt"), pins("requirements-dev.txt")
    assert disagreements(project["dependencies"] + extras["space"], for_the_space) == []
    assert disagreements(project["dependencies"] + extras["train"], for_the_space + for_the_tests) == []
    names = [canonicalize_name(Requirement(line).name) for line in for_the_space + for_the_tests]
    assert [name for name, times in Counter(names).items() if times > 1] == []


@pytest.mark.parametrize(
    "declared, pinned, expected",
    [
        (["torch>=2.13"], ["torch==2.12.1"], 1),
        (["gradio>=6.31,<7"], ["gradio==7.0.0"], 1),
        (["torch>=2.13"], [], 1),
        ([], ["torch>=2.13"], 1),
        ([], ["torch==2.*"], 1),
        (["huggingface_hub>=2"], ["huggingface-hub==2.4.0"], 0),
    ],
)
def test_a_pin_that_disagrees_is_noticed(declared, pinned, expected):
    assert len(disagreements(declared, pinned)) == expected


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / PACKAGE).rglob("__init__.py")}
    assert set(listed) == found | {f"{PACKAGE}.pretrained"} and len(listed) == len(set(listed))
