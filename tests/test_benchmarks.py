"""`make bench`: every part that it times is there, and has a budget."""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import beside, command
from benchmarks.command_parts import IMPORTS, REST, Stopwatch
from benchmarks.engine import CASES, seconds
from benchmarks.multi_agent import CLAIMED_EFFICIENCY, COLUMNS, NAMES, efficiencies, written
from benchmarks.parts.__main__ import SESSIONS, SHARES, gates, resolved
from benchmarks.parts.budgets import BUDGETS, INTERPRETED
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.timeline import time_of
from quantd.engine_build.recipe import UNCOMPILED
from quantd.trading.effects import Booked, Crossed, Protected, Switched
from quantd.trading.events import Action
from quantd.trading.market import MarketSlice
from tests.support.checkout import ROOT, copy_package
from tests.support.command_line import environment

TEXT = {"capture_output": True, "text": True}


def test_every_timed_function_is_there():
    for paths in SHARES.values():
        assert all(callable(resolved(path)[1]) for path in paths)


def test_every_part_has_a_budget_and_every_budget_a_part():
    gate_names = []
    assert list(gates(gate_names.append)) == []
    assert set(BUDGETS) - {*SESSIONS, *gate_names, *(f"daily: {name}" for name in SHARES)} == set()
    assert set(SESSIONS) <= set(BUDGETS)
    parts = {f"daily: {name}" for name in SHARES}
    assert parts <= {*BUDGETS, *INTERPRETED}
    assert set(INTERPRETED) <= {*SESSIONS, *parts, *gate_names}
    assert {part for part in BUDGETS if part.startswith("gate")} == {part for part in INTERPRETED if part in gate_names}
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
    assert all(
        agent_limits.protective and agent_limits.protective.cooldown and agent_limits.max_share_of_volume
        for agent_limits in limits
    )
    assert all(agent_limits.max_realised_volatility for agent_limits in limits)


@pytest.mark.long
def test_in_the_default_profiles_levels_dividends_crosses_and_switches_happen():
    journal = Journal()
    tally = seconds(CASES["default profiles"], log=journal)[1].tally
    assert (tally.slices, tally.clipped > 0, tally.refused > 0) == (CASES["default profiles"].days, True, True)
    effects = Counter(type(effect) for _, steps in journal.steps for effect in steps)
    assert min(effects[kind] for kind in (Protected, Booked, Crossed, Switched)) > 0


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


def test_the_time_of_a_part_has_neither_the_parts_nor_the_imports_in_it(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("benchmarks.command_parts.time.process_time", lambda: clock[0])

    def spend(seconds: float) -> None:
        clock[0] += seconds

    watch = Stopwatch()
    engine, imported = watch.timed(spend, "engine"), watch.timed(lambda inner: inner(), IMPORTS)
    figures = watch.timed(lambda: (spend(1.0), engine(2.0), imported(lambda: imported(lambda: spend(4.0)))), "figures")
    figures()
    spend(8.0)
    with watch.part(REST):
        pass
    assert watch.seconds == {REST: 8.0, "figures": 1.0, "engine": 2.0, IMPORTS: 4.0}


def test_documents_of_a_backtest_are_compared_in_the_keys_that_both_have_but_those_of_each_run():
    document = {"run": "a", "wall_s": 1.0, "symbol_bars_per_s": 5.0, "digest": "2be2", "orders": 3}
    other_document = {"run": "b", "wall_s": 2.0, "symbol_bars_per_s": 6.0, "digest": "2be2", "orders": 3, "doubts": []}
    assert command.differences(document, other_document) == []
    assert command.differences(document, {**other_document, "orders": 4}) == ["orders"]


def replies(took: list[float], **results: object) -> list[dict[str, object]]:
    """The answers of one side in the rounds."""
    result = {"digest": "2be2", "orders": 3, "refused": 0, "clipped": 1, "equity_micro": 5}
    return [{"seconds": duration, **result, **results} for duration in took]


def test_a_row_of_two_engines_has_medians_least_and_their_ratios():
    row = beside.Row("quiet", 1_000, "whole")
    base_replies, own_replies = replies([0.09, 0.02, 0.03, 0.04, 0.05]), replies([0.02, 0.01, 0.08, 0.03, 0.01])
    figures = ["40.0", "20.0", "20.0", "10.0", "2.00", "2.00"]
    assert beside.cells(row, base_replies, own_replies) == ["quiet", "whole", "1,000", *figures, "equal"]
    assert beside.differences("quiet", base_replies, own_replies) == []
    assert beside.cells(row._replace(form="step"), base_replies, replies([0.1], orders=4))[-1] == "differ"


def test_engines_differ_where_a_result_differs_from_the_other_side_or_from_another_round():
    there = replies([0.1, 0.1])
    for key, value in (("digest", "77aa"), ("orders", 4), ("refused", 1), ("clipped", 0), ("equity_micro", 6)):
        (line,) = beside.differences("quiet", there, replies([0.1, 0.1], **{key: value}))
        assert line == f"quiet: {key} {there[0][key]} -> {value}"
        mixed = [*replies([0.1]), *replies([0.1], **{key: value})]
        assert len(beside.differences("quiet", there, mixed)) == len(beside.differences("quiet", mixed, mixed)) == 1


def test_the_rows_of_a_comparison_are_whole_runs_shorter_ones_by_step_and_one_with_answers_in_blocks():
    assert beside.rows(["one symbol", "default profiles", "three daily"]) == [
        ("one symbol", 100_000, "whole"), ("one symbol", 5_000, "step"),
        ("default profiles", 818, "whole"), ("default profiles", 600, "step"),
        ("three daily", 5_000, "whole"), ("three daily", 600, "step"), ("three daily", 5_000, "blocks"),
    ]  # fmt: skip
    assert {row.name for row in beside.rows([], 50)} == set(CASES)
    assert {row.sessions for row in beside.rows([], 50)} == {50}


@pytest.mark.long
def test_every_item_of_a_stepped_row_goes_through_step():
    case = CASES["quiet"]
    _, stepped = seconds(case, 40, stepped=True)
    _, plain = seconds(case, 40)
    assert (stepped.state.bars_taken, plain.state.bars_taken > 30) == (0, True)
    assert stepped.digest.hexdigest() == plain.digest.hexdigest()


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nothing"], "--beside nothing: neither a commit nor the folder of a checkout"),
        (["HEAD", "--case", "none"], "--case none: there is no such case; the cases are: quiet; monthly"),
        (["HEAD", "--rounds", "4"], "--rounds 4: fewer than 5 rounds show noise; give 5 or more"),
    ],
)
def test_a_comparison_that_cannot_be_made_names_the_word_and_the_remedy(words, why):
    process = subprocess.run([sys.executable, "-m", "benchmarks.engine", "--beside", *words], cwd=ROOT, **TEXT)
    assert (process.returncode, process.stderr.startswith(why), process.stderr.count("\n")) == (1, True, 1)


