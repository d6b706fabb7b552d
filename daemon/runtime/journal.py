"""A run taken up again: the ordinary loop with a recorded prefix.

While the record lasts, answers come from it instead of the policies and every step is compared with it, byte by
byte; when it ends, new steps are appended.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import Item
from quantd.trading.codec import Entry, decode, encode, slice_of
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import (
    Action,
    Bars,
    Decided,
    Event,
    External,
    JournalEvent,
    Shade,
    SliceRef,
    Tick,
    Unknown,
    VenueNews,
)
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.orders import OrderState


class ReplayDifference(ExplainedError):
    """The same events did not have the same effects: trading stops until a person has looked."""

    def __init__(self, seq: int, recorded: Entry, computed: Entry) -> None:
        self.seq, self.recorded, self.computed = seq, recorded, computed
        self.shell: Shell | None = None  # as it stood there, for whoever looks into it
        super().__init__(f"step {seq} differs from the journal: {difference(recorded, computed)}")


class RecordTooLong(ExplainedError):
    """The journal goes on after the feed has ended: it is of another feed."""

    exit_code = CONFIG


def difference(recorded: Entry, computed: Entry) -> str:
    """The first thing that differs between two steps, in one line."""
    if recorded.event != computed.event:
        return f"the event was {_short(recorded.event)}, now {_short(computed.event)}"
    for number, (then, now) in enumerate(zip(recorded.effects, computed.effects, strict=False)):
        if then != now:
            if type(then) is not type(now):
                return f"effect {number} was {_short(then)}, now {_short(now)}"
            fields = [
                f"{name}: {getattr(then, name)!r:.120} -> {getattr(now, name)!r:.120}"
                for name in then.__struct_fields__
                if getattr(then, name) != getattr(now, name)
            ]
            return f"effect {number} ({type(then).__name__}) {'; '.join(fields)}"
    return f"{len(recorded.effects)} effects then, {len(computed.effects)} now"


def _short(value: object) -> str:
    return f"{value!r:.160}"


class Journal:
    """The log of a journalled run: first compares with what is recorded, then collects what is new.

    `entries` and `steps` are what came since the last `taken`, for the store to commit together.
    """

    def __init__(self, recorded: Iterable[bytes] = (), seq: int = 0, live: bool = False) -> None:
        self._recorded = iter(recorded)
        self._ahead: deque[tuple[bytes, Entry]] = deque()
        self._live = live
        self.seq = seq
        self.compared = 0
        self.entries: list[bytes] = []
        self.steps: list[tuple[Event, Sequence[Effect]]] = []
        self._pull()

    def _pull(self) -> bool:
        data = next(self._recorded, None)
        if data is None:
            return False
        self._ahead.append((data, decode(data)))
        return True

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are left."""
        return bool(self._ahead)

    def outside(self) -> External | None:
        """The next recorded event, when neither feed nor loop will bring it again."""
        event = self._ahead[0][1].event if self._ahead else None
        return event if isinstance(event, External) else None

    def cause(self, own: tuple[type, ...]) -> JournalEvent | None:
        """The next recorded event that the shell does not bring by itself: those of the types `own` follow from others,
        and a simulated venue's reports of a slice stand before it."""
        looked = 0
        while looked < len(self._ahead) or self._pull():
            event = self._ahead[looked][1].event
            if not isinstance(event, own):
                return event
            looked += 1
        return None

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask; None once the record has ended."""
        looked = 0
        while looked < len(self._ahead) or self._pull():
            event = self._ahead[looked][1].event
            if isinstance(event, Decided) and (event.round, event.agent) == (ask.round, ask.agent):
                return event
            looked += 1
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Compare a step with the record, or keep it. Raises ReplayDifference."""
        data = encode(event, effects, self._live)
        self.seq += 1
        if self._ahead:
            recorded, entry = self._ahead.popleft()
            if recorded != data:
                raise ReplayDifference(self.seq, entry, decode(data))
            self.compared += 1
            if not self._ahead:
                self._pull()
            return
        self.entries.append(data)
        self.steps.append((event, effects))

    def taken(self) -> tuple[list[bytes], list[tuple[Event, Sequence[Effect]]]]:
        """What is new since the last call, handed over."""
        entries, steps = self.entries, self.steps
        self.entries, self.steps = [], []
        return entries, steps


def unanswered(state: State) -> list[Unknown]:
    """After a crash: orders that were committed to be sent, or to be cancelled, and have no answer. Whether a venue
    across a network has them nobody knows; it is asked by client id, never sent to again blindly."""
    return [
        Unknown(sample, n, state.now, rows, "restart")
        for (sample, n), work in state.at_venue().items()
        if (rows := [row for row, now in enumerate(work.state) if now in (OrderState.SENT, OrderState.CANCELLING)])
    ]


def fold(shell: Shell, journal: Journal, instants: Iterator[list[Item]]) -> int:
    """Run the recorded prefix; returns how many steps were compared. Raises ReplayDifference or RecordTooLong."""
    while journal.replaying:
        event = journal.outside()
        instant = None if event is not None else next(instants, None)
        try:
            if event is not None:
                shell.run(event)
            elif instant is None:
                raise RecordTooLong("the feed ended before the journal did")
            else:
                for item in instant:
                    shell.take(item)
        except ReplayDifference as error:
            error.shell = shell
            raise
    shell.stopped = ""
    return journal.compared


def fold_live(shell: Shell, journal: Journal) -> int:
    """`fold` for a market that went on: its bars are in the record itself, and the answers of a venue across a
    network."""
    own: tuple[type, ...] = (Decided, Shade)
    if not shell.remote:
        own = (*own, *get_args(VenueNews))
    while journal.replaying:
        event = journal.cause(own)
        try:
            if event is None:
                raise RecordTooLong("the journal ends with what follows from nothing")
            if isinstance(event, Bars):
                shell.take(slice_of(event))
            elif isinstance(event, Action | Tick):
                shell.take(event)
            elif isinstance(event, SliceRef):
                raise RecordTooLong("the journal names bars of a file, and this market is not one")
            else:
                shell.run(event)
        except ReplayDifference as error:
            error.shell = shell
            raise
    shell.stopped = ""
    return journal.compared
