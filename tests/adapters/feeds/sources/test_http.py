"""Any JSON vendor by a mapping: each dialect is read exactly, pages neither lose nor double, and keys stay secret."""

import base64
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.calendars import instant_ns
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.sources.http import HttpMapping, HttpSource, Signature, signed
from quantd.adapters.feeds.sources.http import source as opened
from quantd.adapters.feeds.vendor import Request
from quantd.adapters.pace import Rate
from quantd.trading.instruments import NANO, Instrument, Universe
from tests.support.examples import examples
from tests.support.venues.json_bars import KEY, SECRET, Bar, JsonBars
from tests.support.venues.served import served

PAIR = Universe((Instrument("BTC/USD", calendar="24/7"), Instrument("ETH/USD", calendar="24/7")), calendar="24/7")
NAMES = {"BTC/USD": "BTCUSD", "ETH/USD": "ETHUSD"}
T0 = 1_704_290_400  # 2024-01-03 14:00 UTC

KLINES: dict[str, Any] = {
    "name": "klines", "url": "{base}/klines?symbol={symbol}&startTime={start}&endTime={end}&interval={interval}",
    "ts": "0", "open": "1", "high": "2", "low": "3", "close": "4", "volume": "5", "stamp_format": "ms",
    "ask_format": "ms", "end_inclusive": True, "page_by_last": True, "symbols": NAMES,
}  # fmt: skip
OBJECTS: dict[str, Any] = {
    "name": "objects", "url": "{base}/objects/{symbol}?from={start}&to={end}", "rows": "data.items", "ts": "when",
    "open": "price.o", "high": "price.h", "low": "price.l", "close": "price.c", "volume": "size",
    "next_token": "next", "next_parameter": "cursor", "key_header": "Authorization", "key_text": "Bearer {key}",
    "symbols": NAMES,
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "name": "columns", "url": "{base}/columns?symbol={symbol}&from={start}&to={end}&token={key}", "columns": True,
    "ts": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "stamp_format": "s",
    "ask_format": "s",
    "end_inclusive": True, "error": "why", "symbols": NAMES,
}  # fmt: skip
SIGNED: dict[str, Any] = {
    **KLINES, "name": "signed", "url": KLINES["url"].replace("klines", "signed"), "headers": {"X-KEY": "{key}"},
    "signature": Signature(parameter="signature", timestamp_parameter="timestamp"),
}  # fmt: skip
DIALECTS = {mapping["name"]: mapping for mapping in (KLINES, OBJECTS, COLUMNS, SIGNED)}


def bars(count: int, first: int = T0, price: str = "42000.123456789") -> list[Bar]:
    return [(first + 60 * k, price, "42001.5", "41999", "0.00000001", "1.25") for k in range(count)]


@contextmanager
def vendor(venue: JsonBars) -> Iterator[str]:
    with served(venue.app()) as port:
        yield f"http://127.0.0.1:{port}"


def source(
    base: str, mapping: dict[str, Any], universe: Universe = PAIR, interval: str = "1m", **keys: Any
) -> HttpSource:
    http_mapping = HttpMapping(**{**mapping, "url": mapping["url"].replace("{base}", base)})
    return HttpSource(http_mapping, universe, interval, **{"key": KEY, "secret": SECRET, **keys})


async def _bars(asked: HttpSource, start: int, end: int) -> Rows:
    try:
        return await asked.bars(start * NANO, end * NANO)
    finally:
        await asked.close()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_gives_the_same_exact_bars(dialect: str) -> None:
    venue = JsonBars({"BTCUSD": bars(5), "ETHUSD": bars(3, price="2200.1")}, page=2 if dialect != "columns" else 100)
    with vendor(venue) as base:
        rows = await _bars(source(base, DIALECTS[dialect]), T0, T0 + 3600)
    assert rows.column.tolist() == [0] * 5 + [1] * 3
    assert rows.ts[:5].tolist() == [(T0 + 60 * k) * NANO for k in range(5)]
    assert rows.open_nano.tolist() == [42_000_123_456_789] * 5 + [2_200_100_000_000] * 3
    assert set(rows.close_nano.tolist()) == {10}
    assert set(rows.high.tolist()) == {42001.5}
    assert set(rows.volume.tolist()) == {1.25}


