"""Differences between exchanges that ccxt does not hide: client ids, order expiry and fees, by exchange name."""

import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from quantd.adapters.exchange.kraken_answers import KRAKEN_ANSWERS, Form
from quantd.adapters.exchange.kraken_errors import kraken_outcome
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.display_text import microsecond_text
from quantd.trading.instruments import NANO

_NAMES: Final = uuid.UUID("5d0b6f2e-8f0c-5b7e-9a55-6e1c0f6f4d11")
"""The namespace of client ids that are UUIDs. The constant is arbitrary, but must never change."""


def as_uuid(order_id: str) -> str:
    """Return a UUID (version 5, RFC 9562) derived from an order id, equal in every process."""
    return str(uuid.uuid5(_NAMES, order_id))


class Dialect(Struct, frozen=True):
    """The specifics of one exchange.

    `client_id` converts our order id to the exchange's client id; `client_id_of` reads the client id from an order in
    an answer. `order` are parameters of every order. `until` returns the parameters that expire an order at an instant
    (ns UTC); if `until` is None, the adapter cancels the order at that instant. `refuse_after` returns parameters by
    which the matching engine refuses an order that arrives later than an instant (ns UTC). `ended` are parameters of
    every query for ended orders, `history` of every query for trades. `page` returns the parameters that request
    results from index k on; `page_size` is the number of results in one answer. `whole` returns whether an answer is
    complete. `ledger_amount` returns amount and fee of a ledger entry. `counts_twice` are paths that count as two
    requests, `makes_orders` are paths that count as orders. `answers` maps the last part of a path to the documented
    form of its answer. `means` returns the outcome of the errors in the text of an answer, None without an error.
    `check_only` are parameters of an order that the exchange checks and never places; empty if it has none.
    """

    client_id: Callable[[str], str] = str
    client_id_of: Callable[[dict[str, Any]], str] = lambda order: str(order.get("clientOrderId") or "")
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
    answers: dict[str, Form] = {}
    means: Callable[[str], Outcome | None] | None = None
    check_only: dict[str, str] = {}

    def form_of(self, url: str) -> Form | None:
        """Return the documented form of the answer to a request; None where the exchange or the request has none."""
        return self.answers.get(urlsplit(url).path.rpartition("/")[2])


def _kraken_whole(answer: object) -> bool:
    """Whether the answer has errors or a result, as every answer of Kraken does."""
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
        return False
    return bool(answer["error"]) or "result" in answer


KRAKEN: Final = Dialect(
    # free text up to 18 characters, or a UUID; our ids have 27 characters
    client_id=as_uuid,
    client_id_of=lambda order: str(order.get("info", {}).get("cl_ord_id") or ""),
    order={"oflags": "fciq"},
    until=lambda ns: {"timeinforce": "GTD", "expiretm": str(-(-ns // NANO))},
    refuse_after=lambda ns: {"deadline": microsecond_text(ns)},
    # Ordered by opening time, because ccxt filters the results, and a page shortened by the filter looks like the last
    # one.
    ended={"closetime": "open"},
    # By default Kraken merges the executions of one taker order into one, which may grow later.
    history={"consolidate_taker": "false"},
    page=lambda k: {"ofs": k},
    whole=_kraken_whole,
    ledger_amount=lambda entry: (str(entry["info"]["amount"]), str(entry["info"]["fee"])),
    counts_twice=("TradesHistory", "Ledgers"),
    makes_orders=("AddOrder", "CancelOrder"),
    answers=KRAKEN_ANSWERS,
    means=kraken_outcome,
    check_only={"validate": "true"},
)

DIALECTS: Final = {"kraken": KRAKEN}
"""Exchanges that differ from the defaults of ccxt. Only these were tested over the network."""


def dialect_of(venue: str) -> Dialect:
    """Return the dialect (specifics) of an exchange by name; the default dialect if DIALECTS does not have it."""
    return DIALECTS.get(venue, Dialect())
