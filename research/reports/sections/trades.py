"""The section of a report with counts of orders and fills, and round trips: by symbol, and the largest."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.views.report.section_parts import Grid, Note, Row, Section, Table, cells, day
from quantd.research.metrics.round_trips import RoundTrip
from quantd.research.reports.report_contents import BacktestReport

COUNTS: Final = (
    ("orders", "orders", "count"), ("fills", "fills", "count"), ("orders that the gate cut", "cut", "count"),
    ("orders that the gate refused", "refused", "count"), ("trips of the switch", "switch_trips", "count"),
    ("round trips", "round_trips", "count"), ("round trips with a profit", "wins", "count"),
    ("hit rate", "hit_rate", "fraction"), ("profit of round trips", "profit", "money"),
)  # fmt: skip
"""Name, field and unit. The gate is the check of limits before an order; a switch stops trading."""


def trades(report: BacktestReport) -> tuple[Grid, Grid, Note]:
    """Return counts of orders and round trips, hit rates by symbol, and the largest winners and losers."""
    trading = report.trading
    counts = [Row(name, cells("trading", trading, **{field: unit})) for name, field, unit in COUNTS]
    symbols = [
        Row(one.symbol, cells(f"trading.by_symbol.{k}", one, trips="count", wins="count", hit_rate="fraction",
                              profit="money"))
        for k, one in enumerate(trading.by_symbol)
    ]  # fmt: skip
    by_symbol = [Table(("symbol", "round trips", "wins", "hit rate", "profit"), symbols)] if symbols else []
    largest = [
        [_trips(title, f"trading.{name}", trips)]
        for title, name, trips in (
            ("Largest winners", "winners", trading.winners), ("Largest losers", "losers", trading.losers),
        ) if trips
    ]  # fmt: skip
    text = "A round trip is a quantity that was bought and sold again, or sold and bought back: first in, first out."
    return Grid([[Table((), counts)], by_symbol]), Grid(largest), Note(text)


def _trips(title: str, path: str, trips: Sequence[RoundTrip]) -> Table:
    """Return the table of round trips whose list has the path `path` in the report's JSON."""
    rows = [
        Row(trip.symbol, [trip.side, day(trip.entry_ts), day(trip.exit_ts),
                          *cells(f"{path}.{k}", trip, samples="count", profit="money")])
        for k, trip in enumerate(trips)
    ]  # fmt: skip
    return Table(("symbol", "side", "entry", "exit", "samples", "profit"), rows, title)


SECTION: Final = Section(
    "trades",
    80,
    "Trades",
    trades,
    about="counts, round trips, hit rate by symbol, largest winners and losers",
)
