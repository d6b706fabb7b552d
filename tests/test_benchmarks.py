"""`make bench`: every part that it times is there, and has a budget."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.engine import CASES, seconds
from benchmarks.multi_agent import CLAIMED_EFFICIENCY, COLUMNS, NAMES, efficiencies, written
from benchmarks.parts.__main__ import SESSIONS, SHARES, gates, resolved
from benchmarks.parts.budgets import BUDGETS, INTERPRETED
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.timeline import time_of
from quantd.trading.effects import Booked, Crossed, Protected, Switched
from quantd.trading.events import Action
from quantd.trading.market import MarketSlice
from tests.support.checkout import ROOT


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


def test_the_default_profiles_have_the_rules_of_the_shipped_configuration_on_its_bars_and_dividends():
    world = CASES["default profiles"].world(300)
    shipped = assemble(read(ROOT / "config.toml"))
    assert world.shell.state.rules == shipped.rules
    assert [type(policy).__module__.split(".")[1] for policy in world.policies] == ["strategies"] * 3
    items = [item for item in shipped.items() if time_of(item) <= time_of(world.items[-1])]
    kinds = Counter(type(item) for item in world.items)
    assert kinds == Counter(type(item) for item in items)
    assert (kinds[MarketSlice], kinds[Action] > 0) == (300, True)
    limits = [agent.limits for agent in shipped.rules.agents]
    assert all(each.protective and each.protective.cooldown and each.max_share_of_volume for each in limits)
    assert all(each.max_realised_volatility for each in limits)


def test_in_the_default_profiles_levels_dividends_crosses_and_switches_happen():
    journal = Journal()
    tally = seconds(CASES["default profiles"], log=journal)[1].tally
    assert (tally.slices, tally.clipped > 0, tally.refused > 0) == (CASES["default profiles"].days, True, True)
    effects = Counter(type(effect) for _, steps in journal.steps for effect in steps)
    assert min(effects[kind] for kind in (Protected, Booked, Crossed, Switched)) > 0


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
