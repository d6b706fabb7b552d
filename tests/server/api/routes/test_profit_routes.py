"""Profit in money over a period: equal to the statement of the account, and its parts add up to the micro."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from quantd.server.api.routes import profit_routes
from quantd.server.api.routes.profit_routes import _first_date
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.traded_run import ok, statement, window, world
from tests.support.api_world import RUN, get

__all__ = ["statement", "world"]

PATH = "/api/v1/profit"
DAY_NS = 86_400_000_000_000


in_module_loop = pytest.mark.asyncio(loop_scope="module")


def added(rows: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal())


@pytest.mark.long
@in_module_loop
@pytest.mark.parametrize("period", ["period=all", "period=1M", "period=1D", "from=2019-02-05&to=2019-03-14"])
async def test_books_and_positions_add_up_to_the_account_to_the_micro(world: Halfway, period: str) -> None:
    profit = await ok(world, f"{PATH}?{await window(world, period)}")
    account, books = profit["account"], profit["books"]
    for row in (account, *books):
        parts = [Decimal(row[name]) for name in ("opening", "deposits", "moved", "profit")]
        assert sum(parts) == Decimal(row["closing"]), row["name"]
    for name in ("opening", "deposits", "profit", "closing", "fees"):
        assert added(books, name) == Decimal(account[name]), name
    assert added(books, "moved") == added(books, "crossed") == 0
    assert added(profit["symbols"], "profit") + Decimal(profit["other"]) == Decimal(account["profit"])
    assert abs(Decimal(profit["other"])) < Decimal("0.0001")  # no interest and no borrow fee: rounding only


@in_module_loop
async def test_the_run_has_deposits_crosses_fees_and_a_portfolio(world: Halfway) -> None:
    profit = await ok(world, PATH)
    books = {row["name"]: row for row in profit["books"]}
    assert Decimal(profit["account"]["deposits"]) == Decimal("3999.50")
    assert sum(abs(Decimal(row["crossed"])) for row in books.values()) > 0
    assert all(Decimal(books[name]["fees"]) > 0 for name in ("even", "trend"))
    assert sorted(Decimal(row["moved"]) for row in books.values()) == [-3000, 0, 0, 3000]
    assert [row["name"] for row in profit["books"]][:2] == ["even", "trend"]


@in_module_loop
async def test_each_day_is_that_of_the_statement(
    world: Halfway, statement: tuple[list[dict[str, Any]], list[dict[str, str]]]
) -> None:
    days, lines = statement
    row_by_date = {row["last"]: row for row in (await ok(world, f"{PATH}/days"))["days"]}
    assert set(row_by_date) == {day["date"] for day in days}
    flows: dict[str, Decimal] = {}
    for line in lines:
        if line["kind"] == "flow":
            flows[line["date"]] = flows.get(line["date"], Decimal()) + Decimal(line["amount"])
    assert len(flows) == 1
    before = Decimal("100000.00")
    for day in days:
        row, equity = row_by_date[day["date"]], Decimal(day["equity"])
        assert Decimal(row["closing"]) == equity, day["date"]
        assert Decimal(row["opening"]) == before
        assert Decimal(row["deposits"]) == flows.get(day["date"], 0)
        assert Decimal(row["profit"]) == equity - before - flows.get(day["date"], 0)
        before = equity


@in_module_loop
async def test_positions_and_fees_are_those_of_the_lines_of_the_statement(
    world: Halfway, statement: tuple[list[dict[str, Any]], list[dict[str, str]]]
) -> None:
    _, lines = statement
    profit = await ok(world, PATH)
    assert -sum(Decimal(line["amount"]) for line in lines if line["kind"] == "fee") == Decimal(
        profit["account"]["fees"]
    )
    kinds = ("trade", "fee", "dividend", "cash_in_lieu")
    for row in profit["symbols"]:
        paid = sum(Decimal(x["amount"]) for x in lines if x["symbol"] == row["symbol"] and x["kind"] in kinds)
        assert Decimal(row["realised"]) + Decimal(row["unrealised"]) == paid + Decimal(row["value"]), row["symbol"]
        assert Decimal(row["profit"]) == paid + Decimal(row["value"])
    house = world.service.shell.state.ledger.house
    assert added(profit["symbols"], "realised") * 10**6 == house.realised_micro + house.income_micro - house.fees_micro


@in_module_loop
async def test_a_day_week_or_month_begins_where_the_one_before_it_ends(world: Halfway) -> None:
    account = (await ok(world, PATH))["account"]
    for by in ("day", "week", "month"):
        answer = await ok(world, f"{PATH}/days?by={by}")
        rows = answer["days"][::-1]
        assert answer["count"] == len(rows) > 2
        assert all(a["closing"] == b["opening"] and a["last"] < b["first"] for a, b in pairwise(rows))
        assert added(rows, "profit") == Decimal(account["profit"])
        assert added(rows, "deposits") == Decimal(account["deposits"])
        if by != "day":
            size = {date.fromisoformat(row["first"]).isocalendar()[:2] for row in rows}
            months = {row["first"][:7] for row in rows}
            assert len(rows) == len(size if by == "week" else months)


@in_module_loop
async def test_the_day_of_now_opens_with_the_equity_before_it(world: Halfway) -> None:
    profit = await ok(world, f"{PATH}?{await window(world, 'period=1D')}")
    now = await ok(world, "/api/v1/status")
    switch = world.service.shell.state.switch
    assert Decimal(profit["account"]["opening"]) * 10**6 == switch.day_open
    assert profit["account"]["total_return"] == pytest.approx(now["today"])
    assert profit["account"]["closing"] == now["equity"]
    for row in profit["symbols"]:
        held = next(position for position in now["positions"] if position["symbol"] == row["symbol"])
        assert (row["value"], row["unrealised"]) == (held["value"], held["unrealised"])


@pytest.mark.long
@in_module_loop
async def test_the_curve_has_the_returns_of_the_performance_without_deposits(world: Halfway) -> None:
    answer = await ok(world, f"{PATH}/curve?points=10000")
    curve = answer["curve"]
    for book in ("", "even", "trend", "benchmark"):
        total_return = (await ok(world, f"/api/v1/performance?book={book}"))["metrics"]["total_return"]
        line = {"": curve["worth"], "benchmark": curve["benchmark"]}.get(book) or curve["agents"][book]
        assert line[0] == 1.0
        assert line[-1] - 1.0 == pytest.approx(total_return, rel=1e-9), book
    points = (await ok(world, "/api/v1/equity?points=10000"))["equity"]
    assert curve["equity"] == [point["equity"] for point in points]
    assert answer["samples"] == len(points) + 2  # the start of the run before them, and now
    thin = (await ok(world, f"{PATH}/curve?points=5"))["curve"]
    assert len(thin["ts"]) == 5
    assert (thin["ts"][0], thin["ts"][-1]) == (curve["ts"][0], curve["ts"][-1])


@in_module_loop
async def test_equal_weights_are_the_mean_of_the_instruments_total_returns(world: Halfway) -> None:
    curve = (await ok(world, f"{PATH}/curve?points=10000"))["curve"]
    history = world.service.shell.state.history.known
    returns = history.returns(len(curve["ts"]) - 1)
    expected = 1.0
    for row in returns:
        expected *= 1.0 + float(row.mean())
    assert curve["equal"][-1] == pytest.approx(expected, rel=1e-9)


@in_module_loop
async def test_notes_are_deposits_starts_halts_and_portfolios_of_the_period(world: Halfway) -> None:
    answer = await ok(world, f"{PATH}/curve")
    kinds = [note["kind"] for note in answer["notes"]]
    assert kinds == ["start", "deposit", "portfolio", "deposit"]
    assert [note["text"] for note in answer["notes"] if note["kind"] == "deposit"] == [
        "deposit of 5000.00", "withdrawal of 1000.50",
    ]  # fmt: skip
    at = answer["notes"][1]["ts"]
    assert (await ok(world, f"{PATH}/curve?since={at + 1}"))["count"] < answer["count"]


@in_module_loop
@pytest.mark.parametrize("path", ["orders", "fills", "alerts", "refusals"])
async def test_lists_have_the_rows_of_a_period_and_their_number(world: Halfway, path: str) -> None:
    every = (await ok(world, f"/api/v1/{path}?limit=10000"))[path]
    assert len(every) > 2, path
    middle = sorted(row["ts"] for row in every)[len(every) // 2]
    totals = "" if path == "fills" else "&totals=yes"
    for bounds, expected in (
        (f"since={middle}", [row for row in every if row["ts"] >= middle]),
        (f"until={middle}", [row for row in every if row["ts"] < middle]),
        (f"since={middle}&until={middle + DAY_NS}", [row for row in every if middle <= row["ts"] < middle + DAY_NS]),
    ):
        answer = await ok(world, f"/api/v1/{path}?limit=10000&{bounds}{totals}")
        assert answer[path] == expected, bounds
        if totals:
            number = answer["total"] if path == "alerts" else answer["totals"]["all"]
            assert number == len(expected), bounds


@in_module_loop
async def test_periods_are_in_the_time_of_the_market(world: Halfway) -> None:
    period = await ok(world, "/api/v1/period?period=1M")
    assert (period["first"], period["last"], period["until"]) == ("2019-03-01", "2019-03-29", None)
    assert period["since"] == (date(2019, 3, 1) - date(1970, 1, 1)).days * DAY_NS
    period = await ok(world, "/api/v1/period?from=2019-02-01&to=2019-02-28")
    assert period["until"] - period["since"] == 28 * DAY_NS
    assert (await ok(world, "/api/v1/period"))["since"] == 0
    status, answer = await get(world, "/api/v1/period?from=2019-03-01&to=2019-02-01")
    assert (status, answer["code"]) == (422, "query")
    assert (await get(world, "/api/v1/period?period=2D"))[0] == 422


def test_names_of_periods_are_calendar_days() -> None:
    now = date(2024, 3, 31)
    first_days = {name: _first_date(name, now) for name in ("1D", "1W", "1M", "3M", "YTD", "1Y")}  # type: ignore[arg-type]
    assert first_days == {
        "1D": now, "1W": date(2024, 3, 25), "1M": date(2024, 3, 1), "3M": date(2024, 1, 1), "YTD": date(2024, 1, 1),
        "1Y": date(2023, 4, 1),
    }  # fmt: skip
    assert now - date(2024, 3, 25) == timedelta(days=6)


@in_module_loop
async def test_entries_that_are_not_committed_yet_are_a_fault_and_not_an_older_answer(
    world: Halfway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profit_routes, "COMMIT_S", 0.2)
    monkeypatch.setattr(world.service.journal, "seq", world.service.journal.seq + 1)
    status, answer = await get(world, PATH)
    assert (status, answer["code"]) == (503, "store")
    assert RUN in world.service.run
