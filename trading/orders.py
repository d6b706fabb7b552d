"""Orders as baskets of rows, their states, and the table of every legal transition.

An order is one row of an `OrderBasket`; it travels, rests and is reported on in columns. `Order` and
`Fill` are row views for people, adapters and exports.
"""

from enum import IntEnum
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from quantd.trading.instruments import NANO


class OrderState(IntEnum):
    """Where one order is. UNKNOWN keeps its risk reserved like WORKING."""

    SENT = 0
    WORKING = 1
    PARTIAL = 2
    CANCELLING = 3
    UNKNOWN = 4
    FILLED = 5
    CANCELLED = 6
    REJECTED = 7
    EXPIRED = 8


class Cause(IntEnum):
    """Why an order changes state."""

    ACCEPTED = 0
    PART_FILL = 1
    LAST_FILL = 2
    CANCEL_ASKED = 3
    CANCELLED = 4
    REJECTED = 5
    EXPIRED = 6
    TIMED_OUT = 7
    NOT_FOUND = 8
    SENT_AGAIN = 9


ENDED: Final = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


def _table() -> list[list[int]]:
    s, c = OrderState, Cause
    table = [[-1] * len(Cause) for _ in OrderState]
    for state in (s.SENT, s.WORKING, s.PARTIAL, s.CANCELLING, s.UNKNOWN):
        row = table[state]
        row[c.LAST_FILL] = s.FILLED
        row[c.CANCELLED] = s.CANCELLED
        row[c.EXPIRED] = s.EXPIRED
        row[c.TIMED_OUT] = s.UNKNOWN
        row[c.ACCEPTED] = s.WORKING
        row[c.PART_FILL] = s.PARTIAL
        row[c.CANCEL_ASKED] = s.CANCELLING
    table[s.PARTIAL][c.ACCEPTED] = s.PARTIAL  # an acknowledgement that was overtaken by its fill
    table[s.CANCELLING][c.ACCEPTED] = s.CANCELLING
    table[s.CANCELLING][c.PART_FILL] = s.CANCELLING
    # a venue that already filled some of an order cannot say that it refused or never had it
    for state in (s.SENT, s.WORKING, s.CANCELLING, s.UNKNOWN):
        table[state][c.REJECTED] = s.REJECTED
    table[s.UNKNOWN][c.NOT_FOUND] = s.EXPIRED
    table[s.UNKNOWN][c.SENT_AGAIN] = s.SENT
    # news that arrives after the end changes nothing in the state; late fills are still posted
    for state in (s.FILLED, s.CANCELLED, s.REJECTED, s.EXPIRED):
        for cause in Cause:
            table[state][cause] = state
    return table


TRANSITIONS: Final[list[list[int]]] = _table()
"""TRANSITIONS[state][cause] is the next state, or -1 where the change is impossible."""


class IllegalTransition(Exception):
    """A report asked for a change of state that the table does not have: a bug or a lying venue."""


def transition(state: int, cause: int) -> int:
    """The state after `cause`; raises IllegalTransition."""
    after = TRANSITIONS[state][cause]
    if after < 0:
        raise IllegalTransition(f"{OrderState(state).name} cannot change by {Cause(cause).name}")
    return after


class Kind(IntEnum):
    """How one order rests at its venue. All have a worst price: a LIMIT from the start, a STOP once the market has come to
    its `stop_nano`, OPEN and CLOSE in the auction of that name and nowhere else."""

    LIMIT = 0
    STOP = 1
    OPEN = 2
    CLOSE = 3


