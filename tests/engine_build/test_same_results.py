"""A build gives what its source gives: golden digests, recorded runs and random worlds, byte by byte."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from quantd.engine_build import finder
from tests.recorded_runs import processor
from tests.recorded_runs.check import Found
from tests.recorded_runs.features import FEATURES
from tests.support.checkout import ROOT
from tests.support.command_line import environment

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(finder.loaded() is None, reason="nothing is compiled: there is one engine"),
]

WORLDS = "150"


def of_source(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """A program of this checkout, on the source of the engine."""
    variables = {k: v for k, v in environment().items() if k != "QUANTD_CHECKED"} | {"QUANTD_UNCOMPILED": "1"} | more
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=variables, capture_output=True, text=True)


def test_whole_runs_on_the_source_have_the_kept_results() -> None:
    done = of_source("-m", "tests.golden")
    assert (done.returncode, done.stderr) == (0, "")


def test_recorded_runs_are_as_recorded_on_the_source() -> None:
    if why := processor.unsuited():
        pytest.skip(why)
    done = of_source("-m", "tests.recorded_runs.check", *FEATURES, **processor.SETTING)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=dict[str, Found])
    assert {name: each.text for name, each in found.items() if each.text} == {}
    assert set(found) == set(FEATURES)


def test_random_worlds_have_the_same_journals_on_the_source_and_in_this_build(tmp_path: Path) -> None:
    record = str(tmp_path / "worlds.jsonl")
    done = of_source("scripts/compare_engines.py", "--record", record, "--worlds", WORLDS)
    assert done.returncode == 0, done.stderr
    here = [sys.executable, "scripts/compare_engines.py", "--base", record, "--worlds", WORLDS]
    compared = subprocess.run(here, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "0 differ" in compared.stdout
