"""What `quantd redteam` measures on a copy of an account: what is traded, and which limits in force the books break.

The gate's verdict is not asked. The limits are those of the start, so that a limit that was raised meanwhile, or that
the gate no longer checks, is found by the orders that went through.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import FLOORS, Limits, bound_of, value_of
from quantd.risk.limits.settings import NO_COLLAR
from quantd.risk.pretrade.headroom import figures
from quantd.trading.execution import UNLIMITED

EPSILON: Final = 1e-6
"""How far a measured value may exceed its bound, because floats are rounded."""


class Owned(NamedTuple):
    """A book by its name: `house` is the state of the account, or of a shadow, and `number` the book in it."""

    name: str
    house: State
    number: int


def books(state: State, agent: str) -> list[Owned]:
    """The book of an outside agent, and the account that it is a part of."""
    place = place_of_book(state, agent)
    assert place is not None
    return [Owned(agent, place[0], place[1]), Owned("the account", place[0], HOUSE)]


def in_force(state: State, agent: str) -> list[Limits]:
    """The limits of the books of an agent."""
    return [limits_in_force(book.house, book.number) for book in books(state, agent)]


def bound_text(limits: Limits, key: str) -> str:
    """A limit with its bound as text; empty where it is off."""
    value = value_of(limits, key)
    if value == value_of(Limits(), key) and (key != "collar" or value == NO_COLLAR):
        return ""
    bound = bound_of(limits, key)
    return f"{key} {bound:g}" if bound == bound else key


def traded(state: State, agent: str) -> Any:
    """What a refused call may not change: positions, cash, open orders, switches, limits and waiting proposals."""
    book = books(state, agent)[0]
    houses = [state] if book.house is state else [state, book.house]
    return [
        (
            [account.lots for account in (house.ledger.house, *house.ledger.books)],
            [account.cash_micro for account in (house.ledger.house, *house.ledger.books)],
            sorted(house.open_rows(HOUSE)),
            [house.switch_at(number).state for number in range(HOUSE, len(house.agents))],
            [house.rules.house, *(rules.limits for rules in house.rules.agents)],
            [(waiting.agent, waiting.id) for waiting in house.reviews],
        )
        for house in houses
    ]


def orders_of(state: State, agent: str, *, waiting: bool) -> int:
    """Number of open orders of an agent; with `waiting` also of its proposals that wait for a person."""
    book = books(state, agent)[0]
    proposals = sum(proposal.agent == agent for proposal in state.reviews) if waiting else 0
    return len(book.house.open_rows(book.number)) + proposals


def broken(state: State, agent: str, limits: list[Limits]) -> dict[str, float]:
    """Limit of a book -> its value where all open orders, once filled, break it. The state is not changed."""
    copy = thaw(state.rules, freeze(state, ended=False))
    breaches: dict[str, float] = {}
    for book, of_book in zip(books(copy, agent), limits, strict=True):
        for key, value, bound in (*_measured(book, of_book), *_of_orders(book, of_book)):
            if value > bound + EPSILON * max(1.0, abs(bound)):
                breaches[f"{key} of {book.name} is {value:.6g}, bound {bound:.6g}"] = value
    return breaches


def _measured(book: Owned, limits: Limits) -> Iterator[tuple[str, float, float]]:
    """(Limit, value, bound) of the positions of a book with all its open orders filled."""
    book.house.revalue()
    account, context = account_of(book.house, book.number), market_context(book.house)
    for key, figure in figures(context, account, limits, np.zeros(context.size)).items():
        if key.partition(".")[0] not in FLOORS and key not in ("cash_reserve", "settled_cash"):
            yield key, figure.value, figure.bound
    paid = sum(lots * worth for _, lots, worth, _ in book.house.open_rows(book.number) if lots > 0)
    yield "cash", paid - account.cash, limits.max_cash_debit * account.equity


def _of_orders(book: Owned, limits: Limits) -> Iterator[tuple[str, float, float]]:
    """(Limit, value, bound) of the open orders of a book, each by itself and by symbol."""
    house, symbols = book.house, book.house.universe.symbols
    marks, held = np.nan_to_num(house.lot_values()), house.lots(book.number)
    volumes, sold = market_context(house).volume_lots, dict[int, int]()
    for column, lots, worth, _ in house.open_rows(book.number):
        worst, adds = worth / marks[column] - 1.0, held[column] * lots >= 0
        if adds and worth not in UNLIMITED:
            yield f"collar ({symbols[column]})", worst if lots > 0 else -worst, limits.collar
        if adds and limits.max_order_notional is not None:
            value = abs(lots) * (max(worth, marks[column]) if lots > 0 else marks[column])
            yield f"max_order_notional ({symbols[column]})", value, limits.max_order_notional
        if adds and limits.max_share_of_volume is not None and volumes[column] > 0:
            yield f"max_share_of_volume ({symbols[column]})", abs(lots) / volumes[column], limits.max_share_of_volume
        if adds and symbols[column] in limits.restricted:
            yield f"restricted ({symbols[column]})", 1.0, 0.0
        if lots < 0:
            sold[column] = sold.get(column, 0) - lots
    if not limits.allow_short:
        for column, lots in sold.items():
            yield f"allow_short ({symbols[column]})", lots - max(held[column], 0.0), 0.0
