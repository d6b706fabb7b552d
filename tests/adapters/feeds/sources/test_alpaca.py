"""Alpaca's bars over REST against a venue that its official client accepts: exact, paged without loss, refused in
words."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.source import PartialAnswer, SourceError
from quantd.adapters.feeds.sources.alpaca import AlpacaBars, iso, timeframe
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import DAY_NS
from tests.support.examples import examples
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData, Bar
from tests.support.venues.served import served

PAIR = Universe((Instrument("AAPL"), Instrument("MSFT")))
MINUTE = 60 * NANO


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANO


def bar(t: str, price: str = "187.15", volume: str = "100") -> Bar:
    return (t, price, price, price, price, volume)


def minutes(count: int, first: str = "2024-01-03T14:30:00+00:00", price: str = "187.15") -> list[Bar]:
    start = datetime.fromisoformat(first)
    return [bar((start + timedelta(minutes=k)).strftime("%Y-%m-%dT%H:%M:%SZ"), price) for k in range(count)]


@contextmanager
def alpaca(venue: AlpacaData) -> Iterator[str]:
    with served(venue.app()) as port:
        yield f"http://127.0.0.1:{port}"


def source(url: str, universe: Universe = PAIR, interval: str = "1m", **settings: Any) -> AlpacaBars:
    return AlpacaBars(universe, interval, **{"key": KEY, "secret": SECRET, "url": url, "rate": None, **settings})


def test_the_official_client_reads_the_same_bars_from_the_venue() -> None:
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame

    venue = AlpacaData({"AAPL": minutes(7), "MSFT": minutes(3, price="370.5")}, page=4)
    with alpaca(venue) as url:
        client = StockHistoricalDataClient(KEY, SECRET, url_override=url)
        asked = StockBarsRequest(
            symbol_or_symbols=["AAPL", "MSFT"],
            timeframe=TimeFrame.Minute,
            start=datetime(2024, 1, 3),
            end=datetime(2024, 1, 4),
        )
        bars = client.get_stock_bars(asked)
    assert [len(bars["AAPL"]), len(bars["MSFT"])] == [7, 3]
    assert bars["AAPL"][0].timestamp == datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
    assert bars["MSFT"][2].close == 370.5


def test_the_official_client_reads_the_same_corporate_actions() -> None:
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.requests import CorporateActionsRequest

    with alpaca(AlpacaData(actions=ACTIONS)) as url:
        client = CorporateActionsClient(KEY, SECRET, url_override=url)
        actions = client.get_corporate_actions(CorporateActionsRequest(symbols=["AAPL"],
            start=datetime(2020, 1, 1).date(), end=datetime(2020, 12, 31).date(),
            types=["forward_split", "cash_dividend"]))  # fmt: skip
    assert actions["forward_splits"][0].new_rate == 4
    assert actions["cash_dividends"][0].rate == 0.82


_NAMES = {"cusip": "037833100", "id": "35d7a4b6-2b8e-4f2c-8b0c-1c5c4d9e9b11", "process_date": "2020-08-31"}
ACTIONS: dict[str, list[dict[str, object]]] = {
    "forward_splits": [{"symbol": "AAPL", "ex_date": "2020-08-31", "new_rate": 4, "old_rate": 1, **_NAMES}],
    "reverse_splits": [{"symbol": "MSFT", "ex_date": "2020-09-02", "new_rate": 1, "old_rate": 20, **_NAMES}],
    "stock_dividends": [{"symbol": "MSFT", "ex_date": "2020-10-01", "rate": 0.05, **_NAMES}],
    "cash_dividends": [
        {"symbol": "AAPL", "ex_date": "2020-08-07", "rate": 0.82, "special": False, "foreign": False, **_NAMES}
    ],
    "cash_mergers": [{"acquiree_symbol": "MSFT", "effective_date": "2020-10-05", "rate": 68.45, **_NAMES}],
    "worthless_removals": [{"symbol": "AAPL", **_NAMES, "process_date": "2020-10-06"}],
}


async def test_prices_are_exact_to_the_digit_that_alpaca_wrote() -> None:
    """0.1 + 0.2 has no business here: the text is parsed, not a float of it."""
    text = bar("2024-01-03T14:30:00Z", "187.123456789")
    with alpaca(AlpacaData({"AAPL": [text], "MSFT": [bar("2024-01-03T14:30:00Z", "1e-7")]})) as url:
        rows = await _bars(source(url), ns("2024-01-03"), ns("2024-01-04"))
    assert rows.open_nano.tolist() == [187_123_456_789, 100]
    assert rows.close.tolist() == [187.123456789, 1e-7]


async def _bars(asked: AlpacaBars, start: int, end: int) -> Any:
    try:
        return await asked.bars(start, end)
    finally:
        await asked.close()


@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.tuples(st.integers(1, 30), st.integers(0, 30)),
    page=st.integers(1, 12),
    cut=st.tuples(st.integers(0, 20), st.integers(1, 30)),
)
async def test_pages_lose_and_double_no_bar_and_the_range_is_half_open(
    counts: tuple[int, int], page: int, cut: tuple[int, int]
) -> None:
    first = ns("2024-01-03 14:30")
    start, end = first + cut[0] * MINUTE, first + (cut[0] + cut[1]) * MINUTE
    venue = AlpacaData({"AAPL": minutes(counts[0]), "MSFT": minutes(counts[1])}, page=page)
    with alpaca(venue) as url:
        rows = await _bars(source(url), start, end)
    for column, count in enumerate(counts):
        expected = [first + k * MINUTE for k in range(count) if start <= first + k * MINUTE < end]
        assert rows.ts[rows.column == column].tolist() == expected


async def test_a_day_whose_date_lies_in_the_range_comes_though_alpaca_stamps_it_hours_later() -> None:
    bars = [bar("2024-03-08T05:00:00Z"), bar("2024-03-11T04:00:00Z")]
    with alpaca(AlpacaData({"AAPL": bars, "MSFT": bars})) as url:
        rows = await _bars(source(url, interval="1d"), ns("2024-03-08"), ns("2024-03-11 02:00"))
    assert rows.ts[rows.column == 0].tolist() == [ns("2024-03-08"), ns("2024-03-11")]


async def test_splits_stock_dividends_and_dividends_come_by_ex_date_and_exact() -> None:
    with alpaca(AlpacaData(actions=ACTIONS, page=2)) as url:
        asked = source(url)
        actions = await asked.actions(ns("2020-08-07"), ns("2020-10-07"))
        await asked.close()
    assert actions == [
        ActionRow(ns("2020-08-07"), 0, "dividend", 1, 1, 820_000_000),
        ActionRow(ns("2020-08-31"), 0, "split", 4, 1, 0),
        ActionRow(ns("2020-09-02"), 1, "split", 1, 20, 0),
        ActionRow(ns("2020-10-01"), 1, "split", 21, 20, 0),
        ActionRow(ns("2020-10-05"), 1, "delisting", 1, 1, 68_450_000_000),
        ActionRow(ns("2020-10-06"), 0, "delisting", 1, 1, 0),
    ]


async def test_crypto_needs_no_key_and_has_no_days() -> None:
    universe = Universe((Instrument("BTC/USD", calendar="24/7"),), calendar="24/7")
    with alpaca(AlpacaData(crypto={"BTC/USD": [bar("2024-01-03T14:00:00Z", "42000.5", "0.25")]})) as url:
        asked = source(url, universe, "1h", key="", secret="", crypto=True)
        rows = await _bars(asked, ns("2024-01-03"), ns("2024-01-04"))
    assert rows.volume.tolist() == [0.25]
    assert rows.close_nano.tolist() == [42_000_500_000_000]
    with pytest.raises(SourceError, match="Chicago"):
        source("http://127.0.0.1:1", universe, "1d", crypto=True)


@pytest.mark.parametrize(
    ("status", "headers", "said", "again", "after_s"),
    [
        (429, {"Retry-After": "7"}, "too many requests", True, 7.0),
        (500, {}, "internal server error", True, 0.0),
        (503, {"Retry-After": "2"}, "down", True, 2.0),
        (403, {}, "subscription does not permit querying recent SIP data", False, 0.0),
        (422, {}, "invalid symbol: ?", False, 0.0),
        (302, {"Location": "http://127.0.0.1:9/"}, "elsewhere", False, 0.0),
    ],
)
async def test_a_refusal_says_what_alpaca_said_and_whether_asking_again_helps(
    status: int, headers: dict[str, str], said: str, again: bool, after_s: float
) -> None:
    with alpaca(AlpacaData(refuse=[(status, headers, said)])) as url, pytest.raises(SourceError) as caught:
        await _bars(source(url), ns("2024-01-03"), ns("2024-01-04"))
    assert said in caught.value.what
    assert (caught.value.again, caught.value.after_s) == (again, after_s)
    assert SECRET not in str(caught.value)


async def test_a_wrong_key_and_no_key_are_told_with_their_remedy() -> None:
    with alpaca(AlpacaData()) as url, pytest.raises(SourceError, match="Check the key") as caught:
        await _bars(source(url, secret="other"), ns("2024-01-03"), ns("2024-01-04"))
    assert not caught.value.again
    with pytest.raises(SourceError, match="QUANTD_ALPACA_KEY"):
        source("http://127.0.0.1:1", key="")


async def test_a_symbol_without_bars_in_a_long_range_is_named() -> None:
    with alpaca(AlpacaData({"AAPL": minutes(3)})) as url:
        with pytest.raises(PartialAnswer, match="no bar of MSFT") as caught:
            await _bars(source(url), ns("2024-01-01"), ns("2024-02-01"))
        assert len(caught.value.rows) == 3
        with pytest.raises(SourceError, match="no bar of AAPL, MSFT: an empty answer"):
            await _bars(source(url), ns("2023-01-01"), ns("2023-02-01"))
        assert len(await _bars(source(url), ns("2024-01-06"), ns("2024-01-08"))) == 0, "a weekend is no failure"


async def test_a_venue_that_cannot_be_reached_and_one_that_speaks_otherwise_are_errors() -> None:
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        await _bars(source("http://127.0.0.1:9"), ns("2024-01-03"), ns("2024-01-04"))
    assert caught.value.again
    venue = AlpacaData({"AAPL": [("2024-01-03T14:30:00Z", '"x"', "1", "1", "1", "1")]})
    with alpaca(venue) as url, pytest.raises(SourceError, match="not as documented"):
        await _bars(source(url), ns("2024-01-03"), ns("2024-01-04"))


def test_intervals_have_alpacas_names_and_those_it_lacks_are_refused() -> None:
    assert [timeframe(k * MINUTE) for k in (1, 15, 60, 240)] == ["1Min", "15Min", "1Hour", "4Hour"]
    assert timeframe(DAY_NS) == "1Day"
    for length in (30 * NANO, 90 * MINUTE):
        with pytest.raises(SourceError, match="no bars of"):
            timeframe(length)
    assert iso(ns("2024-01-03 14:30")) == "2024-01-03T14:30:00Z"
    assert iso(ns("2024-01-03 14:30") - 1) == "2024-01-03T14:29:59.999999999Z"
