"""A run belongs to its session; settings in the address are read and written as the browser does."""

import math
import threading

import gradio as gr
import pytest

from ncsn_pipeline.space.runs import messages, sessions
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.runs.sessions import NOTHING_TO_STOP, STOPPING, SessionRuns, waiting_words
from ncsn_pipeline.space.server.sharing import SharedView, _as_javascript_writes


class Runs(SessionRuns):
    """Of three outputs, the second is the line of status."""

    num_outputs, status_at = 3, 1


def visitor(session):
    return gr.Request(session_hash=session)


def begun(runs, session, seen):
    """A run of that session at its first value; `seen` gets the event that ends it."""

    def work(stop):
        seen.append(stop)
        yield runs.outputs("begun")
        yield runs.outputs("went on")

    run = runs.answered(visitor(session), work)
    assert next(run)[0] == "begun"
    return run


def test_only_its_own_session_stops_a_run():
    runs, seen = Runs(), []
    first, second = (begun(runs, session, seen) for session in ("a", "b"))
    assert runs.stop(visitor("c")) == runs.stop(visitor(None)) == NOTHING_TO_STOP
    assert runs.stop(visitor("b")) == STOPPING
    assert [stop.is_set() for stop in seen] == [False, True]
    runs.leave(visitor("a"))
    assert [stop.is_set() for stop in seen] == [True, True]
    list(first), list(second)
    assert runs.stop(visitor("b")) == NOTHING_TO_STOP


def test_calls_without_a_session_are_each_their_own():
    runs, seen = Runs(), []
    begun(runs, None, seen), begun(runs, None, seen)
    assert seen[0] is not seen[1] and runs.stop(visitor(None)) == NOTHING_TO_STOP


def test_a_run_that_is_stopped_while_it_waits_never_begins():
    runs, seen = Runs(), []
    assert runs._begins_to_wait("a")
    assert "leaves the queue when its turn comes" in runs.stop_and_say(visitor("a"))
    (answer,) = runs.answered(visitor("a"), seen.append)
    assert "Stopped before it started." in answer[1] and len(answer) == 3 and seen == []
    assert runs.stop(visitor("a")) == NOTHING_TO_STOP


def test_of_two_starts_of_a_session_the_second_does_nothing():
    """Also when its turn comes after the end of the first; the next start is a start again."""
    runs, seen = Runs(), []
    assert runs._begins_to_wait("a") and not runs._begins_to_wait("a")
    list(begun(runs, "a", seen))
    assert list(runs.answered(visitor("a"), seen.append)) == [runs.outputs()]
    list(begun(runs, "a", seen))
    assert runs._begins_to_wait("a") and len(list(begun(runs, "a", seen))) == 1 and len(seen) == 3


def test_of_starts_that_never_run_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(sessions, "MOST_STARTS", 3)
    runs = Runs()
    for session in "abcde":
        runs._begins_to_wait(session)
    assert [runs.stop(visitor(session)) == STOPPING for session in "abcde"] == [False, False, True, True, True]


def test_a_run_that_fails_or_is_refused_says_so_and_is_gone():
    runs = Runs()

    def refused(stop):
        raise SettingsError("Five < six.")
        yield

    def broken(stop):
        raise KeyError("secret")
        yield

    for work, said in ((refused, "Five &lt; six."), (broken, sessions.FAILED)):
        answers = runs.answered(visitor("a"), work)
        assert said in next(answers)[1]
        with pytest.raises(gr.Error) as caught:
            next(answers)
        assert caught.value.message == said and runs.stop(visitor("a")) == NOTHING_TO_STOP


def paced(words, answers=True, tells=True, **options):
    """How long a run waited for its page before each of these lines of status, None where it did not.

    Args:
        words: the lines.
        answers: whether the page has shown a line by the time that it is waited for.
        tells: whether there is a page that says so.
        **options: of `answered`.
    """
    runs, waits = Runs(), []

    class Shown(threading.Event):
        def wait(self, timeout):
            if not self.is_set():
                waits[-1] = timeout
            return answers or self.is_set()

    def work(stop):
        stop.shown, stop.page_tells = Shown(), tells
        stop.shown.set()
        for text in words:
            waits.append(None)
            yield runs.outputs(gr.skip(), text)

    list(runs.answered(visitor("a"), work, **options))
    return waits


