"""What the fold takes leaves the same records, digest, venue and state as handlers leave."""

import gc
import weakref
from itertools import product

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine.agents.carry_over import carry_of
from quantd.daemon.engine.core.gate_sets import gate_set
from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.settings import MarketRegime, Notices
from quantd.daemon.engine.state.snapshot import freeze, in_force
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.outbound import Wire
from quantd.daemon.runtime.step_log import SampleLog
from quantd.daemon.runtime.timeline import sample_ticks
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import PROFILES, Limits, Protective, Reason, override
from quantd.trading.codec import bars_of, decode, slice_of
from quantd.trading.effects import Ask, Planned
from quantd.trading.events import Action, Carried, Decided, Reconciled, Reloaded, Tick
from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import Noted, View
from tests.support.engine import START, Plain, World, block, walk
from tests.support.fold import (
    DAYS,
    LIMITS,
    PLAIN,
    Steps,
    assert_same,
    assert_same_steps,
    both,
    by_handlers,
    decided_every,
    stepped,
    world,
)
from tests.support.minutes import SESSION, Minutes, drift, minutes

HOUR_NS = DAY_NS // 24


def test_a_log_of_all_steps_gets_the_same_bytes_from_the_fold() -> None:
    steps = Steps(), Steps()
    taken = both(world(1), 21, steps)
    assert_same_steps(*steps)
    assert (taken.samples, taken.rounds) == (199, 9)


@pytest.mark.long
def test_notices_are_those_of_the_engine():
    """Both states have them: `both` compares snapshots."""
    steps = Steps(), Steps(rows_only=True)
    market = world(2, agents=2, limits=PLAIN, notices=Notices(milestone=0.01, rebalances=True))
    taken = both(market, 5, steps)
    assert (taken.samples > taken.of_bars / 2, taken.rounds) == (True, 0)
    assert b"rebalance: " in b"".join(steps[0].steps)


@pytest.mark.long
@pytest.mark.parametrize("follow_ups", [1, 2])
def test_orders_that_are_good_till_cancelled_fill_beside_a_question(follow_ups):
    """Found by one of 1,000 random worlds: the rest of a decision was sent at the sample of a question."""
    steps = Steps(), Steps(rows_only=True)
    limits = override(LIMITS, max_gross_exposure=0.6)
    market = world(4, agents=3, limits=limits, good_till_cancelled=True, follow_ups=follow_ups)
    assert both(market, 1, steps).samples > 0
    assert steps[0].filled == steps[1].filled


@pytest.mark.long
def test_a_limit_on_the_average_correlation_leaves_every_round_to_the_engine():
    steps = Steps(), Steps(rows_only=True)
    run = world(4, agents=2, limits=override(PLAIN, average_correlation=0.01))
    taken = both(run, 5, steps)
    assert (taken.samples > taken.of_bars / 2, taken.rounds) == (True, 0)
    assert gate_set(PLAIN, run.universe) is not None
    assert gate_set(override(PLAIN, average_correlation=0.01), run.universe) is None
    plans = [effect for step in steps[0].steps for effect in decode(step).effects if isinstance(effect, Planned)]
    assert any(Reason.AVERAGE_CORRELATION in plan.reason for plan in plans)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "agents", "every", "chunk"), [(1, 3, 1, 9999), (2, 1, 5, 37), (4, 2, 21, 64)])
def test_a_record_takes_the_samples_of_the_fold_as_columns(seed, agents, every, chunk):
    run = world(seed, agents=agents, limits=PLAIN)
    records = Record(run.universe), Record(run.universe)
    assert all(isinstance(record, SampleLog) for record in records)
    assert both(run, every, records, chunk).samples > 100
    for name in ("ts", "days_ns", "equity_micro", "cash_micro", "books_micro", "gross", "drawdown", "fills"):
        assert list(getattr(records[0], name)) == list(getattr(records[1], name)), name
    assert len(records[0].ts) == DAYS
    for name in ("traded", "slippage_paid", "commission_micro", "borrow_micro", "interest_micro"):
        assert getattr(records[0], name) == pytest.approx(getattr(records[1], name), rel=1e-12), name


