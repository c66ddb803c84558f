"""What a push sends, what it refuses, and what it says."""

import json
import os
import shlex
import sys

import pytest

from ncsn_pipeline import push_folder
from ncsn_pipeline.hub import push_command
from tests.hub_server import READER, STRANGER, WRITER, client_environment
from tests.processes import run

OURS = {
    ".gitattributes",
    "README.md",
    "model_index.json",
    "pipeline_ncsn.py",
    "scheduler/scheduler_config.json",
    "scheduler/scheduling_annealed.py",
    "train_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/modeling_score_unet.py",
}


def stages(hub, repo):
    return [stage for stage, of, _ in hub.requests if of == repo]


def test_only_the_pipeline_goes_there_in_one_commit(installed, hub, folder):
    for name in ("checkpoint-20/model.safetensors", "logs/events", "samples/step.png", "unet/optimizer.bin", ".secret"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    others = ("unet/notes.txt", "unet/my_secrets.json", "unet/notes.py", "unet/model.safetensors")
    for name in ("README.partial", "unet/config.json.partial", "notes.json", "train.py", *others):
        (folder / name).write_text("{}", encoding="utf-8")
    answer = installed.push(folder=str(folder), repo_id="user/clean")
    repository = hub.repository("user/clean")
    assert answer["value"] == f"{hub.url}/user/clean/commit/{repository.head.oid}"
    assert set(repository.head.files) == OURS
    assert len(repository.branches["main"]) == 2  # the empty start, and all at once
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert hub.files("user/clean")[weights] == (folder / weights).read_bytes()
    assert stages(hub, "user/clean").count("commit") == 1


def test_the_same_again_is_no_commit(installed, hub, folder):
    first = installed.push(folder=str(folder), repo_id="user/twice")
    second = installed.push(folder=str(folder), repo_id="user/twice")
    assert first["value"] == second["value"]
    assert len(hub.repository("user/twice").branches["main"]) == 2


def test_other_files_of_the_repository_stay(installed, hub, folder):
    repository = "user/shared"
    (folder / "samples.png").write_bytes(b"\x89PNG")
    (folder / "evaluation.json").write_text('{"results": []}', encoding="utf-8")
    installed.push(folder=str(folder), repo_id=repository)
    head = hub.repository(repository).head
    mine = ("notes/mine.txt", "pipeline_notes.md", "pipeline_tests/a.py", "training.json.bak", "card.json5")
    theirs = {"unet/old.py": head.files["README.md"], "pipeline_old.py": head.files["README.md"]}
    by_hand = dict.fromkeys(mine, head.files["README.md"]) | theirs
    hub.repository(repository).commit("main", head.files | by_hand, "by hand")
    (folder / "samples.png").unlink()
    (folder / "evaluation.json").unlink()
    assert "value" in installed.push(folder=str(folder), repo_id=repository)
    assert set(hub.files(repository)) == OURS | set(mine)


def test_a_name_without_account_is_ones_own(installed, hub, folder):
    answer = installed.push(folder=str(folder), repo_id="mine")
    assert "/user/mine/commit/" in answer["value"]
    assert set(hub.files("user/mine")) == OURS
    assert 'model = "user/mine"' in hub.repository("user/mine").head.files["README.md"].data.decode()


def test_private_and_public(installed, hub, folder):
    for private in (False, True):
        installed.push(folder=str(folder), repo_id=f"user/private-{private}", private=private)
        assert hub.repository(f"user/private-{private}").private is private


def test_a_card_written_by_hand_is_kept_and_names_the_repository(installed, hub, folder):
    text = '---\nlicense: mit\n---\n\nMine.\n\n```python\nmodel = "tiny"  # this folder\nother = "tiny"\n```\n'
    (folder / "README.md").write_text(text, encoding="utf-8")
    installed.push(folder=str(folder), repo_id="user/by-hand")
    there = hub.files("user/by-hand")["README.md"].decode()
    assert there == text.replace('model = "tiny"  # this folder', 'model = "user/by-hand"')
    assert (folder / "README.md").read_text(encoding="utf-8") == text


def test_no_path_and_no_token_of_this_machine_goes_there(installed, hub, folder):
    settings = {"dataset_name": "/home/someone/data/faces", "output_dir": "~/runs/x", "hub_token": WRITER, "seed": 1}
    training = {"command": f"accelerate launch /home/someone/train.py --hub_token {WRITER} --seed 1", "steps": 20}
    (folder / "train_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
    assert "value" in installed.push(folder=str(folder), repo_id="user/discreet")
    there = hub.files("user/discreet")
    everything = b"".join(there.values())
    assert WRITER.encode() not in everything
    assert b"someone" not in everything
    assert json.loads(there["train_config.json"]) == {"dataset_name": "faces", "output_dir": "x", "seed": 1}
    assert json.loads(there["training.json"])["command"] == "accelerate launch train.py --hub_token *** --seed 1"
    assert json.loads((folder / "train_config.json").read_text(encoding="utf-8")) == settings


def test_a_token_in_the_card_is_refused(installed, hub, folder):
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\n\nexport HF_TOKEN={WRITER}\n", encoding="utf-8")
    answer = installed.push(folder=str(folder), repo_id="user/leak")
    assert "ValueError" in answer["kinds"]
    assert "README.md holds the token" in answer["error"]
    assert WRITER not in answer["error"]
    assert hub.requests == []


@pytest.mark.parametrize(
    "token, repo, status, words",
    [
        ("hf_wrong", "user/refused", 401, "hf auth login"),
        (READER, "user/refused", 403, "right to write"),
        (STRANGER, "user/refused", 403, "right to write"),
        (WRITER, "other/refused", 403, "the name must be yours"),
    ],
)
def test_a_refusal_is_not_repeated(token, repo, status, words, installed, hub, folder):
    answer = installed.push(folder=str(folder), repo_id=repo, token=token)
    assert "PushError" in answer["kinds"]
    assert str(status) in answer["error"]
    assert words in answer["error"]
    assert f"The model is safe in {folder}" in answer["error"]
    assert push_command(folder, repo) in answer["error"]
    assert token not in answer["error"]
    assert stages(hub, repo) == ["create", "info"]  # the client looks whether it exists already
    assert ("model", repo) not in hub.repositories


def test_nobody_may_not_push(installed, folder):
    answer = installed.push_as(login=None, folder=str(folder), repo_id="user/anonymous")
    assert "PushError" in answer["kinds"]
    assert "hf auth login" in answer["error"]


@pytest.mark.parametrize("name", ["", "a/b/c", "user/", "user/.hidden", "user/a..b", "user/two words", "user/x.git"])
def test_a_name_that_cannot_be(name, folder):
    with pytest.raises(ValueError, match="it looks like user/name"):
        push_folder(folder, name)


@pytest.mark.parametrize("setting", [{"retries": -1}, {"wait": -1.0}, {"timeout": 0.0}])
def test_a_number_that_cannot_be(setting, folder):
    with pytest.raises(ValueError, match="retries and wait must be >= 0"):
        push_folder(folder, "user/name", **setting)


def test_the_command(installed, hub, folder):
    """Its exit codes and messages; the last push is by the very line that a failed one prints."""
    code, out, err = installed.command(arguments=["push", str(folder), "user/by-command", "--private"])["value"]
    assert (code, err) == (0, "")
    assert out == f"{hub.url}/user/by-command/commit/{hub.repository('user/by-command').head.oid}\n"
    assert hub.repository("user/by-command").private

    code, out, err = installed.command(arguments=["push", str(folder / "unet"), "user/by-command"])["value"]
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "no pipeline folder" in err

    command = ["push", str(folder), "user/late", "--revision", "later", "--private", "--token", "hf_wrong"]
    code, out, err = installed.command(arguments=command)["value"]
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    line = err.strip().splitlines()[-1].strip()
    assert line == f"ncsn hub push {folder} user/late --private --revision later"
    environment = os.environ | client_environment(hub.url, folder / "home", WRITER)
    done = run([sys.executable, "-m", "ncsn_pipeline", *shlex.split(line)[1:]], env=environment)
    assert done.returncode == 0, done.stderr
    assert set(hub.repository("user/late").at("later").files) == OURS
