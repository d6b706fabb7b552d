"""The comparison of two engines over random worlds, in short form and with this checkout as its own base."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from quantd.trading.events import Event
from scripts.worlds.comparison.expected import MODULES, UNREACHED, expected
from scripts.worlds.comparison.sides import EngineEnded, Recorded, checkout_of

ROOT = Path(__file__).resolve().parents[1]

TOUR = 25
"""The seed of the first tour: a world in which every story happens."""

TOURS = 2

OTHER_TRANSFER = """
_opened = on_portfolio_opened


def on_portfolio_opened(state, opened):
    effects = _opened(state, opened)
    if type(effects[0]) is not Transferred:
        return effects
    return Transferred(opened.ts, -1, effects[0].target, effects[0].cash_micro, [(0, 1, 2)]), *effects[1:]
"""
"""The end of agents/portfolios.py that changes one effect in one branch, which no row and no count shows."""


def compared(*options):
    """(exit status, output) of a comparison with the present engine."""
    words = [sys.executable, str(ROOT / "scripts" / "compare_engines.py"), *map(str, options)]
    process = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not process.stderr, process.stderr
    return process.returncode, process.stdout


def checkout_with(folder, module, text):
    """A checkout of the present sources with `text` at the end of one module."""
    source, top = folder / "src" / "quantd", module.split("/")[0]
    source.mkdir(parents=True)
    for entry in (ROOT / "src" / "quantd").iterdir():
        if entry.name == top:
            shutil.copytree(entry, source / top)
        elif entry.name != "__pycache__":
            (source / entry.name).symlink_to(entry.resolve())
    with (source / module).open("a") as file:
        file.write(text)
    return folder


def rows_of(text):
    """The rows of the table: feature -> (worlds, differences)."""
    rows = re.findall(r"^(.+?) +([\d,]+) +([\d,]+)$", text, re.MULTILINE)
    return {feature: (int(worlds.replace(",", "")), differences) for feature, worlds, differences in rows}


@pytest.mark.slow
def test_a_planted_difference_of_fees_is_found_with_its_first_row_and_seed(tmp_path):
    """The base charges another cost on each fill."""
    text = "\nCosts.fixed_rate = property(lambda costs: 10_000_000)\n"
    base = checkout_with(tmp_path, "trading/execution.py", text)
    status, text = compared("--base", base, "--seed", 2, "--worlds", 1)
    assert status == 1
    assert rows_of(text)["fills"] == (1, "1")
    assert re.search(r"^seed 2: row \d+ of", text, re.MULTILINE), text
    assert text.endswith("1 differ: seeds 2\n")
    assert text.count('"Filled"') >= 2


@pytest.mark.slow
def test_one_effect_of_one_branch_is_found_in_the_journal_and_named(tmp_path):
    base = checkout_with(tmp_path, "daemon/engine/agents/portfolios.py", OTHER_TRANSFER)
    status, text = compared("--base", base, "--journal", "--seed", TOUR, "--verbose")
    assert status == 1, text
    lines = text.splitlines()
    assert re.fullmatch(rf"seed {TOUR}: step \d+ of \d+ \(base\) and \d+ \(present\) differs", lines[0])
    event, effect, before, after = lines[-4:]
    assert event.startswith("  event    PortfolioOpened(ts=")
    assert effect == "  effect 0 differs"
    assert re.match(r"  base     Transferred\(.*, lots=\[\(0, 1, 2\)\]\)", before)
    assert re.match(r"  present  Transferred\(.*cash_micro=\d+\)", after)


@pytest.mark.slow
def test_a_recorded_journal_does_not_differ_and_only_worlds_that_hit_a_feature_are_compared(tmp_path):
    file = tmp_path / "worlds.jsonl"
    assert compared("--record", file, "--worlds", 4) == (0, f"4 worlds in {file}\n")
    status, text = compared("--base", file, "--worlds", 4, "--only", "daily bars")
    assert status == 0, text
    count = int(text.splitlines()[-1].split()[0])
    rows = rows_of(text)
    assert 0 < count < 4
    assert rows["daily bars"] == rows["effect: Valued"] == (count, "0")
    assert {differences for _, differences in rows.values()} == {"0"}
    assert "intraday bars" not in rows
    assert text.endswith("0 differ\n")
    recorded = Recorded(file)
    recorded.ask(5)
    with pytest.raises(EngineEnded, match="world 5 was not recorded"):
        recorded.answer()


@pytest.mark.slow
def test_the_tours_make_every_event_and_a_feature_without_a_world_is_named():
    status, text = compared("--counts", "--tours", "--seed", TOUR, "--worlds", TOURS * TOUR, "--least", TOURS + 1)
    counts = dict(re.findall(r"^(\w+): ([\d,]+) events$", text, re.MULTILINE))
    assert {event_type.__name__ for event_type in get_args(Event)} - counts.keys() == set()
    assert not [name for name in rows_of(text) if name.startswith("error:")]
    assert status == 1
    assert f"event: Tick: {TOURS} worlds, fewer than {TOURS + 1}" in text


@pytest.mark.slow
def test_the_sources_of_a_commit_are_a_checkout():
    with checkout_of("HEAD") as (folder, commit):
        assert (folder / "src" / "quantd" / "daemon" / "engine" / "__init__.py").is_file()
        assert len(commit) == 40
    assert not folder.exists()
    with pytest.raises(SystemExit, match="--base nothing: neither a commit"), checkout_of("nothing"):
        pass


def test_each_module_of_the_engine_has_features_that_worlds_hit():
    engine = ROOT / "daemon" / "engine"
    modules = {str(path.relative_to(engine)).removesuffix(".py") for path in engine.rglob("*.py")}
    modules = {"core" if name.startswith("core/") else name for name in modules if not name.endswith("__init__")}
    assert modules - MODULES.keys() == set()
    assert MODULES.keys() - modules == set()
    assert not UNREACHED.keys() & expected()
