"""Two reports are compared only where a difference means something."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.research.reports.report_files import write_backtest_report
from quantd.research.reports.side_by_side import (
    COMPARISON_WRITERS,
    SAME,
    NotComparable,
    sentence,
    side_by_side,
    write_comparison,
)
from quantd.research.significance.paired_tests import paired_t
from quantd.trading.execution import Costs
from quantd.trading.statistics import simple_returns
from tests.support.backtest_reports import Made, made
from tests.support.command_line import quantd


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("rival"), sets=("agents.0.policy=inverse_volatility",))


OTHERS = {
    "bars": "other", "symbols": ("SPY",), "dates": "other", "costs": Costs(commission_bp=9.0),
    "borrow_bp_annual": 1.0, "cash_micro": 1, "capital_micro": 1, "periods": 365.0, "formula": "other",
}  # fmt: skip


def test_every_refused_setting_has_another_value_here() -> None:
    assert set(OTHERS) == set(SAME)


@pytest.mark.parametrize("name", OTHERS)
def test_a_differing_setting_is_refused_by_name(name: str, small: Made, rival: Made) -> None:
    header = rival.report.header
    settings = msgspec.structs.replace(header.settings, **{name: OTHERS[name]})
    other = msgspec.structs.replace(rival.report, header=msgspec.structs.replace(header, settings=settings))
    with pytest.raises(NotComparable, match=f"differ in {name} and") as caught:
        side_by_side(small.report, other, ("a", "b"))
    assert caught.value.exit_code == 1


def test_differences_and_tests_are_those_of_the_two_houses(small: Made, rival: Made) -> None:
    found = side_by_side(small.report, rival.report, ("a", "b"))
    for each in found.metrics:
        if each.difference is not None:
            assert each.difference == each.one - each.other
    returns = [simple_returns(np.array(each.record.equity_micro) / 1e6) for each in (small, rival)]
    assert found.versus.paired_t.p == pytest.approx(paired_t(*returns).p)
    sharpe = next(each for each in found.metrics if each.name == "sharpe")
    assert found.versus.sharpe_difference == pytest.approx(sharpe.difference)
    assert found.versus.low <= found.versus.sharpe_difference <= found.versus.high
    turned = side_by_side(rival.report, small.report, ("b", "a"))
    assert turned.versus.sharpe_difference == pytest.approx(-found.versus.sharpe_difference)


def test_a_report_beside_itself_has_no_difference(small: Made) -> None:
    found = side_by_side(small.report, small.report, ("a", "a"))
    assert all(each.difference in (0.0, None) for each in found.metrics)
    assert found.versus.paired_t.p == 1.0
    assert "not distinguishable" in sentence(found)


def test_a_comparison_is_written_in_each_format(tmp_path: Path, small: Made, rival: Made) -> None:
    found = side_by_side(small.report, rival.report, ("one", "two"))
    for suffix in COMPARISON_WRITERS:
        write_comparison(tmp_path / f"c{suffix}", found)
        assert "sharpe" in (tmp_path / f"c{suffix}").read_text().lower()
    assert json.loads((tmp_path / "c.json").read_text())["one"] == "one"


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
