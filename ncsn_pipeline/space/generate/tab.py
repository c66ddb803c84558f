"""The Generate tab: images from noise, as they form, with every setting of the sampler at hand."""

from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from ..runs import messages
from ..runs.events import CHECKED_BY_US, PREVIEW, PRIVATE, QUIET
from ..runs.limits import IMAGES, SettingsError, check_number
from ..runs.models import SpaceModels
from ..runs.sessions import offer
from ..server.sharing import SharedView
from ..widgets.grid import image_grid, row_of_classes
from ..widgets.presets import preset_note
from ..widgets.programs import code_view
from ..widgets.seeds import connect_new_seed
from .controls import class_choices, defaults, image_controls, ladder_controls, langevin_controls
from .handlers import INPUTS, GenerateHandlers
from .presets import presets
from .trajectory import trajectory_player


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
        default = defaults(self.model)
        plots, notes, cost, code = self.handlers.preview(*(default[name] for name in INPUTS))
        self.presets = presets(default)
        with gr.Row(elem_classes="presets"):
            self.preset_buttons = [gr.Button(preset.name, size="sm", min_width=110) for preset in self.presets]
        self.preset_note = gr.HTML(
            preset_note("Presets", "Each sets the controls below; then generate."), elem_id="preset-note"
        )
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300):
                gr.HTML('<h2 class="heading">What to draw</h2>')
                with gr.Group():
                    controls = image_controls(self.models)
                with gr.Row():
                    self.generate_button = gr.Button("Generate", variant="primary", elem_id="generate", min_width=110)
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, elem_id="stop", min_width=80
                    )
                    self.seed_button = gr.Button("New seed", elem_id="new-seed", min_width=80)
                self.cost = gr.HTML(cost, label="Cost", elem_id="cost")
            with gr.Column(scale=7, min_width=300):
                start = self.handlers.start()
                words = f"Ready. Below: noise at σ = {start.sigma:.3g}, and what the network makes of it."
                self.status = gr.HTML(messages.status(words, of=start.evaluations), label="Status", elem_id="status")
                with gr.Row(elem_classes="pictures"):
                    self.samples = self._picture("x", "the samples", start.samples, "samples")
                    self.denoised = self._picture("x + σ²s", "denoised", start.denoised, "denoised")
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300):
                gr.HTML('<h2 class="heading">How to draw it</h2>')
                with gr.Group():
                    controls |= ladder_controls(self.model)
                    with gr.Column(visible=False, elem_classes="langevin") as self.langevin_group:
                        controls |= langevin_controls(self.model)
            with gr.Column(scale=7, min_width=300):
                self.plots = gr.HTML(plots, label="Ladder", elem_id="plots")
                self.notes = gr.HTML(notes, label="Notes", elem_id="notes")
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=6, min_width=300):
                gr.HTML('<h2 class="heading">How they formed</h2>')
                self.trajectory = trajectory_player()
                with gr.Row():
                    self.downloads = [
                        gr.DownloadButton(label, interactive=False, size="sm", min_width=90, elem_id=elem_id)
                        for label, elem_id in (
                            ("PNG", "download-grid"),
                            ("GIF", "download-animation"),
                            ("Python", "download-program"),
                        )
                    ]
            with gr.Column(scale=7, min_width=300):
                self.statistics = gr.HTML(label="Statistics", elem_id="statistics")
        with gr.Accordion("The same images in Python", open=False):
            self.code = code_view(code, "Python", "code", buttons=["copy"])
        self.controls = controls
        shared = {name: controls[name] for name in INPUTS if name != "model" or len(self.models.names) > 1}
        self.view = SharedView("generate", shared, self._check_shared, self.status, self.handlers)
        self.inputs = [controls[name] for name in INPUTS]
        self.previewed = [self.plots, self.notes, self.cost, self.code]

    def _connect(self) -> None:
        controls, previewed = self.controls, self.previewed
        gr.on(
            # Not the model's: its classes come first, and Gradio refuses a class that is not among them.
            [controls[name].change for name in INPUTS if name != "model"],
            self.handlers.preview,
            self.inputs,
            previewed,
            api_name="preview",
            api_description="The ladder's figures, what is wrong with the settings, what they cost, their Python.",
            **PREVIEW,
        )
        gr.on(
            [controls["sampler"].change, controls["step_mode"].change],
            self.layout,
            [controls["sampler"], controls["step_mode"]],
            [self.langevin_group, controls["step_fraction"]],
            **PRIVATE,
        )
        chosen = controls["model"].input(
            self.handlers.choose_model,
            controls["model"],
            [controls[name] for name in ("class_label", "guidance_scale", "num_images", "sigma_max", "sigma_min")],
            api_name="choose_model",
            api_description="Sets the controls of this session to a model's classes and range of noise levels.",
            **QUIET,
        )
        chosen.then(self.handlers.preview, self.inputs, previewed, api_visibility="private", **PREVIEW)
        controls["class_label"].input(
            self.whole_rows,
            [controls["model"], controls["class_label"], controls["num_images"]],
            controls["num_images"],
            **PRIVATE,
        )
        connect_new_seed(self.seed_button, controls["seed"])
        for index, (preset, button) in enumerate(zip(self.presets, self.preset_buttons, strict=True)):
            targets = [controls[name] for name in preset.values]
            button.click(partial(self.apply_preset, index), controls["model"], [self.preset_note, *targets], **PRIVATE)
        outputs = [self.samples, self.denoised, self.status, self.code, self.trajectory, self.statistics]
        run = self.handlers.connect_run(
            self.generate_button,
            self.handlers.generate,
            self.inputs,
            [*outputs, *self.downloads],
            self.status,
            [self.generate_button, self.stop_button],
            api_name="generate",
            api_description="Images from noise: the samples, their denoised estimate, a line of status, the Python, "
            "every kept step, plots of the run, and the files: images, animation, program.",
        )
        offer(run, self.downloads)
        run.success(self.handlers.cost, self.inputs, self.cost, **PRIVATE | CHECKED_BY_US)
        self.handlers.connect_stop(
            self.stop_button, self.status, "stop", "this session's run after the current network evaluation"
        )

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        restored = self.view.connect(page)
        restored.then(
            self.layout,
            [self.controls["sampler"], self.controls["step_mode"]],
            [self.langevin_group, self.controls["step_fraction"]],
            **PRIVATE,
        )
        if len(self.models.names) > 1:
            restored.then(
                self.classes,
                self.controls["model"],
                [self.controls["class_label"], self.controls["guidance_scale"]],
                **PRIVATE,
            ).then(self.handlers.preview, self.inputs, self.previewed, api_visibility="private", **PREVIEW)
        restored.then(self.handlers.cost, self.inputs, self.cost, **PRIVATE | CHECKED_BY_US)
        page.unload(self.handlers.leave)

    @staticmethod
    def layout(sampler: str, step_mode: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Shows what only annealed Langevin dynamics has, and the step size where it is set by hand."""
        return gr.update(visible=sampler == "langevin"), gr.update(visible=step_mode == "fraction")

    def classes(self, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What can be asked of a model that the page's address names."""
        chosen = self.models.get(model)
        conditional = bool(chosen.num_classes)
        return gr.update(choices=class_choices(chosen), visible=conditional), gr.update(visible=conditional)

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

    def _check_shared(self, **values: Any) -> None:
        values = {"model": self.model.name} | values
        self.handlers.check(*(values[name] for name in INPUTS))

    def _picture(self, formula: str, words: str, images: np.ndarray, elem_id: str) -> gr.Image:
        columns = row_of_classes(len(images), self.model.num_classes) if self.model.num_classes else None
        with gr.Column(min_width=140, elem_classes="picture"):
            gr.HTML(f'<p class="caption"><i>{formula}</i>, {words}</p>')
            return gr.Image(
                image_grid(images, columns),
                label=f"{formula}, {words}",
                show_label=False,
                format="png",
                image_mode="RGBA",
                interactive=False,
                buttons=["download", "fullscreen"],
                alt_text=f"{formula}, {words}",
                elem_id=elem_id,
            )
