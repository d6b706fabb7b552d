"""Rounds: Asks (questions to policies) and their answers, the plan after the last answer, and the follow-ups of earlier
decisions.

What can go wrong: a policy fails, hangs or answers late. Then its agent keeps its positions, and repeated failures
suspend it; the other agents decide as before. An answer to a round that is over has no effect, because that round was
planned without it. An answer of the wrong length, or with a number that is not finite, counts as a failure.

The plan follows the last answer of the round, and not each answer. So opposite lots of two agents cross, and the limits
of the whole account measure the net of all. New weights replace the rest of the agent's earlier decision, a failure
drops it, and the answer HOLD lets it go on: most policies decide on dates and hold between. A follow-up waits until the
orders of its decision have ended, because their sales bring its cash.
"""

from collections.abc import Sequence
from math import isfinite

import numpy as np

from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.safety.switch import suspend
from quantd.daemon.engine.state import AgentState, Round, State
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask, Effect, Level
from quantd.trading.events import Decided
from quantd.trading.instruments import MICRO
from quantd.trading.view import View


def ask_agents(state: State, due: list[int], ts: int) -> list[Effect]:
    """Open a round: one question (Ask) for each agent that is due, with the last sample and the newest marks."""
    state.round_no += 1
    state.round = Round(state.round_no, due)
    return [
        Ask(state.round_no, number, view_of(state, number, ts), state.agents[number].memory, state.seats[number])
        for number in due
    ]


def view_of(state: State, number: int, ts: int) -> View:
    """What the policy of agent `number` (its index) sees at `ts`, ns UTC: the last sample, the newest marks and its own
    book."""
    equity = state.books_micro[number]
    weights = state.lots(number) * state.lot_values()
    weights *= MICRO / equity if equity > 0 else 0.0
    weights += 0.0  # a short position without a price is 0, not -0
    weights.flags.writeable = False
    return View(
        universe=state.universe,
        ring=state.history.known,  # the samples by instant
        by_date=state.history.by_date,  # the samples by session date
        prices=state.prices(),
        weights=weights,
        cash=state.ledger.books[number].cash_micro / equity if equity > 0 else 0.0,
        equity=equity / MICRO,
        time=ts,
        sample_time=state.sample,
        bars=state.history.bars,
        macro=state.history.macro,
    )


def on_decided(state: State, answer: Decided) -> Sequence[Effect]:
    """Record an agent's answer; plan orders after the last answer of its round."""
    round_ = state.round  # the agents that were asked at one instant, and their answers
    if round_ is None or round_.number != answer.round or answer.agent not in round_.waiting:
        return ()  # the round was planned without this late answer: it must not change the targets now
    round_.waiting.remove(answer.agent)
    agent = state.agents[answer.agent]
    effects: list[Effect] = []
    failed = answer.failed or _weights_fault(state, answer.weights)
    if failed:
        effects.extend(_count_failure(state, answer.agent, agent, failed))
    else:
        agent.failures = 0
        if answer.note != agent.note:
            agent.note = answer.note
            if answer.note:
                level: Level = "WARNING" if answer.warns else "INFO"
                effects.append(alert(state, level, "policy_note", answer.note, agent=answer.agent))
        if answer.memory:
            agent.memory = memory_of(answer)
        if answer.weights is not None:
            round_.answers[answer.agent] = answer.weights
            agent.follow_up.drop()  # a new target replaces the rest of the last one
        else:
            round_.holds.append(answer.agent)
    if not round_.waiting:
        state.round = None
        effects.extend(plan(state, round_.answers, watch=watch_plan, sample=state.sample))
        effects.extend(follow_ups(state, frozenset(), round_.holds))
    return effects


def _weights_fault(state: State, weights: bytes | None) -> str:
    """Why the weights of an answer cannot be used; empty where they can, or where the answer keeps the positions."""
    if weights is None:
        return ""
    if len(weights) != 8 * state.universe.size:
        return f"{len(weights) // 8} weights for {state.universe.size} symbols"
    return "" if all(map(isfinite, np.frombuffer(weights).tolist())) else "a weight is not finite"


def _count_failure(state: State, number: int, agent: AgentState, failed: str) -> list[Effect]:
    """Count a failure of an agent's policy for the reason `failed`; the agent keeps its positions.

    After max_failures in a row the agent with the index `number` is suspended.
    """
    agent.failures += 1
    agent.follow_up.drop()
    effects: list[Effect] = [
        alert(state, "WARNING", "policy", f"policy failed, the agent holds: {failed}", agent=number)
    ]
    if agent.failures >= state.rules.max_failures:
        text = f"suspended after {agent.failures} failures in a row"
        effects.extend(suspend(state, number, "suspended", text))
    return effects


def follow_ups(state: State, due: frozenset[int], only: Sequence[int] | None = None) -> list[Effect]:
    """Plan the rests of earlier decisions, in the order of the decisions.

    The rest of a decision waits until the orders of its agent have ended. It is dropped where the agent is suspended.
    Where the agent is `due`, its answer decides: `only` are the agents that answered HOLD, and None means all.
    """
    if not any(agent.follow_up.waits() for agent in state.agents):
        return []
    waiting: dict[tuple[int, int], dict[int, bytes]] = {}
    busy = {who for work in state.working.values() for _, who, _ in work.open_shares()}
    busy |= {parent.agent for parent in state.parents}
    for number, agent in enumerate(state.agents):
        follow_up = agent.follow_up
        if not follow_up.waits() or (only is not None and number not in only):
            continue
        if agent.suspended:
            follow_up.drop()
        elif number in due:
            continue  # its answer decides
        elif number not in busy:
            waiting.setdefault((follow_up.sample, follow_up.used), {})[number] = bytes(follow_up.weights)
            follow_up.drop()
    effects: list[Effect] = []
    for (sample, used), answers in sorted(waiting.items()):
        effects.extend(plan(state, answers, watch=watch_plan, sample=sample, used=used + 1))
    return effects
