"""Faults of one vendor's prices, each with its mended partner and its source: every fault stops or changes nothing.

The facts are those of the files in tests/data of the repository ranaroussi/yfinance at commit 04eedd391b30: kind of the
fault, number of bars, position, ratio, size of dividends, and where nothing was traded. No price is of these files: the
bars are random walks on the sessions of the exchange. Each kind of fault has a file or two of
the repository. Of a file with a hundred times a dividend and of those whose adjusted closes alone differ, the kind of
the fault is that of the file and the amount a usual one. SOXS-1h has no mended partner. Yahoo divides prices by later
splits; here they are multiplied back, as the download does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_sound
from quantd.trading.display_text import session_date
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.sessions import DAY_NS, Sessions

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Listing:
    """Bars as a vendor lists them: divided by later splits, with dividends and splits by number of the bar."""

    frame: pl.DataFrame
    dividends: tuple[tuple[int, float], ...] = ()
    splits: tuple[tuple[int, int, int], ...] = ()


Change = Callable[[Listing], Listing]


def scaled(rows: Sequence[int], factor: float, volume: float = 1.0, columns: Sequence[str] = PRICES) -> Change:
    """Multiply prices, and the volume, of some bars."""

    def change(listing: Listing) -> Listing:
        there = pl.int_range(pl.len()).is_in(list(rows))
        factors = {**dict.fromkeys(columns, factor), "volume": volume}
        frame = listing.frame.with_columns(
            pl.when(there).then(pl.col(name) * by).otherwise(pl.col(name)).alias(name) for name, by in factors.items()
        )
        return replace(listing, frame=frame)

    return change


def dividends(*paid: tuple[int, float]) -> Change:
    """List these dividends."""
    return lambda listing: replace(listing, dividends=paid)


def shown(*paid: tuple[int, float]) -> Change:
    """List these dividends, and let the price fall by each of them."""

    def change(listing: Listing) -> Listing:
        for at, cash in paid:
            before = float(listing.frame["close"][at - 1])
            listing = scaled(range(at, len(listing.frame)), 1 - cash / before)(listing)
        return replace(listing, dividends=paid)

    return change


def same(listing: Listing) -> Listing:
    """Only the vendor's adjusted closes differ, which raw bars do not have."""
    return listing


@cache
def calendar(name: str) -> Sessions:
    return sessions(name, date(2019, 12, 1), date(2024, 12, 31))


@dataclass(frozen=True)
class Pair:
    """A bad file and its mended one. `mended` makes the mended one of a walk, `fault` the bad one of it.

    `expected` is the outcome of the bad one. `mended_stops` is a part of the reason for which the mended one stops too.
    """

    name: str
    calendar: str
    bars: int
    price: float
    sigma: float
    fault: Change
    expected: str
    mended: Change = same
    mended_stops: str = ""
    splits: tuple[tuple[int, int, int], ...] = ()
    interval: str = "1d"
    traded: float = 1e6
    flat: bool = False
    week: bool = False

    @property
    def symbol(self) -> str:
        return self.name.split("-", 1)[0]

    def walk(self) -> Listing:
        """Random bars on sessions of the calendar; `flat` bars have one price."""
        draw = np.random.default_rng(sum(map(ord, self.name)))
        home, count = calendar(self.calendar), self.bars
        close = self.price * np.exp(np.cumsum(draw.normal(0, self.sigma, count)) if self.sigma else np.zeros(count))
        opened = np.append(close[:1], close[:-1] * np.exp(draw.normal(0, self.sigma / 3, count - 1)))
        if self.flat:
            opened = close
        top, bottom = np.maximum(opened, close), np.minimum(opened, close)
        reach = 0.0 if self.flat else self.sigma / 3
        if self.week:
            days = home.days[0] - home.days[0] % (7 * DAY_NS) + 4 * DAY_NS + 7 * DAY_NS * np.arange(count)
        elif self.interval == "1d":
            days = home.days[20 : 20 + count]
        else:
            step = {"1h": 3600, "15m": 900}[self.interval] * 10**9
            days = np.concatenate([np.arange(a, b, step) for a, b in zip(home.opens, home.closes, strict=True)])[:count]
        volume = self.traded * draw.uniform(0.8, 1.2, count)
        frame = pl.DataFrame({
            "ts": pl.from_epoch(pl.Series(days), "ns"), "symbol": self.symbol,
            "open": opened, "high": top * (1 + reach), "low": bottom * (1 - reach), "close": close, "volume": volume,
        })  # fmt: skip
        return Listing(frame, splits=self.splits)

    def mended_listing(self) -> Listing:
        return self.mended(self.walk())

    def bad_listing(self) -> Listing:
        return self.fault(self.mended_listing())


