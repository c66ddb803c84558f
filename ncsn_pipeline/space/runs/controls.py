"""A control is one row of one list: what it is called, its range, its default, and how it enters the call.

From a tab's rows come the checked settings, the signature of its endpoints, the controls that the page shows, the call
of the pipeline and the program that makes the same call.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

from .calls import Argument
from .limits import check_choice, check_class, check_number, check_whole

Values = Any  # checked values, an attribute for each row


class Facts(Protocol):
    """What rows may ask of a model; a `SpaceModel` knows it."""

    class_names: Sequence[str]
    trained_range: tuple[float, float]
    sample_shape: tuple[int, int, int]
    few_levels: Sequence[float]  # of one that draws in few evaluations, where it is evaluated; empty for a score


class ModelFacts(NamedTuple):
    """The same, of no model."""

    class_names: Sequence[str] = ()
    trained_range: tuple[float, float] = (0.01, 12.0)
    sample_shape: tuple[int, int, int] = (1, 28, 28)
    few_levels: Sequence[float] = ()


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`.

    Args:
        low: least.
        high: most.
        step: of the slider.
        whole: whether it is a count.
        logarithmic: whether the slider gives every factor the same way.
        slider: whether it is one; else a box to type into.
    """

    low: float
    high: float
    step: float = 1
    whole: bool = False
    logarithmic: bool = False
    slider: bool = True

    @property
    def type(self) -> type:
        """Of the values."""
        return int if self.whole else float

    def check(self, called: str, value: Any, model: Facts) -> float:
        """The value, checked; raises `SettingsError`."""
        return (check_whole if self.whole else check_number)(called, value, self.low, self.high)

    def shown(self, value: float, model: Facts) -> str:
        """The value as the page writes it."""
        return f"{value:.10g}"


@dataclass(frozen=True)
class Choice:
    """One of a few names.

    Args:
        options: what each is called on the page, and its name; or what gives them for a model.
        radio: whether they are all in sight.
        numbered: whether some are numbers, which are taken as such too.
        meant: the name that another one stands for.
    """

    options: Sequence[tuple[str, str]] | Callable[[Facts], Sequence[tuple[str, str]]]
    radio: bool = False
    numbered: bool = False
    meant: Callable[[str], str] = str
    type = str

    def of(self, model: Facts) -> Sequence[tuple[str, str]]:
        """The options of a model."""
        return self.options(model) if callable(self.options) else self.options

    def check(self, called: str, value: Any, model: Facts) -> str:
        """The name, checked; raises `SettingsError`."""
        names = tuple(name for _, name in self.of(model))
        value = self.meant(value) if isinstance(value, str) else value
        return check_class(value, names) if self.numbered else check_choice(called, value, names)

    def shown(self, value: str, model: Facts) -> str:
        """What the name is called on the page."""
        return next(label for label, name in self.of(model) if name == value)


def _always(values: Values, model: Facts) -> bool:
    return True


def _nothing(values: Values, model: Facts) -> tuple[Argument, ...]:
    return ()


@dataclass(frozen=True)
class Control:
    """A row.

    Args:
        name: of the endpoints' argument, of the setting, and in the page's address.
        label: above it.
        kind: what it takes.
        default: or what gives it for a model.
        called: in a refusal; by default the label.
        info: below the label; or what gives it for the values of all rows.
        place: the part of the tab that it stands in.
        applies: whether it has a meaning beside the other values; where not, it is hidden.
        otherwise: the setting where it does not apply; or what gives it for a model.
        lowers: what there is fewer of where it is lowered, if that lowers the cost of a run.
        enters: its arguments of the call, from the settings.
    """

    name: str
    label: str
    kind: Number | Choice
    default: Any
    called: str = ""
    info: str | Callable[[Values], str] = ""
    place: str = ""
    applies: Callable[[Values, Facts], bool] = _always
    otherwise: Any = None
    lowers: str = ""
    enters: Callable[[Values, Facts], Iterable[Argument]] = _nothing

    def default_for(self, model: Facts) -> Any:
        """What the page starts with."""
        return self.default(model) if callable(self.default) else self.default

    def otherwise_for(self, model: Facts) -> Any:
        """The setting where it does not apply."""
        return self.otherwise(model) if callable(self.otherwise) else self.otherwise

    @property
    def is_of_the_model(self) -> bool:
        """Whether another model has other choices or another default."""
        return callable(self.default) or (isinstance(self.kind, Choice) and callable(self.kind.options))

    def said(self, values: Values) -> str:
        """The words below the label."""
        return self.info(values) if callable(self.info) else self.info


def defaults(rows: Sequence[Control], model: Facts) -> dict[str, Any]:
    """What the page starts with."""
    return {row.name: row.default_for(model) for row in rows}


def checked(rows: Sequence[Control], given: Mapping[str, Any], model: Facts) -> Values:
    """All values, each checked by itself.

    Raises:
        SettingsError: for the first that is not valid.
    """
    return SimpleNamespace(
        **{row.name: row.kind.check(row.called or row.label, given[row.name], model) for row in rows}
    )


def settled(rows: Sequence[Control], values: Values, model: Facts) -> dict[str, Any]:
    """The settings: what does not apply beside the others is put aside."""
    return {
        row.name: getattr(values, row.name) if row.applies(values, model) else row.otherwise_for(model) for row in rows
    }


def parameters(rows: Sequence[Control], model: Facts) -> dict[str, tuple[type, Any]]:
    """Type and default of each row, for the endpoints."""
    return {row.name: (row.kind.type, row.default_for(model)) for row in rows}


def settings_class(name: str, rows: Sequence[Control], costs: type) -> type:
    """A frozen dataclass with a field for each row.

    Args:
        name: of the class.
        rows: its fields.
        costs: what it derives from: how many evaluations a run has.
    """
    return make_dataclass(name, [row.name for row in rows], bases=(costs,), frozen=True)


def lowerable(rows: Sequence[Control], settings: Values, model: Facts) -> dict[str, str]:
    """The settings that make a run cheaper where they are lowered, and what there is fewer of then."""
    return {row.name: row.lowers for row in rows if row.lowers and row.applies(settings, model)}


def arguments_of(rows: Sequence[Control], settings: Values, model: Facts) -> list[Argument]:
    """All arguments of the call and of its scheduler, in the order of the rows."""
    return [argument for row in rows for argument in row.enters(settings, model)]


def with_signature(
    function: Callable[..., Any], parameters: Mapping[str, tuple[type, Any]], **annotations: Any
) -> Callable[..., Any]:
    """The function of `*values`, saying by what names it takes them, for the endpoint of JSON that is made of it.

    Args:
        function: of as many values as there are names, or a generator of them.
        parameters: type and default of each, in the order of the values.
        **annotations: a last argument that Gradio gives by its type, as `request=gr.Request`.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named_ones = [
        inspect.Parameter(name, kind, default=default, annotation=of) for name, (of, default) in parameters.items()
    ]
    named_ones += [inspect.Parameter(name, kind, default=None, annotation=of) for name, of in annotations.items()]
    if inspect.isgeneratorfunction(function):

        def named(*values: Any) -> Iterator[Any]:
            yield from function(*values)

    else:

        def named(*values: Any) -> Any:
            return function(*values)

    named.__signature__ = inspect.Signature(named_ones, return_annotation=dict[str, Any])
    named.__annotations__ = {name: of for name, (of, _) in parameters.items()} | annotations
    return named
