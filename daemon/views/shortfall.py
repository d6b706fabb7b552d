"""Implementation shortfall of every order and of every parent order, computed from the journal.

The decision price is the mark in the decision's plan. The arrival price is the first open of the symbol after the order
was sent: the move from the decision's close to the next open is delay, not impact. An order that fills before the next
bar opens has its mark at sending as arrival price. A split in between rescales all prices.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.adapters.store.queries import Reader
from quantd.risk.measures.execution_shortfall import Piece, Shortfall, added, shortfall
from quantd.trading.codec import Entry, decode, slice_of
from quantd.trading.effects import Ended, Filled, Planned, Worked
from quantd.trading.events import Action, Bars, SliceRef, split_of
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Kind, Order, OrderBasket, money_text, order_id, price_text, quantity_text

DAY_NS = 86_400 * NANO

Key = tuple[int, int, int]
"""(sample, n, column) of an order."""

Slices = Callable[[int], MarketSlice]
"""Returns a slice of a recorded market by its number in the journal."""

NO_BARS: Final = "the bars of the run are unavailable: the gap to the next open counts as impact, not as delay"
"""The note of shortfalls that were computed without opens."""


class Costed(Struct, frozen=True):
    """A shortfall as text: each part in money (exact) and in basis points of `value`.

    `what` is an order's id, a symbol or a title. `style` is the execution style, empty for an order that was sent at
    once. A part is None where it is unknown because the order is still open.
    """

    what: str
    style: str
    value: str
    decision: str
    filled: str
    unfilled: str
    delay: str
    impact: str
    fees: str
    opportunity: str | None
    total: str | None
    delay_bp: float | None
    impact_bp: float | None
    fees_bp: float | None
    opportunity_bp: float | None
    total_bp: float | None
    note: str = ""
    """NO_BARS when that applies, else empty."""


class _Order(Struct):
    """One order during the computation.

    `decided` is the instant of its parent's plan, 0 without a parent. `end_nano` is the mark when the order ended
    without a complete fill. `arrival_nano` is the mark at sending until the symbol's next open replaces it.
    """

    lots: int
    lot_nano: int
    decision_nano: int
    arrival_nano: int
    ts: int
    decided: int
    style: str
    pieces: list[Piece]
    filled_ts: int = 0
    """Instant of the first fill; 0 before it."""
    end_nano: int | None = None

    def cost(self) -> Shortfall:
        """The shortfall; the unfilled part of a child order counts for its parent order only."""
        lots, end_nano = self.lots, self.end_nano
        if self.decided:
            lots, end_nano = sum(piece.lots for piece in self.pieces), None
        return shortfall(lots, self.lot_nano, self.decision_nano, self.pieces, end_nano)


class _Parent(Struct):
    """One parent order: one symbol, all agents together.

    `open` is the number of its agents' parts that are still worked, `children` are its orders so far.
    """

    lots: int
    lot_nano: int
    decision_nano: int
    ts: int
    style: str
    open: int
    children: list[Key] = []
    end_nano: int | None = None


class Shortfalls:
    """Computes shortfalls from journal entries in order.

    `orders` is keyed by (sample, number of the basket in the sample, column), `wholes` (parent orders) by (instant
    decided, column). `note` is NO_BARS when opening prices were needed but `slices` is None.
    """

    def __init__(self, universe: Universe, slices: Slices | None = None) -> None:
        self.universe = universe
        self.note = ""
        self._slices = slices
        self._sent: dict[Key, _Order] = {}
        """Orders whose symbol has not opened since they were sent."""
        self.orders: dict[Key, _Order] = {}
        self.wholes: dict[tuple[int, int], _Parent] = {}

    @property
    def waiting(self) -> bool:
        """Whether some order still waits for its symbol's first open since it was sent."""
        return bool(self._sent)

    def add(self, entry: Entry) -> None:
        """Processes one step of the journal for the shortfalls.

        A plan precedes its orders among the effects of a step. A plan with a `portion` is worked over time. It makes
        parent orders if `portion.decided` (instant of the parents' plan) is 0, otherwise child orders. The effect
        Worked ends an agent's part of a parent order.
        """
        if split := split_of(entry.event):
            self._apply_split(split)
        if self._sent and isinstance(entry.event, SliceRef | Bars):
            self._set_arrivals(entry.event)
        plan: Planned | None = None
        for effect in entry.effects:
            match effect:
                case Planned():
                    plan = effect
                    if effect.portion is not None and not effect.portion.decided:
                        self._add_parents(effect)
                case OrderBasket():
                    self._add_orders(effect, plan)
                case Filled():
                    self._add_fills(effect)
                case Ended():
                    self._set_end_marks(effect)
                case Worked():
                    for symbol, mark in zip(effect.sym, effect.mark_nano, strict=True):
                        parent = self.wholes.get((effect.decided, symbol))
                        if parent is not None:
                            parent.open -= 1
                            parent.end_nano = mark
                case _:
                    pass

    def of_whole(self, parent: _Parent) -> Shortfall:
        """The shortfall of a parent order; its opportunity cost is unknown until it has ended."""
        pieces = [piece for key in parent.children for piece in self.orders[key].pieces]
        end_nano = None if parent.open > 0 else parent.end_nano
        return shortfall(parent.lots, parent.lot_nano, parent.decision_nano, pieces, end_nano)

    def decisions(self, since: int = 0, until: int = 2**63 - 1) -> Iterator[tuple[int, Shortfall]]:
        """(column, shortfall) of every decision in (since, until]: an order, or a parent order with its children."""
        for (_, _, column), order in self.orders.items():
            if not order.decided and since < order.ts <= until:
                yield column, order.cost()
        for (_, column), parent in self.wholes.items():
            if since < parent.ts <= until:
                yield column, self.of_whole(parent)

    def _add_parents(self, plan: Planned) -> None:
        """Add the parent orders of a plan whose lots are worked over time.

        A parent order is open until all agents with a part in it have ended their parts.
        """
        allowed, prices = np.frombuffer(plan.allowed, dtype="<i8"), np.frombuffer(plan.prices, dtype="<f8")
        for column in np.flatnonzero(allowed).tolist():
            agent_count = sum(
                1 for part in plan.agents if np.frombuffer(part.allowed, "<i8")[column] * allowed[column] > 0
            )
            self.wholes[plan.ts, column] = _Parent(
                lots=int(allowed[column]),
                lot_nano=self.universe.lot_nano[column],
                decision_nano=round(float(prices[column]) * NANO),
                ts=plan.ts,
                style=plan.portion.style if plan.portion is not None else "",
                open=agent_count,
            )

    def _add_orders(self, basket: OrderBasket, plan: Planned | None) -> None:
        """Add the orders of a basket. The arrival price of an order is the plan's price until its symbol opens.

        A child order has its parent order's decision price. A basket of stop orders is left out, and so is a basket
        that does not belong to `plan`.
        """
        # a stop order is meant to fill at another price than the mark at sending: the difference is no execution cost
        if plan is None or (plan.sample, plan.n) != (basket.sample, basket.n) or Kind.STOP in basket.kind:
            return
        prices = np.frombuffer(plan.prices, dtype="<f8").tolist()
        decided = plan.portion.decided if plan.portion is not None else 0
        for column, lots in zip(basket.sym, basket.lots, strict=True):
            arrival_nano = round(prices[column] * NANO)
            parent = self.wholes.get((decided, column)) if decided else None
            if parent is not None:
                parent.children.append((basket.sample, basket.n, column))
            order = _Order(
                lots=lots,
                lot_nano=self.universe.lot_nano[column],
                decision_nano=parent.decision_nano if parent is not None else arrival_nano,
                arrival_nano=arrival_nano,
                ts=basket.ts,
                decided=decided,
                style=plan.portion.style if plan.portion is not None else "",
                pieces=[],
            )
            self.orders[basket.sample, basket.n, column] = self._sent[basket.sample, basket.n, column] = order

    def _set_arrivals(self, bar: SliceRef | Bars) -> None:
        """Sets the arrival price of orders whose symbol opened with this bar, after the fills at its open.

        The arrival price is the open of the first bar after the order, at which delay ends and impact begins. An order
        that filled before that bar keeps the price at which it was planned.
        """
        if isinstance(bar, Bars):
            market = slice_of(bar)
        elif self._slices is not None:
            market = self._slices(bar.index)
        else:
            self.note = NO_BARS
            return
        ts_open, fresh, opens = market.ts_open, market.fresh.tolist(), market.open_nano.tolist()
        for key, order in list(self._sent.items()):
            if ts_open < order.ts or not fresh[key[2]]:
                continue
            del self._sent[key]
            if not order.filled_ts or order.filled_ts >= ts_open:
                order.arrival_nano = opens[key[2]]
                order.pieces = [
                    Piece(piece.lots, piece.price_nano, piece.fee_micro, order.arrival_nano) for piece in order.pieces
                ]
            self._arrived(key, order)

    def _add_fills(self, fill: Filled) -> None:
        """Add the fills of a basket to their orders; a fill of an unknown order is noted."""
        for column, lots, price, fee in zip(fill.sym, fill.lots, fill.price_nano, fill.fee_micro, strict=True):
            key = fill.sample, fill.n, column
            order = self.orders.get(key)
            if order is None:
                self._note_unknown_fill(fill)
                continue
            order.pieces.append(Piece(lots, price, fee, order.arrival_nano))
            order.filled_ts = order.filled_ts or fill.ts
            # not in `_sent`: its symbol has opened, so that its arrival price is final
            if key not in self._sent:
                self._arrived(key, order)

    def _arrived(self, key: Key, order: _Order) -> None:
        """Called after each fill of an order whose symbol has opened, and at that open; the base class does nothing."""

    def _note_unknown_fill(self, fill: Filled) -> None:
        """Called for a fill of an order that is unknown here; the base class does nothing."""

    def _set_end_marks(self, ended: Ended) -> None:
        for column, mark in zip(ended.sym, ended.mark_nano, strict=True):
            order = self.orders.get((ended.sample, ended.n, column))
            if order is not None:
                order.end_nano = mark

    def _apply_split(self, action: Action) -> None:
        """Converts prices and lots of unfinished orders by a split."""

        def scaled_price(nano: int) -> int:
            return nano * action.denominator // action.numerator

        def scaled_lots(lots: int) -> int:
            size = abs(lots) * action.numerator // action.denominator
            return size if lots > 0 else -size

        for (_, _, column), order in self.orders.items():
            if column == action.symbol and order.end_nano is None and not _is_filled(order):
                order.lots, order.decision_nano = scaled_lots(order.lots), scaled_price(order.decision_nano)
                order.arrival_nano = scaled_price(order.arrival_nano)
                order.pieces = [
                    Piece(
                        scaled_lots(piece.lots),
                        scaled_price(piece.price_nano),
                        piece.fee_micro,
                        scaled_price(piece.arrival_nano),
                    )
                    for piece in order.pieces
                ]
        for (_, column), parent in self.wholes.items():
            if column == action.symbol and parent.open > 0:
                parent.lots, parent.decision_nano = scaled_lots(parent.lots), scaled_price(parent.decision_nano)


