"""The command `ncsn`: every command answers `--help` without loading a library, and the shipped models have names."""

import contextlib
import json
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT

import httpx
import pytest
from PIL import Image

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.commands import COMMANDS, main
from ncsn_pipeline.shipped import PLACES, folder_or_shipped, shipped_folder
from tests.processes import run, started

LIBRARIES = {"torch", "diffusers", "numpy", "gradio", "transformers", "matplotlib"}


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_loads_no_library(name, repo_root):
    program = (
        "import contextlib, json, sys\nfrom ncsn_pipeline.commands import main\n"
        "with contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = run([sys.executable, "-c", program, *filter(None, [name]), "--help"], cwd=repo_root)
    assert done.stdout.startswith(f"usage: ncsn {name or 'COMMAND'}")
    assert not LIBRARIES & set(json.loads(done.stderr.splitlines()[-1]))


def test_every_command_has_a_file_and_every_file_a_command():
    found = {path.stem for path in Path(find_spec("ncsn_pipeline.commands").origin).parent.glob("*.py")} - {"__init__"}
    assert found == {name.replace("-", "_") for name in COMMANDS}


def test_an_unknown_command_is_told_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "There is no command trian; did you mean train?" in capsys.readouterr().err
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("ncsn 0.")


def test_a_shipped_model_has_a_name_unless_a_folder_here_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(folder_or_shipped("mnist")).samefile(PLACES[1] / "mnist")
    assert Path(folder_or_shipped("./pretrained/mnist")).samefile(PLACES[1] / "mnist")
    assert (
        shipped_folder("../mnist") is None
        and shipped_folder("") is None
        and folder_or_shipped("user/mnist") == "user/mnist"
    )
    assert NCSNPipeline.from_pretrained("mnist").unet.config.sample_size == 28
    (tmp_path / "mnist").mkdir()
    assert folder_or_shipped("mnist") == "mnist"


def test_generate_draws_a_grid_and_a_folder(tmp_path, capsys):
    words = ["generate", "mnist", "--num-inference-steps", "2", "--batch-size", "4"]
    assert main([*words[:2], str(tmp_path / "grid.png"), *words[2:], "--num-images", "6"]) == 0
    assert Image.open(tmp_path / "grid.png").size == (3 * 28, 2 * 28)
    assert main([*words[:2], str(tmp_path / "all"), *words[2:], "--num-images", "5", "--class-label", "3"]) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [f"{n:05}.png" for n in range(5)]
    assert main(["generate", str(tmp_path / "nothing"), str(tmp_path / "grid.png")]) == 2
    assert main([*words[:2], str(tmp_path / "x.png"), "--class-label", "10"]) == 2
    assert "class_labels must lie in 0 ... 9" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_the_page_opens_a_shipped_model_by_its_name_from_anywhere(tmp_path, capsys):
    """Answered by the real command, in a folder that holds no model; its port is one that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "ncsn_pipeline", "app"]
    with started([*command, "--port", port], cwd=tmp_path, stdout=PIPE, stderr=STDOUT, text=True) as server:
        while server.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                page = httpx.get(f"http://127.0.0.1:{port}", timeout=60).text
                break
            time.sleep(0.1)
        assert server.poll() is None, server.stdout.read()
    assert 'NCSNPipeline.from_pretrained(\\"./pretrained/mnist\\")' in page
    assert main(["app", "--model", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("ncsn app: error: nothing holds no model")
