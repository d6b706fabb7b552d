"""The interface of the host of the fold (the compiled fast path) for the classes that do a part of its work."""

from collections.abc import Sequence
from typing import Protocol

from quantd.daemon.engine.core.step_records import StepRecords
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.host.limit_columns import LimitColumns
from quantd.daemon.runtime.host.shell_parts import FoldShell, Parts
from quantd.trading.effects import Effect


class FoldCalls(Protocol):
    """The interface of the host of the fold (compiled fast path); `fold_host.FoldHost` implements it."""

    state: State
    shell: FoldShell
    parts: Parts
    limits: LimitColumns
    watched: list[int]
    records: StepRecords
    recording: bool

    @property
    def stands_in(self) -> bool:
        """Whether the fold, the compiled fast path, computes the fills in place of the simulated venue."""
        ...

    def show(self) -> None:
        """Drop what the state computed from an earlier bar or sample, before a handler reads it."""
        ...

    def sync(self) -> None:
        """Bring the venue, the log and the counts up to the last item of the fold (compiled fast path)."""
        ...

    def add(self, effects: Sequence[Effect]) -> None:
        """Count effects of the present event; a log that reads events gets these effects with the event."""
        ...
