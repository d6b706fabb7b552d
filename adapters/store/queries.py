"""Queries for people: orders, fills, equity and alerts with exact text, read through SQLModel.

Times are int64 ns UTC. Every list is oldest first; `last` limits a list to its newest items.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Engine, create_engine, event, func, tuple_
from sqlalchemy import select as columns_of
from sqlalchemy.pool import NullPool
from sqlmodel import Session, SQLModel, col, select

from quantd.adapters.store.conditions import GROUPS, alerts_with, keys_before, of_group, orders_with
from quantd.adapters.store.driver import configure, failures
from quantd.adapters.store.handle import read_only
from quantd.adapters.store.incidents.incident_fold import Incident
from quantd.adapters.store.journal.records import Records, RunRecord
from quantd.adapters.store.journal.shadow_entries import shadow_entries
from quantd.adapters.store.last_state import locate
from quantd.adapters.store.read_models import Alert, Booking, Decision, Group, Page, RiskPoint, SwitchMove
from quantd.adapters.store.store_errors import StoreMismatch
from quantd.adapters.store.tables.table_models import (
    AlertRow,
    BookingRow,
    CrossRow,
    DecisionRow,
    EquityRow,
    FillRow,
    HouseRow,
    OrderRow,
    RiskRow,
    SwitchRow,
)
from quantd.trading.codec import Entry, decode
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Planned, Promotion, Reallocated, Switched, Valued
from quantd.trading.ledger.shares import fee_parts
from quantd.trading.orders import Fill, Order, OrderState, limit_text, money_text, price_text, quantity_text, size_text

END: Final = 2**63 - 1
"""The last instant that a column can have."""

NEAR_ORDERS: Final = 1_000
"""Number of newest orders searched for ids similar to a mistyped one."""

STEP_KEY: Final = ("seq", "k")
"""Key of most rows: entry of the journal, and index of the effect."""

ORDER_KEY: Final = ("ts", "sample", "n", "row")

Item = TypeVar("Item")
Row = TypeVar("Row", bound=SQLModel)
Body = TypeVar("Body")

_shares = msgspec.json.Decoder(list[tuple[int, int]])
_books = msgspec.json.Decoder(list[int])
_planned = msgspec.msgpack.Decoder(Planned)
_measures = msgspec.json.Decoder(dict[str, tuple[float | None, float | None]])


class Trade(NamedTuple):
    """One fill, or one side of a cross (a trade between two agents without an order): signed lots, price in
    nano-currency, fee in micro-currency."""

    ts: int
    symbol: str
    lots: int
    price_nano: int
    fee_micro: int


class Reader:
    """Reads one run (account history) of a store; others may write meanwhile. Each call opens a database session."""

    def __init__(self, engine: Engine, run: RunRecord, records: Records | None = None, shadow: str = "") -> None:
        self._engine = engine
        self.run = run
        self.of_shadow = shadow
        """The shadow whose rows these are; empty for the house."""
        self.records = records
        """The journal beside the read models; None if only the read models are available."""
        self._lot = dict(zip(run.universe.symbols, run.universe.lot_nano, strict=True))

    @classmethod
    def open(cls, where: str | Path, run: str | None = None) -> "Reader":
        """Open a run, by default the newest. Raises StoreMismatch if there is none."""
        records = read_only(where)
        return cls(engine_of(where), records.run(run), records)

    def orders(self, *, last: int | None = None, symbol: str | None = None, since: int = 0) -> list[Order]:
        """Return orders created at `since` (ns UTC) or later, of `symbol` or of all symbols. Their `reason` is the
        code of the limit that reduced them."""
        return self._orders(self._order_rows(last, since, symbol))

    def order_counts(self, *, since: int = 0, until: int = END) -> dict[str, int]:
        """Return the number of orders created from `since` to `until` by state, the most frequent first.

        States with equally many orders are sorted by their first orders.

        Times are in ns UTC, and both ends of the span belong to it.
        """
        span = OrderRow.ts >= since, OrderRow.ts <= until
        query = select(OrderRow.state, func.count()).where(OrderRow.run == self.run.run, *span)
        with failures("reading orders"), self._engine.connect() as db:
            counts = {int(state): int(count) for state, count in db.execute(query.group_by(col(OrderRow.state)))}
        first_keys = {}
        if len(set(counts.values())) < len(counts):  # two states have equally many orders
            for state in counts:
                (first,) = self._rows(OrderRow, *span, OrderRow.state == state, key=ORDER_KEY, first=1)
                first_keys[state] = [getattr(first, name) for name in ORDER_KEY]
        ranked = sorted(counts, key=lambda state: (-counts[state], first_keys.get(state, [])))
        return {OrderState(state).name.lower(): counts[state] for state in ranked}

    def order(self, id: str) -> Order:
        """Return one order by its id. Raises StoreMismatch for an unknown id, with the most similar ids."""
        return self._orders([self._order_row(id)])[0]

    def fills(self, *, last: int | None = None, since: int = 0, symbol: str | None = None) -> list[Fill]:
        """Return fills of the account, each with the names of its agents joined by +."""
        return self._fills(self._fill_rows(last, since, symbol))

    def shares(self) -> list[Fill]:
        """Return one row for each agent's share of a fill, with its part of the fee, and one for each side of a cross.

        A cross is a trade between two agents without an order; its `order` is empty.

        The fee of a fill is divided between the agents; a cross has none.
        """
        fills = []
        for row in self._fill_rows(None, 0, None):  # all fills of the run
            shares = _shares.decode(row.shares)
            for (agent, lots), fee in zip(shares, fee_parts(row.fee_micro, row.lots, shares), strict=True):
                fills.append(self._fill_of(row, row.id, lots, fee, self._agent_at(agent, row.seq)))
        for cross in self._rows(CrossRow):
            for agent, lots in _shares.decode(cross.shares):
                fills.append(self._fill_of(cross, "", lots, 0, self._agent_at(agent, cross.seq)))
        return sorted(fills, key=lambda fill: fill.ts)

    def trades(self, agent: str = "", *, after: int = 0, until: int = END) -> list[Trade]:
        """Return the fills of the account, or an agent's shares of them, in the entries `after` + 1 to `until`.

        For 100,000 fills this takes a tenth of the time of `fills` or `shares`: there is no text and no order id. Lots
        are signed, prices in nano-currency and fees in micro-currency.
        """
        columns = (FillRow.seq, FillRow.ts, FillRow.symbol, FillRow.lots, FillRow.price_nano, FillRow.fee_micro)
        query = columns_of(*map(col, columns), *([col(FillRow.shares)] if agent else []))
        query = query.where(col(FillRow.run) == self.run.run, col(FillRow.seq) > after, col(FillRow.seq) <= until)
        rows = self._fetched(query, (col(FillRow.seq), col(FillRow.k)), None)
        if not agent:
            return [Trade(*row[1:]) for row in rows]
        trades = []
        for seq, ts, symbol, lots, price, fee, encoded in rows:
            shares, index = _shares.decode(encoded), self.run.index_at(agent, seq)
            if mine := [k for k, (agent_index, _) in enumerate(shares) if agent_index == index]:
                fees = fee_parts(fee, lots, shares)
                trades += [Trade(ts, symbol, shares[k][1], price, fees[k]) for k in mine]
        return trades

    def crosses(self, agent: str, *, after: int = 0, until: int = END) -> list[Trade]:
        """Return the trades of an agent with other agents in the journal's entries `after` + 1 to `until`."""
        return [
            Trade(cross.ts, cross.symbol, agent_lots, cross.price_nano, 0)
            for cross in self._rows(CrossRow, CrossRow.seq > after, CrossRow.seq <= until)
            for index in [self.run.index_at(agent, cross.seq)]
            for agent_index, agent_lots in _shares.decode(cross.shares)
            if agent_index == index
        ]

    def order_page(
        self,
        limit: int,
        before: Sequence[int],
        *,
        since: int = 0,
        until: int = END,
        symbol: str | None = None,
        group: Group = "all",
        search: str = "",
        limits: Collection[int] = (),
    ) -> Page[Order]:
        """Return at most `limit` orders with keys lower than `before` (empty: any key), the newest first.

        `search` also finds the orders that were reduced by a limit with one of the codes in `limits`. A key stays valid
        while rows are added: each page continues where the previous page ended.
        """
        conditions = [*orders_with(since, until, symbol, search, limits), *of_group(group)]
        rows = self._rows(OrderRow, *conditions, key=ORDER_KEY, last=limit + 1, before=before)
        return _page(self._orders(rows), rows, limit, ORDER_KEY)

    def order_totals(
        self,
        *,
        since: int = 0,
        until: int = END,
        symbol: str | None = None,
        search: str = "",
        limits: Collection[int] = (),
    ) -> dict[str, int]:
        """Return the number of orders in each of GROUPS (open, filled, ...), among those that the arguments select.

        The group `cut` has the orders that a limit reduced, whatever their state is; its reason code is not 0.
        """
        reduced = col(OrderRow.reason) != 0
        query = columns_of(col(OrderRow.state), reduced, func.count()).group_by(col(OrderRow.state), reduced)
        query = query.where(col(OrderRow.run) == self.run.run, *orders_with(since, until, symbol, search, limits))
        with failures("reading orders"), self._engine.connect() as db:
            rows = db.execute(query).all()
        return {
            name: sum(n for state, by_limit, n in rows if name == "all" or (by_limit if name == "cut" else state in of))
            for name, of in GROUPS.items()
        }

    def fill_page(
        self, limit: int, before: Sequence[int], *, since: int = 0, until: int = END, symbol: str | None = None
    ) -> Page[Fill]:
        """Return at most `limit` fills of the account with keys lower than `before` (empty: any), the newest first."""
        rows = self._fill_rows(limit + 1, since, symbol, before, until)
        return _page(self._fills(rows), rows, limit)

    def alert_page(
        self, limit: int, before: Sequence[int], *, since: int = 0, until: int = END, search: str = ""
    ) -> Page[Alert]:
        """Return at most `limit` alerts with keys lower than `before` (empty: any key), the newest first."""
        rows = self._rows(AlertRow, *alerts_with(since, until, search), last=limit + 1, before=before)
        return _page(list(map(_alert, rows)), rows, limit)

    def alert_total(self, *, since: int = 0, until: int = END, search: str = "") -> int:
        query = columns_of(func.count()).where(col(AlertRow.run) == self.run.run, *alerts_with(since, until, search))
        with failures("reading the store"), self._engine.connect() as db:
            return int(db.execute(query).scalar_one())

    def equity_page(self, limit: int, before: Sequence[int], *, since: int = 0) -> Page[Valued]:
        """Return at most `limit` valuations of the account with keys lower than `before` (empty: any), newest first."""
        rows = self._rows(EquityRow, EquityRow.ts >= since, last=limit + 1, before=before)
        return _page(list(map(_valued, rows)), rows, limit)

    def risk_page(self, limit: int, before: Sequence[int], *, since: int = 0) -> Page[RiskPoint]:
        """Return at most `limit` records of risk limits with keys lower than `before` (empty: any), newest first."""
        rows = self._rows(RiskRow, RiskRow.ts >= since, last=limit + 1, before=before)
        return _page([RiskPoint(r.ts, r.kind, _measures.decode(r.measures)) for r in rows], rows, limit)

    def decision_page(self, limit: int, before: Sequence[int], *, since: int = 0, until: int = END) -> Page[Decision]:
        """Return at most `limit` plans (decisions as orders) with keys below `before` (empty: any), newest first."""
        span = DecisionRow.ts >= since, DecisionRow.ts <= until
        rows = self._rows(DecisionRow, *span, last=limit + 1, before=before)
        return _page(self._with_ordinals(rows), rows, limit)

    def sampled(self) -> list[int]:
        """Return, for each valuation of the account in the order of `equity()`, the number of its journal entry.

        A valuation includes the bookings of journal entries with lower numbers.
        """
        query = select(EquityRow.seq).where(EquityRow.run == self.run.run)
        return [seq for (seq,) in self._fetched(query, (col(EquityRow.seq), col(EquityRow.k)), None)]

    def equity(self, *, since: int = 0, until: int = END, last: int | None = None) -> list[Valued]:
        """Return the account's value at each of its samples (times of valuation)."""
        return list(map(_valued, self._rows(EquityRow, EquityRow.ts >= since, EquityRow.ts <= until, last=last)))

    def alerts(
        self, *, since: int = 0, last: int | None = None, kinds: Sequence[str] = (), without: Sequence[str] = ()
    ) -> list[Alert]:
        """Return alerts at `since` (ns UTC) or later: those of the `kinds`, by default all, except `without`."""
        conditions: list[Any] = [AlertRow.ts >= since]
        if kinds:
            conditions.append(col(AlertRow.kind).in_(kinds))
        if without:
            conditions.append(col(AlertRow.kind).not_in(without))
        return list(map(_alert, self._rows(AlertRow, *conditions, last=last)))

    def alert_kinds(self) -> dict[str, int]:
        """Return the number of alerts by kind, the most frequent first."""
        number = func.count()
        query = select(AlertRow.kind, number).where(AlertRow.run == self.run.run)
        with failures("reading the store"), Session(self._engine) as session:
            return dict(session.exec(query.group_by(AlertRow.kind).order_by(number.desc(), AlertRow.kind)).all())

    def incidents(self) -> list[Incident]:
        """Return the newest incident of each kind, agent and symbol, oldest first; cleared ones too.

        Raises StoreMismatch if this reader has no journal.
        """
        if self.records is None:
            raise StoreMismatch("this Reader has no journal, which incidents need; open the run with `Reader.open`")
        incidents = self.records.incidents(self.run.run).all()
        return sorted(incidents, key=lambda incident: incident.since_ts)

    def bookings(self) -> list[Booking]:
        """Return the bookings of cash other than fills, oldest first."""
        return [
            Booking(b.ts, kind, b.symbol, money_text(b.amount_micro), agent, b.seq)
            for b, (kind, _, agent) in ((b, b.kind.partition("@")) for b in self._rows(BookingRow))
        ]

    def switches(self) -> list[SwitchMove]:
        """Return the changes of trading switches (RUN, REDUCE, HALT), oldest first."""
        names = ("RUN", "REDUCE", "HALT")
        return [
            SwitchMove(s.ts, instant_text(s.ts), who, names[s.before], names[s.after], s.reason)
            for s in self._rows(SwitchRow)
            for who in (self._agent_at(s.agent, s.seq) if s.agent >= 0 else "house",)
        ]

    def newest_moves(self) -> list[tuple[int, str, Switched]]:
        """Return the last change of each trading switch: entry, agent's name (empty for the account), change."""
        newest = {self._agent_at(s.agent, s.seq) if s.agent >= 0 else "": (s.seq, s) for s in self._rows(SwitchRow)}
        return [(seq, name, Switched(s.ts, s.agent, s.before, s.after, s.reason)) for name, (seq, s) in newest.items()]

    def risk(self, *, since: int = 0, last: int | None = None) -> list[RiskPoint]:
        """Return records of the account's risk limits."""
        rows = self._rows(RiskRow, RiskRow.ts >= since, last=last)
        return [RiskPoint(r.ts, r.kind, _measures.decode(r.measures)) for r in rows]

    def capital(self, *, since: int = 0) -> list[Reallocated]:
        return self._house_records("capital", Reallocated, since)

    def promotions(self, *, since: int = 0) -> list[Promotion]:
        """Return the comparisons of challengers (candidate policies) with their champions."""
        return self._house_records("promotion", Promotion, since)

    def shadow(self, name: str, *, since: int = 0) -> list[Valued]:
        """Return the value of a shadow agent's simulated book at each of its samples (times of valuation)."""
        return self._house_records("shadow", Valued, since, HouseRow.agent == name)

    def shadows(self) -> list[str]:
        """Return the names of the shadow agents that were valued at a sample."""
        query = select(HouseRow.agent).where(HouseRow.run == self.run.run, HouseRow.kind == "shadow").distinct()
        with failures("reading the shadows"), Session(self._engine) as session:
            return sorted(session.exec(query))

    def journal(self, since: int = 1) -> Iterator[tuple[int, Entry]]:
        """Iterate over (seq, entry) of the account or of this reader's shadow agent. Raises StoreMismatch without a
        journal."""
        entries = ((seq, decode(data)) for seq, data in self.entries(since))
        return shadow_entries(entries, self.of_shadow) if self.of_shadow else entries

    def entries(self, since: int = 1) -> Iterator[tuple[int, bytes]]:
        """Iterate over (seq, encoded entry) of the run. Raises StoreMismatch without a journal."""
        if self.records is None:
            raise StoreMismatch("this Reader has no journal; open the run with `Reader.open`")
        return self.records.entries(self.run.run, since)

    def _house_records(self, kind: str, body_type: type[Body], since: int, *conditions: bool) -> list[Body]:
        rows = self._rows(HouseRow, HouseRow.kind == kind, HouseRow.ts >= since, *conditions)
        decode = msgspec.json.Decoder(body_type).decode
        return [decode(row.body) for row in rows]

    def decisions(self, *, last: int | None = None, since: int = 0, until: int = END) -> list[Decision]:
        """Return the plans (decisions converted to orders) from `since` to `until`, follow-up plans included."""
        return self._with_ordinals(self._rows(DecisionRow, DecisionRow.ts >= since, DecisionRow.ts <= until, last=last))

    def first_step(self, since: int) -> int:
        """Return the journal entry number of the first plan created at `since` (ns UTC) or later; 1 without one."""
        rows = self._rows(DecisionRow, DecisionRow.ts >= since, first=1)
        return rows[0].seq if rows else 1

    def decisions_after(self, key: tuple[int, int], limit: int, ordinal: int = 0) -> list[tuple[int, Decision]]:
        """Return the plans after `key`, a (journal entry, effect), oldest first, each with its effect's index.

        `ordinal` is the number of the plan at `key` among the plans of its entry.
        """
        after = tuple_(col(DecisionRow.seq), col(DecisionRow.k)) > tuple_(*key)
        numbered, last_seq = [], key[0]
        for row in self._rows(DecisionRow, after, first=limit):
            last_seq, ordinal = row.seq, ordinal + 1 if row.seq == last_seq else 1
            numbered.append((row.k, self._decision_of(row, ordinal)))
        return numbered

    def decisions_of(self, ordinals: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], Decision]:
        """Return the stored plans by (entry, effect). `ordinals` has the number of each plan within its entry."""
        keys = tuple_(col(DecisionRow.seq), col(DecisionRow.k)).in_(list(ordinals))
        rows = self._rows(DecisionRow, keys) if ordinals else []
        return {(row.seq, row.k): self._decision_of(row, ordinals[row.seq, row.k]) for row in rows}

    def decision(self, order_id: str) -> Decision:
        """Return the plan that created an order. Raises StoreMismatch for an unknown or manual order."""
        row = self._order_row(order_id)
        rows = self._rows(DecisionRow, DecisionRow.sample == row.sample, DecisionRow.n == row.n, last=1)
        if not rows:
            raise StoreMismatch(f"order {order_id} was not made by a plan, but by hand")
        return self._with_ordinals(rows)[0]

    def decision_at(self, seq: int, ordinal: int) -> Decision:
        """Return plan number `ordinal` of entry `seq`. Raises StoreMismatch, with the nearest plan, if there is none.

        An ordinal counts the plans of one entry from 1.
        """
        rows = self._rows(DecisionRow, DecisionRow.seq == seq)
        if 1 <= ordinal <= len(rows):
            return self._with_ordinals(rows)[ordinal - 1]
        before = self._with_ordinals(self._rows(DecisionRow, DecisionRow.seq < seq, last=1))
        after = self._with_ordinals(self._rows(DecisionRow, DecisionRow.seq >= seq, first=1))
        near = " and ".join(plan.address for plan in (*before, *after)) or "none"
        wrong = f"d{seq}" if ordinal == 1 else f"d{seq}.{ordinal}"
        if self.of_shadow:
            wrong += f"@{self.of_shadow}"
        raise StoreMismatch(
            f"there is no decision {wrong} in run {self.run.run}; the nearest: {near}. `quantd why` lists them"
        )

    def _with_ordinals(self, rows: Sequence[DecisionRow]) -> list[Decision]:
        """Convert rows to plans in order of journal entries, each with its number among the plans of its entry."""
        if not rows:
            return []
        # some plans of the first entry may belong to the previous page
        ordinal = len(self._rows(DecisionRow, DecisionRow.seq == rows[0].seq, DecisionRow.k < rows[0].k))
        decisions: list[Decision] = []
        for index, row in enumerate(rows):
            ordinal = ordinal + 1 if not index or rows[index - 1].seq == row.seq else 1
            decisions.append(self._decision_of(row, ordinal))
        return decisions

    def _decision_of(self, row: DecisionRow, ordinal: int) -> Decision:
        return Decision(row.seq, ordinal, _planned.decode(row.plan), self.run.agents_at(row.seq), self.of_shadow)

    def _rows(
        self,
        table: type[Row],
        *conditions: bool | ColumnElement[bool],
        key: Sequence[str] = STEP_KEY,
        first: int = -1,
        last: int | None = None,
        before: Sequence[int] = (),
    ) -> list[Row]:
        """Return the run's rows that meet the conditions, in order of `key`: the `first` ones or the `last` ones.

        With `before`, a value for each column of the key, only rows with a lower key are returned.

        A limit of -1 in `first` and None in `last` mean all rows.
        """
        run, *columns = (col(getattr(table, name)) for name in ("run", *key))
        query = _selected(*_columns(table)).where(run == self.run.run, *conditions)
        return self._fetched(keys_before(query, columns, before), columns, last, first)

    def _fetched(self, query: Any, key: Sequence[Any], last: int | None, first: int = -1) -> list[Any]:
        """Return rows by ascending `key`: all, the `first` or the `last` ones. The query's columns are attributes.

        To build objects of the table classes instead would take five times as long.
        """
        with failures("reading the store"), self._engine.connect() as db:
            if last is None:
                return list(db.execute(query.order_by(*key).limit(None if first < 0 else first)).all())
            return list(db.execute(query.order_by(*(c.desc() for c in key)).limit(last)).all())[::-1]

    def _order_rows(self, last: int | None, since: int = 0, symbol: str | None = None) -> list[OrderRow]:
        conditions = [OrderRow.ts >= since, *([] if symbol is None else [OrderRow.symbol == symbol])]
        return self._rows(OrderRow, *conditions, key=ORDER_KEY, last=last)

    def _fill_rows(
        self, last: int | None, since: int, symbol: str | None, before: Sequence[int] = (), until: int = END
    ) -> list[Any]:
        """Return rows of fills, each with the columns of the fill and the `id` of its order.

        `last` is the number of newest rows, None for all. Fills have `since` <= ts < `until` (ns UTC).
        """
        query = (
            _selected(*_columns(FillRow), col(OrderRow.id))
            .join(
                OrderRow,
                (col(OrderRow.run) == FillRow.run)
                & (col(OrderRow.sample) == FillRow.sample)
                & (col(OrderRow.n) == FillRow.n)
                & (col(OrderRow.symbol) == FillRow.symbol),
            )
            .where(FillRow.run == self.run.run, FillRow.ts >= since, FillRow.ts < until)
        )
        if symbol is not None:
            query = query.where(FillRow.symbol == symbol)
        columns = col(FillRow.seq), col(FillRow.k)
        return self._fetched(keys_before(query, columns, before), columns, last)

    def _order_row(self, id: str) -> OrderRow:
        with failures("reading orders"), Session(self._engine) as session:
            # Ids have no index: a scan of a million orders takes 0.2 s, and an index would slow every order.
            row = session.exec(select(OrderRow).where(OrderRow.run == self.run.run, OrderRow.id == id)).first()
        if row is None:
            near = ", ".join(get_close_matches(id, [row.id for row in self._order_rows(NEAR_ORDERS)], n=3, cutoff=0.0))
            hint = f"; the nearest: {near}" if near else ""
            raise StoreMismatch(f"there is no order {id} in run {self.run.run}{hint}. `quantd orders` lists them")
        return row

    def _orders(self, rows: Sequence[OrderRow]) -> list[Order]:
        """Convert rows to orders with names and numbers as text."""
        terms = self._fill_terms([row for row in rows if row.filled])
        orders = []
        for row in rows:
            lot, (price, fee) = self._lot[row.symbol], terms.get((row.sample, row.n, row.symbol), ("", ""))
            orders.append(
                Order(
                    id=row.id, ts=row.ts, time=instant_text(row.ts), **size_text(row.symbol, row.lots, lot),
                    limit=limit_text(row.worst_nano), state=OrderState(row.state).name.lower(),
                    filled=quantity_text(row.filled, lot), price=price, fee=fee, reason=str(row.reason),
                    agent=row.agents, ended=instant_text(row.ended_ts), note=row.note,
                )
            )  # fmt: skip
        return orders

    def _fill_terms(self, rows: Sequence[OrderRow]) -> dict[tuple[int, int, str], tuple[str, str]]:
        """Return (mean price, fees) of the fills of orders, as text, by sample, basket and symbol."""
        if not rows:
            return {}
        key = col(FillRow.sample), col(FillRow.n), col(FillRow.symbol)
        price, lots = col(FillRow.price_nano), col(FillRow.lots)
        samples = [row.sample for row in rows]
        query = columns_of(
            *key, func.min(price), func.max(price), func.sum(lots * 1.0 * price), func.sum(lots),  # in floats: large
            func.sum(col(FillRow.fee_micro)),
        ).where(
            col(FillRow.run) == self.run.run, col(FillRow.seq) >= min(row.seq for row in rows),
            col(FillRow.sample).between(min(samples), max(samples)),
        ).group_by(*key)  # fmt: skip
        terms = {}
        with failures("reading fills"), self._engine.connect() as db:
            for sample, n, symbol, least, most, value, count, fee in db.execute(query).all():
                mean = int(least) if least == most or not count else round(float(value) / float(count))
                terms[int(sample), int(n), symbol] = price_text(mean), money_text(int(fee))
        return terms

    def _fills(self, rows: Iterable[Any]) -> list[Fill]:
        """Convert rows to fills, each with the names of its agents joined by +."""
        fills = []
        seq, names = -1, tuple[str, ...]()
        for row in rows:
            if row.seq != seq:
                seq, names = row.seq, self.run.agents_at(row.seq)
            agents = "+".join([_agent_name(names, agent) for agent, _ in _shares.decode(row.shares)])
            fills.append(self._fill_of(row, row.id, row.lots, row.fee_micro, agents))
        return fills

    def _fill_of(self, row: FillRow | CrossRow, order: str, lots: int, fee_micro: int, agent: str) -> Fill:
        """Convert lots of a fill or cross to a fill in text."""
        return Fill(
            ts=row.ts,
            time=instant_text(row.ts),
            order=order,
            **size_text(row.symbol, lots, self._lot[row.symbol]),
            price=price_text(row.price_nano),
            fee=money_text(fee_micro),
            agent=agent,
        )

    def _agent_at(self, agent: int, seq: int) -> str:
        return _agent_name(self.run.agents_at(seq), agent)


