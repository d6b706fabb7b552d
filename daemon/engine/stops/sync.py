"""Synchronises the protective stops at the venue with the positions after each event.

A stop of a wrong size or level is cancelled, and its successor is sent once it has ended: so a position never has two.
A plan that reduces a position waits for the end of conflicting stops; stops for the rest of the position follow it.

What can go wrong: a stop and a sale fill together and take the position across zero; or a stop that the venue refuses
is sent again at every event. So what stops and reducing orders may still fill is never more than the position. A
refused stop pauses (`quantd.daemon.engine.planning.pauses`), and the daemon watches its level meanwhile.

What the order guarantees. The venue's reports of a restart come before any stop is touched. Cancels are repeated
first. Then plans whose stops have ended are carried out. Only then stops are compared with the positions, so that they
cover what these plans leave.

Rejected, with the reasons in docs/decisions/008: a replacement in place, which has two more possible outcomes than a
cancel. Bracket orders of the venue, because after a partial fill the venue decides which of their lots remain. A plan
of which a part is sent at once: in simulated runs with faults two stops replaced each other without an end.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.planning.execution import open_lots
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.planning.pauses import stop_pauses
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.rests import rests_going
from quantd.daemon.engine.planning.stop_conflicts import Live, cancel_stops, live_stops, reducing_lots
from quantd.daemon.engine.planning.targets import in_flight, withdraw
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.safety.proposal_ends import end_late, refused_whole
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.stop_records import Postponed, Rest
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.engine.stops.exits import current_levels, forget_best, order_exits
from quantd.daemon.engine.stops.venue_stops import forget_own, repeat_cancels, stop_may_fill
from quantd.risk.pretrade.baskets import stop_basket
from quantd.risk.pretrade.gate import Account, gate
from quantd.risk.protective import Guards, Kind, Levels
from quantd.risk.switch import HALT, REDUCE
from quantd.trading.effects import AgentPlan, Effect, Ended, Planned, Protected, Rested
from quantd.trading.events import Event, Started, Stopping, Tick
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, MarketSlice

STEP: Final = 1e-3
"""A stop is replaced where its level has moved by more than this fraction."""


class Wanted(NamedTuple):
    """The stop that an agent's position should have: unsigned lots, trigger in nano-currency, and the `entry` price (or
    the best price since then) from which the level derives."""

    lots: int
    stop_nano: int
    entry: float
    kind: Kind


def _nothing_to_do(state: State) -> bool:
    """Whether no stop is wanted or at the venue, and no plan waits."""
    protection = state.protection
    return not (state.resting or protection.stops or protection.own or protection.postponed)


@idle_when(_nothing_to_do)
def sync_stops(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects of an event, followed by the effects that synchronise the stops at the venue.

    A slice (the bars of one instant) without effects changes no stop. Before the daemon shuts down with its open orders
    cancelled, all stops at the venue are cancelled, and none is sent until the next start.
    """
    if _nothing_to_do(state):
        return effects
    if type(event) is MarketSlice and not (effects or state.protection.retries or state.protection.postponed):
        return effects
    if type(event) is Started:
        state.protection.leaving = False
        return effects  # wait for the venue's reports: their fills change which stops are wanted
    if state.protection.leaving:
        return effects
    synced_effects = list(effects)
    if type(event) is Stopping:
        if event.cancel_open:
            state.protection.postponed, state.protection.leaving = [], True
            synced_effects[:0] = cancel_stops(state, live_stops(state))
        return synced_effects
    if type(event) is Tick:
        if event.warmup:
            return effects
        if state.protection.own:
            forget_own(state)
    synced_effects.extend(repeat_cancels(state, type(event) is Tick))
    synced_effects.extend(_resume_plans(state, effects))
    synced_effects.extend(_replace_stops(state, sampled=type(event) is Tick and event.sample))
    return synced_effects


