"""The folds of a service: functions that collect from each committed step.

The folds feed the read models, comparisons with the account, histories, messages and recent alerts.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from quantd.adapters.bus.entry_messages import SENT_EFFECTS, SentBy, SentEntry
from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.outbox import QueuedEntry
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.store_errors import StoreDamaged
from quantd.daemon.engine.planning.buying_power import cut_by_venue
from quantd.daemon.engine.venue.availability import asks_for_comparison
from quantd.daemon.engine.venue.coin_fees import takes_fee
from quantd.daemon.runtime.step_folds import Add, StepFold
from quantd.trading.effects import Effect, Publish, Switched, Valued
from quantd.trading.events import Event, Tick

if TYPE_CHECKING:
    from quantd.daemon.runtime.service import Service


class BatchMessages:
    """The messages of a batch of steps for the bus: the entries of the batch, and the retained MQTT topics in their
    state after it.

    A retained topic is composed once in a batch at most, from its newest step.
    """

    def __init__(
        self,
        composer: Composer,
        published: Callable[[Sequence[Message], Sequence[QueuedEntry]], None],
        urgent: Callable[[Message], None],
    ) -> None:
        self.composer = composer
        self.published = published
        """Publishes retained messages, and queues entries of the journal."""
        self.urgent = urgent
        """Publishes an alert that no store has yet."""
        self._sent: list[tuple[int, int]] = []
        """(sequence number of an entry of the batch, count of its effects that are sent)."""
        self._valued: tuple[int, int, Valued] | None = None
        """(sequence number of its entry, its index among the effects, the newest valuation)."""
        self.moved = False
        """Whether a valuation or a switch move of the batch made the retained topics out of date."""

    def add(self, seq: int, event: Event, effects: Sequence[Effect]) -> None:
        """Note what step `seq` sends to the bus, and whether it makes the retained topics out of date."""
        sent = 0  # count of effects that become messages
        for index, effect in enumerate(effects):
            if type(effect) in SENT_EFFECTS:
                sent += 1
            elif isinstance(effect, Valued):
                self._valued, self.moved = (seq, index, effect), True
            elif isinstance(effect, Switched):
                self.composer.note(effect)
                self.moved = True
        if sent:
            self._sent.append((seq, sent))

    def portfolio(self, lots: Sequence[int]) -> list[Message]:
        """The messages about the account at the newest valuation since the last call; empty without a valuation.

        `lots` are the signed lots of the whole account by symbol.
        """
        valued, self._valued, self.moved = self._valued, None, False
        return [] if valued is None else self.composer.portfolio(*valued, lots)

    def queued(self, first_seq: int, entries: Sequence[bytes]) -> list[QueuedEntry]:
        """The entries with messages since the last call; `entries` are all entries of the batch, numbered from
        `first_seq` on."""
        sent, self._sent = self._sent, []
        return [QueuedEntry(seq, entries[seq - first_seq], count) for seq, count in sent]


def sent_by(store: Records, run: str) -> SentBy:
    """A function that finds the journal entry which sent the basket of orders (sample, number in the sample).

    The function returns None for an entry that has been deleted or is damaged.
    """

    def sent(sample: int, n: int) -> SentEntry | None:
        with suppress(StoreDamaged):  # whoever needs the entry for more than a message reports it
            if (entry := store.sending_entry(run, sample, n)) is not None:
                return SentEntry(entry[1], store.run(run).agents_at(entry[0]))
        return None

    return sent


def _projection_fold(service: "Service") -> Add:
    return service.projection.add


def _trace_fold(service: "Service") -> Add:
    trace = service.trace
    return lambda seq, event, effects: trace.add(event, effects)


def _comparison_fold(service: "Service") -> Add | None:
    """Return a fold (a function of each step) that requests a comparison with the account after steps that need one.

    The result is None at a simulated venue.
    """
    if not service.shell.remote:
        return None

    def add(seq: int, event: Event, effects: Sequence[Effect]) -> None:
        state = service.shell.unsettled
        if type(event) is Tick and "reconcile" in event.jobs:
            service.reconcile()
        if asks_for_comparison(state, event, effects):
            service.reconcile()
        elif effects and (cut_by_venue(effects) or takes_fee(state, effects)):
            service.reconcile()  # the venue's buying power may have risen, or it took a fee from a coin

    return add


def _history_fold(service: "Service") -> Add:
    return lambda seq, event, effects: service.histories.add(seq, effects)


def _cause_fold(service: "Service") -> Add:
    return lambda seq, event, effects: service.note_causes(event, effects)


def _message_fold(service: "Service") -> Add | None:
    return None if service.messages is None else service.messages.add


def _recent_alert_fold(service: "Service") -> Add:
    return lambda seq, event, effects: service.recent.extend(e for e in effects if type(e) is Publish)


PROJECTION: Final = StepFold("projection", 10, _projection_fold)
TRACE: Final = StepFold("trace", 20, _trace_fold)
COMPARISONS: Final = StepFold("comparisons", 30, _comparison_fold)
HISTORIES: Final = StepFold("histories", 40, _history_fold, effects_only=True)
CAUSES: Final = StepFold("causes", 50, _cause_fold, effects_only=True)
MESSAGES: Final = StepFold("messages", 60, _message_fold, effects_only=True)
RECENT: Final = StepFold("recent alerts", 70, _recent_alert_fold, effects_only=True)
