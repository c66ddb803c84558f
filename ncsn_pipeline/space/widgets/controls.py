"""The rows of a tab as what a visitor moves: sliders, boxes, menus."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ..runs.controls import Choice, Control, Facts, Values, checked, defaults
from ..runs.limits import SettingsError


def element_id(prefix: str, name: str) -> str:
    """The id of a row's control, in a page."""
    return prefix + name.replace("_", "-")


def controls_in(place: str, rows: Sequence[Control], model: Facts, prefix: str = "") -> dict[str, Component]:
    """The controls that stand in that part of the tab, by name.

    Args:
        place: of the rows.
        rows: of the tab, all of them.
        model: what the page starts with.
        prefix: of the elements' ids.
    """
    values = checked(rows, defaults(rows, model), model)
    return {row.name: _component(row, values, model, prefix) for row in rows if row.place == place}


def _component(row: Control, values: Values, model: Facts, prefix: str) -> Component:
    kind = row.kind
    shared: dict[str, Any] = {
        "value": getattr(values, row.name),
        "label": row.label or row.called,
        "info": row.said(values) or None,
        "visible": row.applies(values, model),
        "elem_id": element_id(prefix, row.name),
    }
    if isinstance(kind, Choice):
        if not row.label:
            shared |= {"show_label": False, "container": False}
        choices = list(kind.of(model))
        return gr.Radio(choices, **shared) if kind.radio else gr.Dropdown(choices, filterable=False, **shared)
    if not kind.slider:
        return gr.Number(minimum=kind.low, maximum=kind.high, step=kind.step, **shared)
    classes = "logarithmic" if kind.logarithmic else None
    return gr.Slider(kind.low, kind.high, step=kind.step, elem_classes=classes, **shared)


def layout(rows: Sequence[Control], given: Mapping[str, Any], model: Facts) -> list[dict[str, Any]]:
    """Shows what has a meaning beside the other values and hides the rest; nothing changes where one is not valid."""
    try:
        values = checked(rows, given, model)
    except SettingsError:
        return [gr.skip() for _ in rows]
    return [
        gr.update(
            visible=row.applies(values, model),
            **_choices(row, model),
            **({"info": row.info(values)} if callable(row.info) else {}),
        )
        for row in rows
    ]


def of_the_model(rows: Sequence[Control], model: Facts) -> list[dict[str, Any]]:
    """What another model makes of the rows that depend on it: its choices, its defaults."""
    return [gr.update(value=row.default_for(model), **_choices(row, model)) for row in rows if row.is_of_the_model]


def _choices(row: Control, model: Facts) -> dict[str, Any]:
    is_of_the_model = isinstance(row.kind, Choice) and callable(row.kind.options)
    return {"choices": list(row.kind.of(model))} if is_of_the_model else {}