def as_paid(listing: Listing) -> tuple[pl.DataFrame, list[str]]:
    """The bars as traded, and the lines of their actions."""
    factor = np.ones(len(listing.frame))
    for at, new, old in listing.splits:
        factor[:at] *= new / old
    frame = listing.frame.with_columns(pl.col(name) * factor for name in PRICES)
    frame = frame.with_columns(volume=(pl.col("volume") / factor).round())
    days = [session_date(int(ts)).isoformat() for ts in frame["ts"].cast(pl.Int64).to_list()]
    symbol = frame["symbol"][0]
    # a vendor's amount is for each share after the split of its day, and is paid on those before
    lines = [f"{days[at]},{symbol},dividend,,{cash * factor[max(0, at - 1)]:.9g}" for at, cash in listing.dividends]
    lines += [f"{days[at]},{symbol},split,{new}:{old}," for at, new, old in listing.splits]
    return frame, lines


def read(pair: Pair, listing: Listing, folder: Path, lines: Sequence[str] | None = None) -> Replay | str:
    """The market of a listing, or the text with which it stops; with other `lines` of actions, if given."""
    frame, actions = as_paid(listing)
    actions = actions if lines is None else list(lines)
    file = folder / "actions.csv"
    file.write_text("ts,symbol,kind,ratio,cash\n" + "".join(f"{line}\n" for line in actions))
    universe = Universe((Instrument(pair.symbol, calendar=pair.calendar),), calendar=pair.calendar)
    calendars = {pair.calendar: calendar(pair.calendar)}
    stamps = {} if pair.interval == "1d" else {"interval": pair.interval, "stamps": "open"}
    given = {"actions": file} if actions else {}
    try:
        feed = Replay.load(BarFrame(frame), universe=universe, sessions=calendars, spikes="stop", **given, **stamps)
        require_sound(feed, calendars)
    except (UnsoundPrices, FeedError) as error:
        return str(error)
    return feed


def equal(one: Replay, other: Replay) -> bool:
    """Whether two markets have the same bars and actions."""
    columns = all(
        np.array_equal(getattr(one.columns, name), getattr(other.columns, name), equal_nan=name != "fresh")
        for name in ("ts_event", "open_nano", "close_nano", "high", "low", "volume")
    )
    return columns and one.actions == other.actions


def outcome(pair: Pair, folder: Path) -> tuple[str, str]:
    """The outcome of the bad listing, and the text of its stop."""
    bad, mended = read(pair, pair.bad_listing(), folder), read(pair, pair.mended_listing(), folder)
    if isinstance(bad, str):
        return "stops", bad
    if isinstance(mended, str):
        return "runs alone", mended
    return ("equals" if equal(bad, mended) else "runs through"), ""


# splits: 1 of 15 rows or all before the split are of the other scale; a volume is divided where the vendor did so
WITHOUT_15 = [k for k in range(250) if k < 226 or k in (229, 230, 231, 232, 233, 234, 236, 237, 238, 240, 241)]

