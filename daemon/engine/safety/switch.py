"""Moves of the switches of the house and of each agent, and their consequences for open orders.

A switch moves only from RUN towards HALT here. An operator moves it back; a replayed feed may re-arm a loss limit.

What the order guarantees. The move is recorded before its consequences, so that each cancel follows from a record.
Parent orders end with the move: otherwise they would send another child for each child that is cancelled. Crosses
(trades between agents) are dropped at every move of the house, because none of them has passed the new switch.

What can go wrong: a cancel, or a sale of a flatten, is lost or refused. So `cancel_open_orders` and `flatten_all` are
repeated at each tick until no order or position remains. Orders of unknown state are cancelled too: the venue may have
them. Where the books have lots that the venue does not have, a flatten ends with an alert that names the command by
which these lots are taken out of the books.

A second reason may come while the switch stands at REDUCE or HALT. A reason that only an operator can end replaces a
reason that time ends, so that the stricter one applies.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.planning.closing_lots import gap_text, new_names, sold_out
from quantd.daemon.engine.planning.execution import yield_to_switch
from quantd.daemon.engine.planning.pauses import try_at_once
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.switch import HALT, REDUCE, RUN, observe, rearm, tighten
from quantd.risk.switch_state import Switch
from quantd.trading.effects import Effect, Switched
from quantd.trading.events import Tick
from quantd.trading.orders import ENDED, OrderState

SWITCH_NAMES: Final = ("RUN", "REDUCE", "HALT")

STATE_LIMITS: Final = frozenset({"drawdown", "daily_loss", "weekly_loss"})


def watch_switch(state: State, who: int, tick: Tick) -> list[Effect]:
    """Move the kill switch of `who` (an agent's index, or HOUSE) to REDUCE if a loss limit is reached; on a replayed
    feed, re-arm it after the configured number of samples (`rearm_samples`)."""
    rules, switch, equity_micro = state.rules, state.switch_at(who), state.equity_of(who)
    limits = rules.house if who == HOUSE else rules.agents[who].limits
    waited = state.sample_no - switch.since_sample
    # only a loss limit is re-armed; rearm_samples is 0 where none is, as on a live feed
    if switch.state == REDUCE and 0 < rules.rearm_samples <= waited and switch.reason in STATE_LIMITS:
        rearm(switch, equity_micro, tick.key)
        if who == HOUSE:
            state.flattening = False
        text = f"re-armed after {waited} samples; high-water mark is the equity now"
        return [Switched(tick.ts, who, REDUCE, RUN, "rearm"), alert(state, "INFO", "switch", text, agent=who)]
    breached = observe(switch, equity_micro, tick.key, limits)
    if not breached:
        return []
    reason = breached.removeprefix("max_")
    return move_switch(state, who, REDUCE, reason, f"{reason.replace('_', ' ')} limit reached")


def move_switch(state: State, who: int, to: int, reason: str, text: str) -> list[Effect]:
    """Move a kill switch from RUN towards HALT, and cancel open orders accordingly.

    A reason that the rule `flatten_on` lists also closes all positions of the whole account. Positions in
    symbols that are blocked after a price jump are closed only where an operator's flatten is already closing them.
    """
    switch = state.switch_at(who)
    before = switch.state
    if not tighten(switch, to, reason, state.sample_no):
        return _second_reason(state, who, switch, to, reason, text)
    effects: list[Effect] = [
        Switched(state.now, who, before, to, reason),
        alert(state, "CRITICAL", "switch", f"{SWITCH_NAMES[before]} to {SWITCH_NAMES[to]}: {text}", agent=who),
    ]
    effects.extend(yield_to_switch(state))
    if who == HOUSE:
        effects.extend(cancel_open_orders(state, adding_only=to == REDUCE))
        state.crosses.clear()
        if reason in state.rules.flatten_on:
            _begin_flatten(state, jumped=state.flattens_jumped and state.flattening)
            effects.extend(flatten_all(state))
    return effects


def suspend(state: State, number: int, reason: str, text: str) -> list[Effect]:
    """Stop asking an agent until it is resumed: it keeps its positions, and its switch permits only reducing orders."""
    agent = state.agents[number]
    agent.suspended = True
    agent.follow_up.drop()
    return move_switch(state, number, REDUCE, reason, text)


def _second_reason(state: State, who: int, switch: Switch, to: int, reason: str, text: str) -> list[Effect]:
    """Handle a further reason for a kill switch that is already at `to` or stricter.

    A reason that only an operator can end replaces a loss limit, which a replayed feed re-arms. A reason in the
    rule `flatten_on` closes all positions of the whole account even then.
    """
    if switch.state != to:
        return []
    if switch.reason in STATE_LIMITS and reason not in STATE_LIMITS:
        switch.reason = reason
        return [Switched(state.now, who, to, to, reason)]
    flattens = who == HOUSE and reason in state.rules.flatten_on and not state.flattening
    if flattens and any(state.ledger.house.lots):
        _begin_flatten(state, jumped=False)
        return [alert(state, "CRITICAL", "switch", f"{text}: everything is sold (flatten_on)"), *flatten_all(state)]
    return []


def cancel_open_orders(state: State, *, adding_only: bool) -> list[Effect]:
    """Cancel every working order, or with `adding_only` those that add to positions of the whole account.

    Callers repeat the call at each tick, because a cancel can be lost or refused.
    """
    effects: list[Effect] = []
    held = state.ledger.house.lots
    for work in state.working.values():
        for row, symbol in enumerate(work.basket.sym):
            if work.state[row] in ENDED or work.state[row] == OrderState.CANCELLING:
                continue
            if adding_only and held[symbol] * work.lots[row] < 0:
                continue
            effects.append(work.cancel(row, state.now))  # UNKNOWN rows too: the venue may have them
    return effects


def flatten(state: State, text: str) -> list[Effect]:
    """Halt trading and close all positions, also in symbols whose orders are blocked after a price jump."""
    _begin_flatten(state, jumped=True)
    try_at_once(state)
    return [*move_switch(state, HOUSE, HALT, "operator", text), *flatten_all(state)]


def _begin_flatten(state: State, *, jumped: bool) -> None:
    """Let `flatten_all` close all positions from now on.

    After an unexplained price jump the orders in a symbol are blocked (`venue/price_jumps.py`). Positions in
    it are closed only if `jumped` is True.
    """
    state.flattening, state.flattens_jumped = True, jumped
    if state.venue.waits.compared:
        state.venue.waits.flatten_since, state.venue.waits.told, state.venue.waits.late = state.now, {}, False


def flatten_all(state: State) -> Sequence[Effect]:
    """Plan orders that close all positions. Callers repeat it at each tick until no position remains, or only lots that
    the venue does not have."""
    if not any(state.ledger.house.lots) and not any(any(book.lots) for book in state.ledger.books):
        state.flattening = False
        return ()
    if sold_out(state):
        state.flattening = False
        return (_flatten_ended(state),)
    zero_weights = np.zeros(state.universe.size).tobytes()
    state.revalue()
    answers = dict.fromkeys(range(len(state.agents)), zero_weights)
    return plan(state, answers, watch=watch_plan, sample=state.sample, flatten=True, by_hand=state.flattens_jumped)


def _flatten_ended(state: State) -> Effect:
    """The alert at the end of a flatten (closing of all positions): the books still have lots that the venue does not
    have, or does not let us close because it has renamed or delisted their symbol."""
    missing, held = state.venue.waits.missing, state.ledger.house.held
    lots = [missing.get(column, 0) * (-1 if lots > 0 else 1) for column, lots in enumerate(held)]
    halts = state.restrictions.halted
    elsewhere = [
        *new_names(state, lots),
        *(f"{state.universe.symbols[k]}: {halts[k][1]}" for k in sorted(missing) if k in halts),
    ]
    gaps = "; ".join(gap_text(state, column) for column in sorted(state.venue.waits.missing))
    if elsewhere:
        text = f"everything that the venue lets be closed is closed: {gaps}; {'; '.join(elsewhere)}"
        return alert(state, "CRITICAL", "flatten", text)
    first_column = min(state.venue.waits.missing)
    holders = [abs(book.held[first_column]) for book in state.ledger.books[: len(state.agents)]]
    owner = state.rules.agents[holders.index(max(holders))].name
    remedy = f'quantd reconcile --adopt {owner} --reason "closed at the venue"'
    text = (
        f"everything that the venue has is closed: {gaps}; cancel orders at the venue that hold the rest, or {remedy}"
    )
    return alert(state, "CRITICAL", "flatten", text)
