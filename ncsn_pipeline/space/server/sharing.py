"""Settings in the address of the page, so that a view can be shared: `?tab=generate&generate.num_levels=20`.

A control that is changed is written into the query by the browser (only where it differs from its default).  When the
page opens with settings of a tab in its address, the server reads them, checks them as it checks every other input, and
sets the controls; with none, nobody is asked.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Checkbox, Component, Number, Slider
from gradio.events import Dependency

from ..runs.controls import Choice, Control
from ..runs.events import PRIVATE
from ..runs.limits import SettingsError
from ..runs.sessions import SessionRuns

# Nothing is written before the query was read: components report their defaults as they appear.  A place that the
# browser went back to is in the address already.
WRITE = """(...values) => {
  if (!window.viewRestored?.has(TAB) || (IS_PLACE && window.traversed)) return [];
  const url = new URL(location.href);
  NAMES.forEach((name, i) => {
    const value = values[i];
    if (value === null || value === undefined || String(value) === DEFAULTS[i]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  });
  if (url.href !== location.href) history[IS_PLACE ? "pushState" : "replaceState"](history.state, "", url);
  return [];
}"""
# What there is to restore, and nothing where a tab has no settings in the address.
ASK = """() => {
  const { search, searchParams } = new URL(location.href);
  if (Array.from(searchParams.keys()).some((key) => key.startsWith(`${TAB}.`))) return search;
  (window.viewRestored ??= new Set()).add(TAB);
  return "";
}"""
RESTORED = "() => { (window.viewRestored ??= new Set()).add(TAB); return []; }"
# In the browser, not on the server: the first tab is selected while the page is built, and would clear the address.
OPEN = """() => {
  window.tabOpened = true;
  const wanted = new URL(location.href).searchParams.get("tab");
  return IDS.includes(wanted) ? {__type__: "update", selected: wanted} : undefined;
}"""
SELECT = """() => {
  if (!window.tabOpened || window.traversed) return [];
  const url = new URL(location.href);
  if (IS_FIRST) url.searchParams.delete("tab"); else url.searchParams.set("tab", TAB);
  if (url.href !== location.href) history.pushState(history.state, "", url);
  return [];
}"""


class SharedView:
    """Keeps the controls of one tab and the page's address in step.

    Args:
        tab: the tab's id; keys of the query are `{tab}.{name}`.
        controls: what is shared, by name: sliders, numbers, checkboxes, radios and dropdowns of strings.
        check: called with the values of all controls by name, and raises `SettingsError` for values that are not valid.
        status: the tab's line of status, where a refusal is said.
        runs: the tab's handlers, which know how to say it.
        rows: of the controls, where they have any: they know what another name stands for.
        is_place: whether a change is somewhere else, to which the browser's back button returns.
    """

    def __init__(
        self,
        tab: str,
        controls: dict[str, Component],
        check: Callable[..., Any],
        status: Component,
        runs: SessionRuns,
        rows: Sequence[Control] = (),
        is_place: bool = False,
    ) -> None:
        self.is_place = is_place
        self.meant = {row.name: row.kind.meant for row in rows if isinstance(row.kind, Choice)}
        self.tab = tab
        self.controls = controls
        self.check = check
        self.status = status
        self.runs = runs
        self.defaults = {name: control.value for name, control in controls.items()}

    def connect(self, page: gr.Blocks) -> Dependency:
        """Connects the events, inside the page's context; returns the restoring, for what should follow it."""
        controls = list(self.controls.values())
        asked = gr.Textbox("", visible="hidden")  # as it is without settings: with None, it may change to that
        page.load(None, None, asked, js=self._script(ASK), **PRIVATE)
        restored = asked.change(self.restore, None, [self.status, *controls], **PRIVATE)
        restored.then(None, None, None, js=self._script(RESTORED), **PRIVATE)
        gr.on(
            [control.change for control in controls],
            None,
            controls,
            None,
            js=self._script(WRITE),
            trigger_mode="always_last",
            **PRIVATE,
        )
        return restored

    def at_defaults(
        self, page: gr.Blocks, described: Callable[..., Any], inputs: Sequence[Component], output: Component
    ) -> None:
        """Fills `output` with what is `described` of the inputs' defaults, of a page with no settings of the tab."""
        values = [control.value for control in inputs]

        def opened(request: gr.Request) -> Any:
            return gr.skip() if self.given(request) else described(*values)

        page.load(opened, None, output, **PRIVATE)

    def restore(self, request: gr.Request) -> list[Any]:
        """Status and the controls' values from the query; where one is not valid all stay, and the status says so."""
        given = {name: self._read(name, text) for name, text in self.given(request).items()}
        unchanged = [gr.skip()] * len(self.controls)
        if not given:
            return [gr.skip(), *unchanged]
        try:
            self.check(**self.defaults | given)
        except SettingsError as error:
            words = f"The settings in the page's address were not taken over. {error}"
            return [self.runs.status(words, "error"), *unchanged]
        return [gr.skip(), *(gr.update(value=given[name]) if name in given else gr.skip() for name in self.controls)]

    def given(self, request: gr.Request) -> dict[str, str]:
        """The tab's settings in the page's address, by name, as they are written there."""
        keys = ((key.partition("."), text) for key, text in request.query_params.items())
        return {name: text for (tab, _, name), text in keys if tab == self.tab and name in self.controls}

    def _read(self, name: str, text: str) -> Any:
        control = self.controls[name]
        if isinstance(control, Checkbox):
            return {"true": True, "false": False}.get(text, text)
        if isinstance(control, Slider | Number) and re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text):
            number = float(text)
            return int(number) if number.is_integer() else number
        return self.meant.get(name, str)(text)

    def _script(self, script: str) -> str:
        names = [f"{self.tab}.{name}" for name in self.controls]
        defaults = [_as_javascript_writes(value) for value in self.defaults.values()]
        words = {"TAB": self.tab, "NAMES": names, "DEFAULTS": defaults, "IS_PLACE": self.is_place}
        for word, value in words.items():
            script = re.sub(rf"\b{word}\b", lambda _, value=value: json.dumps(value), script)
        return script


def share_tabs(page: gr.Blocks, tabs: gr.Tabs) -> None:
    """Writes the open tab into the address, and opens the one that the address names.

    Call it when all tabs are there, inside the page's context; a tab without an id gets its label in small letters.
    """
    for tab in tabs.children:
        if tab.id is None:
            tab.id = re.sub(r"\W+", "-", tab.label.lower()).strip("-")
    ids = [tab.id for tab in tabs.children]
    for i, tab in enumerate(tabs.children):
        script = SELECT.replace("IS_FIRST", json.dumps(i == 0)).replace("TAB", json.dumps(tab.id))
        tab.select(None, None, None, js=script, **PRIVATE)
    page.load(None, None, tabs, js=OPEN.replace("IDS", json.dumps(ids)), **PRIVATE)


def _as_javascript_writes(value: Any) -> str:
    """`String(value)` of a default: 12.0 is "12", True is "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, int | float) else str(value)
