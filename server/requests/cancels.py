"""The cancel of one open order: the validation of a request before it becomes an event, and the answer to it."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from quantd.daemon.engine.planning.late_orders import clock_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.runtime.service import Service
from quantd.server.requests.control import Because, NotDone, check_ready, journal_reason, market_now
from quantd.server.requests.manual_answers import CancelledOrder
from quantd.trading.events import CancelRequested, ProposalReviewed, Proposed
from quantd.trading.instruments import NANO
from quantd.trading.orders import ENDED, OrderState, order_id, quantity_text, size_text

OrderName = Annotated[str, Meta(max_length=80, description="The id of an open order, as GET /api/v1/orders has it.")]


class CancelOne(Struct, frozen=True, forbid_unknown_fields=True):
    """Cancels the unfilled part of one open order; its fills remain."""

    order: OrderName
    reason: Because


class CancelPreview(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks which open order a cancel would end."""

    order: OrderName


def _all_orders(state: State) -> Iterator[tuple[Working, int]]:
    """Yield (basket, index of the order in it) of every order in the state; orders of open baskets come first.

    A basket has the orders that follow from the decisions of one instant.
    """
    for work in (*state.working.values(), *state.protection.stops.values(), *(work for _, work in state.ended)):
        yield from ((work, row) for row in range(len(work.state)))


def found_order(state: State, run: str, name: str) -> tuple[Working, int]:
    """Return the basket (the orders of one instant) of an open order, and the order's index in it.

    Raises NotDone for an unknown or ended order, and for a protective stop order.
    """
    for work, row in _all_orders(state):
        basket = work.basket
        symbol = state.universe.symbols[basket.sym[row]]
        if order_id(run, basket.sample, symbol, basket.n) != name:
            continue
        order_state = OrderState(work.state[row])
        if order_state in ENDED:
            raise NotDone(
                "conflict",
                f"{name} is {order_state.name.lower()}, so it cannot be cancelled; `quantd orders` lists all",
            )
        if (basket.sample, basket.n) in state.protection.stops:
            text = f"{name} is a protective stop at the venue, which follows its position in {symbol}"
            raise NotDone("conflict", f"{text}. Close the position, or change stop_loss in the configuration")
        return work, row
    raise NotDone(
        "order", f"no open order has the id {name!r}; `quantd orders` lists the newest orders with their state"
    )


def held_order(state: State, name: str) -> Proposed | None:
    """The order from outside that is held until the first price of its market, by its id or AGENT/ID; None for none.

    Raises NotDone where several agents have one of this id.
    """
    held = [proposal for proposal in state.awaiting if name in (proposal.id, proposal.cause)]
    if len({proposal.cause for proposal in held}) > 1:
        raise NotDone("order", f"several held orders have the id {name}: name one, {held[0].cause}")
    return held[0] if held else None


def withdrawn(service: Service, held: Proposed, asked: CancelOne, who: str) -> ProposalReviewed:
    """The event that ends a held order. Raises NotDone for a missing reason."""
    reason = journal_reason(asked.reason, "the cancel of an order")
    return ProposalReviewed(market_now(service), held.agent, held.id, False, reason, who)


def cancelled_held(state: State, name: str, held: Proposed, now: str) -> CancelledOrder:
    """What the cancel of a held order ends; the first of its orders, if it has several. `now` is its state."""
    wish, more = held.orders[0], len(held.orders) - 1
    lot, symbol = state.universe.lot_nano[wish.symbol], state.universe.symbols[wish.symbol]
    size = size_text(symbol, wish.lots, lot)
    waited = "for the price of its stop" if wish.trigger_nano else "until the first price of its market"
    text = f"it was held {waited}" + (f"; {more} more of its orders end with it" * (more > 0))
    return CancelledOrder(
        order=name, **size, filled="0", left=size["qty"], state=now, agents=[held.agent], parents=[], text=text
    )


def cancel_requested(service: Service, asked: CancelOne, who: str) -> CancelRequested:
    """Return the event that cancels an order.

    Raises NotDone for an unknown or ended order, a protective stop order, a missing reason, and while the daemon is not
    ready.
    """
    check_ready(service)
    work, row = found_order(service.shell.state, service.run, asked.order)
    reason = journal_reason(asked.reason, "the cancel of an order")
    return CancelRequested(market_now(service), work.basket.sample, work.basket.n, row, reason, who)


def cancelled_order(state: State, name: str, work: Working, row: int) -> CancelledOrder:
    """Return the order that a cancel would end, or has asked the venue to end, for the answer to the request.

    `work` is the basket (the orders of one instant) and `row` the index of the order in it. The result names the agents
    of the order. It also names those agents for which the order is one slice of a parent order, which is worked over
    time.
    """
    column, names = work.basket.sym[row], [agent.name for agent in state.rules.agents]
    lot, lots, filled = state.universe.lot_nano[column], work.lots[row], work.filled[row]
    unfilled_lots = abs(lots) - filled
    agents = [names[index] for index, lots_of_agent in work.shares_of(row) if lots_of_agent]
    sample, basket_number = work.basket.sample, work.basket.n
    parents = sorted(
        {
            names[parent.agent]
            for parent in state.parents
            if parent.sample == sample and basket_number in parent.children
        }
    )
    return CancelledOrder(
        order=name,
        **size_text(state.universe.symbols[column], lots, lot),
        filled=quantity_text(filled, lot),
        left=quantity_text(unfilled_lots, lot),
        state=OrderState(work.state[row]).name.lower(),
        agents=agents,
        parents=parents,
        text=_unconfirmed(state, name, work, row) + _consequences(agents, parents),
    )


def _unconfirmed(state: State, name: str, work: Working, row: int) -> str:
    """Return a text about an order that the venue has not confirmed; empty for a confirmed order."""
    clock = clock_of(state, (work.basket.sample, work.basket.n), row)
    if clock is None:
        return ""
    since = max(state.now - clock.since, 0) // NANO
    text = f"the venue has not confirmed this order for {since} s: the cancel is sent, and it may be filled already; "
    return f"{text}`quantd settle {name}` ends the wait after {UNANSWERED_NS // NANO} s; "


def _consequences(agents: list[str], parents: list[str]) -> str:
    """The effects of a cancel beyond the order, on its agents and parent orders, as text."""
    parent_text = f"the parent order of {' and '.join(parents)} in this symbol ends with it; " if parents else ""
    reorder_text = f"{' and '.join(agents) or 'its agent'} may order again at the next decision, which a pause prevents"
    return parent_text + reorder_text
