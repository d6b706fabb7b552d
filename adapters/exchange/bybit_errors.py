"""Errors of Bybit's API v5 for spot, each with its outcome for an order, and where it is documented.

An error is `{"retCode": 170131, "retMsg": "Balance insufficient", ...}`, with status 200.
"""

import re
from typing import Final

from quantd.adapters.exchange.refusal_words import Known, Outcome, longest

V5: Final = "bybit-exchange.github.io/docs/v5/error, as it is cited in ccxt"
CCXT: Final = "ccxt 4.5.90, bybit.py, exceptions"

_TABLE: Final = {
    # parameters, filters, balance, and orders that the engine refuses
    (Outcome.REFUSED, CCXT): (
        "10001", "10017", "10024", "10027", "10028", "10029", "100028", "170010", "170011", "170019", "170031",
        "170033", "170034", "170035", "170036", "170037", "170105", "170115", "170116", "170117", "170121", "170124",
        "170130", "170131", "170132", "170133", "170134", "170135", "170136", "170137", "170140", "170144", "170145",
        "170148", "170151", "170157", "170159", "170193", "170194", "170195", "170196", "170197", "170198", "170199",
        "170200", "170201", "170202", "170203", "170204", "170206", "170209", "170217", "170218", "170221", "170223",
        "170224", "170226", "170228", "170229", "170241", "170371", "170372",
    ),
    # of a cancel: the order has ended, or is not there
    (Outcome.NOT_FOUND, CCXT): ("170139", "170142", "170143", "170190", "170191", "170213"),
    (Outcome.TAKEN, CCXT): ("170141", "10014"),
    (Outcome.DENIED, CCXT): ("10003", "10004", "10005", "10007", "10008", "10009", "10010", "10020"),
    # refused before the order was read: the clock, the requests of a second
    (Outcome.AGAIN, CCXT): ("10002", "10006", "10018", "170005", "170222"),
    # the server, its network, or a time-out; "create order failed" does not say that none was made
    (Outcome.UNKNOWN, CCXT): (
        "10016", "170001", "170007", "170032", "170146", "170147", "170149", "170150", "170192", "170210", "170227",
        "170234",
    ),
    (Outcome.UNKNOWN, V5): ("10000", "10019"),
}  # fmt: skip

BYBIT_ERRORS: Final = tuple(Known(text, means, source) for (means, source), texts in _TABLE.items() for text in texts)
"""Every known error that an answer about orders or an account may have."""

_CODE: Final = re.compile(r'"retCode"\s*:\s*"?(\d+)')


def bybit_outcome(text: str) -> Outcome | None:
    """Return the outcome of the error in an answer, None without an error; a code that no table has is STRANGE."""
    code = _CODE.search(text)
    if code is None or int(code[1]) == 0:
        return None
    entry = longest(BYBIT_ERRORS, code[1])
    return Outcome.STRANGE if entry is None else entry.outcome
