"""Finds the first session of trading: every policy of a run begins to decide in it, after the longest lookback."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.assembly.limits import max_price_age_ns
from quantd.daemon.config import Config
from quantd.daemon.runtime.timeline import sample_ticks
from quantd.trading.display_text import session_date, some
from quantd.trading.instruments import Universe, several_calendars
from quantd.trading.market import Bools
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS, Sessions

WITHIN: Final = 10
"""Number of sessions after the longest lookback among which `first_session` looks for one with every price.

Also the number of days without a bar after which an instrument is no longer waited for.
"""


def history_of(policy: Policy) -> int:
    """Return the number of samples that a policy needs before its first decision; 0 for none.

    The number is the declared lookback. For a user's function without LOOKBACK it is the number of samples that the
    function has read so far (`asked`). The leaves of a policy are the policies that it wraps or combines.
    """
    undeclared = [leaf for leaf in leaves(policy) if getattr(leaf, "undeclared", False)]
    declared = [leaf.lookback for leaf in leaves(policy) if leaf not in undeclared]
    if not undeclared or policy.lookback > max(leaf.lookback for leaf in undeclared):
        declared.append(policy.lookback)  # declared by the rules around the function
    samples_read = max((int(getattr(leaf, "asked", 0)) for leaf in undeclared), default=0)
    longest = max([*declared, samples_read], default=0)
    return longest if longest > 1 else 0


def longest_history(policies: Iterable[Policy], universe: Universe) -> int:
    """Return the number of samples that precede trading: the most that a policy needs.

    Where instruments have different calendars, the number is one more, because the closes of all instruments are
    complete a sample later.
    """
    longest = max(map(history_of, policies), default=0)
    return longest + several_calendars(universe) if longest else 0


def first_session(feed: Replay, house: Sessions, start_ns: int, history: int) -> int:
    """Return the first instant of trading: `start_ns`, or later so that `history` samples precede it.

    The result is `start_ns` if the bars end before they have `history` samples. With daily bars of several calendars,
    trading begins at the first of the next WITHIN sessions at whose close each instrument has a price that orders may
    use: a coin without bars at weekends has no such price on a Monday. If none of these sessions has every price, it
    begins at the first of them. `house` are the sessions of the account's calendar.
    """
    first = after_history(feed, house, start_ns, history)
    row = bisect_left(house.open_ns, first)
    rows = range(row, min(row + WITHIN, len(house.open_ns)))
    priced_row = next((candidate for candidate in rows if not unpriced(feed, house, candidate)), row)
    return first if priced_row == row else house.open_ns[priced_row]


def after_history(feed: Replay, house: Sessions, start_ns: int, history: int) -> int:
    """Return the first instant from `start_ns` on that `history` samples precede; `start_ns` if the bars end first."""
    if not history:
        return start_ns
    ticks = sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start_ns)
    ticks_ahead = list(islice(ticks, history + 2))  # + 2: the first sample of trading, and one more
    # the bars end too early, or `history` samples precede `start_ns` already
    if len(ticks_ahead) < history + 2 or ticks_ahead[history].warmup:
        return start_ns
    first = ticks_ahead[history].ts
    if feed.interval_ns < DAY_NS:
        return max(start_ns, first)
    # a daily sample is at a close: trading begins at the open of its session. A 24/7 session opens at the close before,
    # which is a sample with too few samples before it: there trading begins at the close itself
    row = house.close_ns.index(first)
    begin = house.open_ns[row] if row == 0 or house.open_ns[row] > house.close_ns[row - 1] else first
    return max(start_ns, begin)


def unpriced(feed: Replay, house: Sessions, row: int) -> list[int]:
    """Return the columns of instruments without a price that orders may use at the close of the account's session
    `row`."""
    late = without_price(feed, [house.close_ns[row]], max_price_age_ns(feed.interval_ns))
    columns: list[int] = np.flatnonzero(late[0]).tolist()
    return columns


def without_price(feed: Replay, ts: Sequence[int], most_age_ns: int) -> Bools:
    """Return bool[T, N]: whether at instant t the newest bar of instrument n is older than `most_age_ns`.

    The element is False for intraday bars, for bars of one calendar, and for an instrument whose newest bar is older
    than WITHIN days. T are the instants `ts`, N the instruments.
    """
    instants, stale = np.asarray(ts, dtype=np.int64), np.zeros((len(ts), feed.universe.size), dtype=np.bool_)
    if feed.interval_ns < DAY_NS or not several_calendars(feed.universe):
        return stale
    for column in range(feed.universe.size):
        events = feed.columns.ts_event[np.asarray(feed.columns.fresh)[:, column]]
        newest_bar = np.searchsorted(events, instants, side="right") - 1
        # before the first bar `newest_bar` is -1, which reads the appended 0
        age = instants - np.append(events, 0)[newest_bar]
        stale[:, column] = (newest_bar >= 0) & (age > most_age_ns) & (age <= WITHIN * DAY_NS)
    return stale


def samples_before(feed: Replay, house: Sessions, start_ns: int) -> int:
    """Return the number of samples of `feed` before `start_ns`, where trading begins."""
    ticks = sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start_ns)
    count = 0
    for tick in ticks:
        if not tick.warmup:
            break
        count += 1
    return count


def period_notes(feed: Replay, house: Sessions, config: Config) -> list[str]:
    """Return a note for each end of the configured period at which the bars lack a session of `house`, and where no
    action of the file, or of the columns of the bars, is used."""
    a_day, days = timedelta(days=1), [session_date(day) for day in house.day_ns]
    first, last = session_date(feed.columns.key[0]), session_date(feed.columns.key[-1])
    notes = []
    path, within = config.feed.actions, any(feed.first_ts <= action.ts <= feed.last_ts for action in feed.actions)
    if path and not within:
        notes.append(
            f"No action of {Path(path).name} is used: none is of {some(feed.universe.symbols)} within the bars."
        )
    if config.feed.adjusted and any(table.actions for table in feed.statements):
        notes.append("[feed] adjusted = true: no split or dividend of the columns of the bars is booked.")
    return notes + [
        f"[feed] {key} = {asked} is {where} bar, of {bar}: the result {verb} there."
        for key, asked, where, bar, verb, low, high in (
            ("start", config.feed.start, "before the first", first, "begins", config.feed.start, first - a_day),
            ("end", config.feed.end, "after the last", last, "ends", last + a_day, config.feed.end),
        )
        if low is not None and high is not None and any(low <= day <= high for day in days)
    ]
