"""`ncsn noise-levels` on the built-in digits: as a user runs it, and in this process."""

import json
import sys

import pytest
import torch

from ncsn_pipeline.commands.noise_levels import main
from ncsn_pipeline.data import load_images
from ncsn_pipeline.noise_levels import suggest_noise_levels
from tests.processes import run


def test_table_is_that_of_the_function(capsys):
    assert main(["--data", "digits"]) == 0
    expected = suggest_noise_levels(load_images("digits").float_images())
    assert capsys.readouterr().out.rstrip("\n") == str(expected)


@pytest.mark.check
def test_bad_data_end_the_process_with_one_line_and_code_2():
    done = run([sys.executable, "-m", "ncsn_pipeline", "noise-levels", "--data", "./no-such-folder"])
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "./no-such-folder" in done.stderr


def test_json_holds_the_whole_ladder_in_the_given_range(capsys):
    code = main(
        [
            *"--data digits --split test --data-min -1 --data-max 1 --sigma-min 0.02 --steps-per-level 3".split(),
            *"--quantile 0.9 --robust --seed 3 --json".split(),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    data = load_images("digits", split="test").float_images(-1, 1)
    expected = suggest_noise_levels(data, sigma_min=0.02, steps_per_level=3, quantile=0.9, robust=True)
    assert code == 0
    assert found["num_points"] == 297
    assert torch.equal(torch.tensor(found["sigmas"]), expected.sigmas)
    assert found["step_size"] == expected.step_size


def test_resolution_is_that_of_the_images(capsys):
    assert main(["--data", "digits", "--resolution", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dimension"] == 16


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("--split train2", "no split"),
        ("--resolution 0", "resolution must be"),
        ("--sigma-min 50", "sigma_min must lie below"),
        ("--sigma-min nan", "sigma_min must be"),
        ("--steps-per-level 0", "steps_per_level must be"),
        ("--quantile 1.5", "quantile must lie"),
        ("--data-min 1 --data-max 0", "--data-min must be below"),
        ("--data-max nan", "--data-min must be below"),
    ],
)
def test_bad_values_are_one_line_and_code_2(arguments, words, capsys):
    assert main(["--data", "digits", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert words in printed.err


def test_a_missing_data_set_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "--data" in capsys.readouterr().err
