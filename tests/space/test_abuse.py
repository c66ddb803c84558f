"""What nobody should send, through the raw interface: answered in words, and the server is as well as before."""

import contextlib
import io
import json
import math
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.diagnostics.plots import inline_svg
from ncsn_pipeline.sampling import Row
from ncsn_pipeline.space.server.guard import MOST_UNREAD
from ncsn_pipeline.space.widgets.plots import table_figure

from .api import PATIENCE, RAW, STRANGE, call, defaults, endpoints, long_run, post, short_run, with_examples

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # an example is many calls: shrinking one takes minutes
    suppress_health_check=list(HealthCheck),
)
VALUES = st.sampled_from(STRANGE) | st.floats() | st.integers() | st.text(max_size=20) | st.lists(st.none(), max_size=3)


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client


def memory(server):
    """Resident memory of the server, in MB."""
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


def bomb(side=20_000):
    """A PNG of some kilobytes that unpacks to 400 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("examples", [1, pytest.param(20, marks=pytest.mark.check)])
def test_no_value_in_any_field_of_any_endpoint_shows_a_raw_error_or_breaks_the_server(server, client, examples):
    short_run(client)
    before = memory(server)
    found = with_examples(client)
    for name in ("/repair", "/lecture", "/example_canvas"):
        assert call(client, name, defaults(found[name]["parameters"]), PATIENCE).kind != "error", name

    @settings(SETTINGS, max_examples=examples)
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


def upload(client, *pictures):
    files = [("files", (f"{i}.png", picture, "image/png")) for i, picture in enumerate(pictures)]
    return client.post("gradio_api/upload", files=files)


def test_pictures_too_large_are_refused(server, client):
    """A file beyond the limit is not taken, nor several small ones; one that unpacks to gigabytes is not opened."""
    assert upload(client, bytes(5_000_000)).status_code == 413
    assert upload(client, *[bytes(1_000_000)] * 5).status_code == 413
    unbounded = client.post("gradio_api/upload", content=iter([b"x"]), headers={"content-type": "multipart/form-data"})
    assert unbounded.status_code == 413
    before = memory(server)
    noise = io.BytesIO()
    Image.effect_noise((1700, 1700), 99).save(noise, "bmp")
    for picture, reason in (
        (bomb(), "too many pixels; at most 4,000,000"),
        (noise.getvalue(), "Choose a PNG, JPEG, GIF or WebP file"),
        (b"no picture", "no picture that can be read"),
        (b"", "no picture that can be read"),
    ):
        path = upload(client, picture).json()[0]
        answer = call(client, "/fit_picture", [{"path": path, "meta": {"_type": "gradio.FileData"}}, "small"])
        assert answer.kind == "error" and reason in answer.text, answer
        assert not RAW.search(answer.text)
    assert memory(server) < 1.5 * before


@pytest.mark.parametrize("number", [12, pytest.param(50, marks=pytest.mark.check)])
def test_many_at_once_are_served_or_told_to_wait(address, client, number):
    def visit(seed):
        with httpx.Client(base_url=address, timeout=120) as own:
            return short_run(own, seed=seed)

    with ThreadPoolExecutor(number) as visitors:
        answers = list(visitors.map(visit, range(number)))
    kinds = [answer.kind for answer in answers]
    assert set(kinds) <= {"complete", "refused"}
    assert kinds.count("complete") >= 10
    for answer in answers:
        assert not RAW.search(answer.text)
        assert answer.kind == "complete" or "Queue is full" in answer.text
    assert short_run(client).kind == "complete"


def busy(server):
    """Seconds of a processor that the server has used."""
    used = psutil.Process(server.process.pid).cpu_times()
    return used.user + used.system


def test_who_leaves_frees_the_worker(server, client):
    """Three runs of 20,001 evaluations, each left at its first picture: together they do less than one would."""
    data = long_run(client)
    before = busy(server)
    assert short_run(client, sampler="langevin", num_levels=5, steps_per_level=100).kind == "complete"
    an_evaluation = (busy(server) - before) / 501
    before = busy(server)
    for _ in range(3):
        assert call(client, "/generate", data, until="generating").kind == "generating"
    assert short_run(client).kind == "complete"
    assert busy(server) - before < 20_001 * an_evaluation


def leave(client, name, event):
    """Listens for a moment, and goes: what waits leaves the queue."""
    with client.stream("GET", f"gradio_api/call{name}/{event}"):
        pass


def test_a_run_that_nobody_listens_to_ends(client):
    event = post(client, "/generate", long_run(client))
    assert short_run(client).kind == "complete"
    kept = client.get(f"gradio_api/call/generate/{event}").text
    assert "event: error" in kept and "not reading its events" in kept
    assert kept.count("event: generating") <= MOST_UNREAD


def test_answers_that_nobody_reads_are_not_made(server, client):
    functions = client.get("config").json()["dependencies"]
    index = next(each["id"] for each in functions if each["api_name"] == "preview_repair")
    data = defaults(endpoints(server.url)["/preview_repair"]["parameters"])
    for _ in range(MOST_UNREAD + 10):
        joined = client.post("gradio_api/queue/join", json={"data": data, "fn_index": index, "session_hash": "deaf"})
        assert joined.status_code == 200
        event = joined.json()["event_id"]
    # One who does read waits behind them: nothing is read before the last of them had its turn.
    assert call(client, "/preview_repair", data).kind == "complete"
    found = []
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": "deaf"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and (message := json.loads(line[6:]))["msg"] == "process_completed":
                found.append(message["success"] or message["output"]["error"])
                if message["event_id"] == event:
                    break
    assert found[0] is True and found.count(True) <= MOST_UNREAD
    assert "not reading its events" in found[-1]


@contextlib.contextmanager
def full_queue(client):
    """A run that somebody listens to, so that it goes on, and behind it as many waiting as there is room for."""
    data = long_run(client)
    begun, enough = threading.Event(), threading.Event()
    running = post(client, "/generate", data)

    def listen():
        with client.stream("GET", f"gradio_api/call/generate/{running}") as stream:
            for line in stream.iter_lines():
                if line == "event: generating":
                    begun.set()
                if enough.is_set():
                    break

    listener = threading.Thread(target=listen)
    listener.start()
    waiting = []
    try:
        assert begun.wait(60)
        while (event := post(client, "/generate", data)) is not None:
            waiting.append(event)
            assert len(waiting) < 100
        yield
    finally:
        for event in waiting:
            leave(client, "/generate", event)
        enough.set()
        listener.join()


@pytest.mark.check
@pytest.mark.browser
def test_a_full_queue_spoils_no_visit(browser, address, client):
    with browser.new_context() as visitor:
        page = visitor.new_page()
        with full_queue(client):
            page.goto(f"{address}?tab=generate&generate.num_levels=20")
            expect(page.locator("#num-levels input[type=number]")).to_have_value("20")
            expect(page.locator("#cost")).to_contain_text("20 network evaluations")
            assert page.locator(".toast-body").count() == 0
            page.get_by_role("button", name="Generate", exact=True).click()
            expect(page.locator("#status .error")).to_contain_text("Too many visitors are waiting")
            expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
        page.get_by_role("button", name="Generate", exact=True).click()
        expect(page.locator("#status")).to_contain_text("Done: 20 evaluations")


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
        answer = call(client, "/fit_picture", [{"path": url, "meta": {"_type": "gradio.FileData"}}, "small"])
        elsewhere.shutdown()
    assert answer.kind == "error" and "not fetched from other places" in answer.text
    assert asked == []


def test_figures_drawn_at_once_are_those_drawn_alone():
    def drawn(_):
        return inline_svg(table_figure([Row(1.0, 0.1, 0.4, 0.5), Row(0.5, 0.01, 0.0, 0.0)], 1, "limit"), "steps")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(drawn, range(24))) == {drawn(0)}
