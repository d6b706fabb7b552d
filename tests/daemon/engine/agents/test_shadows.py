"""Shadow agents: the same market, the same gate and the same fills as if they traded, and not a trace of them in the
house."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, in_force
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.trading.codec import decode
from quantd.trading.effects import Ask, Effect, Filled, Planned, Publish, Shadowed, Switched, Valued
from quantd.trading.events import Action, Operator, Reloaded, ShadowReport, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket
from tests.support.engine import CASH, OPEN, Kept, World, block, walk
from tests.support.examples import examples

TIGHT = Limits(max_position_weight=0.4, max_gross_exposure=0.9, max_drawdown=0.08, max_share_of_volume=0.01)
COSTS = Costs(commission_bp=2.0, spread_bp=4.0, slippage_bp=1.0, participation=0.01, slippage_noise=0.5, seed=4)


def rising(view):
    """All of the book in what rose most."""
    weights = np.zeros(len(view.prices))
    weights[int(np.argmax(np.nan_to_num(view.returns(3).sum(axis=0), nan=-9.0)))] = 0.9
    return weights


def even(view):
    return np.full(len(view.prices), 0.8 / len(view.prices))


def falling(view):
    weights = np.zeros(len(view.prices))
    weights[int(np.argmin(np.nan_to_num(view.returns(3).sum(axis=0), nan=9.0)))] = 0.9
    return weights


def broken(view):
    raise ValueError("no")


def world(acts=(rising, even), shadows=(falling,), days=60, seed=1, limits=TIGHT, **more):
    return World(
        block(walk(days, 3, seed), volume=np.full((days, 3), 2e5)), acts, house=limits, agent=limits, costs=COSTS,
        shadows=shadows, **more,
    )  # fmt: skip


def of_house(effects):
    """What is left without shadows."""
    names = ("s0", "s1")
    return [
        e
        for e in effects
        if not isinstance(e, Shadowed)
        and not (isinstance(e, Publish) and e.agent in names)
        and not (isinstance(e, Ask) and e.agent >= 2)
    ]


def plain(effect: Effect) -> object:
    return (effect.round, effect.agent, effect.view.weights.tobytes()) if isinstance(effect, Ask) else effect


@pytest.mark.long
@settings(max_examples=examples(5), deadline=None)
@given(st.integers(0, 10_000))
def test_a_house_with_shadows_is_to_the_last_effect_the_house_without(seed):
    alone, beside = world(shadows=(), seed=seed).run(), world(shadows=(falling, rising), seed=seed).run()
    assert list(map(plain, of_house(beside.effects))) == list(map(plain, alone.effects))
    assert beside.shell.digest.hexdigest() == alone.shell.digest.hexdigest()
    assert beside.shell.broker.freeze() == alone.shell.broker.freeze()
    assert beside.of(Shadowed)
    assert beside.shell.samples == alone.shell.samples
    tally = beside.shell.tally
    assert (tally.orders, tally.fills) == (alone.shell.tally.orders, alone.shell.tally.fills)


def test_the_columns_take_an_account_beside_shadows_and_each_shadow() -> None:
    shell = World(block(walk(60, 3, 1)), [even], house=OPEN, shadows=[falling, even]).run().shell
    for of_run in (shell, *shell.shadows):
        assert of_run.samples[0] > 50 > of_run.samples[1]


@pytest.mark.long
@settings(max_examples=examples(5), deadline=None)
@given(st.integers(0, 10_000))
def test_a_shadow_does_what_it_would_do_as_the_only_agent_of_a_house(seed):
    split = Action(
        ts=20_000 * 86_400 * 10**9 + 20 * 86_400 * 10**9 + 36_000 * 10**9, key=0, symbol=1, kind="split", numerator=2
    )
    actions = (split,)
    beside = world(shadows=(falling,), seed=seed, actions=actions).run()
    alone = World(
        block(walk(60, 3, seed), volume=np.full((60, 3), 2e5)), [falling], house=OPEN, agent=TIGHT, costs=COSTS,
        actions=actions
    ).run()  # fmt: skip
    inner = [e for shadowed in beside.of(Shadowed) for e in shadowed.effects]
    for kind in (OrderBasket, Filled, Valued, Switched):
        assert [e for e in inner if isinstance(e, kind)] == alone.of(kind)
    assert [p.agents for p in inner if isinstance(p, Planned)] == [p.agents for p in alone.of(Planned)]
    shadow, lone = beside.shell.state.shadows[0], alone.shell.state
    assert shadow.ledger.freeze() == lone.ledger.freeze() | {"names": shadow.ledger.names}
    assert alone.of(Filled)
    assert shadow.equity_micro != CASH * 1_000_000


@pytest.mark.long
@settings(max_examples=examples(5), deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 115))
def test_put_down_and_taken_up_again_anywhere_a_shadow_goes_on_the_same(seed, cut):
    whole_run = world(seed=seed).run()
    run = world(seed=seed)
    for k, item in enumerate(run.items()):
        if k == cut:
            kept = run.shell.keep()
            run.shell = run.fresh(run)
            run.shell.restore(run.rules, kept)
        run.shell.take(item)
    assert run.of(Shadowed) == whole_run.of(Shadowed)
    assert [e for e in run.events if isinstance(e, ShadowReport)] == [
        e for e in whole_run.events if isinstance(e, ShadowReport)
    ]
    assert freeze(run.shell.state) == freeze(whole_run.shell.state)


def test_every_step_with_shadows_comes_back_from_the_journal():
    kept = Kept()
    world(log=kept).run()
    inside = 0
    for (event, effects), data in zip(kept.steps, kept.entries, strict=True):
        entry = decode(data)
        if not isinstance(event, MarketSlice):
            assert entry.event == event
        for then, now in zip(effects, entry.effects, strict=True):
            if isinstance(then, Shadowed):
                assert now == then
                inside += len(then.effects)
    assert inside > 100


def test_alerts_of_a_shadow_say_so_and_none_is_critical():
    run = world(shadows=(broken, falling), days=60, limits=override(TIGHT, max_drawdown=0.005)).run()
    shadow_alerts = [e for e in run.of(Publish) if e.agent in ("s0", "s1")]
    assert shadow_alerts
    assert all(e.text.startswith("shadow: ") for e in shadow_alerts)
    assert {e.level for e in shadow_alerts} <= {"INFO", "WARNING"}
    assert any("RUN to REDUCE" in e.text for e in shadow_alerts)
    house_alerts = [e for e in run.of(Publish) if e.agent not in ("s0", "s1")]
    assert house_alerts
    assert not any(e.text.startswith("shadow") for e in house_alerts)


def test_a_shadow_whose_policy_fails_is_suspended_and_the_others_go_on():
    run = world(shadows=(broken, falling)).run()
    first, second = run.shell.state.shadows
    assert first.agents[0].suspended
    assert first.ledger.house.cash_micro == CASH * 1_000_000
    assert not second.agents[0].suspended
    assert any(second.ledger.house.lots)
    assert run.shell.state.switch.state == RUN


def test_a_person_halts_a_shadow_by_name_and_the_house_does_not_notice():
    run = world(days=30)
    for k, item in enumerate(run.items()):
        if k == 20:
            run.shell.run(Operator(run.shell.state.now, "halt", "enough", "me", "s0"))
        run.shell.take(item)
    state = run.shell.state
    assert state.shadows[0].agents[0].switch.state == HALT
    assert state.switch.state == RUN
    assert all(agent.switch.state == RUN for agent in state.agents)
    run.shell.run(Operator(state.now, "resume", "again", "me", "s0"))
    assert state.shadows[0].agents[0].switch.state == RUN
    said = run.shell.run(Operator(state.now, "flatten", "out", "me", "s0"))
    assert "is a shadow" in said[0].text
    assert not state.flattening
    assert "no agent named" in run.shell.run(Operator(state.now, "halt", "x", "me", "nobody"))[0].text


def test_the_house_halted_or_flattened_leaves_its_shadows_alone():
    run = world(days=40)
    for k, item in enumerate(run.items()):
        if k == 30:
            run.shell.run(Operator(run.shell.state.now, "flatten", "out", "me"))
        run.shell.take(item)
    state = run.shell.state
    assert not any(state.ledger.house.lots)
    assert state.switch.state == HALT
    assert any(state.shadows[0].ledger.house.lots)
    assert state.shadows[0].switch.state == RUN


def test_new_limits_reach_a_shadow_by_its_name():
    run = world(days=30, limits=override(TIGHT, max_drawdown=None))
    shadow_rules = run.rules.shadows[0]
    tighter = override(shadow_rules.agents[0].limits, max_position_weight=0.1)
    new = replace(
        run.rules, shadows=(replace(shadow_rules, agents=(replace(shadow_rules.agents[0], limits=tighter),)),)
    )
    for k, item in enumerate(run.items()):
        if k == 20:
            run.shell.run(Reloaded(run.shell.state.now, "x", ("agents.2.limits.max_position_weight",), in_force(new)))
        run.shell.take(item)
    state = run.shell.state.shadows[0]
    assert state.rules.agents[0].limits.max_position_weight == 0.1
    # what it adds from then on keeps the new limit
    size, equity = state.universe.lot_size, state.books_micro[0] / 1e6
    grown = [
        abs(lots) * float(state.marks[sym] * size[sym])
        for shadowed in run.of(Shadowed)[-6:]
        for e in shadowed.effects
        if isinstance(e, OrderBasket)
        for sym, lots in zip(e.sym, e.lots, strict=True)
        if lots > 0
    ]
    assert all(value <= 0.11 * equity for value in grown)


def test_a_shadow_that_joins_later_knows_the_market_and_begins_with_its_capital():
    first = world(shadows=(), days=40)
    items = list(first.items())
    for item in items[:50]:
        first.shell.take(item)
    joined = world(shadows=(rising,), days=40)
    joined.shell.restore(joined.rules, first.shell.keep())
    state = joined.shell.state
    assert state.shadows[0].equity_micro == CASH * 1_000_000
    assert state.shadows[0].sample_no == state.sample_no
    for item in items[50:]:
        joined.shell.take(item)
    assert any(state.shadows[0].ledger.house.lots)
    assert state.pairings[0].since == 25
    # and one that leaves leaves nothing
    bare_run = world(shadows=(), days=40)
    bare_run.shell.restore(bare_run.rules, joined.shell.keep())
    assert bare_run.shell.state.shadows == []


def test_a_shadow_with_a_schedule_is_asked_when_it_says_so():
    run = world(days=30)
    run.rules = None
    rules = run.shell.state.rules
    shadow_rules = rules.shadows[0]
    scheduled = replace(shadow_rules, agents=(replace(shadow_rules.agents[0], scheduled=True),))
    run.restart(State(replace(rules, shadows=(scheduled,))))
    asked = []
    for k, item in enumerate(run.items()):
        if isinstance(item, Tick) and k in (21, 41):
            item = Tick(item.ts, item.sample, item.key, item.final, (2,))
        before = len(run.of(Ask))
        run.shell.take(item)
        asked += [k for e in run.of(Ask)[before:] if e.agent == 2]
    assert asked == [21, 41]


@pytest.mark.parametrize("reason", ["drawdown", "suspended"])
def test_a_switch_of_a_shadow_is_its_own(reason):
    act = falling if reason == "drawdown" else broken
    run = world(acts=(even, even), shadows=(act,), limits=override(TIGHT, max_drawdown=0.01)).run()
    state = run.shell.state
    if reason == "drawdown":
        assert state.shadows[0].agents[0].switch.trips > 0
    else:
        assert state.shadows[0].agents[0].switch.state == REDUCE
    assert not [s for s in run.of(Switched) if s.agent >= 2]
