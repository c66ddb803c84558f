"""A call of a pipeline as values, and as the Python that makes the same call: one list of arguments says both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ...samplers import SAMPLERS

Import = tuple[str, str]  # a module, and the name that is taken from it


@dataclass(frozen=True)
class Written:
    """A value and the expression that makes it.

    Args:
        source: the expression.
        value: what it gives.
        imports: names that it needs beside `torch`.
    """

    source: str
    value: Any
    imports: tuple[Import, ...] = ()


@dataclass(frozen=True)
class Argument:
    """A keyword argument.

    Args:
        name: the keyword.
        written: its value.
        of: what takes it: `"call"` the pipeline's call, `"scheduler"` what makes the scheduler.
    """

    name: str
    written: Written
    of: str = "call"


def literal(value: Any) -> Written:
    """A number, a string, or a list, dictionary or tuple of them; a float exactly, and short where it is round."""
    if isinstance(value, Mapping):
        items = ", ".join(f"{literal(key).source}: {literal(item).source}" for key, item in value.items())
        return Written(f"{{{items}}}", value)
    if isinstance(value, str):
        return Written(f'"{value}"', value)
    short = f"{value:g}" if isinstance(value, float) else repr(value)
    return Written(short if not isinstance(value, float) or float(short) == value else repr(value), value)


def made_by(function: Callable[..., Any], *values: Any, module: str = "ncsn_pipeline") -> Written:
    """What a function gives for these values, a `Written` as itself; `module` is where the program finds it."""
    given = [value if isinstance(value, Written) else literal(value) for value in values]
    source = f"{function.__name__}({', '.join(written.source for written in given)})"
    return Written(source, function(*(written.value for written in given)), ((module, function.__name__),))


def seeded(seed: int) -> Written:
    """A generator of that seed."""
    return Written(f"torch.Generator().manual_seed({seed})", torch.Generator().manual_seed(seed))


def picture(file: str, image: Image.Image) -> Written:
    """A picture that the program finds in a file."""
    return Written(f'Image.open("{file}")', image, (("PIL", "Image"),))


def _of_the_scheduler(arguments: Iterable[Argument]) -> dict[str, Written]:
    return {argument.name: argument.written for argument in arguments if argument.of == "scheduler"}


def scheduler_of(sampler: str, arguments: Iterable[Argument]) -> Any:
    """The scheduler that the arguments ask for.

    Args:
        sampler: a key of `SAMPLERS`.
        arguments: all of a run; those of the scheduler count.

    Raises:
        ValueError: for settings that it refuses.
    """
    kind = SAMPLERS[sampler]
    values = {name: written.value for name, written in _of_the_scheduler(arguments).items()}
    return kind.scheduler_class.from_config(values) if kind.is_solver else kind.scheduler_class(**values)


def scheduler_source(sampler: str, arguments: Iterable[Argument]) -> Written:
    """The expression that makes it, also with settings that it refuses; its value is not asked for."""
    kind, given = SAMPLERS[sampler], _of_the_scheduler(arguments)
    imports = ((kind.library, kind.scheduler), *(name for written in given.values() for name in written.imports))
    if kind.is_solver:
        values = {name: written.value for name, written in given.items()}
        return Written(f"{kind.scheduler}.from_config({literal(values).source})", None, imports)
    settings = ", ".join(f"{name}={written.source}" for name, written in given.items())
    return Written(f"{kind.scheduler}({settings})", None, imports)


def values_of(arguments: Iterable[Argument]) -> dict[str, Any]:
    """Keyword arguments of the pipeline's call."""
    return {argument.name: argument.written.value for argument in arguments if argument.of == "call"}


def program(
    pipeline: Written,
    scheduler: Written,
    arguments: Iterable[Argument],
    before: Mapping[str, Written] | None = None,
    results: Sequence[str] = ("images",),
) -> str:
    """The call as a program; `images` holds PIL images.

    Args:
        pipeline: what makes it; its value is not asked for.
        scheduler: what takes its scheduler's place.
        arguments: of the call.
        before: variables that the arguments use, in the order in which they are made.
        results: what of the call's output is kept, by name.
    """
    before = before or {}
    call = [argument for argument in arguments if argument.of == "call"]
    names: dict[str, set[str]] = {}
    for written in (pipeline, scheduler, *before.values(), *(argument.written for argument in call)):
        for module, name in written.imports:
            names.setdefault(module, set()).add(name)
    imports = "".join(f"from {module} import {', '.join(sorted(names[module]))}\n" for module in sorted(names))
    made = "".join(f"{name} = {written.source}\n" for name, written in before.items())
    lines = "".join(f"    {argument.name}={argument.written.source},\n" for argument in call)
    if len(results) == 1:
        kept = f"{results[0]} = pipe(\n{lines}).{results[0]}\n"
    else:
        kept = f"result = pipe(\n{lines})\n" + "".join(f"{name} = result.{name}\n" for name in results)
    return f"import torch\n{imports}\npipe = {pipeline.source}\npipe.scheduler = {scheduler.source}\n{made}{kept}"
