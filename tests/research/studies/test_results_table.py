"""The committed table of results: rows are made again, and a killed `make results` continues."""

from pathlib import Path

import polars as pl
import pytest

from scripts.results import (
    CLAIMS,
    CLAIMS_PAGE,
    PAGE,
    PLAN,
    TABLE,
    claims_of,
    claims_page,
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


def counts(row: dict[str, object], line: str) -> bool:
    """Whether a line is of the table of a row: that of the learned policies has three cells."""
    return (row["market"] == "learned-2019") == (line.count(" | ") == 2)


def test_the_pages_have_a_line_for_each_row_and_each_claim_and_name_what_is_not_reproducible() -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    beside = (ROOT / "docs" / CLAIMS_PAGE).read_text(encoding="utf-8")
    claims = claims_of(CLAIMS)
    assert list(claims) == [f"F-{number:02d}" for number in range(1, 43)]
    names = next(line for line in text.splitlines() if line.startswith("| policy | rally-2016"))
    names = names.removesuffix(" |").split(" | ")
    for row in COMMITTED.to_dicts():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row['policy']} | ") and counts(row, line))
        less = row["less_equal_weight"]
        if row["market"] in names:  # the last cell ends with " |"
            shown = (line.removesuffix(" |")).split(" | ")[names.index(row["market"])]
            assert shown.split()[0] == (f"({row['sharpe']:.2f})" if less is None else f"{less:+.2f}")
        else:
            assert f"| {row['sharpe']:.2f}" in line
            assert less is None or f"| {less:+.2f}" in line
        assert row["sha256"] in text or row["reproducible"]
        assert row["market"] in text
    assert text.index("**Power.** 2019-01-02 to 2021-03-31, 5 symbols, 3 bp a side") < text.index(
        "| models/shipped/lite |"
    )
    assert beside.rindex("**Power.** 2017-01-03 to 2018-12-31, 5 symbols, 15 bp a side") < beside.index("| F-01 |")
    keys = {(row["market"], row["policy"]) for row in COMMITTED.to_dicts()}
    for name, claim in claims.items():
        assert f"| {name} | {claim.claim} | " in beside
        assert all((market, policy) in keys for market, policy, _ in claim.rerun)
    assert "measured here" in claims_page([], claims, {})
    assert "equal_weight" not in claims_page([], claims, {})  # no row, no figure
