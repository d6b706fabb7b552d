"""Protective stops that rest at the venue, held equal to the book: after each event they are compared with what is
held.

A stop of another size or level is cancelled, and its successor sent once the venue has said that it ended: never two,
and for that moment none. What reduces goes before: its plan waits for the stops in its way, and they come back for the
rest.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.daemon.engine.planning.execution import on_its_way
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.targets import in_flight, withdraw
from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.daemon.engine.safety.monitor import market_context
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.exits import ask_for_exits, current_levels, forget_best
from quantd.daemon.engine.stops.records import Postponed, Rest
from quantd.daemon.engine.stops.venue_stops import (
    Live,
    ask_again,
    flight,
    forget_own,
    live_stops,
    take_back,
    waits_for_its_stop,
)
from quantd.daemon.engine.venue.open_orders import Working
from quantd.risk.pretrade.baskets import stop_basket
from quantd.risk.pretrade.gate import Account, gate
from quantd.risk.protective import Kind, Levels
from quantd.risk.switch import HALT, REDUCE
from quantd.trading.effects import AgentPlan, Effect, Ended, Planned, Protected, Rested
from quantd.trading.events import Event, Started, Stopping, Tick
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.orders import OrderState

FORGOTTEN_NS: Final = 3_600 * NANO
"""Once a stop could have been tried again for so long, nobody remembers that it was refused."""

STEP: Final = 1e-3
"""A level that moved by less than this part of its price is left where it rests: a venue is not asked for
every tick."""


class Wanted(NamedTuple):
    """The stop that an agent's position should have: unsigned lots, trigger, the price its level was taken from."""

    lots: int
    stop_nano: int
    entry: float
    kind: Kind


