"""The seed of a run, and a button for another."""

import secrets

import gradio as gr

from ..runs.events import PRIVATE
from ..runs.limits import SEED


def seed_control(elem_id: str, same: str) -> gr.Number:
    """A whole number in the seeds' range.

    Args:
        elem_id: of the control.
        same: what the same seed gives again, "images" for instance.
    """
    least, most = SEED
    info = f"The same seed gives the same {same}."
    return gr.Number(0, minimum=least, maximum=most, step=1, label="Seed", info=info, elem_id=elem_id)


def connect_new_seed(button: gr.Button, seed: gr.Number) -> None:
    """Makes a button choose a seed by chance."""
    button.click(lambda: secrets.randbelow(SEED[1]), None, seed, **PRIVATE)
