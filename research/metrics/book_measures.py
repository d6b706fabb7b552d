"""Metrics of what an account trades: turnover, costs and exposure."""

from typing import Final

from quantd.research.metrics.metric import NONE, metric, over
from quantd.research.metrics.track_record import TrackRecord

PLACE: Final = 70
"""Position of these metrics in tables."""


def annual_share(record: TrackRecord, *amounts: float | None) -> float:
    """Return the sum of `amounts` a year, divided by mean equity; NaN if an amount is None (not recorded)."""
    recorded_amounts = [amount for amount in amounts if amount is not None]
    if len(recorded_amounts) < len(amounts):
        return NONE
    return sum(recorded_amounts) / float(record.equity.mean()) / record.years


@metric("Turnover, annual", "ratio", "p / T x value bought and sold / mean(equity)", "Grinold & Kahn 2000", "", "book")
def turnover(record: TrackRecord) -> float:
    return annual_share(record, record.traded)


@metric("Cost drag, annual", "fraction", "p / T x (commission + slippage paid + borrow fees) / mean(equity)",
        "Grinold & Kahn 2000", "low", "book")  # fmt: skip
def cost_drag(record: TrackRecord) -> float:
    return annual_share(record, record.commission, record.slippage_paid, record.borrow)


@metric("Cost of trading", "bp", "10,000 (commission + slippage paid) / value traded", "Perold 1988", "low", "book")
def trading_cost(record: TrackRecord) -> float:
    if record.commission is None or record.slippage_paid is None or record.traded is None:
        return NONE
    return 10_000.0 * over(record.commission + record.slippage_paid, record.traded)


@metric("Average gross exposure", "ratio", "mean of sum(|position|) / equity", "EU regulation 231/2013", "", "book")
def average_gross(record: TrackRecord) -> float:
    return float(record.gross.mean()) if record.gross is not None else NONE


@metric("Largest gross exposure", "ratio", "max of sum(|position|) / equity", "EU regulation 231/2013", "low", "book")
def largest_gross(record: TrackRecord) -> float:
    return float(record.gross.max()) if record.gross is not None else NONE


@metric("Average net exposure", "ratio", "mean of sum(position) / equity", "Lhabitant 2006", "", "book")
def average_net(record: TrackRecord) -> float:
    return float(record.net.mean()) if record.net is not None else NONE
