"""What the authors' code saves, read without running anything that is in the file.

    NCSN (2019)      [model, optimizer]
    NCSNv2 (2020)    [model, optimizer, epoch, step], and the EMA shadow as a fifth where there is one

`model` is a state dict whose names begin with `module.`; the shadow is the exponential moving average of its parameters
under the same names.  NCSNv2 keeps its noise levels beside them, as `sigmas`.  A state dict alone is taken as it is.
Names that `torch.compile` and FSDP lengthened are shortened; epoch and step may be NumPy's numbers.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LAYOUTS = (
    "[model, optimizer] (NCSN), [model, optimizer, epoch, step] or [model, optimizer, epoch, step, EMA] (NCSNv2), "
    "or a state dict alone"
)


# What wrappers of a module put into the names of its weights, wherever they stand.
_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


class _NumberType:
    """What stands for `numpy.dtype` while a file is read: the name of a type, and its order of bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"b1|[iuf][1248]", str(code)):
            raise ValueError(f"it holds a NumPy value of type {code}, which is no number")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


def _number(kind: _NumberType, content: bytes) -> bool | int | float:
    """What stands for the making of a NumPy number: Python's own, so that nothing of NumPy is called by a file."""
    return np.frombuffer(content, np.dtype(kind.code).newbyteorder(kind.order)).item()


_NUMPY_NUMBERS = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),  # NumPy 1
    (_number, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Checkpoint:
    """What is converted of a file.

    Args:
        weights: tensors by name, without `module.`.
        sigmas: the noise levels of the training, shape `(L,)`; `None` where they were not saved.
        kind: which weights these are, in words.
    """

    weights: dict[str, Tensor]
    sigmas: Tensor | None
    kind: str


def read_checkpoint(path: Path, *, averaged: bool | None = None) -> Checkpoint:
    """Reads a checkpoint; in the format of torch >= 1.6 only the weights that are used.

    Args:
        path: a `.pth` file.
        averaged: whether to take the EMA; `None` takes it where there is one.  A state dict alone has no choice.

    Raises:
        ValueError: for anything but a checkpoint as described above.
        OSError: for a file that cannot be opened.
    """
    states, name = _load(path), path.name
    if isinstance(states, Mapping):
        if not all(isinstance(value, Tensor) for value in states.values()):
            raise ValueError(f"{name} holds a dict of {few(states)}; expected {LAYOUTS}.")
        weights = _state_dict(states, name)
        return Checkpoint(weights, weights.pop("sigmas", None), "the only weights in it")
    if not isinstance(states, list | tuple):
        raise ValueError(f"{name} holds a {type(states).__name__}; expected {LAYOUTS}.")
    if len(states) not in (2, 4, 5):
        raise ValueError(f"{name} holds a list of {len(states)}; expected {LAYOUTS}.")
    model = _state_dict(states[0], f"The model in {name}")
    sigmas = model.pop("sigmas", None)
    if len(states) == 5 and averaged is not False:
        shadow = _state_dict(states[4], f"The EMA in {name}")
        missing, extra = sorted(model.keys() - shadow.keys()), sorted(shadow.keys() - model.keys())
        if missing or extra:
            raise ValueError(
                f"The EMA in {name} has {len(shadow)} tensors, the model {len(model)}: missing {few(missing)}; too "
                f"many {few(extra)}. Take the model as it was trained: ema=False (--no-ema)."
            )
        return Checkpoint(shadow, sigmas, "the exponential moving average of the weights")
    if averaged:
        raise ValueError(
            f"{name} holds no EMA: it is a list of {len(states)}, and the EMA would be the fifth. Take the model as it "
            "was trained: ema=False (--no-ema)."
        )
    return Checkpoint(model, sigmas, "the weights as they were trained")


def few(names: Collection[Any]) -> str:
    """How many there are, and the first three."""
    shown = ", ".join(str(name)[:80] for name in list(names)[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})" if names else "none"


def _load(path: Path) -> Any:
    """Tensors and plain containers, from either format of `torch.save`; the older one has no checksums."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name the checkpoint, a .pth file.")
    if not path.is_file():
        raise IsADirectoryError(f"{path} is not a file; name the checkpoint itself, a .pth file.")
    with path.open("rb") as file:
        start = file.read(9)
    if not start:
        raise ValueError(f"{path.name} is empty; expected a .pth file, as torch.save writes it.")
    if start[8:] == b"{":
        raise ValueError(f"{path.name} is a safetensors file; expected a .pth file, as torch.save writes it.")
    zipped = start.startswith(b"PK")
    if not zipped and not start.startswith(b"\x80\x02"):
        raise ValueError(
            f"{path.name} begins with {start[:4]!r}, so it is not a file of torch.save; expected a .pth file with "
            f"{LAYOUTS}."
        )
    if zipped:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged pickle may raise anything
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden:
            raise ValueError(
                f"{path.name} holds a pickled object, {forbidden[1]}, which only code run from the file could restore; "
                "nothing of it was run. Expected tensors in lists and dicts: where you trust the file, load it "
                "yourself and save `model.state_dict()`."
            ) from None
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        reason = re.split(r"\. |\n", reason)[0].rstrip(".")[:200]
        raise ValueError(
            f"{path.name} cannot be read as a checkpoint ({reason}): it is damaged, cut short, or not a file of "
            "torch.save."
        ) from None


def _check_archive(path: Path) -> None:
    """Compares the checksums, or a wrong byte among the weights would be converted like any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except Exception as error:  # a damaged archive may raise anything
        raise ValueError(
            f"{path.name} is damaged or cut short at {path.stat().st_size:,} bytes ({error}); copy it again."
        ) from None
    if damaged is not None:
        raise ValueError(f"{path.name} is damaged: the checksum of {damaged} is wrong; copy it again.")
    if not any(name.endswith("/data.pkl") for name in names):
        raise ValueError(
            f"{path.name} is a zip archive of {few(names)}, but not one of torch.save, which holds data.pkl; unpack it "
            "if the checkpoint is inside."
        )


def _state_dict(states: Any, name: str) -> dict[str, Tensor]:
    """Names and tensors, without what wrappers add: `module.` (DataParallel), `_orig_mod.` (`torch.compile`)."""
    if not isinstance(states, Mapping) or not states:
        found = "an empty one" if isinstance(states, Mapping) else f"a {type(states).__name__}"
        raise ValueError(f"{name} is no state dict: expected tensors by name, found {found}.")
    wrong = [key for key, value in states.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if wrong:
        raise ValueError(f"{name} is no state dict: expected tensors by name, but not so are {few(wrong)}.")
    plain = {key: _WRAPPED.sub("", key) for key in states}
    while all(key.startswith("module.") for key in plain.values()):
        plain = {key: short.removeprefix("module.") for key, short in plain.items()}
    twice = [key for key, times in Counter(plain.values()).items() if times > 1]
    if twice:
        raise ValueError(f"{name} holds some weights twice, with and without the prefix of a wrapper: {few(twice)}.")
    return {plain[key]: value for key, value in states.items()}
