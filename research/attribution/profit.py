"""Profit and loss of an account by interval, book, symbol and kind.

What can go wrong: a split between two samples looks like a loss. The formulas contain no split ratio: marks and
quantities before and after a split have the same value. For each book and symbol in interval t, with quantity q, mark m
and fills f:

    profit = q_t m_t - q_(t-1) m_(t-1) - sum(q_f p_f) + bookings - fees

A fill at price p, decided at price d, in a bar that opened at o, splits the price part:

    holding  = q_t m_t - q_(t-1) m_(t-1) - sum(q_f d_f)
    timing   = sum(q_f (d_f - o_f))
    slippage = sum(q_f (o_f - p_f))

The three add up to it. This is the division of the implementation shortfall (A. Perold 1988) by its causes (R. Kissell
and M. Glantz 2003).
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

    `holding` is float64[T, A, N]. The other kinds are rows: interval from 0, book, symbol (N where it belongs to no
    symbol), position in KINDS, and amount.
    """

    holding: Floats
    interval: Ints
    agent: Ints
    symbol: Ints
    kind: Ints
    amount: Floats

    def summed(self, *axes: Axis, factors: Floats | None = None) -> Floats:
        """Return the profit by the given axes, summed over the others.

        The axis `symbol` has N + 1 entries; the last is profit that belongs to no symbol. `factors` float64[T]
        multiply the profit of each interval before the sum.
        """
        intervals, books, size = self.holding.shape
        sizes = {"interval": intervals, "agent": books, "symbol": size + 1, "kind": len(KINDS)}
        sums = np.zeros([sizes[axis] for axis in axes])
        letters = "".join({"interval": "t", "agent": "a", "symbol": "n"}.get(axis, "") for axis in axes)
        if factors is None:
            held = np.einsum(f"tan->{letters}", self.holding)
        else:
            held = np.einsum(f"t,tan->{letters}", factors, self.holding)
        places: dict[str, slice | int]
        places = {"interval": slice(None), "agent": slice(None), "symbol": slice(size), "kind": 0}
        sums[tuple(places[axis] for axis in axes)] += held
        amount = self.amount if factors is None else self.amount * factors[self.interval]
        rows = {"interval": self.interval, "agent": self.agent, "symbol": self.symbol, "kind": self.kind}
        np.add.at(sums, tuple(rows[axis] for axis in axes), amount if axes else amount.sum())
        return sums

    def reduced(self, kinds: Sequence[str]) -> "Profit":
        """Return the profit of some kinds only."""
        chosen = np.isin(self.kind, [KINDS.index(name) for name in kinds])
        holding = self.holding if "holding" in kinds else np.zeros_like(self.holding)
        return Profit(
            holding, self.interval[chosen], self.agent[chosen], self.symbol[chosen], self.kind[chosen],
            self.amount[chosen],
        )  # fmt: skip


def profit(history: BookHistory) -> Profit:
    """Compute the profit of a history. Its sum in an interval is the change of equity less the flows."""
    trades, bookings = history.trades, history.bookings
    size = len(history.symbols)
    holding = np.diff(history.quantity * history.price[:, None, :], axis=0)
    decided = trades.quantity * trades.decision
    np.subtract.at(holding, (trades.interval - 1, trades.agent, trades.symbol), decided)
    kinds = np.array([KINDS.index(_KIND_OF_BOOKING[name]) for name in BOOKINGS])
    amounts = (
        trades.quantity * (trades.decision - trades.arrival),
        trades.quantity * (trades.arrival - trades.price),
        -trades.fee,
    )
    names = [np.full(len(trades.interval), KINDS.index(name)) for name in EXECUTION]
    return Profit(
        holding=holding,
        interval=np.concatenate([*[trades.interval] * len(EXECUTION), bookings.interval]) - 1,
        agent=np.concatenate([*[trades.agent] * len(EXECUTION), bookings.agent]),
        symbol=np.concatenate(
            [*[trades.symbol] * len(EXECUTION), np.where(bookings.symbol == ACCOUNT, size, bookings.symbol)]
        ),
        kind=np.concatenate([*names, kinds[bookings.kind]]),
        amount=np.concatenate([*amounts, bookings.amount]),
    )


def residual(history: BookHistory, parts: Profit) -> Floats:
    """Return float64[T, A]: the change of each book's equity, less its flows, less its profit. It is rounding only."""
    change: Floats = np.diff(history.book_equity - history.book_flows, axis=0)
    return change - parts.summed("interval", "agent")
