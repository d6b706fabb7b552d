"""A volatile market cuts what the house may hold: nothing is sold by force, and reductions pass."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.market_regime import market_volatility, regime_text
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.settings import MarketRegime
from quantd.daemon.engine.state.snapshot import freeze, in_force, limits_from, thaw, with_limits
from quantd.daemon.recovery.tightening import tightened
from quantd.risk.limits.catalogue import Limits, Reason, value_of
from quantd.trading.effects import Planned, Publish
from quantd.trading.events import Tick
from quantd.trading.statistics import volatility
from tests.support.engine import World, block
from tests.support.fold import Steps, both

CALM, WILD, DAYS = 30, 60, 110
RULES = MarketRegime(above=0.3, exposure=0.5, lookback=20)
LIMITS = Limits(max_gross_exposure=0.9, collar=0.0, reduce_collar=0.0, flatten_collar=0.0)


def closes(symbols: int = 2) -> np.ndarray:
    """Volatility near 8 % a year; 60 % in the samples from CALM to WILD."""
    rng = np.random.default_rng(5)
    step = np.where((np.arange(DAYS) >= CALM) & (np.arange(DAYS) < WILD), 0.04, 0.005)
    moves = rng.choice([-1.0, 1.0], (DAYS, 1)) * step[:, None] + rng.normal(0.0, 0.001, (DAYS, symbols))
    return np.round(100.0 * np.exp(np.cumsum(moves, axis=0)), 2)


def world(weights: Sequence[float] = (0.4, 0.4), rules: MarketRegime | None = RULES, **more: Any) -> World:
    return World(block(closes()), [lambda view: np.array(weights)], house=LIMITS, regime=rules, **more)


def alerts(run: World) -> list[Publish]:
    return [effect for effect in run.effects if isinstance(effect, Publish) and effect.kind == "regime"]


def by_sample(run: World, read: Any) -> list[Any]:
    """What `read` finds in the state after each sample."""
    readings = []
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, Tick):
            readings.append(read(run.shell.state))
    return readings


def gross(state: State) -> float:
    return state.exposure() * 1e6 / state.equity_micro


@pytest.mark.requirement("R-156")
def test_orders_that_add_risk_are_cut_in_a_volatile_market_and_pass_again_in_a_calm_one() -> None:
    run = world()
    seen = by_sample(run, lambda state: (state.noted.volatile, gross(state), limits_in_force(state, HOUSE)))
    volatile = [sample[0] for sample in seen]
    assert volatile[:21] == [True] * 20 + [False], "unknown, then calm"
    first = volatile.index(True, 21)
    last = first + volatile[first:].index(False)
    assert CALM < first < WILD < last < WILD + 21
    assert not any(volatile[last:])
    assert [value_of(sample[2], "volatile_exposure") for sample in seen] == [
        0.45 if is_volatile else None for is_volatile in volatile
    ]
    # until the figure is known half of the limit may be held, then the whole target
    assert max(sample[1] for sample in seen[:21]) < 0.46
    assert seen[first - 1][1] == pytest.approx(0.8, abs=0.03)
    # no position is sold by force
    assert seen[last - 1][1] > 0.6
    reasons = [code for effect in run.effects if isinstance(effect, Planned) for code in effect.reason]
    assert reasons.count(Reason.VOLATILE) > 5
    assert seen[-1][1] == pytest.approx(0.8, abs=0.03)


@pytest.mark.requirement("R-156")
def test_a_reduction_passes_whole_in_a_volatile_market() -> None:
    run = World(
        block(closes()), [lambda view: np.array([0.4, 0.4]) if view.sample < 45 else np.array([0.1, 0.1])],
        house=LIMITS, regime=RULES,
    )  # fmt: skip
    seen = by_sample(run, lambda state: (state.noted.volatile, gross(state)))
    assert seen[44][0]
    assert seen[44][1] > 0.6
    assert seen[50][0]
    assert seen[50][1] == pytest.approx(0.2, abs=0.03)


@pytest.mark.requirement("R-156")
def test_each_change_is_an_alert_with_the_figure_and_the_regime_is_left_below_the_margin() -> None:
    run = world()
    values = by_sample(run, lambda state: (market_volatility(state, RULES), state.noted.volatile, regime_text(state)))
    regime_alerts = alerts(run)
    assert [alert.level for alert in regime_alerts] == ["WARNING", "INFO", "WARNING", "INFO"]
    assert "the volatility of the market is unknown" in regime_alerts[0].text
    assert "volatile market: the house may hold 50% of its gross exposure" in regime_alerts[2].text
    assert regime_alerts[2].value is not None
    assert regime_alerts[2].value >= 0.3
    assert regime_alerts[3].value is not None
    assert regime_alerts[3].value < 0.27 == regime_alerts[3].bound
    for (_, before, _), (value, now, text) in pairwise(values):
        assert now == (not value < (0.27 if before else 0.3))
        assert text.startswith("volatile (" if now else "calm (")


@pytest.mark.long
def test_the_figure_is_of_the_closes_up_to_the_sample_only() -> None:
    market, ends = closes(), {}
    for days in (50, DAYS):
        run = World(block(market[:days]), [lambda view: np.array([0.4, 0.4])], house=LIMITS, regime=RULES)
        ends[days] = by_sample(run, lambda state: market_volatility(state, RULES))
    assert ends[50][20:] == ends[DAYS][20:50]
    mean = (market[1:50] / market[:49] - 1.0).mean(axis=1)
    assert ends[50][49] == pytest.approx(volatility(mean[-20:]))
    alone = replace(RULES, benchmark=1)
    run = World(block(market[:50]), [lambda view: np.array([0.4, 0.4])], house=LIMITS, regime=alone)
    last = by_sample(run, lambda state: market_volatility(state, alone))[-1]
    assert last == pytest.approx(volatility((market[1:50] / market[:49] - 1.0)[-20:, 1]))


def test_the_limit_ends_with_the_regime_beside_the_caps_of_mode_live() -> None:
    state = world(live=Allowance(account_micro=50_000 * 1_000_000)).shell.state
    bounds = []
    for state.noted.volatile in (True, False, True):
        limits = limits_in_force(state, HOUSE)
        bounds.append((value_of(limits, "volatile_exposure"), limits.max_account_notional is not None))
    assert bounds == [(0.45, True), (None, True), (0.45, True)]


@pytest.mark.long
def test_the_bars_of_the_fold_are_those_of_the_engine() -> None:
    steps = Steps(rows_only=True), Steps(rows_only=True)
    assert both(world(), 3, steps).samples > 0
    assert steps[0].valued == steps[1].valued
    assert both(world(rules=None), 3, (Steps(rows_only=True), Steps(rows_only=True))).samples > 0


def test_a_restart_keeps_the_regime_and_a_recorded_segment_has_its_own_rules() -> None:
    run = world()
    run.shell.state.noted.volatile = True
    assert thaw(run.rules, freeze(run.shell.state)).noted.volatile
    other = replace(run.rules, regime=None)
    assert with_limits(other, in_force(run.rules)).regime == RULES
    assert with_limits(run.rules, in_force(other)).regime is None


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        (None, True),
        ({"above": 0.4}, True),
        ({"exposure": 0.6}, True),
        ({"margin": 0.05}, True),
        ({"lookback": 60}, True),
        ({"above": 0.2, "exposure": 0.4, "margin": 0.2}, False),
    ],
)
def test_a_live_start_with_a_looser_regime_waits(change: dict[str, float] | None, waits: bool) -> None:
    before = world().rules
    after = replace(before, regime=None if change is None else replace(RULES, **change))
    names = ["a0"]
    tight, looser = tightened((limits_from(in_force(before)), names), (limits_from(in_force(after)), names))
    assert (looser == ("risk.regime",)) == waits
    assert (tight.regime == RULES) == waits
