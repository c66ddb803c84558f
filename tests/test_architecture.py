"""The rules that keep the project readable: who imports whom, what travels alone, what is never written.

Every rule is a function from source text to a list of complaints, run over the whole tree and, beside that, over a
bad snippet, so that a rule which cannot fail is noticed.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.processes import run

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ncsn_pipeline"

# densities -> score_matching -> noise_levels -> networks -> sampling -> pipelines -> (train, space, hub)
# Each folder or file may import those on its right-hand side; importing from itself is always allowed.
# A file that travels alone (EXPORTED) imports nothing of the package, so any other may take a function from it.
# `root` is the package's own __init__: who stands outside the story may take the public names from there.
ARROWS = {
    "densities": "",
    "score_matching": "densities",
    "noise_levels": "densities score_matching data",
    "networks": "densities score_matching noise_levels",
    "sampling": "densities score_matching noise_levels networks",
    "pipelines": "densities score_matching noise_levels networks sampling",
    "data": "",
    "diagnostics": "densities score_matching noise_levels networks sampling",
    "convert": "noise_levels networks sampling pipelines",
    "hub": "noise_levels networks sampling pipelines",
    "root": "densities score_matching noise_levels networks sampling pipelines data diagnostics convert hub",
    "lecture": "root densities score_matching noise_levels networks sampling pipelines data diagnostics",
    "space": "root densities score_matching noise_levels networks sampling pipelines data diagnostics lecture",
    "train": "root densities score_matching noise_levels networks sampling pipelines data diagnostics hub",
}
ARROWS = {name: set(row.split()) for name, row in ARROWS.items()}

EXPORTED = ("modeling_*.py", "scheduling_*.py", "pipeline_*.py")
EXPORTED_MAY_IMPORT = set(sys.stdlib_module_names) | {"torch", "numpy", "PIL", "diffusers"}
MATHEMATICS = {"math", "cmath", "decimal", "fractions", "random", "statistics"}
TOP_LEVEL = set(
    "app.py requirements.txt requirements-dev.txt README.md CHANGELOG.md LICENSE pyproject.toml Makefile "
    "ncsn_pipeline train tests pretrained benchmarks".split()
)
SHAPELESS_NAMES = {"utils.py", "helpers.py", "misc.py"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib"}
# In two halves, so that this file does not hold what it forbids.
FORBIDDEN_TEXT = [
    first + second
    for first, second in (
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/opt/", "pypi"),
        ("/opt/", "wheels"),
        ("../", "shared"),
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("registry.", "npmjs"),
        ("deb.", "debian.org"),
    )
]
IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn", "pyyaml": "yaml", "torch-fidelity": "torch_fidelity"}


# What there is to read


def product_files() -> list[Path]:
    """What is or would be committed; without git, everything that `.gitignore` does not name."""
    git = run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"])
    if (ROOT / ".git").exists() and git.returncode == 0:
        found = [ROOT / name for name in git.stdout.split("\0") if name]
    else:
        ignored = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split())]
        found = [
            path
            for path in ROOT.rglob("*")
            if not any(fnmatch(part, pattern) for part in path.relative_to(ROOT).parts for pattern in ignored)
        ]
    return sorted(path for path in found if path.is_file())


FILES = product_files()


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*starts: str) -> list[Path]:
    return [path for path in FILES if path.suffix == ".py" and name_of(path).startswith(starts)]


def is_exported(path: Path) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in EXPORTED)


def every(paths: list[Path]) -> pytest.MarkDecorator:
    """One test a file, named after it."""
    return pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in paths])


def imports(source: str, name: str) -> list[tuple[str, ast.AST]]:
    """Every module that the file `name` imports, absolute and dotted, `from a import b` as `a.b`."""
    here = Path(name).parent.parts
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            found += [(f"{module}.{alias.name}", node) for alias in node.names]
    return found


def unit_of(name: str) -> str:
    """The row of `ARROWS` that a file belongs to."""
    parts = Path(name).with_suffix("").parts
    if parts[0] != PACKAGE:
        return parts[0]
    return "root" if parts[1] == "__init__" else parts[1]


def imported_unit(module: str) -> str | None:
    """The row of `ARROWS` that a dotted import leads to; None if it leaves the project."""
    parts = module.split(".")
    if parts[0] == "train":
        return "train"
    if parts[0] != PACKAGE:
        return None
    if len(parts) > 2 and is_exported(Path(f"{parts[2]}.py")):
        return None
    inside = len(parts) > 1 and (parts[1] in ARROWS or (ROOT / PACKAGE / parts[1]).with_suffix(".py").is_file())
    return parts[1] if inside else "root"


# The rules


def wrong_arrows(source: str, name: str) -> list[str]:
    here = unit_of(name)
    if here not in ARROWS:
        return [f"{name}: `{here}` has no row in ARROWS; give it one, as far left in the story as it can stand"]
    reached = ((imported_unit(module), node) for module, node in imports(source, name))
    return [
        f"{name}:{node.lineno}: {here} may not import {unit}"
        for unit, node in reached
        if unit not in {None, here} | ARROWS[here]
    ]


def not_self_contained(source: str, name: str) -> list[str]:
    complaints = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            complaints.append(f"{name}:{node.lineno}: a relative import; this file travels to the Hub alone")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            complaints += [
                f"{name}:{node.lineno}: imports {module}; allowed are stdlib, torch, numpy, PIL, diffusers"
                for module in modules
                if module.split(".")[0] not in EXPORTED_MAY_IMPORT
            ]
    return complaints


def not_only_a_page(source: str, name: str) -> list[str]:
    allowed = (set(sys.stdlib_module_names) - MATHEMATICS) | {"gradio"}
    return [
        f"{name}:{node.lineno}: imports {module}; the page is built in {PACKAGE}.space"
        for module, node in imports(source, name)
        if module.split(".")[0] not in allowed and not f"{module}.".startswith(f"{PACKAGE}.space.")
    ]


def unsafe_calls(source: str, name: str) -> list[str]:
    """`torch.load` without `weights_only=True`, `numpy.load` that unpickles, and `.cuda()`."""
    tree = ast.parse(source)
    full = {}  # local name -> dotted name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    complaints = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, dot, rest = ast.unparse(node.func).partition(".")
        called = full.get(first, first) + dot + rest
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in ("torch.load", "torch.serialization.load") and given.get("weights_only") != "True":
            complaints.append(f"{name}:{node.lineno}: torch.load without weights_only=True runs what the file says")
        if called == "numpy.load" and given.get("allow_pickle", "False") != "False":
            complaints.append(f"{name}:{node.lineno}: numpy.load with allow_pickle runs what the file says")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
            complaints.append(f"{name}:{node.lineno}: .cuda() fails without a GPU; use .to(device)")
    return complaints


def unpickling_imports(source: str, name: str) -> list[str]:
    return [
        f"{name}:{node.lineno}: imports {module}; files are safetensors"
        for module, node in imports(source, name)
        if module.split(".")[0] in UNPICKLERS
    ]


def undocumented(source: str, name: str) -> list[str]:
    """A module, public function or public class without docstring, or an argument without annotation."""
    tree = ast.parse(source)
    complaints = [] if ast.get_docstring(tree) else [f"{name}:1: the module has no docstring"]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            complaints.append(f"{name}:{node.lineno}: {node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            methods = [m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
            functions = [m for m in methods if not m.name.startswith("_") or m.name in ("__init__", "__call__")]
        else:
            functions = [node]
        for function in functions:
            arguments = function.args
            every_one = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every_one += filter(None, [arguments.vararg, arguments.kwarg])
            complaints += [
                f"{name}:{argument.lineno}: {function.name}: argument {argument.arg} has no annotation"
                for argument in every_one
                if argument.annotation is None and argument.arg not in ("self", "cls")
            ]
    return complaints


def forbidden_text(text: str, name: str) -> list[str]:
    return [
        f"{name}:{number}: {words!r} means nothing on another machine"
        for number, line in enumerate(text.splitlines(), 1)
        for words in FORBIDDEN_TEXT
        if words in line
    ]


def strangers(names: list[str]) -> list[str]:
    """Entries at the top level that are neither agreed on nor hidden."""
    return sorted({name.split("/")[0] for name in names if not name.startswith(".")} - TOP_LEVEL)


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


def undeclared(source: str, name: str, core: set[str], extras: dict[str, set[str]]) -> list[str]:
    """Imports that an installation would lack: eager ones need a dependency, those inside functions an extra."""
    here = unit_of(name)
    at_home = set(sys.stdlib_module_names) | {PACKAGE, "train"}
    if here == "train":
        at_home |= {path.stem for path in (ROOT / "train").glob("*.py")}
    eager = at_home | core | extras.get(here, set())
    late = eager.union(*extras.values())
    executed = run_when_imported(ast.parse(source))
    places = {(node.lineno, node.col_offset) for node in executed if isinstance(node, ast.Import | ast.ImportFrom)}
    return [
        f"{name}:{node.lineno}: {module.split('.')[0]} is no dependency of {here} in pyproject.toml"
        for module, node in imports(source, name)
        if module.split(".")[0] not in (eager if (node.lineno, node.col_offset) in places else late)
    ]


def disagreements(declared: list[str], pinned: list[str]) -> list[str]:
    """Dependencies without an exact pin, and pins outside what is declared."""
    pins = {}
    complaints = []
    for line in pinned:
        requirement = Requirement(line)
        versions = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        if len(versions) == 1 and not versions[0].endswith("*"):
            pins[normal(requirement.name)] = versions[0]
        else:
            complaints.append(f"{line} is not pinned exactly")
    for requirement in map(Requirement, declared):
        pin = pins.get(normal(requirement.name))
        if pin is None:
            complaints.append(f"{requirement} is declared and not pinned")
        elif not requirement.specifier.contains(pin, prereleases=True):
            complaints.append(f"{requirement} is declared, {pin} is pinned")
    return complaints


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(file: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def import_names(requirements: list[str]) -> set[str]:
    names = (Requirement(line).name for line in requirements)
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


# The rules over the whole tree

OURS = python_files(f"{PACKAGE}/", "train/")
ALL_PYTHON = python_files("")


@every(OURS)
def test_imports_follow_the_story(path):
    assert wrong_arrows(path.read_text(), name_of(path)) == []


def test_the_story_has_no_circle():
    """Striking out, again and again, who imports nobody that is left ends with nobody."""
    left = dict(ARROWS)
    while ready := [name for name, may in left.items() if not may & left.keys()]:
        for name in ready:
            del left[name]
    assert left == {}


@every([path for path in OURS if is_exported(path)])
def test_exported_files_travel_alone(path):
    assert not_self_contained(path.read_text(), name_of(path)) == []


def test_exported_files_have_distinctive_names():
    """The Hub's cache puts every exported file into one folder, and diffusers' own files have names too."""
    ours = Counter(path.name for path in OURS if is_exported(path))
    theirs = {
        path.name for folder in find_spec("diffusers").submodule_search_locations for path in Path(folder).rglob("*.py")
    }
    assert [name for name, times in ours.items() if times > 1 or name in theirs] == []


@every(python_files("app.py"))
def test_the_app_holds_no_mathematics(path):
    assert not_only_a_page(path.read_text(), name_of(path)) == []


def test_the_top_level_holds_what_was_agreed():
    assert strangers([name_of(path) for path in FILES]) == []


def test_no_file_has_a_shapeless_name():
    assert [name_of(path) for path in FILES if path.name in SHAPELESS_NAMES] == []


def test_every_folder_of_the_package_is_a_package():
    """The wheel holds only folders that have an `__init__.py`."""
    folders = {path.parent for path in python_files(f"{PACKAGE}/")}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@every(ALL_PYTHON)
def test_nothing_unpickles_or_insists_on_a_gpu(path):
    assert unsafe_calls(path.read_text(), name_of(path)) == []


@every(python_files(f"{PACKAGE}/", "train/", "app.py"))
def test_nothing_imports_pickle(path):
    assert unpickling_imports(path.read_text(), name_of(path)) == []


@every(python_files(f"{PACKAGE}/", "train/", "app.py", "benchmarks/"))
def test_public_names_are_documented_and_annotated(path):
    assert undocumented(path.read_text(), name_of(path)) == []


def test_no_text_names_a_machine():
    complaints = []
    for path in FILES:
        data = path.read_bytes()
        if b"\0" not in data:
            complaints += forbidden_text(data.decode(errors="replace"), name_of(path))
    assert complaints == []


@every(OURS)
def test_imports_are_declared(path):
    project = pyproject()
    extras = {extra: import_names(lines) for extra, lines in project["optional-dependencies"].items()}
    assert undeclared(path.read_text(), name_of(path), import_names(project["dependencies"]), extras) == []


def test_pins_agree_with_what_is_declared():
    project = pyproject()
    extras = project["optional-dependencies"]
    for_the_space, for_the_tests = pins("requirements.txt"), pins("requirements-dev.txt")
    assert disagreements(project["dependencies"] + extras["space"], for_the_space) == []
    assert disagreements(project["dependencies"] + extras["train"], for_the_space + for_the_tests) == []
    names = [normal(Requirement(line).name) for line in for_the_space + for_the_tests]
    assert [name for name, times in Counter(names).items() if times > 1] == []


# The rules over bad snippets


@pytest.mark.parametrize(
    "name, source",
    [
        ("densities/mixture.py", "from ncsn_pipeline.sampling import langevin"),
        ("densities/mixture.py", "from ncsn_pipeline import sampling"),
        ("densities/mixture.py", "from ncsn_pipeline import NCSNPipeline"),
        ("densities/mixture.py", "from ..sampling import langevin_step"),
        ("densities/mixture.py", "from .. import sampling"),
        ("densities/mixture.py", "import ncsn_pipeline.sampling.langevin"),
        ("densities/mixture.py", "def f():\n    from ncsn_pipeline.sampling import langevin"),
        ("pipelines/pipeline_ncsn.py", "import train.train"),
        ("hub.py", "from .space import limits"),
        ("__init__.py", "from .space import limits"),
        ("somewhere/new.py", "import torch"),
    ],
)
def test_a_wrong_arrow_is_noticed(name, source):
    assert len(wrong_arrows(source, f"{PACKAGE}/{name}")) == 1


@pytest.mark.parametrize(
    "name, source",
    [
        ("ncsn_pipeline/sampling/langevin.py", "from ..densities import mixture\nfrom .likelihood import log_prob"),
        ("ncsn_pipeline/densities/__init__.py", "from .mixture import GaussianMixture\nimport torch.nn"),
        ("ncsn_pipeline/lecture/mixing.py", "from ncsn_pipeline import GaussianMixture"),
        ("train/train.py", "from ncsn_pipeline.data import load_images\nfrom config import TrainConfig"),
    ],
)
def test_a_right_arrow_is_let_through(name, source):
    assert wrong_arrows(source, name) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .langevin import step",
        "from . import langevin",
        "import ncsn_pipeline",
        "from ncsn_pipeline.densities import mixture",
        "import torch, scipy.stats",
        "def f():\n    import safetensors",
    ],
)
def test_an_exported_file_that_leans_on_others_is_noticed(source):
    assert len(not_self_contained(source, "modeling_x.py")) == 1
    assert not_self_contained("import math\nimport torch.nn\nfrom diffusers.utils import BaseOutput", "x.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import numpy as np",
        "import math",
        "from ncsn_pipeline.sampling import x",
        "import ncsn_pipeline",
    ],
)
def test_mathematics_in_the_app_is_noticed(source):
    assert len(not_only_a_page(source, "app.py")) == 1
    assert not_only_a_page("import os\nimport gradio as gr\nfrom ncsn_pipeline.space import build", "app.py") == []
    assert not_only_a_page("from ncsn_pipeline import space", "app.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path, map_location='cpu')",
        "from torch import load\nload(path)",
        "from torch import load as read\nread(path)",
        "from torch import serialization\nserialization.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "model.cuda()",
        "torch.randn(3).cuda(0)",
    ],
)
def test_an_unsafe_call_is_noticed(source):
    assert len(unsafe_calls(source, "x.py")) == 1


def test_a_safe_call_is_let_through():
    source = "import json, torch\ntorch.load(path, weights_only=True)\njson.load(file)\ntorch.cuda.is_available()"
    assert unsafe_calls(source, "x.py") == []


@pytest.mark.parametrize("source", ["import pickle", "from pickle import loads", "def f():\n    import dill as d"])
def test_an_unpickler_is_noticed(source):
    assert len(unpickling_imports(source, "x.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""M."""\ndef f(): ...',
        '"""M."""\nclass C: ...',
        '"""M."""\ndef f(x):\n    """F."""',
        '"""M."""\ndef f(*, x):\n    """F."""',
        '"""M."""\ndef f(**x):\n    """F."""',
        '"""M."""\nclass C:\n    """C."""\n    def __init__(self, x): ...',
    ],
)
def test_a_missing_docstring_or_annotation_is_noticed(source):
    assert len(undocumented(source, "x.py")) == 1
    assert undocumented('"""M."""\ndef f(x: int):\n    """F."""\ndef _g(y): ...', "x.py") == []


