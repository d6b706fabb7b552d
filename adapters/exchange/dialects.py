"""Differences between exchanges that ccxt does not hide: client ids, order expiry and fees, by exchange name."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from quantd.adapters.exchange.answer_forms import Form
from quantd.adapters.exchange.binance_answers import BINANCE_ANSWERS, deposits, rewards, withdrawals
from quantd.adapters.exchange.binance_errors import binance_outcome
from quantd.adapters.exchange.bybit_answers import (
    BYBIT_ANSWERS,
    bybit_refused,
    bybit_result,
    bybit_whole,
    find_order,
)
from quantd.adapters.exchange.bybit_errors import bybit_outcome
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


class FeeCoin(Struct, frozen=True):
    """An asset in which an account may pay its fees. `query` is a function of ccxt; the value of `key` in its answer
    says whether the account does."""

    asset: str
    query: str
    key: str
    remedy: str


class Dialect(Struct, frozen=True):
    """The specifics of one exchange.

    Orders: `client_id` converts our order id to the exchange's client id; `client_id_of` reads the client id from
    an order in an answer. `order` are parameters of every order. `until` returns the parameters that expire an
    order at an instant (ns UTC); if `until` is None, the adapter cancels the order at that instant. `refuse_after`
    returns parameters by which the matching engine refuses an order that arrives later than an instant (ns UTC);
    `window` is the parameter with the milliseconds from its signature to that instant, and `window_option` the
    option of ccxt with them, for all requests; `shortest_s` and `longest_s` are the limits of that deadline.
    `cancel_key` is the parameter of a cancel with our client id. `stops` tells whether stop orders are placed there
    and found again. `check_only` are parameters of an order that the exchange checks and never places; empty if it
    has none.

    Lists: `ended` are parameters of every query for ended orders, `history` of every query for trades. `page`
    returns the parameters that request results from index k on; `page_size` is the number of results in one answer.
    With `by_symbol` the exchange lists trades by symbol and from an instant on, and an order that is not open is
    looked up by its client id, or with `find`, a function of exchange, symbol and client id that returns None for
    no order. `cursor` is the parameter that leads to the next page of a history, which an exchange lists for
    `span_days` at a time, and keeps for `kept_days`. `ledger_amount` returns amount and fee of a ledger entry;
    `flow_kinds` maps its kind to VenueFlow's, `moved` are the kinds by which a person moves money or coins,
    `further_kinds` are further documented kinds. `movements` are, in place of a ledger, functions of ccxt, each
    with the function that makes ledger entries of its answer; they list what began in at most `movements_days`.
    `fee_coin` is an asset in which an account may pay its fees.

    Answers: `whole` returns whether an answer is complete. `refused` returns whether it has an error, `result` returns
    what it answers. `answers` maps the last part of a path, or the method and that part, to the documented form of its
    result. `means` returns the outcome of the errors in the text of an answer, None without an error. `remedies` maps a
    part of the text of an error to its remedy, where only a person can help.

    Limits: `weights` maps a path, or method and path, to the number of requests that it counts as; `makes_orders` are
    those that count as orders. `per_minute` and `orders_per_minute` are the rates that quantd keeps, `orders_at_once`
    the orders that may go out at once (0: those of a minute). `skew_s` is added to the accepted difference of clocks,
    which is at most `most_skew_s`.

    Client: `options` are options of ccxt, and `has` functions that it is not to use. `stream_alive_ms` is the
    interval of the pings of a stream, 0 for ccxt's own. With `own_errors` the answers of a broker are not matched
    with ccxt's table of errors, because its exceptions may lack the exchange's code. `wallet_in_sandbox` tells
    whether the test network has the requests of the wallet: movements, fee settings and the state of the exchange.
    """

    client_id: Callable[[str], str] = str
    client_id_of: Callable[[dict[str, Any]], str] = lambda order: str(order.get("clientOrderId") or "")
    order: dict[str, str] = {}
    until: Callable[[int], dict[str, str]] | None = None
    refuse_after: Callable[[int], dict[str, str]] | None = None
    window: str = ""
    window_option: str = ""
    shortest_s: float = 0.0
    longest_s: float = 60.0
    cancel_key: str = "clientOrderId"
    stops: bool = False
    check_only: dict[str, Any] = {}

    ended: dict[str, str] = {}
    history: dict[str, Any] = {}
    page: Callable[[int], dict[str, int]] | None = None
    page_size: int = 50
    by_symbol: bool = False
    find: Callable[[Any, str, str], Awaitable[Any]] | None = None
    cursor: str = ""
    span_days: int = 0
    kept_days: int = 0
    ledger_amount: Callable[[dict[str, Any]], tuple[str, str]] | None = None
    flow_kinds: dict[str, str] = {}
    moved: frozenset[str] = frozenset({"transaction", "transfer"})
    further_kinds: frozenset[str] = frozenset()
    movements: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {}
    movements_days: int = 89
    fee_coin: FeeCoin | None = None

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
    orders_at_once: int = 0
    skew_s: float = 1.0
    most_skew_s: float = 60.0

    options: dict[str, Any] = {}
    has: dict[str, bool] = {}
    stream_alive_ms: int = 0
    own_errors: bool = False
    wallet_in_sandbox: bool = True

    @property
    def refuses_late(self) -> bool:
        """Whether the exchange refuses an order that arrives after its deadline."""
        return self.refuse_after is not None or bool(self.window or self.window_option)

    def latest_s(self, timeout_s: float) -> float:
        """Return the time after its signature until which an order may arrive."""
        return min(max(timeout_s, self.shortest_s), self.longest_s)

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

BINANCE: Final = Dialect(
    # letters, digits, "-" and "_", at most 36; it is unique among open orders only
    client_id=as_uuid,
    client_id_of=lambda order: str(order.get("info", {}).get("clientOrderId") or ""),
    # of two orders of one account that would trade with each other, the newer one ends
    order={"selfTradePreventionMode": "EXPIRE_TAKER"},
    window="recvWindow",
    shortest_s=1.0,
    stops=True,
    check_only={"test": True},
    history={"limit": 1000},
    page_size=1000,
    by_symbol=True,
    ledger_amount=lambda entry: (str(entry["amount"]), str(entry["fee"])),
    flow_kinds={"reward": "interest"},
    moved=frozenset({"deposit", "withdrawal"}),
    movements={
        "sapi_get_capital_deposit_hisrec": deposits,
        "sapi_get_capital_withdraw_history": withdrawals,
        "sapi_get_asset_assetdividend": rewards,
    },
    fee_coin=FeeCoin("BNB", "sapi_get_bnbburn", "spotBNBBurn", 'Switch off "use BNB for fees" at Binance'),
    answers=BINANCE_ANSWERS,
    means=binance_outcome,
    remedies={
        "-1021": "Synchronise the clock (timedatectl, chrony)",
        "-2015": "Check the permissions of the key and its list of addresses (IP) at Binance",
    },
    # 6000 of weight a minute, and 100 orders in 10 seconds; quantd keeps half of it
    weights={
        "GET exchangeInfo": 20, "GET account": 20, "GET openOrders": 80, "GET order": 4, "GET myTrades": 20,
        "GET ticker/24hr": 80,
    },
    makes_orders=frozenset({"POST order", "DELETE order"}),
    per_minute=3000,
    orders_per_minute=240,
    orders_at_once=40,
    # a time stamp one second ahead of the exchange's clock is refused
    most_skew_s=1.0,
    options={
        "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False,
        "fetchOpenOrders": {"warnWithoutSymbol": False}, "newOrderRespType": {"limit": "ACK", "market": "ACK"},
    },
    stream_alive_ms=6_000,
    own_errors=True,
    wallet_in_sandbox=False,
)  # fmt: skip

BYBIT: Final = Dialect(
    # letters, digits, "-" and "_", at most 36, and unique
    client_id=as_uuid,
    client_id_of=lambda order: str(order.get("info", {}).get("orderLinkId") or ""),
    # of two orders of one account that would trade with each other, the newer one ends
    order={"smpType": "CancelTaker"},
    window_option="recvWindow",
    shortest_s=1.0,
    cancel_key="orderLinkId",
    page_size=100,
    by_symbol=True,
    find=find_order,
    cursor="cursor",
    span_days=7,
    kept_days=730,
    ledger_amount=lambda entry: (str(entry["info"]["change"]), "0"),
    flow_kinds={
        "INTEREST": "interest", "Prize": "interest", "cashback": "interest", "AIRDROP": "interest", "fee": "fee",
    },
    whole=bybit_whole,
    refused=bybit_refused,
    result=bybit_result,
    answers=BYBIT_ANSWERS,
    means=bybit_outcome,
    remedies={
        "10002": "Synchronise the clock (timedatectl, chrony)",
        "10010": "Add this address (IP) to the list of the key at Bybit",
    },
    makes_orders=frozenset({"v5/order/create", "v5/order/cancel"}),
    # 600 requests in 5 seconds of one address, 20 orders a second; quantd keeps much less
    per_minute=1200,
    orders_per_minute=240,
    orders_at_once=10,
    # a time stamp one second ahead of the exchange's clock is refused
    most_skew_s=1.0,
    options={
        "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchOrder": {"acknowledged": True},
        "enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6,
    },
    has={"fetchCurrencies": False},
    own_errors=True,
)  # fmt: skip

DIALECTS: Final = {"binance": BINANCE, "bybit": BYBIT, "kraken": KRAKEN}
"""The exchanges with a record. Only these were tested over the network, each at a copy of it."""


def dialect_of(venue: str) -> Dialect:
    """Return the dialect (specifics) of an exchange by name; the default dialect if DIALECTS does not have it."""
    return DIALECTS.get(venue, Dialect())
