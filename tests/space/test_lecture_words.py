"""The claims in words: every symbol of an equation is defined, and the Playground takes the settings that show it."""

import re

import pytest

from ncsn_pipeline.space.lecture import report
from ncsn_pipeline.space.lecture.results import shipped_results
from ncsn_pipeline.space.lecture.stops import NAMES, STOPS
from ncsn_pipeline.space.lecture.symbols import SYMBOLS, symbols_of
from ncsn_pipeline.space.lecture.words import WORDS


def test_every_claim_has_words_and_no_other():
    assert list(WORDS) == list(NAMES)
    assert len({words.text for words in WORDS.values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_words_say_not_confirmed_of_what_fails_and_of_nothing_else(name):
    confirmed = all(result["holds"] for result in shipped_results(name))
    assert ("not confirmed" in WORDS[name].text) is not confirmed


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_of_an_equation_belongs_to_a_symbol_that_is_defined(name):
    """With all symbols taken away, what is left are numbers, brackets, operators and words."""
    rest = STOPS[name].latex
    for pattern, _, _ in SYMBOLS:
        rest = re.sub(pattern, " ", rest)
    rest = re.sub(r"\\(text|operatorname)\{[^}]*\}|\\[a-zA-Z]+|\\.", " ", rest)
    assert re.findall("[a-zA-Z]+", rest) == []


def test_every_symbol_is_of_some_equation():
    used = {shown for stop in STOPS.values() for shown, _ in symbols_of(stop.latex)}
    assert used == {shown for _, shown, _ in SYMBOLS}


def test_the_symbols_of_an_equation_are_its_own():
    """Annealed Langevin dynamics: no density, no expectation, no single sigma."""
    found = [re.sub("<[^>]*>", "", shown) for shown, _ in symbols_of(STOPS["annealing"].latex)]
    assert found == ["s", "σ1 … σL", "α", "ε", "z", "x"]


def test_a_claim_is_explained_with_its_symbols_and_a_link_where_it_moves():
    shown = report.explanation("one-sigma")
    assert WORDS["one-sigma"].text in shown and shown.count("<dt>") == len(symbols_of(STOPS["one-sigma"].latex))
    assert '<a href="?playground.sigma=3">' in shown
    assert "<a " not in report.explanation("sliced")


@pytest.mark.browser
def test_the_playground_takes_every_setting_of_a_link_as_it_stands(javascript):
    for words in WORDS.values():
        if words.moving:
            query = dict(pair.split("=") for pair in words.moving.split("&"))
            read = javascript("(query) => readQuery(new URLSearchParams(query))", query)
            for key, value in query.items():
                assert str(read[key.removeprefix("playground.")]) == value
