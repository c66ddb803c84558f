"""What goes to the Hub: an allow-list, so that nothing lying in the folder by chance goes with it.

Of a pipeline folder these are `model_index.json`, the file of the pipeline's code, the folder of each component with
its configuration, code and safetensors weights, the card, its pictures and its JSON files; of this project, what the
Space runs on, and the pictures and pages that its README links to.  Checkpoints, logs, half-written files and
everything else that is hidden stay here.
"""

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..shipped import MODELS

INDEX = "model_index.json"
CARD = "README.md"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SAMPLES = "samples.png"
REPAIRS = "repairs.png"  # of marked, grey, coarse pictures
PICTURES = (SAMPLES, REPAIRS)
# `ncsn evaluate` writes into a folder `evaluation` beside the weights; older ones lie there themselves.
EVALUATIONS = ("evaluation.json", "evaluation/evaluation.json")
SWEEPS = ("sweep.json", "evaluation/sweep.json")
FACT_FILES = ("card.json", "train_config.json", "training.json", *EVALUATIONS, *SWEEPS)

SPACE_FILES = ("app.py", "requirements.txt", "README.md")
SPACE_FOLDERS = (
    "ncsn_pipeline", *(f"pretrained/{name}" for name in (*MODELS, "mnist_classifier", "avatars_classifier"))
)  # fmt: skip
SPACE_SUFFIXES = (".py", ".css", ".js", ".html", ".svg", ".json", ".yaml", ".safetensors", ".png", ".md", ".typed")

# [words](path), ![words](path), src="path" and srcset="path"
_LINK = re.compile(r"""(?:\]\(|\b(?:src|srcset|href)=")([^)"\s]+)""")
_SECRET_NAME = re.compile(r"token|secret|password|api_key", re.IGNORECASE)
_SECRET_ARGUMENT = re.compile(
    r"((?<!\w)--?[\w-]*(?:token|secret|password|api[_-]key)[\w-]*[=\s]+)(?!--)\S+", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b")
_ABSOLUTE_FOLDER = re.compile(r"""(^|(?<=[\s="']))(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\"'{:]+[/\\])+""")
# A whole text: its folders may have spaces in their names, and no sentence, flag or other path comes after a space.
_ABSOLUTE_PATH = re.compile(
    r"(?:~?/|[A-Za-z]:[/\\]|\\\\)(?:(?!\s(?:--?\w|~?/|[A-Za-z]:\\)|[,:.;]\s)[^\n{])*[^\n{/\\][/\\]*"
)
# Of a component, beside the file of its code.
_COMPONENT_FILE = re.compile(
    r"(?:\w+_)?config\.json|diffusion_pytorch_model[\w.-]*\.safetensors(?:\.index(?:\.[\w-]+)?\.json)?"
)
# Of one of another library, which knows best what it reads.
_FOREIGN_FILE = re.compile(r"[^.].*\.(?:json|py|safetensors|txt)")


def pipeline_files(folder: str | Path) -> dict[str, Path]:
    """The files of a pipeline folder that belong on the Hub.

    Args:
        folder: as `NCSNPipeline.save_pretrained` writes it.

    Returns:
        Path in the repository -> file.

    Raises:
        ValueError: for a folder that would not load from the Hub, saying what it lacks.
    """
    folder = Path(folder).expanduser()
    index = _index(folder)
    files = {INDEX: folder / INDEX}
    class_name = index.get("_class_name")
    if isinstance(class_name, list):
        files[f"{class_name[0]}.py"] = folder / f"{class_name[0]}.py"
    for name, (library, class_name) in _components(index).items():
        if library is not None:
            files |= _component_files(folder, name, library, class_name)
    for name in (CARD, *PICTURES, *FACT_FILES):
        if (folder / name).is_file():
            files[name] = folder / name
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}. Save the pipeline again by `save_pretrained`.")
    return files


def component_folders(folder: str | Path) -> list[str]:
    """The names of the components that a pipeline folder holds."""
    return [
        name for name, (library, _) in _components(_index(Path(folder).expanduser())).items() if library is not None
    ]


def main_weights(folder: Path) -> list[Path]:
    """The files of weights of a network's folder that are loaded without naming a variant.

    Raises:
        ValueError: where there are none, or one of several parts is missing.
    """
    whole, index = folder / WEIGHTS, folder / f"{WEIGHTS}.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        variants = [path.name for path in sorted(folder.glob("*.safetensors"))]
        beside = f"; {', '.join(variants)} would be loaded by a variant's name only" if variants else ""
        raise ValueError(
            f"{folder} holds no {WEIGHTS}{beside}. Save the pipeline without a variant, with safe_serialization=True."
        )
    try:
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} names no parts: {error!r}. Save the pipeline again.") from error
    if missing := [part for part in parts if not (folder / part).is_file()]:
        raise ValueError(f"{folder} lacks {', '.join(missing)}, of {len(parts)} parts. Save the pipeline again.")
    return [folder / part for part in parts]


