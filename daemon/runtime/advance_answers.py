"""Answers of policies to recorded samples that are known before the fold asks.

What can go wrong: an answer was computed for another market than the one that the engine meets. The source gets the
closes at which its answers were planned, and raises an error where they differ. An answer is for one instant and for
exactly the agents that are due there; any other round asks its agents.

At most MOST_AHEAD samples are looked ahead, and at most twice those that were planned before the last question. So a
market that interrupts often wastes few answers.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.step_log import SampleLog
from quantd.trading.events import Tick
from quantd.trading.history.rings import Ring
from quantd.trading.market import Floats

MOST_AHEAD: Final = 64
"""Most samples whose answers are known in advance."""


class AnswersAhead(NamedTuple):
    """Answers to the sample at `ts`, known before it: float64[N] weights by agent."""

    ts: int
    answers: dict[int, bytes]


@runtime_checkable
class Foreseen(Protocol):
    """Gives answers of policies to recorded samples before the engine asks."""

    def ahead(self, samples: Iterable[tuple[int, list[int]]], seats: Sequence[int]) -> list[AnswersAhead]:
        """The answers of all agents to the first of `samples`: instant and agents due. `seats` are those of the
        agents."""
        ...

    def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
        """Take note of answers that were planned at float64[T, N] prices. `ring` has `later` rows after the last.

        Raises an error where the engine had another market than the answers.
        """
        ...


class AdvanceAnswers:
    """The answers known to the next samples of a state, from a source, and those that were planned."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._source: Foreseen | None = None
        self._log: SampleLog | None = None
        self._planned: list[tuple[AnswersAhead, Any]] = []
        """Those that were planned, each with its closes; `_planned_at` is the number of samples at the last."""
        self._planned_at = 0
        self._reach = MOST_AHEAD
        """Most samples that are looked ahead: twice those that were planned before the last question."""

    def begin(self, source: Foreseen | None, log: SampleLog | None) -> None:
        """Turn to a source of answers and a log that counts them; None where each answer is asked for."""
        self._source, self._log, self.state.answers_ahead = source, log, {}

    def look(self) -> None:
        """Get the answers to the samples of this call that come next."""
        if self._source is not None:
            coming = islice(self._coming(), self._reach)
            self.state.answers_ahead = {answers.ts: answers for answers in self._source.ahead(coming, self.state.seats)}

    def _coming(self) -> Iterator[tuple[int, list[int]]]:
        """The next samples at which agents decide: instant and agents."""
        state = self.state
        deciding = [
            (number, columns.always)
            for number, columns in enumerate(state.agent_columns)
            if not state.agents[number].suspended
        ]
        for at in range(state.fold_at + 1, state.fold_end):
            item = state.fold_items[at]
            if type(item) is Tick:
                due = [number for number, always in deciding if always or number in item.due]
                if due:
                    yield item.ts, due

    def planned(self, answers: AnswersAhead) -> None:
        """Record answers that were planned at the last sample."""
        state, market = self.state, self.state.market_columns
        for number in answers.answers:
            state.agents[number].failures = 0
        self._planned.append((answers, market.block.close[market.row]))
        self._planned_at = state.history.known.count

    def report(self) -> None:
        """Report the planned answers to their source, and their number for each agent to the log."""
        if not self._planned or self._source is None:
            return
        plans, self._planned = self._planned, []
        self._reach = min(max(2 * len(plans), 1), MOST_AHEAD)
        samples, ring = [answers for answers, _ in plans], self.state.history.known
        prices = np.array([closes for _, closes in plans])
        self._source.planned(samples, prices, ring, ring.count - self._planned_at)
        if self._log is not None:
            for agent in range(len(self.state.agents)):
                times = [sample.ts for sample in samples if agent in sample.answers]
                if times:
                    self._log.told(agent, times[-1], len(times))
