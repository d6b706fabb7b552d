"""The message before a session opens and the one after it has closed, from the state alone."""

from typing import Final

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.switch import SWITCH_NAMES
from quantd.daemon.engine.state import State
from quantd.trading.effects import Publish
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO
from quantd.trading.orders import money_text

HOUR_NS: Final = 3_600_000_000_000


def session_messages(state: State, tick: Tick) -> list[Publish]:
    """The messages that the jobs of a tick ask for."""
    found = []
    if "before_open" in tick.jobs:
        found.append(_before_open(state))
    if "after_close" in tick.jobs:
        found.append(_after_close(state))
    return found


def _before_open(state: State) -> Publish:
    """Whether the daemon is ready: feed, broker, switch. WARNING where something is down or stopped."""
    newest = int(state.mark_ts.max()) if state.mark_ts.size else 0
    age = f"newest bar {(state.now - newest) / HOUR_NS:.1f} h old" if newest > 0 else "no bar yet"
    switch = SWITCH_NAMES[state.switch.state]
    suspended = [rules.name for rules, own in zip(state.rules.agents, state.agents, strict=True) if own.suspended]
    wrong = [f"{what} is down" for what in sorted(state.down)] + [f"{name} is suspended" for name in suspended]
    if state.switch.state:
        wrong.append(f"switch {switch}")
    words = f"not ready: {', '.join(wrong)}" if wrong else "ready"
    text = f"{words}; {age}, switch {switch}, {len(state.agents)} agents, {len(state.working)} baskets at the venue"
    return alert(state, "WARNING" if wrong else "INFO", "before_open", text)


def _after_close(state: State) -> Publish:
    """The result since the session before, positions and open orders."""
    before, now = state.switch.day_open, state.switch.last
    change = now / before - 1.0 if before > 0 else 0.0
    held = sum(1 for lots in state.ledger.house.lots if lots)
    text = (
        f"equity {money_text(now)} {state.universe.currency}, {change:+.2%} since the session before"
        f" ({(now - before) / MICRO:+,.2f}); {held} positions, {len(state.working)} baskets at the venue,"
        f" switch {SWITCH_NAMES[state.switch.state]}"
    )
    return alert(state, "INFO", "after_close", text, value=change)
