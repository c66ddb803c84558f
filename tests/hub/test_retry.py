"""What is tried again, how often, and after how long a wait; the waits are written down in place of being waited."""

import importlib
import json

import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import close_session, get_session, set_client_factory

from ncsn_pipeline.hub import retry
from ncsn_pipeline.hub.retry import PushError, is_transient, repeat

# The library by which the client speaks HTTP.
http = importlib.import_module(type(get_session()).__module__.partition(".")[0])
CUT = ConnectionError("cut off")


def status(code):
    response = http.Response(code, request=http.Request("POST", "http://hub/api"))
    return HfHubHTTPError(f"{code} of the Hub", response=response)


def wrapped(cause):
    """As the client reports a file whose upload failed."""
    error = RuntimeError("Error while uploading")
    error.__cause__ = cause
    return error


@pytest.fixture
def waits(monkeypatch):
    """The seconds that are slept."""
    slept = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    return slept


def push(*errors, retries=9, wait=1.0, timeout=7.0, seen=None):
    """An attempt that fails with `errors` one after the other, and then succeeds."""
    left = list(errors)

    def attempt():
        if seen is not None:
            seen.append(get_session().timeout.read)
        if left:
            raise left.pop(0)
        return "address"

    return repeat(attempt, "Pushing", retries=retries, wait=wait, timeout=timeout, later="Later.")


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(1.0, [1, 2, 4, 8, 16, 30, 30]), (0.75, [0.75, 1.5, 3, 6, 12, 24, 30]), (40.0, [30] * 7), (0.0, [0] * 7)],
)
def test_each_wait_is_double_the_one_before_up_to_the_longest(waits, wait, expected):
    assert push(*[CUT] * 7, wait=wait) == "address"
    assert waits == expected


def test_there_are_as_many_retries_as_asked_for_and_no_wait_after_the_last(waits):
    assert push(CUT, CUT, retries=2) == "address"
    waits.clear()
    with pytest.raises(PushError, match="^Pushing failed 3 times, lastly: cut off\nLater.$"):
        push(CUT, CUT, CUT, retries=2)
    assert waits == [1, 2]
    waits.clear()
    with pytest.raises(PushError, match="failed 1 times"):
        push(CUT, retries=0)
    assert waits == []


@pytest.mark.parametrize("code", [408, 409, 412, 429, 500, 502, 503, 504, 520, 599])
def test_these_answers_are_tried_again(waits, code):
    assert push(status(code)) == "address"
    assert waits == [1]
    assert is_transient(wrapped(status(code)))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 411, 413, 416, 422, 428, 451, 499])
def test_these_answers_are_refusals(waits, code):
    with pytest.raises(PushError, match=f"Pushing was refused: {code} of the Hub"):
        push(status(code))
    assert waits == []
    assert not is_transient(wrapped(status(code)))


@pytest.mark.parametrize(
    ("code", "advice"), [(401, "hf auth login"), (403, "right to write"), (404, "no such repository"), (422, None)]
)
def test_a_refusal_says_what_to_do(code, advice):
    for error in (status(code), wrapped(status(code))):
        with pytest.raises(PushError) as refused:
            push(error)
        first, *between, last = str(refused.value).splitlines()
        assert f"{code} of the Hub" in first
        assert last == "Later."
        assert (advice in between[0]) if advice else not between


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (CUT, True),
        (TimeoutError(), True),
        (http.ConnectError("no route"), True),
        (http.ReadTimeout("silent"), True),
        (http.RemoteProtocolError("cut"), True),
        (json.JSONDecodeError("a page of a proxy", "<html>", 0), True),
        (RuntimeError("of the client, without a cause"), True),
        (wrapped(CUT), True),
        (wrapped(wrapped(CUT)), True),
        (wrapped(FileNotFoundError("weights")), False),
        (FileNotFoundError("weights"), False),
        (PermissionError("weights"), False),
        (ValueError("a wrong argument"), False),
        (KeyError("name"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_connection_may_come_back_and_a_missing_file_does_not(waits, error, again):
    assert is_transient(error) is again
    if again:
        assert push(error) == "address"
    else:
        with pytest.raises(PushError, match="refused"):
            push(error)
    assert waits == [1] * again


@pytest.fixture
def own_session():
    """Whoever uses the client may have told it how to make its sessions."""
    before = retry._http._GLOBAL_CLIENT_FACTORY
    set_client_factory(lambda: http.Client(timeout=55.0))
    yield
    set_client_factory(before)


def test_every_try_has_the_time_limit_and_nothing_after_it(waits, own_session):
    seen = []
    assert push(CUT, status(503), timeout=7.0, seen=seen) == "address"
    assert seen == [7.0] * 3
    assert get_session().timeout.read == 55.0
    with pytest.raises(PushError):
        push(status(403))
    assert get_session().timeout.read == 55.0


def test_a_session_that_the_client_makes_anew_has_the_time_limit_too(own_session):
    """As it does after a connection that was refused."""
    seen = []

    def attempt():
        close_session()
        seen.append(get_session().timeout.read)
        return "address"

    repeat(attempt, "Pushing", retries=0, wait=1.0, timeout=7.0, later="Later.")
    assert seen == [7.0]


def test_the_message_of_a_failure_is_one_line_with_its_cause(waits, caplog):
    with pytest.raises(PushError) as failed:
        push(wrapped(ConnectionError("cut\n  off")), retries=0)
    assert str(failed.value).splitlines()[0] == "Pushing failed 1 times, lastly: Error while uploading cut off"
    with pytest.raises(PushError, match="lastly: TimeoutError\n"):
        push(TimeoutError(), retries=0)
