"""`make bench`: every part that it times is there, and has a budget."""

import csv
from pathlib import Path

import pytest

from benchmarks.engine import CASES
from benchmarks.multi_agent import CLAIMED_EFFICIENCY, COLUMNS, NAMES, efficiencies, written
from benchmarks.parts.__main__ import SESSIONS, SHARES, gates, resolved
from benchmarks.parts.budgets import BUDGETS, INTERPRETED


def test_every_timed_function_is_there():
    for paths in SHARES.values():
        assert all(callable(resolved(path)[1]) for path in paths)


def test_every_part_has_a_budget_and_every_budget_a_part():
    asked = []
    assert list(gates(asked.append)) == []
    assert set(BUDGETS) - {*SESSIONS, *asked, *(f"daily: {name}" for name in SHARES)} == set()
    assert set(SESSIONS) <= set(BUDGETS)
    parts = {f"daily: {name}" for name in SHARES}
    assert parts <= {*BUDGETS, *INTERPRETED}
    assert set(INTERPRETED) <= {*SESSIONS, *parts, *asked}
    assert {part for part in BUDGETS if part.startswith("gate")} == {part for part in INTERPRETED if part in asked}
    assert {case for case, _ in SESSIONS.values()} == set(CASES)


@pytest.mark.requirement("F-06")
def test_the_efficiency_of_a_profile_is_its_ratio_over_the_seconds_of_an_episode():
    found = {"full": {"seconds": 4.0}, "lite": {"seconds": 0.5}, "transformer": {"seconds": 8.0}}
    # a profile without an artifact has no ratio
    assert efficiencies(found, {"full": (0.4, 0.5, 3), "lite": (0.6, 0.5, 5)}) == {"full": 0.1, "lite": 1.2}
    assert set(CLAIMED_EFFICIENCY) == set(NAMES)


@pytest.mark.requirement("R-249")
def test_the_table_of_profiles_is_written_as_csv_as_markdown_and_as_a_page_of_bars(tmp_path: Path):
    pytest.importorskip("plotly")
    found = {
        "full": {"seconds": 4.0, "peak": 300.5, "mean": 250.0},
        "lite": {"seconds": 0.5, "peak": 200.0, "mean": 180.0},
    }
    table, text, page = written(tmp_path / "new", found, {"full": None, "lite": (0.6, 0.5, 5)})
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [["profile", *COLUMNS]] * 2
    assert list(rows[0].values()) == ["full", "4.0", "300.5", "250.0", "", ""]
    assert list(rows[1].values()) == ["lite", "0.5", "200.0", "180.0", "0.6", "1.2"]
    assert text.read_text(encoding="utf-8").splitlines()[2:] == [
        "| full | 4 | 300.5 | 250 |  |  |",
        "| lite | 0.5 | 200 | 180 | 0.6 | 1.2 |",
    ]
    shown = page.read_text(encoding="utf-8")
    assert all(title in shown for title in COLUMNS.values())