def _resume_plans(state: State, effects_so_far: Sequence[Effect]) -> list[Effect]:
    """Cancel orders that add to a position in exit; carry out plans and exits whose conflicting stops have ended."""
    effects: list[Effect] = []
    for effect in effects_so_far:
        if type(effect) is Protected:
            effects.extend(_cancel_adding(state, effect.agent, effect.symbol))
    ready = [waiting for waiting in state.protection.postponed if not _blocked(state, waiting)]
    for waiting in ready:
        state.protection.postponed.remove(waiting)
        if waiting.flatten and not state.flattening:
            continue  # the closing of all positions has ended since
        state.revalue()
        lots = (
            None if waiting.lots is None else {agent: np.frombuffer(change) for agent, change in waiting.lots.items()}
        )
        planned = plan(
            state,
            waiting.answers,
            watch=watch_plan,
            sample=waiting.sample,
            used=waiting.used,
            flatten=waiting.flatten,
            lots=lots,
            by_hand=waiting.by_hand,
            intent=waiting.intent,
        )
        effects.extend(planned)
        if waiting.intent.whole and (why := refused_whole(state, planned)):
            agent, _, id = waiting.intent.cause.partition("/")
            effects.extend(end_late(state, agent, id, "refused", why))
    if any(type(effect) is Ended for effect in effects_so_far):
        effects.extend(order_exits(state, freed=True))
    return effects


def _cancel_adding(state: State, agent: int, symbol: int) -> list[Effect]:
    """Cancel the orders of an agent that add to a position whose stop has filled."""
    if in_flight(state, agent)[symbol] * state.lots(agent)[symbol] < 0.0:
        return []  # the rest of the position is being closed: no order adds to it
    mask = np.zeros(state.universe.size, dtype=np.bool_)
    mask[symbol] = True
    return withdraw(state, agent, mask)


def _blocked(state: State, waiting: Postponed) -> bool:
    """Whether a protective stop or a resting order in a symbol of a postponed plan is still being cancelled."""
    stops = any(stop.going and stop.symbol in waiting.symbols for stop in live_stops(state))
    return stops or rests_going(state, waiting.symbols)


def _replace_stops(state: State, sampled: bool) -> list[Effect]:
    """Cancel protective stops at the venue that differ from their target, and send missing ones.

    `sampled` is True at a sample. A stop that is being cancelled is left alone.
    """
    guards = state.guards
    if guards is None or not state.resting:  # no stop is wanted at the venue
        return cancel_stops(state, live_stops(state))
    forget_best(state)
    targets = _target_stops(state, guards, current_levels(state, guards))
    live = live_stops(state)
    adding = _positions_added_to(state)
    differing = [stop for stop in live if not stop.going and _differs(state, stop, targets, adding, sampled)]
    effects = cancel_stops(state, differing)
    if state.sample:
        effects.extend(_send_missing(state, targets, live))
    return effects


def _target_stops(state: State, guards: Guards, present: Levels) -> dict[tuple[int, int], Wanted]:
    """(agent, column) -> the stop that should be at the venue, for positions on the side of the whole account:
    long or short.

    The lots of a stop are the position less the lots that orders may still reduce. Where the house holds less than its
    agents on that side, because another agent is on the other side, the stops nearest to the market get the house's
    lots; the daemon itself watches the levels of all other lots.
    """
    if state.switch.state == HALT:
        return {}
    postponed_symbols = {symbol for waiting_plan in state.protection.postponed for symbol in waiting_plan.symbols}
    reserved = _reserved(state)
    targets: dict[tuple[int, int], Wanted] = {}
    for symbol, held in enumerate(state.ledger.house.lots):
        being_sold = state.flattening and (state.flattens_jumped or symbol not in state.restrictions.jumped)
        if not held or symbol in postponed_symbols or being_sold:
            continue
        side, house_lots = (1, held) if held > 0 else (-1, -held)
        house_lots -= reserved[HOUSE][symbol]
        candidates: list[tuple[float, int, int]] = []
        for number, agent in enumerate(state.agents):
            # `rests`: whether the agent's stops are placed at the venue
            stop = float(present.stop[number, symbol]) if guards.rests[number] else np.nan
            agent_lots = side * state.ledger.books[number].held[symbol] - reserved[number][symbol]
            if agent_lots <= 0 or not stop > 0.0 or agent.switch.state == HALT:
                continue
            if symbol not in agent.exits:
                candidates.append((-side * stop, number, agent_lots))
        # the stop nearest to the market first: the highest for long positions, the lowest for short ones
        for sort_key, number, agent_lots in sorted(candidates):
            lots = min(agent_lots, house_lots)
            if lots <= 0:
                continue
            house_lots -= lots
            # the key of the sort is the stop with the opposite sign of the side
            stop, entry = side * -sort_key, float(present.entry[number, symbol])
            trails = bool(guards.trailing[number, 0]) and (number, symbol) not in state.protection.own
            kind: Kind = "stop_loss"
            if trails and float(present.best[number, symbol]) > side * entry:
                kind, entry = "trailing_stop", abs(float(present.best[number, symbol]))
            targets[number, symbol] = Wanted(lots, _on_tick(state, symbol, stop, side), entry, kind)
    return targets


