"""The message before a session opens and the one after it has closed, from the state and the tick alone."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.switch import SWITCH_NAMES
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import REASON_NAMES
from quantd.trading.display_text import clock_name
from quantd.trading.effects import Effect, Planned, Publish
from quantd.trading.instruments import MICRO
from quantd.trading.orders import money_text, quantity_text

HOUR_NS: Final = 3_600_000_000_000

POSITIONS: Final = 5
"""Positions named in a message, the largest by value."""

REASONS: Final = 3
"""Reasons of refusals named in a message, the most frequent."""


def session_messages(state: State, jobs: Sequence[str], coming: Sequence[str]) -> list[Publish]:
    """The messages of `jobs`, with the `coming` runs of schedules."""
    messages = []
    if "before_open" in jobs:
        messages.append(_before_open(state, coming))
    if "after_close" in jobs:
        messages.append(_after_close(state, coming))
        state.noted.refused = {}
    return messages


@idle_when(lambda state: not state.rules.counts_refusals or state.plans_in_python)
def count_refusals(state: State, event: object, effects_so_far: Sequence[Effect]) -> Sequence[Effect]:
    """The effects `effects_so_far` of an event, whose refused orders are counted for the next message after a close.

    An order is refused if the gate of an agent or of the house leaves none of its lots.
    """
    if not state.rules.counts_refusals:
        return effects_so_far
    refused = state.noted.refused
    gates = [
        gate
        for plan in effects_so_far
        if isinstance(plan, Planned)
        for gate in ((plan.net, plan.allowed, plan.reason), *((a.asked, a.allowed, a.reason) for a in plan.agents))
    ]
    for asked, allowed, reason in gates:
        none = (np.frombuffer(asked, dtype="<i8") != 0) & (np.frombuffer(allowed, dtype="<i8") == 0)
        for code in np.frombuffer(reason, dtype=np.int8)[none].tolist():
            name = REASON_NAMES[code]
            refused[name] = refused.get(name, 0) + 1
    return effects_so_far


def _before_open(state: State, coming: Sequence[str]) -> Publish:
    """Whether the daemon is ready: feed, broker, switch. WARNING where something is down or stopped."""
    newest = int(state.mark_ts.max()) if state.mark_ts.size else 0
    age = f"newest bar {(state.now - newest) / HOUR_NS:.1f} h old" if newest > 0 else "no bar yet"
    switch = SWITCH_NAMES[state.switch.state]
    suspended = [rules.name for rules, agent in zip(state.rules.agents, state.agents, strict=True) if agent.suspended]
    wrong = [f"{what} is down" for what in sorted(state.down)] + [f"{name} is suspended" for name in suspended]
    if state.switch.state:
        wrong.append(f"switch {switch}")
    words = f"not ready: {', '.join(wrong)}" if wrong else "ready"
    text = (
        f"{words}; {age}, switch {switch}, {_count(len(state.agents), 'agent')},"
        f" {_count(len(state.working), 'basket')} at the venue;"
        f" {_coming(state, coming)}"
    )
    return alert(state, "WARNING" if wrong else "INFO", "before_open", text)


def _after_close(state: State, coming: Sequence[str]) -> Publish:
    """The result since the session before, positions, open orders, refusals since the last message, next runs."""
    before, now = state.switch.day_open, state.switch.last
    change = now / before - 1.0 if before > 0 else 0.0
    text = (
        f"equity {money_text(now)} {state.universe.currency}, {change:+.2%} since the session before"
        f" ({(now - before) / MICRO:+,.2f}); {_positions(state)}; {_refusals(state)};"
        f" {_count(len(state.working), 'basket')} at the venue, switch {SWITCH_NAMES[state.switch.state]};"
        f" {_coming(state, coming)}"
    )
    return alert(state, "INFO", "after_close", text, value=change)


def _positions(state: State) -> str:
    """The number of positions, and the quantity of the largest by value."""
    lots, universe = state.ledger.house.lots, state.universe
    value = np.abs(state.lots(HOUSE) * state.lot_values())
    held = [k for k in np.argsort(-value, kind="stable").tolist() if lots[k]]
    if not held:
        return "no positions"
    named = [f"{quantity_text(lots[k], universe.lot_nano[k])} {universe.symbols[k]}" for k in held[:POSITIONS]]
    more = f" and {len(held) - POSITIONS} more" if len(held) > POSITIONS else ""
    return f"{_count(len(held), 'position')}: {', '.join(named)}{more}"


def _refusals(state: State) -> str:
    """The orders that the gate refused since the last message, by reason."""
    refused = sorted(state.noted.refused.items(), key=lambda pair: (-pair[1], pair[0]))
    if not refused:
        return "no orders refused"
    named = [(number, reason.replace("_", " ")) for reason, number in refused[:REASONS]]
    if remaining := sum(number for _, number in refused[REASONS:]):
        named.append((remaining, "other"))
    reasons = named[0][1] if len(named) == 1 else ", ".join(f"{number} {reason}" for number, reason in named)
    return f"{_count(sum(number for _, number in refused), 'order')} refused: {reasons}"


def _coming(state: State, coming: Sequence[str]) -> str:
    """The next runs of schedules, on the exchange's clock."""
    if not coming:
        return "nothing else is scheduled"
    return f"next {', '.join(coming)} {clock_name(state.rules.house_sessions().zone)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
