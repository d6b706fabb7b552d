"""Handlers of operators' commands, and of conditions that trading depends on."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.planning.execution import end_children
from quantd.daemon.engine.planning.plan import give_up
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.pending_limits import apply_limits, apply_looser, digest_of, postpone, unsigned_change
from quantd.daemon.engine.safety.switch import SWITCH_NAMES, cancel_open_orders, flatten, move_switch, suspend
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.switch import HALT, REDUCE, RUN, rearm
from quantd.trading.effects import Effect, Level, Refused, Snapshot, Stop, Switched
from quantd.trading.events import (
    Acknowledged,
    Approved,
    CancelRequested,
    Condition,
    Operator,
    Reloaded,
    Reminded,
    Stopping,
)
from quantd.trading.ledger.errors import LedgerBroken
from quantd.trading.orders import ENDED, OrderState, quantity_text, side_text

TO_HALT: Final = frozenset({"store", "ledger"})
"""Conditions at which the switch of the house moves to HALT; at all other ones it moves to REDUCE."""


NOTED: Final = frozenset({"bars", "upkeep", "calendar", "missed"})
"""Conditions that raise an alert and change nothing."""


def on_cancel_requested(state: State, request: CancelRequested) -> Sequence[Effect]:
    """Cancel one open order and the parent order that sent it, and take its symbol out of the follow-ups of its agents.

    A follow-up is a purchase that waits for the proceeds of sales. A later decision may order again. A cancel that was
    lost can be requested again.
    """
    work = state.working.get((request.sample, request.n))
    if work is None or not 0 <= request.row < len(work.state):
        stop = state.protection.stops.get((request.sample, request.n))
        text = "no such order is open" if stop is None else "a protective stop at the venue follows its position"
        return refuse_command(state, "conflict", "operator", f"not cancelled: {text}")
    order_state, symbol = OrderState(work.state[request.row]), work.basket.sym[request.row]
    if order_state in ENDED:
        return refuse_command(state, "conflict", "operator", f"not cancelled: the order is {order_state.name.lower()}")
    state.revalue()
    for number, _ in work.shares_of(request.row):
        waiting = state.agents[number].follow_up
        if waiting.waits():  # its weight in the symbol becomes the present one, so that it orders nothing there
            waiting.weights[symbol] = state.held_weights(number)[symbol]
    lots, filled = work.lots[request.row], work.filled[request.row]
    rest, size = (quantity_text(n, state.universe.lot_nano[symbol]) for n in (abs(lots) - filled, abs(lots)))
    order = f"{side_text(lots)} {rest} of {size} {state.universe.symbols[symbol]}"
    text = f"by hand: cancel {order} ({request.who}: {request.reason})"
    return [
        alert(state, "INFO", "manual", text, symbol=symbol),
        *end_children(state, request.sample, request.n, symbol, "cancelled by hand"),
        work.cancel(request.row, state.now),
    ]


def on_operator(state: State, order: Operator) -> Sequence[Effect]:
    """Carry out an operator's command, such as halt or resume; its reason is in the journal."""
    reason = f"{order.who}: {order.reason}"
    who = HOUSE
    if order.agent:
        names = [agent_rules.name for agent_rules in state.rules.agents]
        if order.agent not in names:
            return refuse_command(state, "agent", "operator", f"no agent named {order.agent!r}")
        who = names.index(order.agent)
    if order.command == "resume":
        if not order.reason.strip():
            return refuse_command(state, "reason", "operator", f"not resumed: {order.who} gave no reason")
        return _resume(state, who, reason)
    if order.command == "flatten":
        return flatten(state, reason)
    if order.command == "pause":
        if who == HOUSE:
            return refuse_command(state, "command", "operator", "only an agent can be paused; reduce or halt the house")
        return suspend(state, who, "operator", f"paused, {reason}")
    return move_switch(state, who, HALT if order.command == "halt" else REDUCE, "operator", reason)


