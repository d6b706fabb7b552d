"""Orders at the venue without an answer: which of them wait, which are late, and the lots they may still close."""

from collections.abc import Iterator
from typing import Final

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Key, Working
from quantd.daemon.engine.state.waits import UNANSWERED_NS, Unanswered
from quantd.trading.orders import ENDED, OrderState

WAITING: Final = frozenset({OrderState.UNKNOWN, OrderState.CANCELLING})
"""States of an order in which the venue owes an answer."""


def waits_for_answer(work: Working, row: int) -> bool:
    """Whether an order waits for an answer of the venue: its state is UNKNOWN or CANCELLING, or its end was reported
    while a report of an earlier fill is missing."""
    if work.state[row] in ENDED:
        return False
    report_gaps = work.odd.get(row)
    return work.state[row] in WAITING or (report_gaps is not None and report_gaps.final >= 0)


def waiting_rows(state: State) -> Iterator[tuple[Key, Working, int]]:
    """(key (sample, n) of the basket, basket, row of the order) of every order at the venue that waits for an answer;
    none at a simulated venue."""
    for key, work in state.at_venue().items() if state.venue.waits.compared else ():
        yield from ((key, work, row) for row in range(len(work.state)) if waits_for_answer(work, row))


def uncertain_rows(state: State) -> Iterator[tuple[Key, Working, int]]:
    """(key (sample, n), basket, row) of the orders without an answer that may have unreported fills.

    An order that is being cancelled is included only once it is late: until then its fills are reported.
    """
    for key, work, row in waiting_rows(state):
        if work.state[row] != OrderState.CANCELLING or is_late(state, key, row):
            yield key, work, row


def clock_of(state: State, key: Key, row: int) -> Unanswered | None:
    """The record of the instant since which an order (a row of a basket) waits for an answer of the venue; None while
    it does not wait."""
    return next(
        (clock for clock in state.venue.waits.unanswered if (clock.sample, clock.n, clock.row) == (*key, row)), None
    )


def is_late(state: State, key: Key, row: int) -> bool:
    """Whether an order has waited for an answer of the venue for UNANSWERED_NS or longer."""
    clock = clock_of(state, key, row)
    return clock is not None and state.now - clock.since >= UNANSWERED_NS


def late_closing(state: State, agent: int) -> dict[int, int]:
    """Column -> unsigned lots of an agent's position that late orders may still close.

    A late order has waited too long for an answer of the venue. The result has only columns in which every open order
    of the agent is late.
    """
    closing: dict[int, int] = {}
    timely_columns = set()
    for key, work in state.working.items():
        for row, who, lots in work.open_shares():
            column = work.basket.sym[row]
            if who == agent and is_late(state, key, row):
                reduces = lots * state.ledger.books[agent].held[column] < 0
                closing[column] = closing.get(column, 0) + (abs(lots) if reduces else 0)
            elif who == agent:
                timely_columns.add(column)
    return {column: lots for column, lots in closing.items() if column not in timely_columns}
