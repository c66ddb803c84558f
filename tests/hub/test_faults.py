"""Every stage of a push and of a load, failing: all of it arrives, or an error says why and nothing half is visible."""

import itertools
import os
import shutil
import signal
import time

import pytest
import torch

from ncsn_pipeline.hub import push_command

PUSH_STAGES = ("create", "tree", "validate", "preupload", "lfs-batch", "lfs-put", "lfs-verify", "commit")
LOAD_STAGES = ("info", "resolve-head", "resolve-get", "tree", "content")
BEFORE_THE_PUSH = [".gitattributes"]
# Not one of the codes that the client itself tries again: what is tried again here is ours.
GATEWAY = 520


def visible(hub, repo):
    """The files of a repository as anyone sees them; none where there is no repository."""
    return sorted(hub.files(repo)) if ("model", repo) in hub.repositories else []


@pytest.fixture(scope="module")
def whole(installed, hub, saved):
    """What a repository holds after a push without faults."""
    assert "value" in installed.push(folder=str(saved), repo_id="user/whole")
    return visible(hub, "user/whole")


@pytest.fixture(scope="module")
def expected(installed, whole):
    return torch.tensor(installed.load(model="user/whole", custom=False)["value"]["images"])


def test_a_push_outlives_one_failure_at_any_stage(installed, hub, saved, whole):
    requests = []
    kinds = ("error", "cut", "cut-response", "cut-body")
    for stage, kind in itertools.product(PUSH_STAGES, kinds):
        if kind == "cut-body" and stage in ("lfs-put", "lfs-verify"):
            continue  # their answers have no body
        repo = f"user/once-{stage}-{kind}"
        hub.fail(stage, kind, repo=None if stage == "validate" else repo, status=GATEWAY)
        requests.append({"do": "push", "folder": str(saved), "repo_id": repo, "wait": 0.1})
    answers = installed.several(requests, together=True)
    assert [fault for fault in hub.faults if fault.times] == []
    for request, answer in zip(requests, answers, strict=True):
        assert "value" in answer, (request["repo_id"], answer)
        assert visible(hub, request["repo_id"]) == whole, request["repo_id"]


def test_a_push_that_never_succeeds_changes_nothing_and_the_next_one_does(installed, hub, saved, whole):
    """Also where the client tries five times by itself: those stages take half a minute, at the same time."""
    requests = []
    for stage in PUSH_STAGES:
        repo = f"user/always-{stage}"
        hub.fail(stage, "error", repo=None if stage == "validate" else repo, times=None, status=GATEWAY)
        requests.append({"do": "push", "folder": str(saved), "repo_id": repo, "retries": 2, "wait": 0.05})
    requests[PUSH_STAGES.index("lfs-put")] |= {"retries": 0}
    hub.faults[PUSH_STAGES.index("lfs-put")].kind = "cut"
    validate = requests.pop(PUSH_STAGES.index("validate"))
    everywhere = hub.faults.pop(PUSH_STAGES.index("validate"))
    answers = installed.several(requests, together=True)
    hub.faults.append(everywhere)
    answers += installed.several([validate])
    requests.append(validate)
    for request, answer in zip(requests, answers, strict=True):
        repo = request["repo_id"]
        assert "PushError" in answer.get("kinds", []), (repo, answer)
        tries = request["retries"] + 1
        assert f"Pushing to {repo} failed {tries} times" in answer["error"]
        assert f"The model is safe in {saved}" in answer["error"]
        assert push_command(saved, repo) in answer["error"]
        assert visible(hub, repo) == ([] if repo == "user/always-create" else BEFORE_THE_PUSH), repo
    assert sum(stage == "commit" and repo == "user/always-commit" for stage, repo, _ in hub.requests) == 3
    hub.faults.clear()
    for request, answer in zip(requests, installed.several(requests, together=True), strict=True):
        assert "value" in answer, (request["repo_id"], answer)
        assert visible(hub, request["repo_id"]) == whole


