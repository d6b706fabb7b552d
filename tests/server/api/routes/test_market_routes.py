"""Reads that the page needs: bars up to now, refused orders, and the marks that a resume resets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
import pytest_asyncio

from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.addresses import refused_lines
from quantd.server.api.routes.market_routes import BarNow, joined
from tests.support.api_world import RATES, World, standing_at_the_end
from tests.support.command_line import CONFIG, ROOT

in_module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path_factory.mktemp("reads"), CONFIG + RATES) as world:
        yield world


async def read(world: World, path: str) -> tuple[int, Any]:
    async with world.session.get(path) as response:
        return response.status, await response.json()


@in_module_loop
async def test_bars_are_those_of_the_recorded_market_up_to_now(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    status, answer = await read(shared, "/api/v1/bars?symbol=QQQ&limit=20")
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
        assert (await read(shared, "/api/v1/bars?symbol=QQQ&limit=20"))[1]["bars"][-1]["ts"] < early
    assert (await read(shared, "/api/v1/bars?symbol=NONE"))[0] == 404


@in_module_loop
async def test_bars_of_a_period_are_joined_to_days_weeks_and_months(shared: World) -> None:
    _, every = await read(shared, "/api/v1/bars?symbol=QQQ&limit=1000")
    bars = every["bars"]
    middle = bars[len(bars) // 2]["ts"]
    _, part = await read(shared, f"/api/v1/bars?symbol=QQQ&limit=1000&since={middle}")
    assert part["bars"] == [bar for bar in bars if bar["ts"] >= middle]
    _, part = await read(shared, f"/api/v1/bars?symbol=QQQ&limit=5&until={middle}")
    assert part["bars"] == [bar for bar in bars if bar["ts"] < middle][-5:]
    assert (await read(shared, "/api/v1/bars?symbol=QQQ&limit=1000&per=day"))[1]["bars"] == bars
    for per, key in (("week", lambda day: day.isocalendar()[:2]), ("month", lambda day: (day.year, day.month))):
        _, answer = await read(shared, f"/api/v1/bars?symbol=QQQ&limit=1000&per={per}")
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


@in_module_loop
async def test_refusals_are_those_of_the_command_line_the_newest_first(shared: World) -> None:
    _, answer = await read(shared, "/api/v1/refusals?limit=7&symbol=SPY")
    lines = await shared.api.context.run.read(lambda reader: refused_lines(reader, last=7, symbol="SPY"))
    assert [row["address"] for row in answer["refusals"]] == [line.address for line in reversed(lines)]
    assert len(lines) == 7
    assert {row["symbol"] for row in answer["refusals"]} == {"SPY"}


@in_module_loop
async def test_a_resume_resets_the_marks_that_were_shown(shared: World) -> None:
    _, before = await read(shared, "/api/v1/switches")
    house = before["switches"][0]
    assert float(house["high_water"]) > float(house["equity"])
    for body in ({"command": "halt"}, {"command": "resume", "reason": "looked"}):
        async with shared.session.post("/api/v1/commands", json=body, headers=shared.bearer) as response:
            assert response.status == 200
    _, after = await read(shared, "/api/v1/switches")
    assert {after["switches"][0][mark] for mark in ("high_water", "day_open", "week_open")} == {house["equity"]}
    assert after["switches"][1:] == before["switches"][1:]
