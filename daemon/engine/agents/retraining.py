"""Handlers of retrainings, and of starts under other artifacts.

A retraining only raises an alert: its artifact decides from the next start on. A policy with another artifact begins
without memory and with a new pairing.
"""

from collections.abc import Sequence

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect
from quantd.trading.events import Retrained, Started
from quantd.trading.view import EMPTY_MEMORY


def on_retrained(state: State, news: Retrained) -> Sequence[Effect]:
    """Raise an alert."""
    if news.failed:
        text = f"retraining of {news.agent} failed: {news.failed}; nothing has changed"
    else:
        after = "it decides for the shadow from the next start on" if news.promoted else "the shadow keeps what it has"
        figures = (
            f" ({news.rule} better by {news.gain:.2f} a year over {news.sessions} sessions, p = {news.p:.3g})"
            if news.current
            else ""
        )
        text = (
            f"{news.agent} was trained again on data up to {news.until}: "
            f"{news.version}: {news.reason}{figures}; {after}"
        )
    return (alert(state, "WARNING" if news.failed else "INFO", "retrain", text, agent=news.agent),)


def on_started(state: State, started: Started) -> Sequence[Effect]:
    """Record the artifacts of each policy. One that changed since the last start loses its memory and its pairings."""
    before, state.artifacts = state.artifacts, dict(started.artifacts)
    changed = {name for name, digest in started.artifacts.items() if before.get(name, digest) != digest}
    if not changed:
        return []
    others = {seat for seat, name in enumerate(state.rules.seats) if name in changed}
    effects = _demote(state, others)
    for house in (state, *state.shadows):
        for rules, agent, seat in zip(house.rules.agents, house.agents, house.seats, strict=True):
            if seat not in others:
                continue
            agent.memory, agent.note, agent.failures, agent.follow_up = EMPTY_MEMORY, "", 0, None
            policy = state.rules.seats[seat]
            text = (
                f"{rules.name} decides with another model from now on ({_short(before[policy])} to "
                f"{_short(started.artifacts[policy])}): it remembers nothing, and is compared from here on"
            )
            effects.append(alert(state, "INFO", "artifact", text, agent=rules.name))
    for shadow, champion, pairing in zip(state.shadows, state.rules.challenges, state.pairings, strict=True):
        if champion >= 0 and (shadow.seats[0] in others or state.seats[champion] in others):
            pairing.looks, pairing.since = 0, state.sample_no
    return effects


def _demote(state: State, others: set[int]) -> list[Effect]:
    """Give an agent its own policy again when its promoted policy has another artifact, which was not promoted."""
    effects: list[Effect] = []
    for k, rules in enumerate(state.rules.agents):
        seat, own = state.seats[k], state.rules.first_seat + k
        shadow = next((n for n, s in enumerate(state.shadows) if s.seats[0] == own), None)
        if seat == own or seat not in others or shadow is None:
            continue
        exchange_policies(state, shadow, k)
        text = (
            f"{state.rules.seats[seat]}'s policy was promoted over {rules.name}, and is made of another model now, "
            f"which was not: {rules.name} decides by its own again"
        )
        effects.append(alert(state, "WARNING", "artifact", text, agent=k))
    return effects


def _short(digest: str) -> str:
    """The digests of artifacts, joined by + and cut to eight digits."""
    return "+".join(each[:8] for each in digest.split("+")) if digest else "none"
