"""The command `ncsn`: every command answers `--help` without loading a library, and the shipped models have names."""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.commands import COMMANDS, main
from ncsn_pipeline.shipped import PLACES, folder_or_shipped, shipped_folder
from tests.processes import run

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
    assert shipped_folder("../mnist") is None and folder_or_shipped("user/mnist") == "user/mnist"
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


OLD_LOCALE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}  # as a machine whose text is not UTF-8


def test_files_are_utf_8_where_the_machine_is_not(tmp_path, repo_root):
    """A folder with an umlaut, a remark with a Greek letter, and the files of the page."""
    folder = shutil.copytree(repo_root / "pretrained" / "mnist", tmp_path / "Übung")
    (folder / "card.json").write_text('{"summary": "Ziffern für σ = 12 × 1"}', encoding="utf-8")
    environment = os.environ | OLD_LOCALE
    done = run([sys.executable, "-m", "ncsn_pipeline", "hub", "card", str(folder)], cwd=repo_root, env=environment)
    assert done.returncode == 0, done.stderr
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "# Übung" in card and "Ziffern für σ = 12 × 1" in card
    program = "import locale, app; print(locale.getpreferredencoding(False), app.demo is not None)"
    done = run([sys.executable, "-c", program], cwd=repo_root, env=environment)
    assert done.stdout.split()[-1:] == ["True"] and "UTF-8" not in done.stdout, done.stderr


def test_a_letter_that_the_terminal_lacks_is_spelled_out(repo_root):
    program = "from ncsn_pipeline.commands import main; main(['--version']); print(chr(0x3c3))"
    done = run([sys.executable, "-c", program], cwd=repo_root, env=os.environ | OLD_LOCALE)
    assert done.stdout.splitlines()[1:] == ["\\u03c3"], done.stderr
