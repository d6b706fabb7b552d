"""Bad bars of a source are put aside with their reason, good ones pass untouched, and trades out of hours are neither."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.wrappers.quarantine import Checked
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import DAY_NS
from tests.support.memory_source import Recorded, market, same

SPY = Universe((Instrument("SPY"),))
XNYS = {"XNYS": sessions("XNYS", date(2024, 1, 1), date(2024, 12, 31))}
MINUTE = 60 * NANO


def ny(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * NANO


def minutes(count: int) -> Rows:
    first = ny("2024-07-02 09:30")
    return market([first + k * MINUTE for k in range(count)], [0] * count)


def checked(rows: Rows, now: int = ny("2024-07-05 00:00"), **known: object) -> Checked:
    return Checked(Recorded(rows, **known), SPY, XNYS, "1m", now=lambda: now)  # type: ignore[arg-type]


async def test_good_bars_pass_and_bad_ones_are_put_aside_by_reason() -> None:
    rows = minutes(30)
    rows.high[3] = rows.low[3] - 1
    rows.close[5] = np.nan
    rows.volume[7] = -1.0
    rows.ts[9] = rows.ts[8]
    source = checked(rows)
    good = await source.bars(0, ny("2024-07-03 00:00"))
    assert same(good, rows.take(np.array([k not in (3, 5, 7, 9) for k in range(30)])))
    assert source.counts == {"crossed": 1, "nan": 1, "volume": 1, "duplicate": 1}
    assert {bar.symbol for bar in source.put_aside} == {"SPY"}


async def test_the_bar_that_is_being_made_is_not_given_out() -> None:
    rows = minutes(10)
    source = checked(rows, now=int(rows.ts[9]) + MINUTE - 1)
    assert len(await source.bars(0, ny("2024-07-03 00:00"))) == 9
    assert source.counts == {"future": 1}


async def test_trades_before_the_open_and_after_an_early_close_are_left_out_without_a_word() -> None:
    stamps = [ny("2024-07-03 09:29"), ny("2024-07-03 09:30"), ny("2024-07-03 12:59"), ny("2024-07-03 13:00")]
    rows = market(stamps, [0] * 4)
    source = checked(rows)
    assert (await source.bars(0, ny("2024-07-04 00:00"))).ts.tolist() == stamps[1:3]
    assert not source.counts


async def test_a_split_that_is_announced_is_no_fault_and_one_that_is_not_is_put_aside() -> None:
    days = [day for day in XNYS["XNYS"].day_ns if day < ny("2024-05-01 00:00")]
    rows = market(days, [0] * len(days))
    late = rows.ts >= days[60]
    for name in ("open", "high", "low", "close"):
        getattr(rows, name)[late] /= 4
    for name in ("open_nano", "close_nano"):
        getattr(rows, name)[late] //= 4
    rows.volume[late] *= 4
    for listed, aside in (([ActionRow(days[60], 0, "split", 4, 1, 0)], 0), ([], 24)):
        source = Checked(
            Recorded(rows, stamps="session", listed=listed), SPY, XNYS, "1d", now=lambda: ny("2024-06-01 00:00")
        )
        good = await source.bars(0, ny("2024-05-01 00:00"))
        assert len(rows) - len(good) == aside == source.counts["split"]


async def test_a_failure_passes_through() -> None:
    with pytest.raises(SourceError, match="down"):
        await checked(minutes(1), failing=[SourceError("recorded", "down")]).bars(0, DAY_NS)
