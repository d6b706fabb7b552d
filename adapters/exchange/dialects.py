"""Differences between exchanges that ccxt does not hide: client ids, order expiry and fees, by exchange name."""

import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from quantd.adapters.exchange.answer_forms import Form
from quantd.adapters.exchange.kraken_answers import CLIENT_ID, KRAKEN_ANSWERS
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

    Orders: `client_id` converts our order id to the exchange's client id; `client_id_of` reads the client id from an
    order in an answer. `order` are parameters of every order. `until` returns the parameters that expire an order at
    an instant (ns UTC); if `until` is None, the adapter cancels the order at that instant. `refuse_after` returns
    parameters by which the matching engine refuses an order that arrives later than an instant (ns UTC); `shortest_s`
    and `longest_s` are the limits of that deadline. `stops` tells whether stop orders are placed there and found again.
    `check_only` are parameters of an order that the exchange checks and never places; empty if it has none.

    Lists: `ended` are parameters of every query for ended orders, `history` of every query for trades. `page` returns
    the parameters that request results from index k on; `page_size` is the number of results in one answer.
    `ledger_amount` returns amount and fee of a ledger entry; `flow_kinds` maps its kind to VenueFlow's, `moved` are the
    kinds by which a person moves money or coins, `further_kinds` are further documented kinds.

    Answers: `whole` returns whether an answer is complete. `refused` returns whether it has an error, `result` returns
    what it answers. `answers` maps the last part of a path, or the method and that part, to the documented form of its
    result. `means` returns the outcome of the errors in the text of an answer, None without an error. `remedies` maps a
    part of the text of an error to its remedy, where only a person can help.

    Limits: `weights` maps a path, or method and path, to the number of requests that it counts as; `makes_orders` are
    those that count as orders. `per_minute` and `orders_per_minute` are the rates that quantd keeps. `skew_s` is added
    to the accepted difference of clocks.
    """

    client_id: Callable[[str], str] = str
    client_id_of: Callable[[dict[str, Any]], str] = lambda order: str(order.get("clientOrderId") or "")
    order: dict[str, str] = {}
    until: Callable[[int], dict[str, str]] | None = None
    refuse_after: Callable[[int], dict[str, str]] | None = None
    shortest_s: float = 0.0
    longest_s: float = 60.0
    stops: bool = False
    check_only: dict[str, str] = {}

    ended: dict[str, str] = {}
    history: dict[str, str] = {}
    page: Callable[[int], dict[str, int]] | None = None
    page_size: int = 50
    ledger_amount: Callable[[dict[str, Any]], tuple[str, str]] | None = None
    flow_kinds: dict[str, str] = {}
    moved: frozenset[str] = frozenset({"transaction", "transfer"})
    further_kinds: frozenset[str] = frozenset()

    whole: Callable[[object], bool] = lambda answer: isinstance(answer, (dict, list))
    refused: Callable[[Any], bool] = lambda answer: False
    result: Callable[[Any], Any] = lambda answer: answer
    answers: dict[str, Form] = {}
    means: Callable[[str], Outcome | None] | None = None
    remedies: dict[str, str] = {}

    weights: dict[str, int] = {}
    makes_orders: frozenset[str] = frozenset()
    per_minute: int = 30
    orders_per_minute: int = 60
    skew_s: float = 1.0

    def form_of(self, url: str, method: str = "") -> Form | None:
        """Return the documented form of the answer to a request; None where the exchange or the request has none."""
        path = urlsplit(url).path.rpartition("/")[2]
        return self.answers.get(f"{method} {path}", self.answers.get(path))


def _kraken_whole(answer: object) -> bool:
    """Whether the answer has errors or a result, as every answer of Kraken does."""
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
        return False
    return bool(answer["error"]) or "result" in answer


KRAKEN: Final = Dialect(
    # free text up to 18 characters, or a UUID; our ids have 27 characters
    client_id=as_uuid,
    client_id_of=lambda order: str(order.get("info", {}).get(CLIENT_ID) or ""),
    order={"oflags": "fciq"},
    until=lambda ns: {"timeinforce": "GTD", "expiretm": str(-(-ns // NANO))},
    # accepted from 2 to 60 s ahead
    refuse_after=lambda ns: {"deadline": microsecond_text(ns)},
    shortest_s=2.0,
    longest_s=59.0,
    stops=True,
    check_only={"validate": "true"},
    # Ordered by opening time, because ccxt filters the results, and a page shortened by the filter looks like the last
    # one.
    ended={"closetime": "open"},
    # By default Kraken merges the executions of one taker order into one, which may grow later.
    history={"consolidate_taker": "false"},
    page=lambda k: {"ofs": k},
    ledger_amount=lambda entry: (str(entry["info"]["amount"]), str(entry["info"]["fee"])),
    # docs.kraken.com, Get Ledgers Info. `spend` and `receive` convert dust to money.
    flow_kinds={
        "dividend": "dividend", "staking": "interest", "earn": "interest", "reward": "interest", "fee": "fee",
        "spend": "cash_in_lieu", "receive": "cash_in_lieu", "conversion": "cash_in_lieu", "sale": "cash_in_lieu",
    },
    further_kinds=frozenset({"adjustment", "margin", "rollover", "settled", "credit", "invite_bonus", "nft_rebate"}),
    whole=_kraken_whole,
    refused=lambda answer: bool(answer["error"]),
    result=lambda answer: answer["result"],
    answers=KRAKEN_ANSWERS,
    means=kraken_outcome,
    remedies={
        "InvalidNonce": "Another program uses the same key, and its requests invalidate ours: give this daemon a key "
        "of its own, or set the nonce window of the key at the venue",
    },
    weights={"TradesHistory": 2, "Ledgers": 2},
    makes_orders=frozenset({"AddOrder", "CancelOrder"}),
)  # fmt: skip

DIALECTS: Final = {"kraken": KRAKEN}
"""Exchanges that differ from the defaults of ccxt. Only these were tested over the network."""


def dialect_of(venue: str) -> Dialect:
    """Return the dialect (specifics) of an exchange by name; the default dialect if DIALECTS does not have it."""
    return DIALECTS.get(venue, Dialect())