SPLITS = [
    Pair("4063-T-bad-stock-split", "XTKS", 22, 4200, 0.012, scaled(range(10), 5, 0.2), "stops", splits=((11, 5, 1),)),
    Pair("ALPHA-PA-bad-stock-split", "XPAR", 29, 2, 0.2, scaled([11], 1e-4, 1e4), "stops", splits=((13, 1, 10_000),)),
    Pair("AV-L-1wk-bad-stock-split", "XLON", 84, 550, 0.03, scaled([23], 0.76, columns=("low",)), "stops",
         mended_stops="7 days apart", splits=((22, 76, 100),), week=True),
    Pair("CNE-L-1d-bad-stock-split", "XLON", 10, 460, 0.015, scaled([3], 33 / 70, 70 / 33), "stops",
         mended=shown((8, 243.93939)), splits=((8, 33, 70),)),
    Pair("DEX-AX-1d-bad-stock-split", "XASX", 23, 0.12029, 0.0, scaled(range(15), 0.4406), "stops",
         mended_stops="rejected", splits=((21, 4406, 10_000),), traded=0, flat=True),
    Pair("NRDY-1d-bad-stock-split", "XNYS", 250, 13, 0.04, scaled(WITHOUT_15, 1 / 15, 15.0), "stops",
         splits=((246, 1, 15),)),
    # the rights issue of bar 13 is listed by nobody, so that the mended file stops too
    Pair("SPM-MI-1d-bad-stock-split", "XMIL", 22, 4.3, 0.03, scaled(range(13), 10, 0.1), "stops",
         mended=scaled(range(13, 22), 0.51), mended_stops="near a 2:1 split", splits=((8, 1, 10),)),
]  # fmt: skip

LEVELS = [
    Pair("SOXS-1d-bad-level-shift", "XNYS", 19, 83, 0.07, scaled(range(10), 15, 1 / 15), "stops"),
    Pair("SOXS-1h-bad-level-shift", "XNYS", 133, 83, 0.03, scaled(range(70), 15, 1 / 15), "stops", interval="1h"),
    Pair("AET-L-1d-100x-error", "XLON", 23, 0.1455, 0.0, scaled(range(4, 13), 100), "stops",
         mended_stops="rejected", traded=0, flat=True),
    Pair("ASAI-L-1h-bad-unit", "XLON", 20, 65, 0.02, scaled([11], 0.01, 0.0, ("low", "close")), "stops", interval="1h"),
    Pair("XDEV-L-1d-partial-100x-block", "XLON", 90, 50, 0.01, scaled(range(40, 60), 100), "stops", flat=True),
    Pair("NVT-L-1d-bad-div", "XLON", 684, 0.575, 0.01, scaled([*range(590, 610), *range(650, 670)], 0.01), "stops",
         mended=dividends((640, 0.016))),
]  # fmt: skip

QUARTERS = tuple((at, 0.01375) for at in range(60, 600, 63))

DIVIDENDS = [
    Pair("4063-T-1d-bad-div", "XTKS", 680, 4200, 0.012, dividends((180, 45.0), (300, 275.0)), "stops",
         mended=dividends((180, 45.0), (300, 55.0)), splits=((300, 5, 1),)),
    Pair("KAP-IL-1d-bad-div", "XLON", 690, 26.2, 0.03, dividends((131, 1.813539), (132, 1.95426)), "stops",
         mended=shown((132, 1.95426))),
    Pair("TEP-PA-1d-bad-div", "XPAR", 690, 210, 0.02, dividends((79, 3.3), (331, 3.85), (332, 3.85)), "stops",
         mended=shown((79, 3.3), (331, 3.85))),
    Pair("KME-MI-1d-bad-div", "XMIL", 710, 0.975, 0.004, dividends((355, 0.21723)), "stops"),
    Pair("KWS-L-1d-bad-div", "XLON", 720, 22, 0.02, dividends((603, 1.76)), "stops", mended=dividends((603, 0.0176))),
    Pair("TENT-L-1d-bad-div", "XLON", 680, 0.68, 0.01,
         dividends(*QUARTERS, (624, 0.0001375), (667, 0.0001375)), "stops",
         mended=dividends(*QUARTERS, (624, 0.01375), (667, 0.01375))),
    Pair("ELCO-L-1d-bad-div", "XLON", 665, 0.8, 0.01, dividends((300, 2.4)), "stops", mended=shown((300, 0.024))),
    Pair("LSC-L-1d-bad-div", "XLON", 670, 0.5, 0.0, dividends((300, 1.4)), "stops", mended=dividends((300, 0.014)),
         mended_stops="rejected", traded=0, flat=True),
]  # fmt: skip

