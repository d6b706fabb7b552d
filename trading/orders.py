"""Orders, grouped in baskets; the states of an order, and the table of every legal change of state.

An order is one row of an `OrderBasket`. Baskets are sent and reported in columns. `Order` and `Fill` show single orders
and fills to people, adapters and exports.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal, TypedDict

from msgspec import Struct

from quantd.trading.display_text import decimal_text as decimal_text
from quantd.trading.display_text import money_text as money_text
from quantd.trading.execution import ANY_BUY, ANY_SALE
from quantd.trading.instruments import NANO, Universe

Side = Literal["buy", "sell"]


class OrderState(IntEnum):
    """The state of one order. In risk limits, an UNKNOWN order counts like a WORKING one."""

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
    """The cause of an order's state change."""

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
    """Return the table [state][cause] of next states; -1 where the cause is not permitted in the state."""
    states, causes = OrderState, Cause
    table = [[-1] * len(Cause) for _ in OrderState]
    for state in (states.SENT, states.WORKING, states.PARTIAL, states.CANCELLING, states.UNKNOWN):
        row = table[state]
        row[causes.LAST_FILL] = states.FILLED
        row[causes.CANCELLED] = states.CANCELLED
        row[causes.EXPIRED] = states.EXPIRED
        row[causes.TIMED_OUT] = states.UNKNOWN
        row[causes.ACCEPTED] = states.WORKING
        row[causes.PART_FILL] = states.PARTIAL
        row[causes.CANCEL_ASKED] = states.CANCELLING
    table[states.PARTIAL][causes.ACCEPTED] = states.PARTIAL  # an acknowledgement that arrives after its fill
    table[states.CANCELLING][causes.ACCEPTED] = states.CANCELLING
    table[states.CANCELLING][causes.PART_FILL] = states.CANCELLING
    # A venue that already filled part of an order cannot reject it or report it as not found.
    for state in (states.SENT, states.WORKING, states.CANCELLING, states.UNKNOWN):
        table[state][causes.REJECTED] = states.REJECTED
    table[states.UNKNOWN][causes.NOT_FOUND] = states.EXPIRED
    table[states.UNKNOWN][causes.SENT_AGAIN] = states.SENT
    # A report after the end does not change the state; late fills are still posted.
    for state in (states.FILLED, states.CANCELLED, states.REJECTED, states.EXPIRED):
        for cause in Cause:
            table[state][cause] = state
    return table


TRANSITIONS: Final[list[list[int]]] = _table()
"""TRANSITIONS[state][cause] is the next state, or -1 for an impossible change."""


class IllegalTransition(Exception):
    """A report requires a state change that the table does not contain.

    The cause is a bug or a false report of the venue.
    """


def transition(state: int, cause: int) -> int:
    """Return the state after `cause`. Raises IllegalTransition for a cause that `state` does not permit."""
    after = TRANSITIONS[state][cause]
    if after < 0:
        raise IllegalTransition(f"{OrderState(state).name} cannot change by {Cause(cause).name}")
    return after


class Kind(IntEnum):
    """Order type at the venue. An order of every type has a limit price, its `worst_nano`.

    A LIMIT order is active at once. A STOP order becomes active when the market reaches its `stop_nano`. OPEN and CLOSE
    orders fill only in the opening and in the closing auction.
    """

    LIMIT = 0
    STOP = 1
    OPEN = 2
    CLOSE = 3


class Wish(Struct, frozen=True, array_like=True, omit_defaults=True):
    """An order that a sender from outside, or a person, asks for: signed `lots` in the column `symbol`.

    `limit_nano` is the worst price of a fill in nano-currency, 0 for that of the collar. `end` is the instant (ns UTC)
    at which the order expires: 0 as the other orders of the run, UNTIL_CANCELLED, or THE_DAY. `stop_nano` and
    `target_nano` are protective levels for the whole position, which replace those of the book; 0 is none. With a
    `trigger_nano` it is a stop order: it waits until the mark is at this price or beyond it, above for a purchase.
    `exits` are the prices of the exits of its own lots, (take profit, stop loss, limit of the stop loss), 0 for none.
    """

    symbol: int
    lots: int
    limit_nano: int = 0
    end: int = 0
    stop_nano: int = 0
    target_nano: int = 0
    trigger_nano: int = 0
    exits: tuple[int, ...] = ()


