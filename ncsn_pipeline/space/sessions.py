"""One run at a time for each visitor's session, which only that session can stop; refused or failed, it says so.

A tab's answers derive from `SessionRuns` and give `answered` the work of a run.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from . import messages

logger = logging.getLogger(__name__)

FAILED = "Something went wrong on the server. Try again, or with other settings."

Outputs = tuple[Any, ...]


class SessionRuns:
    """What the answers of every tab with runs have in common; one object serves all visitors."""

    num_start_buttons = 1

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def status(self, text: str, kind: str = "") -> str:
        """The line of status."""
        return messages.status(text, kind=kind)

    def only_status(self, text: str, kind: str = "") -> Outputs:
        """All outputs of a run, of which the line of status alone changes."""
        raise NotImplementedError

    def answered(self, request: gr.Request, work: Callable[[threading.Event], Iterator[Outputs]]) -> Iterator[Outputs]:
        """What `work` yields; the event that it is given is set when the run is to end.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        # A call without a session can be stopped by nobody else.
        session = request.session_hash
        stop = self._stops.setdefault(session, threading.Event()) if session else threading.Event()
        try:
            if stop.is_set():
                yield self.only_status("Stopped before it started.")
            else:
                yield from work(stop)
        except (ValueError, FloatingPointError) as error:  # the settings' and the samplers' own words
            yield self.only_status(str(error), "error")
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("A run failed.")
            yield self.only_status(FAILED, "error")
            raise gr.Error(FAILED, duration=None, print_exception=False) from None
        finally:
            if session and self._stops.get(session) is stop:
                del self._stops[session]

    def wait(self, request: gr.Request) -> Outputs:
        """Before a run, which may have to wait for another visitor's: the status, start buttons off, stop button on."""
        self._stops[request.session_hash] = threading.Event()
        started = [gr.update(interactive=False)] * self.num_start_buttons
        return self.status("Waiting for a free worker …", "running"), *started, gr.update(interactive=True)

    def stop(self, request: gr.Request) -> None:
        """Ends the run of this session at its next step."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.set()

    def leave(self, request: gr.Request) -> None:
        """Ends the run of a visitor who has left."""
        if (stop := self._stops.pop(request.session_hash, None)) is not None:
            stop.set()
