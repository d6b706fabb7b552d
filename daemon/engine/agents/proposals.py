"""Targets from outside for the book of a portfolio or of an outside agent. They are planned at once, by the same plan
and gate as a policy's decision.

A proposal that cannot be carried out is refused as a whole, with an alert that gives the reason.

What can go wrong: a proposal is sent twice, arrives late, or is for other prices than its sender saw. Its id is
executed once, and it may expire. It may have the digest of a dry run: it is then planned on a copy of the state, and
refused where the orders would differ. Targets of more than MOST_LEVERAGE times the book are a mistake of units.

A proposal that needs approval waits until the next sample only, because its prices and books are those of the last.
When a person approves it, every check is made again.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import inf
from typing import Final

import msgspec
import numpy as np

from quantd.daemon.engine.core.lacks import EXIT
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.proposal_log import Outcome, plans_of
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.account import agent_of
from quantd.risk.limits.catalogue import Reason
from quantd.risk.switch import HALT
from quantd.trading.effects import Effect, Level, Publish, Refused
from quantd.trading.events import ProposalReviewed, Proposed
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket, OrderState

PLAN_BYTES: Final = 16
"""Length of the digest of a plan."""

MOST_LEVERAGE: Final = 10.0
"""Largest sum of absolute target weights from outside, as of any policy; the limits are far below."""


def on_proposed(state: State, proposal: Proposed) -> Sequence[Effect]:
    """Plan targets from outside, or store them until the person whose approval they need decides."""
    if why := not_planned(state, proposal) or _differs_from_dry_run(state, proposal, proposal.plan):
        return refusal(state, proposal, why)
    if state.rules.outside_seat(proposal.agent) in state.rules.reviewed:
        return _store_for_review(state, proposal)
    return _plan_targets(state, proposal)


def on_proposal_reviewed(state: State, review: ProposalReviewed) -> Sequence[Effect]:
    """Plan a proposal that a person approves; drop a proposal that is declined.

    The review is refused where this proposal waits no longer. An approval is also refused where the proposal cannot be
    planned now, or where its orders would differ from the dry run that the person saw. The proposal then keeps waiting.
    """
    proposal, before = state.reviews.get(review.agent), f"the proposal {review.id} was not approved: "
    because = f"{review.who}: {review.reason}"
    if proposal is None or proposal.id != review.id:
        text = f"no proposal {review.id!r} of {review.agent} waits; it was decided, replaced or has lapsed"
        return refuse_command(state, "conflict", "proposal", text)
    if not review.approve:
        del state.reviews[review.agent]
        decide(state, proposal, "declined", because)
        return [_proposal_alert(state, proposal, "INFO", f"was declined ({because})")]
    if why := not_planned(state, proposal) or _differs_from_dry_run(state, proposal, review.plan):
        return refuse_command(state, "conflict", "proposal", why, before=before)
    del state.reviews[review.agent]
    return [_proposal_alert(state, proposal, "INFO", f"was approved ({because})"), *_plan_targets(state, proposal)]


def lapse(state: State) -> list[Effect]:
    """Drop the proposals that waited for a person until this sample: their prices and books are out of date."""
    waiting, state.reviews = state.reviews, {}
    return [_lapse(state, proposal, "lapsed: nobody decided before the next sample") for proposal in waiting.values()]


def _store_for_review(state: State, proposal: Proposed) -> list[Effect]:
    """Store a proposal until a person decides; it replaces an earlier one of the same agent that waits."""
    older = state.reviews.get(proposal.agent)
    effects: list[Effect] = []
    if older is not None:
        effects.append(_lapse(state, older, f"replaced by the proposal {proposal.id}"))
    state.reviews[proposal.agent] = proposal
    notice = _proposal_alert(state, proposal, "WARNING", f"waits for a person until the next sample: {proposal.reason}")
    return [*effects, notice]


def _lapse(state: State, proposal: Proposed, why: str) -> Effect:
    """Record that a waiting proposal of targets has lapsed; returns the alert."""
    decide(state, proposal, "lapsed", why)
    return _proposal_alert(state, proposal, "WARNING", why)


def _proposal_alert(state: State, proposal: Proposed, level: Level, what: str) -> Publish:
    """Return an alert about a proposal of targets from outside; `what` is the predicate of its text."""
    number = book_of(state, proposal)
    text = f"proposal {proposal.id} of {proposal.agent} {what}"
    return alert(state, level, "proposal", text, agent=HOUSE if number is None else number)


def decide(state: State, proposal: Proposed, outcome: Outcome, why: str) -> None:
    """Record the outcome of a proposal that waited for a person, in the log of its verdicts."""
    log = state.outside.get(proposal.agent)
    verdict = None if log is None else log.find(proposal.id)
    if log is not None and verdict is not None:
        log.settle(msgspec.structs.replace(verdict, outcome=outcome, why=why))


def _differs_from_dry_run(state: State, proposal: Proposed, expected: str) -> str:
    """Return the reason to refuse targets whose plan differs from their dry run, which has the digest `expected`.

    Returns empty text if the digests are equal, or if `expected` is empty.
    """
    if not expected:
        return ""
    copy = thaw(state.rules, freeze(state))
    copy.now = state.now
    if plan_digest(proposal, _plan_targets(copy, proposal)) == expected:
        return ""
    return "the market or the books have changed since the dry run, and the orders would differ now"


def not_planned(state: State, proposal: Proposed) -> str:
    """Return the reason why targets are refused before they are planned; empty when they may be planned.

    Whether the plan differs from the dry run is checked later, by `_differs_from_dry_run`.
    """
    book_index = book_of(state, proposal)
    if book_index is None or book_index < 0:  # -1 is the unallocated book
        return f"there is no agent named {proposal.agent!r}"
    portfolio = state.portfolios.get(book_index)
    if portfolio is None and state.seats[book_index] not in state.rules.outside:
        return f"{proposal.agent} decides by its own policy; only a portfolio and an outside agent propose targets"
    if portfolio is not None and proposal.portfolio not in ("", portfolio.name):
        return f"{proposal.agent} is the place of the portfolio {portfolio.name} now, not of {proposal.portfolio}"
    if portfolio is not None and portfolio.closing:
        return "the portfolio is being closed"
    if not proposal.id:
        return "the proposal has no id"
    if 0 < proposal.expires < state.now:
        return "the proposal has expired"
    if state.switch.state == HALT or state.flattening:
        return "everything is being sold" if state.flattening else f"the house is halted ({state.switch.reason})"
    if (switch := state.agents[book_index].switch).state == HALT:
        return f"{proposal.agent} is halted ({switch.reason}); only a person can resume it"
    if not state.sample:
        return "no session has closed yet, so there is no price to trade at"
    if state.round is not None:  # answers of the agents of one instant are awaited
        return "a round is in progress"
    if bool(proposal.weights) == bool(proposal.lots):
        return "either weights or lots are required"
    targets = np.frombuffer(proposal.weights or proposal.lots, dtype=np.float64 if proposal.weights else np.int64)
    if len(targets) != state.universe.size:
        return f"there are {len(targets)} targets for {state.universe.size} symbols"
    if not np.isfinite(targets).all():
        return "a weight is not finite"
    leverage = _leverage(state, book_index, targets.astype(np.float64), lots=bool(proposal.lots))
    if not leverage <= MOST_LEVERAGE:
        return f"its targets are {leverage:.6g} times the book; more than {MOST_LEVERAGE:g} is a mistake of units"
    return ""


def skips_of(house: State, number: int, proposal: Proposed) -> dict[int, str]:
    """The columns whose target weight differs from the weight held, and that no plan may trade now, with the reason."""
    agent, rules, lots = house.agents[number], house.rules.agents[number], house.lots(number)
    weights, equity = np.frombuffer(proposal.weights), max(house.equity_of(number), 1) / MICRO
    if len(weights) != len(lots):
        return {}  # lots in place of weights reach the limits as they are, also without a fresh price
    reasons = {
        work.basket.sym[row]: "its open order is cancelled first, and it is traded later"
        for work in house.working.values()
        for row, who, _ in work.open_shares()
        if who == number and work.state[row] == OrderState.CANCELLING
    }
    reasons |= dict.fromkeys(agent.exits, OF_CODE[EXIT].text)
    old = ~(house.now - house.mark_ts <= rules.limits.max_price_age_ns) | ~np.isfinite(house.marks)
    reasons |= dict.fromkeys(np.flatnonzero(old).tolist(), OF_CODE[Reason.PRICE_AGE].text)
    least = np.maximum(rules.min_trade, np.nan_to_num(house.lot_values()) / equity)
    differs = (np.abs(weights - house.held_weights(number)) >= least) | ((weights == 0.0) & (lots != 0))
    return {k: why for k, why in reasons.items() if differs[k]}


def refusal(state: State, proposal: Proposed, why: str) -> tuple[Publish, Refused]:
    """Return the effects of a proposal of targets that is refused as a whole: an alert and the refusal."""
    return refuse_command(state, "refused", "proposal", why, before=f"the targets for {proposal.agent} were refused: ")


def book_of(state: State, proposal: Proposed) -> int | None:
    """Return the index of a proposal's book: the place of its portfolio, or the book that its outside agent decides for
    in this house.

    None for an unknown name, and for an outside agent that decides in another house (account or shadow).
    """
    policy_number = state.rules.outside_seat(proposal.agent)
    if policy_number is None:
        return agent_of(state, proposal.agent)
    return state.seats.index(policy_number) if policy_number in state.seats else None


def _leverage(state: State, number: int, targets: Floats, *, lots: bool) -> float:
    """Return the gross exposure of `targets`, float64[N], as a fraction of the equity of the book with the index
    `number`.

    `targets` are weights, or with `lots` signed lots to order. Lots have infinite exposure if equity is not positive.
    """
    with np.errstate(over="ignore"):
        if not lots:
            return float(np.abs(targets).sum())
        state.revalue()
        worth = float((np.abs(targets) * state.lot_values()).sum())
    equity = state.books_micro[number] / MICRO
    return worth / equity if equity > 0.0 else inf


def plan_digest(proposal: Proposed, effects: Sequence[Effect]) -> str:
    """Return the hex BLAKE2b of targets and of the orders planned for them, with their worst prices, but without any
    instant.

    Protective stops (orders with `stop_nano`) and orders of other plans are omitted.
    """
    plans = plans_of(effects)
    sent = {(planned.sample, planned.n) for planned in plans}
    rows = [
        [proposal.agent, proposal.weights, proposal.lots],
        *(
            [
                planned.net,
                planned.allowed,
                planned.crossed,
                [(agent_plan.agent, agent_plan.asked, agent_plan.allowed) for agent_plan in planned.agents],
            ]
            for planned in plans
        ),
        *(
            [effect.sym, effect.lots, effect.worst_nano]
            for effect in effects
            if isinstance(effect, OrderBasket) and not effect.stop_nano and (effect.sample, effect.n) in sent
        ),
    ]
    return blake2b(msgspec.msgpack.encode(rows), digest_size=PLAN_BYTES).hexdigest()


def _plan_targets(state: State, proposal: Proposed) -> list[Effect]:
    """Plan the targets of a proposal that is not refused, and record them: weights, or lots in place of weights."""
    number = book_of(state, proposal)
    assert number is not None
    portfolio = state.portfolios.get(number)
    state.agents[number].follow_up.drop()
    state.revalue()
    lots = np.frombuffer(proposal.lots, dtype=np.int64).astype(np.float64) if proposal.lots else None
    weights = proposal.weights if lots is None else state.held_weights(number, lots).tobytes()
    if portfolio is None:
        text = f"proposal {proposal.id} of {proposal.who}: {proposal.reason}"
        state.agents[number].note = text
    else:
        portfolio.targets, portfolio.proposal, portfolio.proposed = weights, proposal.id, state.now
        portfolio.basis = proposal.basis or portfolio.basis
        basis_text = f", computed by {proposal.basis}" if proposal.basis not in ("", "weights") else ""
        text = f"portfolio {portfolio.name}: proposal {proposal.id} of {proposal.who}{basis_text}: {proposal.reason}"
        portfolio.because = text
    return [
        alert(state, "INFO", "proposal", text, agent=number),
        *plan(
            state,
            {number: weights},
            watch=watch_plan,
            sample=state.sample,
            lots=None if lots is None else {number: lots},
        ),
    ]
