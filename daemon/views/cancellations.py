"""Who or what cancelled an order, from the journal's entry that has the cancel."""

from typing import Final

from quantd.adapters.store.queries import Reader
from quantd.trading.display_text import local
from quantd.trading.effects import Cancel, Planned
from quantd.trading.events import Action, CancelRequested, Operator
from quantd.trading.orders import OrderBasket

WORDS: Final = {
    "Bars": "the bars", "Tick": "the sample", "Decided": "a decision", "Halted": "a halt of the symbol",
    "PortfolioClosed": "the closing of its portfolio", "ProposalReviewed": "a proposal", "Proposed": "a proposal",
    "Wished": "an order by hand",
}  # fmt: skip
"""The event of a cancel -> the words for it; another event has its name."""


def cancelled_by(reader: Reader, plan: Planned, column: int, since: int) -> str:
    """Return the cause of the first cancel of a plan's order in one symbol; empty where the journal has no cancel.

    Reads the journal from entry `since`, the plan's or an earlier one, up to the cancel.
    """
    row = -1
    for _, entry in reader.journal(since):
        for effect in entry.effects:
            if isinstance(effect, OrderBasket | Cancel) and (effect.sample, effect.n) == (plan.sample, plan.n):
                if isinstance(effect, OrderBasket):
                    row = effect.sym.index(column) if column in effect.sym else -1
                elif effect.row == row:
                    return f"{_cause(entry.event)}, {local(effect.ts)} New York"
    return ""


def _cause(event: object) -> str:
    who, reason = getattr(event, "who", ""), getattr(event, "reason", "")
    if isinstance(event, CancelRequested):
        return f"{who}: {reason}"
    if isinstance(event, Operator):
        return f"{event.command} of {who}: {reason}"
    if isinstance(event, Action):
        return f"a corporate action ({event.kind})"
    words = WORDS.get(type(event).__name__, type(event).__name__)
    return f"{words} of {who}: {reason}" if who else words
