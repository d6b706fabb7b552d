"""Execution of parent orders: children that are due now go through the gate like every order.

A stage after slices, ticks, decisions and reports. The switch, protective exits, halts and new decisions come first.
"""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.planning.parents import (
    Parent,
    chase_nano,
    participation_lots,
    slices_due,
    twap_lots,
    vwap_lots,
)
from quantd.daemon.engine.planning.plan import Child, give_up, how_far, plan
from quantd.daemon.engine.state import State
from quantd.risk.switch import HALT, RUN
from quantd.trading.effects import Cancel, Effect, Ended
from quantd.trading.events import Decided, Event, NotFound, Tick
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.orders import ENDED, Cause, OrderBasket, OrderState, Reports, transition


def see_volume(state: State, market: MarketSlice) -> None:
    """Count what a slice says was traded of what is being worked, of bars that opened since it began."""
    for parent in state.parents:
        for row, symbol in enumerate(parent.sym):
            volume = float(market.volume[symbol])
            if market.fresh[symbol] and parent.start[row] <= market.ts_open < parent.close[row] and volume > 0.0:
                parent.seen[row] += volume


def count_fills(
    state: State, sample: int, n: int, sym: Sequence[int], shares: Sequence[Sequence[tuple[int, int]]]
) -> None:
    """Note fills of one basket with the parents whose children it carried."""
    for parent in state.parents:
        if parent.sample == sample and n in parent.children:
            for symbol, parts in zip(sym, shares, strict=True):
                parent.fill(symbol, sum(abs(lots) for who, lots in parts if who == parent.agent))


def yield_to_switch(state: State) -> list[Effect]:
    """End what the switches do not let go on: with HALT everything, with REDUCE what adds; and what exits close."""
    effects: list[Effect] = []
    for parent in list(state.parents):
        agent = state.agents[parent.agent]
        mode = HALT if state.flattening else max(state.switch.state, agent.switch.state)
        held = state.lots(parent.agent)
        stopped = [
            mode == HALT or symbol in agent.exits or (mode != RUN and held[symbol] * lots >= 0.0)
            for symbol, lots in zip(parent.sym, parent.lots, strict=True)
        ]
        if not any(stopped):
            continue
        why = "the switch" if mode != RUN else "a protective exit"
        effects.append(how_far(state, _part(parent, [row for row, stop in enumerate(stopped) if stop]), why))
        left = _part(parent, [row for row, stop in enumerate(stopped) if not stop])
        at = state.parents.index(parent)
        state.parents[at : at + 1] = [left] if left.sym else []
    return effects


def _part(parent: Parent, rows: list[int]) -> Parent:
    """Some rows of a parent, as they stand."""

    def of(column: list[int]) -> list[int]:
        return [column[row] for row in rows]

    return Parent(
        agent=parent.agent, sample=parent.sample, ts=parent.ts, style=parent.style, weights=parent.weights,
        sym=of(parent.sym), lots=of(parent.lots), worst_nano=of(parent.worst_nano), start=of(parent.start),
        open=of(parent.open), close=of(parent.close), filled=of(parent.filled), step=of(parent.step),
        sent=of(parent.sent), seen=[parent.seen[row] for row in rows], children=parent.children,
    )  # fmt: skip