UNTIL_CANCELLED: Final = -1
"""`end` of an order that never expires."""

THE_DAY: Final = -2
"""`end` of an order that expires with the session in which it can first fill; the engine computes the instant."""


class OrderBasket(Struct, frozen=True, tag="Submit", omit_defaults=True):
    """The orders that follow from the decisions of one instant, in columns; the only input that a broker accepts.

    Only `quantd.risk.pretrade.baskets` and the codec build baskets. `sample` is the time (ns UTC) of the sample behind
    the decision, and `n` the index among the baskets of that sample; together they identify the basket. `ts` is
    the time of the basket (ns UTC). A row is one order: `sym` is its column of the universe, `lots` are signed
    (negative sells), `worst_nano` is the limit price and `end` the instant at which it expires (0: good till
    cancelled). `kind` is a Kind and `stop_nano` the trigger price of a STOP order; both lists are empty when all rows
    are LIMIT. `reason` is the code of the limit that reduced the row (0: not reduced). `values` maps the name of a risk
    limit to (its value if all orders fill, its bound). `cause` is the id of the proposal that the orders carry out;
    empty for a decision of the daemon."""

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
    cause: str = ""


class Reports(Struct, frozen=True, tag=True, omit_defaults=True):
    """A venue's execution reports on orders (rows) of one basket at one instant, in columns.

    `cum` is the row's cumulative filled lots (unsigned) *after* this report, and `lots` the part added by it (unsigned,
    0 for none). A fill covers exactly (cum - lots, cum], which identifies duplicate and reordered reports. `price_nano`
    and `fee_micro` belong to `lots`. `cause` is a Cause per row. If the cause ends the order, `cum` is its final filled
    quantity. `fee_nano` is a fee charged in the instrument itself, in nano-units; empty for none.
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


def accepted_whole(basket: OrderBasket) -> Reports:
    """Return the usual acknowledgement: every row is accepted, at the instant of the basket."""
    rows = len(basket.sym)
    zeros = [0] * rows
    return Reports(
        basket.sample, basket.n, basket.ts, list(range(rows)), zeros, zeros, zeros, zeros, [int(Cause.ACCEPTED)] * rows
    )


AT_SAMPLES: Final = frozenset({"reallocate", "promote"})
"""Jobs that run at the next sample, because they need its valuation."""


class ScheduleRun(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator runs the schedule `schedule` now, as if its time had come. The schedule's `job` runs, and the
    agents with the indices `due` decide.

    `id` identifies this run in the log of job runs. `who` is the operator, `reason` the text that the operator gave.
    """

    ts: int
    id: int
    schedule: str
    job: str
    reason: str
    who: str
    due: tuple[int, ...] = ()


class ForeignOrder(Struct, frozen=True):
    """An open order at the venue that is not open in quantd's books. The order counts in risk limits, and quantd never
    changes it."""

    venue_id: str
    symbol: int
    lots: int
    limit_nano: int


class OpenOrder(Struct, frozen=True, omit_defaults=True):
    """One of our open orders as the venue reports it: `row` of the basket (`sample`, `n`).

    `cum` are the unsigned lots filled so far, `lots` the signed lots ordered. `limit_nano` and `stop_nano` are the
    limit and the trigger price. Each of these is 0 where the venue does not report it. The venue rounds prices to
    multiples of `tick_nano`.
    """

    sample: int
    n: int
    row: int
    cum: int = 0
    lots: int = 0
    limit_nano: int = 0
    stop_nano: int = 0
    tick_nano: int = 1


