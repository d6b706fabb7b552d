"""Quiet samples taken together leave the same records, digest and state as samples taken one by one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine.quiet.kernel import QUIET
from quantd.daemon.engine.quiet.run import plain, run_quiet
from quantd.daemon.runtime import loop
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import PROFILES, Correlation, Limits, Protective, Tail, override
from quantd.trading.codec import encode
from quantd.trading.effects import Effect, Valued
from quantd.trading.events import Action, Event, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import DAY_NS
from tests.support.engine import START, World, block, walk

LIMITS = Limits(
    max_position_weight=0.3, max_gross_exposure=1.7, max_herfindahl=0.4, max_drawdown=0.2, max_daily_loss=0.04,
    max_weekly_loss=0.08, var=Tail(limit=0.02), cvar=Tail(limit=0.05), max_volatility=0.2,
    correlation=Correlation(joint_weight=0.5), in_flight=1.0, max_cash_debit=1.0,
)  # fmt: skip


class Steps:
    """A log of all steps as the journal encodes them."""

    def __init__(self, records: bool = True) -> None:
        self.records = records
        self.steps: list[bytes] = []
        self.valued: list[Valued] = []

    def answer(self, ask: object) -> None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.steps.append(encode(event, effects))
        self.valued.extend(each for each in effects if isinstance(each, Valued))


def decided_every(items: list[Item], every: int, agents: int) -> list[Item]:
    """The items with all agents due at every n-th sample only."""
    ticks = [k for k, item in enumerate(items) if type(item) is Tick]
    due = {ticks[k] for k in range(0, len(ticks), every)}
    return [replace(item, due=tuple(range(agents))) if k in due else item for k, item in enumerate(items)]


def both(world: World, every: int, steps: tuple[Steps, Steps]) -> tuple[int, int]:
    """Take the items of a world one by one and together; (rows taken together, all rows)."""
    items = decided_every(list(world.items()), every, len(world.rules.agents))
    single, together = world.fresh(steps[0]), world.fresh(steps[1])
    for item in items:
        single.take(item)
    counted = [0]

    def counting(*arguments: Any) -> list[list[Effect]]:
        done = run_quiet(*arguments)
        counted[0] += len(done)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run_quiet", counting)
        patch.setattr(QUIET, "arrays", True)
        together.take_all(items)
    assert single.digest.hexdigest() == together.digest.hexdigest()
    assert single.tally == together.tally
    assert single.state.ledger.freeze() == together.state.ledger.freeze()
    if steps[1].records:
        assert single.keep() == together.keep()
    return counted[0], sum(type(item) is MarketSlice for item in items)


def world(
    seed: int, days: int = 260, symbols: int = 4, agents: int = 1, limits: Limits = LIMITS, **more: object
) -> World:
    rng = np.random.default_rng(seed)
    close = walk(days, symbols, seed)
    if seed % 3 == 0:
        close[rng.integers(0, days, 5), rng.integers(0, symbols, 5)] = np.nan
    acts = [
        lambda view, k=k: np.full(symbols, 0.8 / symbols) if k else _tilted(view.samples, symbols)
        for k in range(agents)
    ]
    actions = [
        Action(START + 100 * DAY_NS + DAY_NS // 3, START + 100 * DAY_NS, 0, "dividend", cash_nano=500_000_000),
        Action(START + 150 * DAY_NS + DAY_NS // 3, START + 150 * DAY_NS, 1 % symbols, "split", numerator=2),
    ]
    made = World(
        block(close), acts, house=limits, costs=Costs(commission_bp=1.0, spread_bp=2.0),
        actions=actions if seed % 2 else (), **more,
    )  # fmt: skip
    rules = replace(made.rules, agents=tuple(replace(each, scheduled=True) for each in made.rules.agents))
    made.rules = rules
    return made


def _tilted(count: int, symbols: int) -> np.ndarray:
    weights = 1.0 + 0.5 * np.sin(np.arange(symbols) * 1.7 + count)
    return weights / weights.sum() * 0.9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("agents", [1, 3])
def test_samples_taken_together_are_those_taken_one_by_one(seed, agents):
    steps = Steps(), Steps()
    together, rows = both(world(seed, agents=agents), 21, steps)
    assert steps[0].steps == steps[1].steps
    assert seed % 3 == 0 or together > rows / 3  # a gap in the returns of the year before ends them


@pytest.mark.parametrize("seed", range(4))
def test_without_records_only_records_of_limits_are_left_out(seed):
    steps = Steps(), Steps(records=False)
    together, rows = both(world(seed), 21, steps)
    assert steps[0].valued == steps[1].valued
    assert seed % 3 == 0 or together > rows / 3  # a gap in the returns of the year before ends them


def test_protective_levels_end_a_quiet_run():
    steps = Steps(), Steps()
    limits = override(LIMITS, protective=Protective(stop_loss=0.05, take_profit=0.08))
    together, _ = both(world(4, limits=limits), 42, steps)
    assert steps[0].steps == steps[1].steps
    assert together > 50


def test_a_trip_of_the_switch_is_found_at_its_sample():
    steps = Steps(), Steps()
    limits = override(LIMITS, max_drawdown=0.04, max_daily_loss=0.015)
    both(world(2, limits=limits), 42, steps)
    assert steps[0].steps == steps[1].steps
    assert any(b"Switched" in step for step in steps[0].steps)


def test_a_balanced_profile_is_taken_one_by_one():
    steps = Steps(), Steps()
    together, _ = both(world(1, limits=override(PROFILES["balanced"], allow_short=None)), 21, steps)
    assert steps[0].steps == steps[1].steps
    assert together == 0


def test_a_tick_with_a_job_or_an_open_date_is_not_plain():
    tick = Tick(5, True, 0, 5)
    assert plain(tick)
    for other in ({"jobs": ("snapshot",)}, {"final": 9}, {"cash_rate": 1}, {"sample": False}):
        assert not plain(replace(tick, **other)), other


def test_the_worlds_have_levels_that_change_within_a_month():
    """Else the comparison would show nothing about levels."""
    steps = Steps(), Steps()
    both(world(1), 21, steps)
    assert sum(b"Publish" in step for step in steps[0].steps) > 1
    assert all(a.ts < b.ts for a, b in pairwise(steps[0].valued))
