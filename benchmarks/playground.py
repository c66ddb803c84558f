"""Frames a second of the playground, in a headless browser that draws in software.

    python -m benchmarks.playground [--particles 1500] [--seconds 6] [--output benchmarks/results]

For every density, the playground alone on a page of 1280 x 900, started as a visitor starts it, with all layers on:

    frames    a second, over the seconds that were asked for;
    slowest   the 95th percentile of the time between two frames, in milliseconds;
    steps     a second of both chains; 80 are asked for;
    cost      processor time of the browser's processes a frame, in milliseconds.

The load of the machine stands beside them: a busy one gives the browser fewer of its cores.
"""

import argparse
import json
import os
import platform
import shutil
from itertools import pairwise
from pathlib import Path

# Gradio reads this when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from playwright.sync_api import Browser, sync_playwright

from ncsn_pipeline.space.playground import PlaygroundTab

DENSITIES = ("gaussians", "ring", "moons", "spiral", "checkerboard", "drawing")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
FRAME_TIMES = """(seconds) => new Promise((done) => {
  const times = [];
  const frame = (now) => {
    times.push(now);
    if (now - times[0] < 1000 * seconds) requestAnimationFrame(frame); else done(times);
  };
  requestAnimationFrame(frame);
})"""
STEPS = "Number(document.querySelector('.playground')?.dataset.steps)"


def browser_seconds() -> float:
    """Processor time so far of the browser that this process started, all its processes together."""
    parents, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)
        except OSError:  # it ended meanwhile
            continue
        pid, values = int(folder.name), fields.split()
        parents[pid] = int(values[1])
        if "chrom" in name:
            seconds[pid] = sum(map(int, values[11:13])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds.get(pid, 0) for pid in ours)


def measure(browser: Browser, address: str, density: str, particles: int, seconds: float) -> dict[str, float]:
    """The numbers of one density."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    # Long enough that the run does not end while it is measured.
    page.goto(f"{address}?playground.density={density}&playground.particles={particles}&playground.steps=100")
    page.wait_for_function(f"{STEPS} > 40", timeout=120_000)
    steps, used = page.evaluate(STEPS), browser_seconds()
    times = page.evaluate(FRAME_TIMES, seconds)
    steps, used = page.evaluate(STEPS) - steps, browser_seconds() - used
    page.close()
    between = sorted(b - a for a, b in pairwise(times))
    passed = (times[-1] - times[0]) / 1000
    return {
        "frames_per_second": len(between) / passed,
        "slowest_ms": between[int(0.95 * len(between))],
        "steps_per_second": steps / passed,
        "cpu_ms_per_frame": 1000 * used / len(between),
    }


def as_markdown(result: dict) -> str:
    """The committed table."""
    load = ", ".join(f"{value:.1f}" for value in result["load"])
    lines = [
        "# The playground's frame rate",
        "",
        f"`python -m benchmarks.playground`, {result['particles']:,} particles in each of two views, "
        f"{result['seconds']:g} s each, Chromium {result['browser']} headless, drawn in software; {result['cores']} "
        f"core(s), {result['machine']}, load before and after: {load}.",
        "",
        "| density | frames/s | 95 % of frames within | steps/s (80 asked for) | processor time a frame |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["densities"].items():
        lines.append(
            f"| {name} | {row['frames_per_second']:.0f} | {row['slowest_ms']:.0f} ms | {row['steps_per_second']:.0f} "
            f"| {row['cpu_ms_per_frame']:.1f} ms |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    with gr.Blocks() as page:
        PlaygroundTab()
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    before = os.getloadavg()[0]
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        measured = {name: measure(browser, address, name, arguments.particles, arguments.seconds) for name in DENSITIES}
        version = browser.version
        browser.close()
    page.close()
    result = {
        "particles": arguments.particles,
        "seconds": arguments.seconds,
        "browser": version,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": [before, os.getloadavg()[0]],
        "densities": measured,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "playground.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "playground.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
