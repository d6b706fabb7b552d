"""Who or what cancelled an order, from the journal entry of the cancel."""

from typing import Final

from quantd.adapters.store.queries import Reader
from quantd.trading.display_text import local
from quantd.trading.effects import Cancel, Planned
from quantd.trading.events import (
    Action,
    Bars,
    CancelRequested,
    Decided,
    Halted,
    Operator,
    PortfolioClosed,
    ProposalReviewed,
    Proposed,
    Reloaded,
    SliceRef,
    Tick,
)
from quantd.trading.market import PriceJumped
from quantd.trading.orders import Cause, OrderBasket, Reports

WORDS: Final[dict[type, str]] = {
    Action: "a corporate action",
    Bars: "the engine at new bars",
    Decided: "a new decision",
    Halted: "a halt of the symbol",
    PortfolioClosed: "the closing of its portfolio",
    PriceJumped: "a price jump",
    ProposalReviewed: "a proposal",
    Proposed: "a proposal",
    Reloaded: "a new configuration",
    SliceRef: "the engine at new bars",
    Tick: "the engine at a sample",
}
"""Type of the event that led to a cancel -> the text about the cause."""


def cancelled_by(reader: Reader, plan: Planned, column: int, since: int) -> str:
    """Return the cause of the first cancel of a plan's order in one symbol; empty where the venue itself cancelled it.

    `column` is the index of the symbol. Reads the journal from entry `since`, the plan's entry or an earlier one, up to
    the cancel or its report.
    """
    # `row` is the order's row in its basket; -1 before the basket, and for a basket without the symbol
    row, key = -1, (plan.sample, plan.n)
    for _, entry in reader.journal(since):
        event = entry.event
        for effect in entry.effects:
            if isinstance(effect, OrderBasket | Cancel) and (effect.sample, effect.n) == key:
                if isinstance(effect, OrderBasket):
                    row = effect.sym.index(column) if column in effect.sym else -1
                elif effect.row == row:
                    return f"{_cause(event)}, {local(effect.ts)} New York"
        if _reports_cancel(event, key, row):
            return ""
    return ""


def _reports_cancel(event: object, key: tuple[int, int], row: int) -> bool:
    """Whether an event is the venue's report that it cancelled order `row` of a basket.

    `key` is the sample of the basket and its number in the sample.
    """
    if not isinstance(event, Reports) or (event.sample, event.n) != key:
        return False
    return (row, Cause.CANCELLED) in zip(event.row, event.cause, strict=True)


def _cause(event: object) -> str:
    who, reason = getattr(event, "who", ""), getattr(event, "reason", "")
    if isinstance(event, CancelRequested):
        return f"{who}: {reason}"
    words = event.command if isinstance(event, Operator) else WORDS.get(type(event), "the engine")
    words = "an order by hand" if isinstance(event, Proposed) and event.by_hand else words
    return f"{words} of {who}: {reason}" if who else words
