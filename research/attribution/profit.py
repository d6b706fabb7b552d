"""Profit and loss of an account by interval, book, symbol and kind.

What can go wrong: a split between two samples looks like a loss. The formulas contain no split ratio: marks and
quantities before and after a split have the same value. For each book and symbol in interval t, with quantity q, mark
m, and a quantity q_f and price p_f of each fill f:

    profit = q_t m_t - q_(t-1) m_(t-1) - sum(q_f p_f) + bookings - fees

A fill at price p was decided at price d, and its bar opened at o. With these prices, the profit without bookings and
fees has three parts, which add up to it:

    holding  = q_t m_t - q_(t-1) m_(t-1) - sum(q_f d_f)
    timing   = sum(q_f (d_f - o_f))
    slippage = sum(q_f (o_f - p_f))

This is the division of the implementation shortfall (A. Perold 1988) by its causes (R. Kissell and M. Glantz 2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from quantd.research.attribution.book_history import ACCOUNT, BOOKINGS, BookHistory
from quantd.trading.market import Floats, Ints

KINDS: Final = ("holding", "timing", "slippage", "commission", "borrow", "dividend", "interest", "other")
"""Kinds of profit.

`holding` is the price change of positions, with trades at their decision prices; cash in lieu and the payment of a
delisting belong to it. `other` is what the venue charges or pays besides.
"""

EXECUTION: Final = ("timing", "slippage", "commission")
"""Kinds that depend on how a decision was executed. The others depend on the decision."""

COSTS: Final = ("slippage", "commission", "borrow", "other")
"""Kinds that are costs of trading and of short positions."""

Axis = Literal["interval", "agent", "symbol", "kind"]

_KIND_OF_BOOKING: Final = {
    "dividend": "dividend", "borrow": "borrow", "interest": "interest", "cash_in_lieu": "holding",
    "delisting": "holding", "fee": "other",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profit:
    """Profit of T intervals, A books and N symbols, in account currency.

    `holding` is float64[T, A, N]. The other arrays have one element for each amount that is not holding profit: its
    `interval`, counted from 0, its `agent` (the index of the book), its `symbol` (N where it belongs to no symbol), its
    `kind` (an index in KINDS) and the `amount` itself.
    """

    holding: Floats
    interval: Ints
    agent: Ints
    symbol: Ints
    kind: Ints
    amount: Floats

    def summed(self, *axes: Axis, factors: Floats | None = None) -> Floats:
        """Return the profit as an array with these `axes`, summed over all other axes.

        The axis `symbol` has N + 1 elements; the last is profit that belongs to no symbol. `factors` float64[T]
        multiply the profit of each interval before the sum.
        """
        intervals, books, size = self.holding.shape
        sizes = {"interval": intervals, "agent": books, "symbol": size + 1, "kind": len(KINDS)}
        sums = np.zeros([sizes[axis] for axis in axes])
        subscripts = "".join({"interval": "t", "agent": "a", "symbol": "n"}.get(axis, "") for axis in axes)
        if factors is None:
            holding_sums = np.einsum(f"tan->{subscripts}", self.holding)
        else:
            holding_sums = np.einsum(f"t,tan->{subscripts}", factors, self.holding)
        # `holding` has no column for profit without a symbol, and is kind 0
        holding_index: dict[str, slice | int]
        holding_index = {"interval": slice(None), "agent": slice(None), "symbol": slice(size), "kind": 0}
        sums[tuple(holding_index[axis] for axis in axes)] += holding_sums
        amount = self.amount if factors is None else self.amount * factors[self.interval]
        indices = {"interval": self.interval, "agent": self.agent, "symbol": self.symbol, "kind": self.kind}
        if not axes:
            return sums + amount.sum()
        cells = np.ravel_multi_index(tuple(indices[axis] for axis in axes), sums.shape)
        return sums + np.bincount(cells, amount, sums.size).reshape(sums.shape)

    def reduced(self, kinds: Sequence[str]) -> "Profit":
        """Return the profit of `kinds` only; all other kinds count 0."""
        chosen = np.isin(self.kind, [KINDS.index(name) for name in kinds])
        holding = self.holding if "holding" in kinds else np.zeros_like(self.holding)
        return Profit(
            holding, self.interval[chosen], self.agent[chosen], self.symbol[chosen], self.kind[chosen],
            self.amount[chosen],
        )  # fmt: skip


def profit(history: BookHistory) -> Profit:
    """Compute the profit of a history. The sum of profit in an interval is the change of equity less the flows."""
    trades, bookings = history.trades, history.bookings
    symbol_count = len(history.symbols)  # also the index of profit that belongs to no symbol
    holding = np.diff(history.quantity * history.price[:, None, :], axis=0)
    # from the change of value is taken what was bought within the interval, at decision prices
    decided = trades.quantity * trades.decision
    cells = np.ravel_multi_index((trades.interval - 1, trades.agent, trades.symbol), holding.shape)
    holding -= np.bincount(cells, decided, holding.size).reshape(holding.shape)
    kind_of_booking = np.array([KINDS.index(_KIND_OF_BOOKING[name]) for name in BOOKINGS])
    # in the order of EXECUTION
    amounts = (
        trades.quantity * (trades.decision - trades.arrival),
        trades.quantity * (trades.arrival - trades.price),
        -trades.fee,
    )
    trade_kinds = [np.full(len(trades.interval), KINDS.index(name)) for name in EXECUTION]
    return Profit(
        holding=holding,
        # a history counts intervals from 1
        interval=np.concatenate([*[trades.interval] * len(EXECUTION), bookings.interval]) - 1,
        agent=np.concatenate([*[trades.agent] * len(EXECUTION), bookings.agent]),
        symbol=np.concatenate(
            [*[trades.symbol] * len(EXECUTION), np.where(bookings.symbol == ACCOUNT, symbol_count, bookings.symbol)]
        ),
        kind=np.concatenate([*trade_kinds, kind_of_booking[bookings.kind]]),
        amount=np.concatenate([*amounts, bookings.amount]),
    )


def by_book_and_symbol(history: BookHistory, factors: Floats) -> Floats:
    """Return float64[A, N + 1], the profit of each book and symbol, as `profit(history).summed` with these `factors`.

    Nothing is told apart by kind, so that each trade counts once, at its price and with its fee.
    """
    trades, bookings, books, size = history.trades, history.bookings, len(history.agents), len(history.symbols)
    sums = np.zeros((books, size + 1))
    held = np.diff(history.quantity * history.price[:, None, :], axis=0)
    sums[:, :size] = np.einsum("t,tan->an", factors, held)
    paid = -(trades.quantity * trades.price + trades.fee) * factors[trades.interval - 1]
    booked = bookings.amount * factors[bookings.interval - 1]
    of_none = np.where(bookings.symbol == ACCOUNT, size, bookings.symbol)
    for agent, symbol, amount in ((trades.agent, trades.symbol, paid), (bookings.agent, of_none, booked)):
        sums += np.bincount(agent * (size + 1) + symbol, amount, sums.size).reshape(sums.shape)
    return sums


def residual(history: BookHistory, profits: Profit) -> Floats:
    """Return float64[T, A], the rounding error: the change of each book's equity, less its flows and its `profits`."""
    change: Floats = np.diff(history.book_equity - history.book_flows, axis=0)
    return change - profits.summed("interval", "agent")
