"""Worlds that are taken by the handlers and by the columns of the fold, and what each leaves."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.runtime.host.fold_host import FoldHost
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log, Unanswered
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Effect, Filled, Valued
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


PLAIN = Limits(
    max_position_weight=0.45, max_gross_exposure=1.0, max_drawdown=0.5, var=Tail(limit=0.03),
    correlation=Correlation(joint_weight=0.9),
)  # fmt: skip
"""Limits that bounds decide without a covariance."""


DAYS = 200


class Steps(Unanswered):
    """A log of all steps as the journal encodes them; with `rows_only` of samples and fills."""

    def __init__(self, rows_only: bool = False) -> None:
        self.rows_only = rows_only
        self.steps: list[bytes] = []
        self.filled: list[Filled] = []
        self.valued: list[Valued] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.steps.append(encode(event, effects))
        self.valued.extend(effect for effect in effects if isinstance(effect, Valued))
        self.filled.extend(effect for effect in effects if isinstance(effect, Filled))


class Taken:
    """What the fold took of a run, of so many bars, and how often Python measured limits for it."""

    def __init__(self, bars: int) -> None:
        self.of_bars = bars
        self.samples = self.rounds = self.fills = self.measurements = 0

    def count(self, shell: Shell) -> None:
        """Read the counts of a shell."""
        state = shell.state
        self.samples, self.rounds = state.samples_taken, state.rounds_taken


def snapshot_of(shell: Shell) -> object:
    """A decoded snapshot without the measured values of limits, which a run without records leaves out."""
    snapshot = msgspec.msgpack.decode(shell.keep())
    return without_values(
        {**snapshot, **{part: msgspec.msgpack.decode(snapshot[part]) for part in ("state", "broker")}}
    )


def without_values(frozen: object) -> object:
    if isinstance(frozen, dict):
        return {key: without_values(value) for key, value in frozen.items() if key != "values"}
    if not isinstance(frozen, list) or (frozen and isinstance(frozen[0], int | float)):
        return frozen  # most are long columns of numbers
    return [without_values(value) for value in frozen]


def by_handlers(shell: Shell) -> Shell:
    """The same shell, whose fold is never ready: Python handlers do all that follows closes and histories."""
    ready = shell._fold_host

    def never_ready() -> FoldHost:
        host = ready()
        host.plain = lambda: False  # type: ignore[method-assign]
        return host

    shell._fold_host = never_ready  # type: ignore[method-assign]
    return shell


def stepped(world: World, log: Log) -> Shell:
    """A shell at the start of a world whose items all go by handlers."""
    return by_handlers(world.fresh(log))


def both(world: World, every: int, steps: tuple[Steps, Steps], chunk: int = 10_000) -> Taken:
    """Take the items of a world by handlers and by columns, which must leave the same. Returns what the fold took.

    A third side takes them one by one by the fold, with a log of all steps: it must have the bytes and the snapshots of
    the handlers, values of limits included.
    """
    items = decided_every(list(world.items()), every, len(world.rules.agents))
    journal = Steps()
    single, together, single_fold = stepped(world, steps[0]), world.fresh(steps[1]), world.fresh(journal)
    counts = Taken(sum(type(item) is MarketSlice for item in items))

    def synced(host: FoldHost) -> None:
        if host.state is together.unsettled:
            counts.fills += len(host.state.venue_orders.filled) * host.state.folding
        sync(host)

    def counted(measure: Callable[[FoldHost], None]) -> Callable[[FoldHost], None]:
        def measured(host: FoldHost) -> None:
            counts.measurements += host.state is together.unsettled
            measure(host)

        return measured

    sync = FoldHost.sync
    with pytest.MonkeyPatch.context() as patch:
        for name in ("check_levels", "check_plan"):
            patch.setattr(FoldHost, name, counted(getattr(FoldHost, name)))
        patch.setattr(FoldHost, "sync", synced)
        for at in range(0, len(items), chunk):
            for item in items[at : at + chunk]:
                single.take(item)
                single_fold.take(item)
            together.take_all(items[at : at + chunk])
            assert snapshot_of(single) == snapshot_of(together)
            assert single.keep() == single_fold.keep()
    if isinstance(steps[0], Steps):
        assert_same_steps(steps[0], journal)
    assert single_fold.samples == together.samples
    assert together.state.bars_taken == counts.of_bars
    assert_same(single, together)
    assert_same(single, single_fold)
    counts.count(together)
    assert lacks_of(single) == pytest.approx(lacks_of(together), rel=1e-9, abs=1e-9)
    return counts


def lacks_of(shell: Shell) -> list[float]:
    """What the agents were asked for and held, and what they lack by cause, summed over samples."""
    lacks = [agent.lacks for agent in shell.state.agents]
    return [figure for each in lacks for figure in (float(each.samples), each.asked, each.held, *each.sums)]


def assert_same_steps(expected: Steps, journal: Steps) -> None:
    """Both have the same bytes; a difference names the first step."""
    for number, (expected_step, step) in enumerate(zip(expected.steps, journal.steps, strict=False)):
        assert decode(expected_step) == decode(step), f"step {number}"
        assert expected_step == step, f"step {number}"
    assert len(expected.steps) == len(journal.steps)


def assert_same(single: Shell, together: Shell) -> None:
    """Both have the same digest, tally, books and positions."""
    assert single.digest.hexdigest() == together.digest.hexdigest()
    assert single.tally == together.tally
    assert single.state.ledger.freeze() == together.state.ledger.freeze()
    for book in range(-1, len(single.state.agents)):
        assert together.state.lots(book).tolist() == together.state.account(book).lots


def decided_every(items: list[Item], every: int, agents: int) -> list[Item]:
    """The items with all agents due at every n-th sample only."""
    ticks = [k for k, item in enumerate(items) if type(item) is Tick]
    due = {ticks[k] for k in range(0, len(ticks), every)}
    return [replace(item, due=tuple(range(agents))) if k in due else item for k, item in enumerate(items)]


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
    scenario = World(
        block(close), acts, house=limits, costs=Costs(commission_bp=1.0, spread_bp=2.0),
        actions=actions if seed % 2 else (), **more,
    )  # fmt: skip
    rules = replace(scenario.rules, agents=tuple(replace(agent, scheduled=True) for agent in scenario.rules.agents))
    scenario.rules = rules
    return scenario


def _tilted(count: int, symbols: int) -> np.ndarray:
    weights = 1.0 + 0.5 * np.sin(np.arange(symbols) * 1.7 + count)
    return weights / weights.sum() * 0.9
