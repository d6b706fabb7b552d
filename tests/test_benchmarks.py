"""The table of the profiles of agents: their efficiency, and the files that have it."""

import csv
from pathlib import Path

import pytest

from benchmarks.multi_agent import CLAIMED_EFFICIENCY, COLUMNS, NAMES, efficiencies, written


@pytest.mark.requirement("F-06")
def test_the_efficiency_of_a_profile_is_its_ratio_over_the_seconds_of_an_episode():
    rows = {"full": {"seconds": 4.0}, "lite": {"seconds": 0.5}, "transformer": {"seconds": 8.0}}
    # a profile without an artifact has no ratio
    assert efficiencies(rows, {"full": (0.4, 0.5, 3), "lite": (0.6, 0.5, 5)}) == {"full": 0.1, "lite": 1.2}
    assert set(CLAIMED_EFFICIENCY) == set(NAMES)


@pytest.mark.requirement("R-249")
def test_the_table_of_profiles_is_written_as_csv_as_markdown_and_as_a_page_of_bars(tmp_path: Path):
    pytest.importorskip("plotly")
    measurements = {
        "full": {"seconds": 4.0, "peak": 300.5, "mean": 250.0},
        "lite": {"seconds": 0.5, "peak": 200.0, "mean": 180.0},
    }
    table, text, page = written(tmp_path / "new", measurements, {"full": None, "lite": (0.6, 0.5, 5)})
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [["profile", *COLUMNS]] * 2
    assert list(rows[0].values()) == ["full", "4.0", "300.5", "250.0", "", ""]
    assert list(rows[1].values()) == ["lite", "0.5", "200.0", "180.0", "0.6", "1.2"]
    assert text.read_text(encoding="utf-8").splitlines()[2:] == [
        "| full | 4 | 300.5 | 250 |  |  |",
        "| lite | 0.5 | 200 | 180 | 0.6 | 1.2 |",
    ]
    html = page.read_text(encoding="utf-8")
    assert all(title in html for title in COLUMNS.values())
