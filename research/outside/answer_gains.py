"""The gains of an agent's answers under true names of symbols less those under false names, by sample.

What can go wrong: one measure can miss what an agent knows. An agent that knows the next two opens may show no gain to
the next close. An agent that knows the close after next may show none either. So the gain of each answer is measured
over several periods (`MEASURES`).

Periods of several samples overlap, so that the gains of neighbouring answers depend on each other. So a gain counts for
the sample in which it arises, not for the answer that earns it. Counted like this, the gains of an agent without
foresight have mean 0 given all earlier information (Hodrick 1992, standard errors 1B, for overlapping returns).

The gain of an answer is its weights times the sum of the returns in its period, before costs and limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.views.outside_wealth import shares_and_cash
from quantd.trading.events import Action
from quantd.trading.market import Floats, Ints

NEXT_CLOSE: Final = "to the next question"
"""The measure from a close to the next question, which is the next close for an agent that decides at each sample."""

OPENS: Final = ("to the next open", "from the next open to the one after")
"""The measures that need opens. A decision at a close trades at the next open, so it earns the second measure."""

AHEAD: Final = {"2 samples ahead": 2, "5 samples ahead": 5}
"""Measure from a close to a later close -> number of samples between them."""

MEASURES: Final = (OPENS[0], NEXT_CLOSE, OPENS[1], *AHEAD)


@dataclass(frozen=True, slots=True)
class SampleReturns:
    """The returns of N symbols over S periods between samples, float64[S, N]; an unknown return is 0.

    `closes` are the returns from each sample to the next. `opens` are the returns from the sample to the next open, and
    `after_open` the returns from that open to the next sample; `opens` and `after_open` are None for bars without
    opens. `stamps` int64[S + 1] are the instants of the samples (ns UTC).
    """

    stamps: Ints
    closes: Floats
    opens: Floats | None
    after_open: Floats | None


@dataclass(frozen=True, slots=True)
class Gains:
    """The gains of an agent's answers by one measure, a period such as "to the next open".

    `by_sample` float64[S] has the sum over all answers in each of S periods between samples. `answers` is the number of
    answers.
    """

    measure: str
    answers: int
    by_sample: Floats


def sample_returns(feed: Replay, stamps: Sequence[int]) -> SampleReturns:
    """Return the returns between the samples at `stamps` (ns UTC), with splits and dividends.

    Each symbol has three returns: from a sample to the next sample, from a sample to the next open, and from that open
    to the next sample. Bars whose opens all equal their closes count as bars without opens, because only closes were
    recorded.
    """
    columns, sample_times = feed.columns, np.asarray(stamps, dtype=np.int64)
    shape = len(sample_times), feed.universe.size
    close_wealth, open_wealth = np.full(shape, np.nan), np.full(shape, np.nan)
    for symbol in range(feed.universe.size):
        rows = np.flatnonzero(columns.fresh[:, symbol])
        if not len(rows):
            continue
        opens_ns, closes_ns = columns.ts_open[rows], columns.ts_event[rows]
        actions = [action for action in feed.actions if action.symbol == symbol]
        at_open, at_close = _wealth(columns.open[rows, symbol], columns.close[rows, symbol], opens_ns, actions)
        last_bar = np.searchsorted(closes_ns, sample_times, side="right") - 1
        close_wealth[:, symbol] = np.where(last_bar >= 0, at_close[last_bar], np.nan)
        next_bar = np.minimum(np.searchsorted(opens_ns, sample_times), len(rows) - 1)
        # the first open at or after a sample counts if it comes before the next sample
        has_open = (opens_ns[next_bar[:-1]] >= sample_times[:-1]) & (opens_ns[next_bar[:-1]] < sample_times[1:])
        open_wealth[:-1, symbol] = np.where(has_open, at_open[next_bar[:-1]], np.nan)
    closes = _return(close_wealth[:-1], close_wealth[1:])
    if not bool((columns.open != columns.close)[columns.fresh].any()):
        return SampleReturns(sample_times, closes, None, None)  # no opens
    opens = _return(close_wealth[:-1], open_wealth[:-1])
    after_open = np.where(np.isfinite(open_wealth[:-1]), _return(open_wealth[:-1], close_wealth[1:]), closes)
    return SampleReturns(sample_times, closes, opens, after_open)


def _wealth(open_: Floats, close: Floats, opened: Ints, actions: Sequence[Action]) -> tuple[Floats, Floats]:
    """Return the wealth of an investment in one symbol at the opens and at the closes of B bars, float64[B] each.

    `opened` int64[B] are the times of the opens (ns UTC). Dividends are reinvested. The wealth at the first close is 1.
    """
    shares, cash = shares_and_cash(actions, opened)
    shares[0], cash[0] = 1.0, 0.0  # an action before the second bar changes no return between bars
    previous_close = np.concatenate((close[:1], close[:-1]))
    at_close = np.cumprod((close * shares + cash) / previous_close, dtype=np.float64)
    at_open: Floats = np.concatenate((np.ones(1), at_close[:-1])) * (open_ * shares + cash) / previous_close
    return at_open, at_close


def _return(start: Floats, end: Floats) -> Floats:
    """Return the returns from `start` to `end`; 0 where either is unknown."""
    gain: Floats = np.nan_to_num(end / start - 1.0, nan=0.0, posinf=0.0, neginf=0.0)
    return gain


def gains_of(named: Mapping[int, Floats], renamed: Mapping[int, Floats], returns: SampleReturns) -> tuple[Gains, ...]:
    """Return the gains of each measure in MEASURES, in order. Without open prices, the measures in OPENS are left out.

    `named` has the weights float64[N] of each answer by its time (ns UTC) in the run under true names, `renamed` those
    in the run under other names. Only times with an answer in both runs count. An answer whose period ends after the
    last sample has no gain.
    """
    stamps, end = returns.stamps, len(returns.closes)
    answer_times = np.array(sorted(named.keys() & renamed.keys() & set(stamps.tolist())), dtype=np.int64)
    if not len(answer_times):
        return ()
    first = np.searchsorted(stamps, answer_times)
    weight_gap = np.array([named[time] - renamed[time] for time in answer_times.tolist()])
    # the last answer has no next question, so its period is made to end after the last sample
    next_question = np.append(first[1:], end + 1)
    gains = []
    for measure in MEASURES:
        if measure not in OPENS:
            # a fixed number of samples ahead, else until the agent is asked again
            last = first + AHEAD[measure] if measure in AHEAD else next_question
            spans = [(returns.closes, first, last)]
        elif returns.opens is None or returns.after_open is None:
            continue  # a measure to opens, without opens
        elif measure == OPENS[0]:
            last = first + 1
            spans = [(returns.opens, first, last)]
        else:
            last = first + 2  # from the next open to the next sample, and from there to the open after it
            spans = [(returns.after_open, first, first + 1), (returns.opens, first + 1, last)]
        complete = last <= end
        by_sample = np.zeros(end)
        for table, begin, stop in spans:
            _add_gains(by_sample, table, weight_gap[complete], begin[complete], stop[complete])
        gains.append(Gains(measure, int(complete.sum()), by_sample))
    return tuple(gains)


def _add_gains(by_sample: Floats, table: Floats, weight_gap: Floats, begin: Ints, stop: Ints) -> None:
    """Add to `by_sample` float64[S] the gains of K answers, each held from the sample index `begin` up to `stop`,
    int64[K].

    `weight_gap` float64[K, N] are the answers' weights under true names less those under other names. `table`
    float64[S, N] are the returns between samples.
    """
    longest_period = int((stop - begin).max(initial=0))
    for offset in range(longest_period):
        still_held = begin + offset < stop
        rows = begin[still_held] + offset
        np.add.at(by_sample, rows, (weight_gap[still_held] * table[rows]).sum(axis=1))
