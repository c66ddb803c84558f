"""The rules that keep the project readable: who imports whom, what travels alone, what is never written.

A rule is a function from a file's syntax tree to a list of complaints. One test runs it over all files, another over
bad snippets, so that a rule which cannot fail is noticed. Style is ruff's: `pyproject.toml` names its rules.
"""

import ast
import json
import sys
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.processes import run
from tests.source_tree import OURS, PACKAGE, ROOT, assert_noticed, complaints, files, imports, starting, trees, unit_of

# densities -> score_matching -> noise_levels -> networks -> sampling -> pipelines -> (train, space, hub)
# Each folder or file may import those on its right-hand side; importing from itself is always allowed.
# A file that travels alone (EXPORTED) imports nothing of the package, so any other may take a function from it.
# `root` is the package's own __init__: who stands outside the story may take the public names from there.
ARROWS = {
    "densities": "data",
    "score_matching": "densities",
    "noise_levels": "densities score_matching data",
    "guidance": "densities",
    "networks": "densities score_matching noise_levels",
    "sampling": "densities score_matching noise_levels guidance networks",
    "pipelines": "finding densities score_matching noise_levels guidance networks sampling data",
    "data": "cache",
    "diagnostics": "densities score_matching noise_levels networks sampling",
    "convert": "noise_levels networks sampling pipelines",
    "hub": "shipped fingerprint samplers noise_levels networks sampling pipelines",
    "root": "densities score_matching noise_levels guidance networks sampling pipelines data diagnostics convert hub",
    "lecture": "root densities score_matching noise_levels networks sampling pipelines data diagnostics",
    "shipped": "",
    "cache": "",
    "data_flags": "",
    "devices": "",
    "errors": "",
    "fingerprint": "",
    "finding": "shipped cache",
    "samplers": "sampling",
    "__main__": "commands",
    "evaluation": "shipped finding fingerprint data_flags devices errors samplers noise_levels networks sampling "
    "pipelines data diagnostics",
    "training": "errors densities score_matching noise_levels guidance networks sampling pipelines data diagnostics "
    "hub evaluation",
    "commands": "root shipped data_flags devices errors samplers sampling pipelines noise_levels data convert hub "
    "lecture training evaluation space",
    "interop": "pipelines",
    "space": "root shipped samplers evaluation densities score_matching noise_levels guidance networks sampling "
    "pipelines data diagnostics lecture",
    "train": "training commands evaluation data",
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


def is_exported(name: str) -> bool:
    return any(fnmatch(Path(name).name, pattern) for pattern in EXPORTED)


def imported_unit(module: str) -> str | None:
    """The row of `ARROWS` that a dotted import leads to; None if it leaves the project."""
    parts = module.split(".")
    if parts[0] == "train":
        return "train"
    if parts[0] != PACKAGE or (len(parts) > 2 and is_exported(f"{parts[2]}.py")):
        return None
    inside = len(parts) > 1 and (parts[1] in ARROWS or (ROOT / PACKAGE / parts[1]).with_suffix(".py").is_file())
    return parts[1] if inside else "root"


def wrong_arrows(tree: ast.AST, name: str) -> list[str]:
    here = unit_of(name)
    if here not in ARROWS:
        return [f"{name}: `{here}` has no row in ARROWS; give it one, as far left in the story as it can stand"]
    reached = ((imported_unit(module), node) for module, node in imports(tree, name))
    return [
        f"{name}:{node.lineno}: {here} may not import {unit}"
        for unit, node in reached
        if unit not in {None, here} | ARROWS[here]
    ]


def test_imports_follow_the_story():
    assert complaints(wrong_arrows, starting(*OURS)) == []


def test_the_story_has_no_circle():
    """Striking out, again and again, who imports nobody that is left ends with nobody."""
    left = dict(ARROWS)
    while ready := [name for name, may in left.items() if not may & left.keys()]:
        for name in ready:
            del left[name]
    assert left == {}


@pytest.mark.parametrize(
    "name, source",
    [
        ("ncsn_pipeline/densities/mixture.py", "from ncsn_pipeline.sampling import langevin"),
        ("ncsn_pipeline/densities/mixture.py", "from ncsn_pipeline import sampling"),
        ("ncsn_pipeline/densities/mixture.py", "from ncsn_pipeline import NCSNPipeline"),
        ("ncsn_pipeline/densities/mixture.py", "from .. import sampling"),
        ("ncsn_pipeline/densities/mixture.py", "import ncsn_pipeline.sampling.langevin"),
        ("ncsn_pipeline/densities/mixture.py", "def f():\n    from ..sampling.langevin import langevin_step"),
        ("ncsn_pipeline/pipelines/pipeline_ncsn.py", "import train.train"),
        ("ncsn_pipeline/hub.py", "from .space import limits"),
        ("ncsn_pipeline/__init__.py", "from .space import limits"),
        ("ncsn_pipeline/somewhere/new.py", "import torch"),
    ],
)
def test_a_wrong_arrow_is_noticed(name, source):
    assert len(wrong_arrows(ast.parse(source), name)) == 1


def test_right_arrows_are_let_through():
    right = {
        "ncsn_pipeline/sampling/langevin.py": "from ..densities import mixture\nfrom .likelihood import log_prob",
        "ncsn_pipeline/densities/__init__.py": "from .mixture import GaussianMixture\nimport torch.nn",
        "ncsn_pipeline/noise_levels/step_size.py": "from ncsn_pipeline.sampling.scheduling_x import check_noise_levels",
        "ncsn_pipeline/lecture/mixing.py": "from ncsn_pipeline import GaussianMixture",
        "train/train.py": "from ncsn_pipeline.training.train import main",
    }
    assert [complaint for name, source in right.items() for complaint in wrong_arrows(ast.parse(source), name)] == []


def programs_borrowed_from(tree: ast.AST, name: str) -> list[str]:
    """Tests and benchmarks share helpers; none reaches into another, and none changes where modules are found."""
    programs = {path.removesuffix(".py").replace("/", ".") for path in starting("tests/", "benchmarks/") if runs(path)}
    found = [
        f"{name}:{node.lineno}: imports {module}, which is a test or a benchmark"
        for module, node in imports(tree, name)
        if module in programs or module.rpartition(".")[0] in programs
    ]
    text = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return found + [f"{name}: {call}" for call in text if call.startswith("sys.path.")]


def runs(name: str) -> bool:
    """Whether a file is a test, or a benchmark that is called by its name."""
    if name.startswith("tests/"):
        return Path(name).name.startswith("test_")
    return 'if __name__ == "__main__"' in files()[name].read_text(encoding="utf-8")


def test_no_test_or_benchmark_imports_another():
    assert complaints(programs_borrowed_from, starting("tests/", "benchmarks/", *OURS)) == []
    assert_noticed(
        programs_borrowed_from,
        "from benchmarks.lecture import claims_table",
        "from benchmarks import lecture",
        "from tests.space.test_abuse import bomb",
        "sys.path.insert(0, '.')",
    )


def not_self_contained(tree: ast.AST, name: str) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append(f"{name}:{node.lineno}: a relative import; this file travels to the Hub alone")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [
                f"{name}:{node.lineno}: imports {module}; allowed are stdlib, torch, numpy, PIL, diffusers"
                for module in modules
                if module.split(".")[0] not in EXPORTED_MAY_IMPORT
            ]
    return found


def test_exported_files_travel_alone():
    assert complaints(not_self_contained, filter(is_exported, starting(*OURS))) == []


def test_an_exported_file_that_leans_on_others_is_noticed():
    assert_noticed(
        not_self_contained,
        "from .langevin import step",
        "from . import langevin",
        "import ncsn_pipeline",
        "from ncsn_pipeline.densities import mixture",
        "import torch, scipy.stats",
        "def f():\n    import safetensors",
        "import math\nimport torch.nn\nfrom diffusers.utils import BaseOutput\nimport yaml",
    )


def test_exported_files_have_distinctive_names():
    """The Hub's cache puts every exported file into one folder, and diffusers' own files have names too."""
    ours = Counter(Path(name).name for name in filter(is_exported, starting(*OURS)))
    folders = find_spec("diffusers").submodule_search_locations
    theirs = {path.name for folder in folders for path in Path(folder).rglob("*.py")}
    assert [name for name, times in ours.items() if times > 1 or name in theirs] == []


def not_only_a_page(tree: ast.AST, name: str) -> list[str]:
    allowed = (set(sys.stdlib_module_names) - MATHEMATICS) | {"gradio"}
    return [
        f"{name}:{node.lineno}: imports {module}; the page is built in {PACKAGE}.space"
        for module, node in imports(tree, name)
        if module.split(".")[0] not in allowed and not f"{module}.".startswith(f"{PACKAGE}.space.")
    ]


def test_the_app_holds_no_mathematics():
    assert complaints(not_only_a_page, ["app.py"]) == []
    assert_noticed(
        not_only_a_page,
        "import torch",
        "import numpy as np",
        "import math",
        "from ncsn_pipeline.sampling import x",
        "import ncsn_pipeline",
        "import os\nimport gradio as gr\nfrom ncsn_pipeline.space import build\nfrom ncsn_pipeline import space, data",
    )


def dotted(node: ast.AST) -> str:
    """`a.b.c`; whatever is no name before the first dot is left out."""
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def unsafe(tree: ast.AST, name: str) -> list[str]:
    """Whatever unpickles: `torch.load` without `weights_only=True`, `numpy.load` with `allow_pickle`; and `.cuda()`."""
    full = {}  # local name -> dotted name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, dot, rest = dotted(node.func).partition(".")
        called = full.get(first, first) + dot + rest
        given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if called in ("torch.load", "torch.serialization.load") and given.get("weights_only") is not True:
            found.append(f"{name}:{node.lineno}: torch.load without weights_only=True runs what the file says")
        if called == "numpy.load" and given.get("allow_pickle", False) is not False:
            found.append(f"{name}:{node.lineno}: numpy.load with allow_pickle runs what the file says")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
            found.append(f"{name}:{node.lineno}: .cuda() fails without a GPU; use .to(device)")
    return found


def in_the_locales_encoding(tree: ast.AST, name: str) -> list[str]:
    """Text that is read or written as the machine has it, which is CP1252 on one and UTF-8 on another."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [
        f'{name}:{node.lineno}: {ast.unparse(node.func)} without encoding="utf-8"'
        for node in calls
        if reads_or_writes_text(node) and "encoding" not in {word.arg for word in node.keywords}
    ]


def reads_or_writes_text(node: ast.Call) -> bool:
    last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    if last in ("read_text", "write_text"):
        return len(node.args) < (1 if last == "read_text" else 2)
    if given.get("text") is True:  # of a process
        return True
    words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    mode = given.get("mode") or next((word for word in words if word and not set(word) - set("rwaxbt+")), None)
    if last in ("open", "fdopen") and dotted(node.func).split(".")[0] not in ("Image", "os"):
        bare = isinstance(node.func, ast.Name) or (not node.args and not node.keywords)
        return "b" not in mode if mode else bare
    return False


def unpicklers(tree: ast.AST, name: str) -> list[str]:
    return [
        f"{name}:{node.lineno}: imports {module}; files are safetensors"
        for module, node in imports(tree, name)
        if module.split(".")[0] in UNPICKLERS
    ]


def test_nothing_unpickles_or_insists_on_a_gpu():
    """In the whole repository; its tests and benchmarks may write pickles to show that they are refused."""
    assert complaints(unsafe, trees()) == []
    assert complaints(unpicklers, starting(*OURS, "app.py")) == []


def test_what_unpickles_is_noticed():
    assert_noticed(
        unsafe,
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path, map_location='cpu')",
        "from torch import load\nload(path)",
        "from torch import load as read\nread(path)",
        "from torch import serialization\nserialization.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "model.cuda()",
        "import json, torch\njson.load(file)\ntorch.cuda.is_available()\n"
        "torch.load(path, weights_only=True)\ntorch.randn(3).cuda(0)",
    )
    assert_noticed(unpicklers, "import pickle", "from pickle import loads", "def f():\n    import dill as d")


def test_text_is_utf_8_everywhere():
    assert complaints(in_the_locales_encoding, trees()) == []
    assert_noticed(
        in_the_locales_encoding,
        "Path(x).read_text()",
        "path.write_text(words)",
        "open(path)",
        "open(path, 'w')",
        "(folder / 'log').open()",
        "path.open('a')",
        "path.open(mode='w+')",
        "subprocess.run(words, text=True)",
        "path.read_text(encoding='utf-8')\npath.write_text(x, encoding='utf-8')\nopen(p, 'rb')\npath.open('wb')\n"
        "Image.open(path)\npath.read_bytes()\nos.open(path, os.O_RDONLY)\npath.read_text()",
    )


def test_ruff_asks_for_docstrings_and_annotations(tmp_path):
    """Each file has one fault more than `good`, and `pyproject.toml` lets ruff see it."""
    good = '"""M."""\n\n\ndef f(x: int) -> int:\n    """F."""\n    return x\n\n\ndef _g() -> None: ...\n'
    klass = good + '\n\nclass C:\n    """C."""\n\n    def '
    sources = {
        "good": good,
        "D100 module": good.replace('"""M."""', ""),
        "D101 class": good + "\n\nclass C: ...\n",
        "D102 method": klass + "f(self) -> None: ...\n",
        "D102 call": klass + "__call__(self) -> None: ...\n",
        "D103 function": good.replace('"""F."""', ""),
        "ANN001 argument": good.replace("x: int", "x"),
        "ANN001 keyword": good.replace("x: int", "*, x"),
        "ANN001 init": klass + "__init__(self, x) -> None: ...\n",
        "ANN002 more": good.replace("x: int", "*x"),
        "ANN003 keywords": good.replace("x: int", "**x"),
        "ANN201 result": good.replace(" -> int", ""),
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    options = ["--no-cache", "--config", ROOT / "pyproject.toml", "--output-format", "json"]
    found = {name: [] for name in sources}
    for fault in json.loads(run([sys.executable, "-m", "ruff", "check", *options, tmp_path]).stdout):
        if fault["code"].startswith(("D", "ANN")):
            found[Path(fault["filename"]).stem].append(fault["code"])
    assert found == {name: [] if name == "good" else [name.split()[0]] for name in sources}


def undocumented(tree: ast.AST, name: str) -> list[str]:
    nodes = [tree, *(node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))]
    return [
        f"{name}: {getattr(node, 'name', 'the module')} has no docstring"
        for node in nodes
        if not getattr(node, "name", "").startswith("_") and not ast.get_docstring(node)
    ]


def is_private_for_ruff(name: str) -> bool:
    """Ruff asks for no docstrings in `_modules.py`, and of what a module's `__all__` leaves out."""
    return Path(name).name.startswith("_") or "__all__" in {
        ast.unparse(target) for node in trees()[name].body if isinstance(node, ast.Assign) for target in node.targets
    }


def test_what_ruff_takes_for_private_is_documented():
    assert complaints(undocumented, filter(is_private_for_ruff, starting(*OURS, "benchmarks/", "app.py"))) == []
    assert_noticed(undocumented, "x = 1", '"""M."""\ndef f(): ...', '"""M."""\nclass C: ...\ndef _g(): ...')


def forbidden_text(text: str, name: str) -> list[str]:
    return [
        f"{name}:{number}: {words!r} means nothing on another machine"
        for number, line in enumerate(text.splitlines(), 1)
        for words in FORBIDDEN_TEXT
        if words in line
    ]


def test_no_text_names_a_machine():
    texts = {name: data for name, path in files().items() if b"\0" not in (data := path.read_bytes())}
    assert [line for name, data in texts.items() for line in forbidden_text(data.decode(errors="replace"), name)] == []
    noticed = {words: len(forbidden_text(f"first line\nsee {words} there", "x.md")) for words in FORBIDDEN_TEXT}
    assert noticed == dict.fromkeys(FORBIDDEN_TEXT, 1)


def strangers(names: Iterable[str]) -> list[str]:
    """Entries at the top level that are neither agreed on nor hidden."""
    return sorted({name.split("/")[0] for name in names if not name.startswith(".")} - TOP_LEVEL)


def test_the_top_level_holds_what_was_agreed():
    assert strangers(files()) == []
    assert strangers(["app.py", "train/train.py", ".github/x.yml", "notes.txt", "src/x.py"]) == ["notes.txt", "src"]


def test_no_file_has_a_shapeless_name():
    assert [name for name in files() if Path(name).name in SHAPELESS_NAMES] == []


def test_every_folder_of_the_package_is_a_package():
    """The wheel holds only folders that have an `__init__.py`."""
    folders = {Path(name).parent for name in starting(f"{PACKAGE}/")}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []
