"""The verdict follows the figures, and the figures the run."""

import json
from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.research.runs.run_record import Record
from quantd.research.verdict import Difference, Measured, definition_of, sentence
from quantd.trading.statistics import SHARPE_DEFINITION, performance, sharpe_definition
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, COSTS, answer, quantd, write

MINE = """
def act(view):
    return {weights}
"""


def told(folder: Path, weights: str | None, *more: str, text: str = CONFIG) -> dict:
    write(folder, text)
    chosen: tuple[str, ...] = ()
    if weights is not None:
        (folder / "mine.py").write_text(MINE.format(weights=weights))
        chosen = ("--set", "agents.trend.policy=mine.py:act", "--set", "agents.trend.params={}")
    return answer(quantd(folder, "backtest", "--json", *chosen, *more))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return told(tmp_path_factory.mktemp("plain"), None)


def test_the_figures_are_those_of_the_exported_equity(tmp_path: Path) -> None:
    document = told(tmp_path, None, "--journal")
    out = quantd(tmp_path, "report", "--export", "equity", "--run", document["run"], "--state", "state/backtests")
    expected = performance(np.array([float(line.split(",")[1]) for line in out.stdout.splitlines()[1:]]))
    for name in expected.__struct_fields__:
        assert document["performance"][name] == pytest.approx(getattr(expected, name)), name


def test_another_year_or_rate_is_said_where_sharpe_is_printed() -> None:
    assert definition_of(SHARPE_DEFINITION, 252.0, 0.02) == SHARPE_DEFINITION
    changed = definition_of(SHARPE_DEFINITION, 365.0, 0.03)
    assert "the square root of 365; risk-free 3.00% a year, divided by" in changed
    assert "the square root of 365; f" in definition_of(sharpe_definition("f"), 365.0, np.zeros(2))


def test_the_document_has_what_a_verdict_rests_on(plain: dict) -> None:
    account, other = plain["performance"], plain["equal_weight"]
    assert account["sharpe_low"] < account["sharpe"] < account["sharpe_high"]
    assert account["samples"] == other["samples"]
    assert account != other
    assert plain["difference"]["sharpe"] == pytest.approx(account["sharpe"] - other["sharpe"])
    assert account["costs"] == pytest.approx(
        account["commission"] + account["slippage_paid"] + account["borrow"], abs=0.01
    )
    assert account["commission"] > 0
    assert plain["trials"] == 1
    assert 0.0 <= plain["deflated_sharpe"] <= 1.0
    assert "square root of 252" in plain["sharpe_definition"]
    assert plain["bootstrap"]["resamples"] == 2000


def test_comparing_changes_nothing_of_the_run(tmp_path: Path, plain: dict) -> None:
    alone = told(tmp_path, None, "--no-compare")
    assert alone["digest"] == plain["digest"]
    assert alone["equity"] == plain["equity"]
    assert alone["equal_weight"] is None
    assert alone["difference"] is None
    assert alone["performance"]["sharpe"] == plain["performance"]["sharpe"]
    assert alone["verdict"] == "Not compared with equal weight."


def test_equal_weight_itself_does_not_beat_equal_weight(tmp_path: Path) -> None:
    text = CONFIG[: CONFIG.index("[[agents]]")].replace("max_position_weight = 0.25", "") + (
        '[[agents]]\nname = "even"\npolicy = "equal_weight"\ncapital = 0.9\n[bus]\nport = 0\n[api]\nport = 0\n'
    )
    document = told(tmp_path, None, text=text)
    assert document["performance"] == document["equal_weight"]
    assert document["difference"] == {"sharpe": 0.0, "low": 0.0, "high": 0.0}
    assert document["verdict"] == "After costs this does not beat equal weight."


def test_foresight_beats_it_and_the_reverse_does_not(tmp_path: Path) -> None:
    bars = str(ROOT / "data" / "us_daily.parquet")
    source = f"""
import polars as pl
T = pl.read_parquet({bars!r}).filter(pl.col("symbol") == "SPY").sort("ts")
ts, close = T["ts"].dt.epoch("ns").to_list(), T["close"].to_list()
def act(view):
    k = sum(t < view.time for t in ts) - 1
    rises = k + 2 < len(close) and close[k + 2] > close[k + 1]
    return {{"SPY": 1.0 if rises is SIGN else 0.0}}
"""
    (tmp_path / "seer.py").write_text(source.replace("SIGN", "True"))
    (tmp_path / "fool.py").write_text(source.replace("SIGN", "False"))
    loose = ("risk.profile=research", "risk.max_position_weight=1.0", "risk.var.limit=1.0", "risk.max_drawdown=1.0")
    said = {}
    for name in ("seer", "fool"):
        sets = [f"agents.trend.policy={name}.py:act", "agents.trend.params={}", "agents.even.capital=0.01"]
        sets += ["agents.trend.capital=0.99", "agents.trend.profile=research", *loose]
        write(tmp_path, CONFIG[: CONFIG.index("[[schedules]]")] + "[bus]\nport = 0\n[api]\nport = 0\n")
        chosen = [part for setting in sets for part in ("--set", setting)]
        said[name] = answer(quantd(tmp_path, "backtest", "--json", *chosen))
    assert said["seer"]["verdict"].startswith("After costs this beats equal weight.")
    assert said["fool"]["verdict"] == "After costs this does not beat equal weight."
    assert said["fool"]["difference"]["high"] < 0 < said["seer"]["difference"]["low"]


