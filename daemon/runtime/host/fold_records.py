"""Records of fills and samples, made from the columns of the compiled fold for a log, the venue and the state."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.core.order_columns import Orders
from quantd.daemon.engine.core.sample_columns import SampleColumns
from quantd.daemon.engine.state.open_orders import Working
from quantd.trading.effects import Filled, Valued
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import Cause, OrderBasket, Reports

Ints = NDArray[np.int64]

_LAST_FILL: Final = int(Cause.LAST_FILL)


class FillColumns(NamedTuple):
    """The K fills at `ts` (ns UTC) of basket (of orders) number `n` of the sample `sample`.

    `columns` int64[4, K] are symbol, signed lots, price in nano-currency and fee in micro-currency. `shares` has for
    each fill its (agent, signed lots); None where the first agent has all lots.
    """

    sample: int
    n: int
    ts: int
    columns: Ints
    shares: list[list[tuple[int, int]]] | None

    def effect(self) -> Filled:
        """The record of the basket's fills, as the engine's effect."""
        sym, lots, prices, fees = self.columns.tolist()
        shares = self.shares if self.shares is not None else [[(0, part)] for part in lots]
        return Filled(self.sample, self.n, self.ts, sym, lots, prices, fees, shares)


class SampleRows(NamedTuple):
    """The valuations (`Valued`) of the account at R samples, one array or list for each field.

    `ts` and `key` are instant and date of each tick. `books_micro` int64[R, agents + 1] are equities by book, the
    unallocated book (what no agent has) last. `gross` is gross exposure over equity, `drawdown` the fraction lost since
    the peak.
    """

    ts: list[int]
    key: list[int]
    equity_micro: list[int]
    cash_micro: list[int]
    books_micro: Ints
    gross: list[float]
    drawdown: list[float]

    def valued(self) -> list[Valued]:
        """The valuation of each sample, as the engine's effect."""
        rows = zip(
            self.ts, self.equity_micro, self.cash_micro, self.books_micro.tolist(), self.gross, self.drawdown,
            strict=True,
        )  # fmt: skip
        return [Valued(*row) for row in rows]


def fill_columns(orders: Orders) -> FillColumns:
    columns = np.array(orders.cells)[: 4 * orders.rows].reshape(4, orders.rows)
    shares = None if orders.lone else orders.signed_shares()
    return FillColumns(orders.sample, orders.n, orders.block.ts_open[orders.row], columns, shares)


def report_of(orders: Orders) -> Reports:
    """The report of a simulated venue about a basket of orders that filled completely on one bar."""
    return filled_of(orders)[0]


def filled_of(orders: Orders) -> tuple[Reports, Filled]:
    """The report of a simulated venue about a basket of orders that filled completely on one bar, and its fills'
    record."""
    symbols, lots, sizes, prices, fees = orders.fills()
    sample, n, ts, rows = orders.sample, orders.n, orders.block.ts_open[orders.row], orders.rows
    report = Reports(sample, n, ts, list(range(rows)), sizes, sizes, prices, fees, [_LAST_FILL] * rows)
    return report, Filled(sample, n, ts, symbols, lots, prices, fees, orders.signed_shares())


class FilledOrders:
    """A basket that filled completely on one bar; implements `quantd.trading.ports.FilledBasket`.

    `least` is True where orders have a minimum commission: the venue then stores the commission charged so far.
    """

    __slots__ = ("_least", "_orders")

    def __init__(self, orders: Working, *, least: bool) -> None:
        self._orders, self._least = orders, least

    @property
    def key(self) -> tuple[int, int]:
        """The key (sample, n) of the basket."""
        return self._orders.sample, self._orders.n

    @property
    def ts_event(self) -> int:
        """The close of the bar at whose open the basket filled, ns UTC."""
        ts: int = self._orders.block.ts_event[self._orders.row]
        return ts

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        """The basket, the report of its fills, and the commission charged by order (-1 without a minimum)."""
        orders = self._orders
        return orders.basket, report_of(orders), list(orders.charged) if self._least else [-1] * orders.rows


def sample_rows(samples: SampleColumns, marks: Floats, lot_size: Floats) -> SampleRows:
    """Return the valuations of samples at the `marks` float64[R, N] of consecutive bars.

    `samples.values` has by sample the equity of the whole account, then of each book (micro). `gross` is the value of
    all positions, long or short, over the equity; `drawdown` is the loss from the peak as a fraction.
    """
    count, size = samples.count, len(lot_size)
    values = np.asarray(samples.values)[: count * (samples.books + 1)].reshape(count, samples.books + 1)
    equity, peak = values[:, 0].tolist(), np.asarray(samples.peak)[:count].tolist()
    units = np.abs(np.asarray(samples.lots)[: count * size].reshape(count, size) * lot_size)
    # `vecdot` sums each row in the order of `dot`: the result must equal that of `step` to the bit
    sampled = marks[np.asarray(samples.row)[:count]]
    exposures = np.vecdot(units, sampled)
    unknown = np.isnan(exposures)  # a symbol has no price: it is not held, and adds nothing
    exposures[unknown] = np.nansum(units[unknown] * sampled[unknown], axis=1)
    return SampleRows(
        ts=np.asarray(samples.ts)[:count].tolist(),
        key=np.asarray(samples.key)[:count].tolist(),
        equity_micro=equity,
        cash_micro=np.asarray(samples.cash)[:count].tolist(),
        books_micro=values[:, 1:].copy(),
        gross=[exposure * MICRO / micro for exposure, micro in zip(exposures.tolist(), equity, strict=True)],
        drawdown=[max(0.0, 1.0 - micro / max(top, 1)) for micro, top in zip(equity, peak, strict=True)],
    )
