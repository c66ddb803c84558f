"""What nobody should send, through the raw interface: answered in words, and the server is as well as before."""

import io
import json
import math
import struct
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from ncsn_pipeline.space.plots import step_size_figure, themed_svg

from .api import RAW, call, defaults, endpoints

SETTINGS = settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # an example is many calls: shrinking one takes minutes
    suppress_health_check=list(HealthCheck),
)
STRANGE = [
    *(math.nan, math.inf, -math.inf, None, True, False, -1, 2.5, 1e308, -(10**30), 10**30),
    *("", "12", "NaN", "x" * 10_000, "\0", "../../etc/passwd", "<script>alert(1)</script>"),
    *([], [1], [[]], {}, {"a": 1}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}),
]
VALUES = st.sampled_from(STRANGE) | st.floats() | st.integers() | st.text(max_size=20) | st.lists(st.none(), max_size=3)
PATIENCE = 3  # what is let through may train or draw for long: it is left, which is abuse of its own


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client


def memory(server):
    """Resident memory of the server, in MB."""
    pid = str(server.process.pid)
    return int(subprocess.run(["ps", "-o", "rss=", "-p", pid], capture_output=True, text=True, check=True).stdout) / 1e3


def short_run(client, **changed):
    """One evaluation of one image."""
    parameters = endpoints(client.base_url)["/generate"]["parameters"]
    few = {"num_levels": 1, "num_images": 1, "sampler": "consistent"} | changed
    data = [
        few.get(parameter["parameter_name"], value)
        for parameter, value in zip(parameters, defaults(parameters), strict=True)
    ]
    return call(client, "/generate", data)


def bomb(side=20_000):
    """A PNG of some kilobytes that unpacks to 400 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_no_value_in_any_field_of_any_endpoint_shows_a_raw_error_or_breaks_the_server(server, client):
    short_run(client)
    before = memory(server)
    found = endpoints(server.url)

    @SETTINGS
    @given(st.data())
    def abuse(data):
        for name, endpoint in found.items():
            valid = defaults(endpoint["parameters"])
            for place in range(len(valid)):
                wrong = [*valid[:place], data.draw(VALUES), *valid[place + 1 :]]
                answer = call(client, name, wrong, PATIENCE)
                assert not RAW.search(answer.text), (name, wrong, answer)
                assert answer.kind in ("complete", "error", "refused", "left"), (name, wrong, answer)

    abuse()
    assert short_run(client).kind == "complete"
    assert memory(server) < 1.5 * before


def test_every_field_of_generate_says_what_is_wrong_with_it(client):
    """Not only no raw error: words that name the field, the value or what is allowed."""
    parameters = endpoints(client.base_url)["/generate"]["parameters"]
    valid = defaults(parameters)
    for place, parameter in enumerate(parameters):
        for value in (math.nan, None, True, [1], {"a": 1}):
            answer = call(client, "/generate", [*valid[:place], value, *valid[place + 1 :]])
            assert answer.kind == "error", (parameter["parameter_name"], value, answer)
            said = json.loads(answer.text.rpartition("data: ")[2])["error"]
            assert len(said) > 20 and not RAW.search(said), (parameter["parameter_name"], value, said)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": 3}', b'{"data": []}', b'{"data": [1, 2]}', b"\xff\xfe"])
def test_what_is_no_call_is_refused(client, body):
    headers = {"Content-Type": "application/json"}
    answer = client.post("gradio_api/call/generate", content=body, headers=headers)
    assert answer.status_code < 500
    if answer.status_code == 200:
        answer = client.get(f"gradio_api/call/generate/{answer.json()['event_id']}")
        assert "event: error" in answer.text
    assert not RAW.search(answer.text)


def test_the_queue_cannot_be_passed_by(client):
    assert client.post("gradio_api/run/generate", json={"data": []}).status_code == 404


def test_pictures_too_large_are_refused(server, client):
    """A file beyond the limit is not taken; one that unpacks to gigabytes is opened by no endpoint."""
    upload = client.post("gradio_api/upload", files={"files": ("a.png", bytes(5_000_000), "image/png")})
    assert upload.status_code == 413
    before = memory(server)
    noise = io.BytesIO()
    Image.effect_noise((1700, 1700), 99).save(noise, "bmp")
    for picture in (bomb(), noise.getvalue(), b"no picture", b""):
        path = client.post("gradio_api/upload", files={"files": ("a.png", picture, "image/png")}).json()[0]
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name, endpoint in endpoints(server.url).items():
            valid = defaults(endpoint["parameters"])
            for place, parameter in enumerate(endpoint["parameters"]):
                if parameter["component"] in ("Image", "Imageeditor", "ImageEditor"):
                    sent = file if parameter["component"] == "Image" else {"background": file, "layers": [file]}
                    answer = call(client, name, [*valid[:place], sent, *valid[place + 1 :]], PATIENCE)
                    assert not RAW.search(answer.text), (name, answer)
    assert memory(server) < 1.5 * before


def test_fifty_at_once_are_served_or_told_to_wait(address, client):
    def visit(seed):
        with httpx.Client(base_url=address, timeout=120) as own:
            return short_run(own, seed=seed)

    with ThreadPoolExecutor(50) as visitors:
        answers = list(visitors.map(visit, range(50)))
    kinds = [answer.kind for answer in answers]
    assert set(kinds) <= {"complete", "refused"}
    assert kinds.count("complete") >= 10
    for answer in answers:
        assert not RAW.search(answer.text)
        assert answer.kind == "complete" or "Queue is full" in answer.text
    assert short_run(client).kind == "complete"


def test_who_leaves_frees_the_worker(client):
    """Three runs of 20,001 evaluations, each left at its first picture: the next visitor waits for none of them."""
    parameters = endpoints(client.base_url)["/generate"]["parameters"]
    long = {"sampler": "langevin", "steps_per_level": 100, "num_levels": 200, "num_images": 1}
    data = [
        long.get(each["parameter_name"], value) for each, value in zip(parameters, defaults(parameters), strict=True)
    ]
    for _ in range(3):
        assert call(client, "/generate", data, until="generating").kind == "generating"
    start = time.monotonic()
    assert short_run(client).kind == "complete"
    assert time.monotonic() - start < 20


def test_files_are_not_fetched_from_elsewhere(client):
    """Gradio's own client of a page may name any address: nothing is asked of it."""
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{elsewhere.server_port}/large.png"
        answer = call(client, "/fit_picture", [{"path": url, "meta": {"_type": "gradio.FileData"}}])
        elsewhere.shutdown()
    assert answer.kind == "error" and "not fetched from other places" in answer.text
    assert asked == []


def test_figures_drawn_at_once_are_those_drawn_alone():
    def drawn(_):
        return themed_svg(step_size_figure([0.1, 0.01], [1.0, 0.1], "limit"), "steps")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(drawn, range(24))) == {drawn(0)}
