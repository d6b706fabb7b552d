"""Derives the outcome of Alpaca's answer to an order or a cancel from HTTP status, code and words.

The first three digits of a code are its status. One code has many texts: 40310000 is a lack of buying power, of shares,
or of a right. A documented code therefore means a refusal, unless the words are about the state of the service
(overload, maintenance).
"""

from typing import Final

from quantd.adapters.exchange.refusal_words import Known, Outcome, longest, service_class

ORDERS: Final = "docs.alpaca.markets/reference/postorder, responses"
FORUM: Final = "forum.alpaca.markets and issues of alpacahq: code and text of an answer"
PROTECTION: Final = "docs.alpaca.markets/docs/user-protection"
CRYPTO: Final = "docs.alpaca.markets/docs/crypto-trading"
FRACTIONS: Final = "docs.alpaca.markets/docs/fractional-trading"

CODES: Final[dict[int, tuple[Outcome, str]]] = {
    40010000: (Outcome.REFUSED, f"{ORDERS}: the body has another form"),
    40010001: (Outcome.REFUSED, f"{ORDERS}: a parameter is wrong, or orders of the class are not allowed"),
    40110000: (Outcome.DENIED, f"{FORUM}: request is not authorized"),
    40310000: (Outcome.REFUSED, f"{ORDERS}: buying power or shares are not sufficient"),
    40310100: (Outcome.REFUSED, f"{PROTECTION}: pattern day trading"),
    40410000: (Outcome.NOT_FOUND, f"{ORDERS}: no such order, position or asset"),
    42210000: (Outcome.REFUSED, f"{ORDERS}: the parameters are not recognised"),
    42210001: (Outcome.REFUSED, f"{ORDERS}: the parameters are not recognised"),
    42910000: (Outcome.AGAIN, "docs.alpaca.markets/docs/working-with-orders: 200 requests a minute"),
    50010000: (Outcome.UNKNOWN, f"{FORUM}: internal server error occurred"),
    50310000: (Outcome.UNKNOWN, f"{FORUM}: service unavailable"),
    50410000: (Outcome.UNKNOWN, f"{FORUM}: gateway timeout"),
}
"""Code -> its outcome and source."""

_TEXTS: Final = {
    (Outcome.REFUSED, ORDERS): (
        "insufficient buying power", "insufficient qty available for order", "insufficient balance for",
        "insufficient day trading buying power", "qty must be", "notional must be", "invalid side",
        "invalid order type", "invalid time_in_force", "invalid limit_price", "invalid stop_price",
        "limit orders require limit price", "stop orders require stop price", "stop_limit orders require",
        "request body format is invalid", "client_order_id must be", "order is not cancelable", "order is already in",
        "order pending cancel", "unable to replace order", "cannot open a", "asset not found", "invalid symbol",
        "market is closed", "only day", "extended hours order must be",
    ),
    (Outcome.REFUSED, FORUM): (
        "account is restricted", "account is not allowed", "account not allowed", "account is not authorized",
        "new orders are rejected by user request", "trading is suspended", "user is not allowed",
        "us_equity orders not allowed for account", "crypto orders not allowed for account", "position is not",
        "potential wash trade detected", "opposite side market", "opposite side limit",
    ),
    (Outcome.REFUSED, PROTECTION): ("trade denied due to pattern day trading protection", "day trading is restricted"),
    (Outcome.REFUSED, CRYPTO): (
        "cost basis must be >=", "invalid crypto time_in_force", "invalid order type for crypto order",
        "qty increment must be", "minimum order size",
    ),
    (Outcome.REFUSED, FRACTIONS): (
        "fractional orders must be", "fractional orders cannot be sold short", "requested asset is not fractionable",
    ),
    # 401 is answered before a request is applied (RFC 9110, 15.5.2); the venue answers 403 to keys of another address
    (Outcome.DENIED, "docs.alpaca.markets/docs/authentication"): (
        "unauthorized", "forbidden", "access key verification failed", "request is not authorized",
        "invalid credentials",
    ),
}  # fmt: skip

TEXTS: Final = tuple(Known(text, means, source) for (means, source), texts in _TEXTS.items() for text in texts)
"""Beginnings of documented texts, for an answer without a code."""


def alpaca_outcome(status: int, code: int, words: str) -> Outcome:
    """Return the outcome of an answer with a status of 400 to 499: decided by documented words, else by the code, else
    by the status.

    Words about the service of the venue (overload, maintenance) leave the outcome unknown. A code has eight digits and
    begins with its status, such as 40310000; one that does not is ignored.
    """
    named = longest(TEXTS, words)
    if named is not None:
        return named.outcome
    if service_class(words):
        return Outcome.UNKNOWN
    entry = CODES.get(code)
    if entry is not None and code // 100_000 == status:  # an entry is (outcome, source)
        return entry[0]
    return Outcome.DENIED if status == 401 else Outcome.STRANGE
