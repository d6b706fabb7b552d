"""Days of minute bars through the real engine, gate, ledger and paper venue."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import structs

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.runtime.timeline import sample_ticks, with_due
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Tick
from quantd.trading.market import Block
from quantd.trading.sessions import DAY_NS
from tests.support.engine import COLLARED, START, Act, World

MINUTE = 60 * 10**9
OPEN, CLOSE = 10 * 60 * MINUTE, 16 * 60 * MINUTE
SESSION = 360
"""Minutes of a session of this world, 10:00 to 16:00 UTC."""


def at(day: int, minute: int) -> int:
    """The instant so many minutes after the open of a day."""
    return START + day * DAY_NS + OPEN + minute * MINUTE


def minutes(close: np.ndarray, volume: np.ndarray | None = None, open_: np.ndarray | None = None) -> Block:
    """Bars of one minute, 360 a day, with these closes, float64[T, N]; opens are the closes before, unless given."""
    size = len(close)
    row = np.arange(size, dtype=np.int64)
    opened = START + row // SESSION * DAY_NS + OPEN + row % SESSION * MINUTE
    open_ = np.vstack([close[:1], close[:-1]]) if open_ is None else open_
    return Block(
        ts_open=opened, ts_event=opened + MINUTE, key=opened + MINUTE, open=open_,
        high=np.maximum(open_, close) * 1.001, low=np.minimum(open_, close) * 0.999, close=close,
        volume=np.full(close.shape, 10_000.0) if volume is None else volume,
        fresh=np.isfinite(close),
    )  # fmt: skip


def drift(days: int, symbols: int, seed: int, size: float = 0.0004) -> np.ndarray:
    """float64[360 days, symbols] closes to the cent."""
    rng = np.random.default_rng(seed)
    return np.round(100 * np.exp(rng.normal(0.0, size, (days * SESSION, symbols)).cumsum(axis=0)), 2)


class Minutes(World):
    """One run; every agent is asked at each instant of `asked`, and only then."""

    def __init__(
        self,
        bars: Block,
        acts: Sequence[Act],
        execution: Execution,
        asked: Sequence[int],
        house: Limits | None = None,
        **keys: object,
    ) -> None:
        self.asked = list(asked)
        super().__init__(
            bars, acts, house=house or COLLARED, execution=execution, daily=False,
            **keys,  # type: ignore[arg-type]
        )  # fmt: skip
        agents = tuple(structs.replace(agent, scheduled=True) for agent in self.rules.agents)
        self.rules = structs.replace(self.rules, agents=agents)
        self.shell = self.fresh(self.shell.log)

    def fresh(self, log: Log | None = None) -> Shell:
        def ask(question: Ask) -> Decided:
            return answer(self.policies[question.agent], question)

        venue = Paper(self.universe, self.costs, [self.sessions] * self.universe.size)
        return Shell(State(self.rules), venue, ask, interval_ns=MINUTE, log=log)

    def _ticks(self) -> Iterator[Tick]:
        last = int(self.bars.ts_event[-1])
        samples = sample_ticks(self.sessions, [self.sessions], MINUTE, START, last, START)
        agents = tuple(range(len(self.rules.agents)))
        return with_due(samples, (Tick(ts, due=agents) for ts in self.asked))
