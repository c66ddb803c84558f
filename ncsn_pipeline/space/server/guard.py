"""The page's outermost layer: whatever is sent is answered in words, and only those who listen are answered.

No program's own error reaches anybody, and nothing is kept or computed for callers who never read it.
"""

import logging
import time
import warnings
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.processing_utils import client_utils
from PIL import Image

from ..runs.limits import SettingsError
from ..runs.messages import toast
from ..runs.sessions import FAILED

logger = logging.getLogger(__name__)

MALFORMED = "An input has the wrong form. The API page (link at the bottom of the page) lists what each endpoint takes."
ELSEWHERE = "Files are not fetched from other places. Upload the file itself."

UNHEARD = "This session is not reading its events. Open its stream of events before the next call."

MOST_PIXELS = 4_000_000
MOST_BYTES = 4_000_000  # of an upload
FORM_BYTES = 10_000  # around the file
MOST_UNREAD = 20  # messages of one session: in a run, those of some five seconds
MOST_UNREAD_OF_ALL = 50  # a message can be a quarter of a megabyte; beyond that, those are forgotten
UNHEARD_SECONDS = 30.0  # that have not been read for so long


def refuse_large_pictures() -> None:
    """Makes Pillow refuse, in this process, more than `MOST_PIXELS`: a small file can hold gigabytes."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    """Gradio would fetch the file from there, whatever its size, before anything of ours is asked."""
    if client_utils.is_http_url_like(file["path"]):
        raise gr.Error(ELSEWHERE)
    return file


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` that keep what components and functions raise on the server, and work for those who listen.

    Gradio runs an event whether or not anybody has opened the stream that its answers go to, and keeps them for him.
    """

    _unread_since: dict[str, float] = {}

    def queue(self, *, max_size: int | None = None, **options: Any) -> "GuardedBlocks":
        """As of `gr.Blocks`, but `max_size` is of each group of events (`concurrency_id`): previews pass by runs."""
        super().queue(**options)
        queue = self._queue
        push = queue.push

        async def push_if_there_is_room(body: Any, **caller: Any) -> tuple[bool, Any, str]:
            function = self.fns.get(body.fn_index)
            group = queue.event_queue_per_concurrency_id.get(function.concurrency_id) if function else None
            if None not in (group, max_size) and len(group.queue) >= max_size:
                return False, f"Queue is full: {max_size} calls are waiting. Try again in a minute.", "queue_full"
            return await push(body, **caller)

        queue.push = push_if_there_is_room
        return self

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Reads the inputs of a call.

        Raises:
            gr.Error: for values that a component does not take, in its words or in ours.
        """
        try:
            client_utils.traverse(inputs, _refuse_address, client_utils.is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            raise gr.Error(toast(error.message), print_exception=False) from None
        except Exception:
            raise gr.Error(MALFORMED, print_exception=False) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Answers a call, or takes the next value of one that yields several.

        Raises:
            gr.Error: for a call that is refused, with the reason, for one that failed, without, and for one of a
                session that does not read its answers, which ends it.
        """
        try:
            self._refuse_unheard(kwargs.get("session_hash"))
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except SettingsError as error:
            raise gr.Error(toast(str(error)), print_exception=False) from None
        except Exception:
            logger.exception("A call failed.")
            raise gr.Error(FAILED, print_exception=False) from None

    def _refuse_unheard(self, session: str | None) -> None:
        """Refuses a session with too many unread answers, and forgets those that all together take too much room."""
        pending, now = self._queue.pending_messages_per_session, time.monotonic()
        unread = {other: messages.qsize() for other, messages in pending.items() if messages.qsize()}
        self._unread_since = {other: self._unread_since.get(other, now) for other in unread}
        too_many = sum(unread.values()) - MOST_UNREAD_OF_ALL
        for other in sorted(unread, key=unread.get, reverse=True):
            if too_many > 0 and now - self._unread_since[other] > UNHEARD_SECONDS:
                too_many -= unread[other]
                while not pending[other].empty():
                    pending[other].get_nowait()
        if unread.get(session, 0) > MOST_UNREAD:
            raise gr.Error(UNHEARD, print_exception=False)


class BoundedUploads:
    """ASGI middleware that takes one file of `MOST_BYTES` a request, and says so to whoever sends more."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Passes on what is no upload, and uploads that say that they are small enough."""
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/upload"):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > MOST_BYTES + FORM_BYTES:
                said = f"An upload may have {MOST_BYTES:,} bytes in all, and must say how many it has."
                await send(
                    {"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]}
                )
                await send({"type": "http.response.body", "body": said.encode()})
                return
        await self.app(scope, receive, send)
