"""Frames of an account: equity, books, fills, orders, decisions and alerts, each with one schema.

What can go wrong: the frame of a backtest in memory and the frame of a stored run could differ in a column or its type.
So each kind of frame has one schema for backtests and stored runs, which also gives the types of a frame without rows.

Times are UTC with nanoseconds. Quantities are float64 in units, money is float64 in account currency. Exact decimals
are in the journal and in the output of `quantd export`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Self

import numpy as np
import polars as pl

from quantd.adapters.store.read_models import Alert
from quantd.daemon.runtime.host.fold_records import FillColumns
from quantd.daemon.views.limit_rows import reason_name
from quantd.daemon.views.rows import DecisionLine
from quantd.extras import lack
from quantd.research.runs.run_record import Record
from quantd.trading.effects import Valued
from quantd.trading.exit_codes import PackageMissing
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.market import Floats
from quantd.trading.orders import Fill, Order, order_id

TIME: Final = pl.Datetime("ns", "UTC")

EQUITY: Final[dict[str, Any]] = {
    "ts": TIME, "equity": pl.Float64, "cash": pl.Float64, "gross": pl.Float64, "drawdown": pl.Float64,
}  # fmt: skip
BOOKS: Final[dict[str, Any]] = {"ts": TIME, "book": pl.String, "equity": pl.Float64}
_BATCHES: Final = 64
"""Batches of fills that become a part of a frame at a time."""

FILLS: Final[dict[str, Any]] = {
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
"""Value of `agent` in a row of decisions about the whole account: the net order of its agents, and its limits."""

UNALLOCATED: Final = "unallocated"
"""Name of the last book, which belongs to no agent."""


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
        if missing := lack("to_pandas", "calendars", "pandas"):
            raise PackageMissing(missing)
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
    """Return rows as a frame; without rows it has the columns and types of `schema`."""
    return Frame(list(rows), schema=dict(schema), orient="row")


def equity_frame(record: Record) -> Frame:
    """Return the account at the samples of a run, with the equity and cash from which the run's figures are computed.

    The columns `gross` (exposure over equity) and `drawdown` have the values that the limits checked, at last known
    prices.
    """
    columns = record.ts, _from_micro(record.equity_micro), _from_micro(record.cash_micro), record.gross, record.drawdown
    return Frame(dict(zip(EQUITY, map(np.asarray, columns), strict=True)), schema=EQUITY)


def books_frame(record: Record, agents: Sequence[str]) -> Frame:
    """Return the equity of each agent's book and of the capital without an agent ("unallocated") at a run's samples."""
    names = (*agents, UNALLOCATED)
    equity = _from_micro(record.books_micro)
    ts = np.repeat(np.asarray(record.ts, dtype=np.int64), len(names))
    return Frame({"ts": ts, "book": list(names) * len(record.ts), "equity": equity.ravel()}, schema=BOOKS)


def _from_micro(micro: Sequence[object]) -> Floats:
    """Return amounts in account currency."""
    return np.asarray(micro, dtype=np.float64) / MICRO


def stored_equity_frame(points: Sequence[Valued]) -> Frame:
    """Return the account at the samples `points` that a stored run recorded, with the columns of `equity_frame`."""
    rows = ((p.ts, p.equity_micro / MICRO, p.cash_micro / MICRO, p.gross, p.drawdown) for p in points)
    return _frame(EQUITY, rows)


def stored_books_frame(points: Sequence[Valued], agents: Sequence[str]) -> Frame:
    """Return the agents' books at the samples `points` of a stored run, with the columns of `books_frame`."""
    names = (*agents, UNALLOCATED)
    return _frame(
        BOOKS, ((p.ts, name, equity / MICRO) for p in points for name, equity in zip(names, p.books, strict=False))
    )


