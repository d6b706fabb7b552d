"""Executes parent orders: child orders that are due pass the gate (the check of limits) like every order.

A parent order is worked over time by smaller orders, its children. A chase is a parent whose price follows the market.
The kill switch, protective exits, halts and new decisions precede this stage
(`quantd.daemon.engine.safety.parent_orders`).

What can go wrong: the market and the limits change after the decision passed the gate. Therefore a parent reserves
nothing, and each child passes the gate when it is due. Before any child is sent, all parents end at HALT, at REDUCE the
parents that add risk, and an exit ends the parents of its symbol. A child that was cut or ended is sent again with the
next step.

A chase cancels its last child and waits for the report of its end before it sends the next one. So two children of one
chase never fill together beyond the parent.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from quantd.daemon.engine.planning.plan import Child, PlanWatch, give_up, plan, progress
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.parents import (
    Parent,
    chase_nano,
    participation_lots,
    slices_due,
    twap_lots,
    vwap_lots,
)
from quantd.risk.switch import HALT, RUN
from quantd.trading.effects import Effect, Ended
from quantd.trading.events import Decided, Event, NotFound, Tick
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.orders import OrderBasket, OrderState, Reports


def see_volume(state: State, market: MarketSlice) -> None:
    """Count the volume of a slice (the bars of one instant) for parent orders that began before its bars opened."""
    for parent in state.parents:
        for row, symbol in enumerate(parent.sym):
            volume = float(market.volume[symbol])
            if market.fresh[symbol] and parent.start[row] <= market.ts_open < parent.close[row] and volume > 0.0:
                parent.seen[row] += volume


def count_fills(
    state: State, sample: int, n: int, sym: Sequence[int], shares: Sequence[Sequence[tuple[int, int]]]
) -> None:
    """Add the fills in a basket of child orders, (`sample`, `n`), to their parent orders.

    `sym` has the symbol of each fill, `shares` its (agent, signed lots).
    """
    for parent in state.parents:
        if parent.sample == sample and n in parent.children:
            for symbol, fill_shares in zip(sym, shares, strict=True):
                parent.fill(symbol, sum(abs(lots) for who, lots in fill_shares if who == parent.agent))


def yield_to_switch(state: State) -> list[Effect]:
    """End rows (orders) of parents that the kill switch stops (at HALT all, at REDUCE those that add risk), and rows in
    symbols that a protective exit closes."""
    effects: list[Effect] = []
    for parent in list(state.parents):
        agent = state.agents[parent.agent]
        # the stricter one: RUN < REDUCE < HALT
        mode = HALT if state.flattening else max(state.switch.state, agent.switch.state)
        held = state.lots(parent.agent)
        stopped = [
            mode == HALT or symbol in agent.exits or (mode != RUN and held[symbol] * lots >= 0.0)
            for symbol, lots in zip(parent.sym, parent.lots, strict=True)
        ]
        effects.extend(_end_rows(state, parent, stopped, "the switch" if mode != RUN else "a protective exit"))
    return effects


def end_symbol(state: State, symbol: int, why: str) -> list[Effect]:
    """End the parent orders in one symbol, for the reason `why`."""
    return [
        effect
        for parent in list(state.parents)
        for effect in _end_rows(state, parent, [column == symbol for column in parent.sym], why)
    ]


def end_children(state: State, sample: int, n: int, symbol: int, why: str) -> list[Effect]:
    """End the parent orders in one symbol that sent children in the basket (sample, n)."""
    return [
        effect
        for parent in list(state.parents)
        if parent.sample == sample and n in parent.children
        for effect in _end_rows(state, parent, [column == symbol for column in parent.sym], why)
    ]


def _end_rows(state: State, parent: Parent, stopped: list[bool], why: str) -> list[Effect]:
    """End the rows of a parent order for which `stopped` is True, with a record of their progress."""
    if not any(stopped):
        return []
    record = progress(state, parent.part([row for row, stop in enumerate(stopped) if stop]), why)
    remainder = parent.part([row for row, stop in enumerate(stopped) if not stop])
    position = state.parents.index(parent)
    state.parents[position : position + 1] = [remainder] if remainder.sym else []
    return [record]


def work_parents(state: State, event: Event, effects: Sequence[Effect], watch: PlanWatch) -> Sequence[Effect]:
    """Return the effects of an event, followed by the effects of the parent orders that the event makes due."""
    if not state.parents or not _makes_due(state, event, effects):
        return effects
    return [*effects, *_send_due(state, watch)]


def _makes_due(state: State, event: Event, effects: Sequence[Effect]) -> bool:
    """Whether an event makes child orders due.

    Such an event is a slice (the bars of one instant), a tick, the last answer of an instant, or the end of a child of
    a chase (an order that follows the price).
    """
    match event:
        case Tick():
            return not (event.sample and event.warmup)
        case Decided():
            return state.round is None and event.round == state.round_no
        case Reports() | NotFound():
            chases = any(parent.style == "chase" for parent in state.parents)
            return chases and any(type(effect) is Ended for effect in effects)
        case _:
            return True


def _send_due(state: State, watch: PlanWatch) -> list[Effect]:
    """End finished parents, then send the children that are due; parents of one decision share a basket.

    A parent is an order that is worked over time by smaller ones, its children.
    """
    effects = yield_to_switch(state)
    finished = [
        parent for parent in state.parents if all(parent.over(row, state.now) for row in range(len(parent.sym)))
    ]
    for parent in finished:
        filled = all(done >= abs(lots) for done, lots in zip(parent.filled, parent.lots, strict=True))
        effects.extend(give_up(state, [parent], "filled" if filled else "its session ended"))
    children_by_decision: dict[tuple[int, int], list[tuple[Parent, Floats]]] = {}
    caps = [0] * state.universe.size  # worst prices in nano-currency by column, 0: none
    for parent in state.parents:
        due_lots = np.zeros(state.universe.size)  # signed, as `parent.lots`; all other lots are unsigned
        open_children = open_lots(state, parent)
        for row, symbol in enumerate(parent.sym):
            if symbol in state.restrictions.halted or parent.over(row, state.now):
                continue  # no slice during a halt; the symbol catches up after it
            unsent = abs(parent.lots[row]) - parent.filled[row] - open_children[row]
            if parent.style == "chase":
                lots, cap = _chase(state, parent, row, unsent, open_children[row], effects)
            else:
                lots, cap = (
                    min(_due(state, parent, row) - parent.filled[row] - open_children[row], unsent),
                    parent.worst_nano[row],
                )
            if lots > 0:
                due_lots[symbol] = lots if parent.lots[row] > 0 else -lots
                caps[symbol] = _narrower_price(caps[symbol], cap, parent.lots[row] > 0)
        if due_lots.any():
            children_by_decision.setdefault((parent.sample, parent.ts), []).append((parent, due_lots))
    for (sample, decided), children in sorted(children_by_decision.items()):
        effects.extend(_send_children(state, watch, sample, decided, children, caps))
    return effects


def _send_children(
    state: State, watch: PlanWatch, sample: int, decided: int, parts: list[tuple[Parent, Floats]], caps: list[int]
) -> Sequence[Effect]:
    """Plan the due lots of one decision's parent orders as one basket of child orders; note its number in each parent.

    `decided` is the instant of the decision. `parts` are (parent, signed lots), `caps` the worst prices in
    nano-currency by column, 0 for none.
    """
    state.revalue()
    answers = {parent.agent: parent.weights for parent, _ in parts}
    lots = {parent.agent: change for parent, change in parts}
    effects = plan(state, answers, watch=watch, sample=sample, lots=lots, child=Child(decided, parts[0][0].style, caps))
    sent = next((effect for effect in effects if type(effect) is OrderBasket), None)
    if sent is not None:
        for parent, change in parts:
            if change[sent.sym].any():
                parent.children.append(sent.n)
    return effects


def _narrower_price(first: int, second: int, buy: bool) -> int:
    """The narrower of two worst prices in nano-currency: the lower one for a buy. A `first` of 0 means no price."""
    return second if not first else min(first, second) if buy else max(first, second)


def _due(state: State, parent: Parent, row: int) -> int:
    """Unsigned lots of an order (`row`) of the parent that are due by now; 0 if the child order of the present step of
    the execution was sent.

    The step is marked as served. The lots of a child that was cut or ended are sent again in the next step.
    """
    rules, size, now = state.rules.execution, abs(parent.lots[row]), state.now
    if parent.style == "participation":
        lots = participation_lots(rules, size, parent.seen[row], float(state.universe.lot_size[parent.sym[row]]))
        if lots <= parent.step[row]:
            return 0
        parent.step[row] = lots
        return lots
    due_slices = slices_due(rules, parent.start[row], parent.close[row], now)
    if due_slices <= parent.step[row]:
        return 0
    parent.step[row] = due_slices
    if parent.style == "twap":
        return twap_lots(rules, size, due_slices)
    return vwap_lots(rules, size, due_slices, parent.start[row], parent.open[row], parent.close[row])


def _chase(
    state: State, parent: Parent, row: int, unsent: int, open_child: int, effects: list[Effect]
) -> tuple[int, int]:
    """(lots, price in nano-currency) of a chase's next child, within the parent's worst price; (0, 0) if none is due.

    A chase is an order that follows the price. The previous child is cancelled first, and the next one waits for its
    end; after the last replacement the child stays open.
    """
    rules, children_sent, now = state.rules.execution, parent.step[row], state.now
    symbol, buy = parent.sym[row], parent.lots[row] > 0
    too_early = children_sent and now - parent.sent[row] < rules.every_ns
    if now < parent.start[row] or too_early or children_sent > rules.most:
        return 0, 0
    if open_child:
        effects.extend(_cancel_children(state, parent, symbol))
        return 0, 0
    parent.step[row], parent.sent[row] = children_sent + 1, now
    tick = state.universe.instruments[symbol].tick_nano
    price = chase_nano(rules, int(state.marks_nano[symbol]), buy, children_sent, tick)
    return unsent, _narrower_price(parent.worst_nano[row], price, buy)


def _open_children(state: State, parent: Parent) -> Iterator[tuple[Working, int, int]]:
    """(basket, row, unsigned lots) of the child orders of a parent order that may still fill."""
    for n in parent.children:
        if (work := state.working.get((parent.sample, n))) is not None:
            yield from ((work, row, abs(lots)) for row, who, lots in work.open_shares() if who == parent.agent)


def _cancel_children(state: State, parent: Parent, symbol: int) -> list[Effect]:
    """Cancel the child orders of a parent order in one symbol, except those that are being cancelled already."""
    return [
        work.cancel(row, state.now)
        for work, row, _ in _open_children(state, parent)
        if work.basket.sym[row] == symbol and work.state[row] != OrderState.CANCELLING
    ]


def open_lots(state: State, parent: Parent) -> list[int]:
    """Unsigned lots of each row that children may still fill.

    Child orders never cross (trade between agents): opposite parent orders of a decision crossed when it was made.
    """
    lots_by_row = [0] * len(parent.sym)
    for work, row, lots in _open_children(state, parent):
        if work.basket.sym[row] in parent.sym:
            lots_by_row[parent.sym.index(work.basket.sym[row])] += lots
    return lots_by_row
