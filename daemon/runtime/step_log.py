"""The interfaces of a shell: the answers of policies, and the log of its steps.

Each Ask (a question to a policy) is passed to a log once, in the order of the questions: a journal in replay takes the
recorded answer out of its queue. A log with `rows_only` takes samples as columns and reads no events, so that the fold
(compiled fast path) need not build event objects for it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from quantd.daemon.runtime.host.fold_records import FillColumns, SampleRows
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Event
from quantd.trading.market import MarketSlice

Answer = Callable[[Ask], Decided]
"""Returns a policy's answer at once."""


class Meanwhile(Protocol):
    """Answers Asks while the loop continues."""

    def begin(self, question: Ask) -> bool:
        """Start the answer to a question. Returns False, without a start, where the policy is to be called directly."""
        ...


class Log(Protocol):
    """Takes the steps of a run; in a replay a log also has the recorded answers."""

    rows_only: bool
    """Whether it reads valuations, fills and bookings only. It may then get the fills of a bar with the bar's slice."""

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask (question to a policy), which is passed once; None when the policy must
        answer."""
        ...

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record a step (an event with its effects), or compare it with the record."""
        ...


@runtime_checkable
class SampleLog(Log, Protocol):
    """A log with `rows_only` that takes samples as columns."""

    def add_samples(self, market: MarketSlice, filled: Sequence[tuple[int, FillColumns]], rows: SampleRows) -> None:
        """Record the fills `filled` and the samples `rows`; each of the two may be empty.

        `market` is the first bar with a fill or a sample. `filled` has a pair (index of a bar in `market.block`, fills
        at that bar) for each basket of orders with fills.
        """
        ...

    def told(self, agent: int, ts: int, questions: int) -> None:
        """Tell the log that `questions` answers of an agent were computed in advance, the last for `ts` (ns UTC)."""
        ...


class Unanswered:
    """A log without recorded answers: each policy answers itself."""

    rows_only: bool = False

    def answer(self, ask: Ask) -> Decided | None:
        return None


class NoLog(Unanswered):
    """The log of a backtest without a journal: it records nothing."""

    rows_only: bool = True

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        return None
