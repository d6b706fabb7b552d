"""Pauses of orders after refusals of the venue: their count, their length, and the orders that wait for their end.

The reasons for pauses are in `quantd.daemon.engine.venue.refusals`, which begins and ends them with alerts.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.stop_records import Retry, Side
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats

FIRST_NS: Final = 60 * NANO
"""The first pause; doubled with each refusal."""

LONGEST_NS: Final = 60 * FIRST_NS
"""The longest pause: an hour."""

MOST_PAUSES: Final = 8
"""Maximum number of texts of refusals that are kept for one symbol and side; further texts share one record."""

OTHER_WORDS: Final = "other words"
"""Stands for the texts of the shared pause."""


def side_of(state: State, symbol: int, lots: float) -> Side:
    """The side of an order: "reduce" where its signed lots reduce the position of the whole account, else
    "add"."""
    held = state.ledger.house.held[symbol]
    return "reduce" if held * lots < 0 and abs(lots) <= abs(held) else "add"


def pause_after(state: State, agent: int, symbol: int, side: Side, words: str) -> Retry:
    """Count one more refusal of orders in a symbol and direction, and begin their pause; returns its record.

    The pause and its count belong to the symbol and the side, whatever the words: a venue that refuses in varying words
    refuses. `words` is the venue's reason without numbers. The words are kept, so that each is reported once; those
    beyond MOST_PAUSES share one record.
    """
    retries = state.protection.retries
    same_side = [key for key in retries if key[:3] == (agent, symbol, side)]
    if (agent, symbol, side, words) not in same_side and len(same_side) >= MOST_PAUSES:
        words = OTHER_WORDS
    times = 1 + max((retries[key].times for key in same_side), default=0)
    until = state.now + pause_ns(times)
    retry = retries[agent, symbol, side, words] = Retry(agent, symbol, times, until, side, words)
    for key in same_side:
        retries[key].times, retries[key].at = times, until
    return retry


def pause_ns(times: int) -> int:
    """The length in ns of the pause of orders after this many refusals of the venue."""
    return min(FIRST_NS * 2 ** min(times - 1, 10), LONGEST_NS)


def try_at_once(state: State, symbols: Collection[int] | None = None) -> None:
    """End the present pauses of orders that reduce positions, in some symbols or in all (None).

    The count of refusals goes on. The function is called for an operator's command. It is also called when the number
    of lots that can be closed changes, because the next order then differs from the refused one.
    """
    for retry in state.protection.retries.values():
        if retry.side == "reduce" and (symbols is None or retry.symbol in symbols):
            retry.at = min(retry.at, state.now)


def pausing_book(work: Working, row: int) -> int:
    """The book whose orders pause after the refusal of an order: that of the program that sent it, else the house.

    A program must not stop the orders of its neighbours.
    """
    return work.shares_of(row)[0][0] if work.cause else HOUSE


def pausing(state: State, lots: Floats, books: Collection[int]) -> NDArray[np.bool_] | None:
    """bool[N], True where an order of `books` for `lots` (float64[N], signed) pauses now; None if no order pauses."""
    pauses = np.zeros(len(lots), dtype=np.bool_)
    for (agent, symbol, side, _), retry in state.protection.retries.items():
        if agent in books and lots[symbol] and state.now < retry.at and side_of(state, symbol, lots[symbol]) == side:
            pauses[symbol] = True
    return pauses if pauses.any() else None


def stop_pauses(state: State, agent: int, symbol: int) -> bool:
    """Whether the protective stop of an agent's position is held back now, because the venue refused or ended one."""
    return any(
        key[:3] == (agent, symbol, "stop") and state.now < retry.at for key, retry in state.protection.retries.items()
    )