def _is_filled(order: _Order) -> bool:
    pieces = order.pieces
    return (pieces[0].lots if len(pieces) == 1 else sum(piece.lots for piece in pieces)) == order.lots


class Totals(Shortfalls):
    """The shortfalls of decisions in (since, until], of which only sums by symbol are needed.

    An order is added to the sums and dropped once it is completely filled, so that memory does not hold all orders of a
    long run. `complete` is False when the journal changed a dropped order later, for example by a trade that the
    venue reversed: the sums are wrong then, and `Shortfalls` computes the correct ones.
    """

    def __init__(self, universe: Universe, slices: Slices | None, since: int, until: int) -> None:
        super().__init__(universe, slices)
        self.complete = True
        self._since, self._until = since, until
        self._dropped: set[tuple[int, int]] = set()
        """(sample, n) of the baskets of dropped orders."""
        self._sums: dict[int, list[int]] = {}
        """Column of a symbol -> [value, delay, impact, fees] of the dropped orders, in micro-currency."""

    def decisions(self, since: int = 0, until: int = 2**63 - 1) -> Iterator[tuple[int, Shortfall]]:
        """(column, shortfall) of every decision in the span; all dropped orders of a column are one sum."""
        for column, (value, delay, impact, fees) in self._sums.items():
            yield column, Shortfall(value, delay, impact, fees, 0)
        yield from super().decisions(max(since, self._since), min(until, self._until))

    def _arrived(self, key: Key, order: _Order) -> None:
        """Add a completely filled order to the sums of its symbol if its decision is in the span, and drop it.

        The sums, in micro-currency, are value, delay, impact and fees.
        """
        if order.decided or not _is_filled(order):  # a parent order needs its children
            return
        del self.orders[key]
        self._dropped.add(key[:2])
        cost = order.cost()
        if cost.value_micro and self._since < order.ts <= self._until:
            sums = self._sums.setdefault(key[2], [0, 0, 0, 0])
            sums[0] += cost.value_micro
            sums[1] += cost.delay_micro
            sums[2] += cost.impact_micro
            sums[3] += cost.fees_micro

    def _note_unknown_fill(self, fill: Filled) -> None:
        self.complete = self.complete and (fill.sample, fill.n) not in self._dropped


