"""The folds of committed steps that a service has: read models, comparisons, histories, messages, recent alerts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from quantd.adapters.bus.messages import Composer, Message
from quantd.daemon.engine.planning.buying_power import cut_by_venue
from quantd.daemon.engine.venue.availability import asks_for_comparison
from quantd.daemon.engine.venue.coin_fees import takes_fee
from quantd.daemon.runtime.step_folds import Add, StepFold
from quantd.trading.effects import Effect, Publish, Switched, Valued
from quantd.trading.events import Event, Tick

if TYPE_CHECKING:
    from quantd.daemon.runtime.service import Service


class BatchMessages:
    """The messages of a batch. Of a retained topic only the newest message is published."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._messages: dict[str, Message] = {}
        self.lots: Sequence[int] = ()
        """Lots of the house after the batch."""
        self.moved = False
        """Whether a valuation or a switch of the batch makes the message about limits old."""

    def add(self, seq: int, event: Event, effects: Sequence[Effect]) -> None:
        self.moved = self.moved or any(type(effect) in (Valued, Switched) for effect in effects)
        for message in self._composer.messages(seq, effects, self.lots):
            self.put(message)

    def put(self, message: Message) -> None:
        self._messages[message.topic if message.retain else message.id] = message

    def taken(self) -> list[Message]:
        """The messages since the last call."""
        messages, self._messages, self.moved = self._messages, {}, False
        return list(messages.values())


def _projecting(service: "Service") -> Add:
    return service.projection.add


def _tracing(service: "Service") -> Add:
    return lambda seq, event, effects: service.trace.add(event, effects)


def _comparing(service: "Service") -> Add:
    """Request a comparison with the venue's account after steps that need one."""

    def add(seq: int, event: Event, effects: Sequence[Effect]) -> None:
        state = service.shell.state
        if type(event) is Tick and "reconcile" in event.jobs:
            service.reconcile()
        if asks_for_comparison(state, event, effects):
            service.reconcile()
        if effects and (cut_by_venue(effects) or takes_fee(state, effects)):
            service.reconcile()  # the venue's buying power may have risen, or it took a fee from a coin

    return add


def _remembering(service: "Service") -> Add:
    return lambda seq, event, effects: service.histories.add(seq, effects)


def _causes(service: "Service") -> Add:
    return lambda seq, event, effects: service.note_causes(event, effects)


def _composing(service: "Service") -> Add:
    return service.messages.add


def _alerting(service: "Service") -> Add:
    return lambda seq, event, effects: service.recent.extend(e for e in effects if type(e) is Publish)


PROJECTION: Final = StepFold("projection", 10, _projecting)
TRACE: Final = StepFold("trace", 20, _tracing)
COMPARISONS: Final = StepFold("comparisons", 30, _comparing)
HISTORIES: Final = StepFold("histories", 40, _remembering, effects_only=True)
CAUSES: Final = StepFold("causes", 50, _causes, effects_only=True)
MESSAGES: Final = StepFold("messages", 60, _composing, effects_only=True)
RECENT: Final = StepFold("recent alerts", 70, _alerting, effects_only=True)