ADJUSTED_ONLY = [
    Pair("1398-HK-1d-bad-div", "XHKG", 690, 4.2, 0.012, same, "equals", mended=shown((130, 0.34), (380, 0.33))),
    Pair("DODFX-1d-cg-double-count", "XNYS", 500, 16.9, 0.008, same, "equals", mended=shown((490, 0.837)), flat=True),
]  # fmt: skip

PAIRS = [*SPLITS, *LEVELS, *DIVIDENDS, *ADJUSTED_ONLY]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_bad_file_stops_or_equals_its_mended_one(pair: Pair, tmp_path: Path) -> None:
    result, text = outcome(pair, tmp_path)
    assert result == pair.expected, text
    if result == "stops":
        assert re.search(r"\n  - |[Ww]rite ", text), f"no remedy is named: {text}"
    mended = read(pair, pair.mended_listing(), tmp_path)
    if pair.mended_stops:
        assert isinstance(mended, str)
        assert pair.mended_stops in mended
    else:
        assert not isinstance(mended, str), mended


def amended(lines: Sequence[str], text: str) -> list[str]:
    """Lines of actions after the first remedy of each question in a text."""
    out = list(lines)
    for wrong, right in re.findall(r"replace (\S+) by (\S+)", text):
        out[out.index(wrong)] = right
    for line in re.findall(r"remove (?:from|in) the file of actions (\S+)", text):
        out.remove(line)
    return out


REMEDIED = ["TEP-PA-1d-bad-div", "KME-MI-1d-bad-div", "TENT-L-1d-bad-div"]


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.name in REMEDIED], ids=lambda pair: pair.name)
def test_a_bad_file_of_actions_equals_its_mended_one_after_the_remedy(pair: Pair, tmp_path: Path) -> None:
    text = read(pair, pair.bad_listing(), tmp_path)
    assert isinstance(text, str)
    lines = amended(as_paid(pair.bad_listing())[1], text)
    after_remedy, mended = read(pair, pair.bad_listing(), tmp_path, lines), read(pair, pair.mended_listing(), tmp_path)
    assert not isinstance(after_remedy, str), after_remedy
    assert not isinstance(mended, str), mended
    assert equal(after_remedy, mended)


def test_a_dividend_for_each_new_share_equals_the_one_for_each_old_share_after_the_remedy(tmp_path: Path) -> None:
    """4063.T paid 275 for each share before its split of 5:1, which is 55 for each new one."""
    (pair,) = (pair for pair in DIVIDENDS if pair.name == "4063-T-1d-bad-div")
    listing = pair.mended_listing()
    right = as_paid(listing)[1]
    wrong = [re.sub(r",275$", ",55", line) for line in right]
    expected, text = read(pair, listing, tmp_path), read(pair, listing, tmp_path, wrong)
    assert not isinstance(expected, str), expected
    assert isinstance(text, str)
    assert "the day of a 5:1 split" in text
    after_remedy = read(pair, listing, tmp_path, amended(wrong, text))
    assert not isinstance(after_remedy, str), after_remedy
    assert equal(after_remedy, expected)


