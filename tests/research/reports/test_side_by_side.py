"""Two reports are compared only where a difference means something."""

from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from quantd.research.reports.report_contents import BacktestReport, PValue
from quantd.research.reports.report_files import write_backtest_report
from quantd.research.reports.side_by_side import (
    SAME,
    NotComparable,
    sentences_of_tests,
    settings_text,
    side_by_side,
    write_comparison,
)
from quantd.research.significance.paired_tests import paired_t
from quantd.trading.execution import Costs, CostTable, FittedCost
from quantd.trading.statistics import simple_returns
from tests.support.backtest_reports import CONFIG, Made, made
from tests.support.checkout import ROOT
from tests.support.command_line import answer, quantd, write

SHORT = CONFIG.replace("end = 2020-06-30", "end = 2019-06-28")


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("rival"), sets=("agents.0.policy=inverse_volatility",))


OTHERS = {
    "bars": "other", "symbols": ("SPY",), "dates": "other", "costs": Costs(commission_bp=9.0),
    "borrow_bp_annual": 1.0, "cash_micro": 1, "capital_micro": 1, "periods": 365.0, "formula": "other",
    "begins": "2000-01-03",
}  # fmt: skip


def test_every_refused_setting_has_another_value_here() -> None:
    assert set(OTHERS) == set(SAME)


@pytest.mark.long
@pytest.mark.requirement("R-245")
@pytest.mark.parametrize("name", OTHERS)
def test_a_differing_setting_is_refused_by_name(name: str, small: Made, rival: Made) -> None:
    header = rival.report.header
    settings = msgspec.structs.replace(header.settings, **{name: OTHERS[name]})
    other = msgspec.structs.replace(rival.report, header=msgspec.structs.replace(header, settings=settings))
    with pytest.raises(NotComparable, match=f"differ in {name} and") as caught:
        side_by_side(small.report, other, ("a", "b"))
    assert caught.value.exit_code == 1


@pytest.mark.long
def test_files_of_the_market_that_differ_are_named_and_not_refused(tmp_path: Path, small: Made) -> None:
    (tmp_path / "members.csv").write_text("symbol,joined,left\nSPY,2000-01-03,\nIWM,2000-01-03,\nAAPL,2019-06-03,\n")
    for name, level in (("one", 20.0), ("two", 30.0)):
        days = [date(2018, 1, 2), date(2019, 1, 2)]
        pl.DataFrame({"ts": days, "value": [level, level]}).write_csv(tmp_path / f"{name}.csv")

    def market(*lines: str, universe: str = "") -> BacktestReport:
        text = CONFIG.replace("[feed]", "\n".join(("[feed]", *lines))).replace("[universe]", f"[universe]\n{universe}")
        return made(tmp_path, text).report

    one = market('macro = [{ name = "vix", path = "one.csv" }]')
    two = market('macro = [{ name = "vix", path = "two.csv" }]')
    close = market('macro = [{ name = "vix", path = "one.csv", available = "close" }]')
    members = market(universe='members = "members.csv"')
    vix, dates = "macro series vix", "members of the universe by date"
    for other, named in ((one, ()), (two, (vix,)), (close, (vix,)), (small.report, (vix,)), (members, (vix, dates))):
        assert side_by_side(one, other, ("a", "b")).market == tuple(sorted(named))
    comparison = side_by_side(small.report, members, ("a", "b"))
    assert settings_text(comparison).endswith(f"The market beyond the bars differs in {dates}.")
    for suffix in (".html", ".md", ".json"):
        write_comparison(tmp_path / f"c{suffix}", comparison)
        assert dates in (tmp_path / f"c{suffix}").read_text()
    header = msgspec.structs.replace(members.header, beyond_bars=None)  # as written by an earlier version
    old = msgspec.structs.replace(members, header=header)
    assert side_by_side(small.report, old, ("a", "b")).market == ("files beyond the bars that a report does not name",)
    assert side_by_side(members, old, ("a", "b")).market == ()


def test_other_fitted_costs_are_named(small: Made) -> None:
    header = small.report.header
    table = CostTable((FittedCost("SPY", None, 1.0, 0.0),))
    costs = msgspec.structs.replace(header.settings.costs, table=table)
    settings = msgspec.structs.replace(header.settings, costs=costs)
    more = msgspec.structs.replace(header, settings=settings, costs={**header.costs, "fitted_rows": 1.0})
    other = msgspec.structs.replace(small.report, header=more)
    with pytest.raises(NotComparable, match=r"fitted_rows: 0 and 1, the table of \[broker\] costs"):
        side_by_side(small.report, other, ("a", "b"))


def test_differences_and_tests_are_those_of_the_two_houses(small: Made, rival: Made) -> None:
    comparison = side_by_side(small.report, rival.report, ("a", "b"))
    for metric in comparison.metrics:
        if metric.difference is not None:
            assert metric.difference == metric.one - metric.other
    returns = [simple_returns(np.array(run.record.equity_micro) / 1e6) for run in (small, rival)]
    assert comparison.versus.paired_t.p == pytest.approx(paired_t(*returns).p)
    sharpe = next(metric for metric in comparison.metrics if metric.name == "sharpe")
    assert comparison.versus.sharpe_difference == pytest.approx(sharpe.difference)
    assert comparison.versus.low <= comparison.versus.sharpe_difference <= comparison.versus.high
    turned = side_by_side(rival.report, small.report, ("b", "a"))
    assert turned.versus.sharpe_difference == pytest.approx(-comparison.versus.sharpe_difference)