def fold(universe: Universe, entries: Iterable[Entry], slices: Slices | None = None) -> Shortfalls:
    journal_shortfalls = Shortfalls(universe, slices)
    for entry in entries:
        journal_shortfalls.add(entry)
    return journal_shortfalls


def shortfalls(reader: Reader, since: int = 0, slices: Slices | None = None) -> Shortfalls:
    """The shortfalls of decisions from a day before `since` on: no parent order is older, because it ends with its
    session.

    `slices` returns the bars of one instant of a recorded market; it is not needed for a live run, whose journal has
    the bars.
    """
    return fold(reader.run.universe, (entry for _, entry in reader.journal(first_of(reader, since))), slices)


def first_of(reader: Reader, since: int) -> int:
    """The first step that must be read for the shortfalls of decisions after `since`."""
    return reader.first_step(since - DAY_NS) if since else 1


def span_shortfalls(
    reader: Reader, entries: Iterable[tuple[int, bytes]], since: int, until: int, slices: Slices | None = None
) -> Shortfalls:
    """The implementation shortfalls of the decisions in (since, until], as sums by symbol.

    `entries` are (sequence number, bytes) of all entries of the journal. Sums need no orders in memory. Where the sums
    cannot be complete, the result has all orders instead (`shortfalls`).
    """
    totals, first = Totals(reader.run.universe, slices, since, until), first_of(reader, since)
    for seq, entry_bytes in entries:
        if seq >= first and totals.complete:
            totals.add(decode(entry_bytes))
    return totals if totals.complete else shortfalls(reader, since, slices)


