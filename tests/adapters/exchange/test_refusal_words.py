"""Words of a venue: about its service, of a documented class, or neither."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.exchange.refusal_words import SERVICE, Known, Outcome, longest, service_class
from tests.support.examples import examples

INVENTED = (
    ("Request timeout", "time-out"),
    ("the order router timed out", "time-out"),
    ("TIMED OUT", "time-out"),
    ("Throttled: 1764070000", "rate limit"),
    ("rate limit reached", "rate limit"),
    ("Too many orders", "rate limit"),
    ("quota used up", "rate limit"),
    ("Matching temporarily unavailable", "unavailable"),
    ("we are offline", "unavailable"),
    ("lost the connection to the exchange", "unavailable"),
    ("Busy", "busy"),
    ("the queue is full", "busy"),
    ("over capacity", "busy"),
    ("Internal error", "internal"),
    ("an unexpected thing happened", "internal"),
    ("upstream said no", "part of the service"),
    ("database locked", "part of the service"),
    ("Scheduled maintenance", "maintenance"),
    ("we are restarting", "maintenance"),
    ("Please try again", "later"),
    ("come back later", "later"),
)


@pytest.mark.parametrize(("words", "name"), INVENTED)
def test_invented_words_about_a_service_are_of_their_class(words: str, name: str) -> None:
    assert service_class(words) == name


@pytest.mark.parametrize(
    "words", ["", "insufficient funds", "qty must be > 0", "wash trade", "asset X not found", "the account is closed"]
)
def test_words_about_an_order_or_an_account_are_of_no_class(words: str) -> None:
    assert service_class(words) == ""


def test_each_class_has_a_source() -> None:
    assert all(record.source and record.pattern for record in SERVICE)
    assert len({record.name for record in SERVICE}) == len(SERVICE)


def test_the_longest_beginning_counts_and_ends_at_a_word() -> None:
    table = (Known("E:In", Outcome.DENIED, "a"), Known("E:In mode", Outcome.REFUSED, "b"))
    assert longest(table, "E:In mode: more") == table[1]
    assert longest(table, "e:in other") == table[0]
    assert longest(table, "E:Insufficient") is None
    assert longest((), "E:In") is None


@given(st.text(string.ascii_letters + " :", max_size=40))
@settings(max_examples=examples(200), deadline=None)
def test_no_text_ends_with_an_exception(words: str) -> None:
    assert isinstance(service_class(words), str)
