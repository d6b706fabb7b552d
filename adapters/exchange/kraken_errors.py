"""Errors of Kraken's spot API, each with its outcome for an order, and the page that documents it.

An error is `E` and a category, a colon, and words: `EOrder:Insufficient funds`. More words may follow.
"""

import re
from typing import Final

from quantd.adapters.exchange.refusal_words import Known, Outcome, longest

SPOT: Final = "docs.kraken.com/api/docs/guides/spot-errors"
SUPPORT: Final = "support.kraken.com, article 360001491786, API error messages"
LIMITS: Final = "docs.kraken.com/api/docs/guides/spot-ratelimits"
CLIENTS: Final = "krakenex#98, XChange#1899, npm-kraken-api#37: an error, and the order was executed"
CCXT: Final = "ccxt, kraken.py, exceptions"

_TABLE: Final = {
    (Outcome.REFUSED, SPOT): (
        "EGeneral:Invalid arguments", "EService:Market in cancel_only mode", "EService:Market in post_only mode",
        "EService:Market in limit_only mode", "EService:Market in reduce_only mode", "EService:Market in",
        "EService:Deadline elapsed", "EOrder:Cannot open opposing position", "EOrder:Cannot open position",
        "EOrder:Margin allowance exceeded", "EOrder:Margin level too low", "EOrder:Margin position size exceeded",
        "EOrder:Insufficient margin", "EOrder:Insufficient funds", "EOrder:Order minimum not met",
        "EOrder:Cost minimum not met", "EOrder:Tick size check failed", "EOrder:Orders limit exceeded",
        "EOrder:Positions limit exceeded", "EOrder:Unknown position", "EOrder:Invalid price", "EBM:limit exceeded",
        "EAccount:Invalid permissions", "ETrade:Invalid request", "ETrade:User Locked",
    ),
    (Outcome.REFUSED, SUPPORT): (
        "EGeneral:Unknown method", "EGeneral:Feature disabled", "EQuery:Unknown asset", "EQuery:Unknown asset pair",
        "EQuery:Invalid asset pair", "EOrder:Trading agreement required", "EOrder:Scheduled orders limit exceeded",
        "EOrder:Post only order", "EOrder:Reduce only", "EOrder:Order cannot be cancelled", "EOrder:Invalid order",
        "EFunding:Unknown asset", "EFunding:Invalid amount", "EFunding:Max fee exceeded", "EFunding:No funding method",
        "EFunding:Unknown withdraw key", "EFunding:Unknown reference id", "EFunding:Invalid staking method",
        "EFunding:Failed",
    ),
    (Outcome.NOT_FOUND, SPOT): ("EOrder:Unknown order",),
    (Outcome.TAKEN, CCXT): ("EOrder:Cancel pending",),
    (Outcome.DENIED, SPOT): (
        "EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied", "EAuth:Account temporary disabled",
        "EAuth:Account unconfirmed", "ESession:Invalid session", "EAPI:Feature disabled", "EAPI:Bad request",
    ),
    # refused before the order was read; an invalid nonce is of requests that overtook each other
    (Outcome.AGAIN, LIMITS): ("EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded"),
    (Outcome.AGAIN, SPOT): ("EAPI:Invalid nonce", "EGeneral:Temporary lockout", "EGeneral:Too many requests"),
    (Outcome.UNKNOWN, CLIENTS): (
        "EService:Unavailable", "EService:Busy", "EService:Timeout", "EService:Throttled", "EService:Internal error",
        "EGeneral:Internal error", "EDatabase:Internal error", "EGeneral:Temporarily unavailable",
    ),
    (Outcome.UNKNOWN, LIMITS): (
        "EOrder:Domain rate limit exceeded", "EAuth:Rate limit exceeded", "EAuth:Too many requests",
    ),
    (Outcome.UNKNOWN, SUPPORT): ("EGeneral:Locked", "EOrder:Market suspended", "EService:Maintenance"),
}  # fmt: skip

KRAKEN_ERRORS: Final = tuple(Known(text, means, source) for (means, source), texts in _TABLE.items() for text in texts)
"""Every documented error that an answer about orders or an account may have."""

_ERROR: Final = re.compile(r"\b[EW][A-Z][A-Za-z]*:[^\"\\\]]*")


def kraken_outcome(text: str) -> Outcome | None:
    """Return the outcome of the errors in an answer, None without an error; an undocumented error is STRANGE.

    If the answer has several errors, the least certain one counts: UNKNOWN, else STRANGE, else the first error.
    """
    errors = [error for error in _ERROR.findall(text) if error.startswith("E")]
    if not errors:
        return None
    entries = [longest(KRAKEN_ERRORS, error) for error in errors]
    outcomes = [Outcome.STRANGE if entry is None else entry.outcome for entry in entries]
    return next((candidate for candidate in (Outcome.UNKNOWN, Outcome.STRANGE) if candidate in outcomes), outcomes[0])
