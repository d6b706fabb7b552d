"""`plan` of what is worked over time, or sent into an auction: the whole is told, not the child that is due."""

import numpy as np
import pytest

from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.policies.loading import answer
from quantd.daemon.views.preview import PlanNow, plan_now
from quantd.risk.limits.catalogue import PROFILES, override
from quantd.trading.execution import Costs
from tests.support.minutes import Minutes, at, drift, minutes


def planned(style: str, **limits: object) -> PlanNow:
    house = override(PROFILES["research"], **limits)
    acts = [lambda view: np.array([0.5, 0.2])]
    run = Minutes(minutes(drift(1, 2, 1)), acts, Execution(style=style), [], house=house)  # type: ignore[arg-type]
    for item in run.items():
        run.shell.take(item)
        if run.shell.state.now >= at(0, 100):
            break
    state = run.shell.state
    return plan_now(state.rules, freeze(state), lambda ask: answer(run.policies[ask.agent], ask), Costs(), "run")


@pytest.mark.parametrize("style", ["chase", "twap", "vwap", "participation"])
def test_what_would_be_worked_is_told_whole(style: str) -> None:
    straight, worked = planned("marketable"), planned(style)
    assert [(o.symbol, o.side, o.qty, o.limit) for o in worked.orders] == [
        (o.symbol, o.side, o.qty, o.limit) for o in straight.orders
    ]
    assert [o.style for o in worked.orders] == [style, style]
    assert [o.style for o in straight.orders] == ["", ""]
    assert worked.value == straight.value
    assert [row.after for row in worked.limits] == [row.after for row in straight.limits]


def test_what_a_limit_cuts_of_the_whole_is_told_once() -> None:
    worked = planned("twap", max_position_weight=0.3)
    assert [(r.who, r.symbol, r.reason) for r in worked.refused] == [
        (r.who, r.symbol, r.reason) for r in planned("marketable", max_position_weight=0.3).refused
    ]
    assert worked.refused


def test_an_order_for_an_auction_is_named() -> None:
    assert [o.style for o in planned("close").orders] == ["close", "close"]
