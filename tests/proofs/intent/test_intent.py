"""What is asked is held or named, over random books; and the proof finds each mend that is planted back."""

from collections.abc import Callable
from math import inf

import pytest

from quantd.daemon.engine import rounds
from quantd.daemon.engine.core.lots import Targets
from quantd.daemon.engine.core.round_plan import Plan
from quantd.daemon.engine.state import new_columns
from tests.proofs.intent.strangers import NAMED, found, rows
from tests.proofs.intent.worlds import drawn, played


def kinds(worlds: range, seed: int = 23) -> dict[str, int]:
    """The number of faults of each kind in some worlds."""
    counts: dict[str, int] = {}
    for number in worlds:
        for fault in played(drawn(seed, number)):
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
    return counts


def test_what_is_asked_is_held_or_named():
    assert kinds(range(200)) == {}


def hold_drops(patch: pytest.MonkeyPatch) -> None:
    """The answer HOLD drops the rest of the last target."""
    patch.setattr(
        rounds, "follow_ups", lambda state, due, only=None: [] if only is not None else follow_ups(state, due)
    )


follow_ups = rounds.follow_ups


def collar_on_targets(patch: pytest.MonkeyPatch) -> None:
    """A target is scaled at worst prices."""

    def rooms(agent, house):
        gross, net = room_of(agent, house)
        return gross / (1.0 + 2.0 * agent.collar), net / (1.0 + agent.collar)

    patch.setattr(new_columns, "room_of", rooms)


room_of = new_columns.room_of


def no_rest(patch: pytest.MonkeyPatch) -> None:
    """What worst prices keep back is no rest."""
    patch.setattr(Plan, "least_rest", lambda self, agent: inf)


def no_sum(patch: pytest.MonkeyPatch) -> None:
    """Trades below min_trade are omitted, however many there are."""
    patch.setattr(Targets, "join", lambda self, held, px, least: None)


def no_fees(patch: pytest.MonkeyPatch) -> None:
    """A position aims at its limit, and leaves no fees for the purchases of others."""
    patch.setattr(new_columns, "heaviest_of", lambda limits: inf)


@pytest.mark.uncompiled
@pytest.mark.parametrize("plant", [hold_drops, collar_on_targets, no_rest, no_sum, no_fees])
def test_a_mend_that_is_planted_back_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    plant(monkeypatch)
    assert kinds(range(200))


SHORT = (
    "40/30/30, month, 1,500, collar", "40/30/30, day, 100,000, collar", "20 equal, month, 100,000, collar",
    "top 3, week, 100,000", "own file that holds between, month, 50,000,000, collar", "share beside a coin, month",
    "cheap coins, month",
)  # fmt: skip
"""Rows of the table of strangers: each kind of portfolio, period and capital."""


def test_what_a_stranger_asks_is_held_or_named(tmp_path):
    table = {row.name: row for row in rows(tmp_path)}
    for name in SHORT:
        figures = found(table[name], tmp_path)
        assert figures.gap <= table[name].bound or figures.causes.get("not named", 0.0) <= NAMED, (name, figures)
        assert abs(figures.gain - 1.0) < 0.03, (name, figures)


def test_a_gap_that_no_plan_names_is_found(tmp_path):
    row = next(row for row in rows(tmp_path) if row.name == "20 equal, month, 1,500, collar")
    figures = found(row._replace(cash=1e5, settings={"agents.policy.min_trade": 0.04}), tmp_path)
    assert figures.causes["not named"] > NAMED