def _agent_name(names: Sequence[str], agent: int) -> str:
    return names[agent] if 0 <= agent < len(names) else str(agent)


_selected: Any = columns_of  # without its types, which know no columns of tables


def _columns(table: type[SQLModel]) -> list[Any]:
    return [col(getattr(table, name)) for name in table.model_fields]


def _page(entries: list[Item], rows: Sequence[SQLModel], limit: int, key: Sequence[str] = STEP_KEY) -> Page[Item]:
    """Return a page of the newest `limit` rows, newest first; `entries` are the converted `rows`, both oldest first.

    The caller reads one row more than `limit`, which shows that older rows follow.
    """
    keys = [tuple(getattr(row, name) for name in key) for row in rows[-limit:]]
    return Page(entries[-limit:][::-1], keys[::-1], len(rows) > limit)


def _valued(row: EquityRow) -> Valued:
    return Valued(row.ts, row.equity_micro, row.cash_micro, _books.decode(row.books), row.gross, row.drawdown)


def _alert(a: AlertRow) -> Alert:
    return Alert(a.seq, a.ts, instant_text(a.ts), a.level, a.kind, a.text, a.symbol, a.agent, a.value, a.bound)


def engine_of(where: str | Path) -> Engine:
    """Return a SQLAlchemy engine for reading; with SQLite, the engine cannot write."""
    _, _, path = locate(where, Path())
    if path is None:
        return create_engine(str(where), poolclass=NullPool)
    uri = path.resolve().as_uri().removeprefix("file://")
    engine = create_engine(f"sqlite:///file:{uri}?mode=ro&uri=true", poolclass=NullPool)
    event.listen(engine, "connect", lambda db, _: configure(db, read_only=True))
    return engine
