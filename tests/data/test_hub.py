"""Data sets by their names, from a Hub on loopback: in memory, as a stream, private, and missing."""

import json
import os
import sys
from pathlib import Path

from tests.hub_server import READER, client_environment, running_hub
from tests.processes import run

from .numbered import write_parquet

CLIENT = """
import json, sys
from huggingface_hub import HfApi
from ncsn_pipeline.data import load_images, stream_train_and_held_out

api = HfApi(token="hf_writer")
for name, private in (("user/open", False), ("stranger/closed", True)):
    token = "hf_stranger" if private else "hf_writer"
    HfApi(token=token).create_repo(name, repo_type="dataset", private=private)
    HfApi(token=token).upload_folder(repo_id=name, repo_type="dataset", folder_path=sys.argv[1])
answers = {}
stream, held_out = stream_train_and_held_out("user/open", num_held_out=20)
numbers = lambda images: (images[:, 0, 0, 0].int() * 256 + images[:, 0, 0, 1].int()).tolist()
answers["streamed"] = sorted(n for item in stream for n in numbers(item["image"][None]))
answers["held out"] = sorted(numbers(held_out.images))
data = load_images("user/open")
answers["loaded"] = numbers(data.images)
answers["labels"] = [data.label_names, stream.label_names]
for name in ("user/missing", "stranger/closed"):
    try:
        load_images(name)
    except ValueError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


def test_names_on_the_hub(tmp_path):
    folder = write_parquet(tmp_path / "pictures", 60, files=2)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with running_hub() as hub:
        environment = kept | client_environment(hub.url, tmp_path / "home", READER)
        process = run([sys.executable, "-c", CLIENT, folder], env=environment, cwd=Path(__file__).parents[2])
    assert process.returncode == 0, process.stderr[-3000:]
    answers = json.loads(process.stdout.splitlines()[-1])
    assert answers["loaded"] == list(range(60))
    assert sorted(answers["streamed"] + answers["held out"]) == list(range(60))
    assert len(answers["held out"]) == 6
    assert answers["labels"] == [["zero", "one", "two"]] * 2
    for name in ("user/missing", "stranger/closed"):
        assert f"Could not read images from '{name}': " in answers[name]
        assert "Give a folder" in answers[name]
