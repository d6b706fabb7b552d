"""The monitor at every sample: each limit of the house and of each agent on what is held, measured where it may have come
nearer or gone away; and now and then a record of the house's.

Whether something was measured never shows in the effects: a screen lets a measurement be left out only where no level can
have changed (`risk.screen`), and what is recorded, and when, hangs on bookings, levels and the count of samples.
"""

import numpy as np

from daemon.engine.alerts import limit_alerts
from daemon.engine.planning import market_context
from daemon.engine.state import HOUSE, State
from daemon.engine.watch import Corridor
from risk.gate import Account
from risk.held import held_values
from risk.limits import Limits
from risk.screen import Screen, screen
from risk.standing import Portfolio, Values, standings
from risk.switch import losses
from trading.effects import Assessed, Effect
from trading.market import Floats

RECORD_SAMPLES = 21
"""At least one record in so many samples, about a month."""

MOVED = 0.01
"""After a booking: recorded when a value moved by more than this share of its bound since the last record."""


def watch(state: State) -> list[Effect]:
    """Alerts about limits that came nearer or went away again, and the record of the house where one is due."""
    kept = state.watch
    books = watched(state)
    _returns(state)
    changed, before = kept.changed, kept.changed_before
    kept.changed, kept.changed_before = False, changed
    due = state.sample_no - kept.recorded_no >= RECORD_SAMPLES
    measured: list[Values] = []
    if changed or due or not _screened(state):
        measured = _measured(state, books)
    effects: list[Effect] = []
    for at, book in enumerate(books):
        limits = limits_of(state, book)
        values = _cheap(state, book, limits)
        if measured:
            values |= measured[at]
        found = limit_alerts(state, book, values)
        if book == HOUSE and (found or due or (changed and _has_moved(kept.recorded, values))):
            if not measured:  # what crossed is known at every sample: a loss
                values |= _measured(state, [HOUSE])[0]
            kept.recorded, kept.recorded_no = values, state.sample_no
            effects.append(Assessed(state.now, values))
        effects.extend(found)
    if measured and not (changed and before):  # a book that trades at every sample is measured at every sample
        _screen_all(state, books, measured)
    return effects


def watched(state: State) -> list[int]:
    """The house, and each agent's book that is another one: a lone agent that has all the money and the house's own
    limits is the house, and is told of once."""
    rules, ledger = state.rules, state.ledger
    if len(rules.agents) == 1 and ledger.house.flows_micro == ledger.books[0].flows_micro:
        own = rules.agents[0].limits
        if own is rules.house or own == rules.house:
            state.watch.levels[0] = state.monitor.levels
            return [HOUSE]
    return [HOUSE, *range(len(rules.agents))]


def limits_of(state: State, book: int) -> Limits:
    return state.rules.house if book == HOUSE else state.rules.agents[book].limits


def _returns(state: State) -> None:
    """Add this sample's return of the house and of each agent."""
    ledger, realised = state.ledger, state.watch.realised
    realised[0].add(state.equity_micro, ledger.house.flows_micro)
    for one, equity, book in zip(realised[1:], state.books_micro, ledger.books, strict=False):
        one.add(equity, book.flows_micro)


def _cheap(state: State, book: int, limits: Limits) -> Values:
    """What is known at each sample anyway: the losses that move the switch, and what returns were."""
    switch = state.switch if book == HOUSE else state.agents[book].switch
    equity = state.equity_micro if book == HOUSE else state.books_micro[book]
    return losses(switch, equity, limits) | state.watch.realised[book + 1].values(limits)


def _measured(state: State, books: list[int]) -> list[Values]:
    """Every basket limit of these books on what they hold."""
    ctx = market_context(state)
    accounts = [_held(state, book) for book in books]
    found = standings(
        ctx, [Portfolio(ctx, a, limits_of(state, b), None) for a, b in zip(accounts, books, strict=True)]
    )
    for values, account, book in zip(found, accounts, books, strict=True):
        values |= held_values(ctx, account, limits_of(state, book))
    return found


def _held(state: State, book: int) -> Account:
    """A book as it is held, nothing open counted."""
    account = state.ledger.house if book == HOUSE else state.ledger.books[book]
    equity = state.equity_micro if book == HOUSE else state.books_micro[book]
    return Account(lots=state.lots(book), cash=account.cash_micro / 1e6, equity=equity / 1e6)


def _has_moved(before: Values, now: Values) -> bool:
    """Whether a limit's value moved by more than MOVED of its bound; those that came or went did."""
    if before.keys() != now.keys():
        return True
    return any(not abs(now[key][0] - value) <= MOVED * abs(bound) for key, (value, bound) in before.items())


def _screened(state: State) -> bool:
    """Whether no level of a basket limit can have changed since everything was measured, nothing booked since."""
    corridor = state.watch.corridor
    if corridor is None:
        return False
    ring = state.history.synchronous
    corridor.rows += 1
    marks = state.marks if corridor.columns is None else state.marks[corridor.columns]
    # the newest synchronous row is this sample's: one more of them, none waiting, and of these very marks
    if ring.count != corridor.rows or state.history.waiting or ring.prices[ring.end - 1, 0] != state.marks[0]:
        return False
    low, high = _range(marks * corridor.inverse)
    for book, one in corridor.screens:
        equity = state.equity_micro if book == HOUSE else state.books_micro[book]
        if not one.keeps(low, high, equity / 1e6):
            return False
    return True


def _range(ratios: Floats) -> tuple[float, float]:
    """Least and largest; not-a-number spoils both or either."""
    if not len(ratios):
        return 1.0, 1.0
    if len(ratios) <= 64:
        plain = ratios.tolist()
        return min(plain), max(plain)
    return float(np.minimum.reduce(ratios)), float(np.maximum.reduce(ratios))


def _screen_all(state: State, books: list[int], measured: list[Values]) -> None:
    """Screens for the samples to come; none at all where one book's cannot be made: the others are measured with it."""
    state.watch.corridor = None
    ctx = market_context(state)
    ring = state.history.synchronous
    if not ctx.all_priced or state.history.waiting or not np.array_equal(ring.prices[ring.end - 1], state.marks):
        return
    screens: list[tuple[int, Screen]] = []
    held = np.zeros(state.universe.size, dtype=np.bool_)
    for book, values in zip(books, measured, strict=True):
        account = _held(state, book)
        levels = state.monitor.levels if book == HOUSE else state.watch.levels[book]
        made = screen(ctx, account, limits_of(state, book), values, levels)
        if made is None:
            return
        screens.append((book, made))
        held |= account.lots != 0.0
    columns = None if held.all() else np.flatnonzero(held)
    inverse = 1.0 / (state.marks if columns is None else state.marks[columns])
    state.watch.corridor = Corridor(columns, inverse, ring.count, screens)
