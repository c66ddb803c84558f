"""The Generate tab: images from noise, as they form, with every setting of the sampler at hand."""

import secrets
from typing import Any

import gradio as gr
import numpy as np

from . import report
from .controls import defaults, image_controls, ladder_controls, langevin_controls
from .generate_answers import INPUTS, GenerateAnswers
from .grid import image_grid, row_of_classes
from .limits import SEED
from .model import SpaceModel
from .presets import Preset, presets


class GenerateTab:
    """Builds the tab inside the current `gr.Blocks` and connects its events.

    Args:
        model: what to sample from.
    """

    def __init__(self, model: SpaceModel) -> None:
        self.model = model
        self.answers = GenerateAnswers(model)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.presets = presets(defaults(self.model))
        with gr.Row(elem_classes="presets"):
            self.preset_buttons = [gr.Button(preset.name, size="sm", min_width=110) for preset in self.presets]
        self.preset_note = gr.HTML(self._preset_note(self.presets[0]), elem_id="preset-note")
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300):
                gr.HTML('<h2 class="heading">What to draw</h2>')
                with gr.Group():
                    controls = image_controls(self.model)
                with gr.Row():
                    self.generate_button = gr.Button("Generate", variant="primary", elem_id="generate", min_width=110)
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, elem_id="stop", min_width=80
                    )
                    self.seed_button = gr.Button("New seed", elem_id="new-seed", min_width=80)
                self.cost = gr.HTML(elem_id="cost")
            with gr.Column(scale=7, min_width=300):
                start = self.answers.start()
                words = f"Ready. Below: noise at σ = {start.sigma:.3g}, and what the network makes of it."
                self.status = gr.HTML(report.status(words, of=start.evaluations), elem_id="status")
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
                self.plots = gr.HTML(elem_id="plots")
                self.notes = gr.HTML(elem_id="notes")
        with gr.Accordion("The same images in Python", open=False):
            self.code = gr.Code(language="python", label="Python", interactive=False, buttons=["copy"], elem_id="code")
        self.controls = controls
        self.inputs = [controls[name] for name in INPUTS]

    def _connect(self) -> None:
        controls, previewed = self.controls, [self.plots, self.notes, self.cost, self.code]
        gr.on(
            [control.change for control in self.inputs],
            self.answers.preview,
            self.inputs,
            previewed,
            api_name="preview",
            api_description="The ladder's figures, what is wrong with the settings, what they cost, their Python.",
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_id="plots",
            concurrency_limit=1,
        )
        private = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        controls["sampler"].change(
            lambda sampler: gr.update(visible=sampler == "langevin"),
            controls["sampler"],
            self.langevin_group,
            **private,
        )
        controls["step_mode"].change(
            lambda mode: gr.update(visible=mode == "fraction"),
            controls["step_mode"],
            controls["step_fraction"],
            **private,
        )
        if self.model.num_classes:
            controls["digit"].input(
                self.whole_rows, [controls["digit"], controls["num_images"]], controls["num_images"], **private
            )
        self.seed_button.click(lambda: secrets.randbelow(SEED[1]), None, controls["seed"], **private)
        for preset, button in zip(self.presets, self.preset_buttons, strict=True):
            targets = [controls[name] for name in preset.values]
            button.click(
                lambda preset=preset: [self._preset_note(preset), *preset.values.values()],
                None,
                [self.preset_note, *targets],
                **private,
            )
        buttons = [self.generate_button, self.stop_button]
        run = self.generate_button.click(self.answers.wait, None, [self.status, *buttons], **private).then(
            self.answers.generate,
            self.inputs,
            [self.samples, self.denoised, self.status, self.code],
            api_name="generate",
            api_description="Images from noise: the samples, their denoised estimate, a line of status, the Python.",
            show_progress="hidden",
            concurrency_id="torch",
            concurrency_limit=1,
        )
        for ended in (run.then, run.failure):  # `then` alone is not reached after an error
            ended(lambda: [gr.update(interactive=True), gr.update(interactive=False)], None, buttons, **private)
        self.stop_button.click(
            self.answers.stop,
            None,
            None,
            api_name="stop",
            api_description="Ends the run of this session after the current network evaluation.",
            show_progress="hidden",
            queue=False,
        )

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        page.load(
            self.answers.preview,
            self.inputs,
            [self.plots, self.notes, self.cost, self.code],
            api_visibility="private",
            show_progress="hidden",
            concurrency_id="plots",
        )
        page.unload(self.answers.leave)

    def whole_rows(self, digit: str, num_images: float) -> dict[str, Any]:
        """Rounds the number of images to whole rows where each digit is asked for in turn."""
        classes = self.model.num_classes
        if digit != "each" or not isinstance(num_images, int | float) or classes > 64:
            return gr.skip()
        return gr.update(value=min(max(round(num_images / classes), 1), 64 // classes) * classes)

    @staticmethod
    def _preset_note(preset: Preset) -> str:
        return f'<p class="preset-note"><b>{preset.name}.</b> {preset.note}</p>'

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
