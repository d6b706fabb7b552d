"""What ccxt does not make alike: how an exchange takes client ids, ends and fees, by its name."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from quantd.trading.instruments import NANO

_NAMES: Final = uuid.UUID("5d0b6f2e-8f0c-5b7e-9a55-6e1c0f6f4d11")
"""The namespace of the client ids that are UUIDs; any other constant would do, but not two of them."""


def as_uuid(order_id: str) -> str:
    """A UUID (version 5, RFC 9562) made from an order id: the same order has the same one in every process."""
    return str(uuid.uuid5(_NAMES, order_id))


class Dialect(Struct, frozen=True):
    """How one exchange is spoken to.

    `client_id` makes its client id from our order id, `said_id` finds it in an order as it answered. `order` are
    parameters of every order, `until` those that end one at an instant (ns), None where it has none: then the adapter
    ends it. `refuse_after` are parameters by which the matching engine itself refuses an order that arrives later than
    (ns). `ended` are parameters of every question for ended orders and `history` of those for trades; `page` asks for the answers from the k-th on, of
    `page_size` each. `whole` tells an answer from a piece of one. `counts_twice` are paths that cost two turns, and
    those in `makes_orders` are counted apart from questions. `refusals` are its words for a no that ccxt takes for trouble.
    """

    client_id: Callable[[str], str] = str
    said_id: Callable[[dict[str, Any]], str] = lambda order: str(order.get("clientOrderId") or "")
    order: dict[str, str] = {}
    until: Callable[[int], dict[str, str]] | None = None
    refuse_after: Callable[[int], dict[str, str]] | None = None
    ended: dict[str, str] = {}
    history: dict[str, str] = {}
    page: Callable[[int], dict[str, int]] | None = None
    page_size: int = 50
    whole: Callable[[object], bool] = lambda answer: isinstance(answer, (dict, list))
    ledger_amount: Callable[[dict[str, Any]], tuple[str, str]] | None = None
    counts_twice: tuple[str, ...] = ()
    makes_orders: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def _kraken_whole(answer: object) -> bool:
    """Every answer of Kraken has errors or a result."""
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
        return False
    return bool(answer["error"]) or "result" in answer


def _rfc3339(ns: int) -> str:
    return datetime.fromtimestamp(ns / NANO, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


KRAKEN: Final = Dialect(
    # free text up to 18 characters, or a UUID: ours has 27
    client_id=as_uuid,
    said_id=lambda order: str(order.get("info", {}).get("cl_ord_id") or ""),
    order={"oflags": "fciq"},
    until=lambda ns: {"timeinforce": "GTD", "expiretm": str(-(-ns // NANO))},
    refuse_after=lambda ns: {"deadline": _rfc3339(ns)},
    # by the time they were opened, as ccxt sorts out what it was not asked for, and a page cut short looks like the last
    ended={"closetime": "open"},
    # unless told otherwise it melts the executions of one taker into one, of which more may come later
    history={"consolidate_taker": "false"},
    page=lambda k: {"ofs": k},
    whole=_kraken_whole,
    ledger_amount=lambda entry: (str(entry["info"]["amount"]), str(entry["info"]["fee"])),
    counts_twice=("TradesHistory", "Ledgers"),
    makes_orders=("AddOrder", "CancelOrder"),
    # a market that only cancels, or takes only resting orders; ccxt calls it maintenance
    refusals=("EService:Market in ",),
)

DIALECTS: Final = {"kraken": KRAKEN}
"""Exchanges that differ from what ccxt makes of all of them; only these were tried over the wire."""


def dialect(venue: str) -> Dialect:
    return DIALECTS.get(venue, Dialect())
