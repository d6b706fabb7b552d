"""Rows taken in a batch leave the same records, digest, venue and state as rows taken one by one."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine.batches.batch import Batch
from quantd.daemon.engine.batches.eligibility import plain
from quantd.daemon.engine.batches.kernel import LEVELS_OF_PLAN, LEVELS_OF_ROW, OTHER_PLAN
from quantd.daemon.engine.batches.tables import gate_set
from quantd.daemon.engine.snapshot import in_force
from quantd.daemon.runtime.loop import SampleLog, Shell
from quantd.daemon.runtime.timeline import Item
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import PROFILES, Correlation, Limits, Protective, Reason, Tail, override
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Effect, Filled, Planned, Valued
from quantd.trading.events import Action, Event, Reloaded, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import Noted, View
from tests.support.engine import START, Plain, World, block, walk

LIMITS = Limits(
    max_position_weight=0.3, max_gross_exposure=1.7, max_herfindahl=0.4, max_drawdown=0.2, max_daily_loss=0.04,
    max_weekly_loss=0.08, var=Tail(limit=0.02), cvar=Tail(limit=0.05), max_volatility=0.2,
    correlation=Correlation(joint_weight=0.5), in_flight=1.0, max_cash_debit=1.0,
)  # fmt: skip


PLAIN = Limits(
    max_position_weight=0.45, max_gross_exposure=1.0, max_drawdown=0.5, var=Tail(limit=0.03),
    correlation=Correlation(joint_weight=0.9),
)  # fmt: skip
"""Limits that kernels decide without a covariance."""


DAYS = 200


class Steps:
    """A log of all steps as the journal encodes them; with `rows_only` of valuations and fills."""

    def __init__(self, rows_only: bool = False) -> None:
        self.rows_only = rows_only
        self.steps: list[bytes] = []
        self.filled: list[Filled] = []
        self.valued: list[Valued] = []

    def answer(self, ask: object) -> None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.steps.append(encode(event, effects))
        self.valued.extend(each for each in effects if isinstance(each, Valued))
        self.filled.extend(each for each in effects if isinstance(each, Filled))


def decided_every(items: list[Item], every: int, agents: int) -> list[Item]:
    """The items with all agents due at every n-th sample only."""
    ticks = [k for k, item in enumerate(items) if type(item) is Tick]
    due = {ticks[k] for k in range(0, len(ticks), every)}
    return [replace(item, due=tuple(range(agents))) if k in due else item for k, item in enumerate(items)]


class Taken:
    """Counts of what batches did in one run."""

    def __init__(self) -> None:
        self.rows = self.plans = self.other_plans = self.fills = self.orders = self.checks = self.calls = 0

    def counting(self, take: Callable[[Batch], int]) -> Callable[[Batch], int]:
        """`Batch.take` that counts."""

        def counted(batch: Batch) -> int:
            before, waits = batch.rows, batch.waits
            status = take(batch)
            self.rows += batch.rows - before
            self.calls += 1
            self.plans += waits and status != OTHER_PLAN
            self.other_plans += status == OTHER_PLAN
            self.checks += status in (LEVELS_OF_PLAN, LEVELS_OF_ROW)
            self.fills, self.orders = self.fills + batch.fills, self.orders + batch.sent
            return status

        return counted


def snapshot_of(shell: Shell) -> object:
    """A decoded snapshot without the measured values of limits, which a run without records leaves out."""
    whole = msgspec.msgpack.decode(shell.keep())
    return without_values({**whole, **{part: msgspec.msgpack.decode(whole[part]) for part in ("state", "broker")}})


def without_values(frozen: object) -> object:
    if isinstance(frozen, dict):
        return {key: without_values(value) for key, value in frozen.items() if key != "values"}
    if not isinstance(frozen, list) or (frozen and isinstance(frozen[0], int | float)):
        return frozen  # most are long columns of numbers
    return [without_values(value) for value in frozen]


def both(world: World, every: int, steps: tuple[Steps, Steps], chunk: int = 10_000) -> tuple[Taken, int]:
    """Take the items of a world one by one and in batches; what the batches did, and the number of rows."""
    items = decided_every(list(world.items()), every, len(world.rules.agents))
    single, together = world.fresh(steps[0]), world.fresh(steps[1])
    taken = Taken()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "take", taken.counting(Batch.take))
        together.in_batches = True
        for at in range(0, len(items), chunk):
            for item in items[at : at + chunk]:
                single.take(item)
            together.take_all(items[at : at + chunk])
            assert snapshot_of(single) == snapshot_of(together)
    assert single.digest.hexdigest() == together.digest.hexdigest()
    assert single.tally == together.tally
    assert single.state.ledger.freeze() == together.state.ledger.freeze()
    for book in range(-1, len(world.rules.agents)):
        assert together.state.lots(book).tolist() == together.state.account(book).lots
    return taken, sum(type(item) is MarketSlice for item in items)


def world(
    seed: int, days: int = DAYS, symbols: int = 4, agents: int = 1, limits: Limits = LIMITS, **more: object
) -> World:
    rng = np.random.default_rng(seed)
    close = walk(days, symbols, seed)
    if seed % 3 == 0:
        close[rng.integers(0, days, 5), rng.integers(0, symbols, 5)] = np.nan
    acts = [
        lambda view, k=k: np.full(symbols, 0.8 / symbols) if k else _tilted(view.sample, symbols) for k in range(agents)
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


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize(("seed", "agents"), [(seed, (1, 3)[(seed + k) % 2]) for k in range(2) for seed in range(6)])
def test_samples_taken_together_are_those_taken_one_by_one(seed, agents):
    steps = Steps(), Steps()
    taken, rows = both(world(seed, agents=agents), 21, steps)
    assert steps[0].steps == steps[1].steps
    assert seed % 3 == 0 or taken.rows > rows / 3  # a gap in the returns of the year before ends them
    assert taken.plans == taken.other_plans == 0  # a journal has the values of all plans


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize(
    ("seed", "agents", "every", "chunk"),
    [(1, 3, 1, 9999), (2, 1, 5, 37), (4, 2, 1, 3), (5, 3, 21, 64), (1, 1, 1, 9999), (2, 3, 5, 9999), (7, 2, 2, 9999)],
)
def test_plans_and_fills_in_batches_are_those_of_the_engine(seed, agents, every, chunk):
    steps = Steps(rows_only=True), Steps(rows_only=True)
    made = world(seed, agents=agents, limits=PLAIN)
    taken, rows = both(made, every, steps, chunk)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert taken.plans > rows / every / 3
    assert taken.fills > taken.orders / 3 > 0


def test_plans_whose_refusals_a_message_counts_are_left_to_the_engine():
    steps = Steps(rows_only=True), Steps(rows_only=True)
    made = world(1, limits=override(PLAIN, restricted=("S1",)), counts_refusals=True)
    taken, _ = both(made, 5, steps)
    assert taken.rows > 0
    assert taken.plans == 0


def test_a_limit_on_the_average_correlation_leaves_every_row_to_the_engine():
    steps = Steps(), Steps()
    made = world(4, agents=2, limits=override(PLAIN, average_correlation=0.01))
    taken, _ = both(made, 5, steps)
    assert steps[0].steps == steps[1].steps
    assert taken.rows == 0
    assert gate_set(PLAIN, made.universe) is not None
    assert gate_set(override(PLAIN, average_correlation=0.01), made.universe) is None
    plans = [effect for step in steps[0].steps for effect in decode(step).effects if isinstance(effect, Planned)]
    assert any(Reason.AVERAGE_CORRELATION in plan.reason for plan in plans)


@pytest.mark.parametrize(("seed", "agents", "every", "chunk"), [(1, 3, 1, 9999), (2, 1, 5, 37), (4, 2, 21, 64)])
def test_a_record_takes_the_samples_of_a_batch_as_columns(seed, agents, every, chunk):
    made = world(seed, agents=agents, limits=PLAIN)
    records = Record(made.universe), Record(made.universe)
    assert all(isinstance(each, SampleLog) for each in records)
    taken, _ = both(made, every, records, chunk)
    assert taken.rows > 100
    for name in ("ts", "days_ns", "known_micro", "cash_micro", "books_micro", "gross", "drawdown", "fills"):
        assert list(getattr(records[0], name)) == list(getattr(records[1], name)), name
    assert len(records[0].ts) == DAYS
    for name in ("traded", "slippage_paid", "commission_micro", "borrow_micro", "interest_micro"):
        assert getattr(records[0], name) == pytest.approx(getattr(records[1], name), rel=1e-12), name


@pytest.mark.parametrize("seed", range(4))
def test_costs_and_limits_of_venues_are_those_of_the_engine(seed):
    steps = Steps(rows_only=True), Steps(rows_only=True)
    made = world(seed + 10, agents=1 + seed % 3, limits=PLAIN)
    made.costs = Costs(
        commission_bp=1.0, spread_bp=2.0, commission_min_micro=seed % 2 * 1_000_000, participation=0.1,
        impact=5.0 * (seed > 1),
    )  # fmt: skip
    taken, _ = both(made, 3, steps, 50)
    assert steps[0].filled == steps[1].filled
    assert seed == 2 or taken.fills > 0


def test_the_engine_plans_after_crosses_of_a_batch():
    """Two agents exchange their positions, and a note, which the engine publishes, comes with some answers."""

    def act(view: View, first: bool) -> np.ndarray | Noted:
        weights = np.array([0.4, 0.1, 0.3, 0.05])
        answer = weights if first == bool(view.sample % 2) else weights[::-1].copy()
        return Noted(answer, f"{view.sample}") if first and not view.sample % 3 else answer

    steps = Steps(rows_only=True), Steps(rows_only=True)
    made = world(2, agents=2, limits=PLAIN)
    made.policies = [Plain(lambda view: act(view, True)), Plain(lambda view: act(view, False))]
    taken, rows = both(made, 1, steps)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert any(b"Crossed" in step for step in steps[0].steps)
    assert taken.rows > rows / 2


@pytest.mark.parametrize("agents", [1, 3])
def test_dividends_are_paid_inside_a_batch_once(agents):
    steps = Steps(rows_only=True), Steps(rows_only=True)
    made = world(2, agents=agents, limits=PLAIN)
    close = made.bars.close
    open_ = np.vstack([close[:1], close[:-1]])
    days = range(80, DAYS - 20, 4)
    open_[[day for day in days if day % 3 == 0]] *= 1.08  # beyond the worst price of a purchase
    made.bars = block(close.copy(), open_)
    made.actions = [
        Action(START + day * DAY_NS + DAY_NS // 3, START + day * DAY_NS, day % 4, "dividend", cash_nano=730_000_000)
        for day in days for _ in range(1 + day % 2)
    ]  # fmt: skip
    taken, rows = both(made, 1, steps)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert any(b"Booked" in step for step in steps[0].steps)
    assert taken.rows > rows / 2


def test_protective_levels_end_a_quiet_run():
    steps = Steps(), Steps()
    limits = override(LIMITS, protective=Protective(stop_loss=0.05, take_profit=0.08))
    taken, _ = both(world(4, limits=limits), 42, steps)
    assert steps[0].steps == steps[1].steps
    assert taken.rows > 50


def test_a_trip_of_the_switch_is_found_at_its_sample():
    steps = Steps(), Steps()
    limits = override(LIMITS, max_drawdown=0.04, max_daily_loss=0.015)
    both(world(2, limits=limits), 42, steps)
    assert steps[0].steps == steps[1].steps
    assert any(b"Switched" in step for step in steps[0].steps)


def test_looser_limits_that_wait_apply_at_the_first_sample_after_their_delay():
    """Found by one of 10,000 random worlds: a batch took the samples of the delay and those after it."""
    made = world(2)
    looser = replace(made.rules, house=override(LIMITS, max_gross_exposure=3.0))
    items = decided_every(list(made.items()), 21, 1)
    cut, half = (next(k for k, item in enumerate(items) if k > len(items) // n and type(item) is Tick) for n in (4, 2))
    begins, due = (item.ts for item in (items[cut], items[half]) if type(item) is Tick)
    waits = Reloaded(begins, "other", ("risk",), b"", in_force(looser), due, ("max_gross_exposure",))
    steps = Steps(), Steps()
    single, together = made.fresh(steps[0]), made.fresh(steps[1])
    together.in_batches = True
    for part in (items[: cut + 1], items[cut + 1 :]):
        for item in part:
            single.take(item)
        together.take_all(part)
        if part[-1] is items[cut]:
            single.run(waits)
            together.run(waits)
    assert steps[0].steps == steps[1].steps
    assert [step for step in steps[0].steps if b"the delay is over" in step]
    assert single.digest.hexdigest() == together.digest.hexdigest()
    assert together.state.rules.house.max_gross_exposure == 3.0


AGENTS = ((1, 1), (3, 2))
PROFILED = [
    (name, seed, *AGENTS[(k + seed + later) % 2])
    for later in range(2)
    for k, name in enumerate(("conservative", "balanced", "aggressive"))
    for seed in range(1, 4)
]
"""Each profile with each seed, first with one number of agents and then with the other."""


@pytest.mark.quick_cases(9)
@pytest.mark.parametrize(("name", "seed", "agents", "every"), PROFILED)
def test_plans_under_a_profile_are_those_of_the_engine(name, seed, agents, every):
    """Volatilities, correlations, volumes, realised measures, diversification and protective exits."""
    steps = Steps(rows_only=True), Steps(rows_only=True)
    looser = {} if name == "aggressive" or seed % 2 else {"max_volatility": 0.4, "max_drawdown": 0.5}
    limits = override(PROFILES[name], max_sector_weight=None, **looser)
    taken, rows = both(world(seed, agents=agents, limits=limits), every, steps)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert taken.rows > rows / 20
    assert taken.plans > 1


def test_a_log_of_all_steps_has_the_realised_measures_of_the_engine():
    steps = Steps(), Steps()
    taken, _ = both(world(1, limits=override(PROFILES["balanced"], allow_short=None)), 21, steps)
    assert steps[0].steps == steps[1].steps
    assert taken.rows == 0


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
