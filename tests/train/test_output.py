"""What a program of training prints never ends it, whoever reads it and whatever letters it has."""

import io
import os
import sys
from types import SimpleNamespace

import pytest

from ncsn_pipeline.training import program
from ncsn_pipeline.training.config import TrainConfig
from tests.processes import run

PRINTS = """
import os, sys
from ncsn_pipeline.training.output import lasting_output

with lasting_output():
    {lines}
sys.exit(75)
"""
GONE = "reader, writer = os.pipe(); os.dup2(writer, 1); os.dup2(writer, 2); os.close(writer); os.close(reader)"


def printed(lines, **environment):
    command = [sys.executable, "-c", PRINTS.format(lines="\n    ".join(lines))]
    return run(command, env=os.environ | environment)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_reader_that_is_gone_changes_no_exit_code(flushed):
    lines = [GONE, f"print('one', flush={flushed})", "print('two', file=sys.stderr)", f"print(3, flush={flushed})"]
    done = printed(lines)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "")


def test_one_stream_goes_on_where_the_other_is_gone():
    lines = ["reader, writer = os.pipe(); os.dup2(writer, 1); os.close(writer); os.close(reader)"]
    done = printed([*lines, "print(1, flush=True)", "print('heard', file=sys.stderr)"])
    assert (done.returncode, done.stderr) == (75, "heard\n")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_what_was_closed_before_the_start_is_written_nowhere(closed):
    lines = ["print(1, flush=True)", "print(2, file=sys.stderr)"]
    program = f"import sys; sys.{closed} = None\n" + PRINTS.format(lines="\n    ".join(lines))
    done = run([sys.executable, "-c", program])
    assert (done.returncode, done.stdout, done.stderr) == (75, *(("", "2\n") if closed == "stdout" else ("1\n", "")))


def test_a_letter_that_the_output_lacks_is_spelled_out():
    done = printed(["print('K\\u00e4fer')"], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (75, "K\\xe4fer\n")


def test_the_programs_of_training_print_so(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    says = SimpleNamespace(train=lambda config, words: print("K\u00e4fer"))
    monkeypatch.setitem(sys.modules, "ncsn_pipeline.training.train", says)
    assert program.run_program(TrainConfig, "train", ["--dataset_name", "digits"], "train.py") == 0
    assert out.buffer.getvalue() == b"K\\xe4fer\n"
