"""The Generate tab: images from noise, as they form, with every setting of the sampler at hand."""

from functools import partial
from typing import Any

import gradio as gr

from ..runs import messages
from ..runs.controls import Choice, defaults, parameters, with_signature
from ..runs.events import CHECKED_BY_US, PREVIEW, PRIVATE, QUIET
from ..runs.limits import IMAGES, SettingsError, check_number
from ..runs.models import SpaceModels
from ..runs.sessions import WORKER, offer
from ..server.sharing import SharedView
from ..widgets.controls import controls_in, layout
from ..widgets.presets import preset_note
from ..widgets.programs import code_view
from ..widgets.seeds import connect_new_seed
from .controls import CONTROLS
from .handlers import INPUTS, GenerateHandlers
from .presets import presets
from .trajectory import trajectory_player

# Pictures of other settings than those that are set are greyed; where a model draws at once, new ones are drawn: after
# another was chosen, once the page is laid out for it.
GREY_OUT_OTHERS = """(shown, ...values) => {
  const old = JSON.stringify(shown.made_with) !== JSON.stringify(values);
  document.querySelector("#trajectory .player").classList.toggle("old", old);
  document.querySelector("#trajectory .stale").hidden = !old;
  if (old && shown.made_with[0] === values[0]) document.querySelector("#draw-at-once:not(:disabled)")?.click();
  return [];
}"""
PRESS_GENERATE = """() => {
  document.querySelector("#generate:not(:disabled)")?.click();
  return [];
}"""
DRAW_AT_ONCE = """() => {
  const old = document.querySelector("#trajectory .player.old");
  if (old) document.querySelector("#draw-at-once:not(:disabled)")?.click();
  return [];
}"""


