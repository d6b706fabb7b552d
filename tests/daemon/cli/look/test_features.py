"""`quantd features list`: every feature by name, and what cannot be had with its reason."""

import json

import pytest

from quantd.daemon.cli.look.features import features_list
from quantd.strategies.features import SETS, feature
from quantd.trading.exit_codes import ExplainedError
from tests.support.command_line import CONFIG, quantd, write


def listed(capsys: pytest.CaptureFixture[str], of: str | None = None, name: str | None = None) -> dict:
    assert features_list(name, of, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


def test_every_feature_of_every_set_is_listed_once_with_what_it_needs(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # no configuration
    catalogue = listed(capsys)
    rows = {row["name"]: row for row in catalogue["features"]}
    assert len(rows) == len(catalogue["features"])
    assert set(rows) >= {name for names in SETS.values() for name in names}
    assert rows["rsi_14"]["talib"] == "RSI"
    assert rows["momentum_20"]["talib"] == ""
    assert rows["rsi_14"]["samples"] == feature("rsi_14").lookback
    assert rows["beta_60"]["with"] == ["benchmark"]
    assert rows["vix"]["with"] == ["vix"]
    assert {f"daily_return_{k}" for k in range(1, 6)} | {"momentum_20", "momentum_60"} <= set(rows)


@pytest.mark.requirement("R-043")
def test_what_is_not_available_says_why(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "FinBERT" in listed(capsys)["unavailable"]["sentiment"]
    features_list()
    text = capsys.readouterr().out
    assert "sentiment: needs the files of a FinBERT-class model" in text
    assert "with vix: [feed] macro names the series vix" in text


def test_series_of_a_configuration_are_listed_and_those_without_use_are_switched_off(tmp_path) -> None:
    (tmp_path / "esg.csv").write_text("ts,symbol,value\n2018-01-02,SPY,1\n")
    plain = json.loads(quantd(tmp_path, "features", "list", "--json").stdout)
    alone = quantd(tmp_path, "features", "list", "series_esg_z_60").stdout
    assert "with series esg: [feed] series names its file" in alone
    series = '{ name = "esg", path = "esg.csv" }, { name = "mood", path = "none.csv", use = false }'
    write(tmp_path, CONFIG.replace("[feed]\n", f"[feed]\nseries = [{series}]\n"))
    catalogue = json.loads(quantd(tmp_path, "features", "list", "--json").stdout)
    rows = {row["name"]: row for row in catalogue["features"] if row["group"] == "series"}
    assert list(rows) == [f"series_esg{kind}" for kind in ("", "_ago_1", "_change_5", "_z_60", "_is_1")]
    assert all(row["available"] and not row["with"] for row in rows.values())
    assert catalogue["unavailable"]["series_mood"] == "switched off: [feed] series has use = false"
    assert len(catalogue["features"]) == len(plain["features"]) + 5
    assert len(catalogue["unavailable"]) == 2
    text = quantd(tmp_path, "features", "list").stdout
    assert "series_mood: switched off" in text
    assert "series_NAME, series_NAME_ago_1" in text
    (row,) = json.loads(quantd(tmp_path, "features", "list", "series_mood_z_9.rank", "--json").stdout)["features"]
    assert (row["available"], row["samples"], row["source"]) == (False, 9, "quantd.strategies.features.families")
    assert "series_mood: switched off" in quantd(tmp_path, "features", "list", "series_mood").stdout


def test_without_a_readable_configuration_the_features_are_listed_and_a_named_one_is_refused(tmp_path) -> None:
    write(tmp_path, "nothing")
    assert quantd(tmp_path, "features", "list", "rsi_14").returncode == 0
    assert quantd(tmp_path, "features", "list", "rsi_14", "-c", "config.toml").returncode != 0


@pytest.mark.parametrize("name", ["sentiment", "esg"])
def test_a_plain_name_of_own_data_is_told_how_a_file_makes_it_a_feature(name: str) -> None:
    with pytest.raises(ExplainedError, match=rf"name a file in \[feed\] series and write series_{name}"):
        features_list(name)


def test_one_feature_or_one_set_is_shown_by_name(capsys) -> None:
    (row,) = listed(capsys, name="rsi_21.week.rank")["features"]
    assert (row["every"], row["across"], row["bars"]) == ("week", "rank", 22)
    assert [r["name"] for r in listed(capsys, of="default")["features"]] == list(SETS["default"])


def test_a_wrong_name_or_set_is_a_mistake_of_the_command_line() -> None:
    with pytest.raises(ExplainedError, match="did you mean 'rsi'"):
        features_list("rsx")
    with pytest.raises(ExplainedError, match="did you mean 'full'"):
        features_list(of="ful")
