"""Answers to manual orders, deposits, halts and comparisons. Commands decode them without an import of the engine."""

from msgspec import Struct


class Ordered(Struct, frozen=True):
    """The result of a manual order: `allowed` of `asked` units passed the gate.

    `order` is the order's id and `limit` its worst price; both are empty when nothing passed. `reason` (code) and
    `text` name the limit that cut the order. `cut_by` is the owner of the limit: an agent or the house. `stop` and
    `target` are the manual exit levels of the position. `waits` is true while the order waits for the cancellation of
    a working stop order at the venue.
    """

    agent: str
    side: str
    symbol: str
    asked: str
    allowed: str
    order: str
    limit: str
    reason: str
    cut_by: str
    text: str
    stop: str = ""
    target: str = ""
    waits: bool = False


class Previewed(Struct, frozen=True):
    """What a manual order would become now; nothing is sent. `plan` is `as_planned` of the order that confirms it."""

    plan: str
    would: Ordered


class CancelledOrder(Struct, frozen=True):
    """An order that is being cancelled, or that a preview looked at: `left` of `qty` units are not filled.

    `state` is its state now; its end follows from the venue. `agents` share what is left. The parent orders of
    `parents` end with it. `text` has what happens beside the cancel.
    """

    order: str
    symbol: str
    side: str
    qty: str
    filled: str
    left: str
    state: str
    agents: list[str]
    parents: list[str]
    text: str


class SettledOrder(Struct, frozen=True):
    """An order that an operator settled: `filled` of `qty` units at `price`, which is empty for an order that was never
    sent. The venue's later word replaces it."""

    order: str
    symbol: str
    side: str
    qty: str
    filled: str
    price: str
    state: str


class Paid(Struct, frozen=True):
    """The result of a deposit (positive) or withdrawal: the book's cash and the house's equity now. Money as text."""

    agent: str
    amount: str
    cash: str
    equity: str


class Compared(Struct, frozen=True):
    """The differences between the venue's account and the books; `differences` has them as text.

    `lots` (by symbol, in units) and `cash` are decimal text. `how` is as in `Settle`. `switch` is the state of
    the house switch, 0 RUN to 2 HALT. `account` is the venue's reason why the account may not trade. `waits` are the
    ids of orders without an answer of the venue: what they may have changed is no difference, and cash is not compared.
    """

    agrees: bool
    differences: list[str]
    lots: dict[str, str]
    cash: str
    how: str
    switch: int
    account: str = ""
    waits: list[str] = []


class Stopped(Struct, frozen=True):
    """The trading state of a symbol: `halted`, or held after a jump of its price, and the reason; `why` is empty when
    it trades. `replayed` is true where an earlier request with the same idempotency key was carried out."""

    symbol: str
    halted: bool
    why: str
    replayed: bool = False
