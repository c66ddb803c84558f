"""The stored results of all experiments: what a run replaces, and the tables made of them."""

import pytest

from benchmarks.claims import as_markdown, checks_table, claim_verdict, claims_table, spread, updated
from ncsn_pipeline.lecture import EXPERIMENTS


def result(value, holds=True, names=("share",)):
    """As `--json` writes it."""
    check = {"relation": "<=", "bound": 0.5, "null": 0.75, "null_name": "chance | luck", "timing": False}
    checks = [check | {"name": name, "value": value, "holds": holds} for name in names]
    return {"number": 1, "holds": holds, "checks": checks, "findings": [f"Found {value}."], "seconds": 60.0}


def all_of(value, **changed):
    return {name: result(value) for name in EXPERIMENTS} | {
        name.replace("_", "-"): each for name, each in changed.items()
    }


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0.25], "0.25"), ([0.5, 0.25], "0.25 … 0.5"), ([0.5, 0.5], "0.5"), (["inf", 0.5], "inf … 0.5")],
)
def test_values_over_the_seeds(values, shown):
    assert spread(values) == shown


def test_a_run_takes_the_place_of_its_seed_alone():
    runs = {"0": all_of(0.125), "1": all_of(0.25)}
    new = updated(runs, "1", {"mixing": result(0.375)})
    assert new["0"] == runs["0"]
    assert new["1"] == runs["1"] | {"mixing": result(0.375)}
    assert list(new["1"]) == list(EXPERIMENTS)


def test_seeds_come_in_their_order():
    assert list(updated({"0": all_of(0.1), "10": all_of(0.1)}, "2", all_of(0.1))) == ["0", "2", "10"]


def test_results_with_other_checks_are_dropped():
    runs = {"0": all_of(0.125), "1": all_of(0.25)}
    new = updated(runs, "2", {"mixing": result(0.375, names=("share", "crossings"))})
    assert "mixing" not in new["0"] and "mixing" not in new["1"]
    assert {name: each for name, each in runs["0"].items() if name != "mixing"} == new["0"]


def test_the_readme_shows_the_first_check_that_fails():
    runs = {"0": all_of(0.125), "1": all_of(0.25, mixing=result(0.625, holds=False))}
    rows = {line.split("`")[1].split()[-1]: line for line in claims_table(runs).splitlines() if line.startswith("| L")}
    assert list(rows) == list(EXPERIMENTS)
    for name, row in rows.items():
        assert "(<= 0.5); null 0.75 (chance \\| luck)" in row
        confirmed = (
            "**not confirmed**: 1 of 1 checks fails, with 1 of 2 seeds" if name == "mixing" else "confirmed, 2 seeds"
        )
        assert f"| {confirmed} |" in row
    assert "share: 0.125 … 0.625" in rows["mixing"] and "share: 0.125 … 0.25" in rows["langevin"]


def test_the_table_of_checks_has_a_column_per_seed_and_leaves_what_was_not_run_empty():
    runs = {"0": all_of(0.125), "1": all_of(0.25, mixing=result(0.625, holds=False))}
    del runs["1"]["langevin"]
    head, _, *rows = checks_table(runs).splitlines()
    assert head == "| claim | measure | bound | null | seed 0 | seed 1 | verdict |"
    cells = {row.split(" | ")[0].split()[-1]: row.strip("| ").split(" | ") for row in rows}
    assert cells["mixing"][1:] == [
        "share",
        "<= 0.5",
        "0.75 (chance \\| luck)",
        "0.125",
        "0.625",
        "**holds for 1 of 2**",
    ]
    assert cells["langevin"][-3:] == ["0.125", "", "holds"]


def test_a_claim_tells_how_many_checks_fail_and_with_how_many_seeds():
    """Of three checks and four seeds: one check fails with two of the seeds, another with one of these."""
    held = [(True, True, True, True), (True, False, False, True), (True, True, False, True)]
    by_check = [tuple({"holds": each} for each in checks) for checks in held]
    assert claim_verdict(by_check) == "**not confirmed**: 2 of 3 checks fail, with 2 of 4 seeds"
    assert claim_verdict(by_check[:1]) == "confirmed, 4 seeds"
    assert claim_verdict([checks[:1] for checks in by_check]) == "confirmed, 1 seed"


def test_the_time_of_a_seed_is_told_where_all_experiments_were_run():
    runs = {"0": all_of(0.125), "1": all_of(0.25)}
    del runs["1"]["langevin"]
    assert f" take {len(EXPERIMENTS):.1f} with seed 0 minutes of CPU time" in as_markdown(runs)


def test_the_document_tells_what_was_found():
    runs = {"0": all_of(0.125), "1": all_of(0.25)}
    text = as_markdown(runs)
    assert checks_table(runs) in text
    taken = f"{len(EXPERIMENTS):.1f}"  # a minute for each
    assert f"{taken} with seed 0, {taken} with seed 1 minutes of CPU time" in text
    assert text.count("Found 0.125.") == len(EXPERIMENTS) and "Found 0.25." not in text
