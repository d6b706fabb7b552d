"""Profit in money over a period: of the account, of each book and of each position, by day, and as a curve.

For each book, closing = opening + deposits + capital from other books + profit over a period. The books add up to the
account exactly. The profits of all symbols and the profit that belongs to no symbol add up to the profit of the account
exactly.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.daemon.views.account_history import AMOUNTS, DEPOSITS, MOVED, AccountHistory, Note, Sample
from quantd.trading.display_text import session_date
from quantd.trading.instruments import Universe
from quantd.trading.ledger.books import Ledger
from quantd.trading.market import Floats, Ints
from quantd.trading.orders import money_text
from quantd.trading.statistics import book_returns

ACCOUNT: Final = "account"

Span = Literal["day", "week", "month"]


class BookProfit(Struct, frozen=True):
    """One book over a period, as exact text: closing = opening + deposits + moved + profit.

    `moved` is capital from other books, `fees` are the commissions that `profit` already contains. `crossed` is the
    cash received for lots sold to other books less the cash paid for lots bought; over all books it adds up to 0.
    `total_return` is time-weighted; null before the first sample.
    """

    name: str
    opening: str
    deposits: str
    moved: str
    profit: str
    closing: str
    fees: str
    crossed: str
    total_return: float | None


class SymbolProfit(Struct, frozen=True):
    """One symbol of the house. `profit` is the profit of the period, null where the lots at its start are not known.

    `unrealised` is the value of the lots held less their cost. `realised` is the profit of closed lots since the start
    of the run, plus dividends and other payments, less all commissions; null where the run continues the account of an
    earlier run.
    """

    symbol: str
    value: str
    profit: str | None
    realised: str | None
    unrealised: str


class DayProfit(Struct, frozen=True):
    """A day, week or month: closing = opening + deposits + profit. `first` and `last` are its first and last date."""

    first: str
    last: str
    ts: int
    opening: str
    deposits: str
    profit: str
    closing: str
    total_return: float


class Curve(Struct, frozen=True):
    """The account at samples. `equity` is exact text; `drawdown` the fraction below the highest worth so far.

    `worth`, `benchmark`, `equal` and `agents` are the values of 1 invested at the first sample, without deposits.
    `benchmark` is the `benchmark` of [universe] with its dividends; empty without one. `equal` holds all instruments at
    equal weights, rebalanced at each sample, with dividends and without costs.
    """

    ts: list[int]
    equity: list[str]
    worth: list[float]
    drawdown: list[float]
    benchmark: list[float]
    equal: list[float]
    agents: dict[str, list[float]]


class Present(Struct, frozen=True):
    """The account in the ledger now, after entry `seq`.

    `marks` are in nano-currency, amounts in micro-currency; `books` are equities and `flows` net deposits, by book.
    """

    seq: int
    ts: int
    equity: int
    cash: int
    marks: Ints
    lots: list[int]
    cost: list[int]
    books: dict[str, int]
    flows: dict[str, int]

    @classmethod
    def of(cls, ledger: Ledger, marks: Ints, equity: int, books: Sequence[int], seq: int, ts: int) -> "Present":
        """Read the account from a ledger that was valued at `marks`."""
        flows = {name: book.flows_micro for name, book in zip(ledger.names, ledger.books, strict=True)}
        house = ledger.house
        return cls(
            seq, ts, equity, house.cash_micro, marks.copy(), house.lots, house.cost_micro,
            dict(zip(ledger.names, books, strict=True)), flows,
        )  # fmt: skip


class AccountProfit:
    """The profits over the samples of a history, with the account at the start added first and the present one last.

    Create it between two additions to the history: it copies what a later addition changes.
    """

    def __init__(self, history: AccountHistory, present: Present, universe: Universe) -> None:
        """Build the samples from a history, the account at its start, and the `present` account.

        A run that continues another account (`history.carried`) has no start of its own.
        """
        history.adopt(present.lots)
        self._present, self._universe = present, universe
        # int64[N]: the net cash that each symbol brought since the start, negative while it cost more
        self._net_cash, self._notes = history.net_cash.copy(), list(history.notes)
        self._continues_account, self._lots_known_from = history.carried, history.sure_from
        self._values: Ints = np.zeros_like(history.net_cash)
        for k, lots in enumerate(present.lots):
            if lots:
                self._values[k] = history.movements.value(k, lots, int(present.marks[k]))
        history_names = set(history.names)
        self.names: Final = [*history.names, *(name for name in present.books if name not in history_names)]
        opening_samples = () if history.carried else (self._opening_sample(history),)
        self._first_journal_sample = len(opening_samples)
        """Index of the first sample of the journal in `_samples`: 1 after an opening sample, else 0."""
        self._samples: Final = (*opening_samples, *history.samples, self._present_sample(history))
        count, size = len(self._samples), len(self.names)
        self.ts: Final[Ints] = np.array([sample.ts for sample in self._samples], dtype=np.int64)
        self._equity: Ints = np.array([sample.equity for sample in self._samples], dtype=np.int64)
        self._books: Ints = np.zeros((count, size), dtype=np.int64)
        self._amounts: Ints = np.zeros((count, len(AMOUNTS), size), dtype=np.int64)
        for k, sample in enumerate(self._samples):  # a book that was named later had nothing
            self._books[k, : len(sample.books)] = sample.books
            self._amounts[k, :, : sample.amounts.shape[1]] = sample.amounts
        # to the whole account no capital moves from another book
        self._returns: Final = book_returns(self._equity.astype(np.float64), self._amounts[:, DEPOSITS].sum(axis=1))

    def _opening_sample(self, history: AccountHistory) -> Sample:
        """The account at its start, at instant 0: its cash is the deposits that the ledger has and the journal
        lacks."""
        amounts = history.amounts
        flows = np.array([self._present.flows.get(name, 0) for name in self.names], dtype=np.int64)
        books = flows.copy()
        books[: amounts.shape[1]] -= amounts[DEPOSITS] + amounts[MOVED]
        no_positions, equity = np.zeros_like(history.net_cash), int(books.sum())
        return Sample(0, 0, equity, equity, books, np.zeros_like(amounts), no_positions, 0, 1.0, 1.0)

    def _present_sample(self, history: AccountHistory) -> Sample:
        """The present account as one more sample; `benchmark` and `equal` are taken from the history's newest one."""
        present = self._present
        last = history.samples[-1] if history.samples else None
        books = np.array([present.books.get(name, 0) for name in self.names], dtype=np.int64)
        ts = max(present.ts, last.ts if last else 0)
        return Sample(
            present.seq, ts, present.equity, present.cash, books, history.amounts,
            history.worth(present.marks, present.lots), history.income,
            last.benchmark if last else 1.0, last.equal if last else 1.0,
        )  # fmt: skip

    def span(self, since: int, until: int) -> tuple[int, int]:
        """Indices of the opening and the closing sample: the last samples at or before `since` and `until`.

        The last sample is the present: it can be the closing sample, but never the opening one.
        """
        last = len(self._samples) - 1
        end = last if until >= int(self.ts[-1]) else int(np.searchsorted(self.ts[:-1], until, side="right")) - 1
        begin = int(np.searchsorted(self.ts[:-1], since, side="right")) - 1
        return max(0, min(begin, end)), max(0, end)

    def instants(self, since: int, until: int) -> tuple[int, int]:
        """The instants of a period's opening sample (0 for the start of the run) and of its closing sample."""
        begin, end = self.span(since, until)
        return int(self.ts[begin]), int(self.ts[end])

    def account(self, since: int, until: int) -> BookProfit:
        """The profit of the whole account over the period (since, until]."""
        begin, end = self.span(since, until)
        amounts = (self._amounts[end] - self._amounts[begin]).sum(axis=1)
        return self._row(ACCOUNT, self._equity[[begin, end]], amounts, self._total_return(self._returns, begin, end))

    def books(self, since: int, until: int) -> list[BookProfit]:
        """Each book over a period, in the order of the configuration; books that had no capital are left out.

        The period is (since, until], ns UTC. Books that are no longer configured come last.
        """
        begin, end = self.span(since, until)
        amounts = self._amounts[end] - self._amounts[begin]
        configured = [self.names.index(name) for name in self._present.books]
        return [
            self._row(
                self.names[book], self._books[[begin, end], book], amounts[:, book],
                self._total_return(self._returns_of(book), begin, end),
            )
            for book in (*configured, *(k for k in range(len(self.names)) if k not in configured))
            if self._books[[begin, end], book].any() or amounts[:, book].any()
        ]  # fmt: skip

    def book_samples(self, name: str) -> tuple[Ints, Ints, Ints]:
        """(Instants, equities, deposits and moved capital since the start) of a book at every sample.

        Each is int64[T], instants in ns UTC, amounts in micro-currency. The first instant is 0 where a run begins.
        """
        book = self.names.index(name)
        return self.ts, self._books[:, book], self._amounts[:, [DEPOSITS, MOVED], book].sum(axis=1)

    def _row(self, name: str, equity: Ints, amounts: Ints, total_return: float | None) -> BookProfit:
        opening, closing = equity.tolist()
        deposits, moved, fees, crossed = amounts.tolist()
        profit = closing - opening - deposits - moved
        return BookProfit(
            name=name, opening=money_text(opening), deposits=money_text(deposits), moved=money_text(moved),
            profit=money_text(profit), closing=money_text(closing), fees=money_text(fees), crossed=money_text(crossed),
            total_return=total_return,
        )  # fmt: skip

    def symbols(self, since: int, until: int) -> tuple[list[SymbolProfit], str | None]:
        """(symbols that are held or were traded, the largest value first; the profit that belongs to no symbol).

        Interest, borrow fees and rounding belong to no symbol. All profits of the period are None where the lots at
        the start of the period are not known.
        """
        begin, end = self.span(since, until)
        profit = self._samples[end].worth - self._samples[begin].worth
        # index of the opening sample among those of the journal; -1 for the start of the run, before them
        journal_index = begin - self._first_journal_sample
        lots_known = journal_index >= self._lots_known_from if journal_index >= 0 else self._lots_known_from == 0
        value, cost = self._values, np.array(self._present.cost, dtype=np.int64)
        realised = self._net_cash + cost
        rows = np.flatnonzero((value != 0) | (self._net_cash != 0) | (np.array(self._present.lots) != 0))
        order = rows[np.lexsort((-np.abs(profit[rows]), -np.abs(value[rows])))]
        symbol_profits = [
            SymbolProfit(
                self._universe.symbols[k], money_text(int(value[k])),
                money_text(int(profit[k])) if lots_known else None,
                None if self._continues_account else money_text(int(realised[k])), money_text(int(value[k] - cost[k])),
            )
            for k in order.tolist()
        ]  # fmt: skip
        total_profit = self._profit(begin, end)
        return symbol_profits, money_text(total_profit - int(profit.sum())) if lots_known else None

    def _profit(self, begin: int, end: int) -> int:
        """The profit of the account between two samples, in micro-currency."""
        return int(self._equity[end] - self._equity[begin]) - self._deposits(begin, end)

    def _deposits(self, begin: int, end: int) -> int:
        return int((self._amounts[end] - self._amounts[begin])[DEPOSITS].sum())

    def days(self, since: int, until: int, by: Span) -> list[DayProfit]:
        """The days, weeks (from Monday) or months of a period that have a sample, the newest first."""
        begin, end = self.span(since, until)
        indices = [k for k in range(begin + 1, end + 1) if self.ts[k] > 0]
        dates = [session_date(int(self.ts[k]) - 1) for k in indices]
        day_profits, opening_index = [], begin
        for _, group in groupby(zip(indices, dates, strict=True), key=lambda pair: start_of(pair[1], by)):
            rows = list(group)
            closing_index = rows[-1][0]
            total_return = float(np.prod(1.0 + self._returns[opening_index + 1 : closing_index + 1])) - 1.0
            day_profits.append(
                DayProfit(
                    first=str(rows[0][1]), last=str(rows[-1][1]), ts=int(self.ts[closing_index]),
                    opening=money_text(int(self._equity[opening_index])),
                    deposits=money_text(self._deposits(opening_index, closing_index)),
                    profit=money_text(self._profit(opening_index, closing_index)),
                    closing=money_text(int(self._equity[closing_index])),
                    total_return=total_return,
                )
            )  # fmt: skip
            opening_index = closing_index
        return day_profits[::-1]

    def curve(self, since: int, until: int, points: int) -> Curve:
        """The account at the samples of a period from its opening sample on, thinned evenly to at most `points`.

        The opening sample at the start of the run, before the first valuation, is not drawn. Drawdowns are from the
        peak since the start of the run.
        """
        begin, end = self.span(since, until)
        begin = max(begin, min(self._first_journal_sample, end))
        if end == len(self._samples) - 1 and end > begin and self.ts[end] == self.ts[end - 1]:
            end -= 1  # the present has the instant of the newest sample, which would be drawn twice
        rows = np.unique(np.linspace(begin, end, min(points, end - begin + 1)).round().astype(np.int64))
        agents = {
            name: self._growth_of_one(self._returns_of(k), begin, rows)
            for k, name in enumerate(self.names)
            if name in self._present.books and self._books[begin : end + 1, k].any()
        }
        samples = [self._samples[k] for k in rows.tolist()]
        worth = np.concatenate((np.ones(1), np.cumprod(1.0 + self._returns[1:])))
        drawdown = 1.0 - worth / np.maximum.accumulate(worth)
        first, has_benchmark = samples[0], self._universe.benchmark in self._universe.symbols
        return Curve(
            [sample.ts for sample in samples], [money_text(sample.equity) for sample in samples],
            self._growth_of_one(self._returns, begin, rows), drawdown[rows].tolist(),
            [sample.benchmark / first.benchmark for sample in samples] if has_benchmark else [],
            [sample.equal / first.equal for sample in samples], agents,
        )  # fmt: skip

    def notes(self, since: int, until: int) -> list[Note]:
        """The notable events of a period, such as starts and loaded models, oldest first."""
        return [note for note in self._notes if since <= note.ts < until]

    def _returns_of(self, book: int) -> Floats:
        amounts = self._amounts[:, :, book].astype(np.float64)
        # capital that moved between two samples earns from the first one on
        moved = np.diff(amounts[:, MOVED], append=amounts[-1:, MOVED])
        return book_returns(self._books[:, book].astype(np.float64), amounts[:, DEPOSITS], moved)

    @staticmethod
    def _growth_of_one(returns: Floats, begin: int, rows: Ints) -> list[float]:
        """The values at the samples `rows` of 1 invested at the sample `begin`."""
        grown = np.cumprod(1.0 + np.concatenate((np.zeros(1), returns[begin + 1 :])))
        worth: list[float] = grown[rows - begin].tolist()
        return worth

    @staticmethod
    def _total_return(returns: Floats, begin: int, end: int) -> float | None:
        return float(np.prod(1.0 + returns[begin + 1 : end + 1])) - 1.0 if end > begin else None


def start_of(day: date, by: Span) -> date:
    """Return the first day of the week or month that contains `day`; `day` itself for days."""
    if by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by == "month" else day
