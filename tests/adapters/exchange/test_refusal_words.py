"""What a venue says about an order: each documented error has its outcome, and any other words are no refusal."""

import json
import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.exchange.binance_errors import BINANCE_ERRORS, binance_outcome
from quantd.adapters.exchange.bybit_errors import BYBIT_ERRORS, bybit_outcome
from quantd.adapters.exchange.kraken_errors import KRAKEN_ERRORS, kraken_outcome
from quantd.adapters.exchange.refusal_words import Known, Outcome, longest, service_class
from tests.support.examples import examples

REFUSED, UNKNOWN, STRANGE, AGAIN = Outcome.REFUSED, Outcome.UNKNOWN, Outcome.STRANGE, Outcome.AGAIN
ASKED = (UNKNOWN, STRANGE)


def binance(words: str) -> Outcome | None:
    """The outcome of "CODE WORDS"."""
    code, _, text = words.partition(" ")
    return binance_outcome(f"binance {json.dumps({'code': int(code), 'msg': text})}")


def bybit(words: str) -> Outcome | None:
    """The outcome of a code."""
    return bybit_outcome(f"bybit {json.dumps({'retCode': int(words), 'retMsg': '', 'result': {}})}")


def kraken(*words: str) -> Outcome | None:
    return kraken_outcome(f"kraken {json.dumps({'error': words})}")


TABLES: list[tuple[Callable[[str], Outcome | None], tuple[Known, ...]]] = [
    (binance, BINANCE_ERRORS), (bybit, BYBIT_ERRORS), (kraken, KRAKEN_ERRORS),
]  # fmt: skip


@pytest.mark.parametrize(("said", "table"), TABLES, ids=["binance", "bybit", "kraken"])
def test_each_documented_error_has_one_outcome_and_its_source(
    said: Callable[[str], Outcome | None], table: tuple[Known, ...]
) -> None:
    assert [entry.text for entry in table if said(entry.text) is not entry.outcome or not entry.source] == []
    assert len({entry.text for entry in table}) == len(table)


@pytest.mark.parametrize("record", KRAKEN_ERRORS, ids=lambda record: record.text)
def test_an_error_of_kraken_has_its_outcome_with_more_words_too(record: Known) -> None:
    assert kraken(f"{record.text}:XBTUSD 17 of them") is record.outcome


@pytest.mark.parametrize(
    ("words", "means"),
    [
        ("-2010 Account has insufficient balance for requested action.", REFUSED),
        ("-2010 Order would trigger immediately.", REFUSED),
        ("-2010 Duplicate order sent.", Outcome.TAKEN),
        ("-2011 Unknown order sent.", Outcome.NOT_FOUND),
        ("-2011 Order was not canceled due to cancel restrictions.", REFUSED),
        ("-2013 Order does not exist.", Outcome.NOT_FOUND),
        # it was there: it must not count as never received, and be sent again
        ("-2026 Order was canceled or expired with no executed qty over 90 days ago.", UNKNOWN),
        ("-1007 Timeout waiting for response from backend server. Send status unknown.", UNKNOWN),
        ("-1006 An unexpected response was received from the message bus.", UNKNOWN),
        ("-1003 Way too much request weight used; IP banned until 1.", AGAIN),
        ("-1015 Too many new orders; current limit is 100 orders per 10 SECOND.", AGAIN),
        ("-1021 Timestamp for this request is outside of the recvWindow.", AGAIN),
        ("-2015 Invalid API-key, IP, or permissions for action.", Outcome.DENIED),
        # of futures, or of no document
        ("-4116 ClientOrderId is duplicated.", STRANGE),
        ("-20100 ?", STRANGE),
    ],
)
def test_what_decides_over_an_order_at_binance(words: str, means: Outcome) -> None:
    assert binance(words) is means


@pytest.mark.parametrize(
    ("code", "means"),
    [
        ("170131", REFUSED), ("170141", Outcome.TAKEN), ("170213", Outcome.NOT_FOUND), ("10003", Outcome.DENIED),
        # a time-out of the matching engine, and "create order failed", leave open whether there is an order
        ("170007", UNKNOWN), ("170146", UNKNOWN), ("170149", UNKNOWN), ("10002", AGAIN), ("10006", AGAIN),
        # of derivatives, or of no document
        ("110001", STRANGE), ("17013", STRANGE), ("1701311", STRANGE),
    ],
)  # fmt: skip
def test_what_decides_over_an_order_at_bybit(code: str, means: Outcome) -> None:
    assert bybit(code) is means