def shortfalls_of(reader: Reader, plan: Planned, slices: Slices | None = None) -> Shortfalls:
    """The implementation shortfalls of a plan's orders and of their parent orders.

    After the plan, only the entries that can change one of its orders are decoded. The children of a parent order are
    in other plans, so that the whole journal is decoded for a plan with parent orders.
    """
    records = reader.records
    # not in the shorter way below: parent orders, plans of a shadow, and a reader without records
    if plan.portion is not None or reader.of_shadow or records is None:
        return shortfalls(reader, plan.ts, slices)
    journal_shortfalls = Shortfalls(reader.run.universe, slices)
    sample, planned = msgspec.msgpack.encode(plan.sample), False
    for _, entry_bytes in records.entries(reader.run.run, reader.first_step(plan.ts - DAY_NS)):
        # once each order's symbol has opened, only fills and ends (which contain the sample) and splits matter
        if (
            not planned
            or journal_shortfalls.waiting
            or sample in entry_bytes
            or b"Action" in entry_bytes
            or b"JumpExplained" in entry_bytes
        ):
            entry = decode(entry_bytes)
            journal_shortfalls.add(entry)
            planned = planned or any(
                type(effect) is Planned and (effect.sample, effect.n, effect.ts) == (plan.sample, plan.n, plan.ts)
                for effect in entry.effects
            )
    return journal_shortfalls


