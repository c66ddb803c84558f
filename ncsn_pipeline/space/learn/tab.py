"""The Learn tab: a small network learns the score of a density in the plane while one watches."""

from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from ..runs import messages
from ..runs.controls import with_signature
from ..runs.events import CHECKED_BY_US, PREVIEW, PRIVATE
from ..runs.sessions import WORKER
from ..server.sharing import SharedView
from ..widgets.presets import preset_note
from ..widgets.seeds import seed_control
from . import limits, report
from .data import DATA
from .dilemma import dilemma
from .handlers import LEARN_INPUTS, LearnHandlers
from .limits import check_learn
from .presets import LEARN_DEFAULTS, learn_presets
from .report import Panels

LEVEL_NAMES = [("One, σ", "one"), ("All, told σ", "all")]
OBJECTIVE_NAMES = [("Denoising", "denoising"), ("Sliced", "sliced"), ("Exact trace", "exact")]
INTRODUCTION = """<p class="lead">A small network learns <i>s(x) ≈ ∇ log p<sub>σ</sub>(x)</i> from samples alone. Here
the true score is known, so it can be seen where the network is right, what one noise level σ costs, and what all of
them together are worth.</p>"""


class LearnTab:
    """Builds the tab inside the current `gr.Blocks` and connects its events."""

    def __init__(self) -> None:
        self.handlers = LearnHandlers()
        self._build()
        self._connect()

    def _build(self) -> None:
        settings = check_learn(**LEARN_DEFAULTS)
        self.presets = learn_presets()
        gr.HTML(INTRODUCTION)
        with gr.Row(elem_classes="presets"):
            self.preset_buttons = [gr.Button(preset.name, size="sm", min_width=110) for preset in self.presets]
        self.preset_note = gr.HTML(
            preset_note("Presets", "Each sets the controls below; then train."), elem_id="learn-preset-note"
        )
        with gr.Row(elem_classes="section"):
            with gr.Column(scale=4, min_width=300):
                gr.HTML('<h2 class="heading">What to learn, and how</h2>')
                with gr.Group():
                    self.controls = learn_controls()
                with gr.Row():
                    self.train_button = gr.Button("Train", variant="primary", elem_id="train", min_width=90)
                    self.stop_button = gr.Button(
                        "Stop", variant="stop", interactive=False, elem_id="learn-stop", min_width=70
                    )
                    self.sweep_button = gr.Button("Train at six σ, then all", elem_id="sweep", min_width=240)
                self.note = gr.HTML(label="Note", elem_id="learn-note")
            with gr.Column(scale=7, min_width=300):
                words = f"Ready. A training takes a few seconds, and at most {limits.TRAIN_SECONDS:.0f} s."
                self.status = gr.HTML(messages.status(words), label="Status", elem_id="learn-status")
                self.loss = gr.HTML(report.loss([], settings, None, []), label="Loss", elem_id="loss")
                self.numbers = gr.HTML(report.numbers(None), label="Numbers", elem_id="numbers")
        gr.HTML('<h2 class="heading">True, learned, and where they differ</h2>')
        self.panels = gr.HTML(Panels(settings).html(), label="Fields and errors", elem_id="panels")
        gr.HTML('<h2 class="heading">The dilemma of a single noise level</h2>')
        self.dilemma = gr.HTML(dilemma(settings, []), label="Dilemma", elem_id="dilemma")
        self.runs = gr.State(None)
        self.inputs = [self.controls[name] for name in LEARN_INPUTS]
        shared = {name: self.controls[name] for name in LEARN_INPUTS}
        self.view = SharedView("learn", shared, check_learn, self.status, self.handlers)

    def _connect(self) -> None:
        named = {name: (type(value), value) for name, value in ((name, LEARN_DEFAULTS[name]) for name in LEARN_INPUTS)}
        gr.on(
            [self.controls[name].change for name in ("data", "sigma")],
            self.handlers.preview,
            [*self.inputs, self.runs],
            [self.panels, self.dilemma],
            api_visibility="private",
            **PREVIEW,
        )
        gr.api(
            with_signature(self.handlers.true_score, named),
            api_name="true_score",
            api_description="Points of the plane with the log of the noised density and its true score, and how far "
            "that density is from the clean data (sliced Wasserstein distance).",
            concurrency_id="plots",
        )
        gr.on(
            [component.change for component in self.inputs],
            self.handlers.check,
            [*self.inputs, self.runs],
            self.note,
            trigger_mode="always_last",
            **PRIVATE,
        )
        for index, (preset, button) in enumerate(zip(self.presets, self.preset_buttons, strict=True)):
            targets = [self.controls[name] for name in preset.values]
            button.click(partial(self.apply_preset, index), None, [self.preset_note, *targets], **PRIVATE)
        for button, shown, told, name, words in (
            (
                self.train_button,
                self.handlers.train,
                self.handlers.train_numbers,
                "train",
                "Trains a network on the score at one noise level, or at all of them. While it runs: status, step, "
                "loss; at last all losses, the errors (mean squared error over that of no score at all), 2,000 "
                "samples and their distance from the clean data.",
            ),
            (
                self.sweep_button,
                self.handlers.sweep,
                self.handlers.sweep_numbers,
                "train_sweep",
                "Trains a network at each of six noise levels, then one at all levels; tells the errors and the "
                "distance of those that have ended.",
            ),
        ):
            button.click(lambda: "", None, self.note, **PRIVATE)
            run = self.handlers.connect_run(
                button,
                with_signature(shown, named | {"runs": (list, None)}, request=gr.Request),
                [*self.inputs, self.runs],
                [self.status, self.loss, self.numbers, self.panels, self.dilemma, self.runs],
                self.status,
                [self.train_button, self.sweep_button, self.stop_button],
                api_visibility="private",
            )
            run.then(self.handlers.check, [*self.inputs, self.runs], self.note, **PRIVATE | CHECKED_BY_US)
            gr.api(
                with_signature(told, named, request=gr.Request),
                api_name=name,
                api_description=words,
                concurrency_id=WORKER,
                concurrency_limit=1,
            )
        self.handlers.connect_stop(
            self.stop_button, self.status, "stop_training", "this session's training after the current step"
        )

    def connect_page(self, page: gr.Blocks) -> None:
        """What happens when the page opens and when it is left."""
        self.view.connect(page)
        page.unload(self.handlers.leave)

    def apply_preset(self, index: int) -> list[Any]:
        """The preset's words and values."""
        preset = self.presets[index]
        return [preset_note(preset.name, preset.note), *preset.values.values()]


