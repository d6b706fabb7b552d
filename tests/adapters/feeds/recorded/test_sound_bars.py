"""A training asks about the prices of its bars as a backtest does, and a line beside the bars answers."""

import re
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices
from tests.support.price_levels import day, level, scaled

FIRST, LAST = date(2018, 1, 2), date(2018, 12, 31)


def written(folder: Path, frame: pl.DataFrame) -> Path:
    bars = folder / "bars.parquet"
    frame.write_parquet(bars)
    return bars


def sound(bars: Path, actions: Path | None, symbols: list[str], first: date, last: date) -> bool:
    """Whether a training begins over these bars."""
    try:
        require_sound_bars(bars, actions, symbols, first, last)
    except UnsoundPrices:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize(("columns", "factor"), [(("low",), 0.2), (("high",), 4.0), (("open", "close", "high"), 6.0)])
@pytest.mark.parametrize("answer", ["real", "reject"])
def test_a_suspicious_bar_stops_a_training_until_a_line_beside_the_bars_answers(
    tmp_path: Path, columns: tuple[str, ...], factor: float, answer: str
) -> None:
    bars = written(tmp_path, scaled(level(), range(150, 151), factor, *columns))
    with pytest.raises(UnsoundPrices, match=rf"X on {day(150)} is out of all proportion") as stop:
        require_sound_bars(bars, None, ["X"], FIRST, LAST)
    (line,) = re.findall(r"exceptions.csv beside the bars: lines date,symbol,answer; (\S+)", str(stop.value))
    (tmp_path / "exceptions.csv").write_text(f"date,symbol,answer\n{line.replace('real', answer)}\n")
    assert sound(bars, None, ["X"], FIRST, LAST)


@pytest.mark.long
def test_bars_outside_the_dates_or_of_other_symbols_are_not_asked_about(tmp_path: Path) -> None:
    bars = written(tmp_path, scaled(level(), range(150, 151), 0.2, "low"))
    assert sound(bars, None, ["X"], date(2018, 9, 3), LAST)
    assert sound(bars, None, ["X"], FIRST, date(2018, 7, 2))
    assert not sound(bars, None, ["X"], FIRST, LAST)


def test_a_dividend_that_contradicts_the_others_stops_a_training(tmp_path: Path) -> None:
    bars, actions = written(tmp_path, level()), tmp_path / "actions.csv"
    actions.write_text(f"ts,symbol,kind,ratio,cash\n{day(100)},X,dividend,,1.5\n{day(102)},X,dividend,,1.5\n")
    with pytest.raises(UnsoundPrices, match=r"one of them repeats the other(.|\n)*remove from the file of actions"):
        require_sound_bars(bars, actions, ["X"], FIRST, LAST)
