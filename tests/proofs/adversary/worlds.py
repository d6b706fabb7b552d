"""Hostile policies through the whole engine: plans, agents' limits, crosses, the house's limits, fills, splits mid-way.

Each plan is judged, in the house's book and in each agent's, over every subset of what may fill; and after every fill
the books as the ledger has them are held to their limits at the marks of the plan.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import UNSET

from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.planning.plan import market_context
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import Correlation, Limits, Tail, override
from quantd.risk.pretrade.baskets import worst_nano
from quantd.trading.effects import Effect, Ended, Filled, Planned
from quantd.trading.events import Action, Event, Proposed, Reconciled, Reports, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import MarketSlice
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, OrderBasket, Wish
from quantd.trading.sessions import DAY_NS
from tests.proofs.adversary.arena import Tally
from tests.proofs.adversary.judge import fill_states
from tests.proofs.simulation.setting import HOUR, _policy
from tests.support.engine import START, World, block
from tests.support.fold import by_handlers
from tests.support.risk_books import CLOSE, Book, Orders, States, numerators, state_breaches

ROWS = 20
"""Samples that portfolio limits look back."""

OpenRow = tuple[int, float, float]


def drawn_limits(rng: np.random.Generator, fee_bp: float) -> Limits:
    """Limits that the bars of a small world can mean."""

    def some(low: float, high: float, chance: float = 0.4) -> float | None:
        return float(rng.uniform(low, high)) if rng.random() < chance else None

    def tail(low: float, high: float) -> Tail | None:
        limit = some(low, high, 0.3)
        return None if limit is None else Tail(limit=limit, lookback=ROWS, confidence=0.9)

    # drawn aside, so that all else is what it is without
    aside = rng.spawn(1)[0]
    return Limits(
        collar=float(rng.choice([0.03, 0.05])),
        fee_bp=fee_bp,
        in_flight=float(rng.choice([0.0, 0.0, 0.1, 1.0])),
        max_cash_debit=float(rng.choice([0.0, 0.0, 0.1, 1.0])),
        allow_short=bool(rng.random() < 0.6),
        min_history=5,
        volatility_lookback=ROWS,
        max_position_weight=some(0.1, 0.8),
        max_gross_exposure=some(0.5, 1.5),
        max_net_exposure=some(0.2, 1.2),
        max_leverage=some(1.0, 2.0),
        max_herfindahl=some(0.1, 1.0),
        max_order_notional=some(50_000.0, 500_000.0),
        max_volatility=some(0.05, 0.4),
        var=tail(0.005, 0.04),
        cvar=tail(0.005, 0.05),
        correlation=Correlation(0.5, joint_weight=float(rng.uniform(0.2, 0.8)), lookback=ROWS)
        if rng.random() < 0.3
        else None,
        extra=(("average_correlation", float(aside.uniform(0.05, 0.8))),) if aside.random() < 0.3 else UNSET,
    )


class Reference:
    """One book at its last plan: what was then held at which marks, and what each limit allows it to become."""

    def __init__(self, case: Book, orders: Orders) -> None:
        self.case = case
        fills = fill_states(np.random.default_rng(len(orders.lots)), case, orders, 0)
        base = States(case, orders, np.where(orders.adding, 0.0, fills), at_worst=True)
        self.before = {
            name: float(value.max(initial=0.0, where=value > bound * base.room * base.equity))
            for name, (value, bound) in numerators(case, base).items()
        }
        """The most that each limit measures in a state without the new orders that is beyond it."""
        self.matters = base.matters


class Held:
    """A book as the ledger has it, in the shape of one fill state."""

    def __init__(self, reference: Reference, lots: Sequence[int], cash: float) -> None:
        case = reference.case
        self.room = 1.0 + case.limits.in_flight
        self.exposure = np.array([lots], dtype=np.float64) * case.px
        self.cash = np.array([cash])
        self.equity = self.cash + self.exposure.sum(axis=1)
        self.traded = np.zeros(1)
        self.matters = reference.matters


@dataclass
class Sent:
    """One order that adds risk: unsigned lots that it may still be, what each can cost with fees, what has filled."""

    lots: int
    price: float
    filled: int = 0


class Watched(World):
    """A world that is judged after every step: handlers take its items. `folded` judges the columns."""

    def __init__(
        self, *given: Any, power: float | None = None, guest: np.random.Generator | None = None, **named: Any
    ) -> None:
        """`power`: what the venue lets be bought, as a share of equity, each time it is asked; None where it does not
        say. With `guest` the first agent is an outside one, which sends orders with prices of their own."""
        self.guest = guest
        if guest is not None:
            named["outside"] = (0,)
        self.tally = Tally()
        self.power = power
        self.said: float | None = None
        """What it let be bought when it was last asked, in account currency; None where that cannot be judged
        any more."""
        self.sent: dict[tuple[int, int, int], Sent] = {}
        """(sample, n, column) of what was bought or sold short since, or that the venue has not counted."""
        self.rows: dict[int, list[OpenRow]] = {}
        self.references: dict[int, Reference] = {}
        self.draw, self.ask = np.random.default_rng(0), np.random.default_rng(1)
        super().__init__(*given, **named)
        by_handlers(self.shell)

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        super().add(event, effects)
        self._buy(effects)
        books = [HOUSE, *range(len(self.rules.agents))]
        if isinstance(event, Action):
            self._adjust(event)
        elif isinstance(event, Reports | MarketSlice):
            for book in books:
                self._hold(book)
        planned = [e for e in effects if isinstance(e, Planned)]
        for plan in planned:
            net = np.frombuffer(plan.net, dtype=np.int64)
            self.tally.intents += int(np.count_nonzero(net))
            self.tally.reasons.update(np.frombuffer(plan.reason, dtype=np.int8)[net != 0].tolist())
            for part in plan.agents:
                asked = np.frombuffer(part.asked, dtype=np.int64)
                self.tally.intents += int(np.count_nonzero(asked))
                self.tally.reasons.update(np.frombuffer(part.reason, dtype=np.int8)[asked != 0].tolist())
        for book in books:
            rows = [row[:3] for row in self.shell.state.open_rows(book)]
            if planned:
                self._judge(book, *self._last_that_adds(book, rows, planned))
            elif isinstance(event, Tick) and not rows:
                self.references.pop(book, None)
            self.rows[book] = rows

    def run(self, items: Iterator[Item] | None = None) -> "Watched":
        """Take everything; every few instants the venue says what it lets be bought, some of what rests
        counted in it."""
        for item in items or self.items():
            if self.power is not None and isinstance(item, Tick) and self.ask.random() < 0.4:
                self._said(self.power)
            super().run(iter([item]))
            if self.guest is not None and isinstance(item, Tick) and item.sample and self.shell.state.round is None:
                for _ in range(int(self.guest.integers(0, 4))):
                    self._order(self.guest)
        return self

    def _order(self, guest: np.random.Generator) -> None:
        """An order of the guest, whole or not, at a price of its own near or far from the mark, or at none."""
        state = self.shell.state
        symbol = int(guest.integers(state.universe.size))
        mark, equity = float(state.marks[symbol]), state.books_micro[0] / MICRO
        if not np.isfinite(mark) or equity <= 0.0:
            return
        lots = round(guest.normal(0.0, 0.3) * equity / mark)
        if guest.random() < 0.3:
            lots = -round(state.lots(0)[symbol] * guest.uniform(0.3, 1.0))
        away = float(np.exp(guest.choice([-0.02, -0.1, -0.4, 0.02, 0.1, 0.4, 0.8])))
        price = int(mark * away * 100) * (NANO // 100) if guest.random() < 0.8 else 0
        end = int(guest.choice([0, THE_DAY, UNTIL_CANCELLED, state.now + 3 * DAY_NS]))
        self.tally.proposed += 1
        wish = Wish(symbol, lots, price if lots else 0, end if lots else 0)
        name, whole = str(self.tally.proposed), bool(guest.random() < 0.5)
        sent = Proposed(state.now, "a0", name, "fuzz", "me", orders=(wish,), whole=whole)
        effects = self.shell.run(sent)
        self.tally.rests += sum(
            isinstance(effect, OrderBasket) and bool(effect.cause) and price > 0 for effect in effects
        )

    def _said(self, power: float) -> None:
        state = self.shell.state
        self.said = max(0.0, power * state.equity_micro / MICRO)
        heard = tuple(key for key in {at[:2] for at in self.sent} if self.ask.random() < 0.7)
        self.sent = {at: order for at, order in self.sent.items() if at[:2] not in heard}
        house = state.ledger.house
        said = int(self.said * MICRO)
        self.shell.run(
            Reconciled(state.now, list(house.lots), house.cash_micro, buying_power_micro=said, counted=heard)
        )

    def _buy(self, effects: Sequence[Effect]) -> None:
        """What was sent that adds risk, at its limit or the mark with fees, less what ended unfilled, is within what
        the venue said."""
        if self.said is None:
            return
        state, adds = (
            self.shell.state,
            False,
        )  # what reduces is sent also where the venue says less than was sent before
        for effect in effects:
            if isinstance(effect, OrderBasket):
                for sym, lots, worst in zip(effect.sym, effect.lots, effect.worst_nano, strict=True):
                    if state.ledger.house.lots[sym] * lots >= 0:
                        price = max(worst / NANO, float(state.marks[sym])) * (1.0 + self.rules.house.fee_bp / 10_000)
                        self.sent[effect.sample, effect.n, sym] = Sent(abs(lots), price)
                        adds = True
            elif isinstance(effect, Filled):
                for sym, lots in zip(effect.sym, effect.lots, strict=True):
                    if (sent_order := self.sent.get((effect.sample, effect.n, sym))) is not None:
                        sent_order.filled += abs(lots)
            elif isinstance(effect, Ended):
                for sym in effect.sym:
                    if (sent_order := self.sent.get((effect.sample, effect.n, sym))) is not None:
                        sent_order.lots = sent_order.filled
        if adds:
            cost = sum(order.lots * order.price for order in self.sent.values())
            if cost > self.said + CLOSE * abs(self.said) + 0.01:
                self.tally.wrong.append(f"sent for {cost:.2f} where the venue lets {self.said:.2f}")

    def _limits(self, book: int) -> Limits:
        return self.rules.house if book == HOUSE else self.rules.agents[book].limits

    def _last_that_adds(self, book: int, rows: list[OpenRow], plans: list[Planned]) -> tuple[list[OpenRow], Planned]:
        """The last plan of an event that adds to a position of the book, or the first, and the rows open by then.

        A later plan that only reduces passes every limit on risk, as it would in an event of its own.
        """
        held = self.shell.state.lots(book)
        while len(plans) > 1:
            own = self._own(book, plans[-1])
            if any(held[symbol] * lots >= 0 for symbol, lots, _ in own):
                break
            rows, plans = list((Counter(rows) - Counter(own)).elements()), plans[:-1]
        return rows, plans[-1]

    def _judge(self, book: int, rows: list[OpenRow], plan: Planned) -> None:
        """What a plan added to a book, in every state that it and what was open can lead to. An agent's
        promise is of its whole verdict, whatever the house sent of it: its returns are those of all symbols in it."""
        old = Counter(self.rows.get(book, []))
        # an order may have the lots and the price of one that it replaces: what the plan itself sent is new all the
        # same
        new = list(((Counter(rows) - old) | Counter(self._own(book, plan))).elements())
        kept = list((Counter(rows) - Counter(new)).elements())
        state = self.shell.state
        account, ctx = account_of(state, book), market_context(state)
        px = np.nan_to_num(np.asarray(ctx.px))
        # turnover and rates are of the session, not of a state
        limits = override(self._limits(book), max_turnover=None, order_rate=None, max_orders_per_day=None)
        returns = np.array(state.history.synchronous.returns(ROWS))
        case = Book(ctx, account, np.zeros(len(px)), limits, kept, returns, px, list(self.universe.symbols))
        unsent = [] if book == HOUSE else self._unsent(case, plan, book, new)
        every = [*kept, *new, *unsent]
        if not every:
            self.references.pop(book, None)
            return
        held = account.lots
        fresh = np.array([False] * len(kept) + [True] * (len(new) + len(unsent)), dtype=np.bool_)
        orders = Orders(
            np.array([k for k, _, _ in every], dtype=np.int64),
            np.array([float(lots) for _, lots, _ in every]),
            np.array([worst for _, _, worst in every]),
            fresh,
            fresh & np.array([held[k] * lots >= 0 for k, lots, _ in every], dtype=np.bool_),
        )
        self.references[book] = Reference(case, orders)
        self.tally.verdicts += 1
        if not orders.adding.any():
            return
        fills = fill_states(self.draw, case, orders, 24)
        wrong, use = state_breaches(case, orders, fills)
        if book != HOUSE:
            # the house may cut what an agent's verdict had as a whole: then only its subsets are promised
            wrong = [breach for breach in wrong if "at the end" not in breach]
        self.tally.added += 1
        self.tally.states += len(fills)
        self.tally.use = max(self.tally.use, use)
        self.tally.wrong += wrong

    def _own(self, book: int, plan: Planned) -> list[OpenRow]:
        """What may still fill of the orders that a plan sent for a book."""
        work, size = self.shell.state.working.get((plan.sample, plan.n)), self.universe.lot_size
        shares = [] if work is None else work.open_shares()
        return [
            (symbol, lots, work.worst_nano[row] / NANO * float(size[symbol]))
            for row, agent, lots in shares
            if book in (HOUSE, agent)
            for symbol in (work.basket.sym[row],)
        ]

    def _unsent(self, case: Book, plan: Planned, book: int, new: list[OpenRow]) -> list[OpenRow]:
        """What the agent's own gate let pass, and the house cut or crossed."""
        part = next((agent_part for agent_part in plan.agents if agent_part.agent == book), None)
        if part is None:
            return []
        lots = np.frombuffer(part.allowed, dtype=np.int64).astype(np.float64)
        for symbol, sent, _ in new:
            lots[symbol] -= sent
        lots = np.where(lots * np.frombuffer(part.allowed, dtype=np.int64) > 0, lots, 0.0)
        worst = worst_nano(case.ctx, lots, case.limits, case.account.lots)
        return [(k, int(lots[k]), worst[k] / NANO) for k in np.flatnonzero(lots).tolist()]

    def _hold(self, book: int) -> None:
        """A book after fills, at the marks of its plan: within each limit, or no further beyond it than before."""
        reference = self.references.get(book)
        if reference is None:
            return
        ledger, case = self.shell.state.ledger, reference.case
        account = ledger.house if book == HOUSE else ledger.books[book]
        held = Held(reference, account.lots, account.cash_micro / 1e6)
        self.tally.states += 1
        near = CLOSE * abs(case.account.equity) + float(case.px.max())  # a split leaves fractions in cash
        for name, (value, bound) in numerators(case, held).items():  # type: ignore[arg-type]
            within = bound * held.room * held.equity[0] + near
            if value[0] > within and value[0] > reference.before[name] + near:
                self.tally.wrong.append(
                    f"{name} in book {book} after a fill: {value[0] / held.equity[0]:.6f} over {bound}"
                )

    def _adjust(self, action: Action) -> None:
        """The marks of a plan after a split; a dividend moves cash, and is not judged."""
        if action.kind == "dividend":
            self.references.clear()
            return
        self.said = None  # lots and limits of what was sent are others now: until the venue speaks again
        self.sent.clear()
        for reference in self.references.values():
            reference.case.px[action.symbol] *= action.denominator / action.numerator


