"""What a policy does in the middle of the fold leaves the state of `step`, and what it was shown is never written."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pytest
from msgspec import structs

from quantd.daemon.runtime.step_log import NoLog
from quantd.trading.events import Tick
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View
from tests.support.engine import Plain, World
from tests.support.fold import PLAIN, assert_same, decided_every, snapshot_of, stepped, world

DAYS, SYMBOLS = 120, 4


def weights_at(sample: int) -> Floats:
    weights: Floats = 1.0 + 0.5 * np.sin(np.arange(SYMBOLS) * 1.7 + sample)
    return weights / weights.sum() * 0.9


def raises(error: BaseException) -> Callable[[View], object]:
    def act(view: View) -> object:
        raise error

    return act


def nested(view: View) -> object:
    """A run of another world, by the fold as well."""
    other = world(2, days=40, limits=PLAIN)
    shell = other.fresh(NoLog())
    shell.take_all(decided_every(list(other.items()), 1, 1))
    assert shell.state.bars_taken > 30
    return weights_at(view.sample)


FAILURES: dict[str, Callable[[View], object]] = {
    "exception": raises(ValueError("a bad day")),
    "memory": raises(MemoryError()),
    "exit": raises(SystemExit(3)),
    "NaN": lambda view: np.full(SYMBOLS, np.nan),
    "infinite": lambda view: np.full(SYMBOLS, np.inf),
    "huge": lambda view: np.full(SYMBOLS, 1e301),
    "too many": lambda view: np.full(SYMBOLS + 1, 0.1),
    "a text": lambda view: "buy",
    "nested run": nested,
}


def world_with(act: Callable[[View], object], at: int, agents: int, which: int) -> World:
    """A world of which one agent acts otherwise at a sample."""
    run = world(1, days=DAYS, symbols=SYMBOLS, agents=agents, limits=PLAIN)

    def usual(number: int) -> Callable[[View], object]:
        return lambda view: act(view) if (view.sample, number) == (at, which) else weights_at(view.sample + number)

    run.policies = [Plain(usual(k)) for k in range(agents)]
    return run


AGENTS = 3
SAMPLES = (1, 57, DAYS - 1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "at", "which"),
    [
        pytest.param(name, at, which, marks=() if row % AGENTS == column == which else pytest.mark.slow)
        for row, name in enumerate(FAILURES)
        for column, at in enumerate(SAMPLES)
        for which in range(AGENTS)
    ],
)
def test_a_policy_that_fails_in_the_fold_leaves_the_state_of_step(name: str, at: int, which: int) -> None:
    """Each failure is at one sample and that of one agent, both in turn; `pytest -m slow` adds the other samples and
    agents."""
    run = world_with(FAILURES[name], at, AGENTS, which)
    items = decided_every(list(run.items()), 1, AGENTS)
    single, together = stepped(run, NoLog()), run.fresh(NoLog())
    cut = next(k for k, item in enumerate(items) if type(item) is Tick and k > 2 * at)
    for part in (items[: cut + 1], items[cut + 1 :]):
        for item in part:
            single.take(item)
        together.take_all(part)
        assert snapshot_of(single) == snapshot_of(together)
    assert_same(single, together)
    assert together.state.bars_taken > DAYS / 2


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("at", SAMPLES)
def test_an_interrupt_in_a_policy_leaves_the_state_of_step(at: int) -> None:
    for which in range(3):
        run = world_with(raises(KeyboardInterrupt()), at, 3, which)
        items = decided_every(list(run.items()), 1, 3)
        single, together = stepped(run, NoLog()), run.fresh(NoLog())
        with pytest.raises(KeyboardInterrupt):
            list(map(single.take, items))
        with pytest.raises(KeyboardInterrupt):
            together.take_all(items)
        rounds = [shell.state.round for shell in (single, together)]
        assert [(open_round.number, open_round.waiting, open_round.answers) for open_round in rounds if open_round] == [
            (at, [0, 1, 2], {})
        ] * 2
        single.state.round = together.state.round = None  # a state is frozen between rounds
        assert snapshot_of(single) == snapshot_of(together)


class Counting:
    """A policy that counts its questions in its memory, and sometimes answers without any."""

    lookback = 5

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        count = memory.get("count", np.zeros(1)) + 1.0
        return weights_at(view.sample), {} if view.sample % 3 == 0 else {"count": count}


def test_an_answer_without_memory_keeps_the_memory_of_before() -> None:
    run = world(1, days=DAYS, symbols=SYMBOLS, agents=2, limits=PLAIN)
    run.policies = [Counting(), Counting()]  # type: ignore[list-item]
    items = decided_every(list(run.items()), 1, 2)
    single, together = stepped(run, NoLog()), run.fresh(NoLog())
    for item in items:
        single.take(item)
    together.take_all(items)
    assert snapshot_of(single) == snapshot_of(together)
    assert together.state.rounds_taken > DAYS / 2
    assert float(together.state.agents[1].memory["count"][0]) > DAYS / 2


class Keeper:
    """A policy that keeps every array of every view, with its digest when it was shown."""

    lookback = 5

    def __init__(self) -> None:
        self.seen: list[tuple[Floats, bytes]] = []

    def keep(self, *arrays: Floats) -> None:
        self.seen += [(array, blake2b(array.tobytes()).digest()) for array in arrays]

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        self.keep(view.prices, view.weights)
        if view.sample > 6:
            self.keep(view.returns(5), view.synchronous(5), view.covariance(5), view.deviation(5), view.momentum(5))
        return weights_at(view.sample), memory


class Reading(Keeper):
    """Decides by the bars and the macro series of its view, whose arrays it keeps."""

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        bars, fear = view.bars(min(4, view.sample)), view.macro("vix", 3)
        self.keep(view.prices, fear, *(getattr(bars, name) for name in ("open", "high", "low", "close", "volume")))
        range_ = (bars.high[-1] - bars.low[-1]) / bars.close[-1]
        return weights_at(view.sample + int(fear[-1])) * (0.9 - np.clip(range_, 0.0, 0.5)), memory


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_policies_read_the_same_bars_and_series_in_the_fold(seed: int, chunk: int) -> None:
    """Dividends and splits with an odd seed; some samples have no value of the series yet."""
    run = world(
        seed, days=DAYS + 60, symbols=SYMBOLS, agents=2, limits=PLAIN, lookback=252, keep_bars=True, macro=("vix",)
    )
    items = [
        structs.replace(item, macro=(10.0 + k % 7,) if k % 5 else ()) if isinstance(item, Tick) else item
        for k, item in enumerate(decided_every(list(run.items()), 1, 2))
    ]
    shells, keepers = [], []
    for size in (0, chunk):
        run.policies = [Reading(), Reading()]  # type: ignore[list-item]
        shell = run.fresh(NoLog()) if size else stepped(run, NoLog())
        for at in range(0, len(items), max(size, 1)):
            if size:
                shell.take_all(items[at : at + size])
            else:
                shell.take(items[at])
        shells.append(shell)
        keepers.append(run.policies)
    single, together = shells
    assert snapshot_of(single) == snapshot_of(together)
    assert together.state.rounds_taken > DAYS
    for before, now in zip(*keepers, strict=True):
        assert [digest for _, digest in before.seen] == [digest for _, digest in now.seen]  # type: ignore[attr-defined]
        for array, digest in now.seen:  # type: ignore[attr-defined]
            assert blake2b(array.tobytes()).digest() == digest
