"""Read models (tables derived from the journal) as a pure function of its entries: the rows that each entry adds to
orders, fills, equity, alerts.

The store writes these rows in the transaction of their entries. `doctor --store` folds the journal again and compares.
Rows are plain tuples in the order of `COLUMNS`.

What can go wrong. A read model contradicts the journal: an order that ended appears open, or a late report sets an
order back to an earlier state. Each change of state follows the transition table, and the filled quantity never falls.

What the order of the steps guarantees. Incidents are folded before the effects, because an alert's row has the route of
its incident. The effects of an entry are applied before its event: an end that the engine reports gives the row its
reason, and the event supplies the rest. A basket that began in this batch is written once, in its last state; only rows
that are already in a table are updated. A fill that arrives after its basket ended raises the filled quantity in the
table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from math import isfinite
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.adapters.store.incidents.incident_fold import EVENTS, NO_CHANGES, Changes, Incidents, Route
from quantd.adapters.store.tables.table_models import columns_of
from quantd.trading.effects import (
    Again,
    Assessed,
    Booked,
    Cancel,
    Crossed,
    Ended,
    Filled,
    Planned,
    Promotion,
    Publish,
    Reallocated,
    Shadowed,
    Switched,
    Valued,
)
from quantd.trading.events import NotFound, Unknown
from quantd.trading.orders import (
    ENDED,
    THREE_DIGITS,
    TRANSITIONS,
    Cause,
    OrderBasket,
    OrderState,
    Reports,
    basket_digits,
    three_digits,
)

Row = tuple[object, ...]
Rows = dict[str, list[Row]]

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    table: columns_of(table)
    for table in (
        "orders", "fills", "crosses", "decisions", "equity", "alerts", "bookings", "switches", "risk", "house",
        "incidents",
    )
}  # fmt: skip
"""Table -> columns of the read models that entries append to."""

MOVED: Final = "orders moved"
"""Key of rows (state, filled, ended_ts, note, run, sample, n, row): the new state of orders from earlier batches."""

LATE: Final = "orders late"
"""Key of rows (filled, run, sample, n, row): fills reported after the order's end; the larger amount is stored."""

OUTBOX: Final = "outbox"
"""Key of rows (run, seq, k, ts, level, kind, body, route) for the bus and the sinks; the route is not stored."""

SCHEMA: Final = 1
"""Version of the JSON bodies in the outbox."""

_ENDED = [OrderState(s) in ENDED for s in OrderState]
_SENT, _UNKNOWN = int(OrderState.SENT), int(OrderState.UNKNOWN)
_CANCEL_ASKED, _TIMED_OUT, _NOT_FOUND = int(Cause.CANCEL_ASKED), int(Cause.TIMED_OUT), int(Cause.NOT_FOUND)
_SENT_AGAIN = int(Cause.SENT_AGAIN)

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class OpenBasket(Struct):
    """One basket with open orders, one list element for each row (order). `sym` are columns of the universe.

    `new` are the values of the table columns that never change; None once the rows are in the store.
    """

    states: list[int]
    filled: list[int]
    ended_ts: list[int]
    note: list[str]
    sym: list[int]
    new: list[Row] | None = None


def order_ids(run: str, sample: int, n: int, symbols: Iterable[str]) -> list[str]:
    """Return the ids of a basket's orders, one for each symbol. `quantd.trading.orders.order_id` gives the same ids
    more slowly.

    The id has the run, twelve base-36 digits of a hash of sample and symbol, and the digits of `n`.
    """
    digits, width = three_digits(), THREE_DIGITS
    prefix_hash, number_text = blake2b(f"{sample}|house|".encode(), digest_size=12), basket_digits(n)
    ids = []
    for symbol in symbols:
        hashed = prefix_hash.copy()
        hashed.update(symbol.encode())
        # the last twelve base-36 digits of the hash, in groups of three from right to left
        number, fourth = divmod(int.from_bytes(hashed.digest(), "big"), width)
        number, third = divmod(number, width)
        number, second = divmod(number, width)
        ids.append(f"q-{run}-{digits[number % width]}{digits[second]}{digits[third]}{digits[fourth]}-{number_text}")
    return ids


