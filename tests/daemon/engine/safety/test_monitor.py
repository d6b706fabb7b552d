"""The monitor at every sample: drift seen between trades, agents by name, nothing lost to what is screened away."""

from math import nan
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.daemon.engine.safety import monitor
from quantd.daemon.engine.safety.alerts import CALM_SAMPLES
from quantd.daemon.engine.safety.monitor import RECORD_SAMPLES
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw
from quantd.daemon.recovery.start import begin
from quantd.risk.limits.catalogue import ON_BREACH, Correlation, Limits, Protective, Tail, override
from quantd.trading.effects import Assessed, Planned, Publish, Valued
from quantd.trading.events import Action, Flow, Reloaded, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD
from tests.support.engine import CASH, START, Kept, World, block, walk
from tests.support.fold import by_handlers

NEAR = Limits(
    max_position_weight=0.45, max_gross_exposure=1.2, max_net_exposure=1.1, max_leverage=1.3, max_herfindahl=0.4,
    var=Tail(limit=0.02, lookback=60), cvar=Tail(limit=0.03, lookback=60), max_volatility=0.25, volatility_lookback=60,
    correlation=Correlation(joint_weight=0.9, lookback=60), max_drawdown=0.3, max_daily_loss=0.05, min_history=60,
    max_realised_volatility=0.25, min_sharpe=0.5,
)  # fmt: skip


def once(*weights: float, hold=False):
    """Buys once and asks for what it has; with `hold` it answers HOLD, so that no plan reduces what drifts."""

    def act(view):
        if np.isfinite(view.returns(60)).all() and not view.weights.any():
            return np.array(weights)
        return HOLD if hold else view.weights

    return act


def bought(*weights: float):
    return once(*weights, hold=True)


