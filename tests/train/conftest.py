"""The scripts in `train/` import each other by bare names, as they do when one of them is run; tests do the same."""

import os
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))

from image_features import like_mnist

from ncsn_pipeline.data import ImageData, load_images


def _enlarged(split: str) -> ImageData:
    """Scikit-learn's 8x8 digits at the size and with the margin of MNIST's: 20x20 in 28x28."""
    data = load_images("digits", split=split)
    large = like_mnist(data.float_images())
    return ImageData((large * 255).round().to(torch.uint8), data.labels, data.label_names)


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
    paths = [str(here), str(here.parents[1] / "train"), os.environ["PYTHONPATH"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(paths[0])
        import victims

        victims.server()
        forkserver.ensure_running()  # it imports while the test does something else
        yield victims
