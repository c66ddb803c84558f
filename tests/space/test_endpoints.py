"""What programs get of the page: numbers, words and files under names that stay; never the page's HTML."""

import re
import time

import pytest
from gradio_client import handle_file

from .api import endpoints
from .visitor import connected

pytestmark = pytest.mark.browser

# The least work of each endpoint; those that are not named are called as they are.
SHORT = {
    "generate": {"num_levels": 2, "num_images": 1},
    "train": {"num_steps": 50},
    "train_sweep": {"num_steps": 50},
    "lecture": {"experiment": "mixing", "settings": {"num_steps": 40, "num_particles": 300}},
    "choose_model": {"model": "small"},
    "example_canvas": {"index": 0},
}
NAMES = {
    *("queue", "lecture", "claims", "choose_model", "preview", "generate", "stop", "preview_repair", "fit_picture"),
    *("example_canvas", "repair", "stop_repair", "true_score", "train", "train_sweep", "stop_training", "stop_lecture"),
}
HTML = re.compile(r"</?(div|svg|p|span|figure|dl|ul)\b")


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


def wait_until(true):
    while not true():
        time.sleep(0.1)


def test_every_endpoint_keeps_its_name_and_answers_without_html(address, repo_root):
    client = connected(address)
    assert {name.removeprefix("/") for name in endpoints(address)} == NAMES
    canvas = client.predict(index=2, api_name="/example_canvas")
    picture = handle_file(next((repo_root / "pretrained/mnist/examples").glob("*.png")))
    given = SHORT | {"repair": {"canvas": canvas, "num_levels": 2}, "fit_picture": {"picture": picture}}
    for name in sorted(NAMES):
        answer = client.predict(**given.get(name, {}), api_name=f"/{name}")
        found = [text for text in strings(answer) if HTML.search(text)]
        assert not found, (name, found[0][:200])


def test_who_waits_is_told_the_place_in_the_queue(address):
    """Twice: by Gradio's own events, and by an endpoint that needs no place of its own."""
    first, second = (connected(address) for _ in range(2))
    running = first.submit(num_steps=4000, objective="exact", api_name="/train")
    wait_until(running.outputs)
    waiting = second.submit(num_steps=50, api_name="/train")
    wait_until(lambda: second.predict(api_name="/queue") == {"running": 1, "waiting": 1})
    wait_until(lambda: waiting.status().rank == 0)
    assert not waiting.outputs()
    first.predict(api_name="/stop_training")
    assert running.result()["status"] == "stopped"
    assert waiting.result()["status"] == "done"
