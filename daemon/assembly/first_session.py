"""The first session of trading: every policy of a run begins to decide there, after the longest lookback."""

from collections.abc import Iterable
from itertools import islice

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.runtime.timeline import sample_ticks
from quantd.trading.instruments import Universe
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS, Sessions


def history_of(policy: Policy) -> int:
    """Return the samples that a policy needs before its first decision; 0 for none.

    It is the declared lookback. A user's function without LOOKBACK counts by what it read so far (`asked`).
    """
    loose = [leaf for leaf in leaves(policy) if getattr(leaf, "undeclared", False)]
    declared = [leaf.lookback for leaf in leaves(policy) if leaf not in loose]
    if not loose or policy.lookback > max(leaf.lookback for leaf in loose):
        declared.append(policy.lookback)  # the lookback of rules around a policy is its own
    asked = max((int(getattr(leaf, "asked", 0)) for leaf in loose), default=0)
    longest = max([*declared, asked], default=0)
    return longest if longest > 1 else 0


def longest_history(policies: Iterable[Policy], universe: Universe) -> int:
    """Return the samples that precede trading: the longest need of the policies.

    Where calendars differ, the newest synchronous row is a sample late, so that it is one more.
    """
    longest = max(map(history_of, policies), default=0)
    several = len({universe.calendar, *(each.calendar for each in universe.instruments)}) > 1
    return longest + several if longest else 0


def first_session(feed: Replay, house: Sessions, start_ns: int, history: int) -> int:
    """Return the first instant of trading: `start_ns`, or later so that `history` samples precede it.

    Where the bars end before, it is `start_ns`.
    """
    if not history:
        return start_ns
    ticks = sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start_ns)
    found = list(islice(ticks, history + 2))
    if len(found) < history + 2 or found[history].warmup:
        return start_ns
    first = found[history].ts
    if feed.interval_ns < DAY_NS:
        return max(start_ns, first)
    return max(start_ns, house.open_ns[house.close_ns.index(first)])


def samples_before(feed: Replay, house: Sessions, start_ns: int) -> int:
    """Return the number of samples before trading begins."""
    ticks = sample_ticks(house, [house], feed.interval_ns, feed.first_ts - 1, feed.last_ts, start_ns)
    count = 0
    for tick in ticks:
        if not tick.warmup:
            break
        count += 1
    return count
