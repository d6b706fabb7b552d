"""The journal of a run: the ordinary loop with a recorded prefix.

During the prefix, answers come from the record instead of the policies, and every step is compared with the record byte
by byte. After the prefix, new steps are appended.

What can go wrong: code, configuration or feed differ from those of the record, and the run would go on from another
state than the one that traded. So the first step that differs stops the start, with the effect and the field. Bytes are
compared first, because nearly all entries are equal. Entries that differ are decoded and compared by content, because
an older codec may have written the same content as other bytes.

A replay repeats the causes and computes the rest. Events from outside (commands, reports of a real venue) come from the
record, before the next instant of the feed. Answers and reports of a simulated venue follow from other events and are
compared. Policies are not asked: their answers may depend on what no longer exists.

After a crash, committed orders and cancels without an answer are unknown. They are queried by client id, and never sent
again unconditionally.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

import msgspec
from msgspec import Struct

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import SCHEDULE, Item
from quantd.trading.codec import Entry, decode, encode, same, slice_of
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import (
    Action,
    Bars,
    Decided,
    Event,
    External,
    Flow,
    JournalEvent,
    ShadowReport,
    SliceRef,
    Tick,
    Unknown,
    VenueNews,
)
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.market import PriceJumped
from quantd.trading.orders import OrderState


class _Head(Struct, frozen=True, array_like=True):
    """An entry of the journal up to its event: the effects after it are not decoded."""

    event: JournalEvent


_head = msgspec.msgpack.Decoder(_Head)


class ReplayDifference(ExplainedError):
    """A replayed step has other effects than its record: trading stops until an operator has examined it."""

    def __init__(self, seq: int, recorded: Entry, computed: Entry) -> None:
        self.seq, self.recorded, self.computed = seq, recorded, computed
        self.shell: Shell | None = None  # at that step, for diagnosis
        super().__init__(f"step {seq} differs from the journal: {difference(recorded, computed)}")


class RecordTooLong(ExplainedError):
    """The journal continues after the end of the feed, or does not fit it: it belongs to another feed."""

    exit_code = CONFIG


def difference(recorded: Entry, computed: Entry) -> str:
    """The first difference between a recorded step and the same step computed again, in one line."""
    if recorded.event != computed.event:
        return f"the event was {_short(recorded.event)}, and is now {_short(computed.event)}"
    for index, (then, now) in enumerate(zip(recorded.effects, computed.effects, strict=False)):
        if then != now:
            if type(then) is not type(now):
                return f"effect {index} was {_short(then)}, and is now {_short(now)}"
            fields = [
                f"{name}: {getattr(then, name)!r:.120} -> {getattr(now, name)!r:.120}"
                for name in then.__struct_fields__
                if getattr(then, name) != getattr(now, name)
            ]
            return f"effect {index} ({type(then).__name__}) {'; '.join(fields)}"
    return f"it had {len(recorded.effects)} effects, and has {len(computed.effects)} now"


def _short(value: object) -> str:
    return f"{value!r:.160}"


class Journal:
    """The log of a journalled run: it first compares steps with the record, then collects new steps.

    `entries` (encoded) and `steps` are the new steps since the last `taken`; the store commits them together. `seq` is
    the number of the last step, `compared` the count of steps compared with the record.
    """

    rows_only: bool = False

    def __init__(self, recorded: Iterable[bytes] = (), seq: int = 0, live: bool = False) -> None:
        self._recorded = iter(recorded)
        self._ahead: deque[tuple[bytes, JournalEvent]] = deque()
        """Recorded entries that were read and not compared yet, with their events."""
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
        self._ahead.append((data, _head.decode(data).event))
        return True

    @property
    def replaying(self) -> bool:
        """Whether recorded steps remain to be compared."""
        return bool(self._ahead)

    def outside(self) -> External | None:
        """The next recorded event if it came from outside: neither market nor loop produces it again. Else None."""
        event = self._ahead[0][1] if self._ahead else None
        scheduled = isinstance(event, Flow) and event.who == SCHEDULE
        return event if isinstance(event, External) and not scheduled else None

    def cause(self, computed_types: tuple[type, ...]) -> JournalEvent | None:
        """The next recorded event that the shell (engine runner) does not compute itself; None after the end of the
        record.

        The shell computes the events of `computed_types`. In the record, the reports of a simulated venue precede the
        slice (the bars of one instant) that causes them, so that the slice is found behind them.
        """
        return next((event for event in self._events() if not isinstance(event, computed_types)), None)

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to the question `ask`; None after the end of the record."""
        key = ask.round, ask.agent
        decided = (event for event in self._events() if isinstance(event, Decided))
        return next((event for event in decided if (event.round, event.agent) == key), None)

    def _events(self) -> Iterator[JournalEvent]:
        """The recorded events that have not been compared, in order."""
        index = 0
        while index < len(self._ahead) or self._pull():
            yield self._ahead[index][1]
            index += 1

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Compare a step with the record, or append it. Raises ReplayDifference for a step that differs.

        Bytes that differ may still be the same step, because an earlier version stored less of it.
        """
        data = encode(event, effects, self._live)
        self.seq += 1
        if self._ahead:
            recorded, _ = self._ahead.popleft()
            if recorded != data and not same(then := decode(recorded), now := decode(data)):
                raise ReplayDifference(self.seq, then, now)
            self.compared += 1
            if not self._ahead:
                self._pull()
            return
        self.entries.append(data)
        self.steps.append((event, effects))

    def taken(self) -> tuple[list[bytes], list[tuple[Event, Sequence[Effect]]]]:
        """The new journal entries and steps since the last call."""
        entries, steps = self.entries, self.steps
        self.entries, self.steps = [], []
        return entries, steps


def unanswered(state: State) -> list[Unknown]:
    """After a crash: an Unknown for each basket with committed orders or cancels that the venue has not answered.

    The state of these orders at a real venue is unknown. They are queried by client id, never sent again
    unconditionally.
    """
    return [
        Unknown(sample, n, state.now, rows, "restart")
        for (sample, n), working in state.at_venue().items()
        if (
            rows := [
                row
                for row, order_state in enumerate(working.state)
                if order_state in (OrderState.SENT, OrderState.CANCELLING)
            ]
        )
    ]


def fold(shell: Shell, journal: Journal, instants: Iterator[list[Item]]) -> None:
    """Repeat the recorded steps of a journal over a recorded market. Raises ReplayDifference or RecordTooLong."""

    def replay_next() -> None:
        if (event := journal.outside()) is not None:
            shell.run(event)
            return
        instant = next(instants, None)
        if instant is None:
            raise RecordTooLong("the feed ended before the journal did: start the run with the feed it was recorded on")
        for item in instant:
            shell.take(item)

    _replay(shell, journal, replay_next)


def fold_live(shell: Shell, journal: Journal) -> None:
    """Repeat the recorded steps of a live market's journal, which contains the bars and a real venue's reports.

    The shell (runner of one engine) computes some events itself: answers of policies, and the reports of simulated
    venues (the event ShadowReport is such a report, to an agent on paper). Every other event is taken from the journal.
    """
    computed_types: tuple[type, ...] = (
        (Decided, ShadowReport) if shell.remote else (Decided, ShadowReport, *get_args(VenueNews))
    )

    def replay_next() -> None:
        event = journal.cause(computed_types)
        if event is None:
            raise RecordTooLong("the journal ends with an answer or report that no earlier step asked for")
        if isinstance(event, SliceRef):
            raise RecordTooLong("the journal refers to bars of a file, but this market is live: use the recorded feed")
        if isinstance(event, Bars | Action | PriceJumped | Tick):
            shell.take(slice_of(event) if isinstance(event, Bars) else event)
        else:
            shell.run(event)

    _replay(shell, journal, replay_next)


def _replay(shell: Shell, journal: Journal, replay_next: Callable[[], None]) -> None:
    """Call `replay_next`, which steps the next recorded entry, until the record has ended."""
    try:
        while journal.replaying:
            replay_next()
    except ReplayDifference as error:
        error.shell = shell
        raise
    shell.stopped = ""
