"""What every test relies on: fixed seeds, one thread, no telemetry, and where the repository is."""

import os
import random
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Before any library is imported: they read these once.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("MPLBACKEND", "Agg")
# One thread, also in what a test starts: the tensors here are small, sums come out in one order on every machine, and
# `pytest -n` uses the other cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Commands that a test starts find the package too; `python -I` starts one that does not.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The path of a Chromium or Chrome on this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


# These share a server and a browser: with `pytest -n`, they stay together.
PAGE = "tests/space/"


def pytest_collection_modifyitems(items):
    """The architecture first: a broken rule is reported before anything takes long.  Files stay whole under xdist."""
    items.sort(key=lambda item: item.path.name != "test_architecture.py")
    for item in items:
        name = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(PAGE if name.startswith(PAGE) else name))


@pytest.fixture(autouse=True)
def seeded():
    """Each test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds `app.py`, `ncsn_pipeline/` and `train/`."""
    return ROOT


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser for playwright's `executable_path`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    path = find_browser() or (own if Path(own).is_file() else None)
    assert path, f"install Chromium or Chrome: none of {', '.join(BROWSERS)} is on the PATH"
    return path
