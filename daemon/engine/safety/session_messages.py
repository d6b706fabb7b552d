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
"""How many positions a message names, the largest by value."""

REASONS: Final = 3
"""How many reasons of refusals a message names, the most frequent ones."""


def session_messages(state: State, jobs: Sequence[str], coming: Sequence[str]) -> list[Publish]:
    """The messages of the jobs `jobs` ("before_open", "after_close"); `coming` are the next schedule runs as text."""
    messages = []
    if "before_open" in jobs:
        messages.append(_before_open(state, coming))
    if "after_close" in jobs:
        messages.append(_after_close(state, coming))
        state.noted.refused = {}
    return messages


@idle_when(lambda state: True)  # the fold's records call it after a plan
def count_refusals(state: State, event: object, effects_so_far: Sequence[Effect]) -> Sequence[Effect]:
    """Count the refused orders in the effects of an event for the next message after a close; returns the effects.

    An order is refused if the gate (the check of limits) of an agent or of the whole account passes none of
    its lots.
    """
    if not state.rules.counts_refusals:
        return effects_so_far
    refused = state.noted.refused
    gates = [
        gate
        for plan in effects_so_far
        if isinstance(plan, Planned)
        for gate in (
            (plan.net, plan.allowed, plan.reason),
            *((agent_plan.asked, agent_plan.allowed, agent_plan.reason) for agent_plan in plan.agents),
        )
    ]
    for asked, allowed, reason in gates:
        refused_rows = (np.frombuffer(asked, dtype="<i8") != 0) & (np.frombuffer(allowed, dtype="<i8") == 0)
        for code in np.frombuffer(reason, dtype=np.int8)[refused_rows].tolist():
            name = REASON_NAMES[code]
            refused[name] = refused.get(name, 0) + 1
    return effects_so_far


def _before_open(state: State, coming: Sequence[str]) -> Publish:
    """The message before an open: whether the daemon is ready. A WARNING where something that trading needs (a
    condition, such as the feed) is down, an agent is suspended, or the kill switch is not at RUN."""
    newest = int(state.mark_ts.max()) if state.mark_ts.size else 0
    age = f"newest bar {(state.now - newest) / HOUR_NS:.1f} h old" if newest > 0 else "no bar yet"
    switch = SWITCH_NAMES[state.switch.state]
    suspended = [rules.name for rules, agent in zip(state.rules.agents, state.agents, strict=True) if agent.suspended]
    faults = [f"{condition} is down" for condition in sorted(state.down)] + [
        f"{name} is suspended" for name in suspended
    ]
    if state.switch.state:  # RUN is 0
        faults.append(f"switch {switch}")
    verdict = f"not ready: {', '.join(faults)}" if faults else "ready"
    text = (
        f"{verdict}; {age}, switch {switch}, {_count(len(state.agents), 'agent')},"
        f" {_count(len(state.working), 'basket')} at the venue;"
        f" {_coming(state, coming)}"
    )
    return alert(state, "WARNING" if faults else "INFO", "before_open", text)


def _after_close(state: State, coming: Sequence[str]) -> Publish:
    """The message after a close: the result since the previous session, positions, refusals, open baskets of orders,
    next runs."""
    # in micro-currency: at the begin of the day, and at the last sample
    equity_before, equity_now = state.switch.day_open, state.switch.last
    change = equity_now / equity_before - 1.0 if equity_before > 0 else 0.0
    text = (
        f"equity {money_text(equity_now)} {state.universe.currency}, {change:+.2%} since the session before"
        f" ({(equity_now - equity_before) / MICRO:+,.2f}); {_positions(state)}; {_refusals(state)};"
        f" {_count(len(state.working), 'basket')} at the venue, switch {SWITCH_NAMES[state.switch.state]};"
        f" {_coming(state, coming)}"
    )
    return alert(state, "INFO", "after_close", text, value=change)


def _positions(state: State) -> str:
    """The number of positions, and the quantities of the largest by value, as text."""
    lots, universe = state.ledger.house.lots, state.universe
    value = np.abs(state.lots(HOUSE) * state.lot_values())
    columns = [k for k in np.argsort(-value, kind="stable").tolist() if lots[k]]
    if not columns:
        return "no positions"
    named = [f"{quantity_text(lots[k], universe.lot_nano[k])} {universe.symbols[k]}" for k in columns[:POSITIONS]]
    remainder = f" and {len(columns) - POSITIONS} more" if len(columns) > POSITIONS else ""
    return f"{_count(len(columns), 'position')}: {', '.join(named)}{remainder}"


def _refusals(state: State) -> str:
    """The orders that the gate (the check of limits) refused since the last message, by reason."""
    refused = sorted(state.noted.refused.items(), key=lambda pair: (-pair[1], pair[0]))
    if not refused:
        return "no orders refused"
    named = [(number, reason.replace("_", " ")) for reason, number in refused[:REASONS]]
    if remaining := sum(number for _, number in refused[REASONS:]):
        named.append((remaining, "other"))
    reasons = named[0][1] if len(named) == 1 else ", ".join(f"{number} {reason}" for number, reason in named)
    return f"{_count(sum(number for _, number in refused), 'order')} refused: {reasons}"


def _coming(state: State, coming: Sequence[str]) -> str:
    """The next runs of schedules, on the exchange's clock, as text."""
    if not coming:
        return "nothing else is scheduled"
    return f"next {', '.join(coming)} {clock_name(state.rules.house_sessions().zone)}"


def _count(number: int, what: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{number} {what}{'' if number == 1 else 's'}"
