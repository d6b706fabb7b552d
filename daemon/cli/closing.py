"""The last lines of a run or a backtest, for people."""

from quantd.daemon.summary import Summary


def closing(summary: Summary) -> str:
    """The last lines of a run or a backtest, for people."""
    held = ", ".join(f"{qty} {symbol}" for symbol, qty in summary.positions.items()) or "nothing"
    return "\n".join(
        [
            f"run {summary.run} ({summary.mode})",
            f"  equity {summary.equity}, of it cash {summary.cash}; holds {held}",
            f"  {summary.slices:,} slices, {summary.symbol_bars:,} symbol-bars, {summary.orders:,} orders, "
            f"{summary.fills:,} fills",
            f"  the gate cut {summary.clipped:,} wishes and refused {summary.refused:,}; "
            f"{summary.alerts:,} alerts; the switch tripped {_times(summary.trips)}",
            f"  {summary.wall_s:.2f} s of trading, {summary.symbol_bars_per_s:,.0f} symbol-bars/s",
            f"  digest {summary.digest}",
        ]
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