class Order(Struct, frozen=True):
    """The current state of one order, for people and exports. Money and sizes are exact decimal text.

    `ts` (ns UTC) and `time` (text) are its creation; `ended` is the time of its end, empty for an open order. `limit`
    is empty for an order without a limit price. `price` is the mean price of its fills and `fee` their fees, both empty
    without a fill. `reason` is the code or the name of the limit that reduced the order. `note` is the venue's message
    at its end.
    """

    id: str
    ts: int
    time: str
    symbol: str
    side: str
    qty: str
    limit: str
    state: str
    filled: str
    price: str
    fee: str
    reason: str
    agent: str
    ended: str
    note: str


class Fill(Struct, frozen=True):
    """One fill, for people and exports. Money and sizes are exact decimal text."""

    ts: int
    time: str
    order: str
    symbol: str
    side: str
    qty: str
    price: str
    fee: str
    agent: str


THREE_DIGITS: Final = 36**3


@lru_cache(maxsize=1)
def three_digits() -> list[str]:
    """Return the texts of all numbers with three base-36 digits, in order: 000 to zzz."""
    figures = "0123456789abcdefghijklmnopqrstuvwxyz"
    return [a + b + c for a in figures for b in figures for c in figures]


def base36(number: int, width: int) -> str:
    """Return the last `width` base-36 digits of a non-negative number."""
    digits, text = three_digits(), ""
    while len(text) < width:
        number, three_digit_number = divmod(number, THREE_DIGITS)
        text = digits[three_digit_number] + text
    return text[-width:]


def decision_id(sample: int, who: str, symbol: str) -> str:
    """Return twelve base-36 digits that identify a decision on `symbol` at `sample` (ns UTC), equal in backtest, paper
    and live trading. `who` is the name of the agent, or "house" for the whole account."""
    return base36(int.from_bytes(blake2b(f"{sample}|{who}|{symbol}".encode(), digest_size=12).digest(), "big"), 12)


def order_id(run: str, sample: int, symbol: str, n: int) -> str:
    """Return the client id of an order: `q-<run>-<decision>-<n>`. The decision is the `decision_id` of the account, and
    `n`, in base 36, the index of the basket in the sample."""
    return f"q-{run}-{decision_id(sample, 'house', symbol)}-{basket_digits(n)}"


def basket_digits(n: int) -> str:
    """Return the number of a basket in its sample as base-36 digits without leading zeros."""
    return base36(n, 3 if n < THREE_DIGITS else 9).lstrip("0") or "0"


def price_text(nano: int) -> str:
    """Format nano-currency as exact decimal text."""
    return decimal_text(nano, 9)


def limit_text(nano: int) -> str:
    """Format the limit price of an order; empty for an order without a collar, which has none."""
    return "" if nano in (ANY_BUY, ANY_SALE) else price_text(nano)


def quantity_text(lots: int, lot_nano: int) -> str:
    """Format `lots`, each of `lot_nano` nano-units, as exact decimal text, without a fraction when whole: "31",
    "0.25"."""
    nano = lots * lot_nano
    units, fraction_nano = divmod(abs(nano), NANO)
    return f"{'-' if nano < 0 else ''}{units}" + (f".{fraction_nano:09d}".rstrip("0") if fraction_nano else "")


class SizeText(TypedDict):
    """Symbol, side, and unsigned quantity as exact decimal text, as every display of an order or a fill shows its
    size."""

    symbol: str
    side: Side
    qty: str


def side_text(lots: int) -> Side:
    """Return the side of signed lots: buy or sell."""
    return "buy" if lots > 0 else "sell"


def size_text(symbol: str, lots: int, lot_nano: int) -> SizeText:
    """Return symbol, side and unsigned quantity of `lots` (signed; negative sells), each of `lot_nano` nano-units."""
    return SizeText(symbol=symbol, side=side_text(lots), qty=quantity_text(abs(lots), lot_nano))


def quantities(universe: Universe, lots: Sequence[int]) -> dict[str, str]:
    """Return symbol -> signed quantity as decimal text, for `lots` with one entry per instrument of the universe.
    Instruments with 0 lots are left out."""
    sized = zip(universe.symbols, lots, universe.lot_nano, strict=False)
    return {symbol: quantity_text(n, size) for symbol, n, size in sized if n}