def test_a_large_dividend_for_each_new_share_is_told_from_a_split_that_the_prices_do_not_show(tmp_path: Path) -> None:
    """CNE.L paid half of its price on the day of its split of 33:70: the price stays, and both were applied."""
    (pair,) = (pair for pair in SPLITS if pair.name == "CNE-L-1d-bad-stock-split")
    right = as_paid(pair.mended_listing())[1]
    text = read(pair, pair.mended_listing(), tmp_path, [re.sub("[0-9.]+$", "243.94", right[0]), right[1]])
    assert isinstance(text, str)
    assert "it is the amount for each share after it" in text
    assert "split on" not in text


def crash(at: int, low: float, value: float) -> Change:
    """A fall at an open to a thirteenth, with this range in logs and this traded value in usual ones."""

    def change(listing: Listing) -> Listing:
        listing = scaled(range(at, len(listing.frame)), 1 / 13, 4.0)(listing)
        listing = scaled([at], 1.0, 13 * value / 4)(listing)
        return scaled([at], low, columns=("low",))(scaled([at], 1 / low, columns=("high",))(listing))

    return change


CONTROLS = [
    Pair("CALM-1d-no-bad-divs", "XNYS", 690, 45, 0.02, same, "equals", mended=shown(
        (95, 0.125), (160, 0.753), (220, 0.853), (280, 1.353), (340, 2.199), (400, 0.755), (460, 0.002), (520, 0.349))),
    Pair("EWG-1d-no-bad-divs", "XNYS", 690, 28, 0.012, same, "equals", mended=shown(
        (110, 0.6), (235, 0.001), (360, 0.58))),
    Pair("HSBK-IL-1d-no-bad-divs", "XLON", 690, 12, 0.03, same, "equals", mended=shown((90, 1.2), (340, 1.1))),
    Pair("IBE-MC-1d-no-bad-divs", "XMAD", 690, 10.5, 0.012, same, "equals", mended=shown(
        (5, 0.17), (115, 0.005), (130, 0.274), (250, 0.18), (365, 0.005), (380, 0.316), (500, 0.202), (640, 0.351))),
    Pair("KMR-L-1d-no-bad-divs", "XLON", 690, 4.5, 0.02, same, "equals", mended=shown((90, 0.2), (190, 0.09))),
    Pair("NPK-1d-no-bad-divs", "XNYS", 690, 80, 0.012, same, "equals", mended=shown((40, 4.5), (295, 4.0), (550, 4.5))),
    Pair("TISG-MI-1d-no-bad-divs", "XMIL", 690, 20, 0.02, same, "equals", mended=shown((100, 0.25), (350, 0.6))),
    # a fall of one bar before the open that the session takes back
    Pair("EA-15m-no-bad-divs", "XNYS", 500, 140, 0.002, same, "equals", interval="15m",
         mended=scaled([300], 0.92, columns=("open", "low"))),
    Pair("KALA-1d-no-bad-level-shift", "XNYS", 20, 950, 0.06, same, "equals", mended=crash(10, 0.67, 8.7)),
    Pair("KALA-1h-no-bad-level-shift", "XNYS", 140, 19, 0.02, same, "equals", interval="1h", mended=crash(70, 0.8, 50)),
]  # fmt: skip


@pytest.mark.parametrize("pair", CONTROLS, ids=lambda pair: pair.name)
def test_a_file_without_a_fault_does_not_stop(pair: Pair, tmp_path: Path) -> None:
    feed = read(pair, pair.mended_listing(), tmp_path)
    assert not isinstance(feed, str), feed
    assert feed.quarantined == ()


@pytest.mark.parametrize(("low", "value"), [(0.99, 8.7), (0.67, 1.2)])
def test_a_fall_without_the_trade_of_a_crash_stops(low: float, value: float, tmp_path: Path) -> None:
    pair = Pair("KALA", "XNYS", 120, 950, 0.03, same, "stops", mended=crash(80, low, value))
    text = read(pair, pair.mended_listing(), tmp_path)
    assert isinstance(text, str)
    assert "near a 13:1 split" in text
