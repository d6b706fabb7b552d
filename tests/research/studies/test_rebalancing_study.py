"""The study of rebalancing: every rule and cost on the same bars, each cost charged once."""

import re
import shutil

import msgspec
import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.research.runs.looks import read_looks
from quantd.research.runs.trials import Known
from quantd.research.studies.rebalancing_study import RULES, Rebalancing, page, study
from tests.support.backtest_reports import driven
from tests.support.checkout import ROOT
from tests.support.command_line import answer, quantd

CONFIG = f"""\
[universe]
symbols = ["SPY", "AAPL", "BAC"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2020-01-02
end = 2020-08-31
[broker]
cash = "100000.00"
commission_bp = 50.0
slippage_bp = 50.0
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.3
profile = "conservative"
[portfolios]
places = 2
"""


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.toml").write_text(CONFIG)
    config = load(folder / "config.toml", known_names())
    return folder / "state", study(config, "even", driven(), folder / "state", costs=(0.0, 20.0, 20.0))


@pytest.fixture
def rows(studied):
    return studied[1].rows


def by(rows, cost):
    return {row.rule: row for row in rows if row.cost_bp == cost}


@pytest.mark.long
@pytest.mark.requirement("R-128", "R-253", "F-09", "F-10", "F-11", "F-12")
def test_there_is_a_row_for_every_rule_and_cost_and_one_best_of_each_cost(rows):
    assert [row.rule for row in rows] == 2 * list(RULES)
    for cost in (0.0, 20.0):
        best = [row for row in rows if row.cost_bp == cost and row.best]
        assert [row.sharpe for row in best] == [max(row.sharpe for row in rows if row.cost_bp == cost)]
    assert {"daily", "weekly", "two weeks", "monthly", "quarterly", "half-yearly", "events"} <= set(RULES)


@pytest.mark.requirement("R-253", "F-09")
def test_each_cost_is_charged_once_and_nothing_else_is(rows):
    for row in rows:
        assert row.cost_drag_annual == pytest.approx(row.turnover_annual * row.cost_bp / 1e4, rel=1e-6)
    assert all(row.cost_drag_annual == 0.0 for row in by(rows, 0.0).values())


def test_who_trades_less_often_turns_over_less_and_cost_does_not_move_a_calendar(rows):
    free, dear = by(rows, 0.0), by(rows, 20.0)
    for table in (free, dear):
        turnovers = [table[rule].turnover_annual for rule in ("daily", "weekly", "monthly", "half-yearly")]
        assert turnovers == sorted(turnovers, reverse=True)
    assert dear["monthly"].rebalances == free["monthly"].rebalances
    assert dear["cost-aware"].turnover_annual < 0.6 * free["cost-aware"].turnover_annual
    # without a cost it is the plain daily rebalance
    assert free["cost-aware"].total_return == pytest.approx(free["daily"].total_return, abs=1e-9)


def test_every_rule_and_cost_is_a_look_in_the_ledger(studied):
    state, outcome = studied
    ledger = read_looks(state)
    assert ledger.looks == outcome.known.looks
    assert outcome.known.market == "SPY, AAPL, BAC 2020, daily"
    assert {tuple(look.values) for look in ledger.looks} == {("rule", "cost_bp")}
    assert ledger.trials == 2 * len(RULES)
    assert {look.kind for look in ledger.looks} == {"study"}
    assert sorted(look.sharpe for look in ledger.looks) == sorted(row.sharpe for row in outcome.rows)
    assert {(look.first, look.last) for look in ledger.looks} == {("2020-01-02", "2020-08-31")}


@pytest.mark.long
def test_the_same_study_again_adds_no_trial(studied, tmp_path):
    config = load(studied[0].parent / "config.toml", known_names())
    state = shutil.copytree(studied[0], tmp_path / "state")
    assert study(config, "even", driven(), state, costs=(0.0,)).known.trials == 2 * len(RULES)
    assert study(config, "even", driven(), state, costs=(5.0,)).known.trials == 3 * len(RULES)


def test_an_agent_that_is_not_there_is_named(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    config = load(tmp_path / "config.toml", known_names())
    with pytest.raises(ValueError, match="no agent 'evn'; choose one of: even"):
        study(config, "evn", driven(), tmp_path / "state")


@pytest.mark.requirement("R-254", "F-10")
@pytest.mark.long
def test_the_command_prints_one_document_and_writes_a_table(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.replace("2020-08-31", "2020-03-31"))
    command = ("study", "rebalance", "even", "--cost", "5", "--out")
    document = answer(quantd(tmp_path, *command, "rows.csv", "--json"))
    assert (document["agent"], document["trials"]) == ("even", len(RULES))
    assert [row["rule"] for row in document["rows"]] == list(RULES)
    assert quantd(tmp_path, *command, "rows.html").returncode == 0
    assert "linear-gradient" in (tmp_path / "rows.html").read_text()
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0].startswith("rule,cost_bp,total_return")
    assert len(lines) == 1 + len(RULES)


@pytest.mark.requirement("R-254")
def test_the_page_has_a_bar_for_each_rule_and_cost_and_a_star_for_the_best(rows):
    def drawn(rows):
        return page("even", Rebalancing(tuple(rows), Known()), "Sharpe: defined")

    html = drawn(rows)
    titles = re.findall(r"<h2>([^<]+)</h2>", html)
    assert titles == ["Net Sharpe ratio", "Costs a year, of average equity", "Turnover a year", "Maximum drawdown"]
    assert html.count("linear-gradient") == len(titles) * len(rows)
    assert html.count("★") == 1 + len(titles) * sum(row.best for row in rows)
    k, best = next((k, row) for k, row in enumerate(rows) if row.best)
    assert f'data-figure="rows.{k}.sharpe" data-value="{best.sharpe}">{best.sharpe:.2f} ★<' in html
    failed = drawn([msgspec.structs.replace(rows[0], failed="no price <today>"), *rows[1:]])
    assert failed.count("linear-gradient") == len(titles) * (len(rows) - 1)
    assert "no price &lt;today&gt;" in failed
