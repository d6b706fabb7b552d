"""Each section follows from the run: it is there, it varies with its input, and its parts add up."""

import json
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import quantd
from quantd.daemon.config import digest
from quantd.research.attribution.breakdown import breakdown
from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.metrics.run_track import track_record_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.report_figures import POINTS, TooShort, report_of, thinned
from quantd.trading.instruments import MICRO
from tests.support.backtest_reports import CONFIG, Made, made
from tests.support.book_histories import reordered


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same account with another policy, other costs, capital, dates, benchmarks and goals."""
    folder = tmp_path_factory.mktemp("other")
    sets = (
        "quantd.name=desk", "broker.commission_bp=25", "broker.cash=50000.00", "broker.seed=3", "feed.end=2020-05-29",
        "agents.0.policy=inverse_volatility", 'study.benchmarks=["IWM","SPY"]', "study.goals={cagr=0.5}",
    )  # fmt: skip
    return made(folder, sets=sets)


# section -> a figure of it
SECTIONS = {
    "header": lambda r: r.header.config,
    "verdict": lambda r: r.verdict.performance.sharpe,
    "accounts": lambda r: r.accounts[1].name,
    "metrics": lambda r: [row.values[0] for row in r.metrics if row.name == "volatility"],
    "goals": lambda r: r.goals[0].goal,
    "curves": lambda r: r.curves.wealth[0][-1],
    "rolling": lambda r: r.rolling.sharpe[0][-1],
    "drawdowns": lambda r: r.drawdowns[0].depth,
    "months": lambda r: r.months[3].total_return,
    "years": lambda r: r.years[0].total_return,
    "exposures": lambda r: r.exposures.weights[0].average,
    "trading": lambda r: r.trading.profit,
    "risk": lambda r: r.risk.average.var,
    "costs": lambda r: r.costs[0].commission,
    "statistics": lambda r: r.statistics.versus[0].ledoit_wolf.p,
    "attribution": lambda r: r.attribution.by_asset["SPY"],
    "notes": None,  # without a rejected bar there are none
    "samples": lambda r: r.samples.equity[-1],
    "format": None,
}


def known(values) -> list[float]:
    """The values with NaN for None."""
    return [np.nan if value is None else value for value in values]


def test_every_section_has_its_row() -> None:
    assert set(SECTIONS) == set(BacktestReport.__struct_fields__)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, figure in SECTIONS.items() if figure is not None])
def test_a_section_varies_with_its_input(name: str, small: Made, other: Made) -> None:
    figure = SECTIONS[name]
    assert figure(small.report) not in (None, "", 0.0)
    assert figure(small.report) != figure(other.report)


@pytest.mark.requirement("R-241")
def test_the_metrics_of_house_and_benchmark_are_those_of_the_catalogue(small: Made) -> None:
    report = small.report
    assert [row.name for row in report.metrics] == [metric.name for metric in METRICS]
    expected = measure(track_record_of(small.assembly, small.record))
    for row in report.metrics:
        if row.needs != "benchmark" and row.name != "average_net":
            assert row.values[0] == expected[row.name], row.name


@pytest.mark.requirement("R-172")
def test_the_metrics_of_a_book_are_those_of_the_frame_of_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    result = quantd.backtest("config.toml")
    written = json.loads(result.report("report.json").read_text())
    names = [account["name"] for account in written["accounts"]]
    for agent in ("even", "trend"):
        equity = result.books.filter(pl.col("book") == agent)["equity"].to_numpy()
        days = result.books.filter(pl.col("book") == agent)["ts"].dt.epoch("ns").to_numpy()
        expected = measure(TrackRecord(equity.astype(np.float64), days - days % (86_400 * 10**9), 252.0, 0.02))
        for row in written["metrics"]:
            if row["needs"] == "equity":
                one, two = known([row["values"][names.index(agent)], expected[row["name"]]])
                assert one == pytest.approx(two, rel=1e-9, abs=1e-12, nan_ok=True), (agent, row["name"])


def test_the_parts_of_attribution_add_up_to_the_total_return(small: Made) -> None:
    attribution = small.report.attribution
    assert attribution == breakdown(small.history)
    total = small.record.equity_micro[-1] / small.record.equity_micro[0] - 1.0
    for name in ("by_asset", "by_sector", "by_agent", "by_kind"):
        assert sum(getattr(attribution, name).values()) == pytest.approx(total), name
    assert attribution.decision + attribution.execution == pytest.approx(total)


@pytest.mark.requirement("R-172")
def test_costs_of_the_house_are_those_of_its_fills(small: Made) -> None:
    house = small.report.costs[0]
    assert house.commission == sum(sum(fill.fee_micro) for fill in small.record.fills) / MICRO > 0.0
    assert house.total == pytest.approx(house.commission + house.slippage_paid + house.borrow)


@pytest.mark.requirement("R-172")
def test_costs_and_orders_of_agents_are_those_of_their_shares_of_the_fills(small: Made) -> None:
    house, *benchmarks, even, trend = small.report.costs
    assert (len(benchmarks), even.account, trend.account) == (3, "even", "trend")
    for name in ("commission", "slippage_paid", "borrow"):
        assert getattr(even, name) + getattr(trend, name) == pytest.approx(getattr(house, name), abs=1e-4), name
    fills = small.record.fills
    keys = [
        {(fill.sample, fill.n, s) for fill in fills for s, parts in zip(fill.sym, fill.shares, strict=True)
         if number in [agent for agent, _ in parts]}
        for number in (0, 1)
    ]  # fmt: skip
    assert (even.orders, trend.orders, house.orders) == (len(keys[0]), len(keys[1]), len(keys[0] | keys[1]))
    assert 0 < even.orders < house.orders < even.orders + trend.orders
    places = {account.name: k for k, account in enumerate(small.report.accounts)}
    (drags,) = [row.values for row in small.report.metrics if row.name == "cost_drag"]
    for costs in (even, trend):
        assert 0.0 < costs.total == pytest.approx(costs.commission + costs.slippage_paid + costs.borrow)
        assert costs.drag_annual == drags[places[costs.account]] > 0.0


def test_weights_are_named_and_their_order_is_no_part_of_them(small: Made) -> None:
    held = small.report.exposures.weights
    expected = dict(zip(small.history.symbols, small.history.weights()[-1].tolist(), strict=True))
    assert {weight.symbol: weight.end for weight in held} == expected
    turned = reordered(small.history, small.history.symbols[::-1])
    assert breakdown(turned).by_asset == pytest.approx(small.report.attribution.by_asset)


def test_drawdowns_are_the_deepest_and_recover_at_the_old_high(small: Made) -> None:
    depths = [drawdown.depth for drawdown in small.report.drawdowns]
    assert depths == sorted(depths, reverse=True)
    assert depths[0] == max(small.record.drawdown) == pytest.approx(max(small.record.drawdown))
    for drawdown in small.report.drawdowns:
        assert drawdown.high < drawdown.trough
        assert drawdown.recovered is None or drawdown.recovered > drawdown.trough
        assert (drawdown.recovered is None) == (drawdown.samples_up is None)


@pytest.mark.requirement("R-027")
def test_a_p_value_is_adjusted_for_the_number_of_benchmarks(small: Made) -> None:
    for name in ("paired_t", "wilcoxon", "kolmogorov_smirnov", "ledoit_wolf"):
        values = [getattr(comparison, name) for comparison in small.report.statistics.versus]
        assert len(values) == 3
        smallest = min(values, key=lambda value: value.p)
        assert smallest.holm == pytest.approx(min(1.0, 3.0 * smallest.p))
        assert all(value.holm >= value.p for value in values)


def test_the_report_agrees_with_the_verdict(small: Made) -> None:
    s, v = small.report.statistics, small.report.verdict
    assert s.sharpe == pytest.approx(v.performance.sharpe)
    assert (s.low, s.high) == (v.performance.sharpe_low, v.performance.sharpe_high)
    beside = next(comparison for comparison in s.versus if comparison.benchmark == "equal_weight")
    assert beside.sharpe_difference == pytest.approx(v.difference.sharpe)
    assert (beside.low, beside.high) == pytest.approx((v.difference.low, v.difference.high))


def test_the_json_has_no_nan_and_is_read_back(small: Made) -> None:
    data = msgspec.json.encode(small.report)
    assert msgspec.json.decode(data, type=BacktestReport) == small.report
    json.loads(data, parse_constant=lambda text: pytest.fail(text))


def test_a_curve_has_a_bounded_number_of_samples_with_its_extremes() -> None:
    wealth = np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, 20_000)))
    record = TrackRecord(wealth, np.arange(20_000) * 86_400 * 10**9, 252.0, 0.02)
    chosen = thinned(record)
    assert len(chosen) <= POINTS
    assert (chosen[0], chosen[-1]) == (0, 19_999)
    assert {wealth.argmax(), wealth.argmin(), record.drawdowns.argmax()} <= set(chosen.tolist())


def test_without_a_history_the_missing_parts_are_named(small: Made) -> None:
    report = report_of(small.assembly, small.record, "no reason", [], _summary(small), small.report.verdict)
    assert report.attribution is None
    assert report.risk.last is None
    assert report.exposures.weights == ()
    assert any("no reason" in note for note in report.notes)
    assert report.statistics.versus == ()


def _summary(small: Made) -> object:
    from quantd.daemon.views.run_summary import Summary

    t = small.report.trading
    return Summary("r", "backtest", 1, 1, t.orders, t.fills, 0, 0, 0, "1", "1", {}, 0, 1.0, 1.0, "d")


def test_one_sample_is_too_few(small: Made, tmp_path: Path) -> None:
    with pytest.raises(TooShort, match="fewer than two samples"):
        made(tmp_path, sets=("feed.end=2019-01-02",))


def test_curves_are_the_growth_and_the_drawdown_of_each_account(small: Made) -> None:
    report, equity = small.report, np.array(small.record.equity_micro)
    places = np.searchsorted(small.record.ts, report.curves.ts)
    np.testing.assert_allclose(report.curves.wealth[0], equity[places] / equity[0])
    highest = np.maximum.accumulate(equity)
    np.testing.assert_allclose(report.curves.drawdown[0], (1.0 - equity / highest)[places], atol=1e-12)
    assert all(wealth[0] == 1.0 for wealth in report.curves.wealth)


@pytest.mark.requirement("R-242")
def test_rolling_figures_are_those_of_the_newest_year(small: Made) -> None:
    report, equity = small.report, np.array(small.record.equity_micro) / MICRO
    last = TrackRecord(equity[-253:], np.array(small.record.days_ns[-253:]), 252.0, 0.02)
    expected = measure(last, ["sharpe", "volatility", "max_drawdown"])
    assert report.rolling.ts[-1] == small.record.ts[-1]
    assert report.rolling.sharpe[0][-1] == pytest.approx(expected["sharpe"])
    assert report.rolling.volatility[0][-1] == pytest.approx(expected["volatility"])
    assert report.rolling.drawdown[0][-1] == pytest.approx(expected["max_drawdown"])
    assert len(report.rolling.beta) == len(report.rolling.ts)


def test_winners_won_and_losers_lost_and_the_trips_are_all_counted(small: Made) -> None:
    t = small.report.trading
    won, lost = [trip.profit for trip in t.winners], [trip.profit for trip in t.losers]
    assert won == sorted(won, reverse=True)
    assert lost == sorted(lost)
    assert min(won) > 0.0 > max(lost)
    assert sum(row.trips for row in t.by_symbol) == t.round_trips
    assert sum(row.wins for row in t.by_symbol) == t.wins
    assert sum(row.profit for row in t.by_symbol) == pytest.approx(t.profit)
    assert t.hit_rate == t.wins / t.round_trips


def test_exposure_is_that_of_the_record_and_of_the_weights(small: Made) -> None:
    held = small.report.exposures
    places = np.searchsorted(small.record.ts, held.ts)
    np.testing.assert_array_equal(held.gross, np.array(small.record.gross)[places])
    np.testing.assert_allclose(held.net, small.history.weights().sum(axis=1)[places])


def test_the_header_names_the_hashes_of_config_and_data(small: Made) -> None:
    h = small.report.header
    assert h.config == digest(small.assembly.config)
    assert h.market == small.assembly.feed.digest
    assert (h.first, h.last, h.samples) == ("2019-01-02", "2020-06-30", len(small.record.ts))
