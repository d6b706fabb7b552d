"""Queries for people: orders, fills, equity and alerts with exact text, read through SQLModel.

Times are int64 ns UTC. Every list is oldest first; `last` limits it to the newest.
"""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool
from sqlmodel import Session, col, select

from quantd.adapters.store.driver import configure, failures
from quantd.adapters.store.errors import StoreFailing
from quantd.adapters.store.handle import locate, read_only
from quantd.adapters.store.journal.records import Records, RunRecord
from quantd.adapters.store.read_models import (
    Alert,
    Booking,
    Decision,
    EquityPoint,
    OrderNow,
    Quarantined,
    RiskPoint,
    SwitchMove,
)
from quantd.adapters.store.tables.table_models import (
    AlertRow,
    BookingRow,
    CrossRow,
    DecisionRow,
    EquityRow,
    FillRow,
    HouseRow,
    OrderRow,
    QuarantineRow,
    RiskRow,
    SwitchRow,
)
from quantd.trading.effects import Planned, Promotion, Reallocated, Valued
from quantd.trading.netting import fee_parts
from quantd.trading.orders import Fill, Order, OrderState, money_text, price_text, quantity_text

NEAR_ORDERS: Final = 1_000
"""Number of newest orders searched for ids similar to a mistyped one."""

_shares = msgspec.json.Decoder(list[tuple[int, int]])
_books = msgspec.json.Decoder(list[int])
_planned = msgspec.msgpack.Decoder(Planned)
_capital = msgspec.json.Decoder(Reallocated)
_promotion = msgspec.json.Decoder(Promotion)
_valued = msgspec.json.Decoder(Valued)
_measures = msgspec.json.Decoder(dict[str, tuple[float | None, float | None]])


