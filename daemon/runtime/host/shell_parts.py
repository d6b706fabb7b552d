"""The parts of a shell (a run's loop) that the host of the compiled fold uses, and the parts that the fold updates
late."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from quantd.daemon.runtime.digest import Digest
from quantd.daemon.runtime.step_log import Answer, Log, Meanwhile
from quantd.daemon.runtime.tally import Tally
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Event, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.ports import SimulatedBroker


@dataclass(slots=True)
class Parts:
    """The parts of a shell (a run's loop) that the compiled fold updates late: `FoldHost.sync` brings them up to date.

    `market` is the last bar, None before the first one. `ts` is the instant of the last item (bar, action or tick), and
    `ticked` the instant of the last tick, both ns UTC.
    """

    broker: SimulatedBroker
    tally: Tally
    market: MarketSlice | None = None
    ts: int = 0
    ticked: int = 0


class FoldShell(Protocol):
    """The parts of `quantd.daemon.runtime.loop.Shell` that the host of the fold (compiled fast path) uses."""

    answer: Answer
    meanwhile: Meanwhile | None
    digest: Digest
    remote: bool

    @property
    def steps(self) -> Log:
        """The log of the steps, which adds what the shadows (agents on paper) do."""
        ...

    @property
    def shadows(self) -> "Sequence[FoldShell]":
        """The shells of the shadows (agents on paper)."""
        ...

    def settle(self) -> None:
        """Bring the state to the last item."""

    def tell_venues(self, item: MarketSlice | Tick) -> None:
        """Give an item to the venues, once, and step their reports."""

    def run(self, event: Event, queue: "deque[Event | Ask] | None" = None) -> Sequence[Effect]:
        """Step an event, then the events that follow from it; returns the effects of the first event."""
        ...

    def follow(self, events: Sequence[Event]) -> None: ...

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Carry out effects of a step, and step the events that follow from them."""
        ...

    def wait(self, question: Ask, queue: "deque[Event | Ask]") -> None:
        """Note that a policy's answer to `question` is awaited; the events of `queue` are stepped after the answer."""
        ...


_IMPLEMENTED: Final[dict[tuple[type, type], bool]] = {}
"""(class, protocol) -> whether its objects implement it. Cached, because `isinstance` looks for each method again."""


def implements(value: object, protocol: type) -> bool:
    """Whether an object implements a protocol."""
    key = type(value), protocol
    if key not in _IMPLEMENTED:
        _IMPLEMENTED[key] = isinstance(value, protocol)
    return _IMPLEMENTED[key]