def _on_tick(state: State, symbol: int, stop: float, side: int) -> int:
    """The trigger of a stop in nano-currency, rounded to the instrument's tick towards the market.

    `stop` is in currency; `side` is 1 for a long position, -1 for a short one.
    """
    tick, nano = state.universe.instruments[symbol].tick_nano, round(stop * NANO)
    return -(-nano // tick) * tick if side > 0 else nano // tick * tick


def _reserved(state: State) -> dict[int, list[int]]:
    """Book -> unsigned lots, one number per column, that orders, crosses (trades between agents) and parent orders may
    still close."""
    reserved = reducing_lots(state)
    for parent in state.parents:
        for row, (symbol, lots, open_child_lots) in enumerate(
            zip(parent.sym, parent.lots, open_lots(state, parent), strict=True)
        ):
            unsent = max(abs(lots) - parent.filled[row] - open_child_lots, 0)
            for book in (HOUSE, parent.agent):
                if state.account(book).lots[symbol] * lots < 0:
                    reserved[book][symbol] += unsent
    return reserved


def _positions_added_to(state: State) -> set[tuple[int, int]]:
    """(agent, column) of positions to which open orders add: a larger stop is sent once these orders have ended."""
    return {
        (who, work.basket.sym[row])
        for work in state.working.values()
        for row, who, lots in work.open_shares()
        if state.ledger.books[who].held[work.basket.sym[row]] * lots > 0
    }


def _differs(
    state: State, stop: Live, targets: dict[tuple[int, int], Wanted], adding: set[tuple[int, int]], sampled: bool
) -> bool:
    """Whether the protective stop `stop` at the venue must be replaced.

    A stop that is too large is replaced at once. A stop that is too small is replaced once no order adds to the
    position, at the latest at a sample. A stop at another level is replaced at a sample, if the level moved by more
    than the fraction STEP. A level of an operator is followed at once. While a symbol is blocked after a price jump, no
    new stop could be sent, so a stop that is not too large stays.
    """
    position = stop.agent, stop.symbol
    exit_ = state.agents[stop.agent].exits.get(stop.symbol)
    if exit_ is not None and exit_.kind != "take_profit":
        # the stop was triggered: it may go on filling, within the position
        held = abs(state.ledger.books[stop.agent].held[stop.symbol])
        return stop.lots > held or not stop_may_fill(state, *position, exit_.since)
    target = targets.get(position)
    if target is None or stop.lots > target.lots:
        return True
    if stop.symbol in state.restrictions.jumped:
        return False
    if stop.lots < target.lots:
        return sampled or position not in adding
    by_operator = position in state.protection.own
    moved = abs(state.protection.rests[stop.key].stop_nano[stop.row] - target.stop_nano)
    return moved > (0 if by_operator else STEP * target.stop_nano) and (sampled or by_operator)


def _send_missing(state: State, targets: dict[tuple[int, int], Wanted], live: list[Live]) -> list[Effect]:
    """Send the missing stops through the gate (the check of limits) of the whole account, as one basket for each agent.

    `live` are the present stops at the venue.
    """
    open_reducing = reducing_lots(state)[HOUSE]
    covered = {(stop.agent, stop.symbol) for stop in live}
    requested: dict[int, Floats] = {}
    total = np.zeros(state.universe.size)
    for (agent, symbol), target in targets.items():
        held, mark = state.ledger.house.held[symbol], float(state.marks[symbol])
        side = 1 if held > 0 else -1
        # lots of the house that neither orders nor stops may close
        uncovered = abs(held) - open_reducing[symbol] - sum(stop.lots for stop in live if stop.symbol == symbol)
        uncovered -= int(abs(total[symbol]))
        untriggered = side * mark > side * target.stop_nano / NANO
        if (
            (agent, symbol) in covered
            or uncovered < target.lots
            or not untriggered
            or symbol in state.restrictions.halted
            or symbol in state.restrictions.jumped
            or (state.protection.retries and stop_pauses(state, agent, symbol))
        ):
            continue
        requested.setdefault(agent, np.zeros(state.universe.size))[symbol] = -side * target.lots
        total[symbol] -= side * target.lots
    return _send_stops(state, targets, requested, total) if requested else []


def _send_stops(
    state: State, wanted: dict[tuple[int, int], Wanted], requested: dict[int, Floats], total: Floats
) -> list[Effect]:
    """Send stops that pass the gate (the check of limits) of the whole account. `requested` has the signed
    lots float64[N] of each agent, `total` the sum. Because stops reduce positions, they are checked as if the kill
    switch were at REDUCE."""
    state.revalue()
    ctx, account, limits = market_context(state), account_of(state, HOUSE), limits_in_force(state, HOUSE)
    _with_stops(state, account)
    verdict = gate(ctx, account, total, limits, REDUCE)
    if state.judged is not None:
        state.judged.append(Judged(HOUSE, ctx, account, total, limits, REDUCE, verdict))
    passed = verdict.lots == total  # one verdict covers the stops of several agents: all of them pass, or none
    effects: list[Effect] = []
    for agent, requested_lots in sorted(requested.items()):
        lots = requested_lots * passed
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
        targets = [wanted[agent, symbol] for symbol in out.sym]
        key = out.sample, out.n
        state.protection.stops[key] = Working.sent(out, [[(agent, abs(size))] for size in out.lots], len(state.agents))
        state.protection.rests[key] = Rest(
            agent,
            list(out.stop_nano),
            [target.entry for target in targets],
            [target.kind for target in targets],
            [0] * rows,  # no cancel was requested yet
        )
        effects.append(_plan_record(state, agent, out.n, lots, verdict.reason.tobytes(), verdict.recorded))
        effects.extend(
            Rested(state.now, *key, agent, symbol, target.kind, target.entry, stop / NANO)  # type: ignore[arg-type]
            for symbol, stop, target in zip(out.sym, out.stop_nano, targets, strict=True)
        )
        effects.append(out)
    return effects


def _with_stops(state: State, account: Account) -> None:
    """Add the present protective stops to the open orders of the account that a gate (the check of limits) reads."""
    size = state.universe.size
    up = np.zeros(size) if account.up is None else account.up
    down = np.zeros(size) if account.down is None else account.down
    for stop in live_stops(state):
        (up if state.ledger.house.held[stop.symbol] < 0 else down)[stop.symbol] += stop.lots
    account.up, account.down = up, down


def _plan_record(
    state: State, agent: int, n: int, lots: Floats, reason: bytes, values: dict[str, tuple[float, float]]
) -> Planned:
    """The record of stops as a plan of their agent: its weights, with 0 for the positions that the stops close.

    The agent's scale is 1, its limits cut nothing (reason codes 0), and no lots cross to other agents (int64 zeros).
    """
    weights = np.where(lots != 0.0, 0.0, state.held_weights(agent))
    packed = lots.astype(np.int64).tobytes()
    return Planned(
        sample=state.sample,
        n=n,
        ts=state.now,
        agents=[AgentPlan(agent, weights.tobytes(), 1.0, packed, packed, bytes(state.universe.size), {})],
        prices=state.marks.tobytes(),
        before=state.lots(HOUSE).astype(np.int64).tobytes(),
        crossed=bytes(8 * state.universe.size),
        net=packed,
        allowed=packed,
        reason=reason,
        values=values,
    )
