"""quantd.training.plans.own_bars: what a plan takes from a file of bars, where nothing else says it."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.models.history.panel_files import dates
from quantd.training.plans.own_bars import beside, usual
from quantd.training.plans.plan_check import mistakes_in
from tests.support.checkout import ROOT

FIRST, LAST = date(2018, 1, 2), date(2023, 12, 29)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six years of three symbols; CRUX is listed in 2019."""
    days = sessions("XNYS", FIRST, LAST).days
    frames = []
    for k, name in enumerate(("BOLT", "ACME", "CRUX")):
        ts = pl.Series("ts", days[252 * (name == "CRUX") :]).cast(pl.Datetime("ns", "UTC"))
        close = 50.0 * (k + 1) * np.exp(np.random.default_rng(k).normal(0, 0.01, len(ts)).cumsum())
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frames.append(pl.DataFrame({"ts": ts, "symbol": name, **prices, "volume": 1e6}))
    path = tmp_path_factory.mktemp("bars") / "mine.parquet"
    pl.concat(frames).write_parquet(path)
    return path


def test_symbols_actions_and_parts_follow_from_the_bars_and_the_plan_has_no_mistake(bars: Path) -> None:
    derived = usual(bars, {"agent": "ppo"})
    assert (derived["data.symbols"], derived["data.actions"]) == (["ACME", "BOLT", "CRUX"], "")
    first, last = dates(bars, ["ACME", "BOLT", "CRUX"])
    assert first > date(2018, 12, 31), "the parts begin where every symbol has bars"
    parts = [derived[f"splits.{name}.{end}"] for name in ("train", "validation", "test") for end in ("first", "last")]
    assert parts == sorted(parts)  # type: ignore[type-var]
    assert parts[-1] == last
    table: dict[str, object] = {"agent": "ppo", "data": {"bars": str(bars)}}
    splits: dict[str, dict[str, object]] = {}
    for key, value in derived.items():
        section, *keys = key.split(".")
        if section == "splits":
            splits.setdefault(keys[0], {})[keys[1]] = value
        else:
            table["data"][keys[0]] = value  # type: ignore[index]
    assert mistakes_in({**table, "splits": splits}, lambda _: None) == []
    assert mistakes_in(table, lambda _: None) != [], "the usual parts lie outside"


def test_what_the_plan_says_stays(bars: Path) -> None:
    table = {"data": {"symbols": ["BOLT"], "actions": "mine.csv"}, "splits": {"train": {}}}
    assert usual(bars, table) == {}
    derived = usual(bars, {"data": {"symbols": ["BOLT"]}})
    assert "data.symbols" not in derived
    assert derived["splits.train.first"] < date(2018, 12, 31)  # type: ignore[operator]


def test_actions_beside_the_bars_are_those_of_the_plan(bars: Path, tmp_path: Path) -> None:
    assert beside(bars) == ""
    (tmp_path / "x.actions.csv").touch()
    (tmp_path / "y_actions.csv").touch()
    assert beside(tmp_path / "x.parquet") == str(tmp_path / "x.actions.csv")
    assert beside(tmp_path / "y_daily.parquet") == str(tmp_path / "y_actions.csv")


def test_bundled_bars_and_bars_that_hold_the_usual_parts_keep_them(bars: Path) -> None:
    assert usual(Path("data/us_daily.parquet"), {}) == {}
    derived = usual(ROOT / "data/us_daily.parquet", {"data": {"symbols": ["SPY"]}})
    assert derived == {"data.actions": str(ROOT / "data/us_actions.csv")}


def test_a_file_that_is_no_table_of_daily_bars_is_left_to_the_check_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Date,Close\n2024-01-02,1\n")
    assert usual(tmp_path / "gone.parquet", {}) == {}
    assert usual(tmp_path / "a.csv", {}) == {"data.actions": ""}
    faults = mistakes_in({"agent": "ppo", "data": {"bars": str(tmp_path / "a.csv"), "actions": ""}}, lambda _: None)
    assert f"`quantd data import {tmp_path / 'a.csv'}` makes bars of any table" in faults[0]
    minutes = sessions("XNYS", FIRST, date(2018, 1, 31)).opens
    ts = pl.Series("ts", np.concatenate([minutes + k * 300 * 10**9 for k in range(70)])).cast(pl.Datetime("ns", "UTC"))
    pl.DataFrame({"ts": ts, "symbol": "A", "open": 1.0, "close": 1.0}).write_parquet(tmp_path / "m.parquet")
    faults = mistakes_in({"agent": "ppo", "data": {"bars": str(tmp_path / "m.parquet"), "actions": "",
                          "symbols": ["A"]}}, lambda _: None)  # fmt: skip
    assert "shorter than a day" in faults[0]


def test_a_symbol_without_bars_is_named_with_those_that_there_are(bars: Path) -> None:
    with pytest.raises(ValueError, match="no bars of SPY; it has ACME, BOLT, CRUX"):
        dates(bars, ["ACME", "SPY"])