def hostile(rng: np.random.Generator, size: int) -> Any:
    """Policies of the simulated days, and some that only want to break a limit."""
    key = int(rng.integers(2**31))
    what = str(rng.choice(["flip", "all in", "hedge", "many small", "random", "shipped", "shipped"]))

    def drawn(view: Any) -> np.random.Generator:
        return np.random.default_rng([key, view.time // HOUR])

    def flip(view: Any) -> object:
        return np.full(size, (-1.0) ** (view.time // DAY_NS) * 1.5 / size)

    def all_in(view: Any) -> object:
        weights = np.zeros(size)
        weights[drawn(view).integers(size)] = 1.2
        return weights

    def hedge(view: Any) -> object:
        return np.where(np.arange(size) % 2, -0.8, 0.9) * drawn(view).uniform(0.5, 1.5)

    def many_small(view: Any) -> object:
        return view.weights + drawn(view).uniform(-0.03, 0.06, size)

    def at_random(view: Any) -> object:
        return drawn(view).normal(0.0, 1.0, size) * drawn(view).choice([0.1, 1.0, 9.0])

    policies = {"flip": flip, "all in": all_in, "hedge": hedge, "many small": many_small, "random": at_random}
    return policies.get(what) or _policy(rng, size)


def through_the_engine(seed: int, match: int) -> Tally:
    """One world of 30 days, 1 to 5 symbols and 1 to 3 agents, with splits."""
    rng = np.random.default_rng([seed, 99, match])
    size, days, count = int(rng.integers(1, 6)), 30, int(rng.integers(1, 4))
    steps = rng.standard_t(4, (days, size)) * 0.01 + rng.standard_t(4, (days, 1)) * 0.008
    close = rng.uniform(10.0, 300.0, size) * np.exp(steps.cumsum(axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.01, close.shape))
    actions = []
    for day in sorted(rng.choice(np.arange(6, days), size=int(rng.integers(0, 4)), replace=False).tolist()):
        symbol, (up, down) = int(rng.integers(size)), ((2, 1), (3, 1), (1, 5), (3, 2))[int(rng.integers(4))]
        close[day:, symbol] *= down / up
        opens[day:, symbol] *= down / up
        ex = START + day * DAY_NS
        actions.append(Action(ex + 10 * HOUR, ex, symbol, "split", up, down))
    close, opens = np.maximum(np.round(close, 2), 0.5), np.maximum(np.round(opens, 2), 0.5)
    fresh = rng.random(close.shape) >= float(rng.choice([0.0, 0.05]))
    fresh[0] = True
    close[~fresh], opens[~fresh] = np.nan, np.nan
    fee = float(rng.choice([0.0, 1.0, 10.0]))
    house = drawn_limits(rng, fee)
    agent_limits = house if rng.random() < 0.3 else override(drawn_limits(rng, fee), allow_short=house.allow_short)
    aside = rng.spawn(1)[0]
    power = float(np.exp(aside.uniform(-3.0, 0.5))) if aside.random() < 0.4 else None
    guest = aside.spawn(1)[0] if aside.random() < 0.5 else None
    world = Watched(
        block(close, opens, fresh), [hostile(rng, size) for _ in range(count)], house=house, agent=agent_limits,
        costs=Costs(commission_bp=fee, slippage_bp=float(rng.choice([0.0, 30.0])), seed=match,
                    participation=float(rng.choice([0.0, 0.0001, 0.001]))),
        actions=actions, min_trade=0.0, lookback=ROWS, good_till_cancelled=bool(rng.random() < 0.4),
        follow_ups=int(rng.integers(0, 3)), power=power, guest=guest,
    )  # fmt: skip
    return world.run().tally
