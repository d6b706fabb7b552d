"""`quantd features list`: every feature by name, and what cannot be had with its reason."""

import json

import pytest

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.look.features import features_list
from quantd.strategies.features import SETS, feature
from tests.support.command_line import quantd


def listed(capsys: pytest.CaptureFixture[str], of: str | None = None, name: str | None = None) -> dict:
    assert features_list(name, of, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_counts_and_is_one_json_document(tmp_path) -> None:
    counted = quantd(tmp_path, "features", "list", "--count")
    assert (counted.returncode, int(counted.stdout) >= 200) == (0, True)
    found = json.loads(quantd(tmp_path, "features", "list", "--count", "--json").stdout)
    assert found == {"features": int(counted.stdout), "indicators": 86, "unavailable": 1}


def test_every_feature_of_every_set_is_listed_once_with_what_it_needs(capsys) -> None:
    found = listed(capsys)
    rows = {row["name"]: row for row in found["features"]}
    assert len(rows) == len(found["features"])
    assert set(rows) >= {name for names in SETS.values() for name in names}
    assert rows["rsi_14"]["talib"] == "RSI"
    assert rows["momentum_20"]["talib"] == ""
    assert rows["rsi_14"]["samples"] == feature("rsi_14").lookback
    assert rows["beta_60"]["with"] == ["benchmark"]
    assert rows["vix"]["with"] == ["vix"]
    assert {f"daily_return_{k}" for k in range(1, 6)} | {"momentum_20", "momentum_60"} <= set(rows)


def test_what_is_not_available_says_why(capsys) -> None:
    assert "FinBERT" in listed(capsys)["unavailable"]["sentiment"]
    features_list()
    text = capsys.readouterr().out
    assert "sentiment: needs the files of a FinBERT-class model" in text
    assert "with vix: [feed] macro names the series vix" in text


def test_one_feature_or_one_set_is_shown_by_name(capsys) -> None:
    (row,) = listed(capsys, name="rsi_21.week.rank")["features"]
    assert (row["every"], row["across"], row["bars"]) == ("week", "rank", 22)
    assert [r["name"] for r in listed(capsys, of="default")["features"]] == list(SETS["default"])


def test_a_wrong_name_or_set_is_a_mistake_of_the_command_line() -> None:
    with pytest.raises(Failure, match="did you mean 'rsi'"):
        features_list("rsx")
    with pytest.raises(Failure, match="did you mean 'full'"):
        features_list(of="ful")
