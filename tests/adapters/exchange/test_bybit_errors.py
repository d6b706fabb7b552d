"""Each known error of Bybit has its outcome, and an unknown one is a question."""

import json

import pytest

from quantd.adapters.exchange.bybit_errors import BYBIT_ERRORS, bybit_outcome
from quantd.adapters.exchange.refusal_words import Outcome


def said(code: int | str, words: str = "") -> str:
    return f"bybit {json.dumps({'retCode': int(code), 'retMsg': words, 'result': {}})}"


@pytest.mark.parametrize("entry", BYBIT_ERRORS, ids=[entry.text for entry in BYBIT_ERRORS])
def test_a_known_error_has_its_outcome(entry) -> None:
    assert bybit_outcome(said(entry.text)) is entry.outcome
    assert entry.source


def test_no_code_is_in_the_table_twice() -> None:
    assert len({entry.text for entry in BYBIT_ERRORS}) == len(BYBIT_ERRORS)


@pytest.mark.parametrize(
    ("code", "means"),
    [
        (170131, Outcome.REFUSED),
        (170141, Outcome.TAKEN),
        (170213, Outcome.NOT_FOUND),
        # a time-out of the matching engine, and "create order failed", leave open whether there is an order
        (170007, Outcome.UNKNOWN),
        (170146, Outcome.UNKNOWN),
        (170149, Outcome.UNKNOWN),
        (10002, Outcome.AGAIN),
        (10006, Outcome.AGAIN),
        (10003, Outcome.DENIED),
        # of derivatives, or of no document
        (110001, Outcome.STRANGE),
        (17013, Outcome.STRANGE),
        (1701311, Outcome.STRANGE),
    ],
)
def test_what_decides_over_an_order(code: int, means: Outcome) -> None:
    assert bybit_outcome(said(code)) is means


@pytest.mark.parametrize("text", ["", "<html>502 Bad Gateway</html>", said(0), "bybit GET https://api.bybit.com/v5/x"])
def test_a_text_without_an_error_decides_nothing(text: str) -> None:
    assert bybit_outcome(text) is None
