"""Errors of Binance's spot API, each with its outcome for an order, and the page that documents it.

An error is `{"code": -2010, "msg": "Account has insufficient balance for requested action."}`. The words of a code may
vary; those of -1010, -2010 and -2011 say what the matching engine refused.
"""

import re
from typing import Final

from quantd.adapters.exchange.refusal_words import Known, Outcome, longest

ERRORS: Final = "github.com/binance/binance-spot-api-docs, errors.md of 2025-01-09"
REST: Final = "github.com/binance/binance-spot-api-docs, rest-api.md, General API Information and Timing security"
CCXT: Final = "ccxt, binance.py, exceptions"

_TABLE: Final = {
    # the codes of rejected orders and cancels, of filters, and of a request that cannot be read
    (Outcome.REFUSED, ERRORS): (
        "-1010", "-1013", "-1014", "-1020", "-1100", "-1101", "-1102", "-1103", "-1104", "-1105", "-1106", "-1108",
        "-1111", "-1112", "-1114", "-1115", "-1116", "-1117", "-1118", "-1119", "-1120", "-1121", "-1122", "-1127",
        "-1128", "-1130", "-1134", "-1135", "-1139", "-1145", "-1151", "-2010", "-2011", "-2016",
    ),
    (Outcome.REFUSED, CCXT): ("-1131",),
    (Outcome.NOT_FOUND, ERRORS): (
        "-2013", "-1010 Unknown order sent.", "-2010 Unknown order sent.", "-2011 Unknown order sent.",
    ),
    (Outcome.TAKEN, ERRORS): ("-1010 Duplicate order sent.", "-2010 Duplicate order sent."),
    (Outcome.DENIED, ERRORS): ("-1002", "-1022", "-2014", "-2015"),
    # refused before the order was read: the clock, the weight of a minute, the orders of ten seconds
    (Outcome.AGAIN, REST): ("-1003", "-1015", "-1021"),
    # -2026: the order was there and was archived, so that it must not count as never received
    (Outcome.UNKNOWN, ERRORS): ("-1000", "-1001", "-1006", "-1007", "-1008", "-1016", "-2026"),
}  # fmt: skip

BINANCE_ERRORS: Final = tuple(Known(text, means, source) for (means, source), texts in _TABLE.items() for text in texts)
"""Every documented error that an answer about orders or an account may have."""

_CODE: Final = re.compile(r'"code"\s*:\s*"?(-\d+)')
_WORDS: Final = re.compile(r'"msg"\s*:\s*"([^"]*)"')


def binance_outcome(text: str) -> Outcome | None:
    """Return the outcome of the error in an answer, None without an error; an undocumented code is STRANGE."""
    code, words = _CODE.search(text), _WORDS.search(text)
    if code is None:
        return None
    entry = longest(BINANCE_ERRORS, f"{code[1]} {words[1] if words else ''}")
    return Outcome.STRANGE if entry is None else entry.outcome
