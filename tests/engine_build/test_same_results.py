"""Every build gives what its source gives: golden digests, recorded runs and random worlds, byte by byte.

All other tests run on one engine; these compare it with the others that exist: the source, and each build that fits it.
In CI each other engine makes one run of each kind, replays one recorded store of each kind of venue and drives some
worlds. `pytest -m slow` is the long form: it builds the missing engines first, and takes all runs, all stores and more
worlds.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from quantd.engine_build import builder, finder
from quantd.engine_build.recipe import CHECKED, UNCOMPILED, VARIANTS
from tests.recorded_runs import processor
from tests.recorded_runs.check import Found
from tests.recorded_runs.features import FEATURES
from tests.support.checkout import ROOT
from tests.support.command_line import environment

SOURCE = "uncompiled"
HERE = SOURCE if finder.loaded() is None else finder.variant()
OTHERS = [kind for kind in (SOURCE, *VARIANTS) if kind != HERE]
VARIABLES = {SOURCE: {UNCOMPILED: "1"}, "checked": {CHECKED: "1"}, "release": {}}
RUNS = ("backtest config.toml", "tight limits")
"""Parts of the names of golden runs: three agents with costs, and limits that bind; STORES have portfolios."""

STORES = ("portfolios", "gtc_partial_fills", "unknown_orders")
"""Recorded runs: at the paper venue, with orders that stay open and fill in parts, and at a venue on the wire."""

WORLDS = "4"
"""Random worlds; the long form takes 300, and scripts/compare_engines.py any number."""

pytestmark = pytest.mark.long


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest) -> str:
    """An engine of this source, other than that of this process."""
    kind = str(request.param)
    if kind != SOURCE and finder.fitting(kind) is None:
        pytest.skip(f"there is no {kind} build")
    return kind


def on(kind: str, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """A program of this checkout, on one of its engines."""
    variables = {k: v for k, v in environment().items() if k not in (CHECKED, UNCOMPILED)} | VARIABLES[kind] | more
    if kind != SOURCE:  # a program whose build is stale would run the source
        assert finder.fitting(kind) is not None
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=variables, capture_output=True, text=True)


def require_kept_results(kind: str, *names: str) -> None:
    process = on(kind, "-m", "tests.golden", *names)
    assert (process.returncode, process.stderr) == (0, "")
    for name in names:
        assert name in process.stdout, "a run has another name"


def require_recorded_runs(kind: str, *names: str) -> None:
    process = on(kind, "-m", "tests.recorded_runs.check", *names, **processor.SETTING)
    assert process.returncode == 0, process.stderr
    outcomes = msgspec.json.decode(process.stdout, type=dict[str, Found])
    assert {name: outcome.text for name, outcome in outcomes.items() if outcome.text} == {}
    assert set(outcomes) == set(names)


def require_same_worlds(kind: str, record: Path, worlds: str) -> None:
    process = on(kind, "scripts/compare_engines.py", "--record", str(record), "--worlds", worlds)
    assert process.returncode == 0, process.stderr
    compared = on(HERE, "scripts/compare_engines.py", "--base", str(record), "--worlds", worlds)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "0 differ" in compared.stdout


def test_whole_runs_on_another_engine_have_the_kept_results(other: str) -> None:
    require_kept_results(other, *RUNS)


def test_recorded_runs_are_as_recorded_on_another_engine(other: str) -> None:
    if why := processor.unsuited():
        pytest.skip(why)
    require_recorded_runs(other, *STORES)


def test_random_worlds_have_the_same_journals_on_another_engine_and_on_this_one(other: str, tmp_path: Path) -> None:
    require_same_worlds(other, tmp_path / "worlds.jsonl", WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_an_engine_that_was_not_built_is_built_and_has_the_same_results(kind: str, tmp_path: Path) -> None:
    if kind != SOURCE:
        builder.build(kind)
    require_kept_results(kind)
    require_recorded_runs(kind, *FEATURES)
    require_same_worlds(kind, tmp_path / "worlds.jsonl", "300")
