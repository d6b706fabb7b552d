"""Performance and attribution of a running service: equal to offline calculations on the same run."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.views.report import figures
from quantd.daemon.views.report.figures import with_values
from quantd.research.attribution import book_history_log
from quantd.research.attribution.stored_history import StoredHistory
from quantd.research.attribution.stored_track import PastTrades, StoredBooks
from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.run_track import track_record_of
from quantd.research.runs.backtest import drive_items
from quantd.research.runs.run_record import Record
from quantd.risk.measures.var_backtest import backtest
from quantd.risk.monitor.equity_series import KEPT
from quantd.trading.statistics import sharpe, sortino, volatility
from tests.server.api.model_worlds import halfway
from tests.server.api.routes.portfolio_texts import CORE, PORTFOLIOS
from tests.server.api.routes.traded_run import TEXT as TRADED
from tests.server.requests.orders_by_hand import post
from tests.support.api_world import RUN, get, in_shared_loop, standing_at_the_end
from tests.support.command_line import CONFIG

PATH = "/api/v1/performance"
OF_TRIPS = {"win_rate", "trips", "expectancy"}


@pytest.mark.requirement("R-198", "R-268", "F-41")
@in_shared_loop
async def test_the_house_has_the_metrics_of_a_backtest_of_the_same_configuration(shared: Any) -> None:
    record = Record(shared.assembly.universe)
    drive_items(shared.assembly, record, list(shared.assembly.items()))
    expected = {k: v for k, v in measure(track_record_of(shared.assembly, record)).items() if v is not None}
    status, performance = await get(shared, PATH)
    assert status == 200, performance
    assert performance["samples"] == len(record.ts) - 1
    of_equity = {name for name in expected if performance["metrics"][name] is not None}
    assert {"total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", *OF_TRIPS} <= of_equity
    for name in of_equity:
        assert performance["metrics"][name] == pytest.approx(expected[name], rel=1e-6, abs=1e-9), name


@pytest.mark.long
async def test_trips_between_reads_are_those_of_a_new_reader(tmp_path: Path) -> None:
    past = PastTrades()
    async with halfway(tmp_path, count=170, text=TRADED) as world:
        for sessions in (0, None):
            await world.feed(sessions)
            reader = Reader.open(world.folder)
            for book in ("", "trend"):
                kept = StoredBooks(reader, world.assembly, past=past)._all_trips(book)
                assert kept == StoredBooks(reader, world.assembly)._all_trips(book)
            assert len(kept) >= 4
            one = StoredBooks(reader, world.assembly, past=past)
            last = len(one.ts) - 1
            assert one._trips("trend", 0, last) == StoredBooks(reader, world.assembly)._trips("trend", 0, last)


@pytest.mark.long
async def test_a_history_between_reads_is_that_of_a_new_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with halfway(tmp_path, count=170, text=TRADED) as world:
        stored, trades = StoredHistory(world.assembly, world.store, RUN), []
        for sessions in (0, 1, None):
            await world.feed(sessions)
            fresh = StoredHistory(world.assembly, world.store, RUN).newest()
            with monkeypatch.context() as patch:
                patch.setattr(book_history_log, "MAX_OBJECTS", 0)  # columns at each sample
                kept = stored.newest()
            assert asdict(kept).keys() == asdict(fresh).keys()
            np.testing.assert_equal(asdict(kept), asdict(fresh))
            trades.append(len(kept.trades.interval))
        assert 0 < trades[0] < trades[-1]


@pytest.mark.requirement("R-198")
@in_shared_loop
async def test_an_agent_has_the_figures_of_its_own_book_and_dates_choose_the_samples(shared: Any) -> None:
    points = Reader.open(shared.folder).equity()
    equity = np.array([p.books[1] / 1e6 for p in points])
    _, performance = await get(shared, f"{PATH}?book=trend")
    assert performance["metrics"]["total_return"] == pytest.approx(equity[-1] / equity[0] - 1.0)
    _, part = await get(shared, f"{PATH}?book=trend&from=2019-02-01&to=2019-02-28")
    days = [p.ts for p in points]
    inside = [k for k, ts in enumerate(days) if 1548979200000000000 <= ts < 1551398400000000000]
    window = equity[inside[0] - 1 : inside[-1] + 1]
    returns = window[1:] / window[:-1] - 1.0
    assert (part["samples"], part["last"][:10]) == (len(returns), "2019-02-28")
    metrics = part["metrics"]
    assert metrics["total_return"] == pytest.approx(window[-1] / window[0] - 1.0)
    assert metrics["volatility"] == pytest.approx(volatility(returns, part["samples_a_year"]))
    assert metrics["sharpe"] == pytest.approx(sharpe(returns, part["samples_a_year"]))
    assert metrics["sortino"] == pytest.approx(sortino(returns, part["samples_a_year"]))
    assert metrics["total_return"] != performance["metrics"]["total_return"]
    status, none = await get(shared, f"{PATH}?from=2031-01-01")
    assert (status, none["samples"], none["first"], set(none["metrics"].values())) == (200, 0, "", {None})


@pytest.mark.requirement("R-209")
@in_shared_loop
async def test_a_rolling_sharpe_ratio_is_that_of_the_newest_returns_at_each_sample(shared: Any) -> None:
    points = Reader.open(shared.folder).equity()
    equity = np.array([p.books[0] / 1e6 for p in points])
    returns = equity[1:] / equity[:-1] - 1.0
    status, rolling = await get(shared, f"{PATH}/rolling?book=even&window=20&points=7")
    assert status == 200, rolling
    assert 2 <= len(rolling["ts"]) == len(rolling["sharpe"]) <= 7
    assert rolling["ts"][-1] == points[-1].ts
    days = [p.ts for p in points]
    for ts, ratio in zip(rolling["ts"], rolling["sharpe"], strict=True):
        k = days.index(ts)
        assert ratio == pytest.approx(sharpe(returns[k - 20 : k], rolling["samples_a_year"]))
    _, house_rolling = await get(shared, f"{PATH}/rolling?window=20")
    assert house_rolling["ts"] == days[20:]
    assert (await get(shared, f"{PATH}/rolling?window=2000"))[1]["ts"] == []


@in_shared_loop
async def test_the_var_of_the_record_is_compared_with_the_returns_that_followed(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, comparison = await get(shared, "/api/v1/risk/var")
    assert (comparison["result"], comparison["missing"][-14:]) == (None, " 60 are needed")
    monkeypatch.setattr(figures, "SAMPLES", 30)  # a quarter has fewer
    _, comparison = await get(shared, "/api/v1/risk/var")
    result, reader = comparison["result"], Reader.open(shared.folder)
    points, records = reader.equity(), with_values(reader.risk(), reader.decisions())
    equity = np.array([p.equity_micro for p in points], dtype=np.float64)
    var_by_ts = {record.ts: record.measures["var"][0] for record in records if "var" in record.measures}
    newest, forecasts = np.nan, []
    for point in points[:-1]:
        newest = var_by_ts.get(point.ts, newest)
        forecasts.append(newest)
    expected = backtest(equity[1:] / equity[:-1] - 1.0, np.array(forecasts), 0.95)
    assert (result["samples"], result["exceedances"]) == (expected.samples, expected.exceedances)
    assert result["p_coverage"] == pytest.approx(expected.p_coverage)


@in_shared_loop
async def test_correlations_are_those_of_the_largest_positions(shared: Any) -> None:
    _, correlations = await get(shared, "/api/v1/risk/correlations")
    _, held = await get(shared, "/api/v1/positions")
    worth = {position["symbol"]: abs(float(position["value"])) for position in held["positions"]}
    assert correlations["symbols"] == sorted(worth, key=lambda symbol: -worth[symbol])
    returns = shared.service.shell.state.history.synchronous.returns(KEPT)
    columns = [shared.assembly.universe.symbols.index(symbol) for symbol in correlations["symbols"]]
    newest_returns = returns[-60:, columns]
    assert np.array(correlations["rows"]) == pytest.approx(np.corrcoef(newest_returns.T), abs=0.1)
    assert np.array(correlations["rows"]) == pytest.approx(np.array(correlations["rows"]).T)


@pytest.mark.long
async def test_a_deposit_is_no_return(world: Any) -> None:
    _, before = await get(world, PATH)
    _, parts = await get(world, f"{PATH}/attribution")
    status, _ = await post(world, "cash", {"do": "add", "amount": "500000.00", "reason": "more"})
    assert status == 200
    assert (await get(world, PATH))[1]["metrics"] == before["metrics"]
    assert (await get(world, f"{PATH}/attribution"))[1] == parts


@pytest.mark.requirement("R-199")
async def test_contributions_add_up_to_the_return_of_the_account(world: Any) -> None:
    totals = []
    later = ("?book=even", "?book=trend", "?book=trend&from=2019-02-01")
    for query in ("", "?from=2019-02-01", "?from=2019-02-01&to=2019-02-28", "?to=2019-01-31", *later):
        _, account = await get(world, f"{PATH}{query}")
        status, attribution = await get(world, f"{PATH}/attribution{query}")
        assert status == 200, attribution
        assert sum(row["contribution"] for row in attribution["symbols"]) == pytest.approx(
            attribution["total_return"], abs=1e-9
        )
        assert attribution["total_return"] == pytest.approx(account["metrics"]["total_return"], abs=1e-9)
        assert (attribution["first"], attribution["last"]) == (account["first"], account["last"])
        assert [row["symbol"] for row in attribution["symbols"]] == ["SPY", "QQQ", "IWM", "cash"]
        assert sum(row["weight"] for row in attribution["symbols"]) == pytest.approx(1.0)
        assert any(row["asset_return"] for row in attribution["symbols"])
        totals.append(attribution["total_return"])
    assert len(set(totals)) == len(totals)


@pytest.mark.long
async def test_what_a_portfolio_hands_over_is_no_return_of_the_agent_that_gets_it(tmp_path: Path) -> None:
    async with halfway(tmp_path, count=170, text=PORTFOLIOS) as world:
        assert (await post(world, "portfolios", CORE))[0] == 200
        await world.feed(3)
        asked = {"how": "hand_over", "to": "even", "reason": "the end"}
        assert (await post(world, "portfolios/core/close", asked))[1]["state"] == "closed"
        await world.feed(3)
        points = Reader.open(world.folder).equity()
        _, profit = await get(world, f"/api/v1/profit?since={points[0].ts}&until={points[-1].ts}")
        books = {book["name"]: book for book in profit["books"]}
        assert float(books["even"]["moved"]) > 20_000
        for name in ("even", "trend"):
            _, performance = await get(world, f"{PATH}?book={name}")
            assert performance["metrics"]["total_return"] == pytest.approx(books[name]["total_return"], rel=1e-9), name
            _, parts = await get(world, f"{PATH}/attribution?book={name}")
            assert parts["total_return"] == pytest.approx(books[name]["total_return"], rel=1e-9), name
            assert sum(row["contribution"] for row in parts["symbols"]) == pytest.approx(parts["total_return"])
        config = world.service.config
        report = figures.report(Reader.open(world.folder), config, kind="hand", feed="", standing=None)
        spans = {part.name: part.span.total for part in report.agents}
        assert spans["even"] == pytest.approx(books["even"]["total_return"], rel=1e-9)


@pytest.mark.long
async def test_a_portfolio_has_figures_of_its_own_since_it_was_opened(tmp_path: Any) -> None:
    async with halfway(tmp_path, text=PORTFOLIOS) as world:
        status, portfolio = await world.post("/api/v1/portfolios", CORE)
        assert status == 200, portfolio
        await world.feed(20)
        _, now = await get(world, "/api/v1/agents/core/standing")
        for name in ("core", "portfolio-1"):
            _, performance = await get(world, f"{PATH}?book={name}")
            # the sample before it was opened
            assert (performance["book"], performance["first"], now["portfolio"]["created"][:10]) == (
                name,
                "2019-01-16T21:00:00Z",
                "2019-01-17",
            )
            assert performance["samples"] < 25
            assert performance["metrics"]["total_return"] == pytest.approx(float(now["equity"]) / 20_000 - 1)
            assert abs(performance["metrics"]["total_return"]) > 1e-4
            _, parts = await get(world, f"{PATH}/attribution?book={name}")
            assert (parts["first"], parts["last"]) == (performance["first"], performance["last"])
            assert parts["total_return"] == pytest.approx(performance["metrics"]["total_return"])
            assert sum(row["contribution"] for row in parts["symbols"]) == pytest.approx(parts["total_return"])
        status, problem = await get(world, f"{PATH}?book=portfolio-2")
        assert status == 404
        assert "known: even, trend, portfolio-1, core, benchmark" in problem["detail"]
        assert (await get(world, "/api/v1/stats"))[1]["portfolios"] == 1


@pytest.mark.long
async def test_the_benchmark_is_the_symbol_of_the_configuration(tmp_path: Any) -> None:
    text = CONFIG.replace("[universe]", '[universe]\nbenchmark = "SPY"')
    async with standing_at_the_end(tmp_path, text) as world:
        _, performance = await get(world, f"{PATH}?book=benchmark")
        _, parts = await get(world, f"{PATH}/attribution")
        spy = next(row for row in parts["symbols"] if row["symbol"] == "SPY")
        assert performance["metrics"]["total_return"] == pytest.approx(spy["asset_return"])
        assert performance["metrics"]["win_rate"] is None
        both = await asyncio.gather(*(get(world, f"{PATH}/attribution") for _ in range(4)))
        assert all(answer == (200, parts) for answer in both)


@pytest.mark.long
async def test_the_benchmark_may_lie_outside_the_universe(tmp_path: Any) -> None:
    outside = CONFIG.replace("[universe]", '[universe]\nbenchmark = "AAPL"')
    inside = outside.replace('"IWM"]', '"IWM", "AAPL"]')
    metrics = []
    for name, text in (("outside", outside), ("inside", inside)):
        async with standing_at_the_end(tmp_path / name, text) as world:
            metrics.append((await get(world, f"{PATH}?book=benchmark"))[1]["metrics"])
            assert (await get(world, f"{PATH}/rolling?book=benchmark"))[0] == 200
    for name in ("total_return", "volatility", "sharpe", "max_drawdown"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-6), name


@in_shared_loop
@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("?book=nobody", 404, "book"),
        ("?book=benchmark", 404, "book"),
        ("?from=2019-03-01&to=2019-02-01", 422, "from"),
        ("?from=yesterday", 422, "from"),
        ("?from=2019-02-30", 422, "from"),
        ("/attribution?from=2019-03-01&to=2019-02-01", 422, "from"),
        ("/attribution?book=nobody", 404, "book"),
        ("/attribution?book=benchmark", 404, "book"),
    ],
)
async def test_a_book_or_period_at_fault_is_named(shared: Any, query: str, status: int, field: str) -> None:
    answer_status, body = await get(shared, PATH + query)
    assert (answer_status, [error["field"] for error in body["errors"]]) == (status, [field]), body
