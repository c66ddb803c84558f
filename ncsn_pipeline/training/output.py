"""What a run prints, where its reader may be gone: in `ncsn train ... 2>&1 | tee log`, Ctrl-C ends `tee` too."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class LastingStream:
    """A text stream that can be written to without end: what its reader does not take any more is lost.

    Args:
        stream: of the process; a letter that it lacks is spelled out.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes `text`, and returns its length."""
        with self._or_nowhere():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is kept back."""
        with self._or_nowhere():
            self.stream.flush()

    @contextlib.contextmanager
    def _or_nowhere(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # What is kept back goes there too, at the latest when Python ends, which a failure would make an error.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Standard output and error as a :class:`LastingStream` each, until the end of the block."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        # A stream that was closed before the start is None.
        out, err = (LastingStream(nowhere if stream is None else stream) for stream in (sys.stdout, sys.stderr))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                yield
            finally:
                out.flush()
                err.flush()
