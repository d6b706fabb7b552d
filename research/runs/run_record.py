"""A log that records equity at samples, traded value and costs of a run, and passes every step on to another log."""

from array import array
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.host.fold_records import FillColumns, SampleRows
from quantd.daemon.runtime.step_log import Log, Unanswered
from quantd.research.runs.asked import Asked
from quantd.research.runs.failures import FailureCount
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask, Booked, Effect, Filled, Valued
from quantd.trading.events import Decided, Event, Tick
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.market import Block, Floats, Ints, MarketSlice
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import compounded, time_weighted_returns

FOLD: Final = 256
"""Number of batches of fills summed at a time: one pass over columns is cheaper than one pass per batch."""


class Counter(Unanswered):
    """A log that counts the effects for which `counts` returns True."""

    def __init__(self, counts: Callable[[Effect], bool]) -> None:
        self.count = 0
        self._counts = counts

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.count += sum(map(self._counts, effects))


class Record:
    """The record of one run: valuations by sample, fills and costs.

    `ts`, `days_ns` (dates), `equity_micro` and `books_micro` (at the last prices known at the sample), `cash_micro`,
    `gross` (exposure over equity) and `drawdown` are by sample. `fill_columns` are the fills of the whole account.
    `traded` is the value traded, in account currency. `slippage_paid` is the cost of fills beyond the open of their bar
    (spread, slippage, impact), in account currency. A price better than the open counts 0.
    Commission, borrow fees and cash interest are exact, in micro-currency.
    """

    def __init__(self, universe: Universe, after: Log | None = None) -> None:
        """Begins an empty record. Each step is passed on to the log `after`.

        Arrays of type "q" have 64-bit integers, arrays of type "d" floats. Amounts in attributes that end in `_micro`
        are millionths.
        """
        self.ts: array[int] = array("q")
        self.days_ns: array[int] = array("q")
        self.equity_micro: list[int] = []
        self.gross: array[float] = array("d")
        self.drawdown: array[float] = array("d")
        self.cash_micro: array[int] = array("q")
        self.books_micro: list[Sequence[int]] = []
        self.fill_columns: list[FillColumns] = []
        self.failures = FailureCount()
        """The decisions of each agent, and those that failed."""
        self.opened: dict[str, None] = {}
        """The files, programs and hosts that policies opened while they decided."""
        self.asked = Asked()
        """What was asked and held, at the end of the run."""
        self.lots: Ints = np.zeros(0, dtype=np.int64)
        """int64[N], the positions of the account at the end of the run, in lots."""
        self.borrow_micro = 0
        self.interest_micro = 0
        self.flows: list[tuple[int, int, int]] = []
        """(number of samples before it, index of its book, amount in micro-currency) of each deposit."""
        self._traded = self._slippage_paid = 0.0
        self._commission_micro = 0
        self._lot_nano = np.array(universe.lot_nano, dtype=np.int64)
        self._without_bar: list[FillColumns] = []  # the bar of these fills has not arrived yet
        self._with_bar: list[tuple[Ints, int]] = []  # columns of fills, and the row of their bar in _block
        self._block: Block | None = None
        self._after = after
        self.rows_only = after is None  # alone, the record reads samples as columns and needs no events

    def end(self, state: State) -> None:
        """Store the positions at the end of the run, and what was asked and held."""
        self.asked = Asked.of(state)
        self.lots = np.array(state.ledger.house.lots, dtype=np.int64)

    def answer(self, ask: Ask) -> Decided | None:
        """Count the question, and return the decision that the next log has recorded; None if it has recorded none."""
        self.failures.asked(ask.agent, ask.view.time)
        return self._after.answer(ask) if self._after is not None else None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record the valuation, fills and bookings among the effects of a step, and count a decision that failed.

        The step is then passed on to the next log.
        """
        if isinstance(event, Decided):
            self.failures.decided(event, effects)
        for effect in effects:
            effect_type = type(effect)
            if effect_type is Valued:
                assert isinstance(effect, Valued)
                assert isinstance(event, Tick)
                self.ts.append(effect.ts)
                self.days_ns.append(event.key - event.key % DAY_NS)
                self.equity_micro.append(effect.equity_micro)
                self.cash_micro.append(effect.cash_micro)
                self.books_micro.append(effect.books)
                self.gross.append(effect.gross)
                self.drawdown.append(effect.drawdown)
            elif effect_type is Filled:
                assert isinstance(effect, Filled)
                columns = np.array((effect.sym, effect.lots, effect.price_nano, effect.fee_micro), dtype=np.int64)
                self._record_fills(FillColumns(effect.sample, effect.n, effect.ts, columns, effect.shares))
            elif effect_type is Booked:
                assert isinstance(effect, Booked)
                # an amount is positive where the account receives it; `borrow_micro` is a cost
                if effect.kind == "borrow":
                    self.borrow_micro -= effect.amount_micro
                elif effect.kind == "interest":
                    self.interest_micro += effect.amount_micro
                elif effect.kind == "flow":
                    self.flows.append((len(self.ts), effect.book, effect.amount_micro))
        # the venue's reports of a bar are processed before the bar itself
        if self._without_bar and type(event) is MarketSlice:
            self._assign_bar(event)
        if self._after is not None:
            self._after.add(event, effects)

    def told(self, agent: int, ts: int, questions: int) -> None:
        """Count questions of an agent that were answered in advance, the last one at `ts` (ns UTC)."""
        self.failures.asked(agent, ts, questions)

    def add_samples(self, market: MarketSlice, filled: Sequence[tuple[int, FillColumns]], rows: SampleRows) -> None:
        """Record fills with the rows of their bars, and the samples from `market` on, as columns.

        `filled` are pairs (row of the bar in the table `market.block`, fills), `rows` the valuations of the samples.
        """
        if self._without_bar:
            self._assign_bar(market)
        for row, of_basket in filled:
            fills = _compact(of_basket)
            self.fill_columns.append(fills)
            self._prepare_for_block(market.block)
            self._with_bar.append((fills.columns, row))
        self.ts.extend(rows.ts)
        self.days_ns.extend([key - key % DAY_NS for key in rows.key])
        self.equity_micro.extend(rows.equity_micro)
        self.cash_micro.extend(rows.cash_micro)
        self.books_micro.extend(rows.books_micro.tolist())
        self.gross.extend(rows.gross)
        self.drawdown.extend(rows.drawdown)

    @property
    def fills(self) -> list[Filled]:
        """The fills of the whole account, in order."""
        return [batch.effect() for batch in self.fill_columns]

    @property
    def first_fill(self) -> str:
        """The date of the first fill; empty without one."""
        return session_date(self.fill_columns[0].ts).isoformat() if self.fill_columns else ""

    def _record_fills(self, fills: FillColumns) -> None:
        fills = _compact(fills)
        self._without_bar.append(fills)
        self.fill_columns.append(fills)

    def _assign_bar(self, market: MarketSlice) -> None:
        """Assign fills without a bar to the bars of `market`, if it has a bar for the symbol of each fill."""
        self._prepare_for_block(market.block)
        fresh = market.fresh
        # a fill at the open of a bar in progress waits for that bar
        with_bar = [fill for fill in self._without_bar if fresh[fill.columns[0]].all()]
        self._with_bar.extend((fill.columns, market.row) for fill in with_bar)
        self._without_bar = [fill for fill in self._without_bar if not fresh[fill.columns[0]].all()]

    def _prepare_for_block(self, block: Block) -> None:
        """Sum the fills that have a bar, before a fill of another block (table of bars) is added.

        One sum reads the bars of one block only.
        """
        if block is not self._block or len(self._with_bar) >= FOLD:
            self._sum_fills()
            self._block = block

    def _sum_fills(self) -> None:
        """Add the fills with a bar to the sums of commission, traded value and slippage, and forget them."""
        if not self._with_bar or self._block is None:
            return
        column, lots, price, fee = np.concatenate([columns for columns, _ in self._with_bar], axis=1)
        units_per_lot = self._lot_nano[column] / NANO
        row = np.repeat([row for _, row in self._with_bar], [columns.shape[1] for columns, _ in self._with_bar])
        self._commission_micro += int(fee.sum())
        self._traded += float((np.abs(lots) * units_per_lot * price).sum()) / NANO
        worse_than_open = np.sign(lots) * (price - self._block.open_nano[row, column])
        self._slippage_paid += float((np.abs(lots) * units_per_lot * np.maximum(worse_than_open, 0.0)).sum()) / NANO
        self._with_bar = []

    def deposits_micro(self, book: int | None = None) -> Ints:
        """int64[T], the deposits up to each sample into a book, or into the account, in micro-currency."""
        deposits = np.zeros(len(self.ts), dtype=np.int64)
        for sample, owner, amount in self.flows:
            deposits[sample:] += amount if book in (None, owner) else 0
        return deposits

    def gain_micro(self, first: int, last: int) -> int:
        """The change of the account's equity between two samples, by index, less deposits, in micro-currency."""
        deposits = self.deposits_micro()
        return int(self.equity_micro[last] - self.equity_micro[first] - (deposits[last] - deposits[first]))

    def wealth_micro(self, book: int | None = None) -> Floats:
        """float64[T], the equity that the same returns give without deposits, of a book or of the account.

        A deposit is no return (`time_weighted_returns`). Without deposits this is the equity, in micro-currency.
        """
        equity = np.array(
            self.equity_micro if book is None else [books[book] for books in self.books_micro], dtype=np.float64
        )
        if not self.flows:
            return equity
        deposits = self.deposits_micro(book).astype(np.float64)
        return float(equity[0]) * compounded(time_weighted_returns(equity, deposits))

    @property
    def commission_micro(self) -> int:
        """Commission paid, in micro-currency."""
        self._sum_fills()
        return self._commission_micro + sum(int(batch.columns[3].sum()) for batch in self._without_bar)

    @property
    def traded(self) -> float:
        """Value bought and sold, in account currency."""
        self._sum_fills()
        return self._traded

    @property
    def slippage_paid(self) -> float:
        """Cost of fills beyond the open of their bar, in account currency; a better price counts 0."""
        self._sum_fills()
        return self._slippage_paid

    @property
    def costs(self) -> float:
        """Total trading costs in account currency."""
        return self.slippage_paid + (self.commission_micro + self.borrow_micro) / MICRO


def _compact(fills: FillColumns) -> FillColumns:
    """Return the same fills without memory that only their basket needed.

    The columns are a view of all columns of the basket, and the shares are lists even where the first agent has all
    lots: of ten million fills these are 1.1 and 1.5 GB.
    """
    columns = fills.columns if fills.columns.base is None else fills.columns.copy()
    shares = fills.shares
    if shares is not None and all(len(of_fill) == 1 and of_fill[0][0] == 0 for of_fill in shares):
        shares = None
    return fills._replace(columns=columns, shares=shares)
