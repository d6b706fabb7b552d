"""A log that builds the history of the books of a run, from a backtest while it runs or from a stored journal.

The money is that of `Movements`: this log adds what attribution needs beside it, the prices at which each trade was
decided and at which its order met the market. What can go wrong: books that do not add up, as where a run continues
another account. The cash and positions that the log has counted are therefore compared with the engine's valuation at
each sample, exactly, and LedgerBroken names a difference.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar, cast

import numpy as np

from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.views.movements import Movement, Movements
from quantd.research.attribution.book_history import BOOKINGS, Actions, BookHistory, Bookings, Trades
from quantd.trading.effects import Ask, Crossed, Effect, Filled, Planned, Valued
from quantd.trading.events import Action, Decided, Event, Tick, split_of
from quantd.trading.execution import round_micro
from quantd.trading.instruments import ATTO_PER_MICRO, MICRO, NANO
from quantd.trading.ledger.books import UNALLOCATED
from quantd.trading.ledger.errors import LedgerBroken
from quantd.trading.market import Floats, Ints, MarketSlice
from quantd.trading.orders import Kind, OrderBasket
from quantd.trading.sessions import DAY_NS

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_BASKETS: Final = 4_096
"""Number of newest baskets whose decision prices are stored. Fills of older baskets count as decided on arrival."""

MAX_PARENTS: Final = 64
"""Number of newest parent orders whose decision prices are stored. A parent order ends with its session."""


MAX_OBJECTS: Final = 50_000
"""Number of trades that become columns at the next sample."""


class _SentBasket(NamedTuple):
    """A basket of orders: the row of each symbol by its index, decision prices by row, the kind of order, and stop
    prices by index."""

    rows: dict[int, int]
    prices: Floats
    kind: int
    triggers: dict[int, int]


class _Trades:
    """Booked trades of agents, with signed lots, as one list for each column.

    Numbers in lists cost the collection of garbage nothing; a million rows as objects take half of the time.
    `interval` is the number of samples before the trade. `agent` and `symbol` are indices. `amount_micro` is the cash
    received, negative for a purchase, before the fee. `decision` and `arrival` are prices per unit; a decision is NaN
    where it is unknown. `crossed` marks a trade without an order: a cross, a transfer, or lots that arrived in kind.
    """

    __slots__ = ("agent", "amount_micro", "arrival", "crossed", "decision", "fee_micro", "interval", "lots", "symbol")

    def __init__(self) -> None:
        self.interval: list[int] = []
        self.agent: list[int] = []
        self.symbol: list[int] = []
        self.lots: list[int] = []
        self.amount_micro: list[int] = []
        self.fee_micro: list[int] = []
        self.decision: list[float] = []
        self.arrival: list[float] = []
        self.crossed: list[bool] = []

    def __len__(self) -> int:
        return len(self.interval)

    def drop(self, count: int) -> None:
        """Remove the first `count` trades."""
        for name in self.__slots__:
            del getattr(self, name)[:count]


class _Waiting(NamedTuple):
    """Fills of one basket, identified by (sample, number), whose bars have not arrived: their indices in `_Trades`,
    and their columns of symbols and of signed lots."""

    key: tuple[int, int]
    rows: Ints
    symbols: Ints
    lots: Ints


class BookHistoryLog:
    """Builds a `BookHistory` from the steps of a run, and passes every step on to the log `after`.

    `rules` are the run's rules at its start, and `slices` returns the bars of one instant of a recorded market, which
    a journal names by their number. Raises LedgerBroken where the books differ from the engine's.
    """

    rows_only: bool = False

    def __init__(
        self, rules: Rules, after: Log | None = None, slices: Callable[[int], MarketSlice] | None = None
    ) -> None:
        """Begins with the cash and the capital of each agent in `rules`. Each step is passed on to the log `after`."""
        self.universe, self._after = rules.universe, after
        self._movements = Movements(rules.universe, slices)
        capital = [agent.capital_micro for agent in rules.agents]
        self._names = (*(agent.name for agent in rules.agents), UNALLOCATED)
        self._cash = [*capital, rules.cash_micro - sum(capital)]
        """The cash of each book in micro-currency, that of the unallocated book last (-1)."""
        self._flows = list(self._cash)
        """The deposits and capital of each book since the start, in micro-currency."""
        self._moved = [0] * len(self._names)
        """The part of them that other books gave."""
        self._sent: OrderedDict[tuple[int, int], _SentBasket] = OrderedDict()
        """The newest baskets, by (sample, n)."""
        self._parents: OrderedDict[int, Floats] = OrderedDict()
        """Decision prices float64[N] of parent orders, by the instant of their plan."""
        self._crosses: OrderedDict[tuple[int, int], float] = OrderedDict()
        """Decision prices of crosses, by (sample, column)."""
        self._plan: Planned | None = None
        """The newest plan, to which the next baskets belong."""
        self._new_shares: Floats = np.ones(self.universe.size)
        """New shares per share held at the last sample."""
        self._days: list[int] = []
        """The dates of the samples so far (ns at 00:00 UTC); their number is the index of the present interval."""
        self._samples: list[tuple[Ints, Ints, list[int], list[int], list[int]]] = []
        """(lots, marks, equities, flows and moved capital of the books) at each sample."""
        self._settled: list[Trades] = []
        """The trades before those of `_trades`, as columns."""
        self._trades = _Trades()
        self._waiting: list[_Waiting] = []
        """The fills whose bars have not arrived, the oldest first."""
        self._bookings: list[tuple[int, int, int, int, float]] = []
        """(interval, book, column or ACCOUNT, index in BOOKINGS, amount in currency)."""
        self._actions: list[tuple[int, int, float, float]] = []
        """(interval, column, new shares per old share, cash per share)."""

    @property
    def _lots(self) -> Ints:
        """int64[books, N], the signed lots of each book."""
        lots_of, none = self._movements.lots_of, np.zeros(self.universe.size, dtype=np.int64)
        return np.array([lots_of.get(book, none) for book in (*range(len(self._names) - 1), -1)])

    def answer(self, ask: Ask) -> Decided | None:
        """Return the decision that the log `after` has for the question `ask`; None without a log `after`."""
        return self._after.answer(ask) if self._after is not None else None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Apply a step to the history, and pass it on."""
        if (action := event if isinstance(event, Action) else split_of(event)) is not None:
            self._note_action(action)
        for effect, movements in self._movements.add(event, effects):
            match effect:
                case Planned():
                    self._planned(effect)
                case OrderBasket():
                    self._basket(effect)
                case Valued():
                    self._valued(event, effect)
                case _:
                    self._take(movements, effect)
        if self._waiting and (market := self._movements.market_of(event)) is not None:
            self._set_arrivals(market)
        if self._after is not None:
            self._after.add(event, effects)

    def history(self) -> BookHistory:
        """Return the history up to the last sample. Raises ValueError before the first one."""
        if not self._days:
            raise ValueError("the run has no sample")
        lots, marks, equity, flows, moved = (np.array(column) for column in zip(*self._samples, strict=True))
        last_interval = len(self._days) - 1
        return BookHistory(
            days_ns=np.array(self._days, dtype=np.int64),
            agents=self._names,
            symbols=self.universe.symbols,
            sectors=self.universe.sectors,
            quantity=lots * self.universe.lot_size,
            mark=np.where(marks > 0, marks / NANO, np.nan),
            book_equity=equity / MICRO,
            book_flows=flows / MICRO,
            book_moved=moved / MICRO,
            trades=self._trade_columns(last_interval),
            bookings=Bookings.of([row for row in self._bookings if 1 <= row[0] <= last_interval]),
            actions=Actions.of([row for row in self._actions if 1 <= row[0] <= last_interval]),
        )

    def _trade_columns(self, last: int) -> Trades:
        """Return the trades of the intervals 1 to `last`."""
        self._settle()
        self._settled = [Trades.joined(self._settled)]
        trades = Trades.joined([*self._settled, *([self._columns(len(self._trades))] if self._trades else [])])
        inside = (trades.interval >= 1) & (trades.interval <= last)
        return trades if inside.all() else trades.rows(inside)

    def _settle(self) -> None:
        """Make columns of the trades before the first one that waits for its bar: they do not change any more."""
        settled = int(self._waiting[0].rows[0]) if self._waiting else len(self._trades)
        if settled:
            self._settled.append(self._columns(settled))
            self._trades.drop(settled)
            self._waiting = [fills._replace(rows=fills.rows - settled) for fills in self._waiting]

    def _columns(self, count: int) -> Trades:
        """Return the first `count` of `_trades`. A price is the booked cash per unit, rounding included."""
        trades = self._trades
        symbol_index = np.array(trades.symbol[:count], dtype=np.int64)
        quantity = np.array(trades.lots[:count], dtype=np.float64) * self.universe.lot_size[symbol_index]
        decision_prices, arrival = np.array(trades.decision[:count]), np.array(trades.arrival[:count])
        return Trades(
            interval=np.array(trades.interval[:count], dtype=np.int64),
            agent=np.array(trades.agent[:count], dtype=np.int64),
            symbol=symbol_index,
            quantity=quantity,
            price=-np.array(trades.amount_micro[:count]) / MICRO / quantity,
            decision=np.where(np.isfinite(decision_prices), decision_prices, arrival),
            arrival=arrival,
            fee=np.array(trades.fee_micro[:count]) / MICRO,
            crossed=np.array(trades.crossed[:count], dtype=np.bool_),
        )

    def _planned(self, plan: Planned) -> None:
        """Store the decision prices of crosses (trades between agents) and of parent orders."""
        self._plan = plan
        prices = np.frombuffer(plan.prices, dtype="<f8")
        for symbol in np.flatnonzero(np.frombuffer(plan.crossed, dtype="<i8")).tolist():
            _keep(self._crosses, (plan.sample, symbol), float(prices[symbol]), MAX_BASKETS)
        if plan.portion is not None and not plan.portion.decided:  # 0 in the plan of a parent order
            _keep(self._parents, plan.ts, prices.copy(), MAX_PARENTS)

    def _basket(self, basket: OrderBasket) -> None:
        """Store a basket (orders of one sample) with its decision prices; a child order has the prices of its parent.

        A basket of another plan than the newest one has no decision prices, and is not stored.
        """
        plan = self._plan
        if plan is None or (plan.sample, plan.n) != (basket.sample, basket.n):
            return
        prices = np.frombuffer(plan.prices, dtype="<f8")
        if plan.portion is not None and plan.portion.decided:
            prices = self._parents.get(plan.portion.decided, prices)
        kind = basket.kind[0] if basket.kind else Kind.LIMIT
        triggers = dict(zip(basket.sym, basket.stop_nano, strict=True)) if kind == Kind.STOP else {}
        sent_basket = _SentBasket({s: row for row, s in enumerate(basket.sym)}, prices[basket.sym], kind, triggers)
        _keep(self._sent, (basket.sample, basket.n), sent_basket, MAX_BASKETS)

    def _take(self, movements: list[Movement], effect: object) -> None:
        """Add the movements of one effect: to cash and flows of the books, and as trades or as bookings."""
        interval, books, bought = len(self._days), len(self._names), []
        for movement in movements:
            kind, _, book, symbol, amount, lots, _, flow, fee, _ = movement
            self._cash[book] += amount + flow - fee
            self._flows[book] += flow
            self._moved[book] += flow if kind in ("moved", "transfer") else 0
            index = book % books  # -1 is the last book, the unallocated one
            if lots:
                bought.append(movement)
            elif kind == "borrow":
                self._share_borrow(index, amount)
            elif amount:
                self._bookings.append((interval, index, symbol, BOOKINGS.index(kind), amount / MICRO))
        if not bought:
            return
        trades, first = self._trades, len(self._trades)
        _, _, owners, symbols, amounts, sizes, _, _, fees, rows = zip(*bought, strict=True)
        trades.interval += [interval] * len(bought)
        trades.agent += [book % books for book in owners]
        trades.symbol += symbols
        trades.lots += sizes
        trades.amount_micro += amounts
        trades.fee_micro += fees
        trades.crossed += [not isinstance(effect, Filled)] * len(bought)
        if isinstance(effect, Filled):
            decided, met = self._decisions(effect), [price / NANO for price in effect.price_nano]
            trades.decision += [decided[row] for row in rows]
            trades.arrival += [met[row] for row in rows]  # `_set_arrivals` replaces it when the bar arrives
            columns = np.array(symbols), np.array(sizes)
            self._waiting.append(_Waiting((effect.sample, effect.n), np.arange(first, len(trades)), *columns))
        elif isinstance(effect, Crossed):
            price = effect.price_nano / NANO
            trades.decision += [self._crosses.get((effect.sample, effect.symbol), price)] * len(bought)
            trades.arrival += [price] * len(bought)
        else:  # lots in kind, from outside or from another book
            lot_nano = self.universe.lot_nano
            prices = [-move.amount_micro * 1_000 / (move.lots * lot_nano[move.symbol]) for move in bought]
            trades.decision += prices
            trades.arrival += prices

    def _decisions(self, fill: Filled) -> list[float]:
        """Return the price at which each order of a fill was decided; NaN where it is unknown.

        It is unknown for a basket that is not stored, and for a stop order, which trades when the market reaches its
        trigger, not by a decision.
        """
        sent = self._sent.get((fill.sample, fill.n))
        if sent is None or sent.kind == Kind.STOP:
            return [np.nan] * len(fill.sym)
        rows = [sent.rows.get(symbol) for symbol in fill.sym]
        return [np.nan if row is None else float(sent.prices[row]) for row in rows]

    def _set_arrivals(self, market: MarketSlice) -> None:
        """Set the arrival prices of the fills that waited for this bar."""
        still_waiting, fresh_bars = [], market.fresh
        for fills in self._waiting:
            fresh = fresh_bars[fills.symbols]
            if not fresh.all():
                key, *columns = fills
                still_waiting.append(_Waiting(key, *(column[~fresh] for column in columns)))
            arrivals = self._arrivals(fills.key, fills.symbols[fresh], fills.lots[fresh], market)
            for row, nano in zip(fills.rows[fresh].tolist(), arrivals, strict=True):
                self._trades.arrival[row] = nano / NANO
        self._waiting = still_waiting

    def _arrivals(self, key: tuple[int, int], symbols: Ints, lots: Ints, market: MarketSlice) -> list[int]:
        """Return the prices in nano-currency when orders met the market: the opens of their bars. For an auction at the
        close it is the close, for a stop the trigger or a worse open. The open also counts where the basket is no
        longer stored."""
        opens, sent = market.open_nano[symbols].tolist(), self._sent.get(key)
        if sent is None:
            return opens
        if sent.kind == Kind.CLOSE:
            return market.close_nano[symbols].tolist()
        if not sent.triggers:
            return opens
        triggers = [sent.triggers.get(symbol, 0) for symbol in symbols.tolist()]
        return [
            opened if not trigger else max(opened, trigger) if side > 0 else min(opened, trigger)
            for opened, trigger, side in zip(opens, triggers, lots.tolist(), strict=True)
        ]

    def _note_action(self, action: Action) -> None:
        """Record a dividend, a delisting or a split, per share held at the last sample."""
        symbol, interval = action.symbol, len(self._days)
        # splits of this interval may precede the action
        per_share = action.cash_nano / NANO * float(self._new_shares[symbol])
        if action.kind == "split":
            self._actions.append((interval, symbol, action.numerator / action.denominator, 0.0))
            self._rescale(symbol, action.numerator, action.denominator)
        else:
            self._actions.append((interval, symbol, 1.0 if action.kind == "dividend" else 0.0, per_share))

    def _rescale(self, symbol: int, numerator: int, denominator: int) -> None:
        """Convert the stored decision and trigger prices of a symbol to prices per new share."""
        self._new_shares[symbol] *= numerator / denominator
        factor = denominator / numerator
        for prices in self._parents.values():
            prices[symbol] *= factor
        for basket in self._sent.values():
            if symbol in basket.rows:
                basket.prices[basket.rows[symbol]] *= factor
            if symbol in basket.triggers:
                basket.triggers[symbol] = basket.triggers[symbol] * denominator // numerator

    def _share_borrow(self, index: int, charged: int) -> None:
        """Record a book's borrow fee (micro-currency), divided among its short positions in proportion to their
        value."""
        lots = self._lots[index]
        short_value = np.minimum(lots, 0) * (self._movements.marks_nano / NANO) * self.universe.lot_size
        amounts = short_value / short_value.sum() * (charged / MICRO)
        kind = BOOKINGS.index("borrow")
        for symbol in np.flatnonzero(short_value).tolist():
            self._bookings.append((len(self._days), index, symbol, kind, float(amounts[symbol])))

    def _valued(self, event: Event, valued: Valued) -> None:
        """Record a sample. Raises LedgerBroken where an equity differs from the engine's."""
        lots, marks_nano = self._lots, self._movements.marks_nano
        total = self._equity(lots.sum(axis=0), marks_nano, sum(self._cash))
        books = [self._equity(held, marks_nano, cash) for held, cash in zip(lots[:-1], self._cash, strict=False)]
        books.append(total - sum(books))  # the unallocated book takes the rest of the rounding
        if total != valued.equity_micro or books != list(valued.books):
            raise LedgerBroken(
                f"the history's books have {books} micro at the sample {valued.ts}, the engine's {valued.books}"
            )
        key = cast(Tick, event).key
        self._days.append(key - key % DAY_NS)
        self._samples.append((lots, marks_nano, books, list(self._flows), list(self._moved)))
        if len(self._trades) > MAX_OBJECTS:
            self._settle()
        self._new_shares = np.ones_like(self._new_shares)

    def _equity(self, lots: Ints, marks_nano: Ints, cash_micro: int) -> int:
        """Return cash and positions in micro-currency, rounded half-even once, as the ledger does."""
        held, lot_nano = np.flatnonzero(lots), self.universe.lot_nano
        atto = sum(int(lots[k]) * lot_nano[k] * int(marks_nano[k]) for k in held.tolist())
        return round_micro(cash_micro * ATTO_PER_MICRO + atto)[0]


def _keep(entries: "OrderedDict[Key, Value]", key: Key, value: Value, limit: int) -> None:
    """Add a value, and drop the oldest one where there are more than `limit`."""
    entries[key] = value
    if len(entries) > limit:
        entries.popitem(last=False)
