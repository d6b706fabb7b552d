"""The section of a report with counts of orders and fills, and round trips: by symbol, and the largest."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.metrics.round_trips import RoundTrip
from quantd.research.reports.page_parts import figure, formatted, paragraph, table, text_cell
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section, Table
from quantd.trading.display_text import instant_text


def trades(report: BacktestReport, _: Charts) -> str:
    """Return counts of orders and round trips, hit rates by symbol, and the largest winners and losers, as HTML.

    The gate is the check of limits before an order; a switch stops trading. The helper `figure` makes a cell from the
    number's path in the report's JSON, the number and its unit.
    """
    trading = report.trading
    counts = [
        row(name, figure(f"trading.{key}", getattr(trading, key), unit))
        for name, key, unit in (
            ("orders", "orders", "count"), ("fills", "fills", "count"), ("orders that the gate cut", "cut", "count"),
            ("orders that the gate refused", "refused", "count"), ("trips of the switch", "switch_trips", "count"),
            ("round trips", "round_trips", "count"), ("round trips with a profit", "wins", "count"),
            ("hit rate", "hit_rate", "fraction"), ("profit of round trips", "profit", "money"),
        )
    ]  # fmt: skip
    symbol_rows = [
        row(symbol.symbol, *(figure(f"trading.by_symbol.{k}.{name}", getattr(symbol, name), unit) for name, unit in (
            ("trips", "count"), ("wins", "count"), ("hit_rate", "fraction"), ("profit", "money"))))
        for k, symbol in enumerate(trading.by_symbol)
    ]  # fmt: skip
    by_symbol = table(("symbol", "round trips", "wins", "hit rate", "profit"), symbol_rows) if symbol_rows else ""
    lists = [
        f"<div><h3>{title}</h3>{_trip_table(f'trading.{name}', round_trips)}</div>"
        for title, name, round_trips in (
            ("Largest winners", "winners", trading.winners), ("Largest losers", "losers", trading.losers),
        ) if round_trips
    ]  # fmt: skip
    text = "A round trip is a quantity that was bought and sold again, or sold and bought back: first in, first out."
    return "".join(
        (
            f'<div class="grid"><div>{table((), counts)}</div><div>{by_symbol}</div></div>',
            f'<div class="grid">{"".join(lists)}</div>',
            paragraph(text),
        )
    )


def _trip_table(path: str, trips: Sequence[RoundTrip]) -> str:
    """Return the table of round trips whose list has the path `path` in the report's JSON."""
    rows = [
        row(
            trip.symbol, text_cell(trip.side), text_cell(instant_text(trip.entry_ts)[:10]),
            text_cell(instant_text(trip.exit_ts)[:10]), figure(f"{path}.{k}.samples", trip.samples, "count"),
            figure(f"{path}.{k}.profit", trip.profit, "money"),
        )
        for k, trip in enumerate(trips)
    ]  # fmt: skip
    return table(("symbol", "side", "entry", "exit", "samples", "profit"), rows)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    """Return the counts of orders and round trips, and the round trips by symbol, for Markdown."""
    trading = report.trading
    counts = [
        (name.replace("_", " "), formatted(getattr(trading, name), "count"))
        for name in ("orders", "fills", "cut", "refused", "switch_trips", "round_trips", "wins")
    ]
    by_symbol = [
        (symbol.symbol, str(symbol.trips), formatted(symbol.hit_rate, "fraction"), formatted(symbol.profit, "money"))
        for symbol in trading.by_symbol
    ]
    return (
        Table("Trades", ("", "count"), counts),
        Table("Round trips by symbol", ("symbol", "round trips", "hit rate", "profit"), by_symbol),
    )


SECTION: Final = Section(
    "trades",
    80,
    "Trades",
    trades,
    tables,
    about="counts, round trips, hit rate by symbol, largest winners and losers",
)
