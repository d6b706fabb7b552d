"""Bad bars are put aside with their reason, good ones stay untouched, and trades out of hours are neither."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import BadBar, Reason
from quantd.adapters.feeds.bars.merge import bad_bars, checked_bars
from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import DAY_NS
from tests.support.memory_source import market, same

SPY = Universe((Instrument("SPY"),))
XNYS = {"XNYS": sessions("XNYS", date(2024, 1, 1), date(2024, 12, 31))}
MINUTE = 60 * NANO


def ny(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * NANO


def minutes(count: int) -> Rows:
    first = ny("2024-07-02 09:30")
    return market([first + k * MINUTE for k in range(count)], [0] * count)


def judged(
    rows: Rows,
    now: int = ny("2024-07-05 00:00"),
    stamps: Stamps = "open",
    listed: Sequence[ActionRow] = (),
    length: int = MINUTE,
) -> tuple[Rows, list[BadBar]]:
    rows, placed, checked = checked_bars(rows, list(listed), SPY, XNYS, stamps, length, now)
    return rows.take(checked.reason == Reason.GOOD), bad_bars(rows, placed, checked.reason, SPY)


def reasons(bad: list[BadBar]) -> Counter[str]:
    return Counter(bar.reason for bar in bad)


def test_good_bars_pass_and_bad_ones_are_put_aside_by_reason() -> None:
    rows = minutes(30)
    rows.high[3] = rows.low[3] - 1
    rows.close[5] = np.nan
    rows.volume[7] = -1.0
    rows.ts[9] = rows.ts[8]
    good, bad = judged(rows)
    assert same(good, rows.take(np.array([k not in (3, 5, 7, 9) for k in range(30)])))
    assert reasons(bad) == {"crossed": 1, "nan": 1, "volume": 1, "duplicate": 1}
    assert {bar.symbol for bar in bad} == {"SPY"}


def test_the_bar_that_is_being_made_is_not_given_out() -> None:
    rows = minutes(10)
    good, bad = judged(rows, now=int(rows.ts[9]) + MINUTE - 1)
    assert len(good) == 9
    assert reasons(bad) == {"future": 1}


def test_trades_before_the_open_and_after_an_early_close_are_left_out_without_a_word() -> None:
    stamps = [ny("2024-07-03 09:29"), ny("2024-07-03 09:30"), ny("2024-07-03 12:59"), ny("2024-07-03 13:00")]
    rows = market(stamps, [0] * 4)
    good, bad = judged(rows)
    assert good.ts.tolist() == stamps[1:3]
    assert not bad


def test_a_split_is_no_fault_and_one_that_is_not_announced_is_a_jump() -> None:
    days = [day for day in XNYS["XNYS"].day_ns if day < ny("2024-05-01 00:00")]
    rows = market(days, [0] * len(days))
    late = rows.ts >= days[60]
    for name in ("open", "high", "low", "close"):
        getattr(rows, name)[late] /= 4
    for name in ("open_nano", "close_nano"):
        getattr(rows, name)[late] //= 4
    rows.volume[late] *= 4
    for listed, expected in (([ActionRow(days[60], 0, "split", 4, 1, 0)], []), ([], [(days[60], 4, 1)])):
        _, _, checked = checked_bars(rows, listed, SPY, XNYS, "session", DAY_NS, ny("2024-06-01 00:00"))
        assert checked.reason.tolist() == [Reason.GOOD] * len(rows)
        assert [(jump.ts - jump.ts % DAY_NS, jump.numerator, jump.denominator) for jump in checked.jumps] == expected
