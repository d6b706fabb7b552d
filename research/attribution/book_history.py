"""The history of an account by sample, book and symbol: positions, marks (prices), trades and bookings, as arrays.

Every figure of attribution is computed from this history. A sample is a valuation of the account. A book is the part of
the account that one agent trades. Interval t lies between the samples t - 1 and t.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.statistics import book_returns, time_weighted_returns

BOOKINGS: Final = ("dividend", "borrow", "interest", "cash_in_lieu", "delisting", "fee")
"""Kinds of cash bookings that are profit or loss. A deposit or a withdrawal is a flow, not a booking."""

ACCOUNT: Final = -1
"""The `symbol` of a booking that belongs to no symbol."""

CASH: Final = "cash"
"""Name of the part that belongs to no symbol, as interest does."""

_INTEGERS: Final = frozenset({"interval", "agent", "symbol", "kind"})
"""Names of the columns of integers."""


class Columns:
    """A table as one array for each column, all of one length. `__slots__` names the columns."""

    __slots__: tuple[str, ...] = ()
    interval: Ints

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Self:
        """Build the table from rows of plain values, each in the order of `__slots__`."""
        dtypes = [
            np.int64 if name in _INTEGERS else np.bool_ if name == "crossed" else np.float64 for name in cls.__slots__
        ]
        columns = zip(*rows, strict=True) if rows else [()] * len(dtypes)
        return cls(*(np.array(column, dtype=kind) for column, kind in zip(columns, dtypes, strict=True)))

    def rows(self, chosen: Bools | Ints) -> Self:
        """Return a copy of the rows that `chosen`, a mask or indices, selects."""
        return type(self)(*(getattr(self, name)[chosen] for name in self.__slots__))

    @classmethod
    def joined(cls, tables: Sequence[Self]) -> Self:
        """Return the rows of all `tables`, in their order."""
        if len(tables) < 2:
            return tables[0] if tables else cls.of(())
        return cls(*(np.concatenate([getattr(table, name) for table in tables]) for name in cls.__slots__))

    def within(self, start: int, end: int) -> Self:
        """Return the rows of the intervals from `start` + 1 to `end`, renumbered from 1."""
        interval = self.interval
        inside = (interval > start) & (interval <= end)
        if not start and inside.all():
            return self
        rows = self.rows(inside)
        rows.interval[:] -= start
        return rows


@dataclass(frozen=True, slots=True)
class Trades(Columns):
    """Fills of orders and crosses (trades between two agents) in columns of one length, one row per trade and agent.

    `interval` counts from 1. `agent` and `symbol` are indices in the history's `agents` and `symbols`. `quantity` is in
    signed units. Prices are per unit: `price` is the cash paid or received, `decision` the price when the agent
    decided, `arrival` the price when the order met the market, as a rule the open of the fill's bar. After a split,
    `decision` is per new share. `fee` is the commission, positive for a cost. `crossed` is True for a trade without an
    order, such as a cross.
    """

    interval: Ints
    agent: Ints
    symbol: Ints
    quantity: Floats
    price: Floats
    decision: Floats
    arrival: Floats
    fee: Floats
    crossed: Bools


@dataclass(frozen=True, slots=True)
class Bookings(Columns):
    """Cash bookings in columns of one length.

    `interval` counts from 1. `agent` and `symbol` are indices in the history's `agents` and `symbols`; `symbol` is the
    constant ACCOUNT where a booking belongs to no symbol. `kind` is an index in the tuple BOOKINGS. `amount` is in
    account currency, positive for a gain.
    """

    interval: Ints
    agent: Ints
    symbol: Ints
    kind: Ints
    amount: Floats


@dataclass(frozen=True, slots=True)
class Actions(Columns):
    """Corporate actions in columns of one length.

    `interval` counts from 1, and `symbol` is an index in the history's `symbols`. `ratio` is the number of new shares
    per old share: 1 for a dividend, 0 for a delisting. `cash` is the payment per share that was held at the interval's
    beginning; 0 for a split.
    """

    interval: Ints
    symbol: Ints
    ratio: Floats
    cash: Floats


@dataclass(frozen=True, slots=True)
class BookHistory:
    """T + 1 samples (valuations of the account) of A books in N symbols. Money is in account currency.

    `days_ns` int64[T+1] are the dates of the samples. `agents` names the books: one per agent, and one for the
    unallocated capital. `sectors` has one name per symbol. `quantity` float64[T+1, A, N] are the units held at each
    sample. `mark` float64[T+1, N] is the last known price per unit, NaN before the first one. `book_equity` and
    `book_flows` are float64[T+1, A]; flows are cumulative deposits less withdrawals, transfers between books included.
    `book_moved` is the part of them that other books gave, None for none.

    Raises ValueError for a wrong shape, a name that occurs twice, a row outside the intervals, or a position without a
    price.
    """

    days_ns: Ints
    agents: tuple[str, ...]
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    quantity: Floats
    mark: Floats
    book_equity: Floats
    book_flows: Floats
    trades: Trades
    bookings: Bookings
    actions: Actions
    book_moved: Floats | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for columns of a wrong shape, names that occur twice, intervals outside the history, and
        positions without a price."""
        sample_count, book_count, symbol_count = len(self.days_ns), len(self.agents), len(self.symbols)
        if sample_count == 0:
            raise ValueError("a history needs at least one sample, and this one has none")
        expected = {
            "quantity": (sample_count, book_count, symbol_count), "mark": (sample_count, symbol_count),
            "book_equity": (sample_count, book_count), "book_flows": (sample_count, book_count),
        }  # fmt: skip
        for name, shape in expected.items():
            actual_shape = getattr(self, name).shape
            if actual_shape != shape:
                raise ValueError(f"{name} has the shape {actual_shape}, not {shape}")
        if CASH in self.symbols:
            raise ValueError(f"no symbol may be named {CASH!r}, which is the name of the part without a symbol")
        if (
            len(set(self.symbols)) != symbol_count
            or len(set(self.agents)) != book_count
            or len(self.sectors) != symbol_count
        ):
            raise ValueError("a symbol or an agent occurs twice, or there is not one sector for each symbol")
        for table in (self.trades, self.bookings, self.actions):
            interval = table.interval
            if len(interval) and not (interval.min() >= 1 and interval.max() < sample_count):
                raise ValueError(f"{type(table).__name__} has a row outside the intervals 1 to {sample_count - 1}")
        unpriced = np.isnan(self.mark) & (self.quantity != 0.0).any(axis=1)
        if unpriced.any():
            names = [self.symbols[k] for k in np.flatnonzero(unpriced.any(axis=0))]
            raise ValueError(f"positions without a price in {', '.join(names)}: `mark` is NaN there")

    @property
    def intervals(self) -> int:
        """Number of intervals, T."""
        return len(self.days_ns) - 1

    @property
    def equity(self) -> Floats:
        """The equity of all books together in account currency, float64[T+1]."""
        return self.book_equity.sum(axis=1)

    @property
    def flows(self) -> Floats:
        """Cumulative external deposits less withdrawals in account currency, float64[T+1].

        Transfers between books cancel.
        """
        return self.book_flows.sum(axis=1)

    @property
    def price(self) -> Floats:
        """The last known price per unit in account currency, float64[T+1, N]; 0 before the first price."""
        return np.nan_to_num(self.mark, nan=0.0)

    def returns(self) -> Floats:
        """Return float64[T], the time-weighted return of each interval; 0 where it begins without positive equity."""
        return time_weighted_returns(self.equity, self.flows)

    def book_returns(self, book: int) -> Floats:
        """Return float64[T+1], the time-weighted returns of a book by its index, 0 at the first sample.

        A deposit counts from the sample after it, and capital of other books from the sample before it.
        """
        flows, moved = self.book_flows[:, book], np.zeros(len(self.days_ns))
        if self.book_moved is not None:
            moved = self.book_moved[:, book]
        # both are whole millionths, and so is their difference
        return book_returns(self.book_equity[:, book], np.round(flows - moved, 6), np.diff(moved, append=moved[-1:]))

    def weights(self) -> Floats:
        """Return float64[T+1, N], each symbol's value in all books over equity; 0 where equity is not positive."""
        value, equity = self.quantity.sum(axis=1) * self.price, self.equity[:, None]
        weights = np.zeros_like(value)
        np.divide(value, equity, out=weights, where=equity > 0.0)
        return weights

    def asset_returns(self) -> Floats:
        """Return float64[T, N], the simple returns of the symbols, splits and dividends included.

        The return is 0 where a price is missing at either end of the interval, unless the symbol was delisted in it.
        """
        # the product of all splits of an interval, and the sum of its payments per share
        ratio = np.ones((self.intervals + 1, len(self.symbols)))  # row 0 is not used: intervals count from 1
        cash = np.zeros_like(ratio)
        action_index = self.actions.interval, self.actions.symbol
        np.multiply.at(ratio, action_index, self.actions.ratio)
        np.add.at(cash, action_index, self.actions.cash)
        start_price, end_price = self.price[:-1], self.price[1:]
        has_price = (start_price > 0.0) & (np.isfinite(self.mark[1:]) | (ratio[1:] == 0.0))
        returns = np.zeros_like(start_price)
        # a delisting has the ratio 0 and leaves no mark: the return is then the payment over the price
        np.divide(end_price * ratio[1:] + cash[1:], start_price, out=returns, where=has_price)
        np.subtract(returns, 1.0, out=returns, where=has_price)
        return returns

    def row_of(self, weights: Mapping[str, float]) -> Floats:
        """Return float64[N], the weights in the order of `symbols`, 0 for a symbol without a weight.

        Raises ValueError for an unknown symbol, and for weights in percent.
        """
        if (total := sum(map(abs, weights.values()))) > 10.0:  # more is a mistake of units
            raise ValueError(f"the weights add up to {total:g} times the account; they are fractions: 0.6, not 60")
        index = {symbol: k for k, symbol in enumerate(self.symbols)}
        if unknown := [symbol for symbol in weights if symbol not in index]:
            raise ValueError(f"{', '.join(unknown)}: not in the universe of this run ({', '.join(self.symbols)})")
        ordered = np.zeros(len(self.symbols))
        ordered[[index[symbol] for symbol in weights]] = list(weights.values())
        return ordered

    def between(self, first_ns: int, last_ns: int) -> "BookHistory":
        """Return the history of the samples with dates from `first_ns` to `last_ns`, both included.

        The first of these samples is sample 0 of the new history. Raises ValueError where no sample lies in the period.
        """
        rows = np.flatnonzero((self.days_ns >= first_ns) & (self.days_ns <= last_ns))
        if not len(rows):
            raise ValueError("no sample lies in the period")
        return self.part(int(rows[0]), int(rows[-1]))

    def part(self, start: int, end: int) -> "BookHistory":
        """Return the history of the samples `start` to `end`, both included."""
        samples = slice(start, end + 1)
        trades = self.trades.within(start, end)
        bookings, actions = self.bookings.within(start, end), self.actions.within(start, end)
        return BookHistory(
            self.days_ns[samples], self.agents, self.symbols, self.sectors, self.quantity[samples], self.mark[samples],
            self.book_equity[samples], self.book_flows[samples], trades, bookings, actions,
            None if self.book_moved is None else self.book_moved[samples],
        )  # fmt: skip

    def book(self, name: str) -> "BookHistory":
        """Return the history of one book (an agent's part of the account).

        Capital that other books give between two samples is dated to the earlier sample, and so is every capital of a
        book without equity: otherwise the interval between the two samples would have no return.
        """
        book = self.agents.index(name)
        equity, flows = self.book_equity[:, [book]].copy(), self.book_flows[:, [book]].copy()
        new_flows = np.diff(flows[:, 0])
        moved = np.zeros_like(new_flows) if self.book_moved is None else np.diff(self.book_moved[:, book])
        dated_earlier = np.where((equity[:-1, 0] <= 0.0) & (new_flows > 0.0), new_flows, moved)
        equity[:-1, 0] += dated_earlier
        flows[:-1, 0] += dated_earlier
        trades, bookings = self.trades.rows(self.trades.agent == book), self.bookings.rows(self.bookings.agent == book)
        trades.agent[:] = bookings.agent[:] = 0  # the only book of the new history
        return replace(
            self, agents=(name,), quantity=self.quantity[:, [book]], book_equity=equity, book_flows=flows,
            trades=trades, bookings=bookings, book_moved=None,
        )  # fmt: skip