class Reader:
    """Reads one run of a store; another process may write meanwhile. Sessions last for one call."""

    def __init__(self, engine: Engine, run: RunRecord, records: Records | None = None) -> None:
        self._engine = engine
        self.run = run
        self.records = records
        """The journal beside the read models; None if only the read models are available."""
        self._lot = dict(zip(run.universe.symbols, run.universe.lot_nano, strict=True))

    @classmethod
    def open(cls, where: str | Path, run: str | None = None) -> "Reader":
        """Open a run, by default the newest. Raises StoreFailing without one."""
        records = read_only(where)
        return cls(engine_of(where), run_of(records, run), records)

    def orders(
        self,
        *,
        last: int | None = None,
        states: Collection[OrderState] | None = None,
        symbol: str | None = None,
        since: int = 0,
    ) -> list[OrderNow]:
        """Return orders created at `since` or later, in any of `states`, of `symbol`."""
        query = select(OrderRow).where(OrderRow.run == self.run.run, OrderRow.ts >= since)
        if states is not None:
            query = query.where(col(OrderRow.state).in_([int(s) for s in states]))
        if symbol is not None:
            query = query.where(OrderRow.symbol == symbol)
        key = (col(OrderRow.ts), col(OrderRow.sample), col(OrderRow.n), col(OrderRow.row))
        return [self._order(row) for row in self._newest(query, key, last)]

    def order(self, id: str) -> OrderNow:
        """Return one order by its id. Raises StoreFailing with the most similar ids."""
        return self._order(self._order_row(id))

    def fills(self, *, last: int | None = None, since: int = 0, symbol: str | None = None) -> list[Fill]:
        """Return house fills, with agents joined by +."""
        return [self._fill(row, id) for row, id in self._fill_rows(last, since, symbol)]

    def shares(self, *, since: int = 0) -> list[Fill]:
        """Return one row per agent's share of a fill, with its booked part of the fee, and one per side of a cross.

        The order of a cross is empty.
        """
        out = []
        for row, id in self._fill_rows(None, since, None):
            shares = _shares.decode(row.shares)
            for (agent, lots), fee in zip(shares, fee_parts(row.fee_micro, row.lots, shares), strict=True):
                out.append(self._one(row, id, lots, fee, self._name(agent, row.seq)))
        crosses = select(CrossRow).where(CrossRow.run == self.run.run, CrossRow.ts >= since)
        for cross in self._newest(crosses, (col(CrossRow.seq), col(CrossRow.k)), None):
            for agent, lots in _shares.decode(cross.shares):
                out.append(self._one(cross, "", lots, 0, self._name(agent, cross.seq)))
        return sorted(out, key=lambda fill: fill.ts)

    def sampled(self) -> list[int]:
        """Return the entry number of each row of `equity()`. A booking with a lower number is included in that row."""
        query = select(EquityRow.seq).where(EquityRow.run == self.run.run)
        return list(self._newest(query, (col(EquityRow.seq), col(EquityRow.k)), None))

    def equity(self, *, since: int = 0, until: int | None = None, last: int | None = None) -> list[EquityPoint]:
        query = select(EquityRow).where(EquityRow.run == self.run.run, EquityRow.ts >= since)
        if until is not None:
            query = query.where(EquityRow.ts <= until)
        return [
            EquityPoint(
                row.ts,
                money_text(row.equity_micro),
                money_text(row.cash_micro),
                tuple(money_text(b) for b in _books.decode(row.books)),
                row.gross,
                row.drawdown,
            )
            for row in self._newest(query, (col(EquityRow.seq), col(EquityRow.k)), last)
        ]

    def alerts(
        self, *, since: int = 0, after_seq: int = 0, last: int | None = None, levels: Collection[str] | None = None
    ) -> list[Alert]:
        """Return alerts at `since` or later, of entries after `after_seq` (to follow), of some levels."""
        query = select(AlertRow).where(AlertRow.run == self.run.run, AlertRow.ts >= since, AlertRow.seq > after_seq)
        if levels is not None:
            query = query.where(col(AlertRow.level).in_(list(levels)))
        return [
            Alert(a.seq, a.ts, a.level, a.kind, a.text, a.symbol, a.agent, a.value, a.bound)
            for a in self._newest(query, (col(AlertRow.seq), col(AlertRow.k)), last)
        ]

    def bookings(self, *, since: int = 0) -> list[Booking]:
        query = select(BookingRow).where(BookingRow.run == self.run.run, BookingRow.ts >= since)
        rows = self._newest(query, (col(BookingRow.seq), col(BookingRow.k)), None)
        return [
            Booking(b.ts, kind, b.symbol, money_text(b.amount_micro), agent, b.seq)
            for b, (kind, _, agent) in ((b, b.kind.partition("@")) for b in rows)
        ]

    def switches(self, *, last: int | None = None) -> list[SwitchMove]:
        names = ("RUN", "REDUCE", "HALT")
        query = select(SwitchRow).where(SwitchRow.run == self.run.run)
        return [
            SwitchMove(
                s.ts, self._name(s.agent, s.seq) if s.agent >= 0 else "", names[s.before], names[s.after], s.reason
            )
            for s in self._newest(query, (col(SwitchRow.seq), col(SwitchRow.k)), last)
        ]

    def risk(self, *, since: int = 0, last: int | None = None) -> list[RiskPoint]:
        """Return records of the house limits."""
        query = select(RiskRow).where(RiskRow.run == self.run.run, RiskRow.ts >= since)
        rows = self._newest(query, (col(RiskRow.seq), col(RiskRow.k)), last)
        return [RiskPoint(r.ts, r.kind, _measures.decode(r.measures)) for r in rows]

    def house(self, kind: str, *, since: int = 0, agent: str | None = None) -> list[tuple[int, str, str]]:
        """Return (instant, agent, JSON) of records between agents: of "capital", "promotion" or "shadow"."""
        query = select(HouseRow).where(HouseRow.run == self.run.run, HouseRow.kind == kind, HouseRow.ts >= since)
        if agent is not None:
            query = query.where(HouseRow.agent == agent)
        rows = self._newest(query, (col(HouseRow.seq), col(HouseRow.k)), None)
        return [(row.ts, row.agent, row.body) for row in rows]

    def capital(self, *, since: int = 0) -> list[Reallocated]:
        """Return the capital moves between agents."""
        return [_capital.decode(body) for _, _, body in self.house("capital", since=since)]

    def promotions(self, *, since: int = 0) -> list[Promotion]:
        """Return the comparisons of challengers with their champions."""
        return [_promotion.decode(body) for _, _, body in self.house("promotion", since=since)]

    def shadow(self, name: str, *, since: int = 0) -> list[EquityPoint]:
        """Return the book of a shadow agent at its samples."""
        found = [_valued.decode(body) for _, _, body in self.house("shadow", since=since, agent=name)]
        return [
            EquityPoint(
                v.ts,
                money_text(v.equity_micro),
                money_text(v.cash_micro),
                tuple(map(money_text, v.books)),
                v.gross,
                v.drawdown,
            )
            for v in found
        ]

    def quarantine(self, *, last: int | None = None) -> list[Quarantined]:
        query = select(QuarantineRow).where(QuarantineRow.run == self.run.run)
        rows = self._newest(query, (col(QuarantineRow.number),), last)
        return [Quarantined(q.ts, q.symbol, q.reason, q.bar) for q in rows]

    def decisions(self, *, last: int | None = None, since: int = 0, until: int | None = None) -> list[Decision]:
        """Return plans of rounds from `since` to `until`, follow-ups included."""
        query = select(DecisionRow).where(DecisionRow.run == self.run.run, DecisionRow.ts >= since)
        if until is not None:
            query = query.where(DecisionRow.ts <= until)
        return self._placed(list(self._newest(query, (col(DecisionRow.seq), col(DecisionRow.k)), last)))

    def first_step(self, since: int) -> int:
        """Return the step of the first plan created at `since` or later; 1 without one."""
        query = select(DecisionRow.seq).where(DecisionRow.run == self.run.run, DecisionRow.ts >= since)
        with failures("reading decisions"), Session(self._engine) as session:
            found = session.exec(query.order_by(col(DecisionRow.seq)).limit(1)).first()
        return 1 if found is None else found

    def decisions_before(self, seq: int, last: int) -> list[Decision]:
        """Return the newest plans of steps earlier than `seq`: the previous page."""
        query = select(DecisionRow).where(DecisionRow.run == self.run.run, DecisionRow.seq < seq)
        return self._placed(list(self._newest(query, (col(DecisionRow.seq), col(DecisionRow.k)), last)))

    def decision(self, order_id: str) -> Decision:
        """Return the plan that created an order. Raises StoreFailing for an unknown order, or one without a plan."""
        row = self._order_row(order_id)
        query = select(DecisionRow).where(
            DecisionRow.run == row.run, DecisionRow.sample == row.sample, DecisionRow.n == row.n
        )
        with failures("reading decisions"), Session(self._engine) as session:
            found = session.exec(query.order_by(col(DecisionRow.seq).desc())).first()
        if found is None:
            raise StoreFailing(f"order {order_id} was not made by a plan, but by hand")
        return self._placed([found])[0]

    def decision_at(self, seq: int, ordinal: int) -> Decision:
        """Return the plan of one step of the journal. Raises StoreFailing with the nearest one."""
        query = select(DecisionRow).where(DecisionRow.run == self.run.run, DecisionRow.seq == seq)
        rows = list(self._newest(query, (col(DecisionRow.seq), col(DecisionRow.k)), None))
        if 1 <= ordinal <= len(rows):
            return self._placed(rows)[ordinal - 1]
        before = self.decisions_before(seq, 1)
        later = select(DecisionRow).where(DecisionRow.run == self.run.run, DecisionRow.seq >= seq)
        with failures("reading decisions"), Session(self._engine) as session:
            after = session.exec(later.order_by(col(DecisionRow.seq), col(DecisionRow.k)).limit(1)).all()
        near = " and ".join(d.address for d in (*before, *self._placed(list(after)))) or "none"
        wrong = f"d{seq}" if ordinal == 1 else f"d{seq}.{ordinal}"
        raise StoreFailing(
            f"there is no decision {wrong} in run {self.run.run}; the nearest: {near}. `quantd decisions` lists them"
        )

    def _placed(self, rows: Sequence[DecisionRow]) -> list[Decision]:
        """Return rows in order of their steps, each with its number among the plans of its step."""
        if not rows:
            return []
        # some plans of the first step may belong to the previous page
        query = select(DecisionRow.k).where(
            DecisionRow.run == self.run.run, DecisionRow.seq == rows[0].seq, DecisionRow.k < rows[0].k
        )
        with failures("reading decisions"), Session(self._engine) as session:
            ordinal = len(session.exec(query).all())
        found: list[Decision] = []
        for number, row in enumerate(rows):
            ordinal = ordinal + 1 if not number or rows[number - 1].seq == row.seq else 1
            found.append(Decision(row.seq, ordinal, _planned.decode(row.plan), self.run.agents_at(row.seq)))
        return found

    def _newest(self, query: Any, key: Sequence[Any], last: int | None) -> Iterable[Any]:
        with failures("reading the store"), Session(self._engine) as session:
            if last is None:
                return list(session.exec(query.order_by(*key)))
            rows = list(session.exec(query.order_by(*(c.desc() for c in key)).limit(last)))
        return reversed(rows)

    def _fill_rows(self, last: int | None, since: int, symbol: str | None) -> Iterable[tuple[FillRow, str]]:
        query = (
            select(FillRow, OrderRow.id)
            .join(
                OrderRow,
                (col(OrderRow.run) == FillRow.run)
                & (col(OrderRow.sample) == FillRow.sample)
                & (col(OrderRow.n) == FillRow.n)
                & (col(OrderRow.symbol) == FillRow.symbol),
            )
            .where(FillRow.run == self.run.run, FillRow.ts >= since)
        )
        if symbol is not None:
            query = query.where(FillRow.symbol == symbol)
        return self._newest(query, (col(FillRow.seq), col(FillRow.k)), last)

    def _order_row(self, id: str) -> OrderRow:
        with failures("reading orders"), Session(self._engine) as session:
            # Ids have no index: a scan of a million orders takes 0.2 s, and an index would slow every order.
            row = session.exec(select(OrderRow).where(OrderRow.run == self.run.run, OrderRow.id == id)).first()
        if row is None:
            near = ", ".join(get_close_matches(id, self._newest_ids(), n=3, cutoff=0.0))
            hint = f"; the nearest: {near}" if near else ""
            raise StoreFailing(f"there is no order {id} in run {self.run.run}{hint}. `quantd orders` lists them")
        return row

    def _newest_ids(self) -> list[str]:
        """Return ids of the newest orders, as suggestions for a mistyped id."""
        query = select(OrderRow).where(OrderRow.run == self.run.run)
        key = (col(OrderRow.ts), col(OrderRow.sample), col(OrderRow.n), col(OrderRow.row))
        return [row.id for row in self._newest(query, key, NEAR_ORDERS)]

    def _order(self, row: OrderRow) -> OrderNow:
        lot = self._lot[row.symbol]
        order = Order(
            id=row.id,
            ts=row.ts,
            symbol=row.symbol,
            side="buy" if row.lots > 0 else "sell",
            qty=quantity_text(abs(row.lots), lot),
            limit=price_text(row.worst_nano),
            state=OrderState(row.state).name.lower(),
            reason=str(row.reason),
            agent=row.agents,
        )
        return OrderNow(order, quantity_text(row.filled, lot), row.ended_ts, row.note)

    def _fill(self, row: FillRow, order: str) -> Fill:
        names = "+".join(self._name(agent, row.seq) for agent, _ in _shares.decode(row.shares))
        return self._one(row, order, row.lots, row.fee_micro, names)

    def _one(self, row: FillRow | CrossRow, order: str, lots: int, fee_micro: int, agent: str) -> Fill:
        return Fill(
            ts=row.ts,
            order=order,
            symbol=row.symbol,
            side="buy" if lots > 0 else "sell",
            qty=quantity_text(abs(lots), self._lot[row.symbol]),
            price=price_text(row.price_nano),
            fee=money_text(fee_micro),
            agent=agent,
        )

    def _name(self, agent: int, seq: int) -> str:
        names = self.run.agents_at(seq)
        return names[agent] if 0 <= agent < len(names) else str(agent)


def engine_of(where: str | Path) -> Engine:
    """Return a SQLAlchemy engine for reading; for SQLite it cannot write."""
    _, _, path = locate(where, Path())
    if path is None:
        return create_engine(str(where), poolclass=NullPool)
    uri = path.resolve().as_uri().removeprefix("file://")
    engine = create_engine(f"sqlite:///file:{uri}?mode=ro&uri=true", poolclass=NullPool)
    event.listen(engine, "connect", lambda db, _: configure(db, read_only=True))
    return engine


def run_of(records: Records, name: str | None) -> RunRecord:
    """Return the run called `name`, or the newest. Raises StoreFailing."""
    if name is not None:
        return records.run(name)
    found = records.runs()
    if not found:
        raise StoreFailing("the store has no run yet; `quantd run` begins one")
    return found[-1]
