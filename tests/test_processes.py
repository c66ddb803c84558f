"""Every process of a test ends: in time, with what it started, and with its stacks where it hangs."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.processes import Ended, forked, run, started

# Starts a process in a session of its own, says its number, and ends or hangs.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
print(child.pid, flush=True)
"""


def wait_until_gone(number):
    """A killed process stays listed until its parent, here the system's first process, has asked for it."""
    end = time.monotonic() + 60
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f"process {number} is still running"
        time.sleep(0.02)


def test_a_process_that_hangs_is_ended_with_its_grandchildren_and_says_where_it_was():
    hang = PARENT + "def where_it_hangs():\n    time.sleep(1000)\nwhere_it_hangs()"
    with pytest.raises(Ended, match="in where_it_hangs") as error:
        run([sys.executable, "-c", hang], seconds=5)
    number = next(int(line) for line in str(error.value).splitlines() if line.isdigit())
    wait_until_gone(number)
    said = str(error.value)  # of parent and child, one after the other
    assert said.count("most recent call first):\n  File") == said.count("in <module>\n") == 2
    assert 'line 6 in where_it_hangs\n  File "<string>", line 7 in <module>' in said


def test_what_a_process_left_running_ends_with_it():
    """It ends itself; the pipe that its child holds open is not waited for longer than the time limit."""
    done = run([sys.executable, "-c", PARENT.replace("start_new", "stdout=-3, stderr=-3, start_new")])
    assert done.returncode == 0, done.stderr
    wait_until_gone(int(done.stdout))


def test_a_process_ends_with_its_children_when_the_test_fails():
    with pytest.raises(ZeroDivisionError):
        with started([sys.executable, "-c", PARENT + "time.sleep(1000)"], stdout=subprocess.PIPE) as process:
            number = int(process.stdout.readline())
            _ = 1 / 0
    assert process.poll() is not None
    wait_until_gone(number)


def test_a_process_without_the_inherited_environment_ends_with_its_parent():
    bare = PARENT.replace("start_new", "env={}, start_new") + "time.sleep(1000)"
    with started([sys.executable, "-c", bare], stdout=subprocess.PIPE) as process:
        number = int(process.stdout.readline())
    wait_until_gone(number)


def test_a_copy_of_this_process_has_a_time_limit():
    number = forked(lambda: time.sleep(1000), seconds=0.5)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGALRM


# What starts processes by itself, and has limits of its own.
EXCEPTIONS = {"processes.py", "train/victims.py"}
STARTERS = {
    *(f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output", "getoutput")),
    *(f"os.{name}" for name in ("fork", "forkpty", "system", "popen", "posix_spawn")),
    *("multiprocessing.Process", "multiprocessing.Pool", "multiprocessing.get_context"),
}


def starts(source):
    """Lines that start a process, or import what does."""
    found = []
    if not any(name.rpartition(".")[2] in source for name in STARTERS):
        return found
    for node in ast.walk(ast.parse(source)):
        names = [ast.unparse(node.func)] if isinstance(node, ast.Call) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [node.lineno for name in names if name in STARTERS]
    return found


def test_every_process_that_a_test_starts_has_a_time_limit():
    folder = Path(__file__).parent
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    found = {name: lines for name, path in files.items() if (lines := starts(path.read_text("utf-8")))}
    assert found.keys() <= EXCEPTIONS, found


@pytest.mark.parametrize("line", ["subprocess.run(['ls'])", "from subprocess import Popen", "os.fork()"])
def test_a_process_without_a_time_limit_is_found(line):
    assert starts(f"import os, subprocess\n{line}\n") == [2]
