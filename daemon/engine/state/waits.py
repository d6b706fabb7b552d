"""What the engine knows of the venue's account beside the books, and since when the engine waits for an answer.

A wait without an end stops what depends on it. So each wait has a clock, a CRITICAL alert when its time is over, and a
way out: an order without an answer is settled by an operator (`settlements`), and the alert about a flatten (closing of
all positions) that does not end names the refusal.

The clock of an order begins with its first unanswered query, and restarts do not begin it anew. The clock ends with any
report of the venue that confirms the state. No clock runs at a simulated venue, which answers at once and is not
compared with the books.
"""

from typing import Final

from msgspec import Struct

from quantd.trading.instruments import NANO

UNANSWERED_NS: Final = 300 * NANO
"""Time after which an order without an answer of the venue is an operator's to settle, and a flatten is late."""


class Unanswered(Struct):
    """An order whose state the venue does not confirm, since the instant `since`; `alerted` is True once an alert has
    named it."""

    sample: int
    n: int
    row: int
    since: int
    alerted: bool = False


class RefusedExit(Struct):
    """A column whose position is to be closed, and whose orders the venue refuses since the instant `since`."""

    symbol: int
    since: int
    alerted: bool = False


class Settlement(Struct):
    """An operator's statement on an order, until the venue confirms or replaces it.

    `claimed` are the unsigned lots (`low`, `low` + `claimed`] that the operator reported as filled at `price_nano`;
    `parts` are the books' signed shares of them. A later correction of the account contains the first `included` filled
    lots of the order; -1 without a correction. `replaced` is True once the claim is booked back.
    """

    sample: int
    n: int
    row: int
    low: int
    claimed: int
    price_nano: int
    parts: list[tuple[int, int]]
    who: str
    included: int = -1
    replaced: bool = False


class Waits(Struct):
    """The newest comparison with the venue, and the clocks of waits for it.

    `compared` is the instant of the newest comparison. `missing` has by column the unsigned lots of the position of the
    whole account that the venue does not let us close: they were sold there, or an order that is not ours
    holds them.

    `flatten_since` is the instant at which the house began to close all positions, 0 if it is not closing them. `told`
    are the missing lots that an alert has named since then. `late` is True once an alert said that the flatten does not
    end. `account` is the venue's reason why the account may not trade, empty while it may. `holdings` are what the
    venue has beside whole lots of the universe, as (symbol, decimal text). `run` is the name of the run, which is a
    part of the ids of orders.
    """

    compared: int = 0
    missing: dict[int, int] = {}
    flatten_since: int = 0
    told: dict[int, int] = {}
    late: bool = False
    account: str = ""
    holdings: tuple[tuple[str, str], ...] = ()
    run: str = ""
    unanswered: list[Unanswered] = []
    settled: list[Settlement] = []
    refused: list[RefusedExit] = []
