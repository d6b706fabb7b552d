"""Frames of an account: equity, books, fills, orders, decisions and alerts, each with one schema.

What can go wrong: the frame of a finished run and that of a stored one differ in a column or its type. Both therefore
use one schema for each kind, also without a row.

Times are UTC with nanoseconds, quantities and money float64 in units and account currency. Exact decimals are in the
journal and in the output of `quantd export`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Self

import numpy as np
import polars as pl

from quantd.adapters.store.read_models import Alert
from quantd.daemon.views.limit_rows import reason_name
from quantd.daemon.views.rows import DecisionLine
from quantd.extras import lack
from quantd.research.runs.run_record import Record
from quantd.trading.effects import Filled, Valued
from quantd.trading.exit_codes import PackageMissing
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.market import Floats
from quantd.trading.orders import NO_LIMIT, Fill, Order, order_id

TIME: Final = pl.Datetime("ns", "UTC")

EQUITY: Final[dict[str, Any]] = {
    "ts": TIME, "equity": pl.Float64, "cash": pl.Float64, "gross": pl.Float64, "drawdown": pl.Float64,
}  # fmt: skip
BOOKS: Final[dict[str, Any]] = {"ts": TIME, "book": pl.String, "equity": pl.Float64}
FILLS: Final = {
    "ts": TIME, "order": pl.String, "symbol": pl.String, "side": pl.String, "quantity": pl.Float64,
    "price": pl.Float64, "fee": pl.Float64, "agents": pl.String,
}  # fmt: skip
ORDERS: Final = {
    "ts": TIME, "order": pl.String, "symbol": pl.String, "side": pl.String, "quantity": pl.Float64,
    "limit": pl.Float64, "state": pl.String, "filled": pl.Float64, "reason": pl.String, "agents": pl.String,
    "note": pl.String,
}  # fmt: skip
DECISIONS: Final = {
    "ts": TIME, "decision": pl.String, "agent": pl.String, "symbol": pl.String, "weight": pl.Float64,
    "scale": pl.Float64, "requested": pl.Float64, "allowed": pl.Float64, "reason": pl.String,
}  # fmt: skip
ALERTS: Final = {
    "ts": TIME, "level": pl.String, "kind": pl.String, "text": pl.String, "symbol": pl.String, "agent": pl.String,
    "value": pl.Float64, "bound": pl.Float64,
}  # fmt: skip

HOUSE: Final = "house"
"""Agent of a decision's line about the house: the net order after crossing, and what its limits allow."""

UNALLOCATED: Final = "unallocated"


class Frame(pl.DataFrame):
    """A polars frame whose `to_pandas` needs no pyarrow. A frame computed from it is a plain polars frame."""

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """Return the same columns as a frame of this class."""
        return cls(frame.get_columns())

    def to_pandas(self, **_: Any) -> Any:
        """Return a pandas frame: instants in UTC, missing numbers NaN, text as text.

        Raises PackageMissing without pandas, which the extra `calendars` has.
        """
        if text := lack("to_pandas", "calendars", "pandas"):
            raise PackageMissing(text)
        import pandas

        return pandas.DataFrame({column.name: _pandas_values(column) for column in self.get_columns()})


def _pandas_values(column: pl.Series) -> Any:
    """Return the values of a column for pandas."""
    import pandas

    if isinstance(column.dtype, pl.Datetime):
        instants = pandas.Series(column.dt.replace_time_zone(None).to_numpy())
        return instants.dt.tz_localize("UTC") if column.dtype.time_zone else instants
    return column.to_numpy() if column.dtype.is_numeric() else column.to_list()


def _frame(schema: Mapping[str, Any], rows: Iterable[Sequence[object]]) -> Frame:
    return Frame(list(rows), schema=dict(schema), orient="row")


def equity_frame(record: Record) -> Frame:
    """Return the account at its samples, valued as its figures are; `gross` is exposure over equity.

    `gross` and `drawdown` are those of the limits, at last known prices.
    """
    columns = record.ts, _money(record.equity_micro), _money(record.cash_micro), record.gross, record.drawdown
    return Frame(dict(zip(EQUITY, map(np.asarray, columns), strict=True)), schema=EQUITY)


