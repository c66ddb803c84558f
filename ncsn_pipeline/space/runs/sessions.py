"""One run at a time for each visitor's session, which only that session can stop; refused or failed, it says so.

A tab's handlers derive from `SessionRuns` and give `answered` the work of a run.

A page that has shown the line of status tells the server, and a run's next values are sent then: a browser that needs
longer for a value than the server does would fall behind for good, and hear no click meanwhile.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context
from gradio.events import Dependency

from . import messages
from .events import CHECKED_BY_US, PRIVATE

logger = logging.getLogger(__name__)

FAILED = "Something went wrong on the server. Try again, or with other settings."
BUSY = "Too many visitors are waiting. Try again in a minute."
STOPPING = "Stopping."
NOTHING_TO_STOP = "Nothing of this session is running."
MOST_STARTS = 1000  # of sessions, kept apart; a start that is never followed by its run is forgotten after that many
PATIENCE = 5.0  # seconds to wait for a page that has not shown the last values yet, and may be asleep

WORKER = "torch"  # the group of events that run one at a time

Outputs = tuple[Any, ...]


class Stop(threading.Event):
    """Set when a run is to end.

    Attributes:
        waiting: until the run begins.
        page_tells: whether there is a page that says what it has shown.
        awaited: the last line of status that was sent.
        shown: set when the page has shown that line, and when the run is to end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.page_tells = False
        self.awaited = ""
        self.shown = threading.Event()
        self.shown.set()

    def set(self) -> None:
        """Ends the run, which waits for no page any more."""
        super().set()
        self.shown.set()