@settings(max_examples=examples(25), deadline=None)
@given(
    dialect=st.sampled_from(["klines", "objects", "columns", "signed"]),
    counts=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    page=st.integers(1, 9),
    cut=st.tuples(st.integers(0, 15), st.integers(1, 20)),
    off=st.sampled_from([0, 1, 500_000_000, NANO - 1]),
)
async def test_pages_lose_and_double_no_bar_at_any_cut(
    dialect: str, counts: tuple[int, int], page: int, cut: tuple[int, int], off: int
) -> None:
    """Ranges begin and end between the vendor's units, too."""
    start, end = (T0 + 60 * cut[0]) * NANO + off, (T0 + 60 * (cut[0] + cut[1])) * NANO + off
    venue = JsonBars({"BTCUSD": bars(counts[0]), "ETHUSD": bars(counts[1])}, page=page if dialect != "columns" else 100)
    with vendor(venue) as base:
        asked = source(base, DIALECTS[dialect])
        try:
            rows = await asked.bars(start, end)
        finally:
            await asked.close()
    for column, count in enumerate(counts):
        stamps = [(T0 + 60 * k) * NANO for k in range(count)]
        assert rows.ts[rows.column == column].tolist() == [ts for ts in stamps if start <= ts < end]


async def test_where_a_vendor_takes_dates_only_bars_that_come_again_are_taken_once() -> None:
    hours = [(T0 + 3600 * k, "1", "2", "0.5", "1.5", "3") for k in range(48)]
    with vendor(JsonBars({"BTCUSD": hours, "ETHUSD": []}, page=30)) as base:
        rows = await _bars(source(base, {**KLINES, "ask_format": "date"}, interval="1h"), T0, T0 + 86_400 * 2)
    assert rows.ts.tolist() == [bar[0] * NANO for bar in hours]


async def test_an_object_by_date_is_read_and_dated_by_session() -> None:
    mapping = {
        "name": "by-date", "url": "{base}/by-date?symbol={symbol}", "rows": "Time Series (Daily)", "ts": "@key",
        "open": "1. open", "high": "2. high", "low": "3. low", "close": "4. close", "volume": "5. volume",
        "stamps": "session",
    }  # fmt: skip
    days = [bars(1, first=T0 + 86_400 * k)[0] for k in range(3)]
    with vendor(JsonBars({"SPY": days})) as base:
        rows = await _bars(source(base, mapping, Universe((Instrument("SPY"),)), "1d"), T0 - 86_400, T0 + 86_400)
    midnight = (T0 - T0 % 86_400) * NANO
    assert sorted(rows.ts.tolist()) == [midnight, midnight + 86_400 * NANO]


async def test_refusals_are_errors_that_never_repeat_a_key() -> None:
    venue = JsonBars({"BTCUSD": bars(1)}, refuse=[(429, f"slow down {KEY}"), (500, "x"), (200, "<html>"), (200, "{}")])
    with vendor(venue) as base:
        said = []
        for _ in range(4):
            with pytest.raises(SourceError) as caught:
                await _bars(source(base, OBJECTS), T0, T0 + 60)
            said.append(caught.value)
        with pytest.raises(SourceError, match="no such token") as wrong:
            await _bars(source(base, COLUMNS, key="other"), T0, T0 + 60)
        with pytest.raises(SourceError, match="Signature for this request") as unsigned:
            await _bars(source(base, SIGNED, secret="other"), T0, T0 + 60)
    assert [e.again for e in (*said, wrong.value, unsigned.value)] == [True, True, True, False, False, False]
    assert "is not JSON" in said[2].what
    assert 'no rows at "data.items"' in said[3].what
    assert not any(KEY in str(e) or SECRET in str(e) for e in said)


