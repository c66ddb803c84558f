"""Two processes of a run part at its end, whatever ends it, however late a thread of gloo is."""

import contextlib
import itertools
import sys

import pytest

from ncsn_pipeline.training.config import TrainConfig
from tests.processes import started

ENDS = 100  # in one test; of the order in which torch destroys things by itself, a few in a hundred hang
AT_ONCE = 4
SECONDS = 180  # for one of them; alone it takes one or two
WAYS = ("done", "stopped", "failed")
SMALLEST = {
    "dataset_name": "digits",
    "block_out_channels": (8, 8),
    "sigma_max": 5.0,
    "num_levels": 2,
    "train_batch_size": 2,
    "use_ema": False,
    "lr_warmup_steps": 0,
    "max_train_steps": 1,
    "logging_steps": 1,
    "validation_steps": 1000,
    "num_validation_images": 8,
    "num_sample_images": 1,
    "checkpointing_steps": 1000,
    "report_to": "none",
}
OTHERS = {"stopped": {"max_train_steps": 1000}, "failed": {"max_train_steps": 10, "learning_rate": 1e30}}


def exit_codes(victims, folder, ways, **options):
    """Of the two processes of a run for each of `ways`, all at once."""
    with contextlib.ExitStack() as stack:
        runs = []
        for number, way in enumerate(ways):
            config = TrainConfig(output_dir=str(folder / f"run-{number}"), **(SMALLEST | OTHERS.get(way, {})))
            runs.append(stack.enter_context(victims.two(config, folder / f"peers-{number}", way=way, **options)))
        for process in itertools.chain(*runs):
            process.join()
    return [tuple(process.exitcode for process in run) for run in runs]


@pytest.fixture
def busy_loops():
    """Two processes that leave the others little of the machine."""
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(started([sys.executable, "-c", "while True: pass"], seconds=3600))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_processes_part_though_a_thread_of_gloo_is_late(victims, tmp_path, way):
    assert exit_codes(victims, tmp_path, [way], late=True) == [(0, 0)]


@pytest.mark.check
@pytest.mark.timeout(3600)
def test_many_runs_end_beside_busy_loops(victims, tmp_path, busy_loops):
    hung = []
    for number in range(0, ENDS, AT_ONCE):
        ways = [WAYS[one % len(WAYS)] for one in range(number, number + AT_ONCE)]
        folder = tmp_path / str(number)
        folder.mkdir()
        codes = exit_codes(victims, folder, ways, seconds=SECONDS)
        hung += [(number, way, pair) for way, pair in zip(ways, codes, strict=True) if pair != (0, 0)]
    assert not hung
