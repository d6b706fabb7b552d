"""Orders with a price of their own, which may rest: a price that the market has not reached, and may never reach.

What can go wrong: a resting sale counts as the closing of its position, and an exit waits for it for ever; it fills
beside the exit, and the position is sold twice; a short sale above the market is weighed at the mark, and fills at
twice its weight; the book changes, and a rest that passed long ago breaks a limit. Each was seen in a trial.

So a rest never counts as the closing of a position (`at_rest`). An order without a price of its own that reduces a
position withdraws the rests in its way, and waits for their end (`withdraw_in_way`). Lots that open a short position
above the mark weigh what they fill at (`weighed`, and `gate_account` for open orders). Each sample and each change of
limits looks at the rests again (`safety.resting_orders`), and cancels those that the gate would cut. The promise: at
the marks of the last sample no fill of any subset of the open orders breaks a limit.

Books do not meet. Two orders of one account that could trade with each other are a wash trade: a venue refuses the
second, and a program could so keep its neighbours from selling. So decisions, exits, and orders that reduce a position
first withdraw the rests of all books that they would meet at their worst price (`opposite_rests`). An order from
outside that adds, or has a price of its own, is refused where it would meet a rest (`meeting`): its sender knows best
what to do. A sender's own price counts as long as the order is open: the venue has a newer price than the mark, and
the order may rest there. So may the remainder of an order that is filled in part. Another order at the market fills at
once. While it is on its way, an order from outside that could overtake it and rest is refused; an exit never waits.

Rejected: to cross the order with the rest inside both prices: the rest is at the venue, and may fill there meanwhile.
To weigh rests at every price that they may fill at. No number of lots is safe at every price, and the gate of
each sample sees the price that the market has. To cut a rest: it keeps its size, so that its sender knows what rests.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from quantd.daemon.engine.planning.gate_account import market_context, short_ratio
from quantd.daemon.engine.planning.targets import at_rest, withdraw
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.stop_records import Intent
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import Account, Verdict
from quantd.trading.effects import Effect, ProposalEnded
from quantd.trading.market import Floats
from quantd.trading.orders import THE_DAY, OrderState, Wish, price_text, quantity_text, side_text

NO_INTENT: Final = Intent()
"""The intent of a plan of the daemon itself."""


def weighed(state: State, account: Account, change: Floats, wishes: Sequence[Wish], *, passed: bool = False) -> Floats:
    """`change`, float64[N] signed lots, as lots that weigh at the mark what the lots weigh at their limit price.

    Only lots that open a short position above the mark weigh more. They are rounded up, and down where they have
    `passed` at another mark: the lot of the difference is no reason to cancel them.
    """
    ratio = _ratios(state, change, wishes)
    if ratio is None:
        return change
    opening = np.minimum(change - _closing(account, change), 0.0)
    more = -opening * (ratio - 1.0)
    return change - (np.floor(more) if passed else np.ceil(more))


def passed_of(state: State, account: Account, change: Floats, verdict: Verdict, wishes: Sequence[Wish]) -> Verdict:
    """The verdict on `change`, of which the `verdict` on its weighed lots is given: what passes is rounded down."""
    ratio = _ratios(state, change, wishes)
    if ratio is None:
        return verdict
    closing = np.maximum(_closing(account, change), verdict.lots)
    opening = np.minimum(verdict.lots - closing, 0.0)  # weighed lots that open a short position
    lots = np.maximum(closing - np.floor(-opening / ratio + 1e-9), change)
    return replace(verdict, lots=np.where(ratio > 1.0, lots, verdict.lots))


def _closing(account: Account, change: Floats) -> Floats:
    """float64[N], at most 0: the lots of sales in `change` that close a long position which no open order closes."""
    free = np.maximum(account.lots - (0.0 if account.down is None else account.down), 0.0)
    return np.maximum(np.minimum(change, 0.0), -free)


def _ratios(state: State, change: Floats, wishes: Sequence[Wish]) -> Floats | None:
    """float64[N], limit price over mark where a sale has a limit above the mark, else 1; None where no order has."""
    ratio = None
    for wish in wishes:
        factor = short_ratio(int(state.marks_nano[wish.symbol]), wish.limit_nano)
        if factor > 1.0 and change[wish.symbol] < 0.0:
            ratio = np.ones(state.universe.size) if ratio is None else ratio
            ratio[wish.symbol] = factor
    return ratio


def own_caps(size: int, wishes: Sequence[Wish]) -> list[int]:
    """Limit prices by column in nano-currency, 0 where an order has none; empty where no order has one."""
    caps = [0] * size if any(wish.limit_nano for wish in wishes) else []
    for wish in wishes:
        if wish.limit_nano:
            caps[wish.symbol] = wish.limit_nano
    return caps


def own_ends(state: State, ends: list[int], wishes: Sequence[Wish]) -> list[int]:
    """The expiries `ends` by column, ns UTC, with those that the orders ask for; 0 for an order that never expires."""
    ends = list(ends)
    for wish in wishes:
        if wish.end == THE_DAY:
            sessions = state.rules.sessions[state.rules.calendar[wish.symbol]]
            ends[wish.symbol] = sessions.day_order_end(state.now, state.rules.daily)
        elif wish.end:
            ends[wish.symbol] = max(wish.end, 0)
    return ends


def opposite_rests(
    state: State, symbol: int, lots: float, worst_nano: int, *, flying: bool = False
) -> list[tuple[Working, int]]:
    """(basket, row) of each rest, of any book, that an order for signed `lots` at a worst price would meet: an order at
    its sender's own price, one that is filled in part, or one with the worst price of a plan that the market has not
    passed. With `flying` those on their way to the venue too, decisions and exits among them."""
    mark = int(state.marks_nano[symbol])
    return [
        (work, row)
        for work in state.working.values()
        if work.cause or flying
        for row in dict.fromkeys(row for row, _, _ in work.open_shares())
        if work.symbol[row] == symbol and work.lots[row] * lots < 0
        for price in (work.worst_nano[row],)
        if (price <= worst_nano if lots > 0 else price >= worst_nano)
        if (flying and work.state[row] == OrderState.SENT)
        or (
            work.cause
            and (symbol in work.priced or work.filled[row] > 0 or (price >= mark if lots > 0 else price <= mark))
        )
    ]


def meeting(state: State, book: int, wish: Wish, worst_nano: int) -> str:
    """Why an order from outside for a book is refused: the rest that it would meet; empty where it meets none.

    An order without a price of its own that reduces a position is not refused: it withdraws the rest.
    """
    held = state.lots(book)[wish.symbol]
    if not wish.limit_nano and wish.lots * held < 0 and abs(wish.lots) <= abs(held):
        return ""
    # a simulated venue is not compared: an order is on its way there until the next bar
    met = opposite_rests(state, wish.symbol, wish.lots, worst_nano, flying=state.venue.waits.compared > 0)
    if not met:
        return ""
    work, row = met[0]
    if work.state[row] == OrderState.SENT and not (work.cause and wish.symbol in work.priced):
        return "an opposite order of the account is on its way to the venue; send it again afterwards"
    name, lots, price = state.universe.symbols[wish.symbol], work.lots[row], price_text(work.worst_nano[row])
    size = quantity_text(abs(lots) - work.filled[row], state.universe.lot_nano[wish.symbol])
    whose = "this book" if work.shares_of(row)[0][0] == book else "another book of the account"
    return (
        f"it would meet the resting order of {whose} to {side_text(lots)} {size} {name} at {price}, and two orders "
        f"of one account do not trade with each other; send a limit {'below' if wish.lots > 0 else 'above'} {price}"
    )


def _withdraw_met(
    state: State, book: int, change: Floats, priced: Sequence[int], *, reducing: bool
) -> tuple[list[int], list[Effect]]:
    """Cancel the rests of all books that orders of a book for `change` would meet; returns their columns and the
    cancels.

    Orders in the columns `priced` have a price of their own. With `reducing` only orders that reduce are looked at.
    """
    limits, held = state.rules.agents[book].limits, state.lots(book)
    worst = worst_nano(market_context(state), change, limits, held)
    met = [
        rest
        for symbol in change.nonzero()[0].tolist()
        if symbol not in priced and not (reducing and change[symbol] * held[symbol] >= 0.0)
        for rest in opposite_rests(state, symbol, change[symbol], worst[symbol])
    ]
    cancels: list[Effect] = [
        work.cancel(row, state.now) for work, row in met if work.state[row] != OrderState.CANCELLING
    ]
    return [work.basket.sym[row] for work, row in met], cancels


def withdraw_in_way(
    state: State, changes: dict[int, Floats], wishes: Sequence[Wish], *, of_book: bool = True
) -> tuple[list[int], list[Effect]]:
    """Cancel the rests that stand in the way of orders without a price of their own, and end such stop orders.

    `changes` maps an agent to float64[N] signed lots. Returns the columns in which the orders wait for the end of rests
    and the cancels. A rest of any book stands in the way where it would meet the order. With `of_book` a rest of the
    book does where it, the other open orders and a change that reduces a position exceed the position; stop orders of
    the book do without `of_book` too.
    """
    columns: set[int] = set()
    effects: list[Effect] = []
    priced = [wish.symbol for wish in wishes if wish.limit_nano]
    for agent, change in changes.items():
        met, cancels = _withdraw_met(state, agent, change, priced, reducing=bool(wishes))
        columns.update(met)
        effects.extend(cancels)
        held, resting = state.lots(agent), at_rest(state, agent) if of_book else np.zeros(state.universe.size)
        stops = [(proposal, wish) for proposal, wish, book in state.held_stops() if book == agent]
        closing = np.zeros(state.universe.size)
        for _, wish in stops:
            closing[wish.symbol] += wish.lots
        way = _too_many(held, change, closing)
        way[priced] = False
        for proposal, wish in stops:
            if way[wish.symbol] and wish.lots * held[wish.symbol] < 0.0:
                state.awaiting.remove(proposal)
                why = "an order that closes its position came first"
                effects.append(ProposalEnded(state.now, proposal.agent, proposal.id, "withdrawn", why))
        way = _too_many(held, change, closing + resting) & (resting * held < 0.0)
        way[priced] = False
        if way.any():
            columns.update(way.nonzero()[0].tolist())
            effects.extend(withdraw(state, agent, way))
    return sorted(columns), effects


def _too_many(held: Floats, change: Floats, closing: Floats) -> NDArray[np.bool_]:
    """Whether orders `closing` a position, and a change that reduces it, exceed it: bool[N] of float64[N] lots."""
    return (change * held < 0.0) & (closing * held < 0.0) & (np.abs(change + closing) > np.abs(held))


def rests_going(state: State, symbols: Sequence[int]) -> bool:
    """Whether a rest in one of these columns is being cancelled and has not ended."""
    return any(
        work.basket.sym[row] in symbols and work.state[row] == OrderState.CANCELLING
        for work in state.working.values()
        if work.cause
        for row, _, _ in work.open_shares()
    )


def none_rest(state: State) -> bool:
    """Whether no open order has a price of its own, and no stop order waits."""
    return not any(work.cause for work in state.working.values()) and not any(state.held_stops())
