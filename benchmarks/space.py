"""How long the page lets a visitor wait, and what abuse leaves behind.

    python -m benchmarks.space [--model pretrained/mnist] [--rounds 5] [--threads 2] [--repeats 2] [--output FOLDER]

A server (`python app.py`) of its own, a real browser, and the raw HTTP interface:

    page      seconds from opening the address to a page with all parts, by the page's own clock (its mark
              `usable`); the server warm, the browser's cache empty
    first     seconds from the click on Generate to the first picture that differs, default settings
    run       seconds from that click to "Done", and to the trajectory that can be dragged
    abuse     every strange value in every field of every endpoint, runs that are left, answers that nobody reads, fifty
              visitors at once; memory of the server before, when every endpoint has been called once as it is meant to
              be, and after each repeat

All are medians over the rounds, with the lowest and highest.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.served import BROWSER, ROOT, start
from ncsn_pipeline.lecture import EXPERIMENTS
from tests.conftest import find_browser
from tests.space.api import PATIENCE, STRANGE, call, defaults, endpoints, long_run, post, short_run, with_examples

TARGETS = {"page": 1.5, "first": 2.0, "run": 8.0}
SETTLE_SECONDS = 10
ABANDONED, UNHEARD = 10, 150
PICTURE = "document.querySelector('#trajectory canvas').toDataURL()"


def memory(process: subprocess.Popen) -> float:
    """Resident memory of the server in MB."""
    command = ["ps", "-o", "rss=", "-p", str(process.pid)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout) / 1e3


def visit(browser: Browser, address: str) -> dict[str, float]:
    """One visitor with an empty cache: opens the Generate tab and draws with the default settings."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(f"{address}?tab=generate")
        page.wait_for_selector("#plots svg")
        page.wait_for_function("document.querySelector('#trajectory output')?.textContent")
        return {"page": page.evaluate("performance.getEntriesByName('usable')[0].startTime") / 1000} | _draw(page)


def _draw(page: Page) -> dict[str, float]:
    before = page.evaluate(PICTURE)
    began = time.perf_counter()
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_function(f"before => {PICTURE} !== before", arg=before)
    first = time.perf_counter() - began
    page.wait_for_function("document.querySelector('#status')?.innerText.includes('Done')")
    run = time.perf_counter() - began
    page.wait_for_selector("#trajectory .player[data-evaluation]")
    return {"first": first, "run": run, "keepsakes": time.perf_counter() - began}


def use(address: str) -> None:
    """Every endpoint once as it is meant to be called: what is loaded when it is first needed is there."""
    with httpx.Client(base_url=address, timeout=300) as client:
        found = with_examples(client)
        for name in found.keys() - {"/lecture", "/fit_picture"}:
            call(client, name, defaults(found[name]["parameters"]))
        for experiment in EXPERIMENTS:
            call(client, "/lecture", [experiment, {}])


def abuse(address: str) -> dict[str, int]:
    """Every strange value in every field of every endpoint, runs left, calls unheard, fifty visitors at once."""
    counts: dict[str, int] = {}
    with httpx.Client(base_url=address, timeout=300) as client:
        for name, endpoint in with_examples(client).items():
            valid = defaults(endpoint["parameters"])
            for place in range(len(valid)):
                for value in STRANGE:
                    kind = call(client, name, [*valid[:place], value, *valid[place + 1 :]], PATIENCE).kind
                    counts[kind] = counts.get(kind, 0) + 1
        for _ in range(ABANDONED):
            call(client, "/generate", long_run(client), until="generating")
            counts["abandoned runs"] = counts.get("abandoned runs", 0) + 1
        field = defaults(endpoints(address)["/true_score"]["parameters"])
        for name, data, number in (("/generate", long_run(client), 1), ("/true_score", field, UNHEARD)):
            for _ in range(number):
                while post(client, name, data) is None:
                    time.sleep(0.2)  # the queue is full
                counts["calls that nobody heard"] = counts.get("calls that nobody heard", 0) + 1

    def one(seed: int) -> str:
        with httpx.Client(base_url=address, timeout=300) as own:
            return short_run(own, seed=seed).kind

    with ThreadPoolExecutor(50) as visitors:
        for kind in visitors.map(one, range(50)):
            counts[f"of fifty at once, {kind}"] = counts.get(f"of fifty at once, {kind}", 0) + 1
    return counts


def measure(model: str, rounds: int, threads: int, repeats: int) -> dict:
    """All measurements."""
    with tempfile.TemporaryDirectory() as folder:
        process, address, seconds = start(model, threads, Path(folder))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER)
                visits = [visit(browser, address) for _ in range(rounds + 1)][1:]
                browser.close()
            kept = [memory(process)]
            use(address)
            time.sleep(SETTLE_SECONDS)
            kept.append(memory(process))
            counts = []
            for _ in range(repeats):
                counts.append(abuse(address))
                time.sleep(SETTLE_SECONDS)
                kept.append(memory(process))
            log = (Path(folder) / "log").read_text(encoding="utf-8")
        finally:
            process.terminate()
            process.wait()
    return {
        "start_seconds": seconds,
        "visits": visits,
        "memory_mb": kept,
        "abuse": counts,
        "tracebacks_in_log": log.count("Traceback"),
    }


def as_markdown(result: dict) -> str:
    """The committed table."""
    lines = [
        "# How long the page lets a visitor wait, and what abuse leaves behind",
        "",
        f"`python -m benchmarks.space`: {len(result['visits'])} visits, {result['threads']} thread(s), load "
        f"{result['load'][0]:.1f} before and {result['load'][1]:.1f} after on {result['cores']} cores, "
        f"torch {result['torch']}, {result['machine']}.",
        "",
        "| | seconds, median (lowest, highest) | wanted |",
        "|---|---|---|",
    ]
    names = {
        "page": "page usable, server warm, browser's cache empty",
        "first": "click to the first picture",
        "run": "click to the end of the default run (50 evaluations)",
        "keepsakes": "click to the trajectory and the files",
    }
    for key, name in names.items():
        values = [visit[key] for visit in result["visits"]]
        spread = f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"
        lines.append(f"| {name} | {spread} | {TARGETS.get(key, '')} |")
    lines += [f"| start of the server | {result['start_seconds']:.1f} | |", ""]
    visited, before, *after = result["memory_mb"]
    lines.append(
        f"Resident memory: {visited:.0f} MB after the visits, {before:.0f} MB after a proper call of every endpoint, "
        "then "
        + ", ".join(f"{value:.0f} MB ({value / before - 1:+.1%})" for value in after)
        + " after each round of abuse."
    )
    counted = "; ".join(f"{kind} {count:,}" for kind, count in result["abuse"][-1].items())
    lines += ["", f"Answers of a round: {counted}. Tracebacks in the server's log: {result['tracebacks_in_log']}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "pretrained" / "mnist"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.repeats) < 1:
        parser.error("rounds and repeats must be at least 1.")
    from torch import __version__ as torch_version

    before = os.getloadavg()[0]
    result = measure(arguments.model, arguments.rounds, arguments.threads, arguments.repeats)
    result |= {"threads": arguments.threads, "load": [before, os.getloadavg()[0]], "cores": os.cpu_count()}
    result |= {"torch": torch_version, "machine": platform.machine()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "space.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "space.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
