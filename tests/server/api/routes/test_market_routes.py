"""Reads that the page needs: bars up to now, refused orders, and the marks that a resume resets."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
import pytest_asyncio

from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.addresses import AskedLine, refused_lines
from quantd.server.api.routes.market_routes import BarNow, joined
from tests.server.api.routes.traded_run import ok
from tests.support.api_world import World, get, in_shared_loop
from tests.support.command_line import ROOT


@in_shared_loop
async def test_bars_are_those_of_the_recorded_market_up_to_now(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    status, answer = await get(shared, "/api/v1/bars?symbol=QQQ&limit=20")
    assert status == 200
    table = pl.read_parquet(f"{ROOT}/data/us_daily.parquet").filter(pl.col("symbol") == "QQQ").sort("ts")
    rows = table.filter(pl.col("ts").cast(pl.Date) <= datetime(2019, 3, 29, tzinfo=UTC).date()).tail(20)
    for bar, row in zip(answer["bars"], rows.iter_rows(named=True), strict=True):
        expected = [row[name] for name in ("open", "high", "low", "close", "volume")]
        assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == pytest.approx(expected, abs=0.01)
    assert answer["bars"][-1]["ts"] == shared.service.shell.ts
    assert answer["interval_ns"] == 86_400 * 10**9
    early = shared.service.shell.ts - 1
    with monkeypatch.context() as patch:
        patch.setattr(Shell, "ts", early)
        assert (await get(shared, "/api/v1/bars?symbol=QQQ&limit=20"))[1]["bars"][-1]["ts"] < early
    assert (await get(shared, "/api/v1/bars?symbol=NONE"))[0] == 404


@in_shared_loop
async def test_bars_of_a_period_are_joined_to_days_weeks_and_months(shared: World) -> None:
    _, every = await get(shared, "/api/v1/bars?symbol=QQQ&limit=1000")
    bars = every["bars"]
    middle = bars[len(bars) // 2]["ts"]
    _, part = await get(shared, f"/api/v1/bars?symbol=QQQ&limit=1000&since={middle}")
    assert part["bars"] == [bar for bar in bars if bar["ts"] >= middle]
    _, part = await get(shared, f"/api/v1/bars?symbol=QQQ&limit=5&until={middle}")
    assert part["bars"] == [bar for bar in bars if bar["ts"] < middle][-5:]
    assert (await get(shared, "/api/v1/bars?symbol=QQQ&limit=1000&per=day"))[1]["bars"] == bars
    for per, key in (("week", lambda day: day.isocalendar()[:2]), ("month", lambda day: (day.year, day.month))):
        _, answer = await get(shared, f"/api/v1/bars?symbol=QQQ&limit=1000&per={per}")
        groups: dict[Any, list[Any]] = {}
        for bar in bars:
            groups.setdefault(key(datetime.fromtimestamp(bar["ts"] // 10**9, UTC).date()), []).append(bar)
        expected = [
            {
                "ts": rows[-1]["ts"], "open": rows[0]["open"], "high": max(row["high"] for row in rows),
                "low": min(row["low"] for row in rows), "close": rows[-1]["close"],
                "volume": sum(row["volume"] for row in rows),
            }
            for rows in groups.values()
        ]  # fmt: skip
        assert answer["bars"] == expected, per
        assert answer["interval_ns"] >= 7 * 86_400 * 10**9


def test_a_joined_bar_has_no_range_where_one_of_its_bars_has_none() -> None:
    day = 86_400 * 10**9
    bars = [BarNow(day, 1.0, 3.0, 0.5, 2.0), BarNow(2 * day, None, None, None, 4.0)]
    assert joined(bars, "month") == [BarNow(2 * day, None, None, None, 4.0)]
    assert joined([], "week") == []


@in_shared_loop
async def test_refusals_are_those_of_the_command_line_the_newest_first(shared: World) -> None:
    _, answer = await get(shared, "/api/v1/refusals?limit=7&symbol=SPY")
    lines = await shared.api.context.run.read(lambda reader: refused_lines(reader, last=7, symbol="SPY"))
    assert [row["address"] for row in answer["refusals"]] == [line.address for line in reversed(lines)]
    assert len(lines) == 7
    assert {row["symbol"] for row in answer["refusals"]} == {"SPY"}


@in_shared_loop
async def test_a_resume_resets_the_marks_that_were_shown(shared: World) -> None:
    _, before = await get(shared, "/api/v1/switches")
    house = before["switches"][0]
    assert float(house["high_water"]) > float(house["equity"])
    for body in ({"command": "halt"}, {"command": "resume", "reason": "looked"}):
        async with shared.session.post("/api/v1/commands", json=body, headers=shared.bearer) as response:
            assert response.status == 200
    _, after = await get(shared, "/api/v1/switches")
    assert {after["switches"][0][mark] for mark in ("high_water", "day_open", "week_open")} == {house["equity"]}
    assert after["switches"][1:] == before["switches"][1:]


ALL = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines(shared: World) -> list[AskedLine]:
    """Every cut trade of the run as the command line lists it, the newest first."""
    oldest_first = await shared.api.context.run.read(lambda reader: refused_lines(reader, last=ALL))
    return oldest_first[::-1]


def places(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["address"], row["who"]) for row in rows]


@in_shared_loop
async def test_totals_are_those_of_the_run_and_not_of_the_page(shared: World, lines: list[AskedLine]) -> None:
    page = await ok(shared, "/api/v1/refusals?limit=1&totals=yes")
    refused = sum(line.allowed == "0" for line in lines)
    assert page["totals"] == {"all": len(lines), "refused": refused, "cut": len(lines) - refused}
    assert min(page["totals"].values()) > 0
    assert len(page["refusals"]) == 1
    assert (await ok(shared, "/api/v1/refusals?limit=1"))["totals"] == {}
    assert (await ok(shared, "/api/v1/refusals?totals=yes&search=NONE"))["totals"]["all"] == 0


@in_shared_loop
@pytest.mark.parametrize("group", ["all", "cut", "refused"])
async def test_pages_of_a_group_reach_its_oldest_trade_once_each(
    shared: World, lines: list[AskedLine], group: str
) -> None:
    fits = {
        "all": lambda line: True,
        "cut": lambda line: line.allowed != "0",
        "refused": lambda line: line.allowed == "0",
    }
    expected = [(line.address, line.who) for line in lines if fits[group](line)]
    rows, cursor = [], ""
    while True:
        page = await ok(shared, f"/api/v1/refusals?limit=7&group={group}&cursor={cursor}")
        rows += page["refusals"]
        if not (cursor := page["next"]):
            break
    assert places(rows) == expected


@in_shared_loop
async def test_a_search_looks_at_symbol_owner_side_limit_and_address(shared: World, lines: list[AskedLine]) -> None:
    oldest, limit = lines[-1], Counter(line.reason for line in lines).most_common()[-1][0]
    searches = {
        oldest.symbol.lower(): lambda line: line.symbol == oldest.symbol,
        oldest.address: lambda line: line.address == oldest.address,
        oldest.address.partition(":")[0]: lambda line: (
            line.address.partition(":")[0] == oldest.address.partition(":")[0]
        ),
        oldest.who: lambda line: line.who == oldest.who,
        limit: lambda line: limit in line.reason,
        limit.replace("_", " "): lambda line: limit in line.reason,
        "sel": lambda line: line.side == "sell",
        "no such text": lambda line: False,
        "d": lambda line: any("d" in text.lower() for text in (line.symbol, line.who, line.reason)),
        "d999999999999999999": lambda line: False,
    }
    for text, fits in searches.items():
        page = await ok(shared, f"/api/v1/refusals?limit=500&totals=yes&search={quote(text)}")
        expected = [(line.address, line.who) for line in lines if fits(line)]
        assert places(page["refusals"]) == expected[:500], text
        assert page["totals"]["all"] == len(expected), text