def ids(journal_shortfalls: Shortfalls, run: str) -> dict[str, Key]:
    """Order id -> (sample, number of the basket in the sample, column), the key of the order's shortfall."""
    return {
        order_id(run, key[0], journal_shortfalls.universe.symbols[key[2]], key[1]): key
        for key in journal_shortfalls.orders
    }


def costed(
    what: str, style: str, cost: Shortfall, note: str, filled: str = "", unfilled: str = "", decision: str = ""
) -> Costed:
    """An implementation shortfall (cost against the decision price) as text."""
    names = ("delay", "impact", "fees", "opportunity", "total")
    parts: dict[str, int | None] = {name: getattr(cost, f"{name}_micro") for name in names}
    texts: dict[str, Any] = {name: None if micro is None else money_text(micro) for name, micro in parts.items()}
    ratios: dict[str, Any] = {f"{name}_bp": cost.bp(micro) for name, micro in parts.items()}
    value = money_text(cost.value_micro)
    return Costed(what, style, value, decision, filled, unfilled, **texts, **ratios, note=note)


def _costed(what: str, order: _Order | _Parent, pieces: Iterable[Piece], cost: Shortfall, note: str) -> Costed:
    filled_lots = abs(sum(piece.lots for piece in pieces))
    filled, unfilled = (quantity_text(lots, order.lot_nano) for lots in (filled_lots, abs(order.lots) - filled_lots))
    return costed(what, order.style, cost, note, filled, unfilled, price_text(order.decision_nano))


def of_order(journal_shortfalls: Shortfalls, key: Key, id: str) -> Costed | None:
    """The shortfall of one order as text; None for an order that is not known."""
    order = journal_shortfalls.orders.get(key)
    return None if order is None else _costed(id, order, order.pieces, order.cost(), journal_shortfalls.note)


def of_orders(reader: Reader, orders: Sequence[Order], slices: Slices | None = None) -> dict[str, Costed]:
    """Order id -> shortfall, for some orders of a run; empty when the journal is unavailable."""
    if reader.records is None or not orders:
        return {}
    journal_shortfalls = shortfalls(reader, min(order.ts for order in orders), slices)
    keys = ids(journal_shortfalls, reader.run.run)
    costs = {order.id: of_order(journal_shortfalls, keys[order.id], order.id) for order in orders if order.id in keys}
    return {id: cost for id, cost in costs.items() if cost is not None}


def of_whole(journal_shortfalls: Shortfalls, key: Key) -> Costed | None:
    """The shortfall of an order's parent as text; None for an order that was sent at once."""
    order = journal_shortfalls.orders.get(key)
    parent = journal_shortfalls.wholes.get((order.decided, key[2])) if order is not None and order.decided else None
    if parent is None:
        return None
    pieces = (piece for child in parent.children for piece in journal_shortfalls.orders[child].pieces)
    what = f"{journal_shortfalls.universe.symbols[key[2]]}, parent order"
    return _costed(what, parent, pieces, journal_shortfalls.of_whole(parent), journal_shortfalls.note)


def by_symbol(journal_shortfalls: Shortfalls, since: int = 0, until: int = 2**63 - 1) -> list[Costed]:
    """The shortfalls of a span's decisions, all together and by symbol.

    The opportunity cost of an order that is still open is not known and counts as 0.
    """
    columns: dict[int, list[Shortfall]] = {}
    for column, cost in journal_shortfalls.decisions(since, until):
        if cost.value_micro:
            if cost.opportunity_micro is None:
                cost = msgspec.structs.replace(cost, opportunity_micro=0)
            columns.setdefault(column, []).append(cost)
    if not columns:
        return []
    groups = [("all", [cost for costs in columns.values() for cost in costs])]
    groups += [(journal_shortfalls.universe.symbols[column], costs) for column, costs in sorted(columns.items())]
    return [costed(name, "", added(costs), journal_shortfalls.note) for name, costs in groups]  # "": no style