@pytest.mark.parametrize("outcome", [binance_outcome, bybit_outcome, kraken_outcome])
@pytest.mark.parametrize("text", ["", "<html>502 Bad Gateway</html>", "x GET https://api.example.com/v3/order"])
def test_a_text_without_an_error_decides_nothing(outcome: Callable[[str], Outcome | None], text: str) -> None:
    assert outcome(text) is None
    assert bybit("0") is None


def test_a_documented_refusal_of_kraken_is_about_the_service_only_by_its_record() -> None:
    about_service = {entry.text for entry in KRAKEN_ERRORS if entry.outcome is REFUSED and service_class(entry.text)}
    # the first three are documented as answers before the order is taken, the others are lists without a market
    assert about_service <= {
        "EService:Deadline elapsed", "EService:Market in cancel_only mode", "EService:Market in post_only mode",
        "EService:Market in limit_only mode", "EService:Market in reduce_only mode", "EService:Market in",
        "EFunding:Failed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        "EService:Reticulating", "EService:Timeout", "EService:Throttled: 1764070000", "EAuth:Too many requests",
        "EOrder:Domain rate limit exceeded", "EOrder:Invisible price", "EGeneral:Locked out of the house", "EFoo:Bar",
        "EOrder:Queue full", "EDatabase:Gone", "EMatching:Halting problem", "EService:Marketing", "EOrder:Invalidated",
    ],
)  # fmt: skip
def test_an_error_of_kraken_that_no_page_has_is_never_a_refusal(error: str) -> None:
    assert kraken(error) in ASKED


@given(st.sampled_from(["EService", "EOrder", "EGeneral", "EAuth", "EWhat"]), st.text("abcdef gh", min_size=1))
@settings(max_examples=examples(200), deadline=None)
def test_no_drawn_words_are_a_refusal(category: str, words: str) -> None:
    assert kraken(f"{category}:{words}") in ASKED


def test_of_several_errors_the_least_certain_counts() -> None:
    assert kraken("EOrder:Insufficient funds", "EService:Busy") is UNKNOWN
    assert kraken("EOrder:Insufficient funds", "EFoo:Bar") is STRANGE
    assert kraken("EOrder:Insufficient funds", "WGeneral:Hello") is REFUSED


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("time-out", ("Request timeout", "the order router timed out", "TIMED OUT")),
        ("rate limit", ("Throttled: 1764070000", "rate limit reached", "Too many orders", "quota used up")),
        ("unavailable", ("Matching temporarily unavailable", "we are offline", "lost the connection to the exchange")),
        ("busy", ("Busy", "the queue is full", "over capacity")),
        ("internal", ("Internal error", "an unexpected thing happened")),
        ("part of the service", ("upstream said no", "database locked")),
        ("maintenance", ("Scheduled maintenance", "we are restarting")),
        ("later", ("Please try again", "come back later")),
        ("", ("", "insufficient funds", "qty must be > 0", "wash trade", "asset X not found", "the account is closed")),
    ],
)
def test_words_about_a_service_are_of_their_class_and_those_about_an_order_of_none(
    name: str, words: tuple[str, ...]
) -> None:
    assert {text: service_class(text) for text in words} == dict.fromkeys(words, name)


def test_the_longest_beginning_counts_and_ends_at_a_word() -> None:
    table = (Known("E:In", Outcome.DENIED, "a"), Known("E:In mode", REFUSED, "b"))
    assert longest(table, "E:In mode: more") == table[1]
    assert longest(table, "e:in other") == table[0]
    assert longest(table, "E:Insufficient") is None


@given(st.text(string.ascii_letters + " :", max_size=40))
@settings(max_examples=examples(200), deadline=None)
def test_no_text_ends_with_an_exception(words: str) -> None:
    assert isinstance(service_class(words), str)
