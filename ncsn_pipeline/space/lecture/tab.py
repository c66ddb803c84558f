"""The Lecture tab: its sixteen claims one after the other, each with the experiment that measures it, to run again."""

from functools import partial
from pathlib import Path

import gradio as gr

from ..runs.events import PRIVATE
from ..server.sharing import SharedView
from ..widgets.programs import code_view
from . import report
from .handlers import READY, LectureHandlers
from .stops import NAMES

HERE = Path(__file__)
# The knobs are plain inputs: their values by name, as the endpoint takes them.
READ_KNOBS = """(name) => {
  const read = (input) => input.type === "number" ? (input.value === "" ? null : Number(input.value)) : input.value;
  const inputs = document.querySelectorAll("#lecture-controls input[name]");
  return [name, Object.fromEntries(Array.from(inputs, (input) => [input.name, read(input)]))];
}"""
RESTART_KNOBS = """(name) => {
  document.querySelector("#lecture-controls .lecture-knobs")?.dispatchEvent(new Event("restart", { bubbles: true }));
  return [name];
}"""
# The picture of a run stands above its button, on a phone out of sight.
SHOW_PICTURE = """() => {
  const figure = document.querySelector("#lecture-picture");
  if (document.querySelector("#lecture-status .done") && figure.getBoundingClientRect().top < 0) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    figure.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  }
  return [];
}"""


class LectureTab:
    """Builds the tab inside the current `gr.Blocks` and connects its events."""

    def __init__(self) -> None:
        self.handlers = LectureHandlers()
        self._build()
        self._connect()

    def _build(self) -> None:
        first = NAMES[0]
        picture, numbers = report.shipped_view(first)
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=3, min_width=240):
                gr.HTML('<h2 class="heading">The lecture, claim by claim</h2>')
                self.contents = gr.HTML(
                    first,
                    html_template=report.contents(),
                    js_on_load=_read("contents.js"),
                    apply_default_css=False,
                    label="Claim",
                    elem_id="lecture-contents",
                )
            with gr.Column(scale=9, min_width=300):
                with gr.Row(elem_classes="lecture-steps"):
                    self.previous_button = gr.Button("← Previous", size="sm", min_width=110, interactive=False)
                    self.next_button = gr.Button("Next →", size="sm", min_width=110)
                self.heading = gr.HTML(report.heading(first), elem_id="lecture-heading")
                self.equation = gr.Markdown(
                    report.equation(first),
                    latex_delimiters=[{"left": "$$", "right": "$$", "display": True}],
                    elem_id="lecture-equation",
                    elem_classes="lecture-equation",
                )
                self.words = gr.HTML(report.explanation(first), elem_id="lecture-words", apply_default_css=False)
                self.picture = gr.HTML(picture, elem_id="lecture-picture", apply_default_css=False)
                self.numbers = gr.HTML(numbers, elem_id="lecture-numbers", apply_default_css=False)
                gr.HTML('<h3 class="heading">Run it again</h3>')
                self.knobs = gr.HTML(
                    report.controls(first),
                    js_on_load=_read("knobs.js"),
                    apply_default_css=False,
                    elem_id="lecture-controls",
                )
                with gr.Row():
                    self.run_button = gr.Button("Run", variant="primary", min_width=110, elem_id="lecture-run")
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, min_width=80, elem_id="lecture-stop"
                    )
                    self.reset_button = gr.Button(
                        "Back to the full-size results", min_width=110, elem_id="lecture-reset"
                    )
                self.status = gr.HTML(report.progress(READY), elem_id="lecture-status")
                with gr.Accordion("The experiment's file", open=False) as self.file:
                    self.source_note = gr.HTML(report.source_note(first), elem_id="lecture-file")
                    self.source = code_view(None, "Its text", "lecture-source")
        self.view = SharedView(
            "lecture", {"experiment": self.contents}, self.handlers.check, self.status, self.handlers, is_place=True
        )

    def _connect(self) -> None:
        shown = [
            *(self.heading, self.equation, self.words, self.picture, self.numbers, self.knobs, self.source_note),
            self.status,
            *(self.previous_button, self.next_button),
        ]
        self.contents.change(self._stop, None, None, **PRIVATE)  # its results belong to the claim that was left
        self.contents.change(self.handlers.show, self.contents, shown, **PRIVATE)
        self.reset_button.click(self.handlers.show, self.contents, shown, js=RESTART_KNOBS, **PRIVATE)
        for button, by in ((self.previous_button, -1), (self.next_button, 1)):
            button.click(partial(self.handlers.step, by=by), self.contents, self.contents, **PRIVATE)
        gr.on([self.file.expand, self.contents.change], self.handlers.source, self.contents, self.source, **PRIVATE)
        run = self.handlers.connect_run(
            self.run_button,
            self.handlers.run,
            [self.contents, self.knobs],
            [self.picture, self.numbers, self.status],
            self.status,
            [self.run_button, self.stop_button],
            js=READ_KNOBS,
            api_visibility="private",
        )
        run.success(None, None, None, js=SHOW_PICTURE, **PRIVATE)
        self.handlers.connect_stop(
            self.stop_button, self.status, "stop_lecture", "this session's experiment at its next call of torch"
        )
        gr.api(
            self.handlers.lecture,
            api_name="lecture",
            api_description="Runs one of the lecture's experiments: its checks with their bounds, numbers, findings; "
            "the seconds so far until then. Settings are values by the names of its knobs, {} for the quick version.",
            concurrency_id="torch",
        )
        gr.api(
            self.handlers.claims,
            api_name="claims",
            api_description="The experiments by name: what each claims, and its knobs with their defaults and ranges.",
            queue=False,
        )

    def _stop(self, request: gr.Request) -> None:
        self.handlers.stop(request)

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        self.view.connect(page)
        page.unload(self.handlers.leave)


def _read(name: str) -> str:
    return HERE.with_name(name).read_text(encoding="utf-8")