def books_frame(record: Record, agents: Sequence[str]) -> Frame:
    """Return the equity of each agent's book, and of the unallocated one, at its samples."""
    names = (*agents, UNALLOCATED)
    money = _money(record.books_micro)
    ts = np.repeat(np.asarray(record.ts, dtype=np.int64), len(names))
    return Frame({"ts": ts, "book": list(names) * len(record.ts), "equity": money.ravel()}, schema=BOOKS)


def _money(micro: Sequence[object]) -> Floats:
    return np.asarray(micro, dtype=np.float64) / MICRO


def stored_equity_frame(points: Sequence[Valued]) -> Frame:
    """Return the samples of a store, with the columns of `equity_frame`."""
    rows = ((p.ts, p.equity_micro / MICRO, p.cash_micro / MICRO, p.gross, p.drawdown) for p in points)
    return _frame(EQUITY, rows)


def stored_books_frame(points: Sequence[Valued], agents: Sequence[str]) -> Frame:
    """Return the books of a store, with the columns of `books_frame`."""
    names = (*agents, UNALLOCATED)
    return _frame(
        BOOKS, ((p.ts, name, equity / MICRO) for p in points for name, equity in zip(names, p.books, strict=False))
    )


def fills_frame(fills: Iterable[Filled], universe: Universe, agents: Sequence[str], run: str) -> Frame:
    """Return recorded fills, one row each; `agents` are joined by +."""
    lot = universe.lot_nano

    def rows(one: Filled) -> Iterable[Sequence[object]]:
        for k, symbol in enumerate(one.sym):
            lots, names = one.lots[k], "+".join(agents[agent] for agent, _ in one.shares[k])
            yield (
                one.ts, order_id(run, one.sample, universe.symbols[symbol], one.n), universe.symbols[symbol],
                "buy" if lots > 0 else "sell", abs(lots) * lot[symbol] / NANO, one.price_nano[k] / NANO,
                one.fee_micro[k] / MICRO, names,
            )  # fmt: skip

    return _frame(FILLS, chain.from_iterable(map(rows, fills)))


def stored_fills_frame(fills: Iterable[Fill]) -> Frame:
    """Return the fills of a store, with the columns of `fills_frame`."""
    rows = ((f.ts, f.order, f.symbol, f.side, float(f.qty), float(f.price), float(f.fee), f.agent) for f in fills)
    return _frame(FILLS, rows)


def orders_frame(orders: Iterable[Order]) -> Frame:
    """Return orders, one row each; `reason` is the limit that cut the order, empty without one. An order without a
    collar has no limit price (null)."""
    rows = (
        (
            o.ts, o.id, o.symbol, o.side, float(o.qty), None if o.limit in NO_LIMIT else float(o.limit), o.state,
            float(o.filled), reason_name(int(o.reason)) if o.reason not in ("", "0") else "", o.agent, o.note,
        )
        for o in orders
    )  # fmt: skip
    return _frame(ORDERS, rows)


def decisions_frame(decisions: Iterable[DecisionLine]) -> Frame:
    """Return decisions, one row per agent and symbol with a weight or an order, and one per net order of the house.

    `requested` and `allowed` are signed quantities before and after the limits; `reason` is the limit that cut them.
    """

    def rows(one: DecisionLine) -> Iterable[Sequence[object]]:
        for part in one.agents:
            for symbol in dict.fromkeys((*part.weights, *part.asked)):
                yield (
                    one.ts, one.address, part.agent, symbol, part.weights.get(symbol, 0.0), part.scale,
                    float(part.asked.get(symbol, "0")), float(part.allowed.get(symbol, "0")),
                    part.reasons.get(symbol, ""),
                )  # fmt: skip
        for symbol, net in one.net.items():
            passed = float(one.allowed.get(symbol, "0"))
            yield (one.ts, one.address, HOUSE, symbol, None, None, float(net), passed, one.reasons.get(symbol, ""))

    return _frame(DECISIONS, chain.from_iterable(map(rows, decisions)))


def alerts_frame(alerts: Iterable[Alert]) -> Frame:
    """Return alerts, one row each."""
    return _frame(ALERTS, ((a.ts, a.level, a.kind, a.text, a.symbol, a.agent, a.value, a.bound) for a in alerts))
