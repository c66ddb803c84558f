"""The command `ncsn`: every command answers `--help` without loading a library, and the shipped models have names."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import datasets
import httpx
import pytest
from PIL import Image

from ncsn_pipeline import NCSNPipeline, write_card
from ncsn_pipeline.commands import COMMANDS, main
from ncsn_pipeline.diagnostics.plots import figure
from ncsn_pipeline.errors import in_one_line
from ncsn_pipeline.finding import find_model
from ncsn_pipeline.hub.push import push_command
from ncsn_pipeline.shipped import PLACES, folder_or_shipped, shipped_folder
from ncsn_pipeline.space.runs.model import name_of
from ncsn_pipeline.training.config import TrainConfig
from tests.hub_server import client_environment, running_hub
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
        and shipped_folder("./mnist") is None  # a path that was written out and is not there
        and folder_or_shipped("user/mnist") == "user/mnist"
    )
    assert NCSNPipeline.from_pretrained("mnist").unet.config.sample_size == 28
    (tmp_path / "mnist").mkdir()
    assert folder_or_shipped("mnist") == "mnist"


def test_generate_draws_a_grid_and_a_folder(tmp_path, capsys):
    words = ["generate", "mnist", "--num-inference-steps", "2", "--batch-size", "4"]
    assert main([*words[:2], str(tmp_path / "grid.png"), *words[2:], "--num-images", "6"]) == 0
    assert Image.open(tmp_path / "grid.png").size == (3 * 58 - 2, 2 * 58 - 2)
    flags = ["--num-images", "5", "--class-label", "3", "--sampler", "edm-dpm"]
    flags += ["--guidance-scale", "1.5", "--guidance-interval", "0.5", "1"]
    assert main([*words[:2], str(tmp_path / "all"), *words[2:], *flags]) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [f"{n:05}.png" for n in range(5)]
    assert main(["generate", str(tmp_path / "nothing"), str(tmp_path / "grid.png")]) == 2
    assert main([*words[:2], str(tmp_path / "x.png"), "--class-label", "10"]) == 2
    assert "class_labels must lie in 0 ... 9" in capsys.readouterr().err
    assert main([*words[:2], str(tmp_path / "x.png"), "--class-label", "seven"]) == 2
    assert "There is no class 'seven'" in capsys.readouterr().err
    assert main([*words[:2], str(tmp_path / "x.png"), "--guidance-interval", "0.5", "1"]) == 2
    assert "Give guidance_scale" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_pictures_that_were_there_before_are_counted(tmp_path, capsys):
    words = ["generate", "mnist", str(tmp_path), "--num-inference-steps", "1", "--num-images"]
    assert main([*words, "3"]) == main([*words, "1"]) == 0
    assert [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "3 files",
        "1 files, beside 2 older ones",
    ]


def test_a_port_that_cannot_be_served_at_is_one_sentence(tmp_path, capsys):
    for port in ("99999", "-1", "0"):
        with pytest.raises(SystemExit) as ended:
            main(["app", "--port", port])
        assert ended.value.code == 2 and f"--port must lie in 1 ... 65535; got {port}." in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        (said,) = complaint_of([["app", "--model", "mnist-fast", "--port", port]])
    assert said == (
        f"ncsn app: error: nothing can be served at this machine, port {port}: it may be taken, or not allowed. Give "
        "another --port or --host."
    )


def test_a_folder_may_have_a_dot_in_its_name_and_what_cannot_be_one_is_refused_before_drawing(tmp_path, capsys):
    words = ["--num-inference-steps", "1", "--num-images", "2"]
    (tmp_path / "run.png").mkdir()
    for name in ("run.7", "run.png"):
        assert main(["generate", "mnist", str(tmp_path / name), *words]) == 0
        assert len(list((tmp_path / name).iterdir())) == 2
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert main(["generate", "./nothing", str(tmp_path / "file"), *words]) == 2  # of the folder, not of the model
    assert f"cannot be made: {tmp_path / 'file'} is a file." in capsys.readouterr().err


def test_what_cannot_be_drawn_is_refused_before_drawing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(NCSNPipeline, "__call__", lambda *given, **more: pytest.fail("drawn"))
    refused = {
        ("mnist", "a.xbm"): "cannot write mode L as XBM",
        ("./nothing", "pics/deep"): "There is no folder ./nothing",
    }
    for (model, output), message in refused.items():
        assert main(["generate", model, str(tmp_path / output)]) == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_none_are_refused_in_words(tmp_path, capsys):
    assert main(["generate", "mnist", str(tmp_path / "x.png"), "--class-label", "²"]) == 2
    assert "There is no class '²'" in capsys.readouterr().err
    needed = {"generate": ["mnist", "x.png"], "evaluate": ["--model", "mnist"], "noise-levels": ["--data", "digits"]}
    for command, words in needed.items():
        with pytest.raises(SystemExit) as ended:
            main([command, *words, "--seed", "9" * 20])
        assert ended.value.code == 2 and f"... 18446744073709551615; got {'9' * 20}." in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named_with_its_extra(tmp_path):
    commands = [
        ["app"],
        ["evaluate", "--model", "mnist", "--dataset_name", "digits", "--output_dir", str(tmp_path)],
        ["train", "--train_data_dir", "digits"],
        ["distill", "--teacher", "mnist"],
    ]
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules |= dict.fromkeys(['gradio', 'pydantic', 'sklearn'])", encoding="utf-8"
    )
    said = complaint_of(commands, PYTHONPATH=str(tmp_path))
    absent = {"app": ("gradio", "space"), "evaluate": ("sklearn", "train")}
    for (command, *_), sentence in zip(commands, said, strict=True):
        library, extra = absent.get(command, ("pydantic", "train"))
        assert sentence.startswith(f"ncsn {command}: error: ") and library in sentence
        assert sentence.endswith(f'It comes with: pip install "ncsn-pipeline[{extra}]"')


@pytest.mark.parametrize("device", ["gpu", "mps", "xpu"])
def test_a_device_that_is_not_here_is_refused_in_words(tmp_path, device, capsys):
    assert main(["generate", "mnist", str(tmp_path / "x.png"), "--device", device]) == 2
    assert main(["evaluate", "--model", "mnist", "--device", device, "--output_dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count(f"Nothing can be computed on the device '{device}'") == 2


def test_ctrl_c_ends_a_command_in_the_middle_of_its_work_without_a_traceback(tmp_path, monkeypatch):
    drawn = NCSNPipeline.__call__

    def pressed(*given, **more):
        signal.raise_signal(signal.SIGINT)
        return drawn(*given, **more)

    monkeypatch.setattr(NCSNPipeline, "__call__", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore Ctrl-C
    try:
        assert main(["generate", "mnist", str(tmp_path / "x.png"), "--num-inference-steps", "2"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list(tmp_path.iterdir())


OLD_LOCALE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}  # as a machine whose text is not UTF-8


@pytest.fixture(scope="module")
def old_machine(tmp_path_factory, repo_root):
    """Where text is not UTF-8: the encoding, the folder of a model whose card was written, the page's HTML, its end.

    The page is answered by the real command, in a folder that holds no model; its port is one that is free.  Ctrl-C,
    which a shell has its background jobs ignore, ends it: the exit code, and all that it said.
    """
    place = tmp_path_factory.mktemp("old")
    folder = shutil.copytree(repo_root / "pretrained" / "mnist", place / "model" / "Übung")
    (folder / "card.json").write_text('{"summary": "Ziffern für σ = 12 × 1"}', encoding="utf-8")
    (place / "empty").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = (
        "import locale, signal, sys\nfrom ncsn_pipeline.commands import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print(locale.getpreferredencoding(False), flush=True)\n"
        "sys.exit(main(['hub', 'card', sys.argv[1]]) or main(['app', '--port', sys.argv[2]]))"
    )
    command, environment = [sys.executable, "-c", program, str(folder), port], os.environ | OLD_LOCALE
    with (
        (place / "log").open("w+", encoding="utf-8") as log,
        started(command, cwd=place / "empty", env=environment, stdout=log, stderr=log) as server,
    ):
        page = None
        while page is None and server.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                page = httpx.get(f"http://127.0.0.1:{port}", timeout=60).text
            time.sleep(0.1)
        server.send_signal(signal.SIGINT)
        code = server.wait()
    said = (place / "log").read_text(encoding="utf-8", errors="replace")
    assert page is not None, said
    return said.splitlines()[0], folder, page, (code, said)


def test_the_page_opens_a_shipped_model_by_its_name_from_anywhere(old_machine):
    assert 'NCSNPipeline.from_pretrained(\\"./pretrained/avatars\\")' in old_machine[2]


def test_ctrl_c_ends_the_page_without_a_traceback(old_machine):
    code, said = old_machine[3]
    assert code == 0 and "Traceback" not in said, said


def test_files_are_utf_8_where_the_machine_is_not(old_machine):
    """A folder with an umlaut, a remark with a Greek letter, and the files of the page."""
    encoding, folder, page, _ = old_machine
    assert "UTF-8" not in encoding.upper() and "σ" in page
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "# Übung" in card and "Ziffern für σ = 12 × 1" in card


def test_a_letter_that_the_terminal_lacks_is_spelled_out(repo_root):
    program = "from ncsn_pipeline.commands import main; main(['--version']); print(chr(0x3c3))"
    done = run([sys.executable, "-c", program], cwd=repo_root, env=os.environ | OLD_LOCALE)
    assert done.stdout.splitlines()[1:] == ["\\u03c3"], done.stderr


@pytest.fixture
def home(tmp_path, monkeypatch, repo_root):
    """A home folder that holds a model, and another folder to work in."""
    (tmp_path / "work").mkdir()
    shutil.copytree(repo_root / "pretrained" / "mnist", tmp_path / "home" / "model")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"
    assert not (tmp_path / "work" / "~").exists()


def test_a_tilde_is_the_home_folder_in_every_command(home):
    draw = ["--num-images", "2", "--num-inference-steps", "2"]
    assert main(["generate", "~/model", "~/made/grid.png", *draw]) == 0 and (home / "made" / "grid.png").is_file()
    (home / "model" / "README.md").unlink()
    assert main(["hub", "card", "~/model"]) == 0 and (home / "model" / "README.md").is_file()
    for number in range(12):
        (home / "pictures").mkdir(exist_ok=True)
        Image.new("L", (28, 28), 20 * number).save(home / "pictures" / f"{number}.png")
    words = ["--num_samples", "4", "--num_inference_steps", "2", "--dataset_name=~/pictures", "--held_out_fraction=0.5"]
    assert main(["evaluate", "--model", "~/model", *words, "--classifier=~/judge"]) == 2
    shutil.copytree(shipped_folder("mnist_classifier"), home / "judge")
    assert main(["evaluate", "--model", "~/model", *words, "--classifier=~/judge", "--output_dir=~/measured"]) == 0
    (measured,) = json.loads((home / "measured" / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert measured["nfe"] == 2
    flags = ["--num-particles=100", "--num-steps=10", "--figures=~/figures", "--json=~/numbers.json"]
    assert main(["lecture", "mixing", *flags]) in (0, 1)
    assert (home / "numbers.json").is_file() and list((home / "figures").iterdir())


def test_a_tilde_is_the_home_folder_in_every_function_that_takes_a_path(home):
    pipe = NCSNPipeline.from_pretrained("~/model")
    pipe.save_pretrained("~/again")
    assert (home / "again" / "model_index.json").is_file()
    assert write_card("~/again") == home / "again" / "README.md"
    assert str(home / "again") in push_command("~/again", "user/name") and name_of("~/again") == "again"
    from matplotlib.figure import Figure

    assert figure.save(Figure(), "~/drawn/x.png") == home / "drawn" / "x.png"
    names = ("dataset_name", "init_from", "output_dir", "resume_from_checkpoint")
    config = TrainConfig(**{name: f"~/{name}" for name in names})
    assert [getattr(config, name) for name in names] == [str(home / name) for name in names]
    assert TrainConfig(train_data_dir="~").train_data_dir == str(home)
    (home / "run.yaml").write_text("train_data_dir: ~/Bilder\noutput_dir: ~/Übung\n", encoding="utf-8")
    config = TrainConfig.from_command_line(["--config=~/run.yaml"])
    assert (config.train_data_dir, config.output_dir) == (str(home / "Bilder"), str(home / "Übung"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nothing", r"There is no folder ./nothing\."),
        ("models/mnits", r"There is no folder models/mnits \(did you mean models/mnist\?\), and the cache holds"),
        ("a/b/mnist", r"There is no folder a/b/mnist\."),
        ("runs\\mine", r"There is no folder runs.mine\."),
        ("models/", r"The folder models/ holds no model: it has no model_index.json"),
        ("file", r"file is a file"),
        ("no such name", r"the Hub has no such names"),
    ],
)
def test_a_folder_that_is_not_there_is_said_to_be_so(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mnist").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=message):
        find_model(name, local_files_only=True)
    with pytest.raises(OSError, match=message):
        NCSNPipeline.from_pretrained(name, local_files_only=True)


def complaint_of(commands, **environment):
    """What each of several commands, all in one process, complains of in its last line, or None where it works."""
    program = (
        "import contextlib, io, json, sys\nfrom ncsn_pipeline.commands import main\nsaid = []\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as errors:\n"
        "        code = main(words)\n"
        "    said.append(errors.getvalue().splitlines()[-1] if code else None)\n"
        "print(json.dumps(said))"
    )
    done = run([sys.executable, "-c", program, json.dumps(commands)], env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_hub_is_asked_once_for_a_name_that_may_be_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mnist").mkdir(parents=True)
    unseen = "has no model so called that you may see."
    with running_hub() as server:
        server.fail("info", "cut", repo="user/unheard", times=None)
        *said, nothing, silent = complaint_of(
            [
                ["generate", "models/mnits", "grid.png"],
                ["evaluate", "--model", "mnist", "--classifier", "user/judge", "--dataset_name", "digits"],
                ["app", "--model", "user/model"],
                ["generate", "runs/a/b", "grid.png"],
                ["app", "--model", "nothing"],
                ["generate", "user/unheard", "grid.png"],
            ],
            **client_environment(server.url, tmp_path / "cache"),
        )
        asked = [(stage, name) for stage, name, _ in server.requests if name != "user/unheard"]
    assert asked == [("info", "models/mnits"), ("info", "user/judge"), ("info", "user/model")]
    assert said == [
        "ncsn generate: error: There is no folder models/mnits (did you mean models/mnist?), and the Hub " + unseen,
        "ncsn evaluate: error: Could not read a classifier from 'user/judge': There is no folder user/judge, and the "
        "Hub " + unseen + " Train one by "
        "`python -m ncsn_pipeline.evaluation.train_classifier`; mnist_classifier and avatars_classifier are shipped.",
        "ncsn app: error: There is no folder user/model, and the Hub " + unseen,
        "ncsn generate: error: There is no folder runs/a/b.",
    ]  # fmt: skip
    assert nothing.startswith("ncsn app: error: nothing holds no model") and "`ncsn app --model`" in nothing
    assert "There is no folder user/unheard, and the Hub did not answer (" in silent


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    """Where it is needed: pictures in a folder are read where they lie."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "tables").mkdir()
    grey = [Image.new("L", (8, 8), 60 * number) for number in range(4)]
    for number, picture in enumerate(grey):
        picture.save(tmp_path / "pictures" / f"{number}.png")
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": grey}, features).to_parquet(tmp_path / "tables" / "train.parquet")
    (tmp_path / "file").touch()
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    folders = {str(tmp_path / "file"): "Not a directory", "/proc/none": "No such file or directory"}
    folders |= {str(locked): "Permission denied"} if os.geteuid() else {}
    tables, output = str(tmp_path / "tables"), ["--output_dir", str(tmp_path / "run")]
    commands = [
        ["noise-levels", "--data", tables],
        ["noise-levels", "--data", "user/data"],
        ["generate", "user/model", "x.png"],
        ["evaluate", "--model", "mnist", "--dataset_name", tables, *output],
        ["train", "--train_data_dir", tables, *output],
    ]
    read_where_they_lie = ["noise-levels", "--data", str(tmp_path / "pictures")]
    for number, (folder, reason) in enumerate(folders.items()):
        tried = commands[:1] if number else commands  # why it cannot be written is found in the same way by all
        *complaints, works = complaint_of([*tried, read_where_they_lie], HF_HOME=folder)
        assert works is None
        for words, said in zip(tried, complaints, strict=True):
            who = "ncsn train" if words[0] == "train" else f"ncsn {words[0]}: error"
            assert said == (
                f"{who}: The cache folder {folder}/hub cannot be written: {reason}. Set HF_HOME to a folder that can "
                "be."
            )


def test_of_another_librarys_many_words_the_first_are_said_and_what_to_do(capsys, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "torn.parquet").write_bytes(b"PAR1" + 2000 * b"torn" + b"PAR1")
    assert main(["noise-levels", "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("ncsn noise-levels: error: Could not read images from") and len(said) < 600
    assert main(["train", "--train_data_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "run")]) == 1
    assert len(capsys.readouterr().err.splitlines()[-1]) < 600
    long = in_one_line(ValueError(f"It is wrong: {100 * 'because of this, '}and so on. Give another."))
    assert long.startswith("It is wrong: because") and long.endswith("[...] Give another.") and len(long) < 750
    assert in_one_line(ValueError("short\nand  good")) == "short and good"