def sync_stops(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """`effects` of an event, and those that keep the stops at the venue equal to the book."""
    if not (state.resting or state.stops or state.own):
        return effects
    if type(event) is MarketSlice and not (effects or state.retries or state.postponed):
        return effects
    if type(event) is Started:
        state.leaving = False
        return effects  # what the venue did meanwhile is heard of first
    if state.leaving:
        return effects
    out = list(effects)
    if type(event) is Stopping:
        if event.cancel_open:
            state.postponed, state.leaving = [], True
            out[:0] = take_back(state, live_stops(state))
        return out
    if type(event) is Tick:
        if event.warmup:
            return effects
        if state.own:
            forget_own(state)
        state.retries = {at: each for at, each in state.retries.items() if state.now < each.at + FORGOTTEN_NS}
    out.extend(ask_again(state, type(event) is Tick))
    out.extend(_go_on(state, effects))
    sampled = type(event) is Tick and event.sample
    out.extend(_hold_equal(state, sampled))
    return out


def _go_on(state: State, told: Sequence[Effect]) -> list[Effect]:
    """Take back what adds to what a stop closes; plan what waited for stops that have ended, and ask for exits that
    did."""
    effects: list[Effect] = []
    for done in told:
        if type(done) is Protected:
            effects.extend(_no_more_of_it(state, done.agent, done.symbol))
    ready = [each for each in state.postponed if not _blocked(state, each)]
    for each in ready:
        state.postponed.remove(each)
        if each.flatten and not state.flattening:
            continue
        state.revalue()
        lots = None if each.lots is None else {a: np.frombuffer(change) for a, change in each.lots.items()}
        effects.extend(plan(state, each.answers, sample=each.sample, used=each.used, flatten=each.flatten, lots=lots))
    if any(type(each) is Ended for each in told):
        effects.extend(ask_for_exits(state, freed=True))
    return effects


def _no_more_of_it(state: State, agent: int, symbol: int) -> list[Effect]:
    """Orders of an agent that add to a position whose stop has filled are taken back."""
    if in_flight(state, agent)[symbol] * state.lots(agent)[symbol] < 0.0:
        return []  # what is left is on its way out
    mask = np.zeros(state.universe.size, dtype=np.bool_)
    mask[symbol] = True
    return withdraw(state, agent, mask)


def _blocked(state: State, waiting: Postponed) -> bool:
    return any(stop.going and stop.symbol in waiting.symbols for stop in live_stops(state))


def _hold_equal(state: State, sampled: bool) -> list[Effect]:
    """Take back the stops that are not what is wanted, and send those for which there is room."""
    guards = state.guards
    if guards is None or not state.resting:
        return take_back(state, live_stops(state))
    forget_best(state)
    now = current_levels(state, guards)
    wanted = _wanted(state, now)
    there = live_stops(state)
    adding = _adding(state)
    wrong = [stop for stop in there if not stop.going and _wrong(state, stop, wanted, adding, sampled)]
    effects = take_back(state, wrong)
    if state.sample:
        effects.extend(_place(state, wanted, {(stop.agent, stop.symbol) for stop in there}))
    return effects


def _wanted(state: State, now: Levels) -> dict[tuple[int, int], Wanted]:
    """The stops that should rest, by (agent, column): of positions on the house's side, less what orders on their way
    take.

    Where the house holds less than its agents on that side, because another is on the other one, the nearest stops are
    covered first; the rest is watched here.
    """
    if state.switch.state == HALT or state.flattening:
        return {}
    guards = state.guards
    assert guards is not None
    waiting = {symbol for each in state.postponed for symbol in each.symbols}
    taken = _reserved(state)
    found: dict[tuple[int, int], Wanted] = {}
    for symbol, held in enumerate(state.ledger.house.lots):
        if not held or symbol in waiting:
            continue
        side, left = (1, held) if held > 0 else (-1, -held)
        left -= taken[HOUSE][symbol]
        rows: list[tuple[float, int, int]] = []
        for number, agent in enumerate(state.agents):
            stop = float(now.stop[number, symbol]) if guards.rests[number] else np.nan
            own = side * state.ledger.books[number].lots[symbol] - taken[number][symbol]
            if own <= 0 or not stop > 0.0 or agent.switch.state == HALT:
                continue
            if symbol not in agent.exits:
                rows.append((-side * stop, number, own))
        for nearest, number, own in sorted(rows):
            lots = min(own, left)
            if lots <= 0:
                continue
            left -= lots
            stop, entry = side * -nearest, float(now.entry[number, symbol])
            trails = bool(guards.trailing[number, 0]) and (number, symbol) not in state.own
            kind: Kind = "stop_loss"
            if trails and float(now.best[number, symbol]) > side * entry:
                kind, entry = "trailing_stop", abs(float(now.best[number, symbol]))
            found[number, symbol] = Wanted(lots, _on_tick(state, symbol, stop, side), entry, kind)
    return found


def _on_tick(state: State, symbol: int, stop: float, side: int) -> int:
    """A trigger in nano on the instrument's tick, towards the market."""
    tick, nano = state.universe.instruments[symbol].tick_nano, round(stop * NANO)
    return -(-nano // tick) * tick if side > 0 else nano // tick * tick


def _reserved(state: State) -> dict[int, list[int]]:
    """Unsigned lots by column that orders, crosses and parents may still take from the position of each book."""
    away = flight(state)
    taken = {HOUSE: list(away.house), **{number: list(lots) for number, lots in away.books.items()}}
    for parent in state.parents:
        for row, (symbol, lots, sent) in enumerate(
            zip(parent.sym, parent.lots, on_its_way(state, parent), strict=True)
        ):
            left = max(abs(lots) - parent.filled[row] - sent, 0)
            if state.ledger.house.lots[symbol] * lots < 0:
                taken[HOUSE][symbol] += left
            if state.ledger.books[parent.agent].lots[symbol] * lots < 0:
                taken[parent.agent][symbol] += left
    return taken


def _adding(state: State) -> set[tuple[int, int]]:
    """(agent, column) of positions that orders on their way make larger: their stops are raised when those
    have ended."""
    return {
        (who, work.basket.sym[row])
        for work in state.working.values()
        for row, who, lots in work.open_shares()
        if state.ledger.books[who].lots[work.basket.sym[row]] * lots > 0
    }


def _wrong(
    state: State, stop: Live, wanted: dict[tuple[int, int], Wanted], adding: set[tuple[int, int]], sampled: bool
) -> bool:
    """Whether a stop must go: too large at once, too small once nothing is being added, at another level at a
    sample."""
    at = stop.agent, stop.symbol
    exit_ = state.agents[stop.agent].exits.get(stop.symbol)
    if exit_ is not None and exit_.kind != "take_profit":
        # the market came to it: it may go on filling, within what is held
        own = abs(state.ledger.books[stop.agent].lots[stop.symbol])
        return stop.left > own or not waits_for_its_stop(state, *at, exit_.since)
    want = wanted.get(at)
    if want is None or stop.left > want.lots:
        return True
    if stop.left < want.lots:
        return sampled or at not in adding
    given = at in state.own
    moved = abs(state.rests[stop.key].stop_nano[stop.row] - want.stop_nano)
    return moved > (0 if given else STEP * want.stop_nano) and (sampled or given)


def _place(state: State, wanted: dict[tuple[int, int], Wanted], there: set[tuple[int, int]]) -> list[Effect]:
    """Send the stops that are missing, through the house's gate; a basket for each agent."""
    rests = live_stops(state)
    away = flight(state).house
    asked: dict[int, Floats] = {}
    total = np.zeros(state.universe.size)
    for (agent, symbol), want in wanted.items():
        retry = state.retries.get((agent, symbol))
        held, mark = state.ledger.house.lots[symbol], float(state.marks[symbol])
        side = 1 if held > 0 else -1
        room = abs(held) - away[symbol] - sum(stop.left for stop in rests if stop.symbol == symbol)
        room -= int(abs(total[symbol]))
        beyond = side * mark > side * want.stop_nano / NANO
        if (
            (agent, symbol) in there
            or room < want.lots
            or not beyond
            or symbol in state.halted
            or (retry is not None and state.now < retry.at)
        ):
            continue
        asked.setdefault(agent, np.zeros(state.universe.size))[symbol] = -side * want.lots
        total[symbol] -= side * want.lots
    return _send(state, wanted, asked, total) if asked else []


def _send(state: State, wanted: dict[tuple[int, int], Wanted], asked: dict[int, Floats], total: Floats) -> list[Effect]:
    state.revalue()
    ctx, account, limits = market_context(state), account_of(state, HOUSE), limits_in_force(state, HOUSE)
    _with_stops(state, account)
    verdict = gate(ctx, account, total, limits, REDUCE)
    if state.judged is not None:
        state.judged.append(Judged(HOUSE, ctx, account, total, limits, REDUCE, verdict))
    whole = verdict.lots == total  # several agents have their stops in one verdict: all of it passes, or none
    effects: list[Effect] = []
    for agent, own in sorted(asked.items()):
        lots = own * whole
        n = state.orders_at.get(state.sample, 0) + 1
        triggers = [0] * state.universe.size
        for symbol in lots.nonzero()[0].tolist():
            triggers[symbol] = wanted[agent, symbol].stop_nano
        out = stop_basket(verdict, ctx, account, limits, lots, triggers, sample=state.sample, n=n, ts=state.now)
        if out is None:
            continue
        state.orders_at[state.sample] = n
        rows = len(out.sym)
        state.activity.send(HOUSE, state.now, rows, limits)
        state.activity.send(agent, state.now, rows, state.rules.agents[agent].limits)
        found = [wanted[agent, symbol] for symbol in out.sym]
        key = out.sample, out.n
        state.stops[key] = Working(
            basket=out,
            lots=list(out.lots),
            worst_nano=list(out.worst_nano),
            filled=[0] * rows,
            state=[int(OrderState.SENT)] * rows,
            shares=[[(agent, abs(each))] for each in out.lots],
            live=rows,
        )
        state.rests[key] = Rest(
            agent, list(out.stop_nano), [w.entry for w in found], [w.kind for w in found], [0] * rows
        )
        effects.append(_planned(state, agent, out.n, lots, verdict.reason.tobytes(), verdict.values))
        effects.extend(
            Rested(state.now, *key, agent, symbol, w.kind, w.entry, stop / NANO)  # type: ignore[arg-type]
            for symbol, stop, w in zip(out.sym, out.stop_nano, found, strict=True)
        )
        effects.append(out)
    return effects


def _with_stops(state: State, account: Account) -> None:
    """Let the gate see the stops that rest already as orders that may still fill."""
    size = state.universe.size
    up = np.zeros(size) if account.up is None else account.up
    down = np.zeros(size) if account.down is None else account.down
    for stop in live_stops(state):
        (up if state.ledger.house.lots[stop.symbol] < 0 else down)[stop.symbol] += stop.left
    account.up, account.down = up, down


def _planned(
    state: State, agent: int, n: int, lots: Floats, reason: bytes, values: dict[str, tuple[float, float]]
) -> Planned:
    """The record of a stop as of any order: what the agent holds, and nothing of what it covers."""
    equity = state.books_micro[agent] if state.books_micro else 0
    value = np.nan_to_num(state.lots(agent) * state.marks * state.universe.lot_size)
    weights = value * (MICRO / equity) if equity > 0 else np.zeros_like(value)
    weights[lots != 0.0] = 0.0
    whole = lots.astype(np.int64).tobytes()
    return Planned(
        sample=state.sample,
        n=n,
        ts=state.now,
        agents=[AgentPlan(agent, weights.tobytes(), 1.0, whole, whole, bytes(state.universe.size), {})],
        prices=state.marks.tobytes(),
        before=state.lots(HOUSE).astype(np.int64).tobytes(),
        crossed=bytes(8 * state.universe.size),
        net=whole,
        allowed=whole,
        reason=reason,
        values_before={},
        values=values,
    )
