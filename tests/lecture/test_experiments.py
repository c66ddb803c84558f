"""Every experiment, in its quick version: the claim holds, the command works."""

import json
import math
import re
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.claims import claims_table
from ncsn_pipeline.commands.lecture import main, table
from ncsn_pipeline.lecture import EXPERIMENTS
from ncsn_pipeline.lecture.experiment import Check, Params, Result
from ncsn_pipeline.lecture.running import Report, parameters
from tests.processes import run

NAMES = list(EXPERIMENTS)
# Checks of what the lecture says and what is not so.
NOT_CONFIRMED = {
    "many-sigmas": [
        "far, angle to the clean score: sigma 0.05, network of its own",
        "far, angle to the clean score: sigma 0.05, one network for all",
    ],
    "one-network": ["as many samples: the same, to be worse at all"],
    "conservative": ["error of the score, free-form over energy: not helping much"],
    "never-lost": ["exact score near a level's own samples alone: distance from data, in units of chance"],
}


# What trains for more than a few seconds: whether these claims hold is for `make check`.  What they say and draw is
# asked of fewer steps, in test_sentences.
LONG = {
    "noised-target", "manifold", "full-support", "low-density", "one-sigma", "annealing", "wrong-sigma", "many-sigmas",
    "one-network", "noisy-samples", "never-lost", "clean-loss", "continuum", "conservative",
}  # fmt: skip
LEARNED = [pytest.param(name, marks=pytest.mark.check) if name in LONG else name for name in NAMES]


@pytest.fixture(scope="module")
def result_of():
    """The quick result of an experiment, run once."""

    @cache
    def run(name):
        module = EXPERIMENTS[name]
        return module.run(parameters(module, {}, quick=True))

    return run


