"""A log that builds the history of a backtest's books while it runs.

What can go wrong: the history gives a book (an agent's part of the account) another share of a fill, a cross or a
dividend than the engine has booked. So the log keeps an exact ledger of its own, and compares its equities with the
engine's at each sample. It raises LedgerBroken where they differ. A run whose venue pays dividends itself is refused,
because the effects of its steps do not contain these dividends.

A symbol is on hold while a jump of its price is not explained. Meanwhile the log values it as the engine does: at the
worse of the last price before the jump and the newest price.
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

MAX_BASKETS: Final = 4_096
"""Number of newest baskets whose decision prices are stored. Fills of older baskets count as decided on arrival."""

MAX_PARENTS: Final = 64
"""Number of newest parent orders whose decision prices are stored. A parent order ends with its session."""


class _SentBasket(NamedTuple):
    """A basket of orders: the indices of its symbols, decision prices, the kind of order, and stop prices by index."""

    columns: list[int]
    prices: Floats
    kind: int
    triggers: dict[int, int]


class _Trade(NamedTuple):
    """One booked trade of one agent, with signed lots.

    `interval` is the number of samples before the trade. `agent` and `symbol` are indices. `amount_micro` is the cash
    received, negative for a purchase, before the fee. `decision` is a price per unit, NaN where it is unknown. `key`
    identifies the order's basket by (sample, number); it is None for a trade without an order: a cross, a transfer, or
    lots that arrived in kind.
    """

    interval: int
    agent: int
    symbol: int
    lots: int
    amount_micro: int
    fee_micro: int
    decision: float
    key: tuple[int, int] | None


class BookHistoryLog:
    """Builds a `BookHistory` from the steps of a run, and passes every step on to the log `after`.

    The log posts fills, crosses (trades between agents), corporate actions, accruals (interest, borrow fees) and flows
    (deposits, withdrawals) to its own ledger. The amounts of each book (an agent's part of the account) are therefore
    exact. At each sample the equities of its books must equal the engine's.

    `rules` are the run's rules at its start. Raises ValueError where the venue pays dividends itself, and LedgerBroken
    where the log's ledger and the engine's differ, as in a run that continues another account.
    """

    rows_only: bool = False

    def __init__(self, rules: Rules, after: Log | None = None) -> None:
        """Begins with the cash and the capital of each agent in `rules`. Each step is passed on to the log `after`."""
        if rules.venue_pays:
            raise ValueError(
                "the venue of this run pays dividends itself, which its steps do not record, so that no "
                "history of its books can be built"
            )
        self.universe, self._rules, self._after = rules.universe, rules, after
        size = self.universe.size
        self._ledger = Ledger(rules.universe, tuple(agent.name for agent in rules.agents))
        self._ledger.deposit(rules.cash_micro)
        for book, agent in enumerate(rules.agents):
            self._ledger.allocate(book, agent.capital_micro)
        self._marks_nano: Ints = np.zeros(size, dtype=np.int64)
        self._holds: dict[int, PriceHold] = {}
        """The symbols on hold after a jump of their price, by column."""
        self._accrued_key = 0
        """The date (ns at 00:00 UTC) up to which interest and borrow fees are posted."""
        self._balances: list[int] = []
        """The cash of each book at the last sample, in micro-currency, which earns the next interest."""
        self._sent: OrderedDict[tuple[int, int], _SentBasket] = OrderedDict()
        """The newest baskets, by (sample, n)."""
        self._parents: OrderedDict[int, Floats] = OrderedDict()
        """Decision prices float64[N] of parent orders, by the instant of their plan."""
        self._crosses: OrderedDict[tuple[int, int], float] = OrderedDict()
        """Decision prices of crosses, by (sample, column)."""
        self._plan: Planned | None = None
        """The newest plan, to which the next baskets belong."""
        self._new_shares: Floats = np.ones(size)
        """New shares per share held at the last sample."""
        self._days: list[int] = []
        """The dates of the samples so far (ns at 00:00 UTC); their number is the index of the present interval."""
        self._samples: list[tuple[Ints, Ints, list[int], Ints]] = []
        """(lots, marks, equities and flows of the books) at each sample."""
        self._trades: list[_Trade] = []
        self._arrivals: list[float] = []
        """The arrival price of each trade."""
        self._waiting_trades: list[int] = []
        """The indices of trades whose bar has not arrived."""
        self._bookings: list[tuple[int, int, int, int, float]] = []
        """(interval, book, column or ACCOUNT, index in BOOKINGS, amount in currency)."""
        self._actions: list[tuple[int, int, float, float]] = []
        """(interval, column, new shares per old share, cash per share)."""

    def _amounts(self, name: str) -> Ints:
        """Return the attribute `name` of each book, an amount in micro-currency such as `cash_micro`, int64[books]."""
        return np.array([getattr(book, name) for book in self._ledger.books])

    @property
    def _cash(self) -> Ints:
        """The cash of each book in micro-currency, int64[books]."""
        return self._amounts("cash_micro")

    @property
    def _lots(self) -> Ints:
        """The signed lots of each book, int64[books, N]."""
        return np.array([book.held for book in self._ledger.books])

    def answer(self, ask: Ask) -> Decided | None:
        """Return the decision that the log `after` has for the question `ask`; None without a log `after`."""
        return self._after.answer(ask) if self._after is not None else None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Apply a step to the history: corporate actions, plans, baskets, fills, crosses, bookings, transfers and
        valuations. The step is then passed on."""
        # the amount for each book is not in the effects, so actions are posted from the event
        if type(event) is Action:
            self._act_on_hold(event) if event.symbol in self._holds else self._act(event)
        elif type(event) is PriceJumped:
            self._hold(event)
        elif type(event) is JumpExplained and event.symbol in self._holds:
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
            # after the effects: the interest of this sample was earned by the balances of the last one
            self._accrued_key = event.key - event.key % DAY_NS
            if event.cash_rate is not None:
                self._balances = self._cash.tolist()
        if self._after is not None:
            self._after.add(event, effects)

    def history(self) -> BookHistory:
        """Return the history up to the last sample. Raises ValueError before the first one."""
        if not self._days:
            raise ValueError("the run has no sample")
        lots, marks, equity, flows = (np.array(column) for column in zip(*self._samples, strict=True))
        last_interval = len(self._days) - 1
        return BookHistory(
            days_ns=np.array(self._days, dtype=np.int64),
            agents=tuple(self._ledger.names),
            symbols=self.universe.symbols,
            sectors=self.universe.sectors,
            quantity=lots * self.universe.lot_size,
            mark=np.where(marks > 0, marks / NANO, np.nan),
            book_equity=equity / MICRO,
            book_flows=flows / MICRO,
            trades=self._trade_columns(last_interval),
            bookings=Bookings.of([row for row in self._bookings if 1 <= row[0] <= last_interval]),
            actions=Actions.of([row for row in self._actions if 1 <= row[0] <= last_interval]),
        )

    def _trade_columns(self, last: int) -> Trades:
        """Return the trades of the intervals 1 to `last`. A price is the booked cash per unit, rounding included."""
        raw = self._trades or [_Trade(0, 0, 0, 1, 0, 0, 0.0, None)]  # a placeholder that the last line removes
        interval, agent, symbol, lots, amount, fee, decision, basket_keys = map(list, zip(*raw, strict=True))
        symbol_index = np.array(symbol, dtype=np.int64)
        quantity = np.array(lots, dtype=np.float64) * self.universe.lot_size[symbol_index]
        decision_prices, arrival = np.array(decision), np.array(self._arrivals or [0.0])
        trades = Trades(
            interval=np.array(interval, dtype=np.int64),
            agent=np.array(agent, dtype=np.int64),
            symbol=symbol_index,
            quantity=quantity,
            price=-np.array(amount) / MICRO / quantity,
            decision=np.where(np.isfinite(decision_prices), decision_prices, arrival),
            arrival=arrival,
            fee=np.array(fee) / MICRO,
            crossed=np.array([basket_key is None for basket_key in basket_keys], dtype=np.bool_),
        )
        return trades.rows((trades.interval >= 1) & (trades.interval <= last))

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
        sent_basket = _SentBasket(list(basket.sym), prices[basket.sym], kind, triggers)
        _keep(self._sent, (basket.sample, basket.n), sent_basket, MAX_BASKETS)

    def _filled(self, fill: Filled) -> None:
        """Post fills row by row, because each row is rounded, and read each book's cash and fee from the ledger."""
        key = fill.sample, fill.n
        sent = self._sent.get(key)  # the stored basket, None if it was not stored
        for symbol, lots, price, fee, shares in zip(
            fill.sym, fill.lots, fill.price_nano, fill.fee_micro, fill.shares, strict=True
        ):
            cash_before, fees_before = self._cash, self._amounts("fees_micro")
            self._ledger.fills([symbol], [lots], [price], [fee], [shares])
            fees_paid = self._amounts("fees_micro") - fees_before
            cash_change = self._cash - cash_before + fees_paid
            # NaN, no decision price: a basket that is not stored, and a stop order, which trades when the market
            # reaches its trigger, not by a decision
            has_decision = sent is not None and sent.kind != Kind.STOP and symbol in sent.columns
            decision = float(sent.prices[sent.columns.index(symbol)]) if sent is not None and has_decision else np.nan
            for agent, agent_lots in shares:
                self._waiting_trades.append(len(self._trades))
                self._arrivals.append(price / NANO)  # `_mark` replaces it when the bar arrives
                amounts = int(cash_change[agent]), int(fees_paid[agent])
                self._trades.append(_Trade(len(self._days), agent, symbol, agent_lots, *amounts, decision, key))

    def _crossed(self, cross: Crossed) -> None:
        """Post lots that agents trade with each other at one price."""
        cash_before = self._cash
        self._ledger.cross(cross.symbol, cross.price_nano, cross.shares)
        cash_change, price = self._cash - cash_before, cross.price_nano / NANO
        decision = self._crosses.get((cross.sample, cross.symbol), price)
        for agent, lots in cross.shares:
            amount = int(cash_change[agent])
            self._trades.append(_Trade(len(self._days), agent, cross.symbol, lots, amount, 0, decision, None))
            self._arrivals.append(price)

    def _mark(self, market: MarketSlice) -> None:
        """Set the arrival prices of the fills that waited for this bar, then the marks.

        A symbol on hold after a price jump is marked at the worse of its old and new price for the position.
        """
        still_waiting = []
        for index in self._waiting_trades:
            trade = self._trades[index]
            if not market.fresh[trade.symbol]:
                still_waiting.append(index)
                continue
            self._arrivals[index] = self._arrival(trade, market)
        self._waiting_trades = still_waiting
        closes = market.close_nano
        self._marks_nano = closes if market.full else np.where(market.fresh, closes, self._marks_nano)
        for symbol, hold in self._holds.items():
            if market.fresh[symbol]:
                hold.newest_nano = int(closes[symbol])
            self._set_mark(symbol, hold.worse_nano(self._ledger.house.held[symbol]))

    def _hold(self, jump: PriceJumped) -> None:
        """Put a symbol on hold after a jump of its price, and mark it at the worse price, as the engine does."""
        if jump.symbol not in self._holds:
            self._holds[jump.symbol] = PriceHold.of(jump)
        hold = self._holds[jump.symbol]
        self._set_mark(jump.symbol, hold.worse_nano(self._ledger.house.held[jump.symbol]))

    def _release(self, symbol: int, split: Action | None) -> None:
        """End a hold after a price jump, and mark the symbol at the newest price. `split` explains the jump, if any."""
        hold = self._holds.pop(symbol)
        # a split converts the mark, and the newest price is one after the split
        self._set_mark(symbol, hold.before_nano)
        if split is not None:
            self._act(split)
        self._set_mark(symbol, hold.newest_nano)

    def _act_on_hold(self, action: Action) -> None:
        """Post a corporate action of a symbol on hold after a price jump.

        A split that explains the jump ends the hold.
        """
        hold = self._holds[action.symbol]
        if action.kind == "split" and hold.explained_by(action):
            self._release(action.symbol, action)
            return
        if action.kind == "split":
            hold.split(action.numerator, action.denominator)
        elif action.kind == "delisting":
            del self._holds[action.symbol]
        self._act(action)

    def _set_mark(self, symbol: int, nano: int) -> None:
        self._marks_nano = self._marks_nano.copy()  # stored samples have the earlier array
        self._marks_nano[symbol] = nano

    def _arrival(self, trade: _Trade, market: MarketSlice) -> float:
        """Return the price when an order met the market: the open of the bar. For an auction at the close it is the
        close, for a stop the trigger or a worse open. The open also counts where the basket is no longer stored."""
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
        """Post a dividend, a delisting or a split, and record the cash that each book gets from it."""
        symbol, interval, cash_before = action.symbol, len(self._days), self._cash
        # per share held at the last sample: splits of this interval may precede the action
        per_share = action.cash_nano / NANO * float(self._new_shares[symbol])
        if action.kind == "dividend":
            self._ledger.dividend(symbol, action.cash_nano)
            self._actions.append((interval, symbol, 1.0, per_share))
            self._record_cash_change("dividend", symbol, cash_before)
            return
        marks = self._marks_nano.copy()
        if action.kind == "delisting":
            marks[symbol] = 0
            self._ledger.delist(symbol, action.cash_nano)
            self._actions.append((interval, symbol, 0.0, per_share))
            self._record_cash_change("delisting", symbol, cash_before)
        else:
            numerator, denominator = action.numerator, action.denominator
            marks[symbol] = int(marks[symbol]) * denominator // numerator
            self._ledger.split(symbol, numerator, denominator, int(marks[symbol]))
            self._actions.append((interval, symbol, numerator / denominator, 0.0))
            self._record_cash_change("cash_in_lieu", symbol, cash_before)
            self._rescale(symbol, numerator, denominator)
        self._marks_nano = marks

    def _rescale(self, symbol: int, numerator: int, denominator: int) -> None:
        """Convert the stored decision and trigger prices of a symbol to prices per new share."""
        self._new_shares[symbol] *= numerator / denominator
        factor = denominator / numerator
        for prices in self._parents.values():
            prices[symbol] *= factor
        for basket in self._sent.values():
            if symbol in basket.columns:
                basket.prices[basket.columns.index(symbol)] *= factor
            if symbol in basket.triggers:
                basket.triggers[symbol] = basket.triggers[symbol] * denominator // numerator

    def _booked(self, event: Event, booked: Booked) -> None:
        """Post an accrual, an income or a flow with each book's part. `_act` has posted corporate actions already.

        An income of the venue has a `symbol` of -1 where it belongs to none, and a `book` of -1 for the whole account.
        Raises LedgerBroken where an accrual differs from the engine's.
        """
        cash_before = self._cash
        match event:
            case Tick() if booked.kind in ("borrow", "interest"):
                days = (event.key - self._accrued_key) // DAY_NS
                if booked.kind == "interest":
                    amount = self._ledger.interest(self._balances, event.cash_rate or 0, days)
                    self._record_cash_change("interest", ACCOUNT, cash_before)
                else:
                    amount = self._ledger.borrow(self._marks_nano.tolist(), self._rules.borrow_bp_annual, days)
                    self._share_borrow(self._cash - cash_before)
                if amount != booked.amount_micro:
                    raise LedgerBroken(
                        f"the engine has {booked.kind} of {booked.amount_micro} micro, the history {amount}"
                    )
            case Flow() if booked.kind in ("dividend", "fee", "interest"):
                lots_by_book = self._lots[:, booked.symbol].tolist() if booked.symbol >= 0 else []
                # without shares the unallocated book gets the whole amount
                shares = (
                    [(book, lots) for book, lots in enumerate(lots_by_book) if lots]
                    if booked.kind == "dividend"
                    else []
                )
                if booked.book >= 0:  # units of a coin: the income of one book
                    shares = [(booked.book, 1)]
                self._ledger.income(booked.amount_micro, shares)
                self._record_cash_change(booked.kind, booked.symbol, cash_before)
            case _ if booked.kind == "flow":
                self._ledger.deposit(booked.amount_micro, booked.book)
            case _ if booked.kind == "in_kind":
                self._in_kind(booked)
            case _:
                pass

    def _transferred(self, moved: Transferred) -> None:
        """Post cash and lots that moved between two books; each book trades the lots at the mark, without costs."""
        self._ledger.hand_over(moved.source, moved.target, moved.cash_micro, moved.lots)
        for symbol, lots, value in moved.lots:
            decision = value * 1_000 / (lots * self.universe.lot_nano[symbol])  # nano-currency over nano-units
            for book, sign in ((moved.source, -1), (moved.target, 1)):
                agent = book % len(self._ledger.books)  # -1 is the last book, the unallocated one
                self._trades.append(
                    _Trade(len(self._days), agent, symbol, sign * lots, -sign * value, 0, decision, None)
                )
                self._arrivals.append(decision)

    def _in_kind(self, booked: Booked) -> None:
        """Post lots deposited in kind: as a deposit of their value, and a purchase at the mark without costs."""
        symbol, price = booked.symbol, int(self._marks_nano[booked.symbol])
        lots = round(booked.amount_micro * 1_000 * NANO / (price * self.universe.lot_nano[symbol])) if price else 0
        if not lots:
            return
        book = booked.book % len(self._ledger.books)  # -1 is the last book, the unallocated one
        self._ledger.in_kind(symbol, lots, booked.amount_micro, booked.book)
        decision = booked.amount_micro * 1_000 / (lots * self.universe.lot_nano[symbol])
        self._trades.append(_Trade(len(self._days), book, symbol, lots, -booked.amount_micro, 0, decision, None))
        self._arrivals.append(decision)

    def _share_borrow(self, charged: Ints) -> None:
        """Record each book's borrow fee, divided among its short positions in proportion to their value.

        `charged` int64[books] is the change of cash by the fee, in micro-currency.
        """
        short_value = np.minimum(self._lots, 0) * (self._marks_nano / NANO) * self.universe.lot_size
        book_value = short_value.sum(axis=1, keepdims=True)
        amounts = (
            np.divide(short_value, book_value, out=np.zeros_like(short_value), where=book_value != 0.0)
            * (charged / MICRO)[:, None]
        )
        agents, symbols = np.nonzero(amounts)
        rows = zip(agents.tolist(), symbols.tolist(), amounts[agents, symbols].tolist(), strict=True)
        kind = BOOKINGS.index("borrow")
        self._bookings.extend((len(self._days), agent, symbol, kind, amount) for agent, symbol, amount in rows)

    def _record_cash_change(self, kind: str, symbol: int, cash_before: Ints) -> None:
        """Record the change of each book's cash since `cash_before`, int64[books], as bookings of one kind."""
        change = self._cash - cash_before
        kind_index = BOOKINGS.index(kind)
        self._bookings.extend(
            (len(self._days), agent, symbol, kind_index, int(change[agent]) / MICRO)
            for agent in np.flatnonzero(change).tolist()
        )

    def _valued(self, event: Event, valued: Valued) -> None:
        """Record a sample. Raises LedgerBroken where an equity differs from the engine's."""
        total, books = self._ledger.equity(self._marks_nano)
        if total != valued.equity_micro or books != valued.books:
            raise LedgerBroken(
                f"the history's books have {books} micro at the sample {valued.ts}, the engine's {valued.books}"
            )
        key = cast(Tick, event).key
        self._days.append(key - key % DAY_NS)
        self._samples.append((self._lots, self._marks_nano, books, self._amounts("flows_micro")))
        self._new_shares = np.ones_like(self._new_shares)


def _keep(entries: "OrderedDict[Key, Value]", key: Key, value: Value, limit: int) -> None:
    """Add a value, and drop the oldest one where there are more than `limit`."""
    entries[key] = value
    if len(entries) > limit:
        entries.popitem(last=False)
