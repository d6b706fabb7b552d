"""Real moves near a usual split ratio lose no bar; what looks like a split is reported with its ratio."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.checks import Checked, Reason, judge
from quantd.adapters.feeds.bars.jumps import RATIOS
from quantd.adapters.feeds.bars.rows import Rows, exact_nano
from quantd.adapters.feeds.bars.stamps import place
from quantd.trading.events import Action
from quantd.trading.sessions import DAY_NS

XNYS = sessions("XNYS", date(2000, 1, 1), date(2013, 12, 31))
BEFORE, AFTER = 64, 30

Bar = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class RealDay:
    """Open, high, low, close and volume of the day, of the two days before and of the two after, from Yahoo's prices.

    `deviation` and `volume` are the usual daily move and volume of the quarter before.
    """

    symbol: str
    day: str
    bars: tuple[Bar, Bar, Bar, Bar, Bar]
    deviation: float
    volume: float
    ratio: tuple[int, int] | None
    """The ratio that is reported if the volume is usual. VRSN closed far below its open, NFLX opened at 0.63."""


DAYS = (
    RealDay(
        "LUV", "2001-09-17",
        (
            (17.530001, 17.85, 16.93, 16.940001, 2_464_200), (16.74, 17.200001, 16.530001, 17.120001, 2_309_100),
            (11.25, 14.0, 11.25, 13.0, 30_977_900),
            (13.95, 14.36, 12.9, 12.99, 23_183_000), (13.5, 13.84, 12.7, 12.83, 11_574_600),
        ),
        0.0200, 1_820_300, (3, 2),
    ),
    RealDay(
        "VRSN", "2002-04-26",
        (
            (20.4, 21.0, 17.290001, 18.0, 25_563_100), (17.860001, 18.35, 15.76, 18.24, 20_709_100),
            (12.0, 12.05, 9.55, 9.89, 87_809_700),
            (9.56, 9.8, 7.96, 8.07, 34_725_000), (8.18, 9.29, 8.06, 9.25, 23_984_300),
        ),
        0.0442, 6_908_200, None,
    ),
    RealDay(
        "NFLX", "2011-10-25",
        (
            (16.241428, 16.732857, 15.848571, 16.719999, 43_923_600),
            (17.014286, 17.182858, 16.442858, 16.977142, 120_460_200),
            (10.7, 11.341429, 10.607143, 11.052857, 315_541_800),
            (11.247143, 11.631429, 10.771429, 11.342857, 148_733_900),
            (11.74, 11.817143, 11.321429, 11.551429, 71_190_000),
        ),
        0.0346, 36_947_400, None,
    ),
    RealDay(
        "HIG", "2008-10-30",
        (
            (21.200001, 21.200001, 16.23, 19.219999, 10_185_000), (19.129999, 21.42, 18.5, 19.860001, 7_881_400),
            (17.75, 17.790001, 8.23, 9.62, 67_043_200),
            (10.46, 11.1, 8.7, 10.32, 45_369_900), (11.5, 16.84, 11.3, 16.280001, 70_823_200),
        ),
        0.0650, 3_997_000, None,
    ),
    RealDay(
        "HIG", "2008-12-05",
        (
            (6.43, 7.16, 6.33, 6.92, 12_345_400), (6.77, 7.56, 6.4, 7.21, 13_975_800),
            (9.3, 16.08, 8.8, 14.59, 119_854_300),
            (16.889999, 18.120001, 14.67, 14.86, 67_203_100), (14.69, 16.5, 13.77, 15.15, 31_335_600),
        ),
        0.1235, 9_136_400, None,
    ),
)  # fmt: skip


def generated(real: RealDay, seed: int, volume: float | None = None, deviation: float | None = None) -> Rows:
    """The five real bars between generated ones; `volume` replaces the real volumes, `deviation` the usual move."""
    rng, usual = np.random.default_rng(seed), deviation or real.deviation
    before = real.bars[0][3] * np.exp(np.cumsum(rng.normal(0, usual, BEFORE))[::-1])
    after = real.bars[4][3] * np.exp(np.cumsum(rng.normal(0, usual, AFTER)))
    close = np.concatenate([before, [bar[3] for bar in real.bars], after])
    opened = np.concatenate([close[:1], close[:-1] * np.exp(rng.normal(0, usual / 4, len(close) - 1))])
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    traded = real.volume * np.exp(rng.normal(0, 0.2, len(close)))
    for k, bar in enumerate(real.bars):
        at = BEFORE + k
        opened[at], high[at], low[at] = bar[:3]
        traded[at] = bar[4] if volume is None else volume
    row = XNYS.row_of_day[int(np.datetime64(real.day, "ns").astype(np.int64))]
    ts = XNYS.days[row - BEFORE - 2 : row + AFTER + 3]
    zero = np.zeros(len(ts), dtype=np.int64)
    prices = [column.round(6) for column in (opened, high, low, close)]
    return Rows(ts, zero, *prices, traded, exact_nano(prices[0]), exact_nano(prices[3]), zero)


def checked(rows: Rows, actions: tuple[Action, ...] = ()) -> Checked:
    return judge(rows, place(rows.ts, XNYS, "session", DAY_NS), DAY_NS, actions)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("real", DAYS, ids=lambda real: f"{real.symbol} {real.day}")
def test_a_real_day_near_a_usual_ratio_keeps_all_its_bars_and_its_volume_shows_that_it_is_real(
    real: RealDay, seed: int
) -> None:
    rows = generated(real, seed)
    verdict = checked(rows)
    assert verdict.reason.tolist() == [Reason.GOOD] * len(rows)
    assert verdict.jumps == ()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("real", DAYS, ids=lambda real: f"{real.symbol} {real.day}")
def test_a_real_day_of_usual_volume_keeps_all_its_bars_and_is_reported_at_its_ratio_or_not(
    real: RealDay, seed: int
) -> None:
    rows = generated(real, seed, volume=real.volume)
    verdict = checked(rows)
    assert verdict.reason.tolist() == [Reason.GOOD] * len(rows)
    at = BEFORE + 2
    if real.ratio is None:
        assert verdict.jumps == ()
        return
    (jump,) = verdict.jumps
    assert (jump.numerator, jump.denominator) == real.ratio
    assert (jump.before_nano, jump.after_nano) == (rows.close_nano[at - 1], rows.open_nano[at])
    assert jump.ts_open == XNYS.opens[XNYS.row_of_day[int(rows.ts[at])]]
    announced_verdict = checked(rows, (Action(jump.ts_open, int(rows.ts[at]), 0, "split", 1, 1),))
    assert (announced_verdict.reason.tolist(), announced_verdict.jumps) == (verdict.reason.tolist(), ())


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_usual_ratio_is_reported_both_ways_and_rejects_no_bar(ratio: object, reverse: bool) -> None:
    new = float(ratio)  # type: ignore[arg-type]
    factor = new if reverse else 1 / new
    close = np.round(500 * np.where(np.arange(5) >= 2, factor, 1.0), 6)
    bars = tuple((p, p * 1.001, p * 0.999, p, 1e6 / factor if k >= 2 else 1e6) for k, p in enumerate(close.tolist()))
    even = RealDay("EVEN", "2008-03-03", bars, 0.012, 1e6, None)  # type: ignore[arg-type]
    rows = generated(even, 3)
    verdict = checked(rows)
    (jump,) = verdict.jumps
    assert verdict.reason.tolist() == [Reason.GOOD] * len(rows)
    shares = jump.numerator / jump.denominator
    assert shares == pytest.approx(1 / new if reverse else new)