class OrderBasket(Struct, frozen=True, tag="Submit", omit_defaults=True):
    """The orders of one round, in columns; the only thing a broker accepts. Built in `quantd.risk.pretrade.gate` and
    the codec, nowhere else.

    `sample` is the sample time the decision rests on and `n` its order number: together the basket's
    key. `sym` are columns of the universe, `lots` signed (negative sells), `worst_nano` the limit price,
    `end` the instant each row expires (0: good till cancelled). `kind` is a Kind per row and `stop_nano` the trigger
    price of STOP rows; empty when all are LIMIT. `reason` holds, row by row, the code of
    the limit that cut it (0: as asked); `values` limit name -> (value after all fills, bound).
    """

    sample: int
    n: int
    ts: int
    sym: list[int]
    lots: list[int]
    worst_nano: list[int]
    end: list[int]
    reason: list[int] = []
    values: dict[str, tuple[float, float]] = {}
    kind: list[int] = []
    stop_nano: list[int] = []


class Reports(Struct, frozen=True, tag=True, omit_defaults=True):
    """What a venue said about rows of one basket at one instant, in columns.

    `cum` is the row's cumulative filled lots (unsigned) *after* this report and `lots` its share of
    them (unsigned, 0 for none), so that a fill covers exactly (cum - lots, cum] and a duplicate or
    a reordered report is recognised. `price_nano` and `fee_micro` belong to `lots`. `cause` is a Cause
    per row; for the causes that end an order, `cum` is its final filled amount. `fee_nano` are nano-units of the instrument
    itself that were taken as a fee; empty for none.
    """

    sample: int
    n: int
    ts: int
    row: list[int]
    cum: list[int]
    lots: list[int]
    price_nano: list[int]
    fee_micro: list[int]
    cause: list[int]
    reason: str = ""
    fee_nano: list[int] = []


class ForeignOrder(Struct, frozen=True):
    """An order found at the venue that is not ours. It reserves risk; it can never be submitted."""

    venue_id: str
    symbol: int
    lots: int
    limit_nano: int


class Order(Struct, frozen=True):
    """One row of a basket, for people, adapters and exports. Money and sizes are exact decimal text."""

    id: str
    ts: int
    symbol: str
    side: str
    qty: str
    limit: str
    state: str
    reason: str
    agent: str


class Fill(Struct, frozen=True):
    """One fill, for people, adapters and exports. Money and sizes are exact decimal text."""

    ts: int
    order: str
    symbol: str
    side: str
    qty: str
    price: str
    fee: str
    agent: str


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int, width: int) -> str:
    """The last `width` base-36 digits of a non-negative number."""
    out = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        out.append(_DIGITS[digit])
    return "".join(reversed(out))


def decision_id(sample: int, who: str, symbol: str) -> str:
    """Twelve base-36 digits naming the decision of `who` about `symbol` at `sample`, in every mode alike."""
    digest = blake2b(f"{sample}|{who}|{symbol}".encode(), digest_size=12).digest()
    return base36(int.from_bytes(digest, "big"), 12)


def order_id(run: str, sample: int, symbol: str, n: int) -> str:
    """The client id of a house order: `q-<run>-<decision>-<n>`."""
    return f"q-{run}-{decision_id(sample, 'house', symbol)}-{base36(n, 3).lstrip('0') or '0'}"


def decimal_text(value: int, scale: int) -> str:
    """An exact integer with `scale` decimal places as text, trailing zeros beyond the second dropped."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    whole, part = digits[:-scale], digits[-scale:].rstrip("0")
    return f"{sign}{whole}.{part.ljust(2, '0')}"


def money_text(micro: int) -> str:
    """Micro-currency as exact decimal text: 1234500000 -> "1234.50"."""
    return decimal_text(micro, 6)


def price_text(nano: int) -> str:
    """Nano-currency as exact decimal text."""
    return decimal_text(nano, 9)


def quantity_text(lots: int, lot_nano: int) -> str:
    """Lots of `lot_nano` as exact decimal text, without a fraction when whole: "31", "0.25"."""
    nano = lots * lot_nano
    whole, part = divmod(abs(nano), NANO)
    sign = "-" if nano < 0 else ""
    return f"{sign}{whole}" + (f".{part:09d}".rstrip("0") if part else "")