def _check_whole(path: Path) -> None:
    """Refuses a file of weights that was cut off.

    Raises:
        ValueError: saying so.
    """
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole file of weights: {error}. Save the pipeline again.") from error


def space_files(root: str | Path) -> dict[str, Path]:
    """What the Space runs on: page, requirements, package and model; and the files that its README shows or links to.

    Args:
        root: the folder that holds `app.py`.

    Returns:
        Path in the repository -> file.

    Raises:
        ValueError: if something of it is missing.
    """
    root = Path(root).expanduser()
    missing = [name for name in (*SPACE_FILES, *SPACE_FOLDERS) if not (root / name).exists()]
    if missing:
        raise ValueError(f"{root} lacks {', '.join(missing)}. Run this in a checkout of the project, or give --root.")
    files = {name: root / name for name in SPACE_FILES}
    for start in SPACE_FOLDERS:
        for path in sorted((root / start).rglob("*")):
            name = path.relative_to(root)
            hidden = any(part.startswith((".", "__pycache__", "checkpoint-")) for part in name.parts)
            if path.is_file() and path.suffix in SPACE_SUFFIXES and not hidden:
                files[name.as_posix()] = path
    return files | _linked_files(root)


def publishable(value: Any) -> Any:
    """A value read from JSON without tokens and without the folders of the machine that wrote it.

    An entry with `token`, `secret`, `password` or `api_key` in its name is left out, such an argument in a command
    becomes `***`, and of an absolute path only the last name stays; within a text, of one without spaces.
    """
    if isinstance(value, dict):
        return {name: publishable(entry) for name, entry in value.items() if not _SECRET_NAME.search(name)}
    if isinstance(value, list):
        return [publishable(entry) for entry in value]
    if isinstance(value, str):
        value = _SECRET_VALUE.sub("***", _SECRET_ARGUMENT.sub(r"\1***", value))
        if _ABSOLUTE_PATH.fullmatch(value):
            return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
        return _ABSOLUTE_FOLDER.sub("", value)
    return value


def published_bytes(path: Path) -> bytes | None:
    """The content of a JSON file as it may be read by everyone; `None` if that is the file as it is."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Repair it or take it away.") from error
    clean = publishable(value)
    return None if clean == value else json.dumps(clean, indent=2).encode() + b"\n"


def _linked_files(root: Path) -> dict[str, Path]:
    """The files below `root` that its README shows or links to, by their paths from there."""
    here = root.resolve()
    links = dict.fromkeys(_LINK.findall((here / CARD).read_text(encoding="utf-8")))
    paths = {link: (here / link).resolve() for link in links}
    return {link: path for link, path in paths.items() if path.is_file() and path.is_relative_to(here)}


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder} is no pipeline folder: it has no {INDEX}. Give one that `save_pretrained` wrote.")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Save the pipeline again.") from error
    if not isinstance(index, dict) or not _components(index):
        raise ValueError(f"{path} names no components. Save the pipeline again by `save_pretrained`.")
    return index


def _components(index: dict[str, Any]) -> dict[str, list]:
    return {
        name: value
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2
    }


def _component_files(folder: Path, name: str, library: str, class_name: str) -> dict[str, Path]:
    if "." in library:
        raise ValueError(
            f"{folder / INDEX} refers to {name} as {library}.{class_name}, which exists only where that package is "
            "installed. Save the pipeline by `NCSNPipeline.save_pretrained`, which puts the code beside the weights."
        )
    own = library.startswith(("modeling_", "scheduling_"))
    known = _COMPONENT_FILE if own or library == "diffusers" else _FOREIGN_FILE
    found = sorted((folder / name).glob("*")) if (folder / name).is_dir() else []
    files = {f"{name}/{path.name}": path for path in found if path.is_file() and known.fullmatch(path.name)}
    configurations = [path for path in files if path.endswith("config.json")]
    if not configurations:
        raise ValueError(f"{folder} lacks the configuration of {name}. Save the pipeline again by `save_pretrained`.")
    if f"{name}/config.json" in configurations:
        for path in {*main_weights(folder / name), *(path for path in files.values() if path.suffix == ".safetensors")}:
            _check_whole(path)
    if own:
        files[f"{name}/{library}.py"] = folder / name / f"{library}.py"
    return files
