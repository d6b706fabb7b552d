"""The power line names the weakest signal that could have been seen, what was found of it, or why there is none."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from quantd.models.history.panel import Panel
from quantd.models.history.splits import Split, Splits, day_of
from quantd.trading.execution import Costs
from quantd.training.plans.plan import MarketPlan
from quantd.training.power import power_line
from quantd.training.power.attainable import attained
from quantd.training.power.cells import cell_of
from quantd.training.power.findings import Finding, append
from quantd.training.power.plants import Plant, planted
from quantd.training.power.power_line import STRENGTHS, market_line, power_of
from tests.support.panels import panel_of
from tests.support.studies import plan

CHEAP = MarketPlan(costs=Costs(commission_bp=5.0), capital=10_000_000.0)
FINDING = Finding("", "small", "ppo", "signal", "feature", 1.0, 15.0, 1, 1.1, 0.1, 2.1, True, 0.8, 1.2, 300.0, 9.0, "")


def splits_of(panel: Panel, *rows: int) -> Splits:
    days = [day_of(panel.day_ns[row]) for row in rows]
    parts = [Split(name, *days[2 * k : 2 * k + 2]) for k, name in enumerate(("train", "validation", "test"))]
    return Splits(*parts)


PANEL = panel_of(3, 900, 4, actions=False)
PARTS = splits_of(PANEL, 20, 499, 500, 599, 600, 899)


@pytest.mark.long
def test_the_line_has_the_weakest_strength_that_the_reference_earns_and_the_next_one_that_it_does_not() -> None:
    power = power_of(PANEL, PARTS, CHEAP)
    for ic in STRENGTHS:
        signal = planted(Plant(ic=ic), PANEL, range(20, 500)).expected
        (cell,) = attained(PANEL, range(20, 500), range(600, 900), [signal], CHEAP)
        assert power.least is not None
        if ic <= power.least:
            assert cell.passes == (ic == power.least), ic
    assert power.weaker is not None
    line = market_line(PANEL, PARTS, CHEAP)
    where = f"{PARTS.test.first} to {PARTS.test.last}, 4 symbols, 5 bp a side"
    assert line.startswith(f"{where}: with a daily signal of IC {power.least:g} a rule beats equal weight")
    assert f", with IC {power.weaker:g} none does." in line
    assert "not measured" in line


@pytest.mark.long
def test_where_costs_eat_a_certain_signal_the_line_says_that_none_could_have_been_seen() -> None:
    dear = msgspec.structs.replace(CHEAP, costs=Costs(commission_bp=3_000.0))
    line = market_line(PANEL, PARTS, dear)
    assert "with a daily signal no rule beats equal weight, not even with IC 1." in line


@pytest.mark.parametrize(
    ("panel", "rows", "reason"),
    [
        (PANEL, (20, 499, 500, 599, 600, 630), "the test part has 31 sessions, and an interval needs 41"),
        (PANEL, (20, 60, 70, 80, 600, 899), "S0 has fewer than 60 returns in the training part"),
        (panel_of(3, 900, 1, actions=False), (20, 499, 500, 599, 600, 899), "there is one symbol"),
    ],
)
def test_a_market_without_a_line_says_why(panel: Panel, rows: tuple[int, ...], reason: str) -> None:
    line = market_line(panel, splits_of(panel, *rows), CHEAP)
    assert line.startswith("No power was computed")
    assert reason in line
    assert "IC" not in line


def test_no_fault_of_a_line_is_an_error() -> None:
    broken = msgspec.structs.replace(CHEAP, capital=float("inf"))
    assert market_line(PANEL, PARTS, broken).startswith("No power was computed: ")
    gone = plan(**{"data.bars": "gone.parquet"})
    assert power_line.power_line(gone, ()).startswith("No power was computed: ")


def found(count: int, **changes: object) -> list[Finding]:
    return [
        msgspec.structs.replace(FINDING, seed=seed, growth=1.0 + 0.1 * seed, **changes)  # type: ignore[arg-type]
        for seed in range(1, count + 1)
    ]


@pytest.mark.long
def test_the_share_of_the_plans_own_findings_is_named_with_the_number_of_seeds() -> None:
    task = plan()
    cell = cell_of(task, "plan", Plant(ic=1.0), 15.0)
    assert power_line.power_line(task, ()).endswith("The share that ppo earns was not measured.")
    assert power_line.power_line(task, found(10, cell="of another plan")).endswith("was not measured.")
    assert power_line.power_line(task, found(3, cell=cell)).endswith(
        "ppo earned 55% of the gain at IC 1 (3 of 10 seeds)."
    )
    assert power_line.power_line(task, found(11, cell=cell)).endswith(
        "ppo earned 75% of the gain at IC 1 (median of 11 seeds)."
    )
    other = plan(**{"learner.gamma": 0.5})
    assert power_line.power_line(other, found(3, cell=cell)).endswith("was not measured.")
    named = msgspec.structs.replace(task, name="renamed", seeds=(7,))
    assert "55%" in power_line.power_line(named, found(3, cell=cell))


def test_findings_of_the_results_folder_are_read_and_a_broken_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    task, path = plan(), tmp_path / "power" / "findings.jsonl"
    append(path, found(1, cell=cell_of(task, "plan", Plant(ic=1.0), 15.0))[0])
    assert power_line.power_line(task).endswith("ppo earned 50% of the gain at IC 1 (1 of 10 seeds).")
    path.write_text("{}\n")
    line = power_line.power_line(task)
    assert "a rule beats equal weight" in line
    assert "findings.jsonl:1" in line


@pytest.mark.long
def test_the_line_of_a_search_is_of_the_validation_part_and_reads_nothing_later(tmp_path: Path) -> None:
    task = plan(**{"splits.validation.last": "2007-09-28"})
    line = power_line.power_line(task, (), "validation")
    assert line.startswith("2007-07-02 to 2007-09-28, 3 symbols")
    later = plan(**{"splits.test.first": "2009-01-02", "splits.test.last": date(2010, 12, 31).isoformat()})
    assert power_line.power_line(later, (), "validation") == line
