"""What every test relies on: fixed seeds, one thread, a time limit, no telemetry, and where the repository is."""

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

from tests.processes import MARK, end_marked, new_mark  # noqa: E402
from tests.sharing import GroupScheduling, place_of  # noqa: E402

# Whatever this process and its workers start inherits it, and ends with them; also what a worker leaves that died.
RUN = new_mark()
os.environ[MARK] = f"{os.environ.get(MARK, '')} {RUN}".strip()

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The path of a Chromium or Chrome on this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_collection_modifyitems(items):
    """In the order of :func:`place_of`; the sort is stable, so that files stay whole."""
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two more than there are cores: browsers, servers and processes are waited for as often as computed with."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadgroup` is ours."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_unconfigure():
    end_marked(RUN)


def pytest_addoption(parser):
    parser.addoption(
        "--seeds", type=int, default=0,
        help="run every test under so many other seeds, also where it seeds a generator itself, instead of its own",
    )  # fmt: skip


def pytest_generate_tests(metafunc):
    """`--seeds N`: each test N times, under other random numbers each time."""
    count = metafunc.config.getoption("--seeds")
    if count and metafunc.definition.get_closest_marker("fixed_seed") is None:
        metafunc.parametrize("seeded", range(1, count + 1), indirect=True, ids=lambda number: f"seed {number}")


# Tests that drew nothing under one seed: other seeds change nothing for them.
drew_nothing = set()


@pytest.fixture(autouse=True)
def seeded(request, monkeypatch):
    """Each test starts from the same random state, whatever ran before it; with `--seeds`, from another one."""
    number = getattr(request, "param", 0)
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(0)
    if not number:
        yield
        return
    test = request.node.nodeid.replace(f"[seed {number}", "[seed")
    if test in drew_nothing:
        pytest.skip("draws no random numbers")
    seeds = []
    shift_seeds(monkeypatch, number, seeds)
    torch.manual_seed(0)
    seeds.clear()
    before = random_state()
    yield
    if not seeds and random_state() == before:
        drew_nothing.add(test)


def random_state():
    """What the generators that every library shares would draw next, in a form that can be compared."""
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def shift_seeds(monkeypatch, number, seeds):
    """Whoever seeds a generator now, in a test or in the package, gets other numbers than before; it is noted down."""
    manual_seed, default_rng, generator = torch.manual_seed, np.random.default_rng, torch.Generator

    def shifted(seed):
        seeds.append(seed)
        return (int(seed) + 1_000_003 * number) % 2**63

    class AnyGenerator(type(generator)):
        """Those that were made before the test, among its arguments, are generators too."""

        def __instancecheck__(cls, instance):
            return isinstance(instance, generator)

    class ShiftedGenerator(generator, metaclass=AnyGenerator):
        def manual_seed(self, seed):
            return super().manual_seed(shifted(seed))

    def shifted_rng(seed=None):
        seeds.append(seed)
        return default_rng([seed or 0, number])

    monkeypatch.setattr(torch, "Generator", ShiftedGenerator)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: manual_seed(shifted(seed)))
    monkeypatch.setattr(np.random, "default_rng", shifted_rng)


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
