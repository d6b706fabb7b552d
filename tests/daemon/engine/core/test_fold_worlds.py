"""Random worlds, in which the fold meets lots of all sizes, short positions, gaps, volumes and rests of decisions."""

import pytest

from quantd.risk.limits import ruleset as rules_module
from quantd.risk.limits.catalogue import Limits
from quantd.trading.execution import Costs
from quantd.trading.sessions import DAY_NS
from tests.daemon.engine.core.drawn_worlds import FEW, GROUPED, SETS, TIGHT, Kind, world_of
from tests.support.fold import Steps, Taken, both


def compared(kind: Kind) -> Taken:
    seen: list[object] = []
    steps = Steps(), Steps(rows_only=True)
    taken = both(world_of(kind, seen), kind.every, steps, kind.chunk)
    seen.sort()
    assert seen[::3] == seen[1::3] == seen[2::3]
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    return taken


SLOW = (
    Limits(max_gross_exposure=1.0, duplicate_window_ns=DAY_NS, max_price_age_ns=0),
    Limits(max_gross_exposure=1.0, duplicate_window_ns=DAY_NS + 1),
    Limits(max_gross_exposure=1.0, duplicate_window_ns=3 * DAY_NS),
)
COMMISSIONS = Costs(commission_bp=2.0, commission_min_micro=900_000)

WORLDS = [
    Kind(0, (74, 74, 44, 24), short=0.4),
    Kind(1, (74, 74, 44, 97), agents=3, sets=SETS),
    Kind(2, (74, 74, 54, 77), agents=2, sets=SETS[::-1], short=0.3, gaps=0.05),
    Kind(3, (74, 74, 44, 48), agents=3, chunk=11, idle=0.7, gaps=0.02, dividends=9),
    Kind(4, (74, 74, 8, 56), volume=3e3, costs=Costs(participation=0.2, impact=9.0)),
    Kind(5, (74, 24, 46, 37), agents=2, every=3, chunk=17, costs=COMMISSIONS, sets=SETS[1:]),
    Kind(6, (74, 74, 0, 132), agents=4, sets=SETS, min_trade=0.02, costs=Costs(spread_bp=11.0, latency_ns=DAY_NS)),
    Kind(7, (74, 74, 49, 21), agents=2, sets=SETS[2::-2], short=0.5, idle=0.5),
    Kind(8, (74, 74, 54, 38), sets=SETS[3:], gaps=0.1, symbols=2),
    Kind(9, (74, 18, 19, 26), agents=3, sets=SETS[1:2], follow_ups=0, every=4),
    Kind(10, (74, 37, 68, 47), sets=SETS[1:2], every=2, chunk=5),
    Kind(11, (74, 74, 43, 27), symbols=1),
    Kind(12, (74, 64, 36, 56), sets=SETS[:2], holds=0.3),
    Kind(13, (74, 34, 109, 64), agents=3, chunk=33, holds=0.4, sets=GROUPED),
    Kind(14, (74, 36, 99, 45), agents=3, sets=SLOW, holds=0.6),
    Kind(15, (74, 46, 49, 0), agents=2, sets=SETS[2:3], scale=(0.0102, 0.1), idle=0.3),
    Kind(16, (74, 74, 49, 0), sets=SETS[2:3], short=0.1, borrow=50.0, idle=0.8),
    Kind(17, (74, 14, 19, 18), sets=TIGHT, follow_ups=1, every=5),
    Kind(18, (74, 37, 34, 22), agents=2, sets=(TIGHT[0], GROUPED[1]), idle=0.9, every=2),
    Kind(21, (74, 74, 74, 61), agents=2, sets=FEW),
    Kind(22, (74, 74, 38, 18), agents=3, chunk=21, sets=SETS[2:], idle=0.8, min_trade=0.05),
    Kind(23, (74, 74, 54, 91), sets=SETS[3:0:-2], symbols=3, chunk=40),
    Kind(19, (74, 24, 31, 13), agents=2, sets=SETS[:1], idle=0.95, every=3, holds=0.2, dividends=5),
    Kind(20, (19, 19, 19, 16), costs=Costs(spread_bp=1.0, commission_min_micro=1), sets=SETS[1:2], days=20, symbols=3),
]


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("kind", WORLDS, ids=lambda kind: str(kind.seed))
def test_the_fold_gives_the_results_of_the_engine_and_takes_what_it_knows(kind):
    taken = compared(kind)
    assert (taken.samples, taken.rounds, taken.fills, taken.measurements) == kind.taken


@pytest.mark.long
@pytest.mark.parametrize("most", [1, 2, 3])
def test_sets_of_limits_are_told_apart_while_their_rules_are_forgotten(monkeypatch, most):
    """Rules that are made again may have the identity of others."""
    monkeypatch.setattr(rules_module, "_ready", {})
    monkeypatch.setattr(rules_module, "_MOST_READY", most)
    assert compared(Kind(1, (), agents=3, sets=SETS)).rounds > 60
