"""Answers to manual orders, deposits, halts and comparisons. Commands decode them without an import of the engine."""

from typing import Final

from msgspec import Struct

ENDED_TEXT: Final = (
    "the recorded market of this run has ended, and no bar fills an order; begin with `quantd run --fresh`"
)


class Ordered(Struct, frozen=True):
    """The result of a manual order: `allowed` of `asked` units passed the gate.

    `order` is the order's id and `limit` its worst price; both are empty when nothing passed. `reason` (a code) and
    `text` name the risk limit that reduced the order. `cut_by` is the owner of this limit: an agent or the whole
    account. `stop` and `target` are the manual exit prices of the position. `waits` is true while the order waits for
    the cancellation of a working stop order at the venue, or is held until the first price of its market: `order` is
    then the id to cancel it by, and `text` says what it waits for.
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
    """The order that the gate would pass now; nothing is sent. Send `plan` as `as_planned` with the order.

    The order is then refused if the gate (the risk checks of every order) would no longer pass the same.
    """

    plan: str
    would: Ordered


class CancelledOrder(Struct, frozen=True):
    """An order that is being cancelled, or the subject of a preview: `left` of `qty` units are not filled.

    `state` is its present state; the venue reports its end later. The unfilled units belong to `agents`. The parent
    orders of the agents in `parents` end with it. `text` has the further consequences of the cancel.
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
    """An order that an operator settled: `filled` of `qty` units at `price`.

    `price` is empty for an order that was never sent. A later report of the venue replaces the settlement.
    """

    order: str
    symbol: str
    side: str
    qty: str
    filled: str
    price: str
    state: str


class Paid(Struct, frozen=True):
    """The result of a deposit (positive `amount`) or a withdrawal: the book's cash and the house's equity, as text."""

    agent: str
    amount: str
    cash: str
    equity: str


class Compared(Struct, frozen=True):
    """The differences between the venue's account and the books; `differences` has them as text.

    `lots` (by symbol, in units) and `cash` are decimal text. `how` is as in `Settle`. `switch` is the state of
    the house switch, 0 RUN to 2 HALT. `account` is the venue's reason why the account may not trade. `waits` are the
    ids of orders without an answer of the venue: what they may have changed counts as no difference, and cash is not
    compared.
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
    """The trading state of a symbol: `halted` is true if it is halted, or held after a jump of its price.

    `why` is the reason, empty while the symbol trades. `replayed` is true if an earlier request with the same
    idempotency key was carried out, so that this one was not.
    """

    symbol: str
    halted: bool
    why: str
    replayed: bool = False
