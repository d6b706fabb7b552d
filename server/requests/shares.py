"""Movements of cash that give agents other shares of the account's equity."""

from collections.abc import Mapping

from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import free_micro
from quantd.server.requests.control import NotDone
from quantd.trading.events import Flow
from quantd.trading.orders import money_text


def share_events(state: State, shares: Mapping[str, float], now: int, who: str, reason: str = "") -> list[Flow]:
    """The cash movements that give agents other shares of the account's equity, at the instant `now`. Raises NotDone.

    What an agent gains comes from the unallocated book, and what it gives goes there, as with `quantd cash`.
    """
    events: list[Flow] = []
    names = [agent.name for agent in state.rules.agents]
    free = free_micro(state, -1)  # -1: the unallocated book
    moves = {}
    for name, share in shares.items():
        if name not in names:
            raise NotDone("agent", f"there is no agent {name[:40]!r}; the agents are {', '.join(names)}")
        if not 0.0 <= share <= 1.0:
            raise NotDone("command", f"the share {share:g} of {name} must lie in [0, 1]", "shares")
        index = names.index(name)
        moves[name] = amount = round(share * state.equity_micro) - state.equity_of(index)
        if (available := free_micro(state, index)) < -amount:
            text = f"{name} has {money_text(available)} of free cash, and {money_text(-amount)} would leave it"
            raise NotDone("conflict", f"{text}; give it smaller weights first, or a larger share", "shares")
    if (needed := sum(moves.values())) > free:
        text = f"{money_text(needed)} is needed, and the unallocated book has {money_text(free)} of free cash"
        raise NotDone("conflict", f"{text}; lower the share of another agent as well", "shares")
    for name, amount in sorted(moves.items(), key=lambda move: move[1]):  # first what is given
        for owner, micro in (("", -amount), (name, amount))[:: 1 if amount > 0 else -1]:
            events.append(Flow(now, micro, who, agent=owner, reason=reason))
    return events
