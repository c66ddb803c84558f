"""The page's HTTP interface, as a program without Gradio's client would use it."""

import json
import math
import re
import time
from dataclasses import dataclass

import httpx

# What belongs on the server: the name of an exception, a place in a program.
RAW = re.compile(r"Traceback|\b[A-Z]\w*(Error|Exception|Warning)\b|File \"|site-packages|\.py\", line")

STRANGE = [
    *(math.nan, math.inf, -math.inf, None, True, False, -1, 2.5, 1e308, -(10**30), 10**30, 10**400),
    *("", "12", "NaN", "x" * 10_000, "\0", "../../etc/passwd", "<script>alert(1)</script>"),
    *([], [1], [[]], {}, {"a": 1}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}),
]
PATIENCE = 3  # what is let through may train or draw for long: it is left, which is abuse of its own


@dataclass(frozen=True)
class Answer:
    """How a call ended: `complete`, `error`, `refused` before it ran, or `left` by us."""

    kind: str
    text: str


def endpoints(address):
    """Named endpoints and their parameters."""
    return httpx.get(f"{address}gradio_api/info", timeout=60).json()["named_endpoints"]


def with_examples(client):
    """The endpoints, with inputs that are taken where those they declare are refused: so every field is reached."""
    found = endpoints(client.base_url)
    _, model = found["/example_canvas"]["parameters"]
    canvas = json.loads(call(client, "/example_canvas", [0, model["parameter_default"]]).text.rpartition("data: ")[2])[
        0
    ]
    examples = {"index": 0, "experiment": "mixing", "canvas": canvas}
    for endpoint in found.values():
        for parameter in endpoint["parameters"]:
            if (name := parameter["parameter_name"]) in examples:
                parameter |= {"parameter_has_default": True, "parameter_default": examples[name]}
    return found


def defaults(parameters):
    """Valid inputs of an endpoint: the defaults that it declares, or an example."""
    return [
        parameter["parameter_default"] if parameter["parameter_has_default"] else parameter["example_input"]
        for parameter in parameters
    ]


def call(client, name, data, patience=None, until=None):
    """Calls an endpoint and waits for its end; leaves after `patience` seconds, or at the first event named `until`."""
    body = json.dumps({"data": data}).encode()  # NaN and Infinity as Python and JavaScript libraries write them
    headers = {"Content-Type": "application/json"}
    joined = client.post(f"gradio_api/call{name}", content=body, headers=headers)
    if joined.status_code != 200:
        assert joined.status_code < 500 or joined.status_code == 503, joined.text
        return Answer("refused", joined.text)
    start, lines, event = time.monotonic(), [], ""
    patient = httpx.Timeout(client.timeout.read, read=patience or client.timeout.read)
    try:
        with client.stream("GET", f"gradio_api/call{name}/{joined.json()['event_id']}", timeout=patient) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event in ("complete", "error", until):
                    return Answer(event, "\n".join(lines))
                if patience is not None and time.monotonic() - start > patience:
                    return Answer("left", "\n".join(lines))
    except httpx.ReadTimeout:
        if patience is None:
            raise
        return Answer("left", "\n".join(lines))
    return Answer("closed", "\n".join(lines))


def short_run(client, **changed):
    """One evaluation of one image."""
    parameters = endpoints(client.base_url)["/generate"]["parameters"]
    few = {"num_levels": 1, "num_images": 1, "sampler": "consistent"} | changed
    data = [
        few.get(parameter["parameter_name"], value)
        for parameter, value in zip(parameters, defaults(parameters), strict=True)
    ]
    return call(client, "/generate", data)


def long_run(client):
    """The inputs of 20,001 evaluations of one image, far longer than a test waits."""
    parameters = endpoints(client.base_url)["/generate"]["parameters"]
    long = {"sampler": "langevin", "steps_per_level": 100, "num_levels": 200, "num_images": 1}
    return [
        long.get(each["parameter_name"], value) for each, value in zip(parameters, defaults(parameters), strict=True)
    ]


def post(client, name, data):
    """Calls an endpoint and does not listen; the call's id, or None where it is refused."""
    joined = client.post(f"gradio_api/call{name}", json={"data": data})
    return joined.json()["event_id"] if joined.status_code == 200 else None
