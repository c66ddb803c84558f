"""The models that come with the package: `NCSNPipeline.from_pretrained("mnist")`, or `"pretrained/mnist"`."""

import os
from pathlib import Path

MODELS = ("avatars", "avatars-fast", "mnist", "mnist-fast")  # that draw; beside them lie classifiers

# In a wheel beside the code, in a checkout beside the package's folder.
PLACES = (Path(__file__).with_name("pretrained"), Path(__file__).resolve().parents[1] / "pretrained")


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped model or classifier, or `None` where there is none of that name."""
    name = name.removeprefix("./pretrained/").removeprefix("pretrained/")
    named = bool(name) and Path(name).name == name  # of an explicit path that is not there, ./mnist, no other is taken
    return next((place / name for place in PLACES if named and (place / name).is_dir()), None)


def examples(model: str | Path = "mnist") -> list[Path]:
    """The pictures in the folder `examples` of a model, test images of its data, in the order of their names.

    Args:
        model: a folder, or the name of a shipped model.
    """
    return sorted((Path(folder_or_shipped(str(model))) / "examples").glob("*.png"))


def folder_or_shipped(name: str) -> str:
    """`name`, `~` written out, or the folder of the shipped model of that name where no folder here has it."""
    name = os.path.expanduser(name)
    found = None if Path(name).is_dir() else shipped_folder(name)
    return name if found is None else str(found)
