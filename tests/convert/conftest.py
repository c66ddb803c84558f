"""Checkpoints as the authors' code writes them, and what is on disk beside them."""

from pathlib import Path

import pytest
import torch

DATA = Path(__file__).parents[1] / "data"
# What the command needs to know about each: the architecture, the size, and NCSN's noise levels.
PUBLISHED = {
    "ncsn_28": {"architecture": "ncsn", "image_size": 28, "sigma_max": 1.0, "sigma_min": 0.01},
    "ncsnv2_28": {"architecture": "ncsnv2", "image_size": 28},
    "ncsnv2_32": {"architecture": "ncsnv2", "image_size": 32},
    "ncsnv2_deeper_64": {"architecture": "ncsnv2_deeper", "image_size": 64},
    "ncsnv2_deepest_64": {"architecture": "ncsnv2_deepest", "image_size": 64},
}


class Checkpoints:
    """The shipped checkpoints, and edited copies of them in a folder of their own."""

    published = PUBLISHED

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return DATA / f"{name}.pth"

    def vectors(self, name):
        return DATA / f"{name}.io.safetensors"

    def states(self, name):
        return torch.load(self.path(name), weights_only=True)

    def save(self, states, name="edited.pth", **options):
        torch.save(states, self.folder / name, **options)
        return self.folder / name

    def write(self, content, name="edited.pth"):
        (self.folder / name).write_bytes(content)
        return self.folder / name


@pytest.fixture
def checkpoints(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return Checkpoints(folder)


@pytest.fixture
def place(tmp_path):
    """An empty folder to write into."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder
