"""How tests are shared out over the cores: whole files, the long ones first, and on after a worker has died."""

import re
import sys

import pytest

from tests.processes import run
from tests.sharing import group_of, place_of

# Hangs in Python, where it can be interrupted, and in C with the lock held and no signal let through; then ends.
HANGING = """
import ctypes, signal, time
def test_first():
    pass
def test_hangs_in_python():
    time.sleep(1000)
def test_between():
    pass
def test_hangs_in_c():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    ctypes.PyDLL(None).sleep(1000)
def test_after():
    pass
def test_last_hangs():
    test_hangs_in_c()
"""
SETTINGS = """
[pytest]
timeout = 3
timeout_method = signal
faulthandler_timeout = 6
faulthandler_exit_on_timeout = true
"""
CONFTEST = """
from tests.sharing import GroupScheduling
def pytest_xdist_make_scheduler(config, log):
    return GroupScheduling(config, log)
"""


def test_the_page_is_two_groups_and_other_files_are_their_own():
    one, other = "tests/space/test_call.py::test_a[x::y]", "tests/space/test_generate.py::test_b"
    assert group_of(one) == group_of(other) != group_of("tests/hub/test_push.py::test_a")
    later, last = "tests/space/test_learn.py::test_b", "tests/space/test_said.py::test_b"
    assert group_of(later) == group_of(last) != group_of(one)
    assert group_of("tests/train/test_push.py::test_a[@]") == "tests/train/test_push.py"


def test_what_takes_long_starts_first_after_the_tests_of_style():
    names = ["tests/sampling/test_a.py::a", "tests/train/test_b.py::b", "tests/space/test_c.py::c"]
    names.append("tests/test_architecture.py::d")
    assert sorted(names, key=place_of) == names[::-1]


@pytest.mark.check
def test_tests_that_hang_end_with_their_stacks_and_the_others_run(tmp_path, repo_root):
    for name, text in {"pytest.ini": SETTINGS, "conftest.py": CONFTEST, "test_a.py": HANGING}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "test_b.py").write_text("def test_other():\n    pass\n", encoding="utf-8")
    done = run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-v"], cwd=tmp_path)
    assert done.returncode == 1
    outcomes = {name: outcome for outcome, name in re.findall(r"(PASSED|FAILED) test_\w\.py::(\w+)", done.stdout)}
    hanging = {"test_hangs_in_python", "test_hangs_in_c", "test_last_hangs"}
    others = {"test_first", "test_between", "test_after", "test_other"}
    assert outcomes == dict.fromkeys(hanging, "FAILED") | dict.fromkeys(others, "PASSED")
    assert "time.sleep(1000)" in done.stdout  # pytest shows where it was interrupted
    assert "in test_hangs_in_c" in done.stderr and "in test_last_hangs" in done.stderr
