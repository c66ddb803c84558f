"""The device that a command computes on."""

import torch


def device_named(name: str | None) -> str:
    """A device that can be computed on; `None` is a GPU where there is one.

    Raises:
        ValueError: for one that this machine does not have.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # no such name; not compiled in, or none there
        first = str(error).splitlines()[0].split(";")[0]
        raise ValueError(f"Nothing can be computed on the device {name!r}: {first}. Leave --device out.") from error
    return name