def _resume(state: State, who: int, reason: str) -> Sequence[Effect]:
    """Move the kill switch of `who` (an agent's index, or HOUSE) back to RUN.

    The present equity becomes the high-water mark and the opening value of day and week. The command is refused for the
    whole account while a condition, such as the feed, is down.
    """
    switch = state.switch_at(who)
    before = switch.state
    if state.down and who == HOUSE:
        conditions = ", ".join(sorted(state.down))
        return refuse_command(state, "down", "operator", f"not resumed: {conditions} still down")
    if who == HOUSE:
        state.flattening = False
    else:
        state.agents[who].suspended, state.agents[who].failures = False, 0
    if before == RUN:
        return ()
    state.revalue()  # the equity now, not at the last sample
    rearm(switch, state.equity_of(who), state.sample_key)
    return (
        Switched(state.now, who, before, RUN, reason),
        alert(state, "WARNING", "switch", f"{SWITCH_NAMES[before]} to RUN: {reason}", agent=who),
    )


def on_condition(state: State, condition: Condition) -> Sequence[Effect]:
    """Handle a condition of trading, such as a working feed, that failed or recovered: alerts, and a move of the kill
    switch where it failed.

    A recovery does not move the switch back: only an operator does.
    """
    text = f"{condition.what} {'is back' if condition.up else 'is down'}: {condition.detail}"
    if condition.what in NOTED:
        return (alert(state, "WARNING", condition.what, condition.detail),)
    if condition.what == "job":
        level: Level = "INFO" if condition.up else "CRITICAL" if condition.critical else "WARNING"
        return (alert(state, level, f"job_{condition.job}", condition.detail),)
    if condition.what == "statement":
        level = "INFO" if condition.up else "WARNING"
        return (alert(state, level, f"statement_{condition.difference}", condition.detail),)
    if condition.what == "account":
        if condition.detail == state.venue.waits.account:
            return ()  # the same words again
        state.venue.waits.account = condition.detail if not condition.up else ""
        text = condition.detail
    if condition.up:
        state.down.discard(condition.what)
        return (alert(state, "INFO", condition.what, text),)
    state.down.add(condition.what)
    to = HALT if condition.what in TO_HALT else REDUCE
    return [alert(state, "CRITICAL", condition.what, text), *move_switch(state, HOUSE, to, condition.what, text)]


def on_reloaded(state: State, reloaded: Reloaded) -> Sequence[Effect]:
    """Apply new limits from the next decision on; open orders keep their verdict."""
    if reloaded.limits:
        apply_limits(state, reloaded.limits)
    effects: list[Effect] = []
    if reloaded.changed:
        effects.append(alert(state, "INFO", "config", f"configuration changed: {', '.join(reloaded.changed)}"))
    return [*effects, *postpone(state, reloaded)]


def on_approved(state: State, approved: Approved) -> Sequence[Effect]:
    """Apply the looser limits that wait, because a person approved them; of who approves, because a device signed."""
    waiting, why = state.loosening, f"approved by {approved.who}: {approved.reason}"
    if waiting is None or approved.limits not in ("", digest_of(waiting)):
        text = "no looser limits wait" if waiting is None else "other looser limits wait now than those that were shown"
        return alert(state, "WARNING", "loosening", f"{text} ({why})"), Refused("conflict", text)
    if why_not := unsigned_change(state, waiting, approved.signed, approved.ts):
        return refuse_command(state, "conflict", "loosening", why_not)
    return apply_looser(state, waiting, why)


def on_acknowledged(state: State, acknowledged: Acknowledged) -> Sequence[Effect]:
    """Do nothing for an acknowledged incident: incidents are computed from the journal, outside the state."""
    return ()


def on_reminded(state: State, reminded: Reminded) -> Sequence[Effect]:
    """Do nothing for a reminder of an incident: reminders are computed from the journal, outside the state."""
    return ()


def on_stopping(state: State, stopping: Stopping) -> Sequence[Effect]:
    """Stop the run: cancel open orders when requested, then write a snapshot."""
    effects: list[Effect] = []
    if stopping.cancel_open:
        effects = [*give_up(state, state.parents, "stopped"), *cancel_open_orders(state, adding_only=False)]
        state.crosses.clear()
    return [*effects, Snapshot(state.now), Stop(stopping.reason)]


def check(state: State) -> str:
    """The difference between the agents' books and the whole account as text; empty when they agree to the
    unit."""
    try:
        state.ledger.check()
    except LedgerBroken as broken:
        return str(broken)
    return ""