def test_a_market_without_costs_is_not_called_after_costs(tmp_path: Path) -> None:
    document = told(tmp_path, None, "--set", "broker.commission_bp=0")
    assert document["performance"]["costs"] == 0.0
    assert document["verdict"].startswith("Before any costs ([broker] sets them to 0)")


def test_a_broker_with_only_cash_is_charged(tmp_path: Path) -> None:
    document = told(tmp_path, None, text=CONFIG.replace(COSTS, ""))
    assert document["performance"]["commission"] > 0.0
    assert document["performance"]["slippage_paid"] > 0.0
    assert document["verdict"].startswith("After costs")


def test_an_account_that_never_moved_has_no_ratio(tmp_path: Path) -> None:
    document = told(tmp_path, "[0, 0, 0]", "--set", "agents.even.policy=mine.py:act")
    assert document["performance"]["sharpe"] is None
    assert document["trials"] is None
    assert document["verdict"] == "No verdict: nothing was traded, so the figures are no result of a policy."
    assert "asked for no position at any of" in document["untraded"]["reason"]


def test_a_damaged_list_of_trials_is_said_and_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "looks.jsonl").write_text("{\n")
    document = told(tmp_path, None)
    assert document["trials"] is None
    assert "looks.jsonl:1" in document["notes"][0]
    assert document["performance"]["sharpe"] is not None


@pytest.mark.parametrize(
    ("difference", "deflated", "expected"),
    [
        (Difference(-0.5, -0.9, -0.1), 0.2, "After costs this does not beat equal weight."),
        (Difference(-0.1, -0.9, 0.3), 0.2, "After costs this does not beat equal weight."),
        (Difference(0.1, -0.2, 0.3), 0.99, "After costs this is not distinguishable from equal weight."),
        (Difference(0.1, None, None), 0.99, "After costs this is above equal weight, on too few samples"),
        (Difference(0.3, 0.1, 0.5), 0.99, "After costs this beats equal weight."),
        (Difference(0.3, 0.1, 0.5), 0.2, "With 7 trials known its deflated Sharpe ratio is below 0.95"),
        (Difference(0.24, 0.05, 0.47), 0.99, "with 7 trials known it is not distinguishable from equal weight"),
        (None, 0.2, "the equity of equal weight is constant"),
    ],
)
def test_the_sentence_is_decided_by_ratio_then_interval_then_trials(
    measured: Measured, difference: Difference | None, deflated: float, expected: str
) -> None:
    said = sentence(measured, difference, deflated, 7, compared=True)
    assert expected in said
    assert ("luck" in said) == (deflated < 0.95 and "beats equal" in said)


def follow(assembly: Assembly, log: Log) -> Shell:
    shell = assembly.shell(log)
    for item in assembly.items():
        shell.take(item)
    return shell


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return assemble(read(write(tmp_path_factory.mktemp("measured"))))


@pytest.fixture(scope="module")
def record(assembly: Assembly) -> Record:
    record = Record(assembly.universe)
    follow(assembly, record)
    return record


@pytest.fixture(scope="module")
def measured(assembly: Assembly, record: Record) -> Measured:
    return Measured.of(assembly, record)


def test_the_terminal_and_the_page_say_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "backtest", "--report", "page.html")
    assert done.returncode == 0, done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith("Sharpe"))
    assert said.endswith("equal weight.")
    assert "(1 trial known of SPY, QQQ, IWM 2019, daily)" in said
    assert said in (tmp_path / "page.html").read_text()
    assert "circular block bootstrap" in done.stdout


def test_a_market_of_one_sample_has_nothing_to_judge(tmp_path: Path) -> None:
    document = told(tmp_path, None, "--from", "2019-03-29", "--to", "2019-03-29")
    assert document["performance"] is None
    assert document["verdict"].startswith("No verdict")
    assert json.dumps(document)
