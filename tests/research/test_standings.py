"""The table of policies: each row is that policy's own run, and equal weight stands among them."""

import json
from pathlib import Path

import pytest

from tests.edge_world import CONFIG as SHORT
from tests.edge_world import quantd, write

CONFIG = SHORT.replace("warmup = 130", "warmup = 260")
"""As long as these policies look back."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("standings")
    write(folder, CONFIG)
    done = quantd(folder, "study", "compare", "min_variance", "risk_parity", "--every", "week", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


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


def test_equal_weight_is_among_them_and_rows_are_in_order_of_the_sharpe_ratio(document: dict) -> None:
    names = [row["policy"] for row in document["rows"]]
    assert sorted(names) == ["equal_weight", "min_variance", "risk_parity"]
    ratios = [row["figures"]["sharpe"] for row in document["rows"]]
    assert ratios == sorted(ratios, reverse=True)
    for row in document["rows"]:
        assert (row["difference"] is None) == (row["policy"] == "equal_weight")
        assert row["figures"]["costs"] > 0.0
    assert document["trials"] == 3


def test_the_table_says_what_it_is_and_what_it_is_worth(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    said = quantd(tmp_path, "study", "compare", "hrp").stdout
    assert "can be told from equal weight" in said
    assert "SPY, QQQ, IWM" in said
    assert "turnover: value bought and sold" in said


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    wrong = quantd(tmp_path, "study", "compare", "min_varianz")
    assert wrong.returncode == 2
    assert "did you mean 'min_variance'" in wrong.stderr
