"""Models that change: what became of a retraining, and a start under other artifacts. Pure.

A retraining changes nothing here: it is told. What it wrote decides from the next start on, which says so; whoever has
another model then begins anew, in memory and in what it is held against.
"""

from collections.abc import Sequence

import msgspec

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect
from quantd.trading.events import Retrained, Started
from quantd.trading.view import EMPTY_MEMORY


def on_retrained(state: State, news: Retrained) -> Sequence[Effect]:
    """An alert; nothing else."""
    if news.failed:
        told = alert(
            state, "WARNING", "retrain", f"retraining of {news.agent} failed: {news.failed}; nothing has changed"
        )
    else:
        after = "it decides for the shadow from the next start on" if news.promoted else "the shadow keeps what it has"
        figures = (
            f" ({news.rule} better by {news.gain:.2f} a year over {news.sessions} sessions, p = {news.p:.3g})"
            if news.current
            else ""
        )
        told = alert(
            state,
            "INFO",
            "retrain",
            f"{news.agent} was trained again on data up to {news.until}: "
            f"{news.version}: {news.reason}{figures}; {after}",
        )
    return (msgspec.structs.replace(told, agent=news.agent),)


def on_started(state: State, started: Started) -> Sequence[Effect]:
    """Note what each policy is made of. One that is made of something else than at the start before remembers nothing
    of it, and whoever challenges it, or is challenged by it, begins a new pairing: returns of another model prove
    nothing."""
    before, state.artifacts = state.artifacts, dict(started.artifacts)
    changed = {name for name, digest in started.artifacts.items() if before.get(name, digest) != digest}
    if not changed:
        return []
    others = {seat for seat, name in enumerate(state.rules.seats) if name in changed}
    effects = _given_back(state, others)
    for house in (state, *state.shadows):
        for rules, agent, seat in zip(house.rules.agents, house.agents, house.seats, strict=True):
            if seat not in others:
                continue
            agent.memory, agent.note, agent.failures, agent.follow_up = EMPTY_MEMORY, "", 0, None
            policy = state.rules.seats[seat]
            told = alert(
                state,
                "INFO",
                "artifact",
                f"{rules.name} decides with another model from now on ({_short(before[policy])} to "
                f"{_short(started.artifacts[policy])}): it remembers nothing, and is compared from here on",
            )
            effects.append(msgspec.structs.replace(told, agent=rules.name))
    for shadow, champion, pairing in zip(state.shadows, state.rules.challenges, state.pairings, strict=True):
        if champion >= 0 and (shadow.seats[0] in others or state.seats[champion] in others):
            pairing.looks, pairing.since = 0, state.sample_no
    return effects


def _given_back(state: State, others: set[int]) -> list[Effect]:
    """An agent that a promotion gave a policy which is made of something else now has its own again: that model was not
    promoted."""
    effects: list[Effect] = []
    for k, agent in enumerate(state.agents):
        seat, own = state.seats[k], state.rules.first_seat + k
        shadow = next((s for s in state.shadows if s.seats[0] == own), None)
        if seat == own or seat not in others or shadow is None:
            continue
        other = shadow.agents[0]
        state.seats[k], shadow.seats[0] = own, seat
        agent.memory, other.memory = other.memory, agent.memory
        agent.note, other.note = other.note, agent.note
        agent.failures, other.failures = other.failures, agent.failures
        agent.follow_up = other.follow_up = None
        told = alert(
            state,
            "WARNING",
            "artifact",
            f"{state.rules.seats[seat]}'s policy was promoted over {state.rules.agents[k].name}, and is made of "
            f"another model now, "
            f"which was not: {state.rules.agents[k].name} decides by its own again",
            agent=k,
        )
        effects.append(told)
    return effects


def _short(digest: str) -> str:
    """Of the digests of artifacts, joined by +; words for none."""
    return "+".join(each[:8] for each in digest.split("+")) if digest else "none"
