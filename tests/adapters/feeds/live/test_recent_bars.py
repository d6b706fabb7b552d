"""What a live feed remembers judges the next bars as the whole record would, and knows a bar again."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import Reason, judge
from quantd.adapters.feeds.bars.rows import Rows, exact_nano
from quantd.adapters.feeds.bars.stamps import BarTimes, place
from quantd.adapters.feeds.live.recent_bars import RecentBars
from quantd.adapters.feeds.recorded.bar_files import read_bars
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Jump
from quantd.trading.sessions import DAY_NS
from tests.support.checkout import ROOT
from tests.support.examples import examples

UNIVERSE = Universe(tuple(Instrument(s) for s in ("AAPL", "IWM", "SPY")))
XNYS = sessions("XNYS", date(2001, 1, 1), date(2005, 12, 31))


def recorded() -> Rows:
    """450 days of three symbols, in the order of time."""
    rows = read_bars((ROOT / "data" / "us_daily.parquet",), UNIVERSE)
    first, last = XNYS.day_ns[200], XNYS.day_ns[650]
    rows = rows.take((rows.ts >= first) & (rows.ts < last))
    return rows.take(np.argsort(rows.ts, kind="stable"))


ROWS = recorded()
FAULTS = st.lists(
    st.tuples(
        st.integers(0, len(ROWS) - 1),
        st.sampled_from(["spike", "dip", "nan", "stale", "volume", "split", "crossed"]),
    ),
    max_size=6,
)


def spoilt(faults: list[tuple[int, str]]) -> Rows:
    names = ("open", "high", "low", "close", "volume")
    columns = {n: getattr(ROWS, n).copy() for n in names}
    for row, kind in faults:
        mine = np.flatnonzero(ROWS.column == ROWS.column[row])
        mine = mine[mine >= row]
        if kind in ("spike", "dip"):
            columns["high" if kind == "spike" else "low"][row] *= 5 if kind == "spike" else 0.1
        elif kind == "nan":
            columns["close"][row] = np.nan
        elif kind == "volume":
            columns["volume"][row] *= 1e5
        elif kind == "crossed":
            columns["high"][row] = columns["low"][row] / 2
        elif kind == "stale":
            for n in names:
                columns[n][mine[:6]] = columns[n][mine[0]]
        else:
            for n in names[:4]:
                columns[n][mine[:90]] /= 2
            columns["volume"][mine[:90]] *= 2
    exact = {"open_nano": exact_nano(columns["open"]), "close_nano": exact_nano(columns["close"])}
    return replace(ROWS, **columns, **exact)


@given(FAULTS, st.lists(st.integers(1, len(ROWS) - 1), max_size=6), st.integers(1, 40))
@settings(max_examples=examples(12), deadline=None, derandomize=True)
def test_bars_judged_as_they_come_get_the_verdict_of_the_whole_record(
    faults: list[tuple[int, str]], cuts: list[int], step: int
) -> None:
    rows = spoilt(faults)
    placed = place(rows.ts, XNYS, "session", DAY_NS)
    verdict = judge(rows, placed, DAY_NS)
    tail, got, jumps = RecentBars(UNIVERSE.size), np.empty(0, dtype=np.int8), list[Jump]()
    edges = sorted({0, *cuts, *range(len(rows) % step, len(rows), step)[-25:], len(rows)})
    for start, stop in pairwise(edges):
        part = np.arange(start, stop)
        part_verdict = tail.extend(rows.take(part), placed.take(part), DAY_NS)
        got = np.concatenate([got, part_verdict.reason])
        jumps += part_verdict.jumps
    assert got.tolist() == verdict.reason.tolist()
    # a feed announces the slower changes of level, too, once a bar confirms them
    changes = [*verdict.jumps, *(shift.jump for shift in verdict.shifts)]
    assert sorted(jumps, key=when) == sorted(changes, key=when)


def when(jump: Jump) -> tuple[int, int]:
    """Return the time and the symbol of a change of level."""
    return jump.ts, jump.symbol


def one_symbol(days: int, split_at: int) -> tuple[Rows, BarTimes]:
    walk = 100 + np.random.default_rng(1).normal(0, 0.3, 500).cumsum()[:days] * 0.1
    close = np.where(np.arange(days) >= split_at, walk / 2, walk).round(2)
    opened = np.where(np.arange(days) == split_at, close, np.roll(close, 1)).round(2)
    opened[0] = close[0]
    high, low = np.maximum(opened, close) + 0.05, np.minimum(opened, close) - 0.05
    ts = np.array(XNYS.day_ns[:days], dtype=np.int64)
    volume = np.where(np.arange(days) >= split_at, 2000.0, 1000.0) + np.arange(days)
    zero = np.zeros(days, dtype=np.int64)
    rows = Rows(ts, zero, opened, high, low, close, volume, exact_nano(opened), exact_nano(close), zero)
    return rows, place(ts, XNYS, "session", DAY_NS)


def test_a_bad_bar_that_comes_again_corrected_takes_its_place() -> None:
    rows, placed = one_symbol(100, split_at=999)
    wrong = replace(rows, high=np.where(np.arange(100) == 99, rows.high * 9, rows.high))
    tail = RecentBars(1)
    assert tail.extend(wrong, placed, DAY_NS).reason[-1] == Reason.SPIKE
    last = np.array([99])
    assert tail.extend(rows.take(last), placed.take(last), DAY_NS).reason.tolist() == [Reason.GOOD]
    number = tail.find(0, int(placed.ts_event[99]))
    assert number is not None
    assert tail.same(number, rows, 99)