@pytest.mark.parametrize("words", FORBIDDEN_TEXT)
def test_a_machine_is_noticed(words):
    assert len(forbidden_text(f"first line\nsee {words} there", "x.md")) == 1


def test_a_stranger_at_the_top_level_is_noticed():
    assert strangers(["app.py", "train/train.py", ".github/x.yml", "notes.txt", "src/x.py"]) == ["notes.txt", "src"]


@pytest.mark.parametrize(
    "name, source, expected",
    [
        ("ncsn_pipeline/data.py", "import datasets", 1),
        ("ncsn_pipeline/data.py", "try:\n    import datasets\nexcept ImportError:\n    datasets = None", 1),
        ("ncsn_pipeline/data.py", "def f():\n    import pandas", 1),
        ("ncsn_pipeline/data.py", "def f():\n    import datasets", 0),
        ("ncsn_pipeline/data.py", "import torch\nfrom .densities import x", 0),
        ("train/train.py", "import datasets", 0),
    ],
)
def test_an_undeclared_import_is_noticed(name, source, expected):
    assert len(undeclared(source, name, {"torch"}, {"train": {"datasets"}})) == expected


@pytest.mark.parametrize(
    "declared, pinned",
    [
        (["torch>=2.13"], ["torch==2.12.1"]),
        (["gradio>=6.31,<7"], ["gradio==7.0.0"]),
        (["torch>=2.13"], []),
        ([], ["torch>=2.13"]),
        ([], ["torch==2.*"]),
    ],
)
def test_a_pin_that_disagrees_is_noticed(declared, pinned):
    assert len(disagreements(declared, pinned)) == 1
    assert disagreements(["huggingface_hub>=2"], ["huggingface-hub==2.4.0"]) == []
