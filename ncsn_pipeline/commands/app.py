"""Opens the page.

ncsn app
ncsn app --model runs/mine --port 7861
"""

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import in_one_line
from . import missing

PROGRAM = "ncsn app"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the page until it is ended; returns 2 after one line on what keeps it from that."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Opens the page.")
    parser.add_argument(
        "--model", default=None, help="a folder, a Hub id, or a shipped model (default: all shipped ones)"
    )
    parser.add_argument("--others", nargs="*", default=[], help="more of them, for visitors to choose among")
    parser.add_argument("--host", default=None, help="address to serve at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=None, help="port to serve at (default: the first free from 7860)")
    options = parser.parse_args(arguments)
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port must lie in 1 ... 65535; got {options.port}.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio reads it when it is imported
    try:
        from ..space import build_page, models_to_show, serve

        page = build_page(*models_to_show(options.model, options.others))
        serve(page, server_name=options.host, server_port=options.port)
    except ImportError as error:
        return missing(PROGRAM, error, "space")
    except (ValueError, OSError) as error:
        message = in_one_line(error)
        if "Cannot find empty port" in message:  # Gradio names settings of its own
            place = f"{options.host or 'this machine'}, port {options.port or 'from 7860 on'}"
            message = (
                f"nothing can be served at {place}: it may be taken, or not allowed. Give another --port or --host."
            )
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        return 2
    return 0
