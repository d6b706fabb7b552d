"""Long gaps and many rejected bars stop a backtest; late listings, delistings and former members do not."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason
from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import (
    LONGEST_GAP,
    Gap,
    Rejected,
    UnsoundPrices,
    gaps,
    often_rejected,
    require_announced,
    require_sound,
)
from quantd.trading.display_text import session_date
from quantd.trading.instruments import Instrument, Membership, Universe
from quantd.trading.sessions import DAY_NS

CALENDARS = {name: sessions(name, date(1998, 1, 1), date(2021, 12, 31)) for name in ("XNYS", "24/7")}
DAYS = CALENDARS["XNYS"].days[500:1100]
ALL = range(len(DAYS))


def replay(
    absent: Sequence[int], *, seed: int = 1, spoilt: Sequence[int] = (), of: Sequence[int] = ALL, **more: object
) -> Replay:
    """Bars of X and Y on the sessions numbered `of`; X has none on those `absent` and bad ones on those `spoilt`."""
    draw = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.01, len(DAYS))))
    high = np.where(np.isin(np.arange(len(DAYS)), spoilt), np.nan, close * 1.01)
    frame = pl.DataFrame({
        "ts": pl.from_epoch(pl.Series(DAYS), "ns"), "open": close, "high": high, "low": close * 0.99, "close": close,
        "volume": draw.uniform(1e6, 2e6, len(DAYS)), "n": np.arange(len(DAYS)),
    })  # fmt: skip
    frame = frame.filter(pl.col("n").is_in(list(of)))
    x = frame.filter(~pl.col("n").is_in(list(absent))).with_columns(symbol=pl.lit("X"))
    y = frame.with_columns(symbol=pl.lit("Y"), high=pl.col("close") * 1.01)
    bars = BarFrame(pl.concat([x, y]).drop("n"))
    universe = Universe((Instrument("X", calendar="XNYS"), Instrument("Y", calendar="XNYS")), calendar="XNYS")
    return Replay.load(bars, universe=universe, sessions=CALENDARS, **more)  # type: ignore[arg-type]


def gap(first: int, last: int) -> Gap:
    return Gap(0, last - first + 1, int(DAYS[first]), int(DAYS[last]))


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_sessions_in_a_row_without_a_bar_are_a_gap_and_nineteen_are_none(seed: int) -> None:
    assert gaps(replay(range(100, 100 + LONGEST_GAP), seed=seed), CALENDARS) == [gap(100, 119)]
    assert gaps(replay(range(100, 119), seed=seed), CALENDARS) == []
    assert gaps(replay([*range(100, 119), *range(120, 139)], seed=seed), CALENDARS) == []
    assert gaps(replay([*range(100, 130), *range(400, 600 - 50)], seed=seed), CALENDARS) == [
        gap(100, 129),
        gap(400, 549),
    ]


def test_a_late_listing_and_an_early_end_are_no_gap() -> None:
    assert gaps(replay([*range(300), *range(500, 600)]), CALENDARS) == []


def test_only_the_dates_of_the_run_count_and_its_warm_up_is_one_of_them() -> None:
    start = session_date(int(DAYS[160]))
    absent = range(100, 140)
    for warmup, expected_gaps in ((20, []), (61, [gap(100, 139)]), (252, [gap(100, 139)])):
        assert gaps(replay(absent, start=start, warmup=warmup), CALENDARS) == expected_gaps, warmup
    assert gaps(replay(absent, end=session_date(int(DAYS[130]))), CALENDARS) == []


def test_sessions_after_a_delisting_until_the_next_bar_are_no_gap(tmp_path: Path) -> None:
    listed = tmp_path / "actions.csv"

    def with_delisting(number: int) -> Replay:
        listed.write_text(f"ts,symbol,kind,ratio,cash\n{session_date(int(DAYS[number]))},X,delisting,,0\n")
        return replay(range(100, 200), actions=listed)

    assert gaps(with_delisting(100), CALENDARS) == []
    assert gaps(with_delisting(119), CALENDARS) == []
    assert gaps(with_delisting(120), CALENDARS) == [gap(100, 119)]


def test_sessions_on_which_the_symbol_is_no_member_are_no_gap() -> None:
    feed, first, last = replay(range(100, 200)), int(DAYS[0]), int(DAYS[-1]) + 1
    both = (1, first, last)

    def found(*spans: tuple[int, int]) -> list[Gap]:
        member_spans = [(0, int(DAYS[begin]), int(DAYS[end])) for begin, end in spans]
        return gaps(feed, CALENDARS, Membership([*member_spans, both]))

    assert found((0, 100), (200, 599)) == []
    assert found((0, 119)) == []
    assert found((0, 120)) == [gap(100, 119)]
    assert found((0, 599)) == [gap(100, 199)]


def test_more_than_one_bar_in_a_hundred_rejected_is_too_many() -> None:
    def rejected(bad: int, read: int) -> list[Rejected]:
        reason = np.full(bad, Reason.DUPLICATE, dtype=np.int8)
        return often_rejected(np.ones(bad, dtype=np.int64), np.arange(1, bad + 1), reason, np.array([50, read]))

    assert rejected(6, 600) == []
    why = REASON_TEXT[Reason.DUPLICATE]
    assert rejected(7, 600) == [Rejected(1, 7, 600, 1, 7, why)]
    assert rejected(1, 99) == [Rejected(1, 1, 99, 1, 1, why)]
    unread = often_rejected(np.array([0]), np.array([NO_STAMP]), np.array([Reason.STAMP]), np.array([1]))
    assert unread == [Rejected(0, 1, 1, 0, 0, "its stamp cannot be read")]
    require_sound(replay([], spoilt=range(50, 350, 50)), CALENDARS)
    with pytest.raises(UnsoundPrices, match=r"X: 7 of 600 bars \(1\.2%\) are rejected"):
        require_sound(replay([], spoilt=range(50, 400, 50)), CALENDARS)


def test_the_refusal_names_every_fault_its_dates_and_counts_and_the_remedies() -> None:
    feed = replay(range(100, 130), spoilt=range(300, 400, 5))
    with pytest.raises(UnsoundPrices) as refused:
        require_sound(feed, CALENDARS)
    refusal_text = str(refused.value)
    first, last = session_date(int(DAYS[100])), session_date(int(DAYS[129]))
    assert f"X has no good bar on 30 sessions in a row, {first} to {last}" in refusal_text
    assert f"X: 20 of 570 bars (3.5%) are rejected, {session_date(int(DAYS[300]))}" in refusal_text
    for remedy in ("[feed] start or end", "leave the symbol out", '[feed] holes = "known"'):
        assert remedy in refusal_text
    assert refused.value.exit_code == 1
    require_sound(feed, CALENDARS, holes_known=True)


def test_weeks_stop_a_training_too_and_another_calendar_does_not() -> None:
    """A training has no configuration, and its dates need no calendar."""
    weeks = replay([], of=range(0, 600, 5))
    for check in (require_sound, require_announced):
        with pytest.raises(UnsoundPrices, match="X, Y: its stamps are 7 days apart, and they are read as bars of 1d"):
            check(weeks, CALENDARS)
    days = np.arange(DAYS[0], DAYS[300], DAY_NS)
    close = 50 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, len(days))))
    frame = pl.DataFrame({
        "ts": pl.from_epoch(pl.Series(days), "ns"), "symbol": "X", "open": close, "high": close * 1.01,
        "low": close * 0.99, "close": close, "volume": np.arange(len(days)) + 1e6,
    })  # fmt: skip
    feed = Replay.load(BarFrame(frame), universe=Universe((Instrument("X"),)), sessions=CALENDARS)
    require_announced(feed, CALENDARS)
    with pytest.raises(UnsoundPrices, match=r"bars lie on no session of XNYS; all \d+ fit 24/7") as refused:
        require_sound(feed, CALENDARS)
    assert "are rejected" not in str(refused.value), "the calendar explains the holes"
