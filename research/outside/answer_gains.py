"""The gains of answers under true names less those under other names, by the sample at which they arise.

What can go wrong: an answer that gains to one price can be blind to another. An agent that knows the next open and the
open after it is hidden in gains to the close, and one that knows the close after next has no gain to the next one. So
each answer is measured to several prices. Gains over several samples overlap, and their sums depend on each other. So a
gain is not noted with its answer but with the sample in which it arises, where the gains of an agent without knowledge
have mean 0 given all that is known before (Hodrick 1992, standard errors 1B, for overlapping returns).

The gain of an answer is its weights times the sum of the returns in its period, before costs and limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.bars import CorporateAction, per_share
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, Ints

NEXT_CLOSE: Final = "to the next question"
"""The measure from a close to the next question, which is the next close for an agent that decides at each sample."""

OPENS: Final = ("to the next open", "from the next open to the one after")
"""The measures that need opens. What a decision at a close earns is the second."""

AHEAD: Final = {"2 samples ahead": 2, "5 samples ahead": 5}
"""The measures from a close to a later one, with their samples."""

MEASURES: Final = (OPENS[0], NEXT_CLOSE, OPENS[1], *AHEAD)


@dataclass(frozen=True, slots=True)
class SampleReturns:
    """The returns of S samples: float64[S, N] `closes` from each sample to the next, in two parts at the open between.

    `opens` are those from the sample to the next open, `after_open` those from that open on; both are None for bars
    without opens. `stamps` int64[S + 1] are the instants (ns UTC). A return that is not known is 0.
    """

    stamps: Ints
    closes: Floats
    opens: Floats | None
    after_open: Floats | None


@dataclass(frozen=True, slots=True)
class Gains:
    """The gains of one measure: `by_sample` float64[S], whose sum is that of `answers` answers."""

    measure: str
    answers: int
    by_sample: Floats


def sample_returns(feed: Replay, stamps: Sequence[int]) -> SampleReturns:
    """Return the returns between the samples at `stamps`, with splits and dividends.

    Bars whose opens all equal their own closes have no opens: they were recorded as closes only.
    """
    columns, at = feed.columns, np.asarray(stamps, dtype=np.int64)
    shape = len(at), feed.universe.size
    close_wealth, open_wealth = np.full(shape, np.nan), np.full(shape, np.nan)
    for symbol in range(feed.universe.size):
        rows = np.flatnonzero(columns.fresh[:, symbol])
        if not len(rows):
            continue
        opened, closed = columns.ts_open[rows], columns.ts_event[rows]
        actions = [action for action in feed.actions if action.symbol == symbol]
        at_open, at_close = _wealth(columns.open[rows, symbol], columns.close[rows, symbol], opened, actions)
        newest = np.searchsorted(closed, at, side="right") - 1
        close_wealth[:, symbol] = np.where(newest >= 0, at_close[newest], np.nan)
        following = np.minimum(np.searchsorted(opened, at), len(rows) - 1)
        between = (opened[following[:-1]] >= at[:-1]) & (opened[following[:-1]] < at[1:])
        open_wealth[:-1, symbol] = np.where(between, at_open[following[:-1]], np.nan)
    closes = _return(close_wealth[:-1], close_wealth[1:])
    if not bool((columns.open != columns.close)[columns.fresh].any()):
        return SampleReturns(at, closes, None, None)
    opens = _return(close_wealth[:-1], open_wealth[:-1])
    after_open = np.where(np.isfinite(open_wealth[:-1]), _return(open_wealth[:-1], close_wealth[1:]), closes)
    return SampleReturns(at, closes, opens, after_open)


def _wealth(open_: Floats, close: Floats, opened: Ints, actions: Sequence[Action]) -> tuple[Floats, Floats]:
    """Return the wealth of one share at the opens and at the closes of the bars of a symbol, float64[B] each."""
    shares, cash = np.ones(len(close)), np.zeros(len(close))
    due: dict[int, list[CorporateAction]] = {}
    for action in actions:
        ratio = action.numerator / action.denominator if action.kind == "split" else 1.0
        paid = action.cash_nano / NANO if action.kind == "dividend" else 0.0
        due.setdefault(int(np.searchsorted(opened, action.ts)), []).append((0, ratio, paid))
    for bar, bar_actions in due.items():
        if 0 < bar < len(close):
            shares[bar], cash[bar] = per_share(bar_actions)[0]
    before = np.concatenate((close[:1], close[:-1]))
    at_close = np.cumprod((close * shares + cash) / before, dtype=np.float64)
    at_open: Floats = np.concatenate((np.ones(1), at_close[:-1])) * (open_ * shares + cash) / before
    return at_open, at_close


def _return(before: Floats, after: Floats) -> Floats:
    gain: Floats = np.nan_to_num(after / before - 1.0, nan=0.0, posinf=0.0, neginf=0.0)
    return gain


def gains_of(named: Mapping[int, Floats], renamed: Mapping[int, Floats], returns: SampleReturns) -> tuple[Gains, ...]:
    """Return the gains of each measure, as MEASURES; without opens those of the closes.

    `named` and `renamed` are the weights float64[N] of the answers of two runs by their time (ns UTC). An answer whose
    period is not over has no gain. Both must have answered.
    """
    stamps, end = returns.stamps, len(returns.closes)
    at = np.array(sorted(named.keys() & renamed.keys() & set(stamps.tolist())), dtype=np.int64)
    if not len(at):
        return ()
    first = np.searchsorted(stamps, at)
    gap = np.array([named[time] - renamed[time] for time in at.tolist()])
    until = np.append(first[1:], end + 1)
    out = []
    for measure in MEASURES:
        if measure not in OPENS:
            last = first + AHEAD[measure] if measure in AHEAD else until
            parts = [(returns.closes, first, last)]
        elif returns.opens is None or returns.after_open is None:
            continue
        elif measure == OPENS[0]:
            last = first + 1
            parts = [(returns.opens, first, last)]
        else:
            last = first + 2
            parts = [(returns.after_open, first, first + 1), (returns.opens, first + 1, last)]
        over = last <= end
        by_sample = np.zeros(end)
        for table, begin, stop in parts:
            _add(by_sample, table, gap[over], begin[over], stop[over])
        out.append(Gains(measure, int(over.sum()), by_sample))
    return tuple(out)


def _add(by_sample: Floats, table: Floats, gap: Floats, begin: Ints, stop: Ints) -> None:
    """Add the gains of answers that are held from sample `begin` to `stop` to `by_sample`, float64[S]."""
    longest = int((stop - begin).max(initial=0))
    for later in range(longest):
        held = begin + later < stop
        rows = begin[held] + later
        np.add.at(by_sample, rows, (gap[held] * table[rows]).sum(axis=1))