def monthly(view):
    """Equal weight every 21 samples, else what is held."""
    n = view.universe.size
    turn = (view.sample_time // 86_400_000_000_000) % 21 == 0
    if not np.isfinite(view.returns(60)).all():
        return view.weights
    return np.full(n, 0.8 / n) if turn or not view.weights.any() else view.weights


def spread(view):
    n = view.universe.size
    day = view.sample_time // 86_400_000_000_000
    return np.full(n, 0.3 / n) * (1.0 if day % 70 < 35 else -1.0) if day % 35 == 0 else view.weights


def limit_alerts(world: World) -> list[Publish]:
    return [e for e in world.of(Publish) if e.kind.startswith("limit_")]  # type: ignore[attr-defined]


def ran(acts, *, days=220, symbols=4, seed=5, events=False, measured=False, monkeypatch=None, folded=False, **given):
    """The journal of a run, by handlers unless `folded`; with `events` bars are missing now and then, and one symbol
    splits and pays a dividend."""
    log, closes, actions = Kept(), walk(days, symbols, seed), []
    if events:
        rng = np.random.default_rng(seed)
        gaps = rng.random(closes.shape) < 0.01
        gaps[:5] = False
        closes[gaps] = np.nan
        closes[140:, 1] /= 2.0
        at = START + 140 * DAY_NS
        actions = [Action(at + DAY_NS // 3, at, 1, "split", 2, 1)]
        actions.append(Action(at + 4 * DAY_NS, at + 4 * DAY_NS, 0, "dividend", cash_nano=2 * 10**9))
    world = World(block(closes), acts, log=log, actions=actions, **given)
    if measured:
        monkeypatch.setattr(monitor, "_limits_in_doubt", lambda state, books: dict.fromkeys(books))
    if not folded:
        by_handlers(world.shell)
    world.run()
    return log


AGENTS = {"one": [monthly], "three": [monthly, once(0.2, 0.2, 0.3, 0.1), spread]}
EVENTS = {"": False, "gaps, split": True}


@pytest.mark.quick_cases(5)
@pytest.mark.parametrize(
    ("acts", "seed", "events"),
    [
        pytest.param(
            acts, seed, events, id=f"{name}-{seed}-{word}", marks=() if of_ci == (row, events) else pytest.mark.slow
        )
        for row, (name, acts) in enumerate(AGENTS.items())
        for seed in range(6)
        for of_ci in [(seed % 2, (seed % 2 + seed // 2) % 2)]
        for word, events in EVENTS.items()
    ],
)
def test_what_is_not_measured_changes_no_byte_of_the_journal(acts, seed, events, monkeypatch):
    """Each seed has one number of agents, and events or none, in turn; `pytest -m slow` adds the other three."""
    agent_limits = override(NEAR, max_position_weight=0.35, correlation=None, min_sharpe=None)
    costs = Costs(commission_bp=2.0, spread_bp=4.0, participation=2e-4 if seed % 2 else 0.0)
    house = NEAR if len(acts) == 1 else override(NEAR, correlation=None)
    given = {
        "seed": seed,
        "events": events,
        "house": house,
        "agent": house if len(acts) == 1 else agent_limits,
        "costs": costs,
    }
    used = 0
    partly = 0
    doubts = monitor._limits_in_doubt

    def counted(state, books):
        nonlocal used, partly
        open_doubts = doubts(state, books)
        used += not any(open_doubts.values())
        partly += any(open_doubts.values()) and any(
            wanted is not None and not wanted for wanted in open_doubts.values()
        )
        return open_doubts

    monkeypatch.setattr(monitor, "_limits_in_doubt", counted)
    folded = ran(acts, folded=True, **given)
    used = partly = 0
    quick = ran(acts, **given)
    slow = ran(acts, measured=True, monkeypatch=monkeypatch, **given)
    assert quick.entries == slow.entries
    assert folded.entries == slow.entries
    assert used > (10 if len(acts) == 1 else 0)
    assert partly > 0 or len(acts) == 1
    assert sum(isinstance(e, Publish) and e.kind.startswith("limit_") for e in quick.effects) > 0


@pytest.mark.requirement("R-155")
def test_drift_is_seen_between_trades():
    closes = np.column_stack((np.linspace(60, 400, 160).round(2), np.full(160, 50.0)))
    world = World(block(closes), [bought(0.36, 0.2)], house=Limits(max_position_weight=0.5)).run()
    rounds = [e.ts for e in world.of(Planned)]
    alerts = limit_alerts(world)
    assert len(rounds) == 1
    assert [a.level for a in alerts] == ["CRITICAL"]
    assert alerts[0].ts > rounds[0]
    assert alerts[-1].bound == 0.5
    # a plan may use the limit fully, so that only 5 % beyond it is a breach
    assert alerts[-1].value >= 0.525


def test_a_policy_that_asks_for_the_weight_it_drifted_to_is_held_at_its_limit_without_an_alert():
    closes = np.column_stack((np.linspace(60, 400, 160).round(2), np.full(160, 50.0)))
    world = World(block(closes), [once(0.36, 0.2)], house=Limits(max_position_weight=0.5))
    weights = []
    for item in world.items():
        world.shell.take(item)
        state = world.shell.state
        weights.append(state.ledger.house.lots[0] * float(state.marks[0]) / (state.equity_micro / 1e6))
    assert 0.5 < max(weights) < 0.51, "a close above the limit, until the sale at the next open"
    assert len(world.of(Planned)) > 1
    assert limit_alerts(world) == []


def test_rising_volatility_is_seen_without_a_trade():
    rng = np.random.default_rng(1)
    moves = rng.normal(0.0, 1.0, (200, 1)) * np.where(np.arange(200) < 120, 0.004, 0.03)[:, None]
    closes = np.round(100 * np.exp(moves.cumsum(axis=0)), 2)
    house = Limits(max_volatility=0.25, volatility_lookback=60, var=Tail(limit=0.05, lookback=60))
    world = World(block(closes), [once(0.9)], house=house).run()
    assert len(world.of(Planned)) == 1
    alerts = limit_alerts(world)
    assert ("limit_max_volatility", "CRITICAL") in [(a.kind, a.level) for a in alerts]
    assert any("var " in a.text for a in alerts)


def test_an_agents_own_limits_are_watched_on_its_own_book_and_named():
    closes = np.column_stack((np.linspace(40, 200, 140).round(2), np.full(140, 50.0)))
    agent_limits = Limits(max_position_weight=0.6)
    world = World(block(closes), [bought(0.5, 0.0), bought(0.0, 0.2)], house=Limits(), agent=agent_limits).run()
    alerts = limit_alerts(world)
    assert {a.agent for a in alerts} == {"a0"}
    assert {a.kind for a in alerts} == {"limit_max_position_weight"}
    assert [a.level for a in alerts] == ["CRITICAL"]
    assert "house" not in alerts[0].text


def test_a_lone_agent_that_is_the_house_is_told_of_once_until_it_is_not():
    closes = np.column_stack((np.linspace(40, 200, 140).round(2), np.full(140, 50.0)))
    world = World(block(closes), [bought(0.4, 0.1)], house=Limits(max_position_weight=0.48))
    items = list(world.items())
    for item in items[:240]:
        world.shell.take(item)
    assert {a.agent for a in limit_alerts(world)} == {""}
    before = len(limit_alerts(world))
    world.shell.run(Flow(world.shell.state.now, CASH * 1_000_000))
    for item in items[240:]:
        world.shell.take(item)
    after = limit_alerts(world)[before:]
    assert {a.agent for a in after} <= {"a0"}


def test_the_house_is_recorded_at_least_once_in_so_many_samples_and_at_each_crossing():
    world = World(block(walk(220, 2, 3)), [once(0.3, 0.3)], house=Limits(max_position_weight=0.9)).run()
    assert len(world.of(Assessed)) == 61 // RECORD_SAMPLES + 159 // RECORD_SAMPLES
    losses = Limits(max_position_weight=0.9, max_drawdown=0.9, max_realised_volatility=9.0)
    world = World(block(walk(220, 2, 3)), [once(0.3, 0.3)], house=losses).run()
    weekly = [e.values.keys() for e in world.of(Assessed) if "max_position_weight" not in e.values]
    assert weekly[0] == {"max_drawdown"}
    assert weekly[-1] == {"max_drawdown", "max_realised_volatility"}
    closes = np.column_stack((np.linspace(60, 400, 160).round(2), np.full(160, 50.0)))
    world = World(block(closes), [once(0.4, 0.4)], house=Limits(max_position_weight=0.6, max_drawdown=0.9)).run()
    at = {e.ts for e in world.of(Assessed)}
    crossed = {a.ts for a in limit_alerts(world)} - {e.ts for e in world.of(Planned)}
    assert crossed <= at
    full_records = [e for e in world.of(Assessed) if "cash" in e.values]
    assert full_records[-1].values.keys() == {"cash", "max_drawdown", "max_position_weight"}


def test_losses_are_recorded_at_every_fifth_sample():
    world = World(block(walk(40, 2, 3)), [once(0.3, 0.3)], house=Limits(max_drawdown=0.9))
    numbers = []
    for item in world.items():
        before = len(world.effects)
        world.shell.take(item)
        loss_records = [
            e for e in world.effects[before:] if isinstance(e, Assessed) and e.values.keys() == {"max_drawdown"}
        ]
        numbers += [world.shell.state.sample_no] * len(loss_records)
    assert numbers == [number for number in range(5, 41, 5) if number != RECORD_SAMPLES]


def test_drift_is_seen_at_its_sample_in_a_book_worth_less_than_one_unit_of_the_currency():
    closes = np.column_stack((np.linspace(60, 400, 160).round(2), np.full(160, 50.0)))
    world = World(block(closes), [bought(0.36, 0.2)], house=Limits(max_position_weight=0.5))
    half = 500_000
    world.universe = Universe(tuple(Instrument(f"S{k}", calendar="X", lot_nano=10) for k in range(2)), calendar="X")
    agents = (structs.replace(world.rules.agents[0], capital_micro=half),)
    world.rules = structs.replace(world.rules, universe=world.universe, cash_micro=half, agents=agents)
    world.shell = world.fresh(world)
    breached = set()
    for item in world.items():
        world.shell.take(item)
        if isinstance(item, Tick):
            state = world.shell.state
            heavy = state.ledger.house.lots[0] * float(state.marks[0]) / 1e8 >= 1.05 * 0.5 * state.equity_micro / 1e6
            assert heavy is (state.monitor.levels.get("max_position_weight") == 3)
            breached.add(heavy)
    assert breached == {False, True}


def test_a_limit_of_trades_is_not_in_the_record_of_positions():
    house = Limits(max_position_weight=0.9, max_turnover=0.5)
    world = World(block(walk(120, 2, 3)), [once(0.2, 0.2)], house=house).run()
    assert world.of(Assessed)
    assert all("max_position_weight" in e.values and "max_turnover" not in e.values for e in world.of(Assessed))


def test_the_limits_of_the_house_have_the_realised_figures_of_the_house():
    house = Limits(max_realised_volatility=0.5)
    world = World(block(walk(80, 1, 4)), [once(0.9), once(0.0)], house=house).run()
    equity = np.array([e.equity_micro for e in world.of(Valued)], dtype=float)
    volatility = np.std(equity[1:] / equity[:-1] - 1.0, ddof=1) * np.sqrt(252)
    values = monitor.limit_values(world.shell.state)
    assert values["max_realised_volatility"] == (pytest.approx(volatility), 0.5)


@pytest.mark.long
def test_a_snapshot_between_any_two_days_changes_no_later_alert_or_record():
    straight, again = Kept(), Kept()
    acts = [monthly, once(0.2, 0.2, 0.3, 0.1)]
    house = override(NEAR, min_diversification=0.3, protective=Protective())
    world = World(block(walk(130, 4, 2)), acts, house=house, agent=NEAR, log=straight)
    items = list(world.items())
    for item in items:
        world.shell.take(item)
    shell = world.fresh(again)
    for number, item in enumerate(items):
        if number % 3 == 0:
            kept = shell.keep()
            assert freeze(thaw(world.rules, freeze(shell.state))) == freeze(shell.state)
            shell = world.fresh(again)
            shell.restore(world.rules, kept)
        shell.take(item)
    assert again.entries == straight.entries
    assert any(isinstance(e, Assessed) for e in straight.effects)


def test_a_deposit_is_neither_profit_nor_loss_for_what_is_realised():
    quiet = World(
        block(np.full((90, 1), 100.0)), [once(0.5)], house=Limits(min_sharpe=0.5, max_realised_volatility=0.1)
    )
    items = list(quiet.items())
    for number, item in enumerate(items):
        quiet.shell.take(item)
        if number == 150:
            quiet.shell.run(Flow(quiet.shell.state.now, CASH * 1_000_000))
    returns = quiet.shell.state.watch.realised[0].returns()
    assert len(returns) == 89
    assert np.abs(returns).max() < 1e-3


def test_a_reload_of_limits_is_measured_against_at_the_next_sample():
    world = World(block(walk(100, 2, 3)), [once(0.3, 0.3)], house=Limits(max_position_weight=0.9))
    items = list(world.items())
    for item in items[:180]:
        world.shell.take(item)
    assert limit_alerts(world) == []
    rules = structs.replace(world.rules, house=Limits(max_position_weight=0.25))
    world.shell.run(Reloaded(world.shell.state.now, "x", ("limits",), in_force(rules)))
    for item in items[180:182]:
        world.shell.take(item)
    assert limit_alerts(world)


def test_a_sale_lowers_a_level_once_it_has_filled_and_not_when_it_is_planned():
    def halving(view):
        n = view.universe.size
        day = view.sample_time // 86_400_000_000_000
        return np.full(n, 0.8 / n) if day % 20 < 10 else np.full(n, 0.3 / n)

    world = World(block(np.full((100, 2), 100.0)), [halving], house=Limits(max_gross_exposure=1.0, min_history=2))
    before, falls, rises = 0, set(), 0
    for item in world.items():
        world.shell.take(item)
        level = world.shell.state.monitor.levels.get("max_gross_exposure", 0)
        if level < before:
            falls.add(world.shell.state.now)
        rises += level > before
        before = level
    assert len(falls) >= 3
    assert rises >= 3
    assert not falls & {p.ts for p in world.of(Planned)}
    assert limit_alerts(world) == [], "a gross exposure below its bound is what the plan is for"


def held(limits: Limits, closes: list[float], weight: float = 0.5, of: str = "house") -> list[Publish]:
    """Alerts of a book that buys once, at the first close, and holds, under limits of the house or of its agent."""

    def act(view):
        return HOLD if view.weights.any() else np.array([weight])

    return limit_alerts(World(block(np.array(closes)[:, None]), [act], **{of: limits}).run())


def test_a_limit_that_a_plan_uses_by_intention_is_told_of_at_a_breach_and_one_event_once():
    limits = Limits(max_position_weight=0.55, max_concentration=0.55, max_gross_exposure=0.55, max_leverage=0.55)
    assert held(limits, [100.0] * 8) == []
    (alert,) = held(limits, [100.0] * 4 + [140.0] * 4)
    assert (alert.level, alert.kind) == ("CRITICAL", "limit_max_concentration")
    assert alert.text == (
        "concentration and gross exposure and leverage and position weight 58.3% is 106% of its limit 55.0% (house)"
    )


def test_a_level_that_begins_again_within_two_months_is_no_new_event_and_one_that_is_over_sends_nothing():
    limits = Limits(max_position_weight=0.55)
    wave = ([100.0] * 4 + [140.0] * 4) * 4
    again = [100.0] * 4 + [140.0] * 4 + [100.0] * (CALM_SAMPLES + 4) + [140.0] * 4
    for closes, times in ((wave, 1), (again, 2)):
        assert [a.level for a in held(limits, closes, of="agent")] == ["CRITICAL"] * times
        rises = closes.count(140.0) // 4
        assert [a.level for a in held(limits, closes)] == ["CRITICAL"] * rises, "each breach of the house is one"


def test_each_days_loss_is_an_event_of_its_own():
    limits = Limits(max_daily_loss=0.10)
    closes = [100.0, 100.0, 100.0, 86.0, 86.0, 86.0, 73.0, 73.0, 73.0]
    loss_alerts = held(limits, closes)
    assert [(a.kind, a.level) for a in loss_alerts] == [("limit_max_daily_loss", "INFO")] * 2
    assert not any("back" in a.text or a.value == 0.0 for a in loss_alerts)


def test_what_several_books_cross_at_one_instant_is_one_alert_that_names_them():
    closes = [100.0, 100.0, 100.0, 80.0, 80.0]
    agent_limits = Limits(max_daily_loss=0.10)
    acts = [lambda view: view.weights if view.weights.any() else np.array([0.45])] * 2
    (alert,) = limit_alerts(
        World(block(np.array(closes)[:, None]), acts, house=Limits(max_drawdown=0.1), agent=agent_limits).run()
    )
    assert alert.level == "WARNING"
    assert alert.text == (
        "drawdown 9.0% is 90% of its limit 10.0% (house); a0: daily loss 9.0% is 90% of its limit 10.0%; "
        "a1: daily loss 9.0% is 90% of its limit 10.0%"
    )


@pytest.mark.long
def test_the_shipped_configuration_raises_at_most_seventy_alerts_in_its_replay():
    parts = assemble(load(Path("config.toml"), known_names()))
    log = Kept()
    shell = parts.shell(log)
    begin(shell, parts, parts.config, "r", fresh=True)
    for item in parts.items():
        shell.take(item)
    alerts = [e for e in log.effects if isinstance(e, Publish)]
    # most are of losses and volatility, of books that hold nearly all that their policies ask for
    assert 20 <= len(alerts) <= 70
    used_fully = {f"limit_{key}" for key in ON_BREACH}
    assert not used_fully & {a.kind for a in alerts}, "a plan may use these limits fully"
    assert {a.kind for a in alerts if a.level == "CRITICAL"} >= {
        "switch",
        "limit_max_drawdown",
        "limit_max_weekly_loss",
    }
    assert not any("back to" in a.text for a in alerts)


def test_a_review_has_the_values_that_settle_a_level_and_the_limits_to_measure() -> None:
    doubts = [("var", 0.9, 0.9, 1.0), ("cvar", 0.8, 0.8, 1.0), ("correlation", nan, nan, 1.0)]
    review = monitor.review({"var": 1}, doubts, realised=True)
    assert review == ({"var": (0.9, 1.0)}, ["cvar", "correlation"], True)
    assert monitor.review({}, []) == ({}, [], False)
    assert monitor.review({}, None) == ({}, None, False)  # only a measurement of all limits shows
