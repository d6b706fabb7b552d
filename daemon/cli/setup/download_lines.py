"""The lines of config.toml for a file of downloaded bars, and sentences about the possible uses of its symbols."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import some
from quantd.daemon.cli.setup.bar_files import LONGER
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.daemon.config.edits import assignment
from quantd.trading.instruments import Instrument, Universe, house_calendar, kind_of, listed_calendar, suffix_of


class Download(NamedTuple):
    """A file of bars with its file of actions, if any.

    `silent` are the symbols whose bars all lack a volume. `calendar` is the value of --calendar, empty without it.
    `first` and `last` are the dates of the first and the last bar.
    """

    file: Path
    actions: Path | None
    universe: Universe
    stamps: Stamps
    interval: str
    adjusted: bool
    silent: tuple[str, ...]
    calendar: str
    first: str
    last: str

    @property
    def traded(self) -> list[Instrument]:
        """The instruments that can be traded: all but indices."""
        return [instrument for instrument in self.universe.instruments if kind_of(instrument.symbol) != "index"]

    @property
    def indices(self) -> list[str]:
        """The symbols of indices, which have prices but cannot be traded."""
        return [symbol for symbol in self.universe.symbols if kind_of(symbol) == "index"]


def use_lines(download: Download) -> Iterator[str]:
    """Yield sentences about symbols with a restriction: indices, symbols without volume, futures, assumed calendars."""
    symbols = download.universe.symbols
    if indices := download.indices:
        yield f"{some(indices)}: an index cannot trade; it can be a series for features, or the benchmark"
    if silent := [instrument.symbol for instrument in download.traded if instrument.symbol in download.silent]:
        yield f"{some(silent)}: no bar has a volume, so that orders fill only with [broker] participation = 0"
    if futures := [symbol for symbol in symbols if kind_of(symbol) == "future"]:
        yield f"{some(futures)}: a continuous future joins contracts; its prices are of no contract that trades"
    with_exchange = [symbol for symbol in symbols if (kind_of(symbol) == "index" or suffix_of(symbol))]
    if (assumed := [symbol for symbol in with_exchange if not listed_calendar(symbol)]) and not download.calendar:
        yield f"{some(assumed)}: the exchange is not known, and XNYS is assumed; --calendar names another"
    if download.universe.currency == "GBX" and download.traded:
        yield "prices are in pence (GBX), as London quotes them: an account of 1,000 pounds has cash = 100000"


def config_texts(download: Download) -> list[tuple[str, str]]:
    """Return (use, lines of config.toml) for each use of a download; empty for bars of weeks or months.

    The lines of one use are complete TOML. `use` is empty for bars that trade.
    """
    if download.interval in LONGER:
        return []
    if download.traded:
        return [("", bar_lines(download).text())]
    texts = []
    if len(download.indices) == 1 and download.interval == "1d":
        name = re.sub(r"[^a-z0-9]+", "_", download.indices[0].lower()).strip("_") or "index"
        series = {"name": name if name[0].isalpha() else f"index_{name}", "path": str(download.file)}
        texts.append(("as a series for features", _table("[[feed.macro]]", series)))
    benchmark = {"benchmark": download.indices[0], "benchmark_path": str(download.file)}
    return [*texts, ("as the benchmark", _table("[universe]", benchmark))]


def bar_lines(download: Download) -> BarLines:
    """Return the keys with which a run trades a download, which must have a symbol that trades.

    An index in it becomes the benchmark.
    """
    house = house_calendar([instrument.calendar for instrument in download.traded])
    return BarLines(
        Universe(tuple(download.traded), currency=download.universe.currency, calendar=house),
        download.file, download.actions, download.stamps, download.interval, download.first, download.last,
        benchmark=next(iter(download.indices), ""), adjusted=download.adjusted,
        silent=any(instrument.symbol in download.silent for instrument in download.traded),
    )  # fmt: skip


def _table(head: str, keys: Mapping[str, object]) -> str:
    """Return a table of config.toml as text."""
    return "\n".join([head, *(assignment(key, value) for key, value in keys.items())])