def checkout_with_dearer_fills(folder: Path) -> Path:
    """A copy of the package whose paper broker takes a commission that no configuration names."""
    other = copy_package(folder)
    file = other / "adapters/brokers/paper/broker.py"
    text, dear = file.read_text(), "Fills(universe, Costs(commission_bp=5.0), sessions)"
    assert "Fills(universe, costs, sessions)" in text
    file.write_text(text.replace("Fills(universe, costs, sessions)", dear))
    return other


@pytest.mark.long
def test_an_engine_with_dearer_fills_has_the_same_orders_and_another_equity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of each form on each side; the long form below is the command with its rounds."""
    monkeypatch.setenv(UNCOMPILED, "1")
    sides = beside.Side("dear", checkout_with_dearer_fills(tmp_path)), beside.Side("this checkout", ROOT)
    rows = beside.rows(["daily"], 64)
    assert [row.form for row in rows] == ["whole", "step"]
    for row in rows:
        there, here = ([beside.reply_of(side, row)] for side in sides)
        assert (there[0]["engine"], here[0]["engine"]) == ("uncompiled", "uncompiled")
        assert beside.cells(row, there, here)[-1] == "differ"
        lines = beside.differences("daily", there, here)
        keys = re.findall(r"^daily: (\w+) \w+ -> \w+$", "\n".join(lines), re.MULTILINE)
        assert len(lines) == len(keys)
        assert sorted(keys) == ["digest", "equity_micro"]


@pytest.mark.slow
def test_the_command_prints_the_rows_of_an_engine_with_dearer_fills_and_what_differs(tmp_path: Path) -> None:
    """The other side is the folder of a checkout; the tree of a commit lies in such a folder too."""
    other = checkout_with_dearer_fills(tmp_path)
    options = ["--beside", str(other), "--case", "daily", "--sessions", "64"]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", *options], cwd=ROOT, env=environment() | {UNCOMPILED: "1"}, **TEXT
    )  # fmt: skip
    assert process.returncode == 1, process.stderr
    assert f"there: {other} (uncompiled); here: this checkout (uncompiled)" in process.stdout
    assert len(re.findall(r"^daily +(?:whole|step) +64(?: +\d+\.\d+){6} +differ$", process.stdout, re.MULTILINE)) == 2
    assert set(re.findall(r"^daily: (\w+) \w+ -> \w+$", process.stdout, re.MULTILINE)) == {"digest", "equity_micro"}
