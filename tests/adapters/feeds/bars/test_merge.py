"""Bad bars are put aside with their reason, good ones stay untouched, and trades out of hours are neither."""

from collections import Counter
from datetime import date, datetime
from zoneinfo import ZoneInfo

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import BadBar, Reason
from quantd.adapters.feeds.bars.merge import bad_bars, checked_bars
from quantd.adapters.feeds.bars.rows import Rows
from quantd.trading.instruments import NANO, Instrument, Universe
from tests.support.memory_source import market

SPY = Universe((Instrument("SPY"),))
XNYS = {"XNYS": sessions("XNYS", date(2024, 1, 1), date(2024, 12, 31))}
MINUTE = 60 * NANO


def ny(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * NANO


def minutes(count: int) -> Rows:
    first = ny("2024-07-02 09:30")
    return market([first + k * MINUTE for k in range(count)], [0] * count)


def judged(rows: Rows, now: int = ny("2024-07-05 00:00")) -> tuple[Rows, list[BadBar]]:
    rows, placed, checked = checked_bars(rows, [], SPY, XNYS, "open", MINUTE, now)
    return rows.take(checked.reason == Reason.GOOD), bad_bars(rows, placed, checked.reason, SPY)


def reasons(bad: list[BadBar]) -> Counter[str]:
    return Counter(bar.reason for bar in bad)


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
