"""Champion and challenger: one that is better takes the place, one that is equal almost never, one that is
worse never."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.state.promotion_rule import Pairing, looked
from quantd.daemon.runtime.loop import Shell
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Ask, Planned, Promotion, Publish, Shadowed, Valued
from quantd.trading.events import Tick
from quantd.trading.model_events import ModelLoaded
from tests.proofs.promotions import ever_promoted, returns_of
from tests.support.engine import OPEN, Plain, World, block
from tests.support.examples import examples
from tests.support.promotion_world import RULES, better, world, worse


@pytest.mark.long
@pytest.mark.parametrize("measure", ["sharpe", "mean"])
def test_an_equal_challenger_is_promoted_no_more_often_than_stated_whatever_it_is_looked_at(measure):
    rules = replace(RULES, measure=measure, confidence=0.90, max_drawdown_ratio=100.0)
    times = 500
    false = sum(ever_promoted(rules, *returns_of(seed)) for seed in range(times))
    assert false / times <= 0.10


@pytest.mark.long
def test_a_better_one_is_promoted_and_a_worse_one_never():
    better = sum(ever_promoted(RULES, *returns_of(seed, edge=0.004)) for seed in range(40))
    worse = sum(ever_promoted(RULES, *returns_of(seed, edge=-0.002)) for seed in range(100))
    assert better >= 36
    assert worse == 0


def test_a_look_says_what_was_missing():
    champion, challenger = returns_of(1, edge=0.004)
    pairing = Pairing()
    assert looked(RULES, pairing, champion, challenger, 59, "k").why == "59 of 60 returns are known"
    assert pairing.looks == 0
    assert "is wanted" in looked(replace(RULES, min_gain=50.0), Pairing(), champion, challenger, 250, "k").why
    assert "is better by -" in looked(RULES, Pairing(), challenger, champion, 250, "k").why
    assert "p = " in looked(RULES, Pairing(), *returns_of(2, edge=0.0003), 250, "k").why
    wild = returns_of(3, edge=0.03, quick=3.0, common=0.2)
    said = looked(replace(RULES, max_drawdown_ratio=0.1, measure="mean"), Pairing(), *wild, 250, "k")
    assert "drawdown" in said.why
    assert not said.promoted
    for _ in range(4):
        looked(RULES, pairing, champion[::-1], challenger[::-1] - 0.01, 250, "k")
    assert looked(RULES, pairing, champion, challenger, 250, "k").why == "all 4 looks are used"


def test_a_book_in_cash_is_not_promoted_over_one_that_loses():
    champion, _ = returns_of(4, edge=0.0)
    pairing = Pairing()
    comparison = looked(RULES, pairing, champion - 0.002, np.zeros(len(champion)), 250, "k")
    assert (comparison.promoted, comparison.look, pairing.looks) == (False, 0, 0)
    assert "has not traded" in comparison.why
    # one trade among many samples in cash: resamples without it are constant, and prove nothing
    once = np.zeros(len(champion))
    once[-3] = 0.001
    comparison = looked(replace(RULES, max_drawdown_ratio=100.0), Pairing(), champion, once, 250, "k")
    assert comparison.p > 0.05


# ---- in the engine --------------------------------------------------------------------------------


def test_no_return_of_a_former_model_counts_after_another_one_is_loaded():
    """The former one earns a fortune until the new one first decides; only then the comparison begins."""
    days, decides, loaded = 100, 30, 20
    for shadowed in (True, False):
        prices = np.full((days, 2), 100.0)  # opens are closes: what is held earns overnight
        prices[:, 0] += np.random.default_rng(2).normal(0.0, 0.2, days).round(2)
        prices[: decides + 2, 1] = np.round(100 * 1.05 ** np.arange(decides + 2), 2)
        prices[decides + 2 :, 1] = prices[decides + 1, 1]
        run = World(block(prices, prices), [worse], house=OPEN, agent=Limits(), shadows=(better,), challenges=(0,),
                     promotion=replace(RULES, samples=20))  # fmt: skip
        if shadowed:  # it decides by a schedule: early, and then at one sample only
            due = tuple(replace(agent, scheduled=True) for agent in run.rules.shadows[0].agents)
            run.rules = replace(run.rules, shadows=(replace(run.rules.shadows[0], agents=due),))
            number, name = 1, "s0"
        else:
            run.policies.reverse()  # the champion has the better model, and its new one decides later
            due = tuple(replace(agent, scheduled=True) for agent in run.rules.agents)
            run.rules = replace(run.rules, agents=due)
            number, name = 0, "a0"
        run.shell = run.fresh(run)
        count = 0
        for item in run.items():
            if isinstance(item, Tick) and item.sample:
                count += 1
                item = replace(item, due=(number,) if count in (3, decides) else (), jobs=("promote",))
            run.shell.take(item)
            if count == loaded and isinstance(item, Tick) and item.sample:
                run.policies[number] = Plain(worse)
                run.shell.run(ModelLoaded(run.shell.state.now, name, "models/x", "dd", "c", "why", "me"))
        (pairing,) = run.shell.state.pairings
        book = run.shell.state.shadows[0] if shadowed else run.shell.state
        returns = book.watch.realised[1].returns()
        sample_counts = [comparison.samples for comparison in run.of(Promotion)]
        counted = sample_counts[-1]
        assert sample_counts[loaded:decides] == [0] * (decides - loaded)
        # the returns before were the former model's, the last of them until its positions were sold
        assert returns[loaded + 1 : decides].min() > 0.03
        assert len(returns) - pairing.known(run.shell.state.sample_no) >= decides
        assert np.abs(returns[-pairing.known(run.shell.state.sample_no) :]).max() < 0.01
        assert counted == 20
        assert not any(comparison.promoted for comparison in run.of(Promotion)[loaded:])


@pytest.mark.requirement("R-162")
def test_a_planted_better_challenger_trades_the_champions_book_from_then_on():
    run, items = world([worse, worse], better)
    run.run(items)
    comparisons = run.of(Promotion)
    promoted = [e for e in comparisons if e.promoted]
    assert len(promoted) == 1
    assert promoted[0].p <= promoted[0].alpha == pytest.approx(0.0125)
    assert (promoted[0].champion, promoted[0].challenger, promoted[0].look) == (0, 2, 1)
    assert [e.samples for e in comparisons[:3]] == [18, 38, 58]
    assert not any(e.look for e in comparisons[:3])
    state = run.shell.state
    assert state.seats == [2, 1]
    assert state.shadows[0].seats == [0]
    assert state.lots(0).tolist()[0] == 0
    assert state.lots(0)[1] > 0
    assert state.lots(1)[0] > 0
    assert state.shadows[0].lots(0)[0] > 0  # the old policy goes on as the shadow's
    at = next(k for k, e in enumerate(run.effects) if e is promoted[0])
    asks = [(e.agent, e.policy) for e in run.effects if isinstance(e, Ask)]
    assert set(asks) == {(0, 0), (1, 1), (2, 2), (0, 2), (2, 0)}
    later = [p for e in run.effects[at:] if isinstance(e, Planned) for p in e.agents]
    assert {p.policy for p in later if p.agent == 0} == {"s0"}
    assert {p.policy for p in later if p.agent == 1} <= {""}
    inner = [
        p
        for e in run.effects[at:]
        if isinstance(e, Shadowed)
        for f in e.effects
        if isinstance(f, Planned)
        for p in f.agents
    ]
    assert {p.policy for p in inner} == {"a0"}
    alerts = [e for e in run.of(Publish) if e.kind == "promotion"]
    assert len(alerts) == sum(e.look > 0 for e in comparisons)
    assert "s0 is promoted" in alerts[0].text
    assert "p = " in alerts[0].text
    assert all(e.level == "INFO" for e in alerts)


def test_the_old_policy_can_come_back_in_a_new_pairing():
    run, items = world([worse, worse], better, days=100)
    run.run(items)
    state = run.shell.state
    pairing = state.pairings[0]
    assert pairing.since == 81  # both decided at the sample of the promotion
    assert pairing.looks == 0
    before = len(run.of(Promotion))
    run.shell.take(Tick(state.now + 1, jobs=("promote",)))
    assert state.later == {"promote"}
    assert len(run.of(Promotion)) == before


@pytest.mark.long
def test_an_equal_and_a_worse_challenger_stay_shadows():
    for champion, challenger in ((better, better), (better, worse)):
        run, items = world([champion, worse], challenger)
        run.run(items)
        comparisons = run.of(Promotion)
        assert comparisons
        assert not any(e.promoted for e in comparisons)
        assert all(e.why for e in comparisons)
        assert run.shell.state.seats == [0, 1]


def test_memory_goes_along_with_its_policy():
    class Counting:
        lookback = 5

        def __init__(self, act, step):
            self.act_, self.step = act, step

        def act(self, view, memory):
            return self.act_(view), {"n": np.array([float(memory["n"][0]) + self.step if memory else self.step])}

    run, items = world([worse, worse], better, days=100)
    run.policies[0], run.policies[2] = Counting(worse, 1.0), Counting(better, 1000.0)
    run.run(items)
    state = run.shell.state
    assert state.agents[0].memory["n"][0] == 100 * 1000.0
    assert state.shadows[0].agents[0].memory["n"][0] == 100 * 1.0


@cache
def promoted():
    """A run with a promotion, which no test changes."""
    run, items = world([worse, worse], better)
    run.run(items)
    return run


@pytest.mark.long
@settings(max_examples=examples(8), deadline=None)
@given(st.integers(100, 195))
def test_a_run_put_down_around_a_promotion_goes_on_the_same(cut):
    whole_run = promoted()
    run, items = world([worse, worse], better)
    for k, item in enumerate(items):
        if k == cut:
            kept = run.shell.keep()
            run.shell = run.fresh(run)
            run.shell.restore(run.rules, kept)
        assert isinstance(run.shell, Shell)
        run.shell.take(item)
    assert run.of(Promotion) == whole_run.of(Promotion)
    assert [v.books for v in run.of(Valued)] == [v.books for v in whole_run.of(Valued)]
    assert run.shell.digest.hexdigest() == whole_run.shell.digest.hexdigest()


def test_a_promoted_policy_whose_shadow_is_gone_leaves_the_place_to_the_agents_own():
    run, items = world([worse, worse], better)
    run.run(items)
    alone, _ = world([worse, worse], better)
    rules = replace(run.rules, shadows=(), challenges=(), seats=("a0", "a1"))
    shell = alone.fresh()
    shell.state.shadows, shell.shadows = [], []
    shell.restore(rules, run.shell.keep())
    assert shell.state.seats == [0, 1]
    assert shell.state.shadows == []
