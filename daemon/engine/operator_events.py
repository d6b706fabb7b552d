"""People's commands, and the conditions the daemon stands on."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.agents.retraining import other_artifacts
from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.planning.plan import give_up, plan
from quantd.daemon.engine.safety.switch import SWITCH_NAMES, cancel_open_orders, flatten, move_switch
from quantd.daemon.engine.snapshot import with_limits
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.records import Own
from quantd.daemon.engine.venue.account import agent_of
from quantd.risk.switch import HALT, REDUCE, RUN, rearm
from quantd.trading.books import LedgerBroken
from quantd.trading.effects import Effect, Snapshot, Stop, Switched
from quantd.trading.events import Condition, Operator, Reloaded, Started, Stopping, Wished
from quantd.trading.instruments import MICRO
from quantd.trading.orders import price_text

TO_HALT: Final = frozenset({"store", "ledger"})
"""Conditions that stop all trading; the others leave only reducing orders."""


def on_wished(state: State, wish: Wished) -> Sequence[Effect]:
    """An order by hand: through the gate as an agent's, into that agent's book."""
    state.now = max(state.now, wish.ts)
    number = agent_of(state, wish.agent)
    if number is None or number < 0:
        return (alert(state, "WARNING", "operator", f"no book named {wish.agent!r} for an order by hand"),)
    change = np.zeros(state.universe.size)
    change[wish.symbol] = wish.lots
    state.revalue()
    equity = state.books_micro[number]
    value = np.nan_to_num((state.lots(number) + change) * state.marks * state.universe.lot_size)
    after = value * (MICRO / equity) if equity > 0 else np.zeros_like(value)
    side = "buy" if wish.lots > 0 else "sell"
    given = _levels(state, wish, number)
    text = f"by hand: {side} {abs(wish.lots)} lots{given} ({wish.who}: {wish.reason})"
    return [
        alert(state, "INFO", "manual", text, symbol=wish.symbol, agent=number),
        *plan(state, {number: after.tobytes()}, sample=state.sample, lots={number: change}),
    ]


def _levels(state: State, wish: Wished, number: int) -> str:
    """Keep the levels of a wish for the position that it makes; they are watched from now on. In words."""
    if not (wish.stop_nano or wish.target_nano):
        return ""
    state.own[number, wish.symbol] = Own(number, wish.symbol, wish.stop_nano, wish.target_nano, state.now)
    state.govern(state.rules)
    levels = (("stop", wish.stop_nano), ("target", wish.target_nano))
    return "".join(f", {name} {price_text(nano)}" for name, nano in levels if nano)


def on_operator(state: State, order: Operator) -> Sequence[Effect]:
    """A person's command, with its reason in the journal."""
    state.now = max(state.now, order.ts)
    said = f"{order.who}: {order.reason}"
    who = HOUSE
    if order.agent:
        names = [a.name for a in state.rules.agents]
        if order.agent not in names:
            return (alert(state, "WARNING", "operator", f"no agent named {order.agent!r}"),)
        who = names.index(order.agent)
    if order.command == "resume":
        if not order.reason.strip():
            return (alert(state, "WARNING", "operator", f"not resumed: {order.who} gave no reason"),)
        return resume(state, who, said)
    if order.command == "flatten":
        return flatten(state, said)
    return move_switch(state, who, HALT if order.command == "halt" else REDUCE, "operator", said)


def resume(state: State, who: int, said: str) -> Sequence[Effect]:
    """Back to RUN, with every mark at the equity now; a person answers for it, with a reason."""
    switch = state.switch if who == HOUSE else state.agents[who].switch
    before = switch.state
    if state.down and who == HOUSE:
        what = ", ".join(sorted(state.down))
        return (alert(state, "WARNING", "operator", f"not resumed: {what} still down"),)
    if who == HOUSE:
        state.flattening = False
    else:
        state.agents[who].suspended, state.agents[who].failures = False, 0
    if before == RUN:
        return ()
    state.revalue()  # the equity now, not at the last sample
    equity = state.equity_micro if who == HOUSE else state.books_micro[who]
    rearm(switch, equity, state.sample_key)
    return (
        Switched(state.now, who, before, RUN, said),
        alert(state, "WARNING", "switch", f"{SWITCH_NAMES[before]} to RUN: {said}", agent=who),
    )


def on_condition(state: State, condition: Condition) -> Sequence[Effect]:
    """Something the daemon stands on went down or came back. Only a person re-arms."""
    state.now = max(state.now, condition.ts)
    text = f"{condition.what} {'is back' if condition.up else 'is down'}: {condition.detail}"
    if condition.what in ("bars", "upkeep", "calendar"):
        return (alert(state, "WARNING", condition.what, condition.detail),)
    if condition.up:
        state.down.discard(condition.what)
        return (alert(state, "INFO", condition.what, text),)
    state.down.add(condition.what)
    to = HALT if condition.what in TO_HALT else REDUCE
    return [alert(state, "CRITICAL", condition.what, text), *move_switch(state, HOUSE, to, condition.what, text)]


def on_started(state: State, started: Started) -> Sequence[Effect]:
    state.now = max(state.now, started.ts)
    return other_artifacts(state, started)


def on_reloaded(state: State, reloaded: Reloaded) -> Sequence[Effect]:
    """New limits hold from the next decision on; what is open keeps the verdict it had."""
    state.now = max(state.now, reloaded.ts)
    if reloaded.limits:
        state.govern(with_limits(state.rules, reloaded.limits))
        for shadow, own in zip(state.shadows, state.rules.shadows, strict=True):
            shadow.govern(own)
        state.watch.corridor = None
    if not reloaded.changed:
        return ()
    return (alert(state, "INFO", "config", f"configuration changed: {', '.join(reloaded.changed)}"),)


def on_stopping(state: State, stopping: Stopping) -> Sequence[Effect]:
    """Leave in order: cancel what is open when asked to, keep a snapshot, stop."""
    state.now = max(state.now, stopping.ts)
    effects: list[Effect] = []
    if stopping.cancel_open:
        effects = [*give_up(state, state.parents, "stopped"), *cancel_open_orders(state, adding_only=False)]
        state.crosses = []
    return [*effects, Snapshot(state.now), Stop(stopping.reason)]


def check(state: State) -> str:
    """ "" when books and house agree to the unit, else what differs."""
    try:
        state.ledger.check()
    except LedgerBroken as broken:
        return str(broken)
    return ""