def test_a_run_waits_until_its_page_has_shown_the_line_before():
    wait = sessions.PATIENCE
    assert paced(["one", "two", "three"]) == [None, wait, wait]
    assert paced(["one", "two", "three"], answers=False) == [None, wait, None]  # one that sleeps is waited for once
    assert paced(["one", "two"], tells=False) == [None, None]
    assert paced(["one", "two"], say=messages.said) == [None, None]


def test_what_a_page_tells_of_another_line_than_the_last_counts_for_nothing():
    runs, seen = Runs(), []

    def work(stop):
        seen.append(stop)
        for text in ("one", "one", gr.skip(), "two"):
            yield runs.outputs(gr.skip(), text)

    run = runs.answered(visitor("a"), work)
    next(run)
    (stop,) = seen
    runs.page_has_shown("one", visitor("b"))
    assert not stop.page_tells and not stop.shown.is_set()
    runs.page_has_shown("Waiting", visitor("a"))
    assert stop.page_tells and not stop.shown.is_set()
    runs.page_has_shown("one", visitor("a"))
    next(run), next(run)  # the page has nothing new to show: it is not waited for
    assert stop.shown.is_set()
    next(run)
    runs.page_has_shown("one", visitor("a"))
    assert not stop.shown.is_set()
    assert runs.stop(visitor("a")) == STOPPING and stop.shown.is_set()
    assert list(run) == []


def test_the_line_of_status_comes_back_from_the_page_as_it_was_sent():
    line = messages.status("Step 5 of 10 · loss < 3", 5, 10, kind="running")
    assert gr.HTML().preprocess(gr.HTML().postprocess(line)) == line


@pytest.fixture
def view():
    controls = {
        "levels": gr.Slider(1, 200, value=50, step=1),
        "sigma": gr.Slider(0.1, 50, value=0.25),
        "seed": gr.Number(0),
        "kind": gr.Radio(["12", "b"], value="b"),
        "loud": gr.Checkbox(False),
    }

    def check(**values):
        if values["levels"] > 200:
            raise SettingsError("Too many levels.")
        checked.append(values)

    checked = []
    shared = SharedView("tab", controls, check, gr.HTML(), Runs())
    shared.checked = checked
    return shared


def test_the_address_sets_what_it_names_and_leaves_the_rest(view):
    query = {
        "tab.levels": "12",
        "tab.sigma": "2.5e-1",
        "tab.kind": "12",
        "tab.loud": "true",
        "other.seed": "3",
        "tab.x": "1",
    }
    request = gr.Request(query_params=query)
    status, levels, sigma, seed, kind, loud = view.restore(request)
    assert [update["value"] for update in (levels, sigma, kind, loud)] == [12, 0.25, "12", True]
    assert type(levels["value"]) is int and "value" not in seed and "value" not in status
    assert view.checked == [{"levels": 12, "sigma": 0.25, "seed": 0, "kind": "12", "loud": True}]


def test_an_address_with_one_bad_setting_changes_nothing(view):
    status, *controls = view.restore(gr.Request(query_params={"tab.levels": "201", "tab.seed": "4"}))
    assert "The settings in the page&#x27;s address were not taken over. Too many levels." in status
    assert all("value" not in update for update in controls) and view.checked == []
    read = [view._read("seed", text) for text in ("-3", "1.5", "1e999", "0x10", " 4", "")]
    assert read == [-3, 1.5, math.inf, "0x10", " 4", ""]


def test_defaults_are_written_as_javascript_writes_them():
    values = (12.0, 0.1, 0.0125, 2**31 - 1, True, "b")
    assert [_as_javascript_writes(value) for value in values] == ["12", "0.1", "0.0125", "2147483647", "true", "b"]


def test_a_run_that_waits_is_told_how_many_are_before_it():
    assert waiting_words({"running": 0, "waiting": 0}) == "Waiting for a free worker …"
    assert waiting_words({"running": 1, "waiting": 0}) == "Waiting: 1 other run is before yours …"
    assert waiting_words({"running": 1, "waiting": 2}) == "Waiting: 3 other runs are before yours …"
