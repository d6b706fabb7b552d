"""Bars and actions from files become a panel: by name, with splits and dividends, without holes."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.models.history.panel_files import read_panel
from tests.support.checkout import DATA

BARS, ACTIONS = DATA / "us_daily.parquet", DATA / "us_actions.csv"


def small(folder: Path, rows: list[tuple[int, str, float, float]]) -> Path:
    path = folder / "bars.parquet"
    frame = {
        "ts": [datetime(2020, 1, d, tzinfo=UTC) for d, *_ in rows],
        "symbol": [s for _, s, *_ in rows],
        "open": [o for *_, o, _ in rows],
        "close": [c for *_, c in rows],
    }
    pl.DataFrame(frame).write_parquet(path)
    return path


def test_the_total_return_across_a_real_split_and_dividend_is_an_ordinary_day() -> None:
    panel = read_panel(BARS, ACTIONS, ["SPY", "AAPL"], date(2014, 1, 2), date(2014, 12, 31))
    returns = panel.returns()
    split_day = int(np.flatnonzero(panel.split[:, 1] == 7.0)[0])
    assert panel.close[split_day, 1] < panel.close[split_day - 1, 1] / 6
    assert abs(returns[split_day, 1]) < 0.05
    assert (panel.dividend[:, 0] > 0).sum() == 4
    ex = int(np.flatnonzero(panel.dividend[:, 0])[0])
    expected = (panel.close[ex, 0] + panel.dividend[ex, 0]) / panel.close[ex - 1, 0] - 1.0
    assert returns[ex, 0] == pytest.approx(expected, rel=1e-12)


def test_only_what_follows_the_last_gap_is_used(tmp_path: Path) -> None:
    bars = [(d, "A", 1.0 + d, 2.0 + d) for d in (1, 2, 3, 4, 5)] + [(d, "B", 5.0, 6.0) for d in (1, 2, 4, 5)]
    panel = read_panel(small(tmp_path, bars), None, ["A", "B"], date(2020, 1, 1), date(2020, 1, 31))
    assert np.isfinite(panel.close[:, 0]).all()
    assert np.isfinite(panel.close[:, 1]).tolist() == [False, False, False, True, True]


def test_a_symbol_without_bars_is_named(tmp_path: Path) -> None:
    bars = small(tmp_path, [(1, "A", 1.0, 1.0)])
    with pytest.raises(ValueError, match="no bars of B, C between"):
        read_panel(bars, None, ["A", "B", "C"], date(2020, 1, 1), date(2020, 1, 31))


def test_an_action_on_a_day_without_a_session_is_refused(tmp_path: Path) -> None:
    bars = small(tmp_path, [(1, "A", 1.0, 1.0), (3, "A", 1.0, 1.0)])
    (tmp_path / "actions.csv").write_text("ts,symbol,kind,ratio,cash\n2020-01-02,A,dividend,,0.5\n")
    with pytest.raises(ValueError, match=r"A has an action on 2020-01-02, and .*has no bar of that day; correct"):
        read_panel(bars, tmp_path / "actions.csv", ["A"], date(2020, 1, 1), date(2020, 1, 31))


def test_actions_before_the_first_bar_and_after_the_last_are_left_out(tmp_path: Path) -> None:
    bars = small(tmp_path, [(3, "A", 1.0, 1.0), (6, "A", 1.0, 1.0), (7, "A", 1.0, 1.0)])
    lines = [f"2020-01-0{day},A,dividend,,0.5" for day in (2, 6, 9)]
    (tmp_path / "actions.csv").write_text("\n".join(["ts,symbol,kind,ratio,cash", *lines]))
    panel = read_panel(bars, tmp_path / "actions.csv", ["A"], date(2020, 1, 1), date(2020, 1, 31))
    assert panel.dividend[:, 0].tolist() == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("stamp", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
def test_text_gives_the_panel_of_parquet(tmp_path: Path, stamp: str) -> None:
    path = tmp_path / "bars.csv"
    pl.read_parquet(BARS).with_columns(pl.col("ts").dt.strftime(stamp)).write_csv(path)
    span = ["SPY", "AAPL"], date(2014, 1, 2), date(2014, 12, 31)
    one, other = read_panel(BARS, ACTIONS, *span), read_panel(path, ACTIONS, *span)
    assert one.day_ns.tolist() == other.day_ns.tolist()
    for name in ("open", "close", "split", "dividend"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("text", ["", "ts,symbol,open\n2014-01-02,A,1\n", "ts,symbol,open,close\nyesterday,A,1,1\n"])
def test_text_that_is_no_bars_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bars\.csv: no daily bars"):
        read_panel(path, None, ["A"], date(2014, 1, 2), date(2014, 12, 31))


@pytest.mark.parametrize("column", range(8))
@pytest.mark.parametrize("field", ['{}"', '5"{}', '"{}', '{}" x "y', '"{}"'])
def test_a_lone_quote_in_any_column_gives_the_same_panel_or_an_error_by_name(
    tmp_path: Path, field: str, column: int
) -> None:
    """Each row after the one with the quote has its own prices: none is swallowed by a quoted field over lines."""
    header = "ts,symbol,name,open,high,low,close,volume"
    rows = [[f"2020-01-{day:02}", "A", "Steel pipe", *map(str, (10 + day, 12 + day, 9 + day, 11 + day, 900 + day))]
            for day in range(1, 21)]  # fmt: skip
    clean, spoiled = tmp_path / "clean.csv", tmp_path / "spoiled.csv"
    clean.write_text("\n".join([header, *map(",".join, rows), ""]))
    rows[9][column] = field.format(rows[9][column])
    spoiled.write_text("\n".join([header, *map(",".join, rows), ""]))
    span = ["A"], date(2020, 1, 1), date(2020, 1, 31)
    wanted = read_panel(clean, None, *span)
    try:
        panel = read_panel(spoiled, None, *span)
    except ValueError as error:
        assert column != 2 and "spoiled.csv" in str(error)  # noqa: PT017, PT018
        return
    if len(panel.day_ns) == 19:  # a quote in the symbol's own column: another symbol
        assert column == 1
        return
    np.testing.assert_array_equal(panel.close, wanted.close)
    np.testing.assert_array_equal(panel.bars["volume"], wanted.bars["volume"])