async def test_a_mapping_that_does_not_fit_says_which_part() -> None:
    with vendor(JsonBars({"BTCUSD": bars(2), "ETHUSD": bars(2)})) as base:
        for change, words in (
            ({"stamp_format": "iso"}, "no stamp in iso"),
            ({"open": "a", "high": "a", "low": "a", "close": "a", "volume": "a"}, "has none of"),
            ({"rows": "data"}, "no rows at"),
            ({"columns": True}, "not lists of one length"),
        ):
            with pytest.raises(SourceError, match=words) as caught:
                await _bars(source(base, {**KLINES, **change}), T0, T0 + 600)
            assert not caught.value.again


async def test_a_field_that_is_missing_is_no_price_and_not_zero() -> None:
    with vendor(JsonBars({"BTCUSD": [(T0, "1", "2", "null", "1", "1")], "ETHUSD": []})) as base:
        rows = await _bars(source(base, OBJECTS), T0, T0 + 60)
    assert str(rows.low.tolist()) == "[nan]"
    assert rows.open_nano.tolist() == [NANO]


async def test_a_key_that_is_needed_and_missing_is_named_before_anything_is_asked() -> None:
    for mapping, keys, words in (
        (OBJECTS, {"key": ""}, "QUANTD_HTTP_KEY"),
        (SIGNED, {"secret": ""}, "QUANTD_HTTP_SECRET"),
    ):
        with pytest.raises(SourceError, match=words):
            source("http://127.0.0.1:9", mapping, **keys)


@pytest.mark.requirement("R-014")
async def test_requests_keep_the_vendors_pace() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    mapping = {**KLINES, "rate": Rate(20, 1.0)}
    with vendor(JsonBars({"BTCUSD": bars(4), "ETHUSD": []}, page=1)) as base:
        began = loop.time()
        await _bars(source(base, mapping), T0, T0 + 3600)
        took_s = loop.time() - began
    assert took_s >= 5 * 0.05 * 0.9, "six requests have five pauses of a twentieth of a second"


@pytest.mark.requirement("R-014")
def test_a_signature_is_what_the_venues_documents_say() -> None:
    """The example of Binance's documentation of signed endpoints."""
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    query = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )
    url, headers = signed(Signature(parameter="signature"), f"https://api/x?{query}", {}, secret, 0.0)
    assert url.endswith("&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71")
    assert headers == {}
    how = Signature("{timestamp}{method}{path}", header="SIGN", timestamp_header="TIME", timestamp="s",
        encoding="base64", secret="base64")  # fmt: skip
    url, headers = signed(how, "https://api/p?a=1", {}, "aHVzaA==", 12.9)
    assert url == "https://api/p?a=1"
    digest = hmac.digest(b"hush", b"12GET/p", "sha256")
    assert headers == {"TIME": "12", "SIGN": base64.b64encode(digest).decode()}


@pytest.mark.parametrize(
    ("in_mapping", "requested", "zone"),
    [
        ("", "", "UTC"), ("", "America/New_York", "America/New_York"), ("Asia/Tokyo", "", "Asia/Tokyo"),
        ("Asia/Tokyo", "America/New_York", "Asia/Tokyo"),
    ],
)  # fmt: skip
async def test_the_zone_of_a_mapping_precedes_that_of_the_request(
    tmp_path: Path, in_mapping: str, requested: str, zone: str
) -> None:
    line = f'zone = "{in_mapping}"' if in_mapping else ""
    (tmp_path / "vendor.toml").write_text(f'name = "v"\nurl = "http://127.0.0.1/"\n{line}\n')
    secrets = {"http_key": "", "http_secret": ""}
    request = Request(PAIR, "1m", mapping=tmp_path / "vendor.toml", zone=requested, secrets=secrets)
    http_source = opened(request)
    stamp = http_source._stamp("2024-01-02 09:30:00", "BTC/USD")
    await http_source.close()
    assert stamp == instant_ns("2024-01-02 09:30:00", ZoneInfo(zone))
