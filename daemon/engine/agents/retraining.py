"""Handlers of retrainings, of artifacts loaded by an operator, and of starts under other artifacts.

A retraining only raises an alert: its artifact decides from the next start on. A loaded artifact decides at once. A
policy with another artifact begins without memory and with a new pairing.

What can go wrong: the memory or the comparison of one model counts for another one, or a promotion for a model that
was never compared. So the digests of artifacts at a start are compared with those of the last start. A changed digest
clears memory and pairings, and a promoted policy with another artifact loses its promotion.
"""

from collections.abc import Mapping, Sequence

from quantd.daemon.engine.agents.promotion import exchange_policies, pair_anew
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect
from quantd.trading.events import Started
from quantd.trading.model_events import ModelLoaded, Retrained
from quantd.trading.view import EMPTY_MEMORY


def on_retrained(state: State, news: Retrained) -> Sequence[Effect]:
    """Raise an alert about a retraining: its result, or why it failed."""
    if news.failed:
        text = f"retraining of {news.agent} failed: {news.failed}; nothing has changed"
    else:
        after = "it decides for the shadow from the next start on" if news.promoted else "the shadow keeps what it has"
        if news.promoted and news.agent in state.loaded:
            after = f"the shadow keeps {state.loaded[news.agent].path}, which was loaded, until this one is loaded"
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
    """Record the artifacts of each policy. A policy whose artifact changed since the last start loses its memory and
    its pairings."""
    before, state.artifacts = state.artifacts, dict(started.artifacts)
    state.loaded = {name: artifact for name, artifact in state.loaded.items() if name in started.loaded}
    changed = {name for name, digest in started.artifacts.items() if before.get(name, digest) != digest}
    return _begin_anew(state, changed, before) if changed else []


def on_model_loaded(state: State, loaded: ModelLoaded) -> Sequence[Effect]:
    """From this event on, the agent decides with the loaded artifact; with another digest its policy begins anew.

    An unknown agent is refused. A policy without an artifact has an empty digest.
    """
    names, name = state.rules.names(), loaded.agent
    if name not in names:
        return refuse_command(state, "agent", "artifact", f"no agent named {name!r} for {loaded.path}")
    earlier_digests, state.artifacts = state.artifacts, {**state.artifacts, name: loaded.digest}
    state.loaded = {**state.loaded, name: loaded}
    text = f"{loaded.who} loaded {loaded.path} ({_short(loaded.digest)}) for {name}: {loaded.reason}"
    effects: list[Effect] = [alert(state, "WARNING", "artifact", text, agent=name)]
    if earlier_digests.get(name, "") == loaded.digest:
        return effects
    return [*effects, *_begin_anew(state, {name}, {name: "", **earlier_digests})]


def _begin_anew(state: State, changed: set[str], before: Mapping[str, str]) -> list[Effect]:
    """Clear the memory and the pairings of the policies named `changed`; `before` has their earlier digests by name.

    A pairing compares the returns of an agent (the champion) and its shadow; a policy that changed must decide once
    before its returns count. `seats` has by agent the number of the policy that decides for it.
    """
    policy_numbers = {number for number, name in enumerate(state.rules.names()) if name in changed}
    effects = _demote(state, policy_numbers)
    for house in (state, *state.shadows):
        for rules, agent, policy_number in zip(house.rules.agents, house.agents, house.seats, strict=True):
            if policy_number not in policy_numbers:
                continue
            agent.memory, agent.note, agent.failures = EMPTY_MEMORY, "", 0
            agent.follow_up.drop()
            policy = state.rules.names()[policy_number]
            text = (
                f"{rules.name} decides with another model from now on ({_short(before[policy])} to "
                f"{_short(state.artifacts[policy])}): it remembers nothing, and is compared from here on"
            )
            effects.append(alert(state, "INFO", "artifact", text, agent=rules.name))
    for shadow, champion, pairing in zip(state.shadows, state.rules.challenges, state.pairings, strict=True):
        if champion >= 0 and (shadow.seats[0] in policy_numbers or state.seats[champion] in policy_numbers):
            pairing.begin(state.sample_no, state.seats[champion] in policy_numbers, shadow.seats[0] in policy_numbers)
    return effects


def _demote(state: State, policy_numbers: set[int]) -> list[Effect]:
    """Give an agent its own policy again when its promoted policy has another artifact, which was not promoted."""
    effects: list[Effect] = []
    for k, rules in enumerate(state.rules.agents):
        policy_number, own_policy = state.seats[k], state.rules.first_seat + k
        shadow_index = next((n for n, shadow in enumerate(state.shadows) if shadow.seats[0] == own_policy), None)
        if policy_number == own_policy or policy_number not in policy_numbers or shadow_index is None:
            continue
        exchange_policies(state, shadow_index, k)
        pair_anew(state, shadow_index, k)
        text = (
            f"{state.rules.seats[policy_number]}'s policy was promoted over {rules.name}, and is made of another model "
            f"now, which was not: {rules.name} decides by its own again"
        )
        effects.append(alert(state, "WARNING", "artifact", text, agent=k))
    return effects


def _short(digest: str) -> str:
    """Return the digests of artifacts, joined by +, each cut to eight digits."""
    return "+".join(part[:8] for part in digest.split("+")) if digest else "none"
