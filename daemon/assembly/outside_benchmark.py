"""Reads the bars of a benchmark outside the universe. They are compared with a run, and nothing trades on them."""

from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarSource, span
from quantd.adapters.feeds.recorded.origin import origin_of
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import require_sound
from quantd.daemon.config import Config
from quantd.trading.instruments import Instrument, Universe, calendar_of, kind_of
from quantd.trading.sessions import interval_text

WHERE: Final = "[universe] benchmark"


def outside_benchmark(config: Config, bars: BarSource | None, cache: Path | None, *, strict: bool) -> Replay | None:
    """Return the recorded bars of the benchmark; None without a benchmark, and for a symbol of the universe.

    The bars are read from the file `benchmark_path` of [universe], in the format that `quantd data fetch` noted in it,
    or else from `bars`, the bars of the run. The calendar follows from the spelling of the symbol. An index has no
    splits, so that each of its moves is real. With `strict` the prices are checked like those of a backtest. Raises
    FeedError, CalendarError or UnsoundPrices.
    """
    table, feed = config.universe, config.feed
    symbol = table.benchmark
    if not symbol or symbol in table.symbols:
        return None
    file = config.at(table.benchmark_path) if table.benchmark_path else None
    source = file if file is not None else bars
    if source is None:
        raise FeedError(WHERE, f"{symbol} is not one of [universe] symbols", "Write benchmark_path, a file of its bars")
    universe = Universe((Instrument(symbol, calendar=calendar_of(symbol)),), calendar=calendar_of(symbol))
    first, last = span((source,))
    margin = timedelta(days=10)
    calendars = {universe.calendar: sessions(universe.calendar, first - margin, last + margin, cache=cache)}
    origin = origin_of(file) if file is not None else None
    actions = _actions(config, file)
    index = kind_of(symbol) == "index"
    try:
        replay = Replay.load(
            source,
            universe=universe,
            sessions=calendars,
            stamps=origin.stamps if origin else feed.stamps,
            interval=origin.interval if origin else interval_text(feed.interval_ns),
            actions=actions,
            adjusted=(origin.adjusted if origin else feed.adjusted) and actions is None,
            build_from="" if file is not None else feed.build_from,
            spikes="real" if index else feed.spikes,
            jumps_real=index or feed.jumps == "real",
            exceptions=config.at(feed.exceptions) if feed.exceptions else None,
            zone=feed.zone,
        )
    except FeedError as error:
        near = get_close_matches(symbol, table.symbols, n=1)
        remedy = f"Write benchmark_path, a file of its bars (quantd data fetch {symbol})"
        if near and file is None:
            remedy = f"Did you mean {near[0]}? {remedy}"
        raise FeedError(f'{WHERE} = "{symbol}"', f"{error.source}: {error.what}", remedy) from None
    if strict:
        require_sound(replay, calendars, holes_known=index or feed.holes == "known")
    return replay


def _actions(config: Config, file: Path | None) -> Path | None:
    """Return the file of corporate actions: beside the benchmark's file, as `quantd data fetch` writes it, or else the
    run's.

    None where neither file exists.
    """
    if file is None:
        return config.at(config.feed.actions) if config.feed.actions else None
    actions_file = file.with_name(f"{file.stem}.actions.csv")
    return actions_file if actions_file.is_file() else None
