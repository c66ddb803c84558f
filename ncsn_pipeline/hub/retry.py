"""Trying again: what is worth it, how often, how long to wait, and what to say in the end."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import _http, close_session, get_session, logging

logger = logging.get_logger(__name__)

# A timeout of a proxy, a commit that came in between (two codes), and too many requests.
TRANSIENT_STATUS = {408, 409, 412, 429}
LONGEST_WAIT = 30.0


class PushError(RuntimeError):
    """A push that failed for good; the message says why, where the files are, and how to push them later."""


def repeat(attempt: Callable[[], str], what: str, *, retries: int, wait: float, timeout: float, later: str) -> str:
    """Runs `attempt` until it succeeds, fails for good, or has failed `retries` + 1 times.

    Args:
        attempt: does everything from the start and may be repeated.
        what: "Pushing to ...", the start of each message.
        retries: how often a transient failure is tried again, >= 0.
        wait: seconds before the second try, >= 0; doubled for each one after it, at most `LONGEST_WAIT`.
        timeout: seconds that the Hub may be silent within one request, > 0.
        later: the end of the message of a failure: where everything is, and how to go on.

    Raises:
        ValueError: for a number outside its range.
        PushError: for the failure in the end.
    """
    if retries < 0 or wait < 0 or timeout <= 0:
        raise ValueError(f"retries and wait must be >= 0 and timeout > 0; got {retries}, {wait} and {timeout}.")
    for failed in range(retries + 1):
        try:
            with _patience(timeout):
                return attempt()
        except Exception as error:
            reason = _reason(error)
            if not is_transient(error):
                raise PushError(f"{what} was refused: {reason}\n{_advice(error)}{later}") from error
            if failed == retries:
                raise PushError(f"{what} failed {failed + 1} times, lastly: {reason}\n{later}") from error
            seconds = min(wait * 2**failed, LONGEST_WAIT)
            logger.warning(f"{what} failed: {reason} Trying again in {seconds:g} s.")
            time.sleep(seconds)
    raise AssertionError("unreachable")


def is_transient(error: BaseException) -> bool:
    """Whether the same push may succeed a little later: 5xx, a cut connection, a timeout, a commit in between.

    A refusal (401, 403, 404), a wrong argument and a file that cannot be read are not.
    """
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code in TRANSIENT_STATUS
    if isinstance(error, json.JSONDecodeError):  # the page of a proxy in place of an answer
        return True
    if any(kind.__name__ == "TransportError" for kind in type(error).__mro__):
        return True
    if isinstance(error, RuntimeError):  # the upload of one file; the client says no more than this
        return error.__cause__ is None or is_transient(error.__cause__)
    return isinstance(error, ConnectionError | TimeoutError)


def _advice(error: BaseException) -> str:
    while error.__cause__ is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status == 401:
        return "The token is missing or not valid: run `hf auth login`, or give --token.\n"
    if status == 403:
        return "The token may not write there: it needs the right to write, and the name must be yours.\n"
    if status == 404:
        return "There is no such repository, or the token may not see it.\n"
    return ""


def _reason(error: BaseException) -> str:
    """The message, and that of the cause where the client wraps one, in one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__
    return f"{words} {_reason(cause)}" if isinstance(error, RuntimeError) and cause is not None else words


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """The client waits for ever by itself; here, at most `seconds` for each part of an answer.

    Also with the new session that it makes after a refused connection.  Its `set_client_factory` would close the one
    that other threads use, so its variable is set; where a later client has no such variable, nothing is.
    """
    session, factory = get_session(), getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
    before, session.timeout = session.timeout, seconds

    def impatient() -> object:
        made = factory()
        made.timeout = seconds
        return made

    if factory is not None:
        _http._GLOBAL_CLIENT_FACTORY = impatient
    try:
        yield
    finally:
        if factory is not None:
            _http._GLOBAL_CLIENT_FACTORY = factory
        session.timeout = before
        if get_session() is not session:
            close_session()