def fills_frame(batches: Sequence[FillColumns], universe: Universe, agents: Sequence[str], run: str) -> Frame:
    """Return recorded fills, one row each; the column `agents` joins the names of a fill's agents with +.

    The lots of a batch are negative for a sale. `run` is the run's name, a part of the order ids. The fills are columns
    throughout, because ten million records would take 4 GB.
    """
    names, lot = pl.Series(universe.symbols, dtype=pl.String), np.array(universe.lot_nano, dtype=np.int64)
    parts = [pl.DataFrame(schema=FILLS)]
    for first in range(0, len(batches), _BATCHES):
        group = batches[first : first + _BATCHES]
        sym, lots, price_nano, fee_micro = np.concatenate([batch.columns for batch in group], axis=1)
        sizes = [batch.columns.shape[1] for batch in group]
        symbols = names.gather(sym)
        samples, numbers, ts = (
            np.repeat([getattr(batch, field) for batch in group], sizes) for field in ("sample", "n", "ts")
        )
        orders = map(order_id, [run] * len(sym), samples.tolist(), symbols.to_list(), numbers.tolist())
        shares = [
            "+".join(agents[agent] for agent, _ in of_fill)
            for batch, size in zip(group, sizes, strict=True)
            for of_fill in (batch.shares if batch.shares is not None else [[(0, 0)]] * size)
        ]
        units = [abs(count) * int(lot[k]) for count, k in zip(lots.tolist(), sym.tolist(), strict=True)]
        columns = (
            ts, list(orders), symbols, np.where(lots > 0, "buy", "sell"), [unit / NANO for unit in units],
            [price / NANO for price in price_nano.tolist()], [fee / MICRO for fee in fee_micro.tolist()], shares,
        )  # fmt: skip
        parts.append(pl.DataFrame(dict(zip(FILLS, columns, strict=True)), schema_overrides=FILLS))
    return Frame.of(pl.concat(parts))


def stored_fills_frame(fills: Iterable[Fill]) -> Frame:
    """Return the fills of a stored run, with the columns of `fills_frame`."""
    rows = ((f.ts, f.order, f.symbol, f.side, float(f.qty), float(f.price), float(f.fee), f.agent) for f in fills)
    return _frame(FILLS, rows)


def orders_frame(orders: Iterable[Order]) -> Frame:
    """Return orders, one row each.

    The column `reason` has the limit that cut the order, empty if none did. The column `limit` is null for an order
    without a limit price.
    """
    rows = (
        (
            order.ts, order.id, order.symbol, order.side, float(order.qty),
            float(order.limit) if order.limit else None, order.state, float(order.filled),
            reason_name(int(order.reason)) if order.reason not in ("", "0") else "", order.agent, order.note,
        )
        for order in orders
    )  # fmt: skip
    return _frame(ORDERS, rows)


def decisions_frame(decisions: Iterable[DecisionLine]) -> Frame:
    """Return decisions: a row per agent and symbol with a weight or an order, and a row per net order of the account.

    The columns `requested` and `allowed` are signed quantities in units, before and after the limits. The column
    `reason` has the limit that cut the quantity.
    """

    def rows(decision: DecisionLine) -> Iterable[Sequence[object]]:
        """Yield the rows of a decision: the agents' rows, then the account's, with None for weight and `scale`."""
        for line in decision.agents:
            for symbol in dict.fromkeys((*line.weights, *line.asked)):
                yield (
                    decision.ts, decision.address, line.agent, symbol, line.weights.get(symbol, 0.0),
                    line.scale, float(line.asked.get(symbol, "0")), float(line.allowed.get(symbol, "0")),
                    line.reasons.get(symbol, ""),
                )  # fmt: skip
        for symbol, net in decision.net.items():
            house_allowed = float(decision.allowed.get(symbol, "0"))
            yield (
                decision.ts, decision.address, HOUSE, symbol, None, None, float(net), house_allowed,
                decision.reasons.get(symbol, ""),
            )  # fmt: skip

    return _frame(DECISIONS, chain.from_iterable(map(rows, decisions)))


def alerts_frame(alerts: Iterable[Alert]) -> Frame:
    """Return alerts, one row each."""
    return _frame(ALERTS, ((a.ts, a.level, a.kind, a.text, a.symbol, a.agent, a.value, a.bound) for a in alerts))
