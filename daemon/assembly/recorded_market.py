"""The recorded market of a configuration, with lots and ticks that follow from its first prices."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarSource
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.config import Config
from quantd.daemon.config.values import HIGHEST_MULTIPLE
from quantd.trading.execution import MOST
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.orders import price_text, quantity_text
from quantd.trading.sessions import Sessions, interval_text


def recorded_feed(
    config: Config,
    source: BarSource,
    universe: Universe,
    sessions: Mapping[str, Sessions],
    warmup: int,
    *,
    first_bars: bool = True,
) -> Replay:
    """Return the recorded market of a configuration, read with the configuration's decisions about suspicious prices.

    Lots and ticks that the configuration lacks follow from the first prices. Raises FeedError where bars or actions
    cannot be read, and where the ledger cannot count the lots that the cash buys.
    """
    table = config.feed
    feed = Replay.load(
        source,
        universe=universe,
        sessions=sessions,
        stamps=table.stamps,
        interval=interval_text(table.interval_ns),
        actions=config.at(table.actions) if table.actions else None,
        start=table.start,
        end=table.end,
        warmup=warmup,
        adjusted=table.adjusted,
        build_from=table.build_from,
        spikes=table.spikes,
        jumps_real=table.jumps == "real",
        first_bars=first_bars,
        exceptions=config.at(table.exceptions) if table.exceptions else None,
        zone=table.zone,
    )
    return replace(feed, universe=priced(config, feed))


def priced(config: Config, feed: Replay) -> Universe:
    """Return the universe with lots and ticks by the first prices. Raises FeedError for lots that are too small."""
    bars, columns = feed.columns, range(feed.universe.size)
    universe = config.instruments(bars.open_nano[bars.fresh.argmax(axis=0), columns].tolist())
    lowest = np.min(bars.close_nano, axis=0, where=bars.fresh, initial=MOST).tolist()
    largest = config.broker.cash_micro * HIGHEST_MULTIPLE * NANO // MICRO * NANO
    for instrument, price in zip(universe.instruments, lowest, strict=True):
        if (least := largest // max(price, 1) // MOST) >= instrument.lot_nano:
            symbol, lot, larger = instrument.symbol, instrument.lot_nano, quantity_text(1, 10 ** len(str(least)))
            lots = f"lots of {quantity_text(1, lot)} {symbol} at {price_text(price)}"
            fault = f"{HIGHEST_MULTIPLE} times [broker] cash are more {lots} than can be counted"
            remedy = f'Write symbol = "{symbol}", lot = "{larger}" in it, or less cash'
            raise FeedError("[[universe.instruments]]", fault, remedy)
    return universe
