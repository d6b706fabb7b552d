"""Shadow agents: each is a house of one agent with notional capital, on the same market and behind the same gate.

Its orders go to a simulated venue of its own. Its effects are wrapped in `Shadowed`; its Asks and alerts carry an agent
number after those of the house. A shadow does not affect the house's books, orders and switch.

What can go wrong: a shadow changes what the real house does. Therefore the house is stepped first, and its effects come
first. A shadow gets the events of the market, its own answers and reports, and operators' commands that name it. Jobs
belong to the house, and so do records of limits, crosses and snapshots, which are left out of a shadow's effects.

The verdict on a proposal of an outside agent is recorded here. The same agent may decide in a shadow now and in the
house later, and an id is decided once, wherever that was.
"""

from collections.abc import Callable, Sequence

import msgspec

from quantd.daemon.engine.agents.promotion import note_decision
from quantd.daemon.engine.agents.proposals import refusal
from quantd.daemon.engine.safety.alerts import refuse_command
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import ProposalLog, verdict_of
from quantd.trading.effects import (
    Ask,
    Assessed,
    Crossed,
    Effect,
    LimitMoved,
    Promotion,
    Publish,
    Reallocated,
    Refused,
    Shadowed,
    Snapshot,
    Stop,
)
from quantd.trading.events import (
    Action,
    Decided,
    Event,
    Halted,
    Operator,
    ProposalReviewed,
    Proposed,
    Shade,
    Tick,
)
from quantd.trading.market import JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import ScheduleRun

Step = Callable[[State, Event], Sequence[Effect]]

MARKET = (MarketSlice, Action, PriceJumped, Halted, JumpExplained)
"""Events that every house receives."""


def step_shadows(state: State, event: Event, step: Step) -> Sequence[Effect]:
    """Step an event in the house and in its shadows; the house's effects come first."""
    first = len(state.agents)
    if isinstance(event, Decided) and not event.failed:
        note_decision(state, event.agent)
    if isinstance(event, Shade):
        return _one(state, event.agent - first, event.news, step)
    if isinstance(event, Decided) and event.agent >= first:
        return _one(state, event.agent - first, msgspec.structs.replace(event, agent=0), step)
    if isinstance(event, Operator) and event.agent:
        names = [shadow.rules.agents[0].name for shadow in state.shadows]
        if event.agent in names:
            return _commanded(state, names.index(event.agent), event, step)
    if isinstance(event, Proposed) and state.rules.outside_seat(event.agent) is not None:
        return _proposed(state, event, step)
    if isinstance(event, ProposalReviewed):
        return _reviewed(state, event, step)
    if isinstance(event, Tick):
        return _ticked(state, event, step)
    if isinstance(event, ScheduleRun):
        return _run_now(state, event, step)
    effects = step(state, event)
    if isinstance(event, MARKET):
        for k in range(len(state.shadows)):
            more = _one(state, k, event, step)
            effects = [*effects, *more] if more else effects
    return effects


def on_shade(state: State, shade: Shade) -> Sequence[Effect]:
    """News for a shadow that no longer exists."""
    return ()


def _ticked(state: State, tick: Tick, step: Step) -> Sequence[Effect]:
    """Step a tick in every house with its own agents that are due; jobs belong to the house."""
    first = len(state.agents)
    due = tuple(number for number in tick.due if number < first)
    effects = list(step(state, tick if due == tick.due else msgspec.structs.replace(tick, due=due)))
    for k in range(len(state.shadows)):
        shadow_tick = msgspec.structs.replace(tick, due=(0,) if first + k in tick.due else (), jobs=())
        effects.extend(_one(state, k, shadow_tick, step))
    return effects


def _run_now(state: State, run: ScheduleRun, step: Step) -> Sequence[Effect]:
    """Step a schedule that runs now in the house, and in the shadows that are due."""
    first = len(state.agents)
    effects = list(step(state, msgspec.structs.replace(run, due=tuple(n for n in run.due if n < first))))
    for number in run.due:
        if number >= first:
            effects.extend(_one(state, number - first, msgspec.structs.replace(run, due=(0,), job=""), step))
    return effects