def test_the_claims_are_in_order():
    assert [module.CLAIM.number for module in EXPERIMENTS.values()] == list(range(1, len(EXPERIMENTS) + 1))
    assert [module.__name__.rsplit(".")[-1] for module in EXPERIMENTS.values()] == [
        name.replace("-", "_") for name in NAMES
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_the_claim_holds_or_says_that_it_does_not(name, result_of):
    result = result_of(name)
    assert result.checks
    failing = [check.name for check in result.checks if not check.holds and not check.timing]
    assert failing == NOT_CONFIRMED.get(name, [])
    assert all(finding.startswith("Not confirmed") for finding in result.findings[: bool(failing)])


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_every_null_fails_its_check(name, result_of):
    for check in result_of(name).checks:
        assert check.null_fails or check.timing, check
        assert check.null_name and not math.isnan(check.null), check


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained_and_checked(name):
    module = EXPERIMENTS[name]
    assert all(parameter.metadata["help"] for parameter in fields(module.Params))
    assert module.QUICK.keys() <= {parameter.name for parameter in fields(module.Params)}
    for parameter in fields(module.Params):
        for bad in (-1, math.nan) if not isinstance(parameter.default, str) else ():
            with pytest.raises(ValueError, match=parameter.name):
                module.Params(**{parameter.name: (bad,) if isinstance(parameter.default, tuple) else bad})


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    module = EXPERIMENTS["mixing"]
    params = module.Params(num_particles=200, num_steps=20)
    first, again, other = (module.run(each) for each in (params, params, replace(params, seed=1)))
    assert first.particles.equal(again.particles)
    assert not first.particles.equal(other.particles)


def test_a_claim_holds_where_all_checks_do():
    good, bad = (Check("a", value, "<=", 2.0, null=3.0, null_name="chance") for value in (1.0, math.nan))
    assert good.holds and not bad.holds
    assert Result(params=Params(), checks=[good]).holds
    assert not Result(params=Params(), checks=[good, bad]).holds


@pytest.mark.parametrize(
    ("relation", "value", "bound", "null", "holds"),
    [
        ("<=", 1.0, 2.0, 3.0, True),
        ("<=", 1.0, 2.0, 2.0, False),  # the null keeps to the bound as well
        ("<=", 3.0, 2.0, 3.0, False),
        (">=", 3.0, 2.0, 1.0, True),
        (">=", 3.0, 2.0, 2.5, False),
        (">", 3.0, 2.0, 2.0, True),
    ],
)
def test_a_check_fails_where_its_null_holds_too(relation, value, bound, null, holds):
    check = Check("a", value, relation, bound, null=null, null_name="chance")
    assert check.holds is holds
    written = Result(params=Params(), checks=[check]).as_json()
    assert written["holds"] is holds
    assert written["checks"][0]["null"] == null and written["checks"][0]["null_name"] == "chance"


def test_the_table_shows_measure_bound_and_null():
    check = Check("error", 0.25, ">=", 0.125, null=0.5, null_name="untrained network")
    result = Result(params=Params(), checks=[check]).as_json() | {"seconds": 1.0}
    printed = table(Report(EXPERIMENTS["mixing"].CLAIM, result, Path("a.png")))
    for words in ("0.25", ">= 0.125", "null: untrained network", "0.5", "FAILS: its null holds too", "Not confirmed"):
        assert words in printed


def test_the_readme_shows_every_claim_as_it_was_measured(repo_root):
    readme = (repo_root / "README.md").read_text(encoding="utf-8")
    table = claims_table(
        json.loads((repo_root / "benchmarks" / "results" / "lecture.json").read_text(encoding="utf-8"))
    )
    assert table in readme
    places = re.findall(r'(?:\]\(|src=")([^)"]+)', table)
    assert len(places) == 2 * len(NAMES) and all((repo_root / place).is_file() for place in places)


def test_the_listing_names_every_experiment(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)


def test_the_command_runs_one_experiment(capsys, tmp_path):
    written = tmp_path / "numbers" / "mixing.json"
    flags = ["--num-particles", "500", "--seed", "3", "--json", str(written), "--figures", str(tmp_path)]
    assert main(["mixing", "--quick", *flags]) == 0
    assert "The claim holds" in capsys.readouterr().out
    numbers = json.loads(written.read_text(encoding="utf-8"))["mixing"]
    assert numbers["params"]["num_particles"] == 500 and numbers["params"]["seed"] == 3
    assert numbers["params"]["num_steps"] == EXPERIMENTS["mixing"].QUICK["num_steps"]
    assert ET.parse(tmp_path / "mixing.svg").getroot().get("viewBox").startswith("0 0 720 ")


@pytest.mark.check
@pytest.mark.slow
def test_the_command_runs_several_at_a_time(tmp_path):
    """Each in a process of its own, as many as there are jobs."""
    files = ["--json", tmp_path / "all.json", "--figures", tmp_path]
    command = [sys.executable, "-m", "ncsn_pipeline", "lecture", "all", "--quick", "--only", "mixing", "langevin"]
    done = run([*command, "--jobs", "2", *files])
    assert done.returncode == 0, done.stderr
    assert "2 of 2 claims hold" in done.stdout
    numbers = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert list(numbers) == ["mixing", "langevin"] and all(run["holds"] for run in numbers.values())
    assert (tmp_path / "mixing.svg").is_file() and (tmp_path / "langevin.svg").is_file()


def test_the_command_says_where_a_claim_fails(capsys, tmp_path):
    """Modes that touch are mixed by plain Langevin dynamics: the claim is about modes that stand apart."""
    flags = ["--std", "4", "--num-particles", "500", "--num-steps", "1000", "--step-size", "0.5"]
    assert main(["mixing", *flags, "--figures", str(tmp_path)]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_a_chain_that_diverges_is_an_error_and_no_verdict(capsys, tmp_path):
    flags = ["--step-size", "3", "--num-particles", "50", "--num-steps", "500"]
    assert main(["mixing", *flags, "--figures", str(tmp_path)]) == 2
    assert "The samples are not finite" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_written_as_words():
    result = Result(params=Params(), checks=[Check("a", math.nan, "<=", math.inf, null=-math.inf, null_name="b")])
    written = json.loads(json.dumps(result.as_json(), allow_nan=False))
    (check,) = written["checks"]
    assert (check["value"], check["bound"], check["null"], check["holds"]) == ("nan", "inf", "-inf", False)
    printed = table(Report(EXPERIMENTS["mixing"].CLAIM, written | {"seconds": 1.0}, Path("a.png")))
    assert all(word in printed for word in ("nan", "inf", "-inf"))


def test_bad_parameters_are_refused(capsys, tmp_path):
    assert main(["mixing", "--num-steps", "0", "--figures", str(tmp_path)]) == 2
    assert "num_steps must be positive; got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit):
        main(["all", "--jobs", "0"])
