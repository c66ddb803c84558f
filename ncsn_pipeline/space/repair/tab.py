"""The Repair tab: marked parts of an image painted anew, several ways at once, and images made from a sketch."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..runs import messages
from ..runs.controls import Choice, defaults, parameters, with_signature
from ..runs.events import CHECKED_BY_US, PREVIEW, PRIVATE, QUIET
from ..runs.models import SpaceModels
from ..runs.sessions import WORKER, offer
from ..server.sharing import SharedView
from ..widgets.controls import controls_in, layout
from ..widgets.presets import preset_note
from ..widgets.programs import code_view
from ..widgets.seeds import connect_new_seed
from .canvas import pixel_canvas
from .controls import CONTROLS
from .handlers import INPUTS, RepairHandlers, first_of
from .measuring import MEASUREMENTS

PREFIX = "repair-"
READY = "Ready."
NOTES = {
    "inpaint": (
        "Repair",
        "Mark a part of the picture. The network never sees what was there: at every noise level it is shown the kept "
        "pixels with that much noise, and paints the others to go with them. It knows only what it was trained on.",
    ),
    "edit": (
        "Edit",
        "Draw. Noise of the strength below is added to the sketch, and annealed away: what is finer than the noise "
        "becomes as the network knows it, what is larger stays.",
    ),
    **{name: (row.label, row.note) for name, row in MEASUREMENTS.items()},
}
# Shown where the settings are no longer those of the results; what they were made with is its value.
STALE = '<p class="stale" hidden>These were made with other settings. Press Paint for new ones.</p>'
MARK_OTHERS = """(shown, ...values) => {
  const old = JSON.stringify(shown.made_with) !== JSON.stringify(values);
  document.querySelector("#repair-stale .stale").hidden = !old;
  return [];
}"""
# The canvas is told in the browser: it keeps a picture for each task.
TELL_CANVAS = """(task) => {
  document.querySelector("#repair-canvas .pixel-canvas").dataset.task = task;
  return [];
}"""


def nothing_yet() -> list[str]:
    """The line of status, what is read in the results and what they say together, before a run."""
    return [messages.status(READY), "", ""]


class RepairTab:
    """Builds the tab inside the current `gr.Blocks` and connects its events.

    Args:
        models: what to repair with; the default one is a score.
    """

    def __init__(self, models: SpaceModels) -> None:
        self.models = models
        self.model = models.default
        self.handlers = RepairHandlers(models)
        self._build()
        self._connect()

    def _build(self) -> None:
        controls = {"model": self._model_control()} | controls_in("task", CONTROLS, self.model, PREFIX)
        self.note = gr.HTML(preset_note(*NOTES["inpaint"]), elem_id="repair-note")
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=5, min_width=300):
                self.canvas = pixel_canvas(self.handlers.example(first_of(self.model), self.model.name))
                self.example_buttons = {pictures: self._examples(pictures) for pictures in self._sets_of_examples()}
                with gr.Row(elem_classes="repair-examples"):
                    self.upload_button = gr.UploadButton(
                        "Upload a picture",
                        file_types=["image"],
                        type="filepath",
                        size="sm",
                        min_width=90,
                        elem_id="repair-upload",
                    )
                    self.as_it_is_button = gr.Button(
                        "Use the whole picture, not its digit",
                        size="sm",
                        visible=False,
                        elem_id="repair-as-it-is",
                    )
            with gr.Column(scale=7, min_width=300):
                with gr.Row():
                    self.repair_button = gr.Button("Paint", variant="primary", elem_id="repair", min_width=110)
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, elem_id="repair-stop", min_width=80
                    )
                    self.seed_button = gr.Button("New seed", elem_id="repair-new-seed", min_width=80)
                default = [self.model.name, *defaults(CONTROLS, self.model).values()]
                cost, code = self.handlers.describe(*default)
                self.cost = gr.HTML(cost, label="Cost", elem_id="repair-cost")
                start, given, results = self.handlers.start()
                words = f"Ready. Below: the first guess of what is missing, at σ = {start.sigma:.3g}."
                self.status = gr.HTML(
                    messages.status(words, of=start.evaluations), label="Status", elem_id="repair-status"
                )
                self.made_with = gr.HTML(
                    {"made_with": default}, html_template=STALE, label="Made with", elem_id="repair-stale"
                )
                with gr.Row(elem_classes="pictures"):
                    self.given = self._picture("Given", given, "repair-given", scale=1)
                    self.results = self._picture("Results", results, "repair-results", scale=3)
                self.read = gr.HTML(label="Read", elem_id="repair-read")
                self.spread = gr.HTML(label="Mean, spread and fidelity", elem_id="repair-spread")
                with gr.Row():
                    self.downloads = [
                        gr.DownloadButton(label, interactive=False, size="sm", min_width=90, elem_id=elem_id)
                        for label, elem_id in (
                            ("Results (PNG)", "repair-download"),
                            ("Image (PNG)", "repair-download-image"),
                            ("Mask (PNG)", "repair-download-mask"),
                        )
                    ]
        with gr.Row(elem_classes="section"):
            with gr.Column(min_width=300):
                gr.HTML('<h2 class="heading">What to paint</h2>')
                with gr.Group():
                    controls |= controls_in("result", CONTROLS, self.model, PREFIX)
            with gr.Column(min_width=300):
                gr.HTML('<h2 class="heading">How to paint it</h2>')
                with gr.Group():
                    controls |= controls_in("schedule", CONTROLS, self.model, PREFIX)
        with gr.Accordion("The same results in Python", open=False):
            self.code = code_view(code, "Python", "repair-code", buttons=["copy"])
        self.controls = controls
        self.inputs = [controls[name] for name in INPUTS]
        rows = [row for row, _ in self.example_buttons.values()]
        self.shown = [self.note, *rows, *(controls[row.name] for row in CONTROLS)]
        self.of_a_run = [self.status, self.read, self.spread]
        self.view = SharedView(
            "repair",
            {name: controls[name] for name in INPUTS if name != "model" or len(self.models.names) > 1},
            self._check_shared,
            self.status,
            self.handlers,
            CONTROLS,
        )

    def _connect(self) -> None:
        controls = self.controls
        gr.on(
            # Not the model's: its classes come first, and Gradio refuses a class that is not among them.
            [controls[name].change for name in INPUTS if name != "model"],
            self.handlers.describe,
            self.inputs,
            [self.cost, self.code],
            api_visibility="private",
            **PREVIEW,
        )
        chosen = controls["model"].input(
            self.handlers.choose_model,
            controls["model"],
            [self.canvas, *(controls[row.name] for row in CONTROLS if row.is_of_the_model)],
            api_visibility="private",
            **QUIET,
        )
        chosen.then(self.handlers.describe, self.inputs, [self.cost, self.code], api_visibility="private", **PREVIEW)
        chosen.then(self.layout, self.inputs, self.shown, **PRIVATE | CHECKED_BY_US)
        chosen.success(
            lambda: [*nothing_yet(), gr.update(visible=False)],
            None,
            [*self.of_a_run, self.as_it_is_button],
            **PRIVATE,
        )
        named = {"model": (str, self.model.name)} | parameters(CONTROLS, self.model)
        gr.api(
            with_signature(self.handlers.preview_numbers, named),
            api_name="preview_repair",
            api_description="What a run of `repair` costs and its Python.",
            concurrency_id="plots",
        )
        controls["task"].change(None, controls["task"], None, js=TELL_CANVAS, **PRIVATE)
        controls["task"].input(nothing_yet, None, self.of_a_run, **PRIVATE)
        gr.on(
            [controls[row.name].change for row in CONTROLS if isinstance(row.kind, Choice)],
            self.layout,
            self.inputs,
            self.shown,
            **PRIVATE | CHECKED_BY_US,
        )
        compared = [self.made_with, *self.inputs]
        gr.on([component.change for component in compared], None, compared, None, js=MARK_OTHERS, **PRIVATE)
        connect_new_seed(self.seed_button, controls["seed"])
        for _, buttons in self.example_buttons.values():
            for index, button in enumerate(buttons):
                button.click(partial(self.handlers.example, index), controls["model"], self.canvas, **PRIVATE)
        uploaded = self.upload_button.upload(
            self.handlers.upload,
            [self.upload_button, controls["model"]],
            self.canvas,
            api_name="fit_picture",
            api_description="A picture of any size as the value of `repair`'s canvas, its right half marked; of a "
            "photographed digit, the digit alone.",
            concurrency_id="plots",
            **QUIET,
        )
        uploaded.success(self._offers_all_of_it, controls["model"], self.as_it_is_button, **PRIVATE)
        self.as_it_is_button.click(
            self.handlers.upload_as_it_is,
            [self.upload_button, controls["model"]],
            self.canvas,
            api_visibility="private",
            **QUIET,
        ).success(lambda: gr.update(visible=False), None, self.as_it_is_button, **PRIVATE)
        gr.api(
            with_signature(self.handlers.example, {"index": (int, 0), "model": (str, self.model.name)}),
            api_name="example_canvas",
            api_description="One of a model's example pictures, by its number, as the value of `repair`'s canvas, its "
            "right half marked.",
            queue=False,
        )
        run = self.handlers.connect_run(
            self.repair_button,
            with_signature(self.handlers.repair, {"canvas": (str, "")} | named, request=gr.Request),
            [self.canvas, *self.inputs],
            [self.given, self.results, self.status, self.code, self.read, self.spread, self.made_with, *self.downloads],
            self.status,
            [self.repair_button, self.stop_button],
            api_visibility="private",
        )
        gr.api(
            with_signature(self.handlers.repair_numbers, {"canvas": (str, "")} | named, request=gr.Request),
            api_name="repair",
            api_description="Paints what is marked anew, edits from a sketch, or measures the picture and finds what "
            "it may have been. While it runs: status, evaluation, evaluations, sigma, seconds; at last the files too "
            "(results, image, mask) and the same call as Python; given a measurement, mean, std and fidelity. "
            'The canvas is JSON, {"image": rows, "mask": rows}, in the pixels of the model: the image 0 to 255, '
            "the mask 1 where to paint and 0 elsewhere.",
            concurrency_id=WORKER,
            concurrency_limit=1,
        )
        offer(run, self.downloads)
        run.success(self.handlers.cost, self.inputs, self.cost, **PRIVATE | CHECKED_BY_US)
        self.handlers.connect_stop(
            self.stop_button,
            self.status,
            "stop_repair",
            "this session's run after the current network evaluation",
        )

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        self.view.at_defaults(page, self.handlers.cost, self.inputs, self.cost)
        restored = self.view.connect(page)
        restored.then(self.layout, self.inputs, self.shown, **PRIVATE | CHECKED_BY_US)
        # Behind the previews that the restored settings asked for one by one.
        restored.then(
            self.restored, self.inputs, [self.canvas, self.cost, self.code], api_visibility="private", **PREVIEW
        )
        page.unload(self.handlers.leave)

    def layout(self, *values: Any) -> list[Any]:
        """The note of the task, the model's pictures, and the controls that have a meaning beside the others."""
        given = dict(zip(INPUTS, values, strict=True))
        note, model = NOTES.get(given["task"], NOTES["inpaint"]), self.models.or_default(given.pop("model"))
        rows = [gr.update(visible=pictures == tuple(model.examples)) for pictures in self.example_buttons]
        return [preset_note(*note), *rows, *layout(CONTROLS, given, model)]

    def restored(self, *values: Any) -> list[Any]:
        """What the settings in the page's address change: the picture, where they name another model, cost, program."""
        model = self.models.or_default(values[0])
        canvas = gr.skip() if model is self.model else self.handlers.example(first_of(model), model.name)
        return [canvas, *self.handlers.describe(*values)]

    def _offers_all_of_it(self, name: str) -> dict[str, Any]:
        """Of a picture of which the digit was taken, the whole is offered too."""
        return gr.update(visible=self.models.or_default(name).reads_digits)

    def _check_shared(self, **values: Any) -> None:
        values = {"model": self.model.name} | values
        self.handlers.check(*(values[name] for name in INPUTS))

    def _sets_of_examples(self) -> dict[tuple[Path, ...], None]:
        """The pictures of all models, those of each once, the default one's first."""
        return dict.fromkeys(tuple(self.models.examples(name)) for name in self.models.names)

    def _examples(self, pictures: tuple[Path, ...]) -> tuple[gr.Row, list[gr.Button]]:
        visible = pictures == tuple(self.model.examples)
        with gr.Row(elem_classes="repair-examples", visible=visible) as row:
            buttons = [
                gr.Button(path.stem.rpartition("_")[2], icon=str(path), size="sm", elem_id=f"repair-{path.stem}")
                for path in pictures
            ]
        return row, buttons

    def _model_control(self) -> gr.Dropdown:
        names = [name for name in self.models.names if not self.models.draws_at_once(name)]
        return gr.Dropdown(
            names,
            value=self.model.name,
            label="Model",
            filterable=False,
            visible=len(names) > 1,
            elem_id=f"{PREFIX}model",
        )

    @staticmethod
    def _picture(words: str, start: Image.Image, elem_id: str, scale: int) -> gr.Image:
        with gr.Column(min_width=80, scale=scale, elem_classes="picture"):
            gr.HTML(f'<p class="caption">{words}</p>')
            return gr.Image(
                start,
                label=words,
                show_label=False,
                format="png",
                image_mode="RGBA",
                interactive=False,
                buttons=["download", "fullscreen"],
                alt_text=words,
                elem_id=elem_id,
            )