def execute_parents(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """`effects` of an event, and those of the parent orders that it makes due."""
    if not state.parents or not _makes_due(state, event, effects):
        return effects
    return [*effects, *work_parents(state)]


def _makes_due(state: State, event: Event, effects: Sequence[Effect]) -> bool:
    """Whether an event can make children due: each slice and tick of the run, the last answer of a round, and the end
    of a chase's child, whose successor has a better price."""
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


def work_parents(state: State) -> list[Effect]:
    """End parents that are over, then send what is due of the others; parents of one decision in one basket."""
    effects = yield_to_switch(state)
    over = [p for p in state.parents if all(p.over(row, state.now) for row in range(len(p.sym)))]
    for parent in over:
        effects.extend(give_up(state, [parent], "filled" if _filled(parent) else "its session ended"))
    due: dict[tuple[int, int], list[tuple[Parent, Floats]]] = {}
    caps = [0] * state.universe.size
    for parent in state.parents:
        change = np.zeros(state.universe.size)
        away = on_its_way(state, parent)
        for row, symbol in enumerate(parent.sym):
            if symbol in state.halted or parent.over(row, state.now):
                continue  # a halted symbol catches up afterwards
            left = abs(parent.lots[row]) - parent.filled[row] - away[row]
            if parent.style == "chase":
                lots, cap = _chase(state, parent, row, left, away[row], effects)
            else:
                lots, cap = min(_due(state, parent, row) - parent.filled[row] - away[row], left), parent.worst_nano[row]
            if lots > 0:
                change[symbol] = lots if parent.lots[row] > 0 else -lots
                caps[symbol] = _nearer(caps[symbol], cap, parent.lots[row] > 0)
        if change.any():
            due.setdefault((parent.sample, parent.ts), []).append((parent, change))
    for (sample, decided), parts in sorted(due.items()):
        effects.extend(_send(state, sample, decided, parts, caps))
    return effects


def _send(
    state: State, sample: int, decided: int, parts: list[tuple[Parent, Floats]], caps: list[int]
) -> Sequence[Effect]:
    state.revalue()
    answers = {parent.agent: parent.weights for parent, _ in parts}
    lots = {parent.agent: change for parent, change in parts}
    effects = plan(state, answers, sample=sample, lots=lots, child=Child(decided, parts[0][0].style, caps))
    sent = next((effect for effect in effects if type(effect) is OrderBasket), None)
    if sent is not None:
        for parent, change in parts:
            if change[sent.sym].any():
                parent.children.append(sent.n)
    return effects


def _nearer(one: int, other: int, buy: bool) -> int:
    """The narrower of two worst prices; 0 is none."""
    return other if not one else min(one, other) if buy else max(one, other)


def _filled(parent: Parent) -> bool:
    return all(done >= abs(lots) for done, lots in zip(parent.filled, parent.lots, strict=True))


def _due(state: State, parent: Parent, row: int) -> int:
    """Unsigned lots that are due of a row in all; what it was before where no further step has begun, so that a child
    that was cut or ended is asked for again with the next one."""
    rules, whole, now = state.rules.execution, abs(parent.lots[row]), state.now
    if parent.style == "participation":
        lots = participation_lots(rules, whole, parent.seen[row], float(state.universe.lot_size[parent.sym[row]]))
        if lots <= parent.step[row]:
            return 0
        parent.step[row] = lots
        return lots
    due = slices_due(rules, parent.start[row], parent.close[row], now)
    if due <= parent.step[row]:
        return 0
    parent.step[row] = due
    if parent.style == "twap":
        return twap_lots(rules, whole, due)
    return vwap_lots(rules, whole, due, parent.start[row], parent.open[row], parent.close[row])


def _chase(state: State, parent: Parent, row: int, left: int, away: int, effects: list[Effect]) -> tuple[int, int]:
    """(lots, price) of a chase's next child: a better price each time, never beyond the parent's. What is on its way is
    taken back first; the last child rests."""
    rules, children, now = state.rules.execution, parent.step[row], state.now
    symbol, buy = parent.sym[row], parent.lots[row] > 0
    early = children and now - parent.sent[row] < rules.every_ns
    if now < parent.start[row] or early or children > rules.most:
        return 0, 0
    if away:
        effects.extend(_take_back(state, parent, symbol))
        return 0, 0
    parent.step[row], parent.sent[row] = children + 1, now
    tick = state.universe.instruments[symbol].tick_nano
    price = chase_nano(rules, int(state.marks_nano[symbol]), buy, children, tick)
    return left, _nearer(parent.worst_nano[row], price, buy)


def _take_back(state: State, parent: Parent, symbol: int) -> list[Effect]:
    """Cancel the children of a parent in one symbol that are not being cancelled yet."""
    effects: list[Effect] = []
    for n in parent.children:
        work = state.working.get((parent.sample, n))
        for row, who, _ in work.open_shares() if work is not None else ():
            mine = who == parent.agent and work is not None and work.basket.sym[row] == symbol
            if mine and work is not None and work.state[row] not in ENDED and work.state[row] != OrderState.CANCELLING:
                work.state[row] = transition(work.state[row], Cause.CANCEL_ASKED)
                effects.append(Cancel(parent.sample, n, row, state.now))
    return effects


def on_its_way(state: State, parent: Parent) -> list[int]:
    """Unsigned lots of each row that children may still fill. Children never cross: parents of one decision have
    crossed what was opposite when it was made."""
    found = [0] * len(parent.sym)
    for n in parent.children:
        work = state.working.get((parent.sample, n))
        if work is not None:
            for row, who, lots in work.open_shares():
                if who == parent.agent and work.basket.sym[row] in parent.sym:
                    found[parent.sym.index(work.basket.sym[row])] += abs(lots)
    return found
