"""A goal is shown as a goal: it is no result, and it is compared in the metric's direction."""

import msgspec
import pytest

from quantd.daemon.config import ConfigError
from quantd.research.reports.page_sections import page
from quantd.research.reports.report_files import read_backtest_report
from quantd.research.reports.report_texts import csv_text
from tests.support.backtest_reports import CONFIG, Made, made
from tests.support.command_line import quantd, write


@pytest.mark.requirement("R-248", "F-23", "F-24", "F-25", "F-26")
def test_goals_stand_beside_what_was_measured(small: Made) -> None:
    report = small.report
    rows = {row.name: row for row in report.metrics}
    by_name = {goal.name: goal for goal in report.goals}
    assert by_name["sharpe"].measured == rows["sharpe"].values[0]
    assert by_name["sharpe"].met is False
    assert by_name["max_drawdown"].met is True  # lower is better
    spy = [account.name for account in report.accounts].index("SPY")
    assert by_name["cagr/SPY"].measured == rows["cagr"].values[0] / rows["cagr"].values[spy]


@pytest.mark.requirement("R-248")
def test_a_goal_never_appears_in_a_measured_column(small: Made) -> None:
    """The numbers 77.5 and 88.5 of the configuration are in the goals alone."""
    report = small.report
    text = page(report)
    for number in ("77.5", "88.5"):
        lines = [line for line in csv_text(report).splitlines() if line.endswith(f",{number}")]
        assert [line.partition(",")[0].endswith(".goal") for line in lines] == [True]
        cells = [cell for cell in text.split("<td ") if f'data-value="{number}"' in cell]
        assert len(cells) == 1
        assert 'class="n goal"' in cells[0]
    bare_report = msgspec.structs.replace(report, goals=())
    assert b"77.5," not in msgspec.json.encode(bare_report)
    assert b"88.5," not in msgspec.json.encode(bare_report)


def test_other_goals_change_no_measured_figure(tmp_path, small: Made) -> None:
    other = made(tmp_path, sets=("study.goals={sharpe=0.1}",)).report
    assert other.metrics == small.report.metrics
    assert other.statistics.versus == small.report.statistics.versus
    assert other.header.config == small.report.header.config
    assert [goal.met for goal in other.goals] != [goal.met for goal in small.report.goals]


def test_a_goal_without_a_metric_is_refused_before_anything_runs(tmp_path) -> None:
    with pytest.raises(
        ConfigError, match=r'names the metric "shrape", which is not in the catalogue. Did you mean sharpe\?'
    ):
        made(tmp_path, sets=("study.goals={shrape=1.0}",))


def test_no_compare_leaves_out_equal_weight_only(tmp_path) -> None:
    write(tmp_path, CONFIG)
    done = quantd(tmp_path, "backtest", "--no-compare", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    report = read_backtest_report(tmp_path / "r.json")
    assert [account.name for account in report.accounts if account.kind == "benchmark"] == ["SPY", "60/40"]
    measured = {goal.name: goal.measured for goal in report.goals}
    assert measured["cagr/SPY"] is not None
    assert report.verdict.equal_weight is None