def test_a_later_push_that_fails_leaves_the_earlier_one(installed, hub, saved, whole, tmp_path):
    changed = shutil.copytree(saved, tmp_path / "changed")
    (changed / "train_config.json").write_text('{"seed": 2}', encoding="utf-8")
    installed.push(folder=str(saved), repo_id="user/kept")
    before = hub.repository("user/kept").head
    hub.fail("commit", "error", repo="user/kept", times=None, status=GATEWAY)
    answer = installed.push(folder=str(changed), repo_id="user/kept", retries=1, wait=0.05)
    assert "PushError" in answer["kinds"]
    assert hub.repository("user/kept").head is before


def test_a_hub_that_falls_silent_is_not_waited_for(installed, hub, saved, whole):
    hub.fail("commit", "slow", repo="user/silent", seconds=5.0)
    answer = installed.push(folder=str(saved), repo_id="user/silent", wait=0.1, timeout=0.5)
    assert "value" in answer, answer
    assert sum(request[:2] == ("commit", "user/silent") for request in hub.requests) > 1  # it asked again
    assert visible(hub, "user/silent") == whole


def test_a_commit_in_between_is_no_failure(installed, hub, saved, whole):
    hub.fail("commit", "error", repo="user/race", status=412)
    assert "value" in installed.push(folder=str(saved), repo_id="user/race", wait=0.05)
    assert visible(hub, "user/race") == whole


def test_a_hub_that_is_not_there(installed, hub, saved):
    """No server is at the address: a clear error after the tries."""
    answer = installed.push_to(endpoint="http://127.0.0.1:9", folder=str(saved), repo_id="user/x", retries=1, wait=0.05)
    assert "PushError" in answer["kinds"]
    assert "failed 2 times" in answer["error"]


@pytest.mark.parametrize("stage", ["create", "lfs-put", "commit"])
def test_a_push_that_is_killed(stage, installed, hub, saved, whole):
    repo = f"user/killed-{stage}"
    hub.fail(stage, "slow", repo=repo, seconds=1.0)
    number = installed.start_push(folder=str(saved), repo_id=repo)["value"]
    deadline = time.monotonic() + 60
    while (stage, repo) not in [request[:2] for request in hub.requests]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(number, signal.SIGKILL)
    assert installed.end(number=number)["value"] == signal.SIGKILL
    assert visible(hub, repo) in ([], BEFORE_THE_PUSH)
    time.sleep(1.2)  # what the Hub had received already, it may still do; all of it or nothing
    assert visible(hub, repo) in ([], BEFORE_THE_PUSH, whole)
    assert "value" in installed.push(folder=str(saved), repo_id=repo)
    assert visible(hub, repo) == whole


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_a_load_gives_the_images_or_an_error_and_the_next_one_the_images(times, bare, hub, whole, expected, tmp_path):
    failed = {}
    for stage, kind in itertools.product(LOAD_STAGES, ("error", "cut", "cut-body")):
        if (stage, kind) == ("resolve-head", "cut-body") or (times is None and (kind == "cut-body" or stage == "tree")):
            continue  # no body; and what the client takes up again, or asks for again, for half a minute
        hub.faults.clear()
        fault = hub.fail(stage, kind, times=times, status=503 if times else GATEWAY)
        request = {"model": "user/whole", "custom": True, "cache_dir": str(tmp_path / f"{stage}-{kind}")}
        first = bare.load(**request)
        assert fault.times != 1, f"no request of stage {stage}"
        hub.faults.clear()
        second = bare.load(**request)
        failed[stage, kind] = "error" in first
        assert "value" in second, (stage, kind, second)
        for answer in (first, second):
            if "value" in answer:
                assert (torch.tensor(answer["value"]["images"]) - expected).abs().max() <= 1e-6
        if "error" in first:
            assert {"OSError", "TransportError"} & set(first["kinds"]), (stage, kind, first)
            assert first["error"]
    if times is None:
        assert all(failed.values()), failed
