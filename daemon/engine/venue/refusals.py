"""Pauses after refusals: an order that the venue refuses, or a stop that it ends, is not sent again at once.

What can go wrong: an order whose refusal lasts (day trading, a smallest order value, an asset that does not trade) is
sent at every bar, once a symbol. The refusals would hide other alerts, and a venue locks out a client that goes on. So
orders pause after a refusal.

A pause belongs to a symbol and a side, whatever the words of the refusal, and after an order of a program to its
book alone. It lasts 1, 2, 4 .. 60 minutes.
The side is `add`, `reduce` or `stop`: a lack of buying power must not keep a position from being sold. The first
refusal in a row raises an alert, as does the first one with other words; the end of the refusals raises an INFO.

A reduction pauses like a purchase, and its alert is CRITICAL. Rejected: to try an exit at every bar. A venue that
refuses an exit twice does so for a cause that no further order removes, and only a person can act on it. An operator's
`flatten` and an order by hand are sent at once, whatever the pause. A stop that pauses at the venue is still watched
by the daemon.
"""

import re
from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.planning.pauses import pause_after, pause_ns, pausing_book, side_of
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.stop_records import Side
from quantd.trading.effects import Effect
from quantd.trading.instruments import NANO
from quantd.trading.orders import OrderState

FORGOTTEN_NS: Final = 3_600 * NANO
"""A pause is forgotten this long after its end, if no order was refused since then."""


LONGEST_WORDS: Final = 160
"""The largest number of characters of a refusal that are compared."""

NAMES: Final[dict[Side, str]] = {
    "add": "orders that add to it", "reduce": "orders that reduce it", "stop": "stops at the venue",
}  # fmt: skip

_STANDING: Final = (OrderState.WORKING, OrderState.PARTIAL)

_VARYING: Final = re.compile(r"\S*\d\S*")


def words_of(reason: str) -> str:
    """Return the words of a refusal in lower case, with "#" in place of numbers, identifiers and instants."""
    return _VARYING.sub("#", reason.lower())[:LONGEST_WORDS].strip() or "no reason given"


def refused(state: State, agent: int, symbol: int, side: Side, reason: str) -> list[Effect]:
    """Pause orders of a symbol and side after the venue refused one, for longer after each refusal in a row.

    Returns an alert for the first of several refusals in a row with the same words.
    """
    reported = set(state.protection.retries)
    retry = pause_after(state, agent, symbol, side, words_of(reason))
    if (agent, symbol, side, retry.words) in reported:
        return []
    by = "" if reason.startswith("not sent: ") else "rejected by the venue: "  # the daemon itself may refuse to send
    of = f" of {state.rules.agents[agent].name}" if agent != HOUSE and side != "stop" else ""
    text = (
        f"{by}{reason or 'no reason given'}; {NAMES[side]}{of} pause, for 1 minute at first and up to 60 while this "
        "lasts"
    )
    return [alert(state, "CRITICAL" if side == "reduce" else "WARNING", "refusal", text, symbol=symbol)]


def taken(state: State, agent: int, symbol: int, side: Side) -> list[Effect]:
    """End the pauses of a side (add, reduce or stop) after an order of that side that the venue carried out."""
    return _end_pauses(
        state, [key for key in state.protection.retries if key[:3] == (agent, symbol, side)], "the venue takes {} again"
    )


def settle_retries(state: State) -> list[Effect]:
    """At a tick: forget a pause and the count of its refusals once a later order has stayed open for as long as the
    pause lasted, or when FORGOTTEN_NS have passed since its end.

    A pause follows refusals with the same words, and is kept by (agent or house, symbol, side). A venue may accept an
    order and refuse it a moment later, so that an acceptance alone does not end the pause.
    """
    standing = {
        (pausing_book(work, row), work.basket.sym[row], side_of(state, work.basket.sym[row], work.lots[row]))
        for work in state.working.values()
        for row, order_state in enumerate(work.state)
        if order_state in _STANDING
    }
    standing |= {
        (state.protection.rests[key].agent, work.basket.sym[row], "stop")
        for key, work in state.protection.stops.items()
        for row, order_state in enumerate(work.state)
        if order_state in _STANDING
    }
    accepted = [
        key
        for key, retry in state.protection.retries.items()
        # a pause without words, of a stop that the venue ended, does not end with an acceptance
        if key[:3] in standing and retry.words and state.now - retry.at >= pause_ns(retry.times)
    ]
    effects = _end_pauses(state, accepted, "the venue takes {} again")
    old = [key for key, retry in state.protection.retries.items() if state.now >= retry.at + FORGOTTEN_NS]
    return [*effects, *_end_pauses(state, old, "{} were not refused for an hour")]


def _end_pauses(state: State, keys: Sequence[tuple[int, int, Side, str]], text: str) -> list[Effect]:
    """Drop pauses. Returns one INFO alert for each symbol and side whose pause an alert had reported.

    `text` is the text of the alert, with {} in place of the orders.
    """
    ended = [state.protection.retries.pop(key) for key in keys]
    refusals: dict[tuple[int, Side], int] = {}
    for retry in ended:
        # no alert reported a pause without words
        if retry.words:
            refusals[retry.symbol, retry.side] = max(refusals.get((retry.symbol, retry.side), 0), retry.times)
    return [
        alert(
            state,
            "INFO",
            "refusal",
            f"{text.format(NAMES[side])}, after {times} refusal{'s' if times > 1 else ''}",
            symbol=symbol,
        )
        for (symbol, side), times in refusals.items()
    ]
