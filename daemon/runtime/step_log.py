"""The interfaces of a shell: the answers of policies, and the log of its steps.

Each Ask is passed to a log once, in the order of the questions: a journal in replay consumes its recorded answer. A log
with `rows_only` reads no events, so that the fold need not make their records for it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from quantd.daemon.runtime.host.fold_records import FillColumns, SampleRows
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Event
from quantd.trading.market import MarketSlice

Answer = Callable[[Ask], Decided]


class Meanwhile(Protocol):
    """Answers Asks while the loop continues."""

    def begin(self, question: Ask) -> bool:
        """Start an answer; False when the policy answers at once."""
        ...


class Log(Protocol):
    """Records steps, and has the recorded answers of a replay."""

    rows_only: bool
    """Whether it reads valuations, fills and bookings only; then it may get the fills of a bar with its slice."""

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask; None when the policy must answer. Each Ask is passed once."""
        ...

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record a step, or compare it with the record."""
        ...


@runtime_checkable
class SampleLog(Log, Protocol):
    """A log with `rows_only` that takes samples as columns."""

    def add_samples(self, market: MarketSlice, filled: Sequence[tuple[int, FillColumns]], rows: SampleRows) -> None:
        """Record fills with the rows of their bars, and the samples from `market` on; there may be none."""
        ...

    def told(self, agent: int, ts: int, questions: int) -> None:
        """Record questions whose answers were known in advance, the last one at an instant."""
        ...


class NoLog:
    """A backtest without a journal."""

    rows_only: bool = True

    def answer(self, ask: Ask) -> Decided | None:
        """None: each policy answers itself."""
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        return None
