"""The page as a visitor meets it: `python app.py` in a process of its own, and how the browser is started."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSER = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()


def start(model: str, threads: int, folder: Path) -> tuple[subprocess.Popen, str, float]:
    """Starts the app; the process, its address, and how long it took to answer.

    Args:
        model: a folder; nothing for the shipped models.
        threads: of torch.
        folder: for its log and its pictures.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"NCSN_MODEL": model and str(Path(model).resolve()), "GRADIO_SERVER_NAME": "127.0.0.1"}
    settings |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder), "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")], env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}/"
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return process, address, time.perf_counter() - began
        except OSError:
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text(encoding="utf-8")) from None
            time.sleep(0.05)
