"""The committed table of results: rows are made again, and a killed `make results` continues."""

from pathlib import Path

import polars as pl
import pytest

from scripts.results import (
    PLAN,
    TABLE,
    markets,
    measured,
    rows_of,
)
from tests.support.checkout import ROOT

COMMITTED = pl.read_parquet(ROOT / "docs" / TABLE)


@pytest.mark.long
@pytest.mark.requirement("R-247", "F-18", "F-19")
def test_the_rows_of_the_reference_window_are_those_of_the_committed_table(tmp_path: Path) -> None:
    (market,) = (candidate for candidate in markets(PLAN, None) if candidate.name == "reference")
    rows = list(rows_of(market, measured(market, tmp_path)))
    assert len(rows) >= 5
    assert {row["samples"] for row in rows} == {514}
    for row, old in zip(rows, COMMITTED.filter(market="reference").to_dicts(), strict=True):
        assert row == {
            key: pytest.approx(old[key], rel=1e-9) if isinstance(old[key], float) else old[key] for key in row
        }
