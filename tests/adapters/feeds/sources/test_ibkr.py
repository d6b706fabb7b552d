"""Bars through a gateway of Interactive Brokers: as paid, complete, and refused where they would not be."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import place
from quantd.adapters.feeds.source import PartialAnswer, SourceError, Unreachable
from quantd.adapters.feeds.sources.ibkr import IbkrBars, IbkrStream, stream
from quantd.adapters.feeds.vendor import Request, RequestWrong
from quantd.daemon.assembly.feeds import source_of
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import DAY_NS
from tests.support.running_server import running_server
from tests.support.venues.ibkr_data import DataGateway, days

pytest.importorskip("ib_async", reason="the extra ibkr is not installed")

UNIVERSE = Universe((Instrument("SPY"), Instrument("BRK.B")))
FIRST = date(2026, 10, 5)


def ns(*day: int) -> int:
    return int(datetime(*day, tzinfo=UTC).timestamp()) * NANO  # type: ignore[misc]


@running_server
def venue() -> DataGateway:
    gateway = DataGateway()
    for symbol in ("SPY", "BRK B"):
        gateway.add(symbol, "100.00")
        gateway.tape[symbol] = days(FIRST, 30)
    return gateway


def bars_of(
    venue: DataGateway, interval: str = "1d", listed: Sequence[ActionRow] = (), universe: Universe = UNIVERSE
) -> IbkrBars:
    return IbkrBars(venue.url, universe, interval, lambda: listed, timeout_s=0.5)


async def refused(bars: IbkrBars, start: int = ns(2026, 10, 1), end: int = ns(2026, 10, 9)) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await bars.bars(start, end)
    return caught.value


async def taken(venue: DataGateway, **more: object) -> Rows:
    bars = bars_of(venue, **more)  # type: ignore[arg-type]
    rows = await bars.bars(ns(2026, 10, 1), ns(2026, 12, 1))
    await bars.close()
    return rows


async def test_daily_bars_are_exact_and_stamped_with_their_session(venue: DataGateway) -> None:
    rows = await taken(venue)
    assert len(rows) == 60
    assert rows.column.tolist()[:4] == [0, 1, 0, 1]
    assert rows.ts[0] == ns(2026, 10, 5)
    assert (rows.open_nano[2], rows.close_nano[2]) == (100_010_000_000, 100_060_000_000)
    assert rows.volume[0] == 1000.0
    assert venue.shows == {"TRADES": len(venue.pages)}


async def test_a_history_is_read_page_after_page_over_its_gaps(venue: DataGateway) -> None:
    venue.step_s = 60
    monday = ns(2026, 10, 5, 13, 30) // NANO
    venue.tape = {
        symbol: [
            (monday + day * 86_400 + k * 60, "10.0", "11.0", "9.0", "10.5", "7")
            for day in (0, 1, 4, 11)  # a weekend, and a week without a bar
            for k in range(390)
        ]
        for symbol in venue.listed
    }
    bars = bars_of(venue, "1m")
    rows = await bars.bars(ns(2026, 10, 5), ns(2026, 10, 17))
    await bars.close()
    assert len(rows) == 2 * 4 * 390
    assert bars.stamps == "open"
    assert np.unique(rows.ts).size == 4 * 390


async def test_prices_before_a_split_are_those_that_were_paid_and_dividends_are_in_none(venue: DataGateway) -> None:
    raw = await taken(venue)
    on = date(2026, 10, 21)
    venue.splits["SPY"] = [(on, Decimal(3)), (date(2026, 11, 9), Decimal("0.5"))]
    venue.dividends["SPY"] = [(date(2026, 10, 28), Decimal("0.4"))]
    listed = [
        ActionRow(ns(2026, 10, 21), 0, "split", 3, 1, 0),
        ActionRow(ns(2026, 10, 28), 0, "dividend", 1, 1, 400_000_000),
        ActionRow(ns(2026, 11, 9), 0, "split", 1, 2, 0),
    ]
    rows = await taken(venue, listed=listed)
    assert rows.close_nano.tolist() == raw.close_nano.tolist()
    assert rows.open_nano.tolist() == raw.open_nano.tolist()
    assert np.allclose(rows.high, raw.high)
    assert rows.volume.tolist() == raw.volume.tolist()
    untold = await taken(venue)
    assert untold.close_nano.tolist() != raw.close_nano.tolist()
    assert "ADJUSTED_LAST" not in venue.shows


async def test_the_bar_of_a_half_day_is_over_at_its_early_close(venue: DataGateway) -> None:
    venue.tape = {symbol: days(date(2026, 11, 25), 3) for symbol in venue.listed}
    bars = bars_of(venue)
    rows = await bars.bars(ns(2026, 11, 27), ns(2026, 11, 28))
    await bars.close()
    placed = place(rows.ts, sessions("XNYS", date(2026, 11, 1), date(2026, 12, 10)), bars.stamps, DAY_NS)
    assert set(placed.ts_event.tolist()) == {ns(2026, 11, 27, 18)}  # 13:00 in New York


@pytest.mark.parametrize(
    ("code", "words", "again", "after_s"),
    [
        (162, "Historical Market Data Service error message:Historical data request pacing violation", True, 60.0),
        (366, "No historical data query found for ticker id:1", True, 0.0),
        (420, "Invalid Real-time Query:Historical data request pacing violation", True, 60.0),
        (162, "Historical Market Data Service error message:No market data permissions for NYSE STK", False, 0.0),
        (354, "Requested market data is not subscribed.", False, 0.0),
        (10089, "Requested market data requires additional subscription for API", False, 0.0),
        (10197, "No market data during competing live session", True, 0.0),
    ],
)
async def test_a_refusal_has_the_vendors_words_and_says_whether_to_ask_again(
    venue: DataGateway, code: int, words: str, again: bool, after_s: float
) -> None:
    venue.history_faults.extend([(code, words)] * 2)
    bars = bars_of(venue)
    error = await refused(bars)
    assert words in str(error)
    assert f"(code {code})" in str(error)
    assert (error.again, error.after_s) == (again, after_s)
    assert len(await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))) == 2
    await bars.close()


async def test_an_unknown_symbol_is_named_and_the_others_have_their_bars(venue: DataGateway) -> None:
    del venue.listed["BRK B"]
    bars = bars_of(venue)
    with pytest.raises(PartialAnswer) as caught:
        await bars.bars(ns(2026, 10, 1), ns(2026, 12, 1))
    assert caught.value.missing == ("BRK.B",)
    assert len(caught.value.rows) == 30
    venue.listed.clear()
    assert "Check the symbol" in str(await refused(bars))
    await bars.close()


async def test_delayed_data_are_not_taken_for_the_present(venue: DataGateway) -> None:
    venue.delayed_s = {"SPY": 900, "BRK B": 900}
    bars = bars_of(venue)
    error = await refused(bars)
    assert "(code 10167)" in str(error)
    assert not error.again
    await bars.close()


async def test_no_bar_is_taken_while_the_farm_of_history_is_broken(venue: DataGateway) -> None:
    bars = bars_of(venue)
    await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))
    venue.announce(2105, "HMDS data farm connection is broken:ushmds")
    venue.announce(2103, "Market data farm connection is broken:usfarm")
    await asyncio.sleep(0.05)
    asked = len(venue.pages)
    error = await refused(bars)
    assert "lost its farm of history: ushmds" in str(error)
    assert error.again
    assert len(venue.pages) == asked
    venue.announce(2106, "HMDS data farm connection is OK:ushmds")
    await asyncio.sleep(0.05)
    assert len(await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))) == 2
    await bars.close()


async def test_an_answer_that_never_comes_is_a_failure_and_no_empty_history(venue: DataGateway) -> None:
    venue.unanswered = 2
    bars = bars_of(venue)
    error = await refused(bars)
    assert "no answer about" in str(error)
    assert error.again
    assert len(await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))) == 2
    await bars.close()


async def test_the_nightly_reset_is_an_interruption(venue: DataGateway) -> None:
    bars = bars_of(venue)
    await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))
    venue.announce(1100, "Connectivity between IBKR and Trader Workstation has been lost.")
    await asyncio.sleep(0.05)
    assert "(code 1100)" in str(await refused(bars))
    venue.announce(1102, "Connectivity has been restored - data maintained.")
    await asyncio.sleep(0.05)
    assert len(await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))) == 2
    await venue.down()
    await asyncio.sleep(0.05)
    with pytest.raises(Unreachable, match="127"):
        await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))
    await venue.up()
    assert len(await bars.bars(ns(2026, 10, 5), ns(2026, 10, 6))) == 2
    await bars.close()


async def next_of(streamed: AsyncIterator[Rows]) -> Rows:
    async with asyncio.timeout(5):
        return await anext(streamed)


async def subscribed(venue: DataGateway) -> None:
    async with asyncio.timeout(5):
        while len(venue.lines) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def begun(venue: DataGateway) -> tuple[IbkrStream, "asyncio.Task[Rows]", AsyncIterator[Rows]]:
    streaming = IbkrStream(bars_of(venue, "1m"))
    streamed = streaming.bars()
    first = asyncio.create_task(next_of(streamed))
    await subscribed(venue)
    return streaming, first, streamed


async def test_a_streamed_minute_has_its_twelve_parts_or_is_left_to_a_request(venue: DataGateway) -> None:
    minute = ns(2026, 10, 5, 14) // NANO
    streaming, first, streamed = await begun(venue)
    for k in range(6, 12):  # the first minute was under way
        venue.tick("SPY", minute - 60 + 5 * k, "9.00")
    for k in range(12):
        venue.tick("BRK B", minute + 5 * (k if k != 7 else 6), "20.00")  # one comes twice, and one never
        venue.tick("SPY", minute + 5 * k, f"{10 + k}.25")
    rows = await first
    assert rows.ts.tolist() == [minute * NANO]
    assert rows.column.tolist() == [0]
    assert (rows.open_nano[0], rows.close_nano[0]) == (10_250_000_000, 21_250_000_000)
    assert (rows.high[0], rows.low[0], rows.volume[0]) == (21.25, 10.25, 120.0)
    for k in range(12):
        venue.tick("BRK B", minute + 60 + 5 * k, "21.00")
    assert (await next_of(streamed)).ts.tolist() == [(minute + 60) * NANO]
    await streamed.aclose()  # type: ignore[attr-defined]
    await streaming.close()


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda venue: venue.announce(2103, "Market data farm connection is broken:usfarm"), "code 2103"),
        (lambda venue: venue.announce(1100, "Connectivity has been lost"), "code 1100"),
        (lambda venue: venue.announce(1101, "Connectivity has been restored - data lost."), "code 1101"),
        (lambda venue: venue.cut(), "closed the connection"),
    ],
)
async def test_a_stream_ends_with_its_connection_and_its_farm(
    venue: DataGateway, happens: Callable[[DataGateway], None], words: str
) -> None:
    streaming, first, _ = await begun(venue)
    happens(venue)
    with pytest.raises(SourceError, match=words):
        await first
    await streaming.close()


async def test_a_stream_without_permission_says_which(venue: DataGateway) -> None:
    venue.denied = {"SPY": (420, "Invalid Real-time Query:No market data permissions for NYSE STK")}
    streaming = IbkrStream(bars_of(venue, "1m"))
    with pytest.raises(SourceError, match="No market data permissions") as caught:
        await next_of(streaming.bars())
    assert not caught.value.again
    await streaming.close()


def test_what_the_vendor_does_not_have_is_refused_before_a_connection() -> None:
    euros = Universe((Instrument("SAP", currency="EUR"),), currency="EUR")
    for url, universe, interval, words in (
        ("gateway", UNIVERSE, "1d", "no address of a gateway"),
        ("127.0.0.1:4002", UNIVERSE, "7m", "no bars of 7m"),
        ("127.0.0.1:4002", euros, "1d", "SAP in EUR"),
    ):
        with pytest.raises(RequestWrong, match=words):
            IbkrBars(url, universe, interval, tuple)
    assert stream(Request(UNIVERSE, "1h")) is None
    assert stream(Request(UNIVERSE, "5m")) is not None


async def test_a_file_of_actions_is_read_anew_and_a_faulty_one_is_named(venue: DataGateway, tmp_path: Path) -> None:
    file = tmp_path / "actions.csv"
    header = "ts,symbol,kind,ratio,cash\n"
    file.write_text(header)
    bars = source_of("ibkr", Request(UNIVERSE, "1d", url=venue.url, actions=file))
    assert await bars.actions(0, 2**62) == []
    file.write_text(header + "2026-10-21,SPY,split,3:1,\n")
    assert [row.numerator for row in await bars.actions(0, 2**62)] == [3]
    file.write_text(header + "2026-10-21,SPY,splat,3:1,\n")
    with pytest.raises(SourceError, match='kind "splat" is not known'):
        await bars.actions(0, 2**62)
    await bars.close()
