"""Shadow agents: each is a house of one agent with notional capital, on the same market and behind the same gate.

The orders of a shadow go to a simulated venue of its own. Its effects are wrapped in `Shadowed`; its Asks and alerts
carry an agent number after those of the house, the real account. A shadow does not affect the house's books, orders and
kill switch. The items of the market are no events of this module: `runtime.shadow_log` says who takes them.

What can go wrong: a shadow changes what the real house does. Therefore the house is stepped first, and its effects come
first. A shadow gets the items of the market, its own answers and reports, and operators' commands that name it. Jobs
belong to the house, and so do records of limits, crosses (trades between agents) and snapshots, which are left out of a
shadow's effects.

The verdict on a proposal for a portfolio or an outside agent is recorded here. The same agent may decide in a shadow
now and in the house later, and each id is decided once only, in whichever of them.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from quantd.daemon.engine.agents.portfolios import book_name, place_of
from quantd.daemon.engine.agents.promotion import note_decision
from quantd.daemon.engine.agents.proposals import book_of, refusal, skips_of, waiting_for
from quantd.daemon.engine.planning.targets import scaled_out
from quantd.daemon.engine.safety.alerts import refuse_command
from quantd.daemon.engine.safety.proposal_ends import count_orders
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import ProposalLog, ProposalVerdict, verdict_of
from quantd.daemon.engine.state.stop_records import STOP, TARGET
from quantd.trading.effects import (
    Ask,
    Assessed,
    Crossed,
    Effect,
    LimitMoved,
    Planned,
    Promotion,
    ProposalEnded,
    Publish,
    Reallocated,
    Refused,
    Shadowed,
    Snapshot,
    Stop,
)
from quantd.trading.events import Decided, Event, Halted, Operator, ProposalReviewed, Proposed, ShadowReport
from quantd.trading.market import JumpExplained
from quantd.trading.orders import ScheduleRun

Step = Callable[[State, Event], Sequence[Effect]]


def step_shadows(state: State, event: Event, step: Step) -> Sequence[Effect]:
    """Step an event in the whole account and in its shadows (on paper); the house's effects come first.

    An event that names a shadow is stepped in that shadow alone; a ShadowReport is a report of a shadow's simulated
    venue. Trading halts and explanations of price jumps are stepped in all shadows too. Runs of schedules are split by
    the agents that are due. Any other event is of the house alone.
    """
    first_shadow_number = len(state.agents)
    if state.awaiting or any(shadow.awaiting for shadow in state.shadows):
        step = _settling(state, step)
    if isinstance(event, Decided) and not event.failed:
        note_decision(state, event.agent)
    if isinstance(event, ShadowReport):
        return _step_shadow(state, event.agent - first_shadow_number, event.news, step)
    if isinstance(event, Operator) and event.agent:
        names = [shadow.rules.agents[0].name for shadow in state.shadows]
        if event.agent in names:
            return _step_command(state, names.index(event.agent), event, step)
    if isinstance(event, Proposed) and not event.by_hand:
        return _step_proposal(state, event, step)
    if isinstance(event, ProposalReviewed):
        return _step_review(state, event, step)
    if isinstance(event, ScheduleRun):
        return _step_schedule_run(state, event, step)
    effects = step(state, event)
    if isinstance(event, Halted | JumpExplained):
        for k in range(len(state.shadows)):
            shadow_effects = _step_shadow(state, k, event, step)
            effects = [*effects, *shadow_effects] if shadow_effects else effects
    return effects


def on_shadow_report(state: State, shade: ShadowReport) -> Sequence[Effect]:
    """Do nothing. A ShadowReport arrives here only if its shadow (agent on paper) no longer exists; else `step_shadows`
    handles it."""
    return ()


def _step_schedule_run(state: State, run: ScheduleRun, step: Step) -> Sequence[Effect]:
    """Step a schedule that runs now in the whole account, and in the shadows (on paper) that are due."""
    first_shadow_number = len(state.agents)
    effects = list(step(state, msgspec.structs.replace(run, due=tuple(n for n in run.due if n < first_shadow_number))))
    for number in run.due:
        if number >= first_shadow_number:
            effects.extend(
                _step_shadow(state, number - first_shadow_number, msgspec.structs.replace(run, due=(0,), job=""), step)
            )
    return effects


def shadow_of(state: State, name: str) -> int | None:
    """Return the index of the shadow in which an outside agent decides now; None where it decides in the whole
    account."""
    policy_number = state.rules.outside_seat(name)
    return next((k for k, shadow in enumerate(state.shadows) if policy_number in shadow.seats), None)


def place_of_book(state: State, name: str) -> tuple[State, int, int | None] | None:
    """Return (state with the book of a portfolio, or for which an outside agent decides, index of this book, index of
    the agent's shadow or None).

    The result is None for another name, and if the agent decides for no book. A shadow has a separate, simulated state.
    """
    policy_index = state.rules.outside_seat(name)
    if policy_index is None:
        place_index = place_of(state, name)
        return None if place_index is None else (state, place_index, None)
    shadow_index = shadow_of(state, name)
    house = state if shadow_index is None else state.shadows[shadow_index]
    return (house, house.seats.index(policy_index), shadow_index) if policy_index in house.seats else None


def houses_of(state: State, shadow: str) -> list[State]:
    """Return a list with the house if `shadow` is empty, else with the state of the shadow (agent on paper) of that
    name; empty for an unknown name."""
    return [house for house in state.shadows if house.rules.agents[0].name == shadow] if shadow else [state]


def _step_proposal(state: State, proposal: Proposed, step: Step) -> Sequence[Effect]:
    """Step a proposal in the whole account or shadow that has its book, and record its verdict.

    A proposal that waits for a person's approval is among the `reviews`; no decision is noted for it yet. A name that
    may not propose is refused without a record.
    """
    state.now = max(state.now, proposal.ts)
    shadow_index = shadow_of(state, proposal.agent)
    house = state if shadow_index is None else state.shadows[shadow_index]
    number = book_of(house, proposal)
    if number is None or number < 0 or not (number in house.portfolios or house.seats[number] in state.rules.outside):
        return step(state, proposal)
    log = state.outside.setdefault(proposal.agent, ProposalLog())
    exits = [proposal.id + name for name in (TARGET, STOP) if proposal.orders and proposal.orders[0].exits]
    if used := [id for id in (proposal.id, *exits) if id in log.ids]:
        return refusal(state, proposal, f"a proposal {used[0]!r} was decided before")
    effects = step(state, proposal) if shadow_index is None else _step_shadow(state, shadow_index, proposal, step)
    verdict = _verdict(proposal, house, number, effects, shadow=shadow_index is not None)
    if proposal in state.reviews:
        log.note(msgspec.structs.replace(verdict, outcome="approval"))
        return effects
    sent = verdict.outcome != "refused"
    if sent or not proposal.whole:  # the id of an order that was not sent stays free
        log.note(verdict)
    log.ids |= dict.fromkeys(exits if sent else (), proposal.ts)
    if proposal.whole:
        effects = [*effects, *count_orders(state, proposal.agent, sent)]
    if not verdict.why:
        note_decision(state, number if shadow_index is None else len(state.agents) + shadow_index)
    return effects


def _verdict(
    proposal: Proposed, house: State, number: int, effects: Sequence[Effect], *, shadow: bool
) -> ProposalVerdict:
    """The verdict on a proposal for the book with index `number` of a house (the account or a shadow)."""
    weights = np.frombuffer(proposal.weights)
    scaled = scaled_out(house, number, weights) if len(weights) == house.universe.size else {}
    skips = skips_of(house, number, proposal)
    return verdict_of(proposal, book_name(house, number), shadow, number, effects, skips, scaled)


def _step_review(state: State, review: ProposalReviewed, step: Step) -> Sequence[Effect]:
    """Step a person's decision on a proposal, and record the verdict of one that is approved.

    Nothing is recorded where the proposal was declined, or still waits because the approval was refused.
    """
    proposal = waiting_for(state, review.agent, review.id)
    effects = step(state, review)
    if proposal is None or not review.approve or proposal in state.reviews:
        return effects
    number = next(
        n for n, policy_number in enumerate(state.seats) if policy_number == state.rules.outside_seat(review.agent)
    )
    state.outside[review.agent].settle(_verdict(proposal, state, number, effects, shadow=False))
    note_decision(state, number)
    return effects


def _settling(account: State, step: Step) -> Step:
    """`step`, followed by the verdicts on held orders that it sent or ended."""

    def run(house: State, event: Event) -> Sequence[Effect]:
        waiting = list(house.awaiting)
        effects = step(house, event)
        settle_held(account, house, waiting, effects)
        return effects

    return run


def settle_held(account: State, house: State, waiting: Sequence[Proposed], effects: Sequence[Effect]) -> None:
    """Record the verdicts on held orders of a house (the account or a shadow): those that were `waiting` before a step,
    and that the step with these effects sent or ended."""
    for proposal in waiting:
        log, number = account.outside.get(proposal.agent), book_of(house, proposal)
        if (
            waiting_for(house, proposal.agent, proposal.id, held=True)
            or proposal.by_hand
            or log is None
            or number is None
        ):
            continue
        of_it = [
            effect
            for effect in effects
            if not isinstance(effect, Planned) or any(part.cause == proposal.cause for part in effect.agents)
        ]
        verdict = _verdict(proposal, house, number, of_it, shadow=house is not account)
        ends = [effect for effect in of_it if isinstance(effect, ProposalEnded) and effect.id == proposal.id]
        if ends:
            verdict = msgspec.structs.replace(verdict, outcome=ends[0].outcome, why=ends[0].why)
        else:
            shadow = next((k for k, other in enumerate(account.shadows) if other is house), None)
            note_decision(account, number if shadow is None else len(account.agents) + shadow)
        log.settle(verdict)


def _step_command(state: State, k: int, order: Operator, step: Step) -> Sequence[Effect]:
    """Step an operator's command in shadow `k` (agent on paper); a `flatten` is refused."""
    if order.command == "flatten":
        state.now = max(state.now, order.ts)
        text = f"{order.agent} is a shadow: there is nothing of it to sell. `halt` stops it"
        return refuse_command(state, "command", "operator", text)
    return _step_shadow(state, k, order, step)


def _step_shadow(state: State, k: int, event: Event, step: Step) -> list[Effect]:
    """Step an event in shadow `k` (agent on paper); returns its effects as effects of the whole account."""
    return as_of_account(state, k, step(state.shadows[k], event)) if 0 <= k < len(state.shadows) else []


def as_of_account(state: State, k: int, effects: Sequence[Effect]) -> list[Effect]:
    """The effects of shadow `k` (agent on paper) as effects of the whole account.

    Records are wrapped in one `Shadowed`. Asks and alerts are returned by themselves, with the agent number or the name
    of the shadow.
    """
    shadow, number = state.shadows[k], len(state.agents) + k
    records: list[Effect] = []
    outward: list[Effect] = []
    for effect in effects:
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
    # every effect in `records` is of a type that Shadowed may have
    return [Shadowed(number, records, shadow.rules.agents[0].name), *outward]  # type: ignore[arg-type]


def _shadow_alert(shadow: State, effect: Publish) -> Publish:
    """Return an alert with the shadow's name. No money is at risk, so none is CRITICAL."""
    level = "WARNING" if effect.level == "CRITICAL" else effect.level
    text = f"shadow: {effect.text}"
    return msgspec.structs.replace(effect, level=level, text=text, agent=shadow.rules.agents[0].name)
