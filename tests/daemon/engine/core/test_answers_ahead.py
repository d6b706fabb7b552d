"""Samples with answers known in advance leave the same records, digest, venue and state as items one by one."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.runtime.advance_answers import MOST_AHEAD, AnswersAhead, Foreseen
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log, NoLog
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import PROFILES, Protective, override
from quantd.trading.effects import Ask
from quantd.trading.events import Action, Decided, Tick
from quantd.trading.execution import Costs
from quantd.trading.history.rings import Ring
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View
from tests.support.engine import START, Plain, World, block
from tests.support.fold import (
    DAYS,
    PLAIN,
    Steps,
    assert_same,
    assert_same_steps,
    decided_every,
    snapshot_of,
    stepped,
    world,
)

COLUMNS = (
    "ts", "days_ns", "equity_micro", "cash_micro", "books_micro", "gross", "drawdown", "fills", "traded",
    "slippage_paid", "commission_micro", "borrow_micro", "interest_micro",
)  # fmt: skip


def weights_at(sample: int, agent: int, symbols: int) -> Floats:
    """Weights of one sample: some agents turn over the whole book from time to time."""
    weights = 1.0 + 0.5 * np.sin(np.arange(symbols) * 1.7 + sample * (1 + agent))
    if (sample + agent) % 11 == 0:
        weights[: symbols // 2] = 0.0
    return weights / weights.sum() * (0.95 if agent != 1 else 0.3 + 0.6 * (sample % 2))


class Known:
    """The answers of a world, of which each call gives at most `most`."""

    def __init__(self, shell: Shell, symbols: int, most: int = 1_000) -> None:
        self._act, self._symbols, self._most = shell.answer, symbols, most
        self.samples: dict[int, int] = {}
        """The number of each sample, by instant."""
        self.asked = 0
        self.given = 0
        self.planned_rows: list[int] = []
        self.later: Counter[int] = Counter()

    def __call__(self, ask: Ask) -> Decided:
        self.asked += 1
        assert ask.view.sample == self.samples[ask.view.time]
        return self._act(ask)

    def ahead(self, samples: Iterable[tuple[int, list[int]]], seats: Sequence[int]) -> list[AnswersAhead]:
        samples = list(samples)
        assert [ts for ts, _ in samples] == sorted({ts for ts, _ in samples})
        answers = [
            AnswersAhead(ts, {k: weights_at(self.samples[ts], k, self._symbols).tobytes() for k in due})
            for ts, due in samples[: self._most]
        ]
        self.given += len(answers)
        return answers

    def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
        assert prices.shape == (len(answers), self._symbols)
        assert ring.count - later == self.samples[answers[-1].ts]
        newest = ring.prices[ring.end - 1 - later]
        assert newest.tobytes() == prices[-1].tobytes()
        self.planned_rows.append(len(answers))
        self.later[later] += 1


def known_world(seed: int, agents: int, symbols: int = 4, **more: object) -> World:
    run = world(seed, agents=agents, symbols=symbols, **more)  # type: ignore[arg-type]

    def act(agent: int) -> Callable[[View], Floats]:
        return lambda view: weights_at(view.sample, agent, symbols)

    run.policies = [Plain(act(k)) for k in range(agents)]
    return run


def both(run: World, every: int, chunk: int = 9_999, most: int = 1_000, *, always: bool = False) -> tuple[Known, Shell]:
    """Take a world by `step`, and with answers known in advance; the answers, and the shell that had them."""
    if always:
        run.rules = replace(run.rules, agents=tuple(replace(agent, scheduled=False) for agent in run.rules.agents))
    agents = len(run.rules.agents)
    items = list(run.items()) if always else decided_every(list(run.items()), every, agents)
    records = Record(run.universe), Record(run.universe)
    single, together = stepped(run, records[0]), run.fresh(records[1])
    answers = together.answer = Known(together, run.universe.size, most)
    assert isinstance(answers, Foreseen)
    ticks = [item.ts for item in items if type(item) is Tick and item.sample]
    answers.samples = {ts: number for number, ts in enumerate(ticks, 1)}
    for at in range(0, len(items), chunk):
        for item in items[at : at + chunk]:
            single.take(item)
        together.take_all(items[at : at + chunk])
        assert snapshot_of(single) == snapshot_of(together)
    assert single.digest.hexdigest() == together.digest.hexdigest()
    assert single.tally == together.tally
    for name in COLUMNS:
        one, other = getattr(records[0], name), getattr(records[1], name)
        assert one == other if isinstance(one, float) else np.array_equal(one, other), name
    assert vars(records[0].failures) == vars(records[1].failures)
    return answers, together


CASES = [
    (seed, agents, every, chunk, most)
    for k, (every, chunk, most) in enumerate(((1, 9_999, 1_000), (1, 37, 5), (2, 9_999, 1_000), (5, 64, 1_000)))
    for seed, agents in ((1, 1), (2, 1), (4, 3), (7, 2))
    if (k + seed) % 2
]


@pytest.mark.one_of(3)
@pytest.mark.long
@pytest.mark.parametrize(("seed", "agents", "every", "chunk", "most"), CASES)
def test_rounds_of_answers_known_in_advance_are_those_of_the_engine(
    seed: int, agents: int, every: int, chunk: int, most: int
) -> None:
    answers, _ = both(known_world(seed, agents, limits=PLAIN), every, chunk, most)
    planned = sum(answers.planned_rows)
    assert planned > DAYS / every / 8
    assert max(answers.planned_rows) <= min(most, MOST_AHEAD)
    assert answers.given <= 3 * planned + DAYS, "what is given in vain bounds what is given next"


@pytest.mark.long
@pytest.mark.parametrize(("seed", "agents"), [(2, 1), (4, 3)])
def test_answers_of_agents_without_a_schedule_are_known_in_advance(seed: int, agents: int) -> None:
    answers, _ = both(known_world(seed, agents, limits=PLAIN), 1, always=True)
    assert sum(answers.planned_rows) > DAYS / 4


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=() if row == column else pytest.mark.slow)
        for column, seed in enumerate((1, 2, 5))
        for row, name in enumerate(("conservative", "balanced", "aggressive"))
    ],
)
def test_answers_known_in_advance_pass_the_limits_of_a_profile(name: str, seed: int) -> None:
    """Each profile has one seed; `pytest -m slow` adds the other seeds."""
    limits = override(PROFILES[name], max_sector_weight=None, max_volatility=0.4, max_drawdown=0.5)
    both(known_world(seed, 1 + seed % 2, limits=limits), 1)


@pytest.mark.long
def test_levels_that_may_change_do_not_end_what_is_known() -> None:
    rounds = 0
    for seed in (1, 2, 4, 5):
        limits = override(PLAIN, protective=Protective(stop_loss=0.05, take_profit=0.08), max_weekly_loss=0.05)
        answers, shell = both(known_world(seed, 1 + seed % 3, limits=limits), 1)
        rounds += sum(answers.planned_rows)
        assert shell.tally.alerts > 0
    assert rounds > DAYS


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_costs_that_fill_orders_in_part_are_those_of_the_engine(seed: int) -> None:
    run = known_world(seed + 10, 1 + seed, limits=PLAIN)
    run.costs = Costs(
        commission_bp=1.0, spread_bp=2.0, commission_min_micro=seed % 2 * 1_000_000, participation=0.1, impact=5.0
    )
    both(run, 1, 50)


@pytest.mark.long
@pytest.mark.parametrize("agents", [1, 3])
def test_dividends_come_between_answers_known_in_advance(agents: int) -> None:
    run = known_world(2, agents, limits=PLAIN)
    close = run.bars.close
    open_ = np.vstack([close[:1], close[:-1]])
    days = range(9, DAYS - 20, 9)
    open_[[day for day in days if day % 3 == 0]] *= 1.08  # beyond the worst price of a purchase
    run.bars = block(close.copy(), open_)
    run.actions = [
        Action(START + day * DAY_NS + DAY_NS // 3, START + day * DAY_NS, day % 4, "dividend", cash_nano=730_000_000)
        for day in days
    ]
    answers, _ = both(run, 1)
    assert sum(answers.planned_rows) > DAYS / 4


def test_a_run_without_a_log_has_the_state_of_one_with_a_record() -> None:
    run = known_world(2, 2, limits=PLAIN)
    items = decided_every(list(run.items()), 1, 2)
    outcomes = []
    for log in (NoLog(), Record(run.universe)):
        shell = run.fresh(log)
        answers = shell.answer = Known(shell, 4)
        answers.samples = {item.ts: k for k, item in enumerate([tick for tick in items if type(tick) is Tick], 1)}
        shell.take_all(items)
        assert sum(answers.planned_rows) > DAYS / 4
        outcomes.append((shell.digest.hexdigest(), shell.tally, snapshot_of(shell)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.long
@pytest.mark.parametrize("beside", [False, True], ids=["journal", "journal behind a record"])
def test_with_a_log_of_all_steps_no_answer_is_taken_in_advance(beside: bool) -> None:
    """Each question is in its journal."""
    run = known_world(2, 2, limits=PLAIN)
    items = decided_every(list(run.items()), 1, 2)
    steps = Steps(), Steps()
    logs: list[Log] = [Record(run.universe, after=log) if beside else log for log in steps]
    single, together = stepped(run, logs[0]), run.fresh(logs[1])
    answers = together.answer = Known(together, 4)
    answers.samples = {item.ts: k for k, item in enumerate([tick for tick in items if type(tick) is Tick], 1)}
    for item in items:
        single.take(item)
    together.take_all(items)
    assert answers.planned_rows == []
    assert_same_steps(*steps)
    assert_same(single, together)
    assert together.state.rounds_taken > DAYS / 2
