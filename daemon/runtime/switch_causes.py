"""Who or what moved each kill switch, from the records of the move: the event and its effect `Switched`."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.risk.switch import RUN
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Publish, Switched
from quantd.trading.events import Condition, Decided, Operator

HOUSE: Final = ""
"""Stands for the house among the names of agents."""

LOSS_LIMITS: Final = frozenset({"drawdown", "daily_loss", "weekly_loss"})


class SwitchCause(Struct, frozen=True):
    """The newest reason why a kill switch is not RUN.

    `since_ts` is the instant of the move, in time of the market. `who` is the sender of an operator's command, else
    empty. `text` is the operator's reason, or the condition that moved the switch.
    """

    since_ts: int
    since: str
    who: str
    text: str


class SwitchCauses:
    """The cause of each switch that is not RUN, by the name of its agent; `HOUSE` is the whole account."""

    def __init__(self) -> None:
        self._causes: dict[str, SwitchCause] = {}
        self.resumed_ts = 0
        """Instant of the last resume of the house, ns UTC, which set the mark of its drawdown limit; 0 for none."""

    def read(self, reader: Reader) -> None:
        """Load the causes of a run from the journal entries that moved its kill switches.

        A move to RUN needs no cause. Stores of every version have these entries. Where an entry cannot be read, the
        cause is the reason in the move.
        """
        self.resumed_ts = max((s.ts for s in reader.switches() if s.who == "house" and s.after == "RUN"), default=0)
        for seq, name, moved in reader.newest_moves():
            if moved.after == RUN:
                continue
            try:
                entry = next(reader.journal(seq))[1]
                self._causes[name] = cause_of(entry.event, entry.effects, moved)
            except (StoreError, StopIteration):
                self._causes[name] = cause_of(None, (), moved)

    def add(self, event: object, effects: Sequence[object], names: Sequence[str]) -> None:
        """Take the kill switch moves of one step; `names` are the agents' names by index."""
        for moved in effects:
            if type(moved) is Switched:
                name = names[moved.agent] if moved.agent >= 0 else HOUSE
                if moved.after == RUN:
                    self._causes.pop(name, None)
                    self.resumed_ts = self.resumed_ts if name else moved.ts
                else:
                    self._causes[name] = cause_of(event, effects, moved)

    def of(self, name: str) -> SwitchCause | None:
        """The cause of the kill switch of an agent or of `HOUSE`; None in RUN."""
        return self._causes.get(name)


def cause_of(event: object, effects: Sequence[object], moved: Switched) -> SwitchCause:
    """The cause of one move, from the event and the effects of its step.

    Where the records have no text for the reason, the cause is the whole text of the CRITICAL alert that precedes the
    move. No part is cut out of the text of an alert.
    """
    who = ""
    match event:
        case Operator() if moved.reason == "operator":
            who, text = event.who, event.reason
        case Condition() if moved.reason == event.what:
            text = event.detail if event.what == "account" else f"{event.what} is down: {event.detail}"
        case Decided() if moved.reason == "suspended":
            text = "suspended after failures in a row" + (f", the last: {event.failed}" if event.failed else "")
        case _ if moved.reason in LOSS_LIMITS:
            text = f"{moved.reason.replace('_', ' ')} limit reached"
        case _:
            text = _alert_before(effects, moved) or moved.reason.replace("_", " ")
    return SwitchCause(moved.ts, instant_text(moved.ts), who, text)


def _alert_before(effects: Sequence[object], moved: Switched) -> str:
    """The text of the last CRITICAL alert before the move among the effects of its step; empty if there is none."""
    text = ""
    for effect in effects:
        if effect == moved:
            break
        if type(effect) is Publish and effect.level == "CRITICAL" and effect.kind != "switch":
            text = effect.text
    return text