def learn_controls() -> dict[str, Component]:
    """The controls, by the names of `check_learn`'s arguments."""
    return {
        "data": gr.Radio(
            [(data.label, name) for name, data in DATA.items()],
            value=LEARN_DEFAULTS["data"],
            label="Data",
            elem_id="learn-data",
        ),
        "sigma": gr.Slider(
            *limits.LEARN_SIGMA,
            value=LEARN_DEFAULTS["sigma"],
            step=0.01,
            label="σ, the noise level",
            info="In data units; the data are about 4 across. 0: no noise.",
            elem_id="learn-sigma",
            elem_classes="logarithmic",
        ),
        "levels": gr.Radio(
            LEVEL_NAMES,
            value=LEARN_DEFAULTS["levels"],
            label="Noise levels",
            info="All: samples are drawn from a large σ down to a small one, and the pictures show σ as set above.",
            elem_id="learn-levels",
        ),
        "objective": gr.Radio(
            OBJECTIVE_NAMES,
            value=LEARN_DEFAULTS["objective"],
            label="Objective",
            info="All three have the same minimum. Denoising needs noise; the others differentiate the network.",
            elem_id="objective",
        ),
        "num_steps": gr.Slider(
            *limits.TRAIN_STEPS,
            value=LEARN_DEFAULTS["num_steps"],
            step=50,
            label="Training steps",
            elem_id="learn-steps",
            elem_classes="logarithmic",
        ),
        "seed": seed_control("learn-seed", "network and the same samples"),
    }
