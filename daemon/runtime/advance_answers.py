"""Answers of policies to recorded samples that are known before the fold (the engine's compiled fast path) asks.

What can go wrong: an answer was computed for another market than the one that the engine meets. So the source gets the
closes at which its answers were planned, and raises an error where they differ. An answer is for one instant and for
exactly the agents that are due at that instant; any other round asks its agents.

The source looks at most MOST_AHEAD samples ahead, and at most twice the number of answers used since its last look. So
few answers are wasted in a market where other events interrupt often.
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
"""Maximum number of samples whose answers are computed in advance."""


class AnswersAhead(NamedTuple):
    """Answers to the sample at `ts` (ns UTC), known before it.

    `answers` has, by index of the agent, the bytes of its float64[N] target weights, one per symbol.
    """

    ts: int
    answers: dict[int, bytes]


@runtime_checkable
class Foreseen(Protocol):
    """Gives answers of policies to recorded samples before the engine asks."""

    def ahead(self, samples: Iterable[tuple[int, list[int]]], seats: Sequence[int]) -> list[AnswersAhead]:
        """The answers of all due agents to the first samples, as many as the source can give.

        `samples` are (instant, indices of the agents due). `seats` has, by index of the agent, the index of the policy
        that decides for it (its seat).
        """
        ...

    def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
        """Take note of T answers from which orders were planned, one row of `prices` (closes, float64[T, N]) per
        answer.

        `ring`, the history of closes, has `later` rows after the row of the last answer.

        Raises an error where the engine had another market than the answers.
        """
        ...


class AdvanceAnswers:
    """Answers to the next samples of a state, from a source that knows them in advance, and the answers from which
    orders were planned since the last report."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._source: Foreseen | None = None
        self._log: SampleLog | None = None
        self._planned: list[tuple[AnswersAhead, Any]] = []
        """The answers planned since the last `report`, each with its closes."""
        self._planned_at = 0
        """The count of samples at the newest planned answer."""
        self._look_ahead = MOST_AHEAD
        """Maximum of samples that the next `look` reads: twice the answers planned before the last `report`."""

    def begin(self, source: Foreseen | None, log: SampleLog | None) -> None:
        """Use a source of answers and a log that counts them; `source` is None where each agent is asked instead."""
        self._source, self._log, self.state.answers_ahead = source, log, {}

    def look(self) -> None:
        """Get the answers, known in advance, to the next samples of the present call of the fold (compiled fast
        path)."""
        if self._source is not None:
            coming = islice(self._coming(), self._look_ahead)
            self.state.answers_ahead = {answers.ts: answers for answers in self._source.ahead(coming, self.state.seats)}

    def _coming(self) -> Iterator[tuple[int, list[int]]]:
        """The next samples of the present call of the fold (compiled fast path) at which agents decide: (instant,
        indices of the agents due)."""
        state = self.state
        deciding = [
            # `always`: the agent decides at every sample, without a schedule
            (agent, columns.always)
            for agent, columns in enumerate(state.agent_columns)
            if not state.agents[agent].suspended
        ]
        # the items of the call behind the present one
        for index in range(state.fold_at + 1, state.fold_end):
            item = state.fold_items[index]
            if type(item) is Tick:
                due = [agent for agent, always in deciding if always or agent in item.due]
                if due:
                    yield item.ts, due

    def planned(self, answers: AnswersAhead) -> None:
        """Record that orders were planned at the last sample from answers that were known in advance."""
        state, market = self.state, self.state.market_columns
        for agent in answers.answers:
            state.agents[agent].failures = 0
        self._planned.append((answers, market.bars.marks[market.row]))
        self._planned_at = state.history.known.count

    def report(self) -> None:
        """Report the planned answers to their source, and to the log how many each agent had.

        The next look ahead reads twice as many samples as answers were used since the last report.
        """
        if not self._planned or self._source is None:
            return
        plans, self._planned = self._planned, []
        self._look_ahead = min(max(2 * len(plans), 1), MOST_AHEAD)
        samples, ring = [answers for answers, _ in plans], self.state.history.known
        prices = np.array([closes for _, closes in plans])
        # the last argument: the rows of the ring after the newest planned answer
        self._source.planned(samples, prices, ring, ring.count - self._planned_at)
        if self._log is not None:
            for agent in range(len(self.state.agents)):
                times = [sample.ts for sample in samples if agent in sample.answers]
                if times:
                    self._log.told(agent, times[-1], len(times))