@pytest.mark.long
def test_a_stored_run_has_the_figures_of_its_report(tmp_path: Path) -> None:
    """The journal is replayed: every figure of the stored run is that of the report, to the last digit."""
    write(tmp_path, SHORT)
    stored = answer(quantd(tmp_path, "backtest", "--journal", "--report", "a.json", "--json"))["run"]
    rival = ("--set", "agents.0.policy=inverse_volatility")
    other = answer(quantd(tmp_path, "backtest", "--journal", "--no-compare", "--json", *rival))["run"]
    document = answer(quantd(tmp_path, "report", "--compare", "a.json", stored, "--json"))
    assert len(document["metrics"]) > 30
    assert [metric["one"] for metric in document["metrics"]] == [metric["other"] for metric in document["metrics"]]
    assert (document["one"], document["other"], document["differing"]) == ("a", stored, [])
    assert document["digests"][0] == document["digests"][1]
    mixed = answer(quantd(tmp_path, "report", "--compare", "a.json", other, "--json"))
    named = answer(quantd(tmp_path, "report", "--compare", stored, other, "--json"))
    direct = answer(quantd(tmp_path, "report", "--compare", stored, other, "--json", "--state", "state/backtests"))
    assert mixed["metrics"] == named["metrics"] == direct["metrics"]
    assert any(metric["difference"] for metric in named["metrics"])
    printed = quantd(tmp_path, "report", "--compare", stored, other, "--out", "c.html")
    assert f": by its ratio {stored} is " in printed.stdout, printed.stderr
    absent = quantd(tmp_path, "report", "--compare", stored, "nothing")
    assert absent.returncode == 2
    assert "nothing is neither a report (NAME.json) nor a stored run of state or state/backtests" in absent.stderr


@pytest.mark.long
def test_a_paper_run_over_a_recorded_market_is_compared_too(tmp_path: Path) -> None:
    write(tmp_path, SHORT)
    run = answer(quantd(tmp_path, "run", "--json", "--set", "api.port=0", "--set", "bus.port=0"))
    assert quantd(tmp_path, "backtest", "--no-compare", "--report", "a.json").returncode == 0
    document = answer(quantd(tmp_path, "report", "--compare", run["run"], "a.json", "--json"))
    assert all(metric["difference"] in (0.0, None) for metric in document["metrics"])


@pytest.mark.long
def test_a_run_under_two_configurations_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SHORT)
    ports = ("--set", "api.port=0", "--set", "bus.port=0")
    run = answer(quantd(tmp_path, "run", "--json", *ports))["run"]
    assert quantd(tmp_path, "run", *ports, "--set", "agents.0.min_trade=0.01").returncode == 0
    refused = quantd(tmp_path, "report", "--compare", run, run)
    assert refused.returncode == 1
    assert f"run {run}: the run traded under 2 configurations" in refused.stderr


@pytest.mark.long
def test_a_run_whose_bars_are_others_now_is_refused(tmp_path: Path) -> None:
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet")
    bars.write_parquet(tmp_path / "bars.parquet")
    write(tmp_path, SHORT.replace(f"{ROOT}/data/us_daily.parquet", "bars.parquet"))
    run = answer(quantd(tmp_path, "backtest", "--journal", "--no-compare", "--json"))["run"]
    bars.head(len(bars) - 1).write_parquet(tmp_path / "bars.parquet")
    refused = quantd(tmp_path, "report", "--compare", run, run)
    assert refused.returncode == 1
    assert f"run {run}: bars.parquet has other bars than the run had" in refused.stderr


def test_the_command_compares_and_refuses(tmp_path: Path, small: Made, rival: Made) -> None:
    write_backtest_report(tmp_path / "a.json", small.report)
    write_backtest_report(tmp_path / "b.json", rival.report)
    done = quantd(tmp_path, "report", "--compare", "a.json", "b.json", "--out", "c.html")
    assert done.returncode == 0, done.stderr
    assert "Sharpe ratio" in done.stdout
    assert "p-values: paired t" in done.stdout
    assert "difference" in (tmp_path / "c.html").read_text()
    settings = msgspec.structs.replace(rival.report.header.settings, dates="other", cash_micro=1)
    header = msgspec.structs.replace(rival.report.header, settings=settings)
    write_backtest_report(tmp_path / "d.json", msgspec.structs.replace(rival.report, header=header))
    refused = quantd(tmp_path, "report", "--compare", "a.json", "d.json")
    assert refused.returncode == 1
    assert "differ in dates, cash_micro" in refused.stderr
    assert refused.stdout == ""


def test_each_test_that_is_printed_has_a_sentence(tmp_path: Path, small: Made, rival: Made) -> None:
    comparison = side_by_side(small.report, rival.report, ("one", "two"))
    decided = {"paired_t": 0.013, "wilcoxon": 0.001, "kolmogorov_smirnov": 0.4, "ledoit_wolf": 0.6}
    versus = msgspec.structs.replace(comparison.versus, **{name: PValue(p, p) for name, p in decided.items()})
    texts = sentences_of_tests(msgspec.structs.replace(comparison, versus=versus))
    assert texts == [
        "paired t: the mean returns of one and two differ (p = 0.013).",
        "Wilcoxon: the typical (median) returns of one and two differ (p = 0.001).",
        "Kolmogorov-Smirnov: the distributions of returns of one and two are not distinguishable (p = 0.400).",
        "Ledoit-Wolf: the Sharpe ratios of one and two are not distinguishable (p = 0.600).",
        "The tests ask different questions: returns may differ where Sharpe ratios do not.",
    ]
    for suffix in (".html", ".md"):
        write_comparison(tmp_path / f"c{suffix}", comparison)
        text = (tmp_path / f"c{suffix}").read_text()
        assert all(line.partition(" (")[0] in text for line in sentences_of_tests(comparison))
