"""The job "promote": compares each challenger with its champion and exchanges their policies when it passes.

Policies are exchanged with their memory; books, limits, schedules and names stay. The old policy continues in the
shadow and can be promoted again.
"""

import msgspec

from quantd.daemon.engine.agents.promotion_rule import Outcome, PromotionRules, looked
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect, Promotion


def promote(state: State) -> list[Effect]:
    """Compare all pairs, at a sample, before its Asks."""
    rules = state.rules.promotion
    if rules is None:
        return []
    effects: list[Effect] = []
    for k, (shadow, champion) in enumerate(zip(state.shadows, state.rules.challenges, strict=True)):
        if champion < 0:
            continue
        pairing = state.pairings[k]
        names = state.rules.agents[champion].name, shadow.rules.agents[0].name
        found = looked(
            rules,
            pairing,
            state.watch.realised[champion + 1].returns(),
            shadow.watch.realised[1].returns(),
            min(state.sample_no, shadow.sample_no) - pairing.since,
            f"{state.sample}|{names[0]}|{names[1]}",
            state.watch.realised[champion + 1].risk_free_annual(),
        )
        if found.promoted:
            exchange_policies(state, k, champion)
            for each, other in enumerate(state.pairings):
                # all challengers of this agent meet another policy from now on
                if state.rules.challenges[each] == champion:
                    other.looks, other.since = 0, state.sample_no
        effects.append(
            Promotion(
                ts=state.now,
                champion=champion,
                challenger=len(state.agents) + k,
                measure=rules.measure,
                alpha=rules.alpha,
                names=names,
                **msgspec.structs.asdict(found),
            )
        )
        if found.look:
            effects.append(alert(state, "INFO", "promotion", _text(state, rules, k, names, found), agent=champion))
    return effects


def _text(state: State, rules: PromotionRules, k: int, names: tuple[str, str], found: Outcome) -> str:
    figures = (
        f"{rules.measure} better by {found.gain:.2f} a year over {found.samples} samples, p = {found.p:.4g}, "
        f"look {found.look} of {rules.looks} at {rules.alpha:.4g}"
    )
    if not found.promoted:
        return f"{names[1]} is not promoted over {names[0]}: {found.why} ({figures})"
    policies, champion = state.rules.seats, state.rules.challenges[k]
    return (
        f"{names[1]} is promoted: the policy of {policies[state.seats[champion]]} "
        f"decides for {names[0]} from now on, and that of "
        f"{policies[state.shadows[k].seats[0]]} goes on as its shadow ({figures})"
    )


def exchange_policies(state: State, k: int, agent: int) -> None:
    """Exchange the policies of shadow `k` and an agent, with memory, notes and failures; follow-ups are dropped."""
    shadow = state.shadows[k]
    one, other = state.agents[agent], shadow.agents[0]
    state.seats[agent], shadow.seats[0] = shadow.seats[0], state.seats[agent]
    one.memory, other.memory = other.memory, one.memory
    one.note, other.note = other.note, one.note
    one.failures, other.failures = other.failures, one.failures
    one.follow_up = other.follow_up = None
