"""The lines of config.toml for a file of downloaded bars, and sentences about the possible uses of its symbols."""

import re
from collections.abc import Collection, Iterator

from quantd.daemon.cli.setup.bar_files import LONGER
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.daemon.config.edits import assignment
from quantd.trading.display_text import some
from quantd.trading.instruments import Universe, kind_of, listed_calendar, suffix_of


def use_lines(universe: Universe, silent: Collection[str], calendar: str) -> Iterator[str]:
    """Yield sentences about symbols with a restriction: indices, symbols without volume, futures, assumed calendars.

    `silent` are the symbols whose bars all lack a volume. `calendar` is the value of --calendar, empty without it.
    """
    symbols = universe.symbols
    traded = [symbol for symbol in symbols if kind_of(symbol) != "index"]
    if indices := [symbol for symbol in symbols if symbol not in traded]:
        yield f"{some(indices)}: an index cannot trade; it can be a series for features, or the benchmark"
    if silent := [symbol for symbol in traded if symbol in silent]:
        yield f"{some(silent)}: no bar has a volume, so that orders fill only with [broker] participation = 0"
    if futures := [symbol for symbol in symbols if kind_of(symbol) == "future"]:
        yield f"{some(futures)}: a continuous future joins contracts; its prices are of no contract that trades"
    with_exchange = [symbol for symbol in symbols if (kind_of(symbol) == "index" or suffix_of(symbol))]
    if (assumed := [symbol for symbol in with_exchange if not listed_calendar(symbol)]) and not calendar:
        yield f"{some(assumed)}: the exchange is not known, and XNYS is assumed; --calendar names another"
    if universe.currency == "GBX" and traded:
        yield "prices are in pence (GBX), as London quotes them: an account of 1,000 pounds has cash = 100000"


def config_texts(lines: BarLines) -> list[tuple[str, str]]:
    """Return (use, lines of config.toml) for each use of a download; empty for bars of weeks or months.

    The lines of one use are complete TOML. `use` is empty for bars that trade.
    """
    if lines.interval in LONGER:
        return []
    if not lines.only_indices:
        return [("", lines.text())]
    texts = []
    if len(lines.universe.symbols) == 1 and lines.interval == "1d":
        name = re.sub(r"[^a-z0-9]+", "_", lines.universe.symbols[0].lower()).strip("_") or "index"
        series = {"name": name if name[0].isalpha() else f"index_{name}", "path": str(lines.path)}
        table = ["[[feed.macro]]", *(assignment(key, value) for key, value in series.items())]
        texts.append(("as a series for features", "\n".join(table)))
    return [*texts, ("as the benchmark", lines.text())]
