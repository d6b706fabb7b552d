"""A log that builds the history of a backtest's books while it runs.

What can go wrong: a book gets another part of a fill, a cross or a dividend than the engine has booked. So the log
keeps an exact ledger of its own, and compares it with the engine at each sample. It refuses to go on where the two
differ. A run whose venue pays dividends itself is refused, because its effects lack them.

A symbol that the run holds after a jump of its price has the engine's mark, the worse of two prices.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar, cast

import numpy as np

from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.runtime.step_log import Log
from quantd.research.attribution.book_history import ACCOUNT, BOOKINGS, Actions, BookHistory, Bookings, Trades
from quantd.trading.effects import Ask, Booked, Crossed, Effect, Filled, Planned, Reallocated, Transferred, Valued
from quantd.trading.events import Action, Decided, Event, Flow, Tick, split_of
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.ledger.books import Ledger
from quantd.trading.ledger.errors import LedgerBroken
from quantd.trading.market import Floats, Ints, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import Kind, OrderBasket
from quantd.trading.sessions import DAY_NS

Key = TypeVar("Key")
Value = TypeVar("Value")

BASKETS_KEPT: Final = 4_096
"""Baskets whose decision prices are kept. A fill of an older basket counts as decided at the open of its bar."""

PARENTS_KEPT: Final = 64
"""Plans of parent orders that are kept; a parent order ends with its session."""


class _Sent(NamedTuple):
    """The columns of a basket, their decision prices, and the trigger price in nano by column for stop orders."""

    columns: list[int]
    prices: Floats
    kind: int
    triggers: dict[int, int]


class _Trade(NamedTuple):
    """One booked trade. `key` is its basket; None for a cross."""

    interval: int
    agent: int
    symbol: int
    lots: int
    amount_micro: int
    fee_micro: int
    decision: float
    key: tuple[int, int] | None


class BookHistoryLog:
    """Builds a `BookHistory` from the steps of a run, and passes every step on.

    The log posts fills, crosses, corporate actions, accruals and flows to its own ledger. Amounts of each book are
    therefore exact. At each sample the equities of its books must equal those of the engine.

    `rules` are those of the run at its start. A run whose venue pays dividends itself, or that continues another
    account, is refused. Raises LedgerBroken where the two ledgers differ,
    and ValueError where the venue pays dividends.
    """

    rows_only: bool = False

    def __init__(self, rules: Rules, after: Log | None = None) -> None:
        if rules.venue_pays:
            raise ValueError("the venue of this run pays dividends itself; its history is not in the effects")
        self.universe, self._rules, self._after = rules.universe, rules, after
        size = self.universe.size
        self._ledger = Ledger(rules.universe, tuple(agent.name for agent in rules.agents))
        self._ledger.deposit(rules.cash_micro)
        for number, agent in enumerate(rules.agents):
            self._ledger.allocate(number, agent.capital_micro)
        self._marks_nano: Ints = np.zeros(size, dtype=np.int64)
        self._held: dict[int, PriceHold] = {}
        """The symbols that the run holds after a jump of their price: marked at the worse of two prices."""
        self._accrued_key = 0
        self._balances: list[int] = []
        self._sent: OrderedDict[tuple[int, int], _Sent] = OrderedDict()
        self._parents: OrderedDict[int, Floats] = OrderedDict()
        self._crosses: OrderedDict[tuple[int, int], float] = OrderedDict()
        self._plan: Planned | None = None
        self._split: Floats = np.ones(size)
        """New shares per share held at the last sample."""
        self._days: list[int] = []
        self._samples: list[tuple[Ints, Ints, list[int], Ints]] = []
        self._own_marks: list[Ints] = []
        """The marks of the samples, with the closes of their dates that came after them."""
        self._trades: list[_Trade] = []
        self._arrivals: list[float] = []
        self._waiting: list[int] = []
        """Trades whose bar has not arrived."""
        self._bookings: list[tuple[int, int, int, int, float]] = []
        self._actions: list[tuple[int, int, float, float]] = []

    def _amounts(self, name: str) -> Ints:
        """Return the amount `name` of each book in micro-currency, int64[books]."""
        return np.array([getattr(book, name) for book in self._ledger.books])

    @property
    def _cash(self) -> Ints:
        return self._amounts("cash_micro")

    @property
    def _lots(self) -> Ints:
        """The signed lots of each book, int64[books, N]."""
        return np.array([book.held for book in self._ledger.books])

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer of the log behind it; None without such a log."""
        return self._after.answer(ask) if self._after is not None else None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Apply a step to the history: corporate actions, plans, baskets, fills, crosses, bookings, transfers and
        valuations. The step is then passed on."""
        if type(event) is Action:
            self._act_on_held(event) if event.symbol in self._held else self._act(event)
        elif type(event) is PriceJumped:
            self._hold(event)
        elif type(event) is JumpExplained and event.symbol in self._held:
            self._release(event.symbol, split_of(event))
        for effect in effects:
            match effect:
                case Planned():
                    self._planned(effect)
                case OrderBasket():
                    self._basket(effect)
                case Filled():
                    self._filled(effect)
                case Crossed():
                    self._crossed(effect)
                case Booked():
                    self._booked(event, effect)
                case Reallocated():
                    self._ledger.transfer(effect.moved)
                case Transferred():
                    self._transferred(effect)
                case Valued():
                    self._valued(event, effect)
                case _:
                    pass
        if type(event) is MarketSlice:
            self._mark(event)
        elif type(event) is Tick and event.sample and not event.warmup:
            self._accrued_key = event.key - event.key % DAY_NS
            if event.cash_rate is not None:
                self._balances = self._cash.tolist()
        if self._after is not None:
            self._after.add(event, effects)

    def history(self) -> BookHistory:
        """Return the history up to the last sample. Raises ValueError before the first one."""
        if not self._days:
            raise ValueError("the run has no sample")
        lots, sample_marks, equity, flows = (np.array(part) for part in zip(*self._samples, strict=True))
        marks, last = np.array(self._own_marks), len(self._days) - 1
        quantity = lots * self.universe.lot_size
        later = np.einsum("tan,tn->ta", quantity, np.where(sample_marks > 0, marks - sample_marks, 0) / NANO)
        return BookHistory(
            days_ns=np.array(self._days, dtype=np.int64),
            agents=tuple(self._ledger.names),
            symbols=self.universe.symbols,
            sectors=self.universe.sectors,
            quantity=quantity,
            mark=np.where(marks > 0, marks / NANO, np.nan),
            book_equity=equity / MICRO + later,
            book_flows=flows / MICRO,
            trades=self._columns(last),
            bookings=Bookings.of([row for row in self._bookings if 1 <= row[0] <= last]),
            actions=Actions.of([row for row in self._actions if 1 <= row[0] <= last]),
        )

    def _columns(self, last: int) -> Trades:
        """The trades of the intervals 1 to `last`. A price is the booked cash per unit, rounding included."""
        raw = self._trades or [_Trade(0, 0, 0, 1, 0, 0, 0.0, None)]  # a row outside the intervals
        interval, agent, symbol, lots, amount, fee, decision, key = map(list, zip(*raw, strict=True))
        columns = np.array(symbol, dtype=np.int64)
        quantity = np.array(lots, dtype=np.float64) * self.universe.lot_size[columns]
        decided, arrival = np.array(decision), np.array(self._arrivals or [0.0])
        trades = Trades(
            interval=np.array(interval, dtype=np.int64),
            agent=np.array(agent, dtype=np.int64),
            symbol=columns,
            quantity=quantity,
            price=-np.array(amount) / MICRO / quantity,
            decision=np.where(np.isfinite(decided), decided, arrival),
            arrival=arrival,
            fee=np.array(fee) / MICRO,
            crossed=np.array([fill_key is None for fill_key in key], dtype=np.bool_),
        )
        return trades.rows((trades.interval >= 1) & (trades.interval <= last))

    def _planned(self, plan: Planned) -> None:
        """Record the decision prices of crosses and of parent orders."""
        self._plan = plan
        prices = np.frombuffer(plan.prices, dtype="<f8")
        for symbol in np.flatnonzero(np.frombuffer(plan.crossed, dtype="<i8")).tolist():
            _keep(self._crosses, (plan.sample, symbol), float(prices[symbol]), BASKETS_KEPT)
        if plan.portion is not None and not plan.portion.decided:
            _keep(self._parents, plan.ts, prices.copy(), PARENTS_KEPT)

    def _basket(self, basket: OrderBasket) -> None:
        """Record the decision prices of a basket's columns."""
        plan = self._plan
        if plan is None or (plan.sample, plan.n) != (basket.sample, basket.n):
            return
        prices = np.frombuffer(plan.prices, dtype="<f8")
        if plan.portion is not None and plan.portion.decided:
            prices = self._parents.get(plan.portion.decided, prices)
        kind = basket.kind[0] if basket.kind else Kind.LIMIT
        triggers = dict(zip(basket.sym, basket.stop_nano, strict=True)) if kind == Kind.STOP else {}
        sent_basket = _Sent(list(basket.sym), prices[basket.sym], kind, triggers)
        _keep(self._sent, (basket.sample, basket.n), sent_basket, BASKETS_KEPT)

    def _filled(self, fill: Filled) -> None:
        """Post fills row by row, as the rows are rounded, and read each book's cash and fee from the ledger."""
        key = fill.sample, fill.n
        sent = self._sent.get(key)
        for symbol, lots, price, fee, shares in zip(
            fill.sym, fill.lots, fill.price_nano, fill.fee_micro, fill.shares, strict=True
        ):
            cash, fees = self._cash, self._amounts("fees_micro")
            self._ledger.fills([symbol], [lots], [price], [fee], [shares])
            paid = self._amounts("fees_micro") - fees
            moved = self._cash - cash + paid
            has_decision = sent is not None and sent.kind != Kind.STOP and symbol in sent.columns
            decision = float(sent.prices[sent.columns.index(symbol)]) if sent is not None and has_decision else np.nan
            for agent, part in shares:
                self._waiting.append(len(self._trades))
                self._arrivals.append(price / NANO)
                amounts = int(moved[agent]), int(paid[agent])
                self._trades.append(_Trade(len(self._days), agent, symbol, part, *amounts, decision, key))

    def _crossed(self, cross: Crossed) -> None:
        cash = self._cash
        self._ledger.cross(cross.symbol, cross.price_nano, cross.shares)
        moved, price = self._cash - cash, cross.price_nano / NANO
        decision = self._crosses.get((cross.sample, cross.symbol), price)
        for agent, lots in cross.shares:
            amount = int(moved[agent])
            self._trades.append(_Trade(len(self._days), agent, cross.symbol, lots, amount, 0, decision, None))
            self._arrivals.append(price)

    def _mark(self, market: MarketSlice) -> None:
        """Set the arrival prices of fills in this bar, then the marks."""
        waiting = []
        for number in self._waiting:
            trade = self._trades[number]
            if not market.fresh[trade.symbol]:
                waiting.append(number)
                continue
            self._arrivals[number] = self._arrival(trade, market)
        self._waiting = waiting
        closes = market.close_nano
        if self._days and self._rules.daily and market.key == self._days[-1]:
            self._own_marks[-1] = np.where(market.fresh, closes, self._own_marks[-1])
        self._marks_nano = closes if market.full else np.where(market.fresh, closes, self._marks_nano)
        for symbol, hold in self._held.items():
            if market.fresh[symbol]:
                hold.newest_nano = int(closes[symbol])
            self._set_mark(symbol, hold.worse_nano(self._ledger.house.held[symbol]))

    def _hold(self, jump: PriceJumped) -> None:
        """Mark a symbol as the engine does while it is held."""
        if jump.symbol not in self._held:
            self._held[jump.symbol] = PriceHold.of(jump)
        hold = self._held[jump.symbol]
        self._set_mark(jump.symbol, hold.worse_nano(self._ledger.house.held[jump.symbol]))

    def _release(self, symbol: int, split: Action | None) -> None:
        """End a hold at the newest price, with the split that explains it, if any."""
        hold = self._held.pop(symbol)
        self._set_mark(symbol, hold.before_nano)
        if split is not None:
            self._act(split)
        self._set_mark(symbol, hold.newest_nano)

    def _act_on_held(self, action: Action) -> None:
        """Post a corporate action of a held symbol."""
        hold = self._held[action.symbol]
        if action.kind == "split" and hold.explained_by(action):
            self._release(action.symbol, action)
            return
        if action.kind == "split":
            hold.split(action.numerator, action.denominator)
        elif action.kind == "delisting":
            del self._held[action.symbol]
        self._act(action)

    def _set_mark(self, symbol: int, nano: int) -> None:
        self._marks_nano = self._marks_nano.copy()
        self._marks_nano[symbol] = nano

    def _arrival(self, trade: _Trade, market: MarketSlice) -> float:
        """The price at which an order met its market: the open; for an auction at the close, the close; for a stop, its
        trigger, or the open beyond it."""
        opened = int(market.open_nano[trade.symbol])
        sent = self._sent.get(trade.key) if trade.key is not None else None
        if sent is None:
            return opened / NANO
        if sent.kind == Kind.CLOSE:
            return int(market.close_nano[trade.symbol]) / NANO
        if trigger := sent.triggers.get(trade.symbol, 0):
            return (max if trade.lots > 0 else min)(opened, trigger) / NANO
        return opened / NANO

    def _act(self, action: Action) -> None:
        """Post a corporate action, with each book's cash from it."""
        symbol, interval, cash = action.symbol, len(self._days), self._cash
        per_share = action.cash_nano / NANO * float(self._split[symbol])
        if action.kind == "dividend":
            self._ledger.dividend(symbol, action.cash_nano)
            self._actions.append((interval, symbol, 1.0, per_share))
            self._book("dividend", symbol, cash)
            return
        marks = self._marks_nano.copy()
        if action.kind == "delisting":
            marks[symbol] = 0
            self._ledger.delist(symbol, action.cash_nano)
            self._actions.append((interval, symbol, 0.0, per_share))
            self._book("delisting", symbol, cash)
        else:
            numerator, denominator = action.numerator, action.denominator
            marks[symbol] = int(marks[symbol]) * denominator // numerator
            self._ledger.split(symbol, numerator, denominator, int(marks[symbol]))
            self._actions.append((interval, symbol, numerator / denominator, 0.0))
            self._book("cash_in_lieu", symbol, cash)
            self._rescale(symbol, numerator, denominator)
        self._marks_nano = marks

    def _rescale(self, symbol: int, numerator: int, denominator: int) -> None:
        """Convert decision and trigger prices from before a split to those after it."""
        self._split[symbol] *= numerator / denominator
        factor = denominator / numerator
        for prices in self._parents.values():
            prices[symbol] *= factor
        for sent in self._sent.values():
            if symbol in sent.columns:
                sent.prices[sent.columns.index(symbol)] *= factor
            if symbol in sent.triggers:
                sent.triggers[symbol] = sent.triggers[symbol] * denominator // numerator

    def _booked(self, event: Event, booked: Booked) -> None:
        """Post an accrual or a flow, with each book's part. Corporate actions are posted before."""
        cash = self._cash
        match event:
            case Tick() if booked.kind in ("borrow", "interest"):
                days = (event.key - self._accrued_key) // DAY_NS
                if booked.kind == "interest":
                    change = self._ledger.interest(self._balances, event.cash_rate or 0, days)
                    self._book("interest", ACCOUNT, cash)
                else:
                    change = self._ledger.borrow(self._marks_nano.tolist(), self._rules.borrow_bp_annual, days)
                    self._share_borrow(self._cash - cash)
                if change != booked.amount_micro:
                    raise LedgerBroken(f"{booked.kind} of {booked.amount_micro} micro; the history has {change}")
            case Flow() if booked.kind in ("dividend", "fee", "interest"):
                held = self._lots[:, booked.symbol].tolist() if booked.symbol >= 0 else []
                parts = [(book, lots) for book, lots in enumerate(held) if lots] if booked.kind == "dividend" else []
                if booked.book >= 0:  # units of a coin: the income of one book
                    parts = [(booked.book, 1)]
                self._ledger.income(booked.amount_micro, parts)
                self._book(booked.kind, booked.symbol, cash)
            case _ if booked.kind == "flow":
                self._ledger.deposit(booked.amount_micro, booked.book)
            case _ if booked.kind == "in_kind":
                self._in_kind(booked)
            case _:
                pass

    def _transferred(self, moved: Transferred) -> None:
        """Post cash and lots that one book gave to another: a trade of each without costs, at the mark."""
        self._ledger.hand_over(moved.source, moved.target, moved.cash_micro, moved.lots)
        for symbol, lots, value in moved.lots:
            decision = value * 1_000 / (lots * self.universe.lot_nano[symbol])
            for book, sign in ((moved.source, -1), (moved.target, 1)):
                number = book % len(self._ledger.books)
                self._trades.append(
                    _Trade(len(self._days), number, symbol, sign * lots, -sign * value, 0, decision, None)
                )
                self._arrivals.append(decision)

    def _in_kind(self, booked: Booked) -> None:
        """Post lots that arrived at their mark: a flow of their value, and a trade without costs."""
        symbol, price = booked.symbol, int(self._marks_nano[booked.symbol])
        lots = round(booked.amount_micro * 1_000 * NANO / (price * self.universe.lot_nano[symbol])) if price else 0
        if not lots:
            return
        book = booked.book % len(self._ledger.books)
        self._ledger.in_kind(symbol, lots, booked.amount_micro, booked.book)
        decision = booked.amount_micro * 1_000 / (lots * self.universe.lot_nano[symbol])
        self._trades.append(_Trade(len(self._days), book, symbol, lots, -booked.amount_micro, 0, decision, None))
        self._arrivals.append(decision)

    def _share_borrow(self, charged: Ints) -> None:
        """Divide each book's borrow fee among its short positions in proportion to their value."""
        value = np.minimum(self._lots, 0) * (self._marks_nano / NANO) * self.universe.lot_size
        short_value = value.sum(axis=1, keepdims=True)
        part = (
            np.divide(value, short_value, out=np.zeros_like(value), where=short_value != 0.0)
            * (charged / MICRO)[:, None]
        )
        agents, symbols = np.nonzero(part)
        rows = zip(agents.tolist(), symbols.tolist(), part[agents, symbols].tolist(), strict=True)
        kind = BOOKINGS.index("borrow")
        self._bookings.extend((len(self._days), agent, symbol, kind, amount) for agent, symbol, amount in rows)

    def _book(self, kind: str, symbol: int, before: Ints) -> None:
        """Record the change of each book's cash since `before`."""
        moved = self._cash - before
        number = BOOKINGS.index(kind)
        self._bookings.extend(
            (len(self._days), agent, symbol, number, int(moved[agent]) / MICRO)
            for agent in np.flatnonzero(moved).tolist()
        )

    def _valued(self, event: Event, valued: Valued) -> None:
        """Record a sample. Raises LedgerBroken where an equity is not the engine's."""
        total, books = self._ledger.equity(self._marks_nano)
        if total != valued.equity_micro or books != valued.books:
            raise LedgerBroken(
                f"the history's books have {books} micro at the sample {valued.ts}, the engine's {valued.books}"
            )
        key = cast(Tick, event).key
        self._days.append(key - key % DAY_NS)
        self._samples.append((self._lots, self._marks_nano, books, self._amounts("flows_micro")))
        self._own_marks.append(self._marks_nano)
        self._split = np.ones_like(self._split)


def _keep(kept: "OrderedDict[Key, Value]", key: Key, value: Value, most: int) -> None:
    """Add a value, and drop the oldest beyond `most`."""
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