class SessionRuns:
    """What the handlers of every tab with runs have in common; one object serves all visitors.

    A tab names how many outputs a run has, and which of them is the line of status.
    """

    num_outputs: int
    status_at: int

    def __init__(self) -> None:
        self._stops: dict[str, Stop] = {}
        self._surplus: Counter[str] = Counter()  # starts that came while a run was there: they are ignored

    def status(self, text: str, kind: str = "") -> str:
        """The line of status."""
        return messages.status(text, kind=kind)

    def only_status(self, text: str, kind: str = "") -> Outputs:
        """All outputs of a run, of which the line of status alone changes."""
        return self.outputs(*[gr.skip()] * self.status_at, self.status(text, kind))

    def outputs(self, *values: Any) -> Outputs:
        """All outputs of a run, those that are not given left as they are."""
        return (*values, *[gr.skip()] * (self.num_outputs - len(values)))

    def answered(
        self,
        request: gr.Request,
        work: Callable[[threading.Event], Generator[Any]],
        show: Callable[[Any], Any] = lambda moment: moment,
        say: Callable[[str, str], Any] | None = None,
    ) -> Iterator[Any]:
        """What `work` yields; the event that it is given is set when the run is to end.

        Args:
            request: whose session it is.
            work: the run.
            show: what is made of what it yields.
            say: what is yielded instead where there is none, of words and their kind; by default the line of status.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        # A call without a session can be stopped by nobody else.
        session = request.session_hash
        tell = say or self.only_status
        if session not in self._stops and self._is_surplus(session):
            yield say("", "") if say else self.outputs()
            return
        stop = self._stops.setdefault(session, Stop()) if session else Stop()
        stop.waiting = False
        try:
            if stop.is_set():
                yield tell("Stopped before it started.", "stopped")
            else:
                with closing(work(stop)) as moments:
                    shown = map(show, moments)
                    yield from shown if say else self._at_the_page_s_pace(shown, stop)
        except (ValueError, FloatingPointError) as error:  # the settings' and the samplers' own words
            yield tell(str(error), "error")
            raise gr.Error(messages.toast(str(error)), print_exception=False) from None
        except Exception:
            logger.exception("A run failed.")
            yield tell(FAILED, "error")
            raise gr.Error(FAILED, print_exception=False) from None
        finally:
            if session and self._stops.get(session) is stop:
                del self._stops[session]

    def _at_the_page_s_pace(self, moments: Iterator[Outputs], stop: Stop) -> Iterator[Outputs]:
        """The moments, each once the page has shown the one before, if it says so."""
        for outputs in moments:
            if stop.page_tells and not stop.is_set():
                stop.page_tells = stop.shown.wait(PATIENCE)  # one that is asleep is waited for once
            # Where the line stays as it was, the page has nothing to tell.
            if (status := outputs[self.status_at]) not in (stop.awaited, gr.skip()):
                stop.awaited = status
                stop.shown.clear()
            yield outputs

    def page_has_shown(self, status: str, request: gr.Request) -> None:
        """The page of this session has shown a line of status; it may say so twice, or of one that is long past."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.page_tells = True
            if status == stop.awaited:
                stop.shown.set()

    def connect_run(
        self,
        button: gr.Button,
        work: Callable[..., Iterator[Outputs]],
        inputs: Sequence[Component],
        outputs: Sequence[Component],
        status: Component,
        buttons: Sequence[gr.Button],
        **event: Any,
    ) -> Dependency:
        """Makes a button start runs, one at a time on this server, and gives the buttons back however a run ends.

        Args:
            button: that starts.
            work: yields values of the outputs.
            inputs: of `work`.
            outputs: of `work`.
            status: the line of status.
            buttons: all that start, and the one that stops.
            **event: keywords of the event, as `api_name`.
        """
        page = Context.root_block

        def stoppable(request: gr.Request) -> list[dict[str, Any]]:
            running = request.session_hash in self._stops
            return [gr.update(interactive=(other is buttons[-1]) == running) for other in buttons]

        def wait(request: gr.Request) -> list[Any]:
            # It may have to wait for another visitor's run, and can be stopped while it does.
            if not self._begins_to_wait(request.session_hash):
                return [gr.skip()] * (1 + len(buttons))
            return [self.status(waiting_words(place_in(page)), "running"), *stoppable(request)]

        def failed(request: gr.Request) -> list[Any]:
            session = request.session_hash
            stop = self._stops.get(session)
            # A run that failed is gone; one that the queue did not take still waits, unless it was one too many.
            if stop is None or self._is_surplus(session) or not stop.waiting:
                return [gr.skip(), *stoppable(request)]
            self._stops.pop(session, None)
            return [self.status(BUSY, "error"), *stoppable(request)]

        run = button.click(wait, None, [status, *buttons], **PRIVATE).success(
            work, inputs, outputs, concurrency_id=WORKER, concurrency_limit=1, **CHECKED_BY_US, **event
        )
        run.success(stoppable, None, buttons, **PRIVATE)
        run.failure(failed, None, [status, *buttons], **PRIVATE)
        return run

    def _begins_to_wait(self, session: str) -> bool:
        """Notes that a run of that session is to come; not where one is there: two could not both be stopped."""
        if session in self._stops:
            self._surplus[session] += 1
            return False
        self._stops[session] = stop = Stop()
        stop.waiting = True
        waiting = [other for other, stop in list(self._stops.items()) if stop.waiting]
        for other in waiting[:-MOST_STARTS]:
            self._stops.pop(other, None)
        return True

    def _is_surplus(self, session: str | None) -> bool:
        """Whether a start of that session is one too many; each is told once."""
        if not self._surplus[session]:
            return False
        self._surplus[session] -= 1
        return True

    def connect_stop(self, button: gr.Button, status: Component, api_name: str, ends: str) -> None:
        """Makes a button end the session's run, which keeps the page's pace; callers without one get an endpoint.

        Args:
            button: that stops.
            status: the line of status.
            api_name: of the endpoint.
            ends: what it ends and when, for its description.
        """
        button.click(self.stop_and_say, None, status, **PRIVATE)
        status.change(self.page_has_shown, status, None, **PRIVATE)
        words = f"Ends {ends}; returns whether there is one. A call that waits in the queue is not yet one: cancel it."
        gr.api(self.stop, api_name=api_name, api_description=words, queue=False)

    def stop(self, request: gr.Request) -> str:
        """Ends the run of this session at its next step; returns whether there is one, in words."""
        if (stop := self._stops.get(request.session_hash)) is None:
            return NOTHING_TO_STOP
        stop.set()
        return STOPPING

    def stop_and_say(self, request: gr.Request) -> str | dict[str, Any]:
        """The line of status of a run that is stopped before its turn: it says more when that comes."""
        self.stop(request)
        stop = self._stops.get(request.session_hash)
        if stop is not None and stop.waiting:
            return self.status("Stopped. It leaves the queue when its turn comes.", "running")
        return gr.skip()

    def leave(self, request: gr.Request) -> None:
        """Ends the run of a visitor who has left."""
        self._surplus.pop(request.session_hash, None)
        if (stop := self._stops.pop(request.session_hash, None)) is not None:
            stop.set()


def place_in(page: gr.Blocks) -> dict[str, int]:
    """How many runs of this server are running, and how many wait."""
    group = page._queue.event_queue_per_concurrency_id.get(WORKER)
    return {"running": group.current_concurrency if group else 0, "waiting": len(group.queue) if group else 0}


def waiting_words(place: dict[str, int]) -> str:
    """The line of status of a run that waits."""
    before = place["running"] + place["waiting"]
    if not before:
        return "Waiting for a free worker …"
    return f"Waiting: {before} other run{'s are' if before > 1 else ' is'} before yours …"


def offer(run: Dependency, downloads: Sequence[gr.DownloadButton]) -> None:
    """Lets the files be downloaded that a run has left."""

    def offered(*files: Any) -> list[dict[str, Any]]:
        return [gr.update(interactive=bool(file)) for file in files]

    run.success(offered, downloads, downloads, **PRIVATE | CHECKED_BY_US)  # else Gradio writes an empty file for each