class Projection:
    """Derives the read models of one run: `add` each journal entry once, in order; `take` returns the rows since its
    last call.

    `symbols` are the universe's symbols by column, `agents` the agents' names by index. `open_baskets` and `incidents`
    come from an earlier process.
    """

    def __init__(
        self,
        run: str,
        symbols: Sequence[str],
        agents: Sequence[str] = (),
        open_baskets: dict[tuple[int, int], OpenBasket] | None = None,
        incidents: Incidents | None = None,
    ) -> None:
        """Continue from the orders and incidents that are open in the store; each kind of effect and event has a
        method.

        `_rows` has the new rows by table until `take` returns them, `_routes` the receivers of the alerts of an entry
        by the index of the effect.
        """
        self.run = run
        self.symbols = tuple(symbols)
        self.agents = tuple(agents)
        self.open_baskets = {} if open_baskets is None else open_baskets
        self.incidents = incidents or Incidents()
        self._new: list[tuple[int, int]] = []  # baskets (sample, n) of this batch
        self._moved: dict[tuple[int, int, int], None] = {}  # changed rows (sample, n, row) of stored baskets, in order
        self._rows: Rows = {}
        self._routes: Mapping[int, Route] = {}
        self._effects: dict[type, Callable[..., None]] = {
            OrderBasket: self._basket,
            Filled: self._filled,
            Ended: self._ended,
            Valued: self._valued,
            Planned: self._planned,
            **dict.fromkeys((Assessed, Publish, Booked, Crossed, Switched), self._recorded),
            **dict.fromkeys((Reallocated, Promotion, Shadowed), self._house),
        }
        self._events: dict[type, Callable[..., None]] = {
            Reports: self._reports,
            Unknown: self._unknown,
            NotFound: self._not_found,
        }

    def add(self, seq: int, event: object, effects: Sequence[object]) -> None:
        """Apply one journal entry: an event (live or from the journal) with its effects.

        An entry is one event and the effects that followed from it; a fold is the method that converts one kind of
        effect to rows.
        """
        move = self._events.get(type(event))
        if not effects and move is None and type(event) not in EVENTS:
            return
        changes = self.incidents.add(event, effects, self._agent, lambda k: message_id(self.run, seq, k))
        self._routes = changes.routes
        if changes is not NO_CHANGES:
            self._append_incidents(seq, len(effects), changes)
        for k, effect in enumerate(effects):
            if (fold := self._effects.get(type(effect))) is not None:
                fold(seq, k, effect, effects)
        # An end reported by the engine (above) comes first; the event itself supplies the rest.
        if move is not None:
            move(event, effects)
        for effect in effects:
            if type(effect) is Cancel:
                # without fills and without a reason
                self._move(effect.sample, effect.n, effect.row, _CANCEL_ASKED, 0, effect.ts, "")

    def take(self) -> Rows:
        """Return the rows by table (and under MOVED, LATE, OUTBOX) of the entries added since the last call.

        MOVED are new states of stored orders, LATE are fills after the end of their order, OUTBOX are messages. Rows of
        new orders are complete; of stored orders only the new state is returned.

        Baskets whose orders have all ended are forgotten.
        """
        rows, self._rows = self._rows, {}
        baskets = self.open_baskets
        orders = rows.setdefault("orders", []) if self._new else []
        for key in self._new:
            basket = baskets[key]
            assert basket.new is not None
            state = zip(basket.states, basket.filled, basket.ended_ts, basket.note, strict=True)
            orders += [row + state_columns for row, state_columns in zip(basket.new, state, strict=True)]
            basket.new = None
            if all(map(_ENDED.__getitem__, basket.states)):
                del baskets[key]
        if self._moved:
            moved = rows.setdefault(MOVED, [])
            for sample, n, row in self._moved:
                basket = baskets[sample, n]
                moved.append(
                    (
                        basket.states[row],
                        basket.filled[row],
                        basket.ended_ts[row],
                        basket.note[row],
                        self.run,
                        sample,
                        n,
                        row,
                    )
                )
            for key in {(sample, n) for sample, n, _ in self._moved}:
                if all(map(_ENDED.__getitem__, baskets[key].states)):
                    del baskets[key]
            self._moved = {}
        self._new = []
        return rows

    def _basket(self, seq: int, k: int, basket: OrderBasket, effects: Sequence[object]) -> None:
        """Add a new basket. If the basket is stored already, the venue never received some of its orders: mark these as
        SENT.

        A basket has the orders of one decision.
        """
        key = (basket.sample, basket.n)
        open_basket = self.open_baskets.get(key)
        if open_basket is not None:  # sent again with the same ids, because the venue never received them
            for column in basket.sym:
                row = open_basket.sym.index(column)
                if open_basket.states[row] == _UNKNOWN:
                    open_basket.states[row] = _SENT
                    self._touch(open_basket, basket.sample, basket.n, row)
            return
        size = len(basket.sym)
        names = [self.symbols[column] for column in basket.sym]
        run, sample, n, ts = self.run, basket.sample, basket.n, basket.ts
        # the values of the rows that never change
        fixed_columns = zip(
            [run] * size, [sample] * size, [n] * size, range(size), order_ids(run, sample, n, names), [seq] * size,
            [ts] * size, names, basket.lots, basket.worst_nano, basket.end, basket.reason or [0] * size,
            self._owners(basket, effects), strict=True,
        )  # fmt: skip
        self.open_baskets[key] = OpenBasket(
            [_SENT] * size, [0] * size, [0] * size, [""] * size, basket.sym, list(fixed_columns)
        )
        self._new.append(key)

    def _owners(self, basket: OrderBasket, effects: Sequence[object]) -> list[str]:
        """Return, for each row of a basket, the agents whose allowed trade has the side of the order, joined by +;
        empty without a plan."""
        plan = next(
            (
                effect
                for effect in effects
                if type(effect) is Planned and effect.sample == basket.sample and effect.n == basket.n
            ),
            None,
        )
        if plan is None:
            return [""] * len(basket.sym)
        if len(plan.agents) == 1:
            return [self._agent(plan.agents[0].agent)] * len(basket.sym)
        allowed_by_agent = [
            (self._agent(part.agent), np.frombuffer(part.allowed, dtype="<i8").tolist()) for part in plan.agents
        ]
        return [
            "+".join([name for name, allowed in allowed_by_agent if allowed[column] * lots > 0])
            for column, lots in zip(basket.sym, basket.lots, strict=True)
        ]

    def _agent(self, number: int) -> str:
        return self.agents[number] if 0 <= number < len(self.agents) else str(number)

    def _touch(self, open_basket: OpenBasket, sample: int, n: int, row: int) -> None:
        if open_basket.new is None:
            self._moved[sample, n, row] = None

    def _reports(self, news: Reports, effects: Sequence[object]) -> None:
        """Apply the states and fills that a venue reports, order by order.

        `cum` are the filled lots of an order. A basket that is `new` has no rows in the store yet, so that no change of
        a stored row needs to be noted. A negative state in the table of transitions means that the change is
        impossible.
        """
        sample, n, ts, reason = news.sample, news.n, news.ts, news.reason
        open_basket = self.open_baskets.get((sample, n))
        if open_basket is not None and open_basket.new is not None and not reason:
            # the usual case in one loop: a basket of this batch is filled
            states, filled, ended_ts = open_basket.states, open_basket.filled, open_basket.ended_ts
            for row, cum, cause in zip(news.row, news.cum, news.cause, strict=True):
                if cum > filled[row]:
                    filled[row] = cum
                old_state = states[row]
                new_state = TRANSITIONS[old_state][cause]
                if new_state >= 0:
                    states[row] = new_state
                    if _ENDED[new_state] and not _ENDED[old_state]:
                        ended_ts[row] = ts
            return
        for row, cum, cause in zip(news.row, news.cum, news.cause, strict=True):
            self._move(sample, n, row, cause, cum, ts, reason)

    def _unknown(self, news: Unknown, effects: Sequence[object]) -> None:
        for row in news.row:
            self._move(news.sample, news.n, row, _TIMED_OUT, 0, news.ts, news.reason)

    def _not_found(self, news: NotFound, effects: Sequence[object]) -> None:
        """Apply the report that the venue never received some orders: they expire or are sent again."""
        again = {row for effect in effects if isinstance(effect, Again) for row in effect.row}
        for row in news.row:
            for cause in (_TIMED_OUT, _SENT_AGAIN) if row in again else (_NOT_FOUND,):
                self._move(news.sample, news.n, row, cause, 0, news.ts, "")

    def _move(self, sample: int, n: int, row: int, cause: int, cum: int, ts: int, reason: str) -> None:
        """Change the state of one order by the transition table. An impossible change, which the engine refuses too,
        has no effect.

        `cause` is the reported change, `cum` are the filled lots of the order. A fill that is reported after the end of
        a whole basket is stored as LATE. A negative state in the table means that the change is impossible.
        """
        open_basket = self.open_baskets.get((sample, n))
        if open_basket is None:
            if cum:
                self._rows.setdefault(LATE, []).append((cum, self.run, sample, n, row))
            return
        old_state = open_basket.states[row]
        new_state = TRANSITIONS[old_state][cause]
        if new_state >= 0:
            open_basket.states[row] = new_state
            if _ENDED[new_state] and not _ENDED[old_state]:
                open_basket.ended_ts[row] = ts
                open_basket.note[row] = reason
        open_basket.filled[row] = max(open_basket.filled[row], cum)
        self._touch(open_basket, sample, n, row)

    def _ended(self, seq: int, k: int, ended: Ended, effects: Sequence[object]) -> None:
        """Set the open orders that the engine ended to their final state. A basket without an open order is
        ignored."""
        open_basket = self.open_baskets.get((ended.sample, ended.n))
        if open_basket is None:
            return
        for row, state in zip(ended.row, ended.state, strict=True):
            if not _ENDED[open_basket.states[row]]:
                open_basket.states[row] = state
                open_basket.ended_ts[row] = ended.ts
                open_basket.note[row] = ended.reason
                self._touch(open_basket, ended.sample, ended.n, row)

    def _filled(self, seq: int, k: int, fill: Filled, effects: Sequence[object]) -> None:
        """Append one row for each fill of a basket."""
        size = len(fill.sym)
        symbols, encode = self.symbols, _json.encode
        # `k` of a fill: the index of its effect, and in the lower 16 bits its index in the effect
        rows = zip(
            [self.run] * size, [seq] * size, range(k << 16, (k << 16) + size), [fill.sample] * size, [fill.n] * size,
            [fill.ts] * size, [symbols[column] for column in fill.sym], fill.lots, fill.price_nano, fill.fee_micro,
            [encode(shares).decode() for shares in fill.shares], strict=True,
        )  # fmt: skip
        self._rows.setdefault("fills", []).extend(rows)

    def _append_incidents(self, seq: int, effect_count: int, changes: Changes) -> None:
        """Append the rows of changed incidents, and further messages about them, numbered after the
        `effect_count` effects of the entry."""
        rows = self._rows.setdefault("incidents", [])
        for k, incident in enumerate(changes.incidents):
            rows.append(
                (
                    self.run, seq, k, incident.ts, incident.id, incident.kind, incident.agent, incident.symbol,
                    incident.level, incident.text, incident.value, incident.bound, incident.since_ts, incident.state,
                    incident.raised, incident.reminded, incident.who, incident.reason, incident.acknowledged_ts,
                    _json.encode(incident.sinks).decode(), int(incident.told), incident.worst, incident.paced,
                )
            )  # fmt: skip
        for k, notice in enumerate(changes.notices, effect_count):
            incident = notice.incident
            alert = Publish(
                notice.ts, notice.level, incident.kind, notice.text, incident.symbol, incident.agent, incident.value,
                incident.bound,
            )  # fmt: skip
            self._post(seq, k, alert, notice.route)

    def _post(self, seq: int, k: int, e: Publish, route: Route) -> None:
        """Append a message for the bus and the sinks."""
        body = {
            "schema": SCHEMA, "id": message_id(self.run, seq, k), "run": self.run, "ts_event": e.ts,
            "level": e.level, "kind": e.kind, "text": e.text, "symbol": e.symbol, "agent": e.agent,
            "value": _measure(e.value), "bound": _measure(e.bound), "incident": route.incident, "state": route.state,
        }  # fmt: skip
        row = (self.run, seq, k, e.ts, e.level, e.kind, _json.encode(body).decode(), route)
        self._rows.setdefault(OUTBOX, []).append(row)

    def _append(self, table: str, seq: int, k: int, *fields: object) -> None:
        self._rows.setdefault(table, []).append((self.run, seq, k, *fields))

    def _valued(self, seq: int, k: int, e: Valued, effects: Sequence[object]) -> None:
        self._append("equity", seq, k, e.ts, e.equity_micro, e.cash_micro, _json_text(e.books), e.gross, e.drawdown)

    def _planned(self, seq: int, k: int, e: Planned, effects: Sequence[object]) -> None:
        self._append("decisions", seq, k, e.sample, e.n, e.ts, e.follow_up, _msgpack.encode(e))
        self._append("risk", seq, k, e.ts, "plan", _json_text(e.values))

    def _recorded(self, seq: int, k: int, effect: object, effects: Sequence[object]) -> None:
        """Append the rows of a less frequent effect that concerns no order."""
        match effect:
            case Assessed():
                # "held": measured at a valuation, not at a plan
                self._append("risk", seq, k, effect.ts, "held", _json_text(effect.values))
            case Publish():
                value, bound = _measure(effect.value), _measure(effect.bound)
                self._append(
                    "alerts", seq, k, effect.ts, effect.level, effect.kind, effect.text, effect.symbol, effect.agent,
                    value, bound,
                )  # fmt: skip
                self._post(seq, k, effect, self._routes.get(k) or Route(effect.level))
            case Booked():
                # `book` is the agent whose book changed, -1 for the unallocated book
                symbol = self.symbols[effect.symbol] if 0 <= effect.symbol < len(self.symbols) else ""
                kind = f"{effect.kind}@{self._agent(effect.book)}" if effect.book >= 0 else effect.kind
                self._append("bookings", seq, k, effect.ts, kind, symbol, effect.amount_micro)
            case Crossed():
                symbol, shares = self.symbols[effect.symbol], _json_text(effect.shares)
                self._append("crosses", seq, k, effect.sample, effect.ts, symbol, effect.price_nano, shares)
            case Switched():
                self._append("switches", seq, k, effect.ts, effect.agent, effect.before, effect.after, effect.reason)

    def _house(self, seq: int, k: int, effect: object, effects: Sequence[object]) -> None:
        """Append the row of a move of capital, a promotion or a shadow agent's book."""
        match effect:
            case Reallocated():
                self._append("house", seq, k, effect.ts, "capital", "", _json_text(effect))
            case Promotion():
                self._append("house", seq, k, effect.ts, "promotion", effect.names[0], _json_text(effect))
            case Shadowed():
                for inner in effect.effects:
                    if type(inner) is Valued:
                        self._append("house", seq, k, inner.ts, "shadow", effect.name, _json_text(inner))


def _json_text(value: object) -> str:
    return _json.encode(value).decode()


def _measure(value: float | None) -> float | None:
    """Replace NaN or infinity by None. SQLite would silently store NaN as NULL."""
    return value if value is not None and isfinite(value) else None


def message_id(run: str, seq: int, k: int) -> str:
    """Return the id of the message about effect `k` of entry `seq`; it is the same at each delivery."""
    return f"{run}-{seq}-{k}"
