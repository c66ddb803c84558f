"""Settings as a frozen dataclass, whose values come from its defaults, a YAML file, and flags of the same name.

Wherever a value comes from, pydantic turns it into its setting's type and checks its range, and what is wrong is said
in one sentence that names the setting.  Flags are spelled with underscores, as in the training examples of diffusers,
or with dashes.
"""

import argparse
import dataclasses
import difflib
import os
import re
import sys
import types
import typing
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import pydantic
import yaml

Settings = TypeVar("Settings")


def option(default: object, description: str, *, only: Any = None, secret: bool = False, **valid: float) -> Any:
    """A setting.

    Args:
        default: its value where none is given.
        description: what `--help` says.
        only: names of other settings, and the values of them that this one has a meaning with.
        secret: whether it is never written down or shown.
        **valid: its range, as pydantic's `ge`, `gt`, `le`, `lt` and `min_length`.
    """
    metadata = {"help": description, "only": only or {}, "secret": secret, "valid": valid}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def check_types(settings: Any) -> None:
    """Replaces each value by the same in its setting's type, `"1e-3"` by 0.001.

    `"none"` is `None` where a setting can be that and is not by default.

    Raises:
        ValueError: for one that is not of its setting's type or outside its range, in one sentence.
    """
    hints, values = typing.get_type_hints(type(settings)), dict(vars(settings))
    for field in dataclasses.fields(settings):
        name, value = field.name, values[field.name]
        if isinstance(value, bool) and hints[name] is not bool:
            raise ValueError(f"{name} is {value}; it is not a switch, and --help says what it takes.")
        if value == "none" and field.default is not None and type(None) in typing.get_args(hints[name]):
            values[name] = None
    try:
        checked = dict(_model(type(settings))(**values))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, *place = first["loc"]
        where = next((f", item {part + 1}," for part in place if isinstance(part, int)), "")
        secret = type(settings).__dataclass_fields__[name].metadata["secret"]
        shown = "hidden" if secret else repr(first["input"])
        raise ValueError(f"{name}{where} is {shown}; {re.sub('^(Input|String)', 'it', first['msg'])}.") from None
    for name, value in checked.items():
        object.__setattr__(settings, name, value)


@cache
def _model(cls: type) -> type[pydantic.BaseModel]:
    """The types and ranges of a class's settings, as pydantic checks them."""
    hints = typing.get_type_hints(cls)
    fields = {
        field.name: (hints[field.name], pydantic.Field(..., **field.metadata["valid"]))
        for field in dataclasses.fields(cls)
    }
    return pydantic.create_model(cls.__name__, __config__=pydantic.ConfigDict(allow_inf_nan=False), **fields)


def flags_of(settings: Any) -> list[str]:
    """The command line flags of the settings that are not the default ones, without the secrets."""
    words, hints = [], typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value == field.default or field.metadata["secret"]:
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{field.name}")
        elif value is None:
            words += [f"--{field.name}", "none"]
        elif not isinstance(value, tuple):
            words += [f"--{field.name}", str(value)]
        elif _takes_several(hints[field.name]):
            words += [f"--{field.name}", *map(str, value)]
        else:
            words += [f"--{field.name}", ",".join(value) or "none"]
    return words


def read_command_line(
    cls: type[Settings],
    arguments: Sequence[str] | None,
    prog: str | None,
    description: str,
    *,
    recipes: Path,
    either: tuple[str, ...] = (),
) -> Settings:
    """Reads `--config` and the flags that replace its values.

    Args:
        cls: the class of settings.
        arguments: the words; `None` reads `sys.argv`.
        prog: what the program is called in its messages.
        description: of the program.
        recipes: a folder of YAML files that `--config` finds by their names.
        either: settings that replace each other: where a flag gives one, what the file says of the others is left out.

    Raises:
        SystemExit: for an unknown flag, setting or value, with one sentence that names it.
    """
    parser = _Parser(prog, description=description, formatter_class=_Formatter)
    names = ", ".join(sorted(path.stem for path in recipes.glob("*.yaml")))
    parser.add_argument("--config", help=f"a YAML file with any of the settings below, or one of {names}")
    for field in dataclasses.fields(cls):
        parser.add_argument(f"--{field.name}", **_argument(cls, field))
    words = sys.argv[1:] if arguments is None else arguments
    given = vars(parser.parse_args([_underscored(word) for word in words]))
    try:
        settings = read_yaml(cls, given.pop("config", None), recipes)
        if set(either) & given.keys():
            settings = {name: value for name, value in settings.items() if name not in either}
        return cls(**settings | given)
    except ValueError as error:
        parser.error(str(error))


def read_yaml(cls: type, config: str | None, recipes: Path) -> dict[str, Any]:
    """The settings of a YAML file, by its path or by the name of a recipe; none for `None`.

    Raises:
        ValueError: for a file that is missing, cannot be read, is not YAML, or has unknown settings.
    """
    if config is None:
        return {}
    given = Path(os.path.expanduser(config))
    try:
        path = given if given.is_file() else recipes / f"{config}.yaml"
        if not path.is_file():
            raise ValueError(f"There is no configuration file {config}, and no recipe of that name.")
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise ValueError(f"The configuration file {config} cannot be read: {error.strerror}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold settings as `name: value`; it holds a {type(values).__name__}.")
    known = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in known:
            raise ValueError(f"{path} has no setting {name}{_nearest(str(name), known)} --help lists them all.")
    return values


class _Loader(yaml.SafeLoader):
    """With the booleans of YAML 1.2: `no` is a word, as in `mixed_precision: no`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|True|false|False)$"), list("tTfF"))


class _Parser(argparse.ArgumentParser):
    """Flags that were not given are left out; an error is one line."""

    def __init__(self, prog: str | None, **settings: Any) -> None:
        super().__init__(prog, allow_abbrev=False, argument_default=argparse.SUPPRESS, **settings)
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)  # also -1e-05

    def parse_args(self, arguments: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Reads words that must all be known.

        Raises:
            SystemExit: for one that is not, with the nearest flag.
        """
        given, unknown = self.parse_known_args(arguments)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"There is no flag {flag}{_nearest(flag, list(self._option_string_actions))} --help lists all.")
        return given

    def error(self, message: str) -> NoReturn:
        """Ends the program with `message`."""
        self.exit(2, f"{self.prog}: error: {message}\n")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36, width=120)


def _nearest(word: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {found[0]}?" if found else "."


def _underscored(word: str) -> str:
    """A flag with underscores in its name, whichever way it was spelled; other words as they are."""
    flag, equals, value = word.partition("=")
    if not flag.startswith("--"):
        return word
    no, name = ("no-", flag[5:]) if flag.startswith(("--no-", "--no_")) else ("", flag[2:])
    return f"--{no}{name.replace('-', '_')}{equals}{value}"


def _argument(cls: type, field: dataclasses.Field) -> dict[str, Any]:
    """How argparse reads one field: as text, which is checked together with what the file says."""
    hint = typing.get_type_hints(cls)[field.name]
    choices = f"; {', '.join(typing.get_args(hint))}" if typing.get_origin(hint) is Literal else ""
    default = "" if field.default is None else f" (default: {field.default})"
    described = {"help": field.metadata["help"].replace("%", "%%") + choices + default}
    if hint is bool:
        return described | {"action": argparse.BooleanOptionalAction}
    return described | {"nargs": "*" if _takes_several(hint) else None}


def _takes_several(hint: Any) -> bool:
    """Whether a flag of this type takes several words, or none at all; names are one word with commas between."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return any(typing.get_origin(kind) is tuple and str not in typing.get_args(kind) for kind in kinds)
