"""The committed table of results: rows are made again, and a killed `make results` continues."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from scripts.results import CLAIMS, PAGE, PLAN, TABLE, claims_of, make, markets, measured, page, rows_of
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


def test_the_page_has_a_line_for_each_row_and_each_claim_and_names_what_is_not_reproducible() -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    claims = claims_of(CLAIMS)
    assert list(claims) == [f"F-{number:02d}" for number in range(1, 43)]
    for row in COMMITTED.to_dicts():
        assert f"| {row['policy']} | {row['sharpe']:.2f} [" in text
        assert row["sha256"] in text if not row["reproducible"] else row["command"] in text
    assert text.index("**Power.** 2019-01-02 to 2021-03-31, 5 symbols, 3 bp a side") < text.index(
        "| models/shipped/lite |"
    )
    assert text.rindex("**Power.** 2017-01-03 to 2018-12-31, 5 symbols, 15 bp a side") < text.index("| F-01 |")
    keys = {(row["market"], row["policy"]) for row in COMMITTED.to_dicts()}
    for name, claim in claims.items():
        assert f"| {name} | {claim.claim} | " in text
        assert all((market, policy) in keys for market, policy, _ in claim.rerun)
    assert "measured here" in page([], claims, {})
    assert "equal_weight" not in page([], claims, {})[page([], claims, {}).index("## Claims") :]  # no row, no figure


@pytest.mark.long
def test_rows_of_a_file_that_is_not_here_are_kept_with_its_hash(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "docs"
    plan.write_text("".join(part for part in PLAN.read_text().split("\n\n") if "external = true" in part))
    make(plan, None, tmp_path / "build", out)
    assert len(pl.read_parquet(out / TABLE)) == 0
    kept = COMMITTED.filter(~pl.col("reproducible"))
    kept.write_parquet(out / TABLE)
    make(plan, None, tmp_path / "build", out)
    assert pl.read_parquet(out / TABLE).to_dicts() == kept.to_dicts() != []
    text, committed = (out / PAGE).read_text(), (ROOT / "docs" / PAGE).read_text()
    for name in kept["market"].unique():
        part = committed[committed.index(f"## {name}:") :]
        assert part[: part.index("\n\n|")] in text


@pytest.mark.long
def test_a_killed_table_repeats_one_market_and_equals_an_unbroken_one(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[universes.small]\nsymbols = "four"\nconfig = "examples/allocators-seed4.toml"\nbias = "none"\n'
        'file = "data/seed4_daily.parquet"\npolicies = ["equal_weight"]\n'
        'periods = [["one", "2016-01-06", "2016-06-30"], ["two", "2017-01-04", "2017-06-30"]]\n',
        encoding="utf-8",
    )
    build = tmp_path / "build"

    places = ("--plan", str(plan), "--build", str(build), "--out", str(tmp_path / "out-build"))
    command = (sys.executable, "-m", "scripts.results", *places)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, process_group=0) as started:
        while not list(build.glob("one-*.json")):
            assert started.poll() is None
            time.sleep(0.005)
        started.send_signal(signal.SIGKILL)
    (kept,) = build.glob("*.json")
    assert not (tmp_path / "out-build").exists()
    marked = json.loads(kept.read_bytes())
    before = kept.stat().st_mtime_ns
    for folder in (build, tmp_path / "whole"):
        make(plan, None, folder, tmp_path / f"out-{folder.name}")
    assert kept.stat().st_mtime_ns == before
    assert marked["rows"][0]["policy"] == "equal_weight"
    for name in (PAGE, TABLE):
        assert (tmp_path / "out-build" / name).read_bytes() == (tmp_path / "out-whole" / name).read_bytes()
