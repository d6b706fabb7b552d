"""Makes the track record of a backtest from the equity and fills that it recorded."""

import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.research.metrics.round_trips import Fills, RoundTrip, Split, round_trips
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.run_record import Record
from quantd.trading.instruments import MICRO, NANO


def track_record_of(
    assembly: Assembly, record: Record, benchmark: Record | None = None, *, trips: bool = True
) -> TrackRecord:
    """Return the track record of a finished run; `benchmark` is a run over the same samples.

    Round trips take time in proportion to the fills; they are left out if `trips` is False. Raises ValueError for an
    account that lost everything or a benchmark with other samples.
    """
    if benchmark is not None and benchmark.ts != record.ts:
        raise ValueError("the benchmark has other sample times than the run; run it over the same market")
    periods = samples_a_year(assembly)
    return TrackRecord(
        equity=record.wealth_micro() / MICRO,
        days_ns=np.asarray(record.days_ns, dtype=np.int64),
        periods=periods,
        risk_free_annual=assembly.risk_free_annual(record.days_ns, periods),
        benchmark=None if benchmark is None else benchmark.wealth_micro() / MICRO,
        gross=np.asarray(record.gross),
        traded=record.traded,
        commission=record.commission_micro / MICRO,
        slippage_paid=record.slippage_paid,
        borrow=record.borrow_micro / MICRO,
        trips=trips_of(assembly, record) if trips else None,
    )


def trips_of(assembly: Assembly, record: Record) -> tuple[RoundTrip, ...]:
    """Return the round trips of the account's fills, first in, first out."""
    batches, lot_size = record.fill_columns, np.array(assembly.universe.lot_nano, dtype=np.float64) / NANO
    fill_table = (
        np.concatenate([batch.columns for batch in batches], axis=1) if batches else np.zeros((4, 0), dtype=np.int64)
    )
    symbol, lots, price, fee = fill_table
    counts = [batch.columns.shape[1] for batch in batches]
    columns = Fills(
        ts=np.repeat(np.array([batch.ts for batch in batches], dtype=np.int64), counts),
        symbol=symbol,
        quantity=lots * lot_size[symbol],
        price=price / NANO,
        fee=fee / MICRO,
    )
    ts = np.asarray(record.ts, dtype=np.int64)
    return round_trips(columns, assembly.universe.symbols, ts, splits_of(assembly))


def splits_of(assembly: Assembly) -> tuple[Split, ...]:
    """Return the splits of the market, in new units for one old unit."""
    return tuple(
        Split(action.ts, action.symbol, action.numerator / action.denominator)
        for action in assembly.feed.actions
        if action.kind == "split"
    )
