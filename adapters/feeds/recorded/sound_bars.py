"""Checks the daily bars of a training or an evaluation: for jumps that no action announces, actions that the prices do
not show, and suspicious bars that nobody has answered for."""

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from quantd.adapters.calendars import sessions, shared_cache
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.origin import origin_of
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import require_announced
from quantd.trading.instruments import Instrument, Universe, calendar_of
from quantd.trading.sessions import Sessions

EXCEPTIONS: Final = "exceptions.csv"
"""Name of a file of exceptions beside bars."""


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantd" / "bars"


def calendars_of(universe: Universe, first: date, last: date) -> dict[str, Sessions]:
    """Return the sessions from `first` to `last` by calendar name, with ten days more on both sides."""
    margin = timedelta(days=10)
    names = {universe.calendar, *(i.calendar for i in universe.instruments)}
    return {name: sessions(name, first - margin, last + margin, cache=shared_cache()) for name in names}


def require_sound_bars(bars: Path, actions: Path | None, symbols: Sequence[str], first: date, last: date) -> None:
    """Raise UnsoundPrices for daily bars whose prices a person must decide about, as a backtest does.

    The file exceptions.csv beside the bars has the answers. Training reads a panel (prices by date and symbol) without
    holes: a suspicious bar with an answer, "real" or "reject", is read as it is. Bars without volumes, or known to be
    adjusted, are not checked. A file that cannot be read is not checked, because the later reader of the panel reports
    its fault.
    """
    origin = origin_of(bars)
    if origin is not None and origin.adjusted:
        return
    universe = Universe(tuple(Instrument(name, calendar=calendar_of(name)) for name in symbols))
    try:
        calendars = calendars_of(universe, first, last)
        answered = bars.with_name(EXCEPTIONS)
        feed = Replay.load(
            bars,
            universe=universe,
            sessions=calendars,
            actions=actions,
            start=first,
            end=last,
            spikes="stop",
            exceptions=answered if answered.is_file() else None,
        )
    except FeedError:
        return
    require_announced(feed, calendars)
