"""Notices: milestones, models that decay, changed correlations, and rebalances, each once, and none that trades."""

import numpy as np
import pytest

from quantd.daemon.engine.state.settings import Notices
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Publish
from tests.support.engine import World, block, walk


def made(close: np.ndarray, notices: Notices | None, weights: tuple[float, ...] = (0.5, 0.5)) -> World:
    world = World(
        block(close), [lambda view: np.array(weights)], house=Limits(collar=0.05), agent=Limits(collar=0.05),
        notices=notices,
    )  # fmt: skip
    return world.run()


def told(world: World, kind: str) -> list[Publish]:
    return [alert for alert in world.of(Publish) if alert.kind == kind]


def rising(days: int, daily: float) -> np.ndarray:
    return 100.0 * np.cumprod(np.full((days, 2), 1.0 + daily), axis=0)


@pytest.mark.requirement("R-184")
def test_each_milestone_is_announced_once_and_a_fall_below_it_does_not_announce_it_again() -> None:
    up = rising(30, 0.01)
    close = np.concatenate([up, up[::-1], up])
    milestones = told(made(close, Notices(milestone=0.05)), "milestone")
    grown = [alert.value for alert in milestones]
    assert len(milestones) >= 4
    assert grown == sorted(grown), "each is higher than the one before"
    assert {alert.level for alert in milestones} == {"INFO"}
    steps = [int(np.log(1.0 + value) / np.log(1.05) + 1e-9) for value in grown]
    assert len(set(steps)) == len(steps)


@pytest.mark.long
@pytest.mark.requirement("R-184")
def test_a_policy_decays_when_its_ratio_is_significantly_below_its_test_and_recovers() -> None:
    rng = np.random.default_rng(3)
    good, bad = rng.normal(0.002, 0.004, (90, 2)), rng.normal(-0.004, 0.004, (90, 2))
    close = 100.0 * np.cumprod(1.0 + np.concatenate([good, bad, good, good]), axis=0)
    world = made(close, Notices(decay=40, expected=(1.0,)))
    decays = told(world, "decay")
    assert [alert.level for alert in decays][:2] == ["WARNING", "INFO"]
    assert decays[0].bound == 1.0
    assert decays[0].value < 1.0
    assert not told(made(close, Notices(decay=40, expected=(float("nan"),))), "decay"), "no test figure, no notice"
    assert not told(made(close[:90], Notices(decay=40, expected=(1.0,))), "decay")


@pytest.mark.long
@pytest.mark.requirement("R-156")
@pytest.mark.parametrize("joint", [True, False])
def test_a_changed_correlation_is_told_and_its_end(joint: bool) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 0.01, (200, 2))
    common = np.repeat(rng.normal(0.0, 0.01, (40, 1)), 2, axis=1) if joint else rng.normal(0.0, 0.01, (40, 2))
    close = 100.0 * np.cumprod(1.0 + np.concatenate([noise, common, noise]), axis=0)
    alerts = told(made(close, Notices(correlation=0.6)), "correlation")
    assert [alert.level for alert in alerts] == ["WARNING", "INFO"] * (len(alerts) // 2)
    assert bool(alerts) == joint
    if joint:
        assert alerts[0].value - alerts[0].bound >= 0.6


def test_a_rebalance_names_its_orders_and_their_share_of_equity() -> None:
    rebalances = told(made(walk(30, 2, 8), Notices(rebalances=True)), "rebalance")
    assert rebalances
    assert rebalances[0].text.startswith("rebalance: 2 orders worth ")
    assert 0.9 < rebalances[0].value <= 1.0


def test_without_the_table_there_are_none_and_the_trades_are_the_same() -> None:
    close = walk(60, 2, 8)
    with_all = made(close, Notices(milestone=0.01, decay=20, expected=(1.0,), correlation=0.1, rebalances=True))
    without = made(close, None)
    assert not [alert for kind in ("milestone", "decay", "correlation", "rebalance") for alert in told(without, kind)]
    assert with_all.shell.state.equity_micro == without.shell.state.equity_micro
    assert with_all.shell.state.ledger.house.lots == without.shell.state.ledger.house.lots


def test_what_was_told_is_in_the_snapshot() -> None:
    world = made(rising(30, 0.01), Notices(milestone=0.05))
    state = world.shell.state
    assert thaw(state.rules, freeze(state)).noted == state.noted
    assert state.noted.milestones >= 4
