"""The Space: what is pushed is enough to start the page from, and nothing more."""

import os
import re
import shutil
import socket
import sys
import time
import urllib.request
from xml.etree import ElementTree

import pytest
from gradio_client import Client
from huggingface_hub import SpaceCard
from PIL import Image

from ncsn_pipeline.hub import push_space
from ncsn_pipeline.hub.contents import SPACE_FOLDERS, space_files
from ncsn_pipeline.shipped import MODELS
from tests.processes import started

COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
PARTS = (
    "playground/main.js",
    "generate/trajectory.html",
    "lecture/shipped/lecture.json",
)


@pytest.fixture(scope="module")
def pushed(installed, hub, repo_root, tmp_path_factory):
    """A copy of what was pushed."""
    code, out, err = installed.command(arguments=["push-space", "user/page", "--root", str(repo_root)])["value"]
    assert (code, err) == (0, "")
    assert hub.repository("user/page", "space").head.oid in out
    there = set(hub.files("user/page", "space"))
    needed = ("ncsn_pipeline/", "pretrained/", "app.py", "requirements.txt", "README.md", ".gitattributes")
    others = {path for path in there if not path.startswith(needed)}
    assert others and all(path in (repo_root / "README.md").read_text(encoding="utf-8") for path in others)
    assert {"ncsn_pipeline/__init__.py", "ncsn_pipeline/space/page.css"} <= there
    assert {f"pretrained/mnist/{part}" for part in ("model_index.json", "examples/digit_0.png")} <= there
    assert {f"ncsn_pipeline/space/{part}" for part in PARTS} <= there
    assert not [path for path in there if "__pycache__" in path or path.endswith((".pyc", ".partial", ".log"))]

    copy = tmp_path_factory.mktemp("pushed") / "copy"
    answer = installed.snapshot(repo_id="user/page", to=str(copy), repo_type="space")
    assert "value" in answer, answer
    return copy


def test_the_readme_that_was_pushed_has_its_pictures(pushed):
    readme = (pushed / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r'(?:!\[[^]]*\]\(|src(?:set)?=")([^)"]+)', readme)
    drawings = [picture for picture in pictures if picture.endswith(".svg")]
    assert len(drawings) > 16
    assert all(ElementTree.parse(pushed / drawing).getroot().tag.endswith("svg") for drawing in drawings)
    assert all(Image.open(pushed / picture).width > 100 for picture in {*pictures} - {*drawings})


@pytest.mark.slow
def test_it_starts_from_what_was_pushed(pushed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without PYTHONPATH the package that lies beside app.py comes first, as it does on the Hub.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        with started([sys.executable, "app.py"], cwd=pushed, env=environment, stdout=log, stderr=log) as page:
            address = f"http://127.0.0.1:{port}/"
            assert status(address, page, 200) == 200, log.seek(0) or log.read()
            files = str(tmp_path / "downloads")
            client = Client(address, verbose=False, download_files=files, httpx_kwargs={"timeout": 60})
            told = client.predict(num_images=2, num_levels=3, api_name="/generate")
            assert Image.open(told["images"]).width > 56 and told["read"].endswith("2 read as asked")


def status(url, process, seconds):
    """The status of the first answer, or None when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status
        except OSError:
            time.sleep(0.3)
    return None


def test_the_readme_is_the_card_of_a_space(repo_root):
    """The Hub refuses other values; a pinned Gradio is the one that the page was tested with."""
    data = SpaceCard.load(repo_root / "README.md").data
    pins = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (repo_root / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert (data.sdk, data.sdk_version) == ("gradio", pins["gradio"])
    assert (repo_root / data.app_file).is_file()
    assert re.fullmatch(r"3\.\d+", data.python_version)
    assert {data.colorFrom, data.colorTo} <= COLOURS
    assert data.title and data.license == "apache-2.0" and 0 < len(data.short_description) <= 60
    assert not data.emoji.isascii()


def test_modules_that_are_gone_go_there_too(installed, hub, repo_root, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("app.py", "requirements.txt", "README.md"):
        shutil.copy(repo_root / name, root)
    for name in (*MODELS, "mnist_classifier", "avatars_classifier"):
        shutil.copytree(repo_root / "pretrained" / name, root / "pretrained" / name)
    (root / "ncsn_pipeline").mkdir()
    (root / "ncsn_pipeline" / "old.py").write_text('"""Old."""\n', encoding="utf-8")
    (root / "ncsn_pipeline" / "new.py").write_text('"""New."""\n', encoding="utf-8")
    installed.command(arguments=["push-space", "user/changing", "--root", str(root)])
    assert "ncsn_pipeline/old.py" in hub.files("user/changing", "space")
    (root / "ncsn_pipeline" / "old.py").unlink()
    installed.command(arguments=["push-space", "user/changing", "--root", str(root)])
    there = hub.files("user/changing", "space")
    assert "ncsn_pipeline/old.py" not in there
    assert "ncsn_pipeline/new.py" in there


def test_links_of_the_readme_lead_to_nothing_else(tmp_path):
    for name in ("app.py", "requirements.txt", "docs/page.md", "docs/shown.webp", "docs/a.py", "docs/other.md"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text("here", encoding="utf-8")
    for name in SPACE_FOLDERS:
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "secret.md").write_text("not here", encoding="utf-8")
    (tmp_path / "root" / "README.md").write_text(
        '[a](docs/page.md) ![b](docs/shown.webp) <a href="docs/a.py"> [c](../secret.md) [d](https://example.org/x.md) '
        f"[e](docs) [f](#there) [g](docs/gone.md) [h]({tmp_path}/secret.md) docs/other.md",
        encoding="utf-8",
    )
    files = set(space_files(tmp_path / "root")) - {"app.py", "requirements.txt", "README.md"}
    assert files == {"docs/page.md", "docs/shown.webp", "docs/a.py"}


def test_not_a_checkout(tmp_path):
    with pytest.raises(ValueError, match=r"lacks app.py, requirements.txt, README.md, ncsn_pipeline, pretrained/a"):
        push_space("user/page", root=tmp_path)
    with pytest.raises(ValueError, match="it looks like user/name"):
        push_space("not a name", root=tmp_path)