def shadow_of(state: State, name: str) -> int | None:
    """The number of the shadow in which an outside agent decides now; None in the house."""
    policy_number = state.rules.outside_seat(name)
    return next((k for k, shadow in enumerate(state.shadows) if policy_number in shadow.seats), None)


def houses_of(state: State, shadow: str) -> list[State]:
    """The house for "", else that of the named shadow; none for an unknown name."""
    return [house for house in state.shadows if house.rules.agents[0].name == shadow] if shadow else [state]


def _proposed(state: State, proposal: Proposed, step: Step) -> Sequence[Effect]:
    """Step a proposal in the house or shadow where its agent decides now, and record its verdict."""
    state.now = max(state.now, proposal.ts)
    log = state.outside.setdefault(proposal.agent, ProposalLog())
    if proposal.id in log.ids:
        return refusal(state, proposal, f"a proposal {proposal.id!r} was decided before")
    k = shadow_of(state, proposal.agent)
    effects = step(state, proposal) if k is None else _one(state, k, proposal, step)
    where = state if k is None else state.shadows[k]
    policy_number = state.rules.outside_seat(proposal.agent)
    number = next((n for n, decider in enumerate(where.seats) if decider == policy_number), 0)
    verdict = verdict_of(proposal, where.rules.agents[number].name, k is not None, number, effects)
    if state.reviews.get(proposal.agent) is proposal:
        log.note(msgspec.structs.replace(verdict, outcome="approval"))
        return effects
    log.note(verdict)
    if verdict.outcome != "refused":
        note_decision(state, number if k is None else len(state.agents) + k)
    return effects


def _reviewed(state: State, review: ProposalReviewed, step: Step) -> Sequence[Effect]:
    """Step a person's decision on a proposal, and record the verdict of one that is approved."""
    proposal = state.reviews.get(review.agent)
    effects = step(state, review)
    if proposal is None or not review.approve or review.agent in state.reviews:
        return effects
    number = next(
        n for n, policy_number in enumerate(state.seats) if policy_number == state.rules.outside_seat(review.agent)
    )
    state.outside[review.agent].settle(verdict_of(proposal, state.rules.agents[number].name, False, number, effects))
    note_decision(state, number)
    return effects


def _commanded(state: State, k: int, order: Operator, step: Step) -> Sequence[Effect]:
    if order.command == "flatten":
        state.now = max(state.now, order.ts)
        text = f"{order.agent} is a shadow: there is nothing of it to sell. `halt` stops it"
        return refuse_command(state, "command", "operator", text)
    return _one(state, k, order, step)


def _one(state: State, k: int, event: Event, step: Step) -> list[Effect]:
    """The effects of an event in one shadow, for the house's shell."""
    if not 0 <= k < len(state.shadows):
        return []
    shadow, number = state.shadows[k], len(state.agents) + k
    records: list[Effect] = []
    outward: list[Effect] = []
    for effect in step(shadow, event):
        match effect:
            case Ask():
                outward.append(Ask(effect.round, number, effect.view, effect.memory, effect.policy))
            case Publish():
                outward.append(_shadow_alert(shadow, effect))
            case Refused():
                outward.append(effect)
            case Assessed() | LimitMoved() | Crossed() | Snapshot() | Stop() | Reallocated() | Promotion() | Shadowed():
                pass  # effects of a real account or of its jobs, which a shadow does not have
            case _:
                records.append(effect)
    if not records:
        return outward
    # each effect that is left is in the union of records
    return [Shadowed(number, records, shadow.rules.agents[0].name), *outward]  # type: ignore[arg-type]


def _shadow_alert(shadow: State, effect: Publish) -> Publish:
    """An alert with the shadow's name. No money is at risk, so none is CRITICAL."""
    level = "WARNING" if effect.level == "CRITICAL" else effect.level
    text = f"shadow: {effect.text}"
    return msgspec.structs.replace(effect, level=level, text=text, agent=shadow.rules.agents[0].name)
