"""The job "promote": compares each challenger with its champion and exchanges their policies when the challenger
passes.

An operator's `Exchanged` exchanges them without a comparison.

Policies are exchanged with their memory; books, limits, schedules and names stay. The old policy continues in the
shadow (agent on paper) and can be promoted again.

What can go wrong: returns of the former policy count for the new one, because its positions are still in the book. So a
new pairing of champion and challenger counts no return until both have decided. Their orders fill at the next open,
which is why the first return that counts ends two samples later.

What can go wrong, too: a test that is repeated often enough passes once. `quantd.daemon.engine.state.promotion_rule`
divides the level of the test by the number of looks. All challengers of an agent begin a new pairing when the agent
gets another policy, because the challengers then meet another opponent.
"""

from collections.abc import Sequence

import msgspec

from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.promotion_rule import Outcome, PromotionRules, looked
from quantd.trading.effects import Effect, Promotion
from quantd.trading.model_events import Exchanged


def promote(state: State) -> list[Effect]:
    """Compare every challenger with its champion at a sample, before agents are asked; exchange policies that pass.

    Every comparison is recorded. An alert follows only where a test (a look) took place, with or without a promotion. A
    shadow (agent on paper) that challenges no agent has the champion -1, and is omitted. In `watch.realised` the
    returns of agent k have the index k + 1.
    """
    rules = state.rules.promotion
    if rules is None:
        return []
    effects: list[Effect] = []
    for k, (shadow, champion) in enumerate(zip(state.shadows, state.rules.challenges, strict=True)):
        if champion < 0:
            continue
        pairing = state.pairings[k]
        names = state.rules.agents[champion].name, shadow.rules.agents[0].name
        outcome = looked(
            rules,
            pairing,
            state.watch.realised[champion + 1].returns(),
            shadow.watch.realised[1].returns(),
            pairing.known(min(state.sample_no, shadow.sample_no)),
            f"{state.sample}|{names[0]}|{names[1]}",  # seeds the bootstrap
            state.watch.realised[champion + 1].risk_free_annual(),
        )
        if outcome.promoted:
            exchange_policies(state, k, champion)
            pair_anew(state, k, champion)
        effects.append(
            Promotion(
                ts=state.now,
                champion=champion,
                challenger=len(state.agents) + k,
                measure=rules.measure,
                alpha=rules.alpha,
                names=names,
                **msgspec.structs.asdict(outcome),
            )
        )
        if outcome.look:
            effects.append(
                alert(state, "INFO", "promotion", _test_text(state, rules, k, names, outcome), agent=champion)
            )
    return effects


def on_exchanged(state: State, order: Exchanged) -> Sequence[Effect]:
    """Promote or demote by an operator's command: the policies are exchanged as after a test, but without a test.

    `state.seats` has, by agent, the number of the policy that decides for it.
    """
    if why := unexchangeable(state, order.shadow, order.command):
        before = f"{order.who} asked to {order.command} {order.shadow}: "
        return refuse_command(state, "conflict", "promotion", why, before=before)
    k = shadow_number(state, order.shadow)
    champion = state.rules.challenges[k]
    exchange_policies(state, k, champion)
    pair_anew(state, k, champion)
    name, seats = state.rules.agents[champion].name, state.rules.names()
    text = (
        f"{order.command}d by {order.who} without a test, {order.reason}: the policy of "
        f"{seats[state.seats[champion]]} decides for {name} from now on, and that of "
        f"{seats[state.shadows[k].seats[0]]} for its shadow {order.shadow}"
    )
    return (alert(state, "WARNING", "promotion", text, agent=champion),)


def shadow_number(state: State, name: str) -> int:
    """Return the index of the shadow `name` (agent on paper); -1 for none."""
    return next((k for k, shadow in enumerate(state.shadows) if shadow.rules.agents[0].name == name), -1)


def unexchangeable(state: State, shadow: str, command: str) -> str:
    """Return the reason why a shadow's policy cannot be promoted or demoted by hand; empty when it can.

    `state.seats` has, by agent, the number of the policy that decides for it; shadows are numbered after the agents.
    """
    k = shadow_number(state, shadow)
    if k < 0:
        return f"{shadow} is no shadow"
    champion = state.rules.challenges[k]
    if champion < 0:
        return f"{shadow} challenges no agent ([[agents]] challenges)"
    name, seats = state.rules.agents[champion].name, state.rules.names()
    shadow_policy, decides_by_own = len(state.agents) + k, state.seats[champion] == state.rules.first_seat + champion
    if command == "demote":
        return "" if state.seats[champion] == shadow_policy else f"its policy does not decide for {name}"
    if state.seats[champion] == shadow_policy:
        return f"its policy decides for {name} already"
    return (
        ""
        if decides_by_own
        else f"the policy of {seats[state.seats[champion]]} decides for {name}; demote that one first"
    )


def pair_anew(state: State, k: int, champion: int) -> None:
    """Begin new pairings of all challengers of the agent `champion`: this agent and the shadow `k` (on paper) have
    exchanged their policies."""
    for number, pairing in enumerate(state.pairings):
        if state.rules.challenges[number] == champion:
            pairing.begin(state.sample_no, True, number == k)


def note_decision(state: State, number: int) -> None:
    """Note that the agent or shadow (on paper) with index `number` has decided; shadows are numbered after the agents.

    The orders fill at the next open. So the first return without the positions of the former policy is that of the
    second sample after this one.
    """
    for k, pairing in enumerate(state.pairings):
        if any(pairing.waits) and number in (state.rules.challenges[k], len(state.agents) + k):
            by_challenger = number >= len(state.agents)
            # `waits` is for (champion, challenger): who has decided waits no longer
            pairing.waits = pairing.waits[0] and by_challenger, pairing.waits[1] and not by_challenger
            pairing.since = state.sample_no + 1


def _test_text(state: State, rules: PromotionRules, k: int, names: tuple[str, str], outcome: Outcome) -> str:
    """Return the text of the alert about a test of shadow `k` (on paper); `names` name champion and challenger."""
    figures = (
        f"{rules.measure} better by {outcome.gain:.2f} a year over {outcome.samples} samples, p = {outcome.p:.4g}, "
        f"look {outcome.look} of {rules.looks} at {rules.alpha:.4g}"
    )
    if not outcome.promoted:
        return f"{names[1]} is not promoted over {names[0]}: {outcome.why} ({figures})"
    policies, champion = state.rules.seats, state.rules.challenges[k]
    return (
        f"{names[1]} is promoted: the policy of {policies[state.seats[champion]]} "
        f"decides for {names[0]} from now on, and that of "
        f"{policies[state.shadows[k].seats[0]]} goes on as its shadow ({figures})"
    )


def exchange_policies(state: State, k: int, agent: int) -> None:
    """Exchange the policies of shadow `k` and an agent, with memory, notes and failures; follow-ups are dropped."""
    shadow = state.shadows[k]
    agent_state, shadow_agent = state.agents[agent], shadow.agents[0]
    state.seats[agent], shadow.seats[0] = shadow.seats[0], state.seats[agent]
    agent_state.memory, shadow_agent.memory = shadow_agent.memory, agent_state.memory
    agent_state.note, shadow_agent.note = shadow_agent.note, agent_state.note
    agent_state.failures, shadow_agent.failures = shadow_agent.failures, agent_state.failures
    agent_state.follow_up.drop()
    shadow_agent.follow_up.drop()