class GenerateTab:
    """Builds the tab inside the current `gr.Blocks` and connects its events.

    Args:
        models: what to sample from.
    """

    def __init__(self, models: SpaceModels) -> None:
        self.models = models
        self.model = models.default
        self.handlers = GenerateHandlers(models)
        self._build()
        self._connect()

    def _build(self) -> None:
        default = defaults(CONTROLS, self.model) | {"model": self.model.name}
        plots, notes, cost, code = self.handlers.describe(*(default[name] for name in INPUTS))
        self.presets = presets(default)
        is_score = not self.model.few_levels
        with gr.Column(visible=is_score) as preset_part:
            with gr.Row(elem_classes="presets"):
                self.preset_buttons = [gr.Button(preset.name, size="sm", min_width=110) for preset in self.presets]
            self.preset_note = gr.HTML(
                preset_note("Presets", "Each sets the controls below and draws at once."), elem_id="preset-note"
            )
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300):
                gr.HTML('<h2 class="heading">What to draw</h2>')
                with gr.Group():
                    controls = {"model": self._model_control()} | controls_in("image", CONTROLS, self.model)
                with gr.Row():
                    self.generate_button = gr.Button("Generate", variant="primary", elem_id="generate", min_width=110)
                    self.at_once_button = gr.Button(visible="hidden", interactive=not is_score, elem_id="draw-at-once")
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, elem_id="stop", min_width=80
                    )
                    self.seed_button = gr.Button("New seed", elem_id="new-seed", min_width=80)
                self.cost = gr.HTML(cost, label="Cost", elem_id="cost")
            with gr.Column(scale=7, min_width=300):
                start, pictures = self.handlers.start()
                words = f"Ready. Below: noise at σ = {start.sigma:.3g}, and what the network makes of it."
                self.status = gr.HTML(messages.status(words, of=start.evaluations), label="Status", elem_id="status")
                self.trajectory = trajectory_player(pictures)
                with gr.Row():
                    self.downloads = [
                        gr.DownloadButton(label, interactive=False, size="sm", min_width=90, elem_id=elem_id)
                        for label, elem_id in (
                            ("PNG", "download-grid"),
                            ("GIF", "download-animation"),
                            ("Python", "download-program"),
                        )
                    ]
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300, visible=is_score) as sampler_part:
                gr.HTML('<h2 class="heading">How to draw it</h2>')
                with gr.Group():
                    controls |= controls_in("schedule", CONTROLS, self.model)
            with gr.Column(scale=7, min_width=300):
                self.plots = gr.HTML(
                    plots if is_score else "", label="Noise schedule", visible=is_score, elem_id="plots"
                )
                self.notes = gr.HTML(notes, label="Notes", elem_id="notes")
                self.statistics = gr.HTML(label="Statistics", visible=is_score, elem_id="statistics")
        self.of_a_score = [preset_part, sampler_part, self.plots, self.statistics]
        with gr.Accordion("The same images in Python", open=False):
            self.code = code_view(code, "Python", "code", buttons=["copy"])
        self.controls = controls
        shared = {name: controls[name] for name in INPUTS if name != "model" or len(self.models.names) > 1}
        self.view = SharedView("generate", shared, self._check_shared, self.status, self.handlers, CONTROLS)
        self.inputs = [controls[name] for name in INPUTS]
        self.compared = [self.trajectory, *self.inputs]
        self.parameters = {"model": (str, self.model.name)} | parameters(CONTROLS, self.model)
        self.shown = [*self.of_a_score, self.at_once_button, *(controls[row.name] for row in CONTROLS)]
        self.of_the_model = [controls[row.name] for row in CONTROLS if row.is_of_the_model]
        self.previewed = [self.plots, self.notes, self.cost, self.code]

    def _connect(self) -> None:
        controls, previewed = self.controls, self.previewed
        gr.on(
            # Not the model's: its classes come first, and Gradio refuses a class that is not among them.
            [controls[name].change for name in INPUTS if name != "model"],
            self.handlers.describe,
            self.inputs,
            previewed,
            api_visibility="private",
            **PREVIEW,
        )
        gr.on(
            [controls[row.name].change for row in CONTROLS if isinstance(row.kind, Choice)],
            self.layout,
            self.inputs,
            self.shown,
            **PRIVATE | CHECKED_BY_US,
        )
        chosen = controls["model"].input(
            self.handlers.choose_model,
            controls["model"],
            self.of_the_model,
            api_name="choose_model",
            api_description="Sets the controls of this session to a model's classes and range of noise levels.",
            **QUIET,
        )
        chosen.then(self.handlers.describe, self.inputs, previewed, api_visibility="private", **PREVIEW)
        laid_out = chosen.then(self.layout, self.inputs, self.shown, **PRIVATE | CHECKED_BY_US)
        laid_out.then(None, None, None, js=DRAW_AT_ONCE, **PRIVATE)
        controls["class_label"].input(
            self.whole_rows,
            [controls["model"], controls["class_label"], controls["num_images"]],
            controls["num_images"],
            **PRIVATE,
        )
        gr.api(
            with_signature(self.handlers.preview_numbers, self.parameters),
            api_name="preview",
            api_description="The noise levels, the rows (sigma, a, b, next sigma) of the sampler's table, what is "
            "wrong with the settings, what they cost, their Python.",
            concurrency_id="plots",
        )
        changed = [component.change for component in self.compared]
        gr.on(changed, None, self.compared, None, js=GREY_OUT_OTHERS, **PRIVATE)
        connect_new_seed(self.seed_button, controls["seed"])
        for index, (preset, button) in enumerate(zip(self.presets, self.preset_buttons, strict=True)):
            targets = [controls[name] for name in preset.values]
            applied = button.click(
                partial(self.apply_preset, index), controls["model"], [self.preset_note, *targets], **PRIVATE
            )
            applied.then(None, None, None, js=PRESS_GENERATE, **PRIVATE)
        outputs = [self.trajectory, self.status, self.code, self.statistics]
        run = self.handlers.connect_run(
            self.generate_button,
            with_signature(self.handlers.generate, self.parameters, request=gr.Request),
            self.inputs,
            [*outputs, *self.downloads],
            self.status,
            [self.generate_button, self.stop_button],
            api_visibility="private",
        )
        # The whole run takes less time than waiting, saying so, and giving the buttons back.
        at_once = self.at_once_button.click(
            with_signature(self.handlers.generate, self.parameters, request=gr.Request),
            self.inputs,
            [*outputs, *self.downloads],
            trigger_mode="always_last",
            concurrency_id=WORKER,
            concurrency_limit=1,
            api_visibility="private",
            **CHECKED_BY_US,
        )
        gr.api(
            with_signature(self.handlers.generate_numbers, self.parameters, request=gr.Request),
            api_name="generate",
            api_description="Images from noise. While it runs: status, evaluation, evaluations, sigma, seconds. At "
            "last the files too (images, animation, program), the same call as Python, and of every evaluation sigma, "
            "the noise found in x (1 in equilibrium) and the standard deviation of x.",
            concurrency_id=WORKER,
            concurrency_limit=1,
        )
        offer(at_once, self.downloads)
        offer(run, self.downloads)
        run.success(self.handlers.cost, self.inputs, self.cost, **PRIVATE | CHECKED_BY_US)
        self.handlers.connect_stop(
            self.stop_button, self.status, "stop", "this session's run after the current network evaluation"
        )

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        self.view.at_defaults(page, self.handlers.cost, self.inputs, self.cost)
        restored = self.view.connect(page)
        laid_out = restored.then(self.layout, self.inputs, self.shown, **PRIVATE | CHECKED_BY_US)
        laid_out.then(None, None, None, js=DRAW_AT_ONCE, **PRIVATE)
        # Behind the previews that the restored settings asked for one by one.
        restored.then(self.handlers.describe, self.inputs, self.previewed, api_visibility="private", **PREVIEW)
        page.unload(self.handlers.leave)

    def layout(self, model: str, *values: Any) -> list[dict[str, Any]]:
        """Shows what has a meaning beside the other values, and for the model."""
        given, chosen = dict(zip(INPUTS[1:], values, strict=True)), self.models.or_default(model)
        draws_at_once = bool(chosen.few_levels)
        shown = [gr.update(visible=not draws_at_once) for _ in self.of_a_score]
        return [*shown, gr.update(interactive=draws_at_once), *layout(CONTROLS, given, chosen)]

    def apply_preset(self, index: int, model: str) -> list[Any]:
        """The preset's words and values."""
        note, values = self.handlers.preset(index, model)
        return [note, *values.values()]

    def whole_rows(self, model: str, class_label: str, num_images: float) -> dict[str, Any]:
        """Rounds the number of images to whole rows where each class is asked for in turn."""
        classes = self.models.get(model).num_classes
        most = IMAGES[1]
        if class_label != "each" or not classes or classes > most:
            return gr.skip()
        try:
            num_images = check_number("Number of images", num_images, 1, most)
        except SettingsError:  # said by the preview
            return gr.skip()
        return gr.update(value=min(max(round(num_images / classes), 1), most // classes) * classes)

    def _model_control(self) -> gr.Dropdown:
        names = list(self.models.names)
        return gr.Dropdown(
            names, value=self.model.name, label="Model", filterable=False, visible=len(names) > 1, elem_id="model"
        )

    def _check_shared(self, **values: Any) -> None:
        values = {"model": self.model.name} | values
        self.handlers.check(*(values[name] for name in INPUTS))
