"""Each documented error of Binance has its outcome, and an undocumented one is a question."""

import json

import pytest

from quantd.adapters.exchange.binance_errors import BINANCE_ERRORS, binance_outcome
from quantd.adapters.exchange.refusal_words import Outcome


def said(code: int | str, words: str = "") -> str:
    return f"binance {json.dumps({'code': int(code), 'msg': words})}"


@pytest.mark.parametrize("entry", BINANCE_ERRORS, ids=[entry.text for entry in BINANCE_ERRORS])
def test_a_documented_error_has_its_outcome(entry) -> None:
    code, _, words = entry.text.partition(" ")
    assert binance_outcome(said(code, words)) is entry.outcome
    assert entry.source


@pytest.mark.parametrize(
    ("code", "words", "means"),
    [
        (-2010, "Account has insufficient balance for requested action.", Outcome.REFUSED),
        (-2010, "Order would trigger immediately.", Outcome.REFUSED),
        (-2010, "Duplicate order sent.", Outcome.TAKEN),
        (-2011, "Unknown order sent.", Outcome.NOT_FOUND),
        (-2011, "Order was not canceled due to cancel restrictions.", Outcome.REFUSED),
        (-2013, "Order does not exist.", Outcome.NOT_FOUND),
        # it was there: it must not count as never received, and be sent again
        (-2026, "Order was canceled or expired with no executed qty over 90 days ago.", Outcome.UNKNOWN),
        (-1007, "Timeout waiting for response from backend server. Send status unknown.", Outcome.UNKNOWN),
        (-1006, "An unexpected response was received from the message bus.", Outcome.UNKNOWN),
        (-1003, "Way too much request weight used; IP banned until 1.", Outcome.AGAIN),
        (-1015, "Too many new orders; current limit is 100 orders per 10 SECOND.", Outcome.AGAIN),
        (-1021, "Timestamp for this request is outside of the recvWindow.", Outcome.AGAIN),
        (-2015, "Invalid API-key, IP, or permissions for action.", Outcome.DENIED),
        # of futures, or of no document
        (-4116, "ClientOrderId is duplicated.", Outcome.STRANGE),
        (-20100, "?", Outcome.STRANGE),
    ],
)
def test_what_decides_over_an_order(code: int, words: str, means: Outcome) -> None:
    assert binance_outcome(said(code, words)) is means


@pytest.mark.parametrize(
    "text", ["", "<html>502 Bad Gateway</html>", "binance GET https://api.binance.com/api/v3/order"]
)
def test_a_text_without_a_code_decides_nothing(text: str) -> None:
    assert binance_outcome(text) is None
