"""Wealth of a benchmark outside the universe: its price, with splits and dividends reinvested, at a run's samples."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.assembly.parts import Parts
from quantd.research.runs.total_returns import grown
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS

LATE_NS: Final = 10 * DAY_NS
"""Longest time from the last bar of the benchmark to a run's last sample."""


def outside_wealth(feed: Replay, ts: Sequence[int], days_ns: Sequence[int]) -> Floats:
    """Return float64[T+1] at samples with the times `ts` and the dates `days_ns`, 1 at the first.

    A day counts on its own date, as the house is valued at each instrument's own close, and a shorter bar from its
    close on. Raises ValueError where the bars begin after the first sample, or end long before the last.
    """
    columns, daily = feed.columns, feed.interval_ns >= DAY_NS
    fresh = columns.fresh[:, 0]
    price = columns.close[fresh, 0]
    wealth = price * np.cumprod(grown(feed.actions, columns.ts_open[fresh], price))
    bar_times = columns.key[fresh] - columns.key[fresh] % DAY_NS if daily else columns.ts_event[fresh]
    samples = np.asarray(days_ns if daily else ts, dtype=np.int64)
    rows = np.searchsorted(bar_times, samples, side="right") - 1
    name = feed.universe.symbols[0]
    if rows[0] < 0:
        first, begin = (session_date(int(time_ns)) for time_ns in (samples[0], bar_times[0]))
        raise ValueError(f"the bars of {name} begin on {begin}, after the first sample, {first}")
    if bar_times[-1] < samples[-1] - LATE_NS:
        last, end = (session_date(int(time_ns)) for time_ns in (samples[-1], bar_times[-1]))
        raise ValueError(f"the bars of {name} end on {end}, before the last sample, {last}")
    growth: Floats = wealth[rows] / wealth[rows[0]]
    return growth


def outside_of(parts: Parts, ts: Sequence[int], days_ns: Sequence[int]) -> tuple[Floats | None, str]:
    """Return the wealth of a run's benchmark outside the universe, or None and the reason; empty without one."""
    if parts.outside is None:
        return None, ""
    try:
        return outside_wealth(parts.outside, ts, days_ns), ""
    except ValueError as why:
        return None, str(why)