@pytest.mark.long
@pytest.mark.parametrize(("seed", "log"), product(range(3), (False, True)))
def test_bars_that_lack_symbols_are_those_of_the_engine(seed, log):
    """A twentieth of the bars is missing, and one symbol has none for the first days: those go by `step`."""
    steps = (Steps(), Steps(rows_only=not log))
    run = world(seed + 20, agents=1 + seed, limits=PLAIN)
    close = np.array(run.bars.close)
    rng = np.random.default_rng(seed)
    close[rng.random(close.shape) < 0.05] = np.nan
    close[:15, 1] = np.nan
    run.bars = block(close)
    taken = both(run, 21, steps, 50)
    assert taken.samples > taken.of_bars * 0.8
    assert steps[0].filled == steps[1].filled


@pytest.mark.long
def test_interest_and_borrow_fees_are_those_of_the_engine():
    """Cash has a rate but for some weeks, and a fall of a twentieth ends the run's trading."""
    limits = override(PLAIN, allow_short=True, max_realised_volatility=0.3, max_drawdown=0.05)
    acts = [lambda view, k=k: np.array([0.3, -0.2, 0.2, 0.1]) * (0.5 - (view.sample + k) % 3) for k in range(2)]
    run = World(block(walk(DAYS, 4, 7)), acts, house=limits, borrow_bp_annual=80.0)
    items = list(run.items())
    rated = [k for k, item in enumerate(items) if isinstance(item, Tick)]
    for k in [*rated[20:60], *rated[80:]]:
        items[k] = replace(items[k], cash_rate=RATE_ONE // 30)
    run.items = lambda: iter(items)
    for pair in ((Steps(), Steps()), (Record(run.universe), Record(run.universe))):
        assert both(run, 3, pair, 37).samples > 50
    for name in ("ts", "equity_micro", "cash_micro", "books_micro", "gross", "borrow_micro", "interest_micro"):
        assert getattr(pair[0], name) == getattr(pair[1], name), name
    assert min(pair[1].borrow_micro, pair[1].interest_micro) > 0


@pytest.mark.long
@pytest.mark.parametrize(("seed", "log"), product((1, 2), (False, True)))
def test_a_share_that_is_listed_late_and_one_that_dies_are_those_of_the_engine(seed, log):
    """Stops trail beside them."""
    steps = (Steps(), Steps(rows_only=not log))
    limits = override(PLAIN, protective=Protective(stop_loss=0.02, trailing=True, cooldown=2))
    run = world(seed, agents=seed, limits=limits)
    close = np.array(run.bars.close)
    close[:90, 3], close[120:, 2] = np.nan, np.nan
    last = run.bars.key[120]
    run.bars, run.actions = block(close), [Action(last + DAY_NS // 3, last, 2, "delisting", cash_nano=5 * NANO)]
    taken = both(run, 5, steps, 37)
    assert taken.samples > taken.of_bars * 0.8
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled


@pytest.mark.long
@pytest.mark.parametrize(("seed", "log"), product(range(3), (False, True)))
def test_days_of_shares_and_of_a_coin_are_those_of_the_engine(seed, log):
    """The coin's day ends eight hours after the sample of its date, and an order of it fills later than the others."""
    steps = (Steps(), Steps(rows_only=not log))
    run = world(seed + 31, symbols=3, agents=1 + seed, limits=PLAIN)
    days, close = len(run.bars), np.repeat(np.array(run.bars.close), 2, axis=0)
    key = np.repeat(START + np.arange(days) * DAY_NS, 2)
    fresh = np.isfinite(close) & (np.arange(2 * days)[:, None] % 2 == np.array([0, 0, 1]))
    close = np.where(fresh, close, np.nan)
    ends = np.tile([16, 24], days) * HOUR_NS
    run.bars = Block(
        ts_open=key + np.tile([10, 0], days) * HOUR_NS, ts_event=key + ends, key=key, open=close, high=close * 1.02,
        low=close * 0.98, close=close, volume=np.where(fresh, 1e7, np.nan), fresh=fresh,
    )  # fmt: skip
    begins = range(START, START + (days + 30) * DAY_NS, DAY_NS)
    coin = Sessions("24/7", "UTC", tuple(begins), tuple(begins), tuple(ts + DAY_NS for ts in begins))
    run._ticks = lambda: sample_ticks(run.sessions, [run.sessions, coin], DAY_NS, START, key[-1] + DAY_NS, START)
    taken = both(run, 21, steps, 50)
    assert taken.samples > days * 0.9
    assert taken.of_bars == 2 * days
    assert steps[0].filled == steps[1].filled


@pytest.mark.long
def test_the_engine_plans_after_crosses_of_the_fold():
    """Two agents exchange their positions, and a note, which the engine publishes, comes with some answers."""

    def act(view: View, first: bool) -> np.ndarray | Noted:
        weights = np.array([0.4, 0.1, 0.3, 0.05])
        answer = weights if first == bool(view.sample % 2) else weights[::-1].copy()
        return Noted(answer, f"{view.sample}") if first and not view.sample % 3 else answer

    steps = Steps(), Steps(rows_only=True)
    run = world(2, agents=2, limits=PLAIN)
    run.policies = [Plain(lambda view: act(view, True)), Plain(lambda view: act(view, False))]
    taken = both(run, 1, steps)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert any(b"Crossed" in step for step in steps[0].steps)
    assert taken.samples > taken.of_bars / 2


def test_a_trip_of_the_switch_is_found_at_its_sample():
    steps = Steps(), Steps(rows_only=True)
    limits = override(LIMITS, max_drawdown=0.04, max_daily_loss=0.015)
    both(world(2, limits=limits), 42, steps)
    assert any(b"Switched" in step for step in steps[0].steps)


def test_looser_limits_that_wait_apply_at_the_first_sample_after_their_delay():
    """Found by one of 10,000 random worlds: the samples of the delay and those after it were taken alike."""
    run = world(2)
    looser = replace(run.rules, house=override(LIMITS, max_gross_exposure=3.0))
    items = decided_every(list(run.items()), 21, 1)
    cut, half = (next(k for k, item in enumerate(items) if k > len(items) // n and type(item) is Tick) for n in (4, 2))
    begins, due = (item.ts for item in (items[cut], items[half]) if type(item) is Tick)
    waits = Reloaded(begins, "other", ("risk",), b"", in_force(looser), due, ("max_gross_exposure",))
    steps = Steps(), Steps(rows_only=True)
    single, together = stepped(run, steps[0]), run.fresh(steps[1])
    for part in (items[: cut + 1], items[cut + 1 :]):
        for item in part:
            single.take(item)
        together.take_all(part)
        if part[-1] is items[cut]:
            single.run(waits)
            together.run(waits)
    assert [step for step in steps[0].steps if b"the delay is over" in step]
    assert_same(single, together)
    assert together.state.rules.house.max_gross_exposure == 3.0


AGENTS = ((1, 1), (3, 2))
PROFILED = [
    (name, seed, *AGENTS[(k + seed + later) % 2])
    for later in range(2)
    for k, name in enumerate(("conservative", "balanced", "aggressive"))
    for seed in range(1, 4)
]
"""Each profile with each seed, first with one number of agents and then with the other."""

ONCE = {("conservative", 2), ("balanced", 1), ("aggressive", 3)}
"""Each profile and each seed once, with both numbers of agents, and with the limits of a profile and looser ones."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "seed", "agents", "every"),
    [
        pytest.param(*case, marks=() if case[:2] in ONCE and k < len(PROFILED) // 2 else pytest.mark.slow)
        for k, case in enumerate(PROFILED)
    ],
)
def test_plans_under_a_profile_are_those_of_the_engine(name, seed, agents, every):
    """Volatilities, correlations, volumes, realised measures, diversification and protective exits. Each profile
    has one seed and one number of agents; `pytest -m slow` takes each with each."""
    steps = Steps(), Steps(rows_only=True)
    looser = {} if name == "aggressive" or seed % 2 else {"max_volatility": 0.4, "max_drawdown": 0.5}
    limits = override(PROFILES[name], max_sector_weight=None, **looser)
    taken = both(world(seed, agents=agents, limits=limits), every, steps)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert taken.samples > taken.of_bars / 20
    assert taken.rounds > 1


CASH = 100_000 * MICRO
MOVING = {
    "a cap in money and a ramp": (PLAIN, {"live": Allowance(CASH // 2, ramp_days=40, ramp_from=0.2)}),
    "the largest order": (PLAIN, {"live": Allowance(order_micro=CASH // 20)}),
    "orders of a day": (PLAIN, {"live": Allowance(orders_per_day=2)}),
    "a volatile market": (PLAIN, {"regime": MarketRegime(0.1, 0.4, lookback=10)}),
    "turnover of a session": (override(PLAIN, max_turnover=0.05), {}),
    "an agent outside": (PLAIN, {"outside": (1,), "seats": ("a", "b")}),
}


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("name", MOVING)
def test_limits_that_move_or_count_and_agents_outside_are_those_of_the_engine(name: str) -> None:
    """The fold takes all bars and samples of mode live, of a regime, of a limit that counts, and beside agents that are
    never asked."""
    limits, rules = MOVING[name]
    market = world(5, agents=2, limits=limits)
    market.rules = replace(market.rules, **rules)
    steps = Steps(), Steps(rows_only=True)
    taken = both(market, 3, steps)
    assert taken.samples > 0.9 * taken.of_bars
    plans = [effect for step in steps[0].steps for effect in decode(step).effects if isinstance(effect, Planned)]
    cut = {reason for plan in plans for reason in plan.reason}
    wanted = {
        "a cap in money and a ramp": {Reason.ACCOUNT_NOTIONAL, Reason.RAMP},
        "the largest order": {Reason.ORDER_NOTIONAL},
        "orders of a day": {Reason.ORDERS_PER_DAY},
        "a volatile market": {Reason.VOLATILE},
        "turnover of a session": {Reason.TURNOVER},
    }
    assert cut & wanted.get(name, cut), "the limit cuts"


def far(market: World, log: Steps, *, handled: bool, power: float = 0.0) -> tuple[Shell, int]:
    """A run at a venue across a network, whose reports come a bar late; the bars taken while an order was open.

    With `power` the venue reports this part of equity as buying power, after each bar's reports.
    """

    def ask(question: Ask) -> Decided:
        return answer(market.policies[question.policy], question)

    shell = Shell(State(market.rules), Wire(), ask, interval_ns=DAY_NS, log=log, remote=True)
    shell = by_handlers(shell) if handled else shell
    venue, late, beside = Paper(market.universe, market.costs), list[BrokerNews](), 0
    for item in decided_every(list(market.items()), 3, len(market.rules.agents)):
        shell.take(item)
        if isinstance(item, MarketSlice):
            beside += bool(shell.state.working)
            for news in late:
                shell.run(news)
            late = list(venue.on_slice(item))
            if power:
                state = shell.state
                micro = int(power * state.equity_of(HOUSE))
                held = [int(lots) for lots in state.lots(HOUSE)]
                shell.run(Reconciled(item.ts_event, held, None, micro, counted=counted(state)))
        for request in shell.outgoing():
            if isinstance(request, OrderBasket):
                for news in venue.submit(request):
                    shell.run(news)
    return shell, beside


@pytest.mark.long
def test_bars_beside_orders_across_a_network_are_those_of_the_engine() -> None:
    market = world(2, agents=2, limits=PLAIN)
    steps = Steps(), Steps()
    (single, _), (folded, beside) = (far(market, log, handled=log is steps[0]) for log in steps)
    assert_same_steps(*steps)
    assert_same(single, folded)
    assert beside > 50
    assert folded.samples[0] > 0.5 * sum(folded.samples)


@pytest.mark.long
@pytest.mark.parametrize("live", [None, Allowance(CASH // 2, ramp_days=40, ramp_from=0.2)])
def test_decisions_under_the_buying_power_of_a_venue_are_planned_by_the_fold(live: Allowance | None) -> None:
    """As in mode live: the bound moves at each sample and with each order, and notices follow plans."""
    market = world(5, agents=2, limits=PLAIN, notices=Notices(milestone=0.01, rebalances=True))
    market.rules = replace(market.rules, live=live, counts_refusals=True)
    steps = Steps(), Steps()
    (single, _), (folded, _) = (far(market, log, handled=log is steps[0], power=0.05) for log in steps)
    assert_same_steps(*steps)
    assert_same(single, folded)
    assert single.keep() == folded.keep()
    plans = [effect for step in steps[0].steps for effect in decode(step).effects if isinstance(effect, Planned)]
    assert any(Reason.BUYING_POWER in plan.reason for plan in plans), "the limit cuts"
    assert b"rebalance: " in b"".join(steps[1].steps)
    assert folded.state.noted.refused
    assert folded.state.rounds_taken > len(plans) / 4, "beside open orders of an agent the engine plans"


def test_a_run_whose_venue_alone_knows_its_fills_is_planned_by_the_columns() -> None:
    """Slippage that varies at random, or costs by symbol: the columns cannot compute a fill."""
    run = world(1, agents=2, limits=PLAIN)
    run.costs = Costs(commission_bp=1.0, slippage_bp=2.0, slippage_noise=0.5, seed=3)
    taken = both(run, 5, (Steps(), Steps(rows_only=True)))
    assert taken.samples > 0.9 * taken.of_bars
    assert taken.rounds > 0.8 * taken.of_bars / 5
    assert taken.fills == 0


def test_a_carried_account_is_taken_by_the_columns_after_what_it_has() -> None:
    run = world(1, limits=PLAIN)
    items = decided_every(list(run.items()), 1, 1)
    before = run.fresh()
    before.take_all(items[: len(items) // 2])
    account = carry_of(freeze(before.state), run.universe, ("a0",), simulated=True)
    until = before.state.now
    shells = [by_handlers(run.fresh()), run.fresh()]
    for shell in shells:
        shell.run(Carried(until, "r1", account, until, until))
        for item in items:
            had = isinstance(item, Tick) and item.ts <= until
            shell.take(replace(item, warmup=True, due=()) if had else item)
    assert_same(*shells)
    assert shells[1].samples[0] > DAYS // 2 - 5


@pytest.mark.long
def test_a_run_leaves_no_circle_of_references() -> None:
    """A sweep makes thousands of states, and no garbage collection runs while a point does."""
    run = world(1, agents=2, limits=PLAIN)
    items = decided_every(list(run.items()), 1, 2)
    gc.collect()
    gc.disable()
    try:
        shell = run.fresh(Record(run.universe))
        shell.take_all(items)
        gone = weakref.ref(shell), weakref.ref(shell.state)
        assert shell.state.bars_taken > 100
        del shell
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.long
def test_a_bar_of_another_block_that_lacks_a_symbol_leaves_the_last_bar_as_it_was() -> None:
    """Each bar is a block of its own, as live bars are; some lack a symbol."""
    run = world(3, agents=2, limits=PLAIN)
    whole = list(run.items())
    run.items = lambda: (slice_of(bars_of(item)) if isinstance(item, MarketSlice) else item for item in whole)
    taken = both(run, 5, (Steps(), Steps(rows_only=True)))
    assert 0 < taken.samples < taken.of_bars


@pytest.mark.long
@pytest.mark.parametrize(("days", "every", "chunk"), [(3, 7, 9999), (2, 1, 50)])
def test_minutes_are_those_of_the_engine_with_the_volumes_of_their_sessions(days: int, every: int, chunk: int) -> None:
    rng = np.random.default_rng(days)
    volume = rng.uniform(1e3, 1e5, (days * SESSION, 3))
    volume[rng.random(volume.shape) < 0.05] = np.nan
    limits = override(PLAIN, max_share_of_volume=0.05, max_daily_loss=0.5)
    acts = [turned(0), turned(1)]
    run = Minutes(minutes(drift(days, 3, days), volume=volume), acts, Execution(), [], house=limits)
    steps = Steps(), Steps(rows_only=True)
    taken = both(run, every, steps, chunk)
    assert taken.samples == taken.of_bars - 1
    assert taken.rounds > 0.8 * taken.of_bars / every
    assert taken.fills > 0


@pytest.mark.long
def test_orders_of_two_agents_that_could_meet_are_those_of_the_engine() -> None:
    """An order that starts to fill later is still open when another agent wants the opposite, and at the close."""
    acts = [lambda view: np.full(2, 0.4 if view.sample % 3 else 0.2), lambda view: np.full(2, -0.2 * (view.sample % 3))]
    costs = Costs(latency_ns=90 * NANO)
    limits = Limits(max_position_weight=0.45, max_gross_exposure=1.0, allow_short=True)
    run = Minutes(minutes(drift(1, 2, 5)), acts, Execution(), [], house=limits, costs=costs)
    steps = Steps(), Steps(rows_only=True)
    assert both(run, 1, steps).rounds > 10


def turned(number: int):
    """A policy whose weights turn with the sample."""
    return lambda view: np.roll([0.5, 0.3, 0.1], view.sample + number)
