"""The comparison of two engines over random worlds: its tours and its table of features."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from quantd.trading.events import Event
from scripts.worlds.comparison.expected import MODULES, UNREACHED, expected

ROOT = Path(__file__).resolve().parents[1]

TOUR = 25
"""The seed of the first tour: a world in which every story happens."""

TOURS = 2


def compared(*options):
    """(exit status, output) of a comparison with the present engine."""
    words = [sys.executable, str(ROOT / "scripts" / "compare_engines.py"), *map(str, options)]
    process = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not process.stderr, process.stderr
    return process.returncode, process.stdout


def rows_of(text):
    """The rows of the table: feature -> (worlds, differences)."""
    rows = re.findall(r"^(.+?) +([\d,]+) +([\d,]+)$", text, re.MULTILINE)
    return {feature: (int(worlds.replace(",", "")), differences) for feature, worlds, differences in rows}


@pytest.mark.slow
def test_the_tours_make_every_event_and_a_feature_without_a_world_is_named():
    status, text = compared("--counts", "--tours", "--seed", TOUR, "--worlds", TOURS * TOUR, "--least", TOURS + 1)
    counts = dict(re.findall(r"^(\w+): ([\d,]+) events$", text, re.MULTILINE))
    assert {event_type.__name__ for event_type in get_args(Event)} - counts.keys() == set()
    assert not [name for name in rows_of(text) if name.startswith("error:")]
    assert status == 1
    assert f"event: Tick: {TOURS} worlds, fewer than {TOURS + 1}" in text


def test_each_module_of_the_engine_has_features_that_worlds_hit():
    engine = ROOT / "daemon" / "engine"
    modules = {str(path.relative_to(engine)).removesuffix(".py") for path in engine.rglob("*.py")}
    modules = {"core" if name.startswith("core/") else name for name in modules if not name.endswith("__init__")}
    assert modules - MODULES.keys() == set()
    assert MODULES.keys() - modules == set()
    assert not UNREACHED.keys() & expected()
