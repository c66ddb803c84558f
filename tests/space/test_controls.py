"""A control is one row: its check, its setting, the signature, what a visitor moves, the call, the program."""

import inspect

import gradio as gr
import pytest

from ncsn_pipeline.space.generate.controls import CONTROLS as GENERATE
from ncsn_pipeline.space.repair.controls import CONTROLS as REPAIR
from ncsn_pipeline.space.runs.calls import Argument, Written, literal, program, scheduler_source, values_of
from ncsn_pipeline.space.runs.controls import (
    Choice,
    Control,
    ModelFacts,
    Number,
    arguments_of,
    checked,
    defaults,
    lowerable,
    parameters,
    settings_class,
    settled,
    with_signature,
)
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.widgets.controls import controls_in, layout

MODEL = ModelFacts(["zero", "one"], (0.01, 12.0))
TEMPERATURE = Control(
    "temperature",
    "Temperature",
    Number(0.5, 2.0, 0.1),
    1.0,
    place="schedule",
    applies=lambda values, model: values.sampler == "annealed_langevin",
    otherwise=1.0,
    lowers="degrees",
    enters=lambda settings, model: [Argument("temperature", literal(settings.temperature))],
)


@pytest.mark.parametrize("rows", [GENERATE, REPAIR], ids=["generate", "repair"])
def test_one_row_more_is_everywhere(rows):
    rows = [*rows, TEMPERATURE]
    given = defaults(rows, MODEL) | {"sampler": "annealed_langevin", "temperature": 1.5}
    with pytest.raises(SettingsError, match=r"Temperature must lie between 0\.5 and 2; got 3\."):
        checked(rows, given | {"temperature": 3}, MODEL)
    settings_of = settings_class("Settings", rows, object)
    settings = settings_of(**settled(rows, checked(rows, given, MODEL), MODEL))
    assert settings.temperature == 1.5 and lowerable(rows, settings, MODEL)["temperature"] == "degrees"
    arguments = arguments_of(rows, settings, MODEL)
    assert values_of(arguments)["temperature"] == 1.5
    made = Written("NCSNPipeline()", None, (("ncsn_pipeline", "NCSNPipeline"),))
    assert "\n    temperature=1.5,\n" in program(made, scheduler_source("annealed_langevin", []), arguments)
    endpoint = with_signature(lambda *values: values, parameters(rows, MODEL), request=gr.Request)
    found = inspect.signature(endpoint).parameters["temperature"]
    assert (found.annotation, found.default) == (float, 1.0)
    with gr.Blocks():
        controls = controls_in("schedule", rows, MODEL, "prefix-")
    slider = controls["temperature"]
    assert (slider.minimum, slider.maximum, slider.value, slider.label) == (0.5, 2.0, 1.0, "Temperature")
    assert slider.elem_id == "prefix-temperature" and not slider.visible
    assert layout(rows, given, MODEL)[-1]["visible"]
    consistent = settled(rows, checked(rows, given | {"sampler": "consistent"}, MODEL), MODEL)
    assert consistent["temperature"] == 1.0


def test_every_row_of_the_page_has_a_control():
    for rows, places in ((GENERATE, ("image", "schedule")), (REPAIR, ("task", "result", "schedule"))):
        with gr.Blocks():
            found = [name for place in places for name in controls_in(place, rows, MODEL)]
        assert sorted(found) == sorted(row.name for row in rows)


def test_what_is_not_valid_leaves_the_layout_as_it_is():
    assert layout(GENERATE, defaults(GENERATE, MODEL) | {"num_levels": None}, MODEL) == [gr.skip()] * len(GENERATE)


def test_old_names_of_samplers_are_taken():
    kind = next(row.kind for row in GENERATE if row.name == "sampler")
    assert isinstance(kind, Choice)
    for old, new in {"langevin": "annealed_langevin", "edm-euler": "edm_euler", "heun": "heun"}.items():
        assert kind.check("Sampler", old, MODEL) == new


def test_literals_are_exact_and_short_where_they_are_round():
    for value in (12.0, 0.1, 1 / 3, 1e-7, 20_001, "random", [1, 2], {"sigma_max": 5.5, "use": True}, -0.0):
        assert eval(literal(value).source) == value
    assert [literal(value).source for value in (12.0, 0.1, "a")] == ["12", "0.1", '"a"']
