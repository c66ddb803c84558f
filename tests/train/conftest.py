"""Digits to train and measure on, and the processes that tests kill."""

import os
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from ncsn_pipeline.data import ImageData, load_images
from ncsn_pipeline.evaluation.features import framed
from ncsn_pipeline.training import validation


def _enlarged(split: str) -> ImageData:
    """Scikit-learn's 8x8 digits at the size and with the margin of MNIST's: 20x20 in 28x28."""
    data = load_images("digits", split=split)
    large = framed(data.float_images(), 28, margin=4)
    return ImageData((large * 255).round().to(torch.uint8), data.labels, data.label_names)


@pytest.fixture(scope="module", autouse=True)
def few_denoised_images():
    """At a checkpoint the error of the denoiser is measured, most of a short run's work: on 16 images and not 100."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "MOST_DENOISED_IMAGES", 16)
        yield


@pytest.fixture(scope="session")
def train_digits() -> ImageData:
    return _enlarged("train")


@pytest.fixture(scope="session")
def test_digits() -> ImageData:
    return _enlarged("test")


@pytest.fixture(scope="session")
def victims():
    """The file of processes to kill, by a name that a forked process finds too."""
    here = Path(__file__).parent
    paths = [str(here), os.environ["PYTHONPATH"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(paths[0])
        import victims

        victims.server()
        forkserver.ensure_running()  # it imports while the test does something else
        yield victims
