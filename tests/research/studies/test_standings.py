"""The table of policies: each row is that policy's own run, and equal weight stands among them."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG as SHORT
from tests.support.command_line import ROOT, quantd, write

CONFIG = SHORT.replace("warmup = 130", "warmup = 260")
"""As long as these policies look back."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("standings")
    write(folder, CONFIG)
    done = quantd(folder, "study", "compare", "min_variance", "risk_parity", "--every", "week", "--json")
    assert done.returncode == 0, done.stderr
    comparison: dict[str, object] = json.loads(done.stdout)
    return comparison


@pytest.mark.requirement("R-080", "F-18", "F-19")
def test_a_row_is_what_the_policy_alone_makes(document: dict, tmp_path: Path) -> None:
    text = CONFIG[: CONFIG.index("[[agents]]")] + (
        '[[agents]]\nname = "equal_weight"\npolicy = "min_variance"\ncapital = 0.9\n'
        '[[schedules]]\nname = "rebalance"\ndo = "rebalance"\ncron = "0 16 * * wed"\ntimezone = "America/New_York"\n'
        'agents = ["equal_weight"]\n'
    )
    write(tmp_path, text)
    alone = json.loads(quantd(tmp_path, "backtest", "--json", "--no-compare").stdout)
    row = next(row for row in document["rows"] if row["policy"] == "min_variance")
    for name in ("total_return", "sharpe", "max_drawdown", "turnover_annual", "costs"):
        assert row["figures"][name] == pytest.approx(alone["performance"][name]), name


def compared(folder: Path, *arguments: str, text: str = CONFIG) -> dict:
    write(folder, text)
    done = quantd(folder, "study", "compare", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_order_of_the_rows_is_no_part_of_a_deflated_ratio(tmp_path: Path) -> None:
    names = ["min_variance", "risk_parity", "hrp"]
    ratios = []
    for k, order in enumerate((names, names[::-1])):
        (tmp_path / str(k)).mkdir()
        rows = compared(tmp_path / str(k), *order, "--every", "week")["rows"]
        ratios.append({row["policy"]: row["deflated"] for row in rows})
    assert ratios[0] == ratios[1]
    assert len(set(ratios[0].values())) == 4


def test_the_configured_min_trade_is_that_of_every_row_and_is_said(tmp_path: Path) -> None:
    text = (
        CONFIG.replace("capital = 0.5", "capital = 0.5\nmin_trade = 0.04")
        .replace("capital = 0.4", "capital = 0.4\nmin_trade = 0.1")
        .replace("max_position_weight = 0.25", "max_position_weight = 0.5")
    )
    (tmp_path / "coarse").mkdir()
    coarse = compared(tmp_path / "coarse", "hrp", "--every", "day", text=text)
    (tmp_path / "fine").mkdir()
    fine = compared(tmp_path / "fine", "hrp", "--every", "day", text=text.replace("0.04", "0.0"))
    assert (coarse["min_trade"], fine["min_trade"]) == (0.04, 0.0)
    for name in ("equal_weight", "hrp"):
        turnover = [
            next(row for row in comparison["rows"] if row["policy"] == name)["figures"]["turnover_annual"]
            for comparison in (coarse, fine)
        ]
        assert turnover[0] < turnover[1], name
    backtest = quantd(tmp_path / "coarse", "backtest")
    assert "weight changes below 4.00% are traded only together" in backtest.stdout


def test_who_is_asked_monthly_is_invested_from_the_first_sample(tmp_path: Path) -> None:
    text = CONFIG.replace("start = 2019-01-02", "start = 2019-01-18").replace("end = 2019-03-29", "end = 2019-02-15")
    comparison = compared(tmp_path, "hrp", text=text)
    for row in comparison["rows"]:
        assert row["figures"]["invested"] > 0.5, row["policy"]
        assert row["figures"]["costs"] > 0.0
    said = quantd(tmp_path, "study", "compare", "hrp").stdout
    assert "decisions at the first sample and then every month" in said


def test_a_result_inside_a_training_window_is_marked(tmp_path: Path) -> None:
    text = CONFIG.replace("start = 2019-01-02", "start = 2016-11-01").replace("end = 2019-03-29", "end = 2017-02-28")
    write(tmp_path, text)
    scorer = str(ROOT / "models" / "shipped" / "scorer")
    comparison = compared(tmp_path, scorer, text=text)
    rows = {row["policy"]: row for row in comparison["rows"]}
    assert 0 < rows[scorer]["trained"] < rows[scorer]["figures"]["samples"]
    assert rows[scorer]["trained_until"] == "2016-12-31"
    assert rows["equal_weight"]["trained"] == 0
    said = quantd(tmp_path, "study", "compare", scorer).stdout
    assert f"{scorer} *" in said
    assert said.startswith(f"In doubt: {scorer}: in-sample: 42 of 81 samples, until 2016-12-31, lie in the training ")
    assert "* in-sample" in said


def test_equal_weight_is_among_them_and_rows_are_in_order_of_the_sharpe_ratio(document: dict) -> None:
    names = [row["policy"] for row in document["rows"]]
    assert sorted(names) == ["equal_weight", "min_variance", "risk_parity"]
    ratios = [row["figures"]["sharpe"] for row in document["rows"]]
    assert ratios == sorted(ratios, reverse=True)
    for row in document["rows"]:
        assert (row["difference"] is None) == (row["policy"] == "equal_weight")
        assert row["figures"]["costs"] > 0.0
    assert document["trials"] == 3


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    wrong = quantd(tmp_path, "study", "compare", "min_varianz")
    assert wrong.returncode == 2
    assert "did you mean 'min_variance'" in wrong.stderr


@pytest.mark.long
def test_without_names_policies_that_hold_cash_are_left_out(tmp_path: Path) -> None:
    policies = {row["policy"] for row in compared(tmp_path)["rows"]}
    assert not policies & {"external", "hold", "targets"}
    assert {"equal_weight", "momentum", "risk_parity"} <= policies
