"""The product beside an engine that was written from the documented rules alone: equal equity to the micro."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import quantd
from tests.research.python_api.independent.bars import bundled, generated
from tests.research.python_api.independent.cases import CASES, Floats, answers
from tests.research.python_api.independent.engine import equity_of

FRAMES = {"bundled": bundled, "generated": generated}


@cache
def closes_of(name: str) -> tuple[list[date], Floats]:
    """The sessions of a frame, and float64[T, N] last closes with the columns in order of the symbols."""
    wide = FRAMES[name]().pivot(on="symbol", index="ts", values="close").sort("ts")
    columns = wide.select(sorted(set(wide.columns) - {"ts"})).select(pl.all().forward_fill())
    return wide["ts"].cast(pl.Date).to_list(), columns.fill_null(float("nan")).to_numpy()


def act_of(name: str, case: str) -> Callable[[Any], Any]:
    """A policy of the product that gives the answers of a case over a frame."""
    weights_by_date = answers(CASES[case], *closes_of(name))

    def act(view: Any) -> Any:
        weights = weights_by_date[datetime.fromtimestamp(view.time / 1e9, UTC).date()]
        return "hold" if weights is None else weights

    return act


@pytest.mark.long
@pytest.mark.parametrize(("name", "case"), [("bundled", "pair"), ("generated", "random_weights")])
def test_the_checks_accept_every_bar(name: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backtest = quantd.backtest(act_of(name, case), bars=FRAMES[name](), compare=False)
    assert backtest.rejected == 0
    assert len(backtest.equity) == len(closes_of(name)[0])
    assert len(backtest.fills) > 500
    assert backtest.equity["equity"].min() > 0
    if name == "generated":
        assert backtest.equity["cash"].min() < 0  # gaps after a cut
        day = pl.col("ts").dt.date()
        bars = generated().with_columns(day=pl.col("ts").cast(pl.Date), most=(pl.col("volume") / 10).floor())
        fills = backtest.fills.with_columns(day=day).join(bars.select("day", "symbol", "most"), on=["day", "symbol"])
        assert fills.height == backtest.fills.height
        assert fills.filter(pl.col("quantity") == pl.col("most")).height > 100  # filled in part


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, marks=[pytest.mark.slow] if (row + column) % 2 else [])
        for row, case in enumerate(["random_weights", "pair", "momentum", "fixed_daily", "equal_monthly"])
        for column, name in enumerate(sorted(FRAMES, reverse=True))
    ],
)
def test_an_engine_written_from_the_page_gives_the_equity_of_each_close(
    name: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each case has one of the frames, in turn; `pytest -m slow` has the other one."""
    monkeypatch.chdir(tmp_path)
    curve = quantd.backtest(act_of(name, case), bars=FRAMES[name](), compare=False).equity
    dates, equity = equity_of(FRAMES[name](), answers(CASES[case], *closes_of(name)))
    assert curve["ts"].dt.date().to_list() == dates
    assert (curve["equity"] * 1e6).round().cast(int).to_list() == equity
