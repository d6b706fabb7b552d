"""Wealth of a benchmark outside the traded universe: its price with splits and reinvested dividends, at samples."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.assembly.parts import Parts
from quantd.trading.bars import CorporateAction, per_share
from quantd.trading.display_text import session_date
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

LATE_NS: Final = 10 * DAY_NS
"""Longest accepted time from the last bar of the benchmark to a run's last sample."""


def outside_wealth(feed: Replay, ts: Sequence[int]) -> Floats:
    """Return float64[T+1], the wealth at samples with the times `ts`; 1 at the first sample.

    `feed` has the bars of the benchmark. A bar counts from its close on, as in the valuation of the account. Raises
    ValueError where the bars begin after the first sample, or end more than LATE_NS before the last.
    """
    columns = feed.columns
    fresh = columns.fresh[:, 0]
    price = columns.close[fresh, 0]
    # `grown` is the growth of the number of shares by splits and reinvested dividends
    wealth = price * np.cumprod(grown(feed.actions, columns.ts_open[fresh], price))
    bar_times, samples = columns.ts_event[fresh], np.asarray(ts, dtype=np.int64)
    rows = np.searchsorted(bar_times, samples, side="right") - 1
    symbol = feed.universe.symbols[0]
    if rows[0] < 0:
        first_sample, first_bar = (session_date(int(time_ns)) for time_ns in (samples[0], bar_times[0]))
        raise ValueError(f"the bars of {symbol} begin on {first_bar}, after the first sample, {first_sample}")
    if bar_times[-1] < samples[-1] - LATE_NS:
        last_sample, last_bar = (session_date(int(time_ns)) for time_ns in (samples[-1], bar_times[-1]))
        raise ValueError(f"the bars of {symbol} end on {last_bar}, before the last sample, {last_sample}")
    growth: Floats = wealth[rows] / wealth[rows[0]]
    return growth


def outside_of(parts: Parts, ts: Sequence[int]) -> tuple[Floats | None, str]:
    """Return (wealth, "") of a run's benchmark outside the traded universe, else (None, reason).

    The reason is empty where the run has no benchmark outside the universe.
    """
    if parts.outside is None:
        return None, ""
    try:
        return outside_wealth(parts.outside, ts), ""
    except ValueError as error:
        return None, str(error)


def grown(actions: Sequence[Action], times: Ints, price: Floats) -> Floats:
    """Return float64[T], the growth of the number of shares at each of T instants by splits and by dividends that are
    reinvested at `price`; 1 without either.

    `actions` and `times` are as in `shares_and_cash`.
    """
    shares, cash = shares_and_cash(actions, times)
    return shares + np.divide(cash, price, out=np.zeros(len(times)), where=cash != 0.0)


def shares_and_cash(actions: Sequence[Action], times: Ints) -> tuple[Floats, Floats]:
    """Return (shares, cash), float64[T] each: what one share held before each of T instants becomes at it.

    `actions` are of one symbol. Each action takes effect at the first of the instants `times` (int64[T], ns UTC) at
    or after it. Without an action a share stays 1 share, without cash.
    """
    shares, cash = np.ones(len(times)), np.zeros(len(times))
    actions_by_row: dict[int, list[CorporateAction]] = {}
    for action in actions:
        ratio = action.numerator / action.denominator if action.kind == "split" else 1.0
        dividend = action.cash_nano / NANO if action.kind == "dividend" else 0.0
        actions_by_row.setdefault(int(np.searchsorted(times, action.ts)), []).append(
            (0, ratio, dividend)
        )  # 0: the only symbol
    for row, row_actions in actions_by_row.items():
        if row < len(times):  # else the action is after the last instant
            shares[row], cash[row] = per_share(row_actions)[0]
    return shares, cash
