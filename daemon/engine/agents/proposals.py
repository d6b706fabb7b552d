"""Targets from outside for the book of a portfolio or of an outside agent, and orders by hand for any book. They are
planned at once, by the same plan and gate as a policy's decision.

A proposal that cannot be carried out is refused as a whole, with an alert that gives the reason.

What can go wrong: a proposal is sent twice, arrives late, or is for other prices than its sender saw. Its id is
executed once, and it may expire. It may have the digest of a dry run: it is then planned on a copy of the state, and
refused where the orders would differ. Targets of more than MOST_LEVERAGE times the book are a mistake of units.

A proposal that needs approval waits until the next sample, because its prices and books are those of the last, or as
long as its book's `within` says. What the limits would refuse does not wait. When a person approves it, every
check is made again. Orders wait beside each other; new weights replace weights that wait. Each end without an order is
an effect (`ProposalEnded`), because it comes long after the answer to the sender.

A limit price beyond the collar is refused, and not narrowed: the sender would believe in another order.

Orders for a closed market would pass limits that know a price of yesterday, and on a Monday none, because no price is
fresh. So the engine holds them (`state.awaiting`) until each of their symbols has a price of its session, and asks the
gate then. They reserve nothing meanwhile. At HALT, and while everything is sold, they end. With daily bars nothing is
held: the fill after a close is the next open, as for every decision. Stop orders wait beside them, for their price
(`stop_orders`).
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain, count
from math import inf
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.agents.stop_orders import (
    due,
    fired,
    not_passing,
    refused_stop,
    replacing,
    stop_of,
    wait_text,
    with_expiry,
    wrong_exits,
    wrong_stop,
)
from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.core.lacks import EXIT
from quantd.daemon.engine.planning.gate_account import market_context
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.rests import NO_INTENT, meeting
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.devices import of_proposal, signature_fault
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.safety.proposal_ends import end_late, nothing_passes, refused_whole
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.proposal_log import plans_of
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.state.stop_records import Intent, Own
from quantd.daemon.engine.venue.account import agent_of
from quantd.risk.limits.catalogue import Reason
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.switch import HALT
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect, Level, OrdersHeld, ProposalEnded, Publish, Refused
from quantd.trading.events import DeviceSignature, Event, ProposalReviewed, Proposed
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket, OrderState, Wish, price_text, quantity_text, side_text

PLAN_BYTES: Final = 16
"""Length of the digest of a plan."""

MOST_WAITING: Final = 16
"""Largest number of an agent's proposals that wait for a person at one time."""

MOST_LEVERAGE: Final = 10.0
"""Largest sum of absolute target weights from outside, as of any policy; the limits are far below."""


def on_proposed(state: State, proposal: Proposed) -> Sequence[Effect]:
    """Plan targets from outside, or store them until the person whose approval they need decides.

    An order by hand is of a person already.
    """
    if proposal.by_hand:
        return _plan_by_hand(state, proposal)
    if why := not_planned(state, proposal) or _differs_from_dry_run(state, proposal, proposal.plan):
        return refusal(state, proposal, why)
    if proposal.replaces:
        return _replace(state, proposal)
    if (seat := state.rules.outside_seat(proposal.agent)) is not None and state.rules.approval_of(seat):
        return _store_for_review(state, proposal)
    return _held(state, proposal) or plan_targets(state, proposal)


def on_proposal_reviewed(state: State, review: ProposalReviewed) -> Sequence[Effect]:
    """Plan a proposal that a person approves; drop a proposal that is declined.

    The review is refused where this proposal waits no longer. An approval is also refused where the proposal cannot be
    planned now, where its orders would differ from the dry run that the person saw, and where it needs the signature of
    a device and has none. The proposal then keeps waiting.
    """
    before, because = f"the proposal {review.id} was not approved: ", f"{review.who}: {review.reason}"
    proposal = waiting_for(state, review.agent, review.id, held=not review.approve)
    if proposal is None or _is_late(state, proposal):
        text = f"no proposal {review.id!r} of {review.agent} waits; it was decided, replaced or has lapsed"
        return refuse_command(state, "conflict", "proposal", text)
    if not review.approve:
        return _end(state, proposal, "declined", because, "INFO", f"was declined ({because})")
    why = unsigned(state, proposal, review.signed, review.plan, review.ts) or not_planned(state, proposal)
    if why := why or _differs_from_dry_run(state, proposal, review.plan):
        return refuse_command(state, "conflict", "proposal", why, before=before)
    state.reviews.remove(proposal)
    effects = _held(state, proposal) or plan_targets(state, proposal)
    return [_proposal_alert(state, proposal, "INFO", f"was approved ({because})"), *effects]


def _replace(state: State, proposal: Proposed) -> Sequence[Effect]:
    """Put an order in the place of an open one of its sender, or refuse it: then the open one stays as it is.

    One that the engine holds ends at once. One at the venue is cancelled, and the new order is held until it has ended.
    """
    earlier, name = f"{proposal.agent}/{proposal.replaces}", proposal.replaces
    held = next((waiting for waiting in state.awaiting if waiting.cause == earlier), None)
    if any(earlier in bracket.causes for bracket in state.brackets):
        return refusal(state, proposal, f"{name} is of a bracket, which is not replaced; cancel it, and send another")
    if (seat := state.rules.outside_seat(proposal.agent)) is not None and state.rules.approval_of(seat):
        return refusal(state, proposal, "each order of it waits for a person; cancel the order, and send another")
    if held is not None and not held.replaces:
        place = state.awaiting.index(held)
        state.awaiting.remove(held)
        effects = _held(state, proposal) or plan_targets(state, proposal)
        if any(isinstance(effect, Refused) for effect in effects):
            state.awaiting.insert(place, held)
            return effects
        return [*effects, ProposalEnded(state.now, held.agent, held.id, "replaced", f"replaced by {proposal.id}")]
    rows = [
        (work, row)
        for work in state.working.values()
        if work.cause == earlier
        for row in dict.fromkeys(row for row, _, _ in work.open_shares())
        if work.state[row] != OrderState.CANCELLING
    ]
    book = book_of(state, proposal)
    if not rows or book is None or held is not None:
        return refusal(state, proposal, f"no order {name!r} of {proposal.agent} is open: it has ended, or is ending")
    ((work, row),), (wish,) = rows, proposal.orders
    if why := not_passing(state, book, wish, frozenset({((work.sample, work.n), row)})):
        return refusal(state, proposal, why)
    state.awaiting.append(proposal)
    text = f"held until the order {name}, which it replaces, has ended"
    return [work.cancel(row, state.now), OrdersHeld(state.now, proposal.agent, proposal.id, text)]


def unsigned(state: State, proposal: Proposed, signed: DeviceSignature | None, plan: str, now: int) -> str:
    """Why an approval of `plan` lacks the signature of a device that it needs; empty where it needs none or has it."""
    seat = state.rules.outside_seat(proposal.agent)
    if seat is None or state.rules.approval_of(seat) != "device":
        return ""
    if not plan:
        return "it names no plan; sign the plan that `quantd review` shows"
    fields = of_proposal(proposal.agent, proposal.id, proposal.ts, plan)
    return signature_fault(state.rules.approvals, signed, fields, now)


def waiting_for(state: State, agent: str, id: str, *, held: bool = False) -> Proposed | None:
    """The proposal `id` for `agent` that waits for a person, or if `held` for a first price; None if it does not."""
    waiting = [*state.reviews, *state.awaiting] if held else state.reviews
    return next((proposal for proposal in waiting if (proposal.agent, proposal.id) == (agent, id)), None)


@idle_when(lambda state: not state.awaiting)
def release_held(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects of an event, followed by those of held orders whose markets have their first price now.

    They are planned as if they came now. They end where their sender may not trade any more, or wants them no longer.
    """
    # an order that is sent in this loop may end a held order of its position behind it
    for waiting in filter(lambda held: held in state.awaiting, list(state.awaiting)):
        proposal = replacing(state, waiting)
        stop = stop_of(proposal)
        waits = bool(awaited_price(state, proposal.orders) or proposal.replaces)
        waits = waits or (stop is not None and not due(state, proposal, stop))
        sent = proposal if stop is None else fired(state, book_of(state, proposal), proposal)
        quick = stop is not None or proposal.replaces
        halted = f"the house is halted ({state.switch.reason})" if state.switch.state == HALT else ""
        why = halted if proposal.by_hand else _barred(state, sent) if waits and quick else not_planned(state, sent)
        if state.round is not None or (not why and waits):
            continue
        if why:
            late = 0 < proposal.expires < state.now
            effects = [*effects, *_end(state, proposal, "lapsed" if late else "refused", why)]
            continue
        state.awaiting.remove(proposal)
        planned = _plan_by_hand(state, sent) if proposal.by_hand else plan_targets(state, sent)
        refused = next((effect.text for effect in planned if isinstance(effect, Refused)), "")
        ended: list[Effect] = (
            [ProposalEnded(state.now, proposal.agent, proposal.id, "refused", refused)] if refused else []
        )
        if refused and stop is not None:
            ended.insert(
                0, _proposal_alert(state, proposal, "WARNING", f"is a stop order that fired in vain: {refused}")
            )
        effects = [*effects, *(effect for effect in planned if not isinstance(effect, Refused)), *ended]
    return effects


def awaited_price(state: State, orders: Sequence[Wish]) -> str:
    """What orders wait for: the first price of each symbol whose market is closed, or has just opened; empty where
    every symbol has a price of its session."""
    waits = [] if state.rules.daily else [wish.symbol for wish in orders if not state.priced_today(wish.symbol)]
    if not waits:
        return ""
    sessions = state.rules.sessions[state.rules.calendar[waits[0]]]
    opens = sessions.open_ns[sessions.next_close(state.now)]
    names = ", ".join(state.universe.symbols[symbol] for symbol in waits)
    market = f"the market opens at {instant_text(opens)}" if opens > state.now else "the market is open"
    return f"held until the first price of {names} in its session; {market}"


def held_text(state: State, proposal: Proposed) -> str:
    """What a proposal that the engine holds waits for: a first price, or the price of its stop order."""
    stop = stop_of(proposal)
    return awaited_price(state, proposal.orders) or (wait_text(state, stop) if stop is not None else "")


def _held(state: State, proposal: Proposed) -> list[Effect]:
    """Hold orders whose market is closed; returns the record and an alert, and nothing where they can be sent now."""
    why, stop, book = held_text(state, proposal), stop_of(proposal), book_of(state, proposal)
    if stop is not None and book is not None:
        proposal = with_expiry(state, proposal)
        if not awaited_price(state, proposal.orders) and (refused := refused_stop(state, book, stop)):
            return [*refusal(state, proposal, refused)]
    if not why:
        return []
    state.awaiting.append(proposal)
    notices = [] if proposal.whole else [_proposal_alert(state, proposal, "INFO", f"is {why}")]
    return [*notices, OrdersHeld(state.now, proposal.agent, proposal.id, why)]


def lapse(state: State, sampled: bool) -> list[Effect]:
    """Drop the proposals whose time to wait for a person is over; `sampled` is True at a sample."""
    late = [
        proposal
        for proposal in state.reviews
        if _is_late(state, proposal) or (sampled and not within_of(state, proposal))
    ]
    return [effect for proposal in late for effect in _end(state, proposal, "lapsed", "lapsed: nobody decided in time")]


def within_of(state: State, proposal: Proposed) -> int:
    """How long a proposal waits for a person, in ns; 0 for until the next sample."""
    seat = state.rules.outside_seat(proposal.agent)
    return 0 if seat is None else state.rules.reviewed.get(seat, 0)


def _is_late(state: State, proposal: Proposed) -> bool:
    """Whether a proposal waited as long as it may, or its sender wants it no longer."""
    within = within_of(state, proposal)
    return 0 < proposal.expires < state.now or 0 < within < state.now - proposal.ts


def _store_for_review(state: State, proposal: Proposed) -> Sequence[Effect]:
    """Store a proposal until a person decides. New weights replace weights of the same agent that wait.

    A proposal that the limits would refuse now is refused, and does not wait.
    """
    copy = thaw(state.rules, freeze(state))
    copy.now = state.now
    dry_run = _held(copy, proposal) or plan_targets(copy, proposal)
    refused = next((effect.text for effect in dry_run if isinstance(effect, Refused)), "")
    if refused or (proposal.orders and nothing_passes(dry_run)):
        return refusal(state, proposal, refused or refused_whole(copy, dry_run))
    waiting = [older for older in state.reviews if older.agent == proposal.agent]
    replaced = [older for older in waiting if older.weights and proposal.weights]
    if len(waiting) - len(replaced) >= MOST_WAITING:
        return refusal(state, proposal, f"{len(waiting)} of its proposals wait for a person already")
    why = f"replaced by the proposal {proposal.id}"
    effects = [effect for older in replaced for effect in _end(state, older, "lapsed", why)]
    state.reviews.append(proposal)
    within = within_of(state, proposal)
    until = instant_text(proposal.ts + within) if within else "the next sample"
    notice = _proposal_alert(state, proposal, "WARNING", f"waits for a person until {until}: {proposal.reason}")
    return [*effects, notice]


def _end(
    state: State,
    proposal: Proposed,
    outcome: Literal["declined", "lapsed", "refused"],
    why: str,
    level: Level = "WARNING",
    text: str = "",
) -> list[Effect]:
    """End the wait of a proposal, and record its outcome; returns an alert with the `text` or `why`, and the record."""
    waiting = state.reviews if proposal in state.reviews else state.awaiting
    waiting.remove(proposal)
    ended = end_late(state, proposal.agent, proposal.id, outcome, why)
    # a program may have thousands of held orders
    silent = proposal.whole and waiting is state.awaiting
    return [*([] if silent else [_proposal_alert(state, proposal, level, text or why)]), *ended]


def _proposal_alert(state: State, proposal: Proposed, level: Level, what: str) -> Publish:
    """Return an alert about a proposal of targets from outside; `what` is the predicate of its text."""
    number = book_of(state, proposal)
    text = f"proposal {proposal.id} of {proposal.agent} {what}"
    return alert(state, level, "proposal", text, agent=HOUSE if number is None else number)


def _differs_from_dry_run(state: State, proposal: Proposed, expected: str) -> str:
    """Return the reason to refuse targets whose plan differs from their dry run, which has the digest `expected`.

    Returns empty text if the digests are equal, or if `expected` is empty.
    """
    if not expected:
        return ""
    copy = thaw(state.rules, freeze(state))
    copy.now = state.now
    if plan_digest(proposal, _held(copy, proposal) or plan_targets(copy, proposal)) == expected:
        return ""
    return "the market or the books have changed since the dry run, and the orders would differ now"


def not_planned(state: State, proposal: Proposed) -> str:
    """Return the reason why targets are refused before they are planned; empty when they may be planned.

    Whether the plan differs from the dry run is checked later, by `_differs_from_dry_run`.
    """
    if why := _barred(state, proposal):
        return why
    book_index = book_of(state, proposal)
    assert book_index is not None
    if bool(proposal.weights) == bool(proposal.orders):
        return "either weights or orders are required"
    if proposal.orders and (why := _wrong_orders(state, book_index, proposal.orders)):
        return why
    targets = np.frombuffer(proposal.weights) if proposal.weights else lots_of(proposal.orders, state.universe.size)
    if len(targets) != state.universe.size:
        return f"there are {len(targets)} targets for {state.universe.size} symbols"
    if not np.isfinite(targets).all():
        return "a weight is not finite"
    leverage = _leverage(state, book_index, targets, lots=bool(proposal.orders))
    if not leverage <= MOST_LEVERAGE and not proposal.whole:  # the limits refuse it, and name the largest that passes
        return f"its targets are {leverage:.6g} times the book; more than {MOST_LEVERAGE:g} is a mistake of units"
    return ""


def _barred(state: State, proposal: Proposed) -> str:
    """Why nothing is planned for a proposal now, whatever its targets or orders are; empty where it may be."""
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
    return ""


def lots_of(orders: Sequence[Wish], size: int) -> Floats:
    """float64[size] signed lots of orders by column."""
    lots = np.zeros(size)
    for wish in orders:
        lots[wish.symbol] += wish.lots
    return lots


def _wrong_orders(state: State, book_index: int, orders: Sequence[Wish]) -> str:
    """Why orders for a book are refused before any limit is asked; empty where they may be planned."""
    size, universe = state.universe.size, state.universe
    if any(not 0 <= wish.symbol < size for wish in orders):
        return f"an order names a column beyond the {size} of the universe"
    columns = [wish.symbol for wish in orders]
    if len(set(columns)) < len(columns):
        return "a symbol has two orders; send one, or two proposals"
    held, limits, later = state.lots(book_index), state.rules.agents[book_index].limits, awaited_price(state, orders)
    worst = worst_nano(market_context(state), lots_of(orders, size), limits, held)
    for wish in orders:
        name, side = universe.symbols[wish.symbol], side_text(wish.lots)
        tick = universe.instruments[wish.symbol].tick_nano
        bound = worst[wish.symbol] if wish.limit_nano else 0
        if not wish.lots and (wish.limit_nano or wish.end):
            return f"the order of {name} is of 0 units"
        if wish.trigger_nano and (why := wrong_stop(state, book_index, wish, len(orders))):
            return why
        if wish.exits and (why := wrong_exits(state, book_index, wish, len(orders))):
            return why
        if (
            bound
            and not later
            and not wish.trigger_nano
            and (wish.limit_nano > bound if side == "buy" else wish.limit_nano < bound)
        ):
            return (
                f"the limit {price_text(wish.limit_nano)} to {side} {name} is beyond the collar, "
                f"{price_text(bound)} now; send a limit of {price_text(bound)} or a better one"
            )
        if wish.limit_nano % tick:
            return f"the limit {price_text(wish.limit_nano)} of {name} is no multiple of its tick, {price_text(tick)}"
        if 0 < wish.end <= state.now:
            return f"the order of {name} would have expired already"
        if later or not wish.lots or wish.trigger_nano:
            continue
        if wish.limit_nano and any(wish.symbol in waiting.symbols for waiting in state.protection.postponed):
            return f"an order of the account in {name} waits to be sent; send the order of {name} again afterwards"
        if met := meeting(state, book_index, wish, wish.limit_nano or worst[wish.symbol]):
            return f"the order of {name} is not sent: {met}"
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


def refusal(state: State, proposal: Proposed, why: str) -> Sequence[Publish | Refused]:
    """Return the effects of a proposal of targets that is refused as a whole: an alert and the refusal.

    The order of a program has no alert of its own.
    """
    if proposal.whole:
        return [Refused("refused", why)]
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
        [proposal.agent, proposal.weights, proposal.orders],
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


def plan_targets(state: State, proposal: Proposed) -> list[Effect]:
    """Plan the targets of a proposal that is not refused, and record them: weights, or lots in place of weights."""
    number = book_of(state, proposal)
    assert number is not None
    portfolio = state.portfolios.get(number)
    state.revalue()
    lots = lots_of(proposal.orders, state.universe.size) if proposal.orders else None
    state.agents[number].follow_up.drop()
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
    effects = plan(
        state,
        {number: weights},
        watch=watch_plan,
        sample=state.sample,
        lots=None if lots is None else {number: lots},
        intent=Intent(proposal.cause, proposal.orders, proposal.whole),
    )
    if proposal.whole and (why := refused_whole(state, effects)):
        return [*effects, *refusal(state, proposal, why)]
    _set_levels(state, number, proposal.orders, effects)
    # an order of a program is one of thousands: `count_orders` counts them
    notices = [] if proposal.whole else [alert(state, "INFO", "proposal", text, agent=number)]
    return [*notices, *effects]


def _plan_by_hand(state: State, proposal: Proposed) -> Sequence[Effect]:
    """Plan orders of an operator in the book of an agent, through the gate (limit check) like the agent's own."""
    number = agent_of(state, proposal.agent)
    if number is None or number < 0:
        return refuse_command(state, "agent", "operator", f"no book named {proposal.agent!r} for an order by hand")
    if number in state.portfolios:
        text = f"{proposal.agent} is a portfolio: it changes only by a rebalance"
        return refuse_command(state, "conflict", "operator", text)
    if why := _wrong_orders(state, number, proposal.orders):
        return refuse_command(state, "conflict", "operator", f"not ordered: {why}")
    if not proposal.id:
        # two orders between two bars have one instant
        names = chain([f"hand-{proposal.ts}"], (f"hand-{proposal.ts}-{number}" for number in count(2)))
        taken = {waiting.id for waiting in state.awaiting if waiting.agent == proposal.agent}
        proposal = replace(proposal, id=next(name for name in names if name not in taken))
    if held := _held(state, proposal):
        return held
    change = lots_of(proposal.orders, state.universe.size)
    state.revalue()
    after = state.held_weights(number, change)
    lot_nano, symbols = state.universe.lot_nano, state.universe.symbols
    sizes = ", ".join(
        f"{side_text(wish.lots)} {quantity_text(abs(wish.lots), lot_nano[wish.symbol])} {symbols[wish.symbol]}"
        for wish in proposal.orders
    )
    priced = any(wish.limit_nano or wish.end for wish in proposal.orders)
    effects = plan(
        state, {number: after.tobytes()}, watch=watch_plan, sample=state.sample, lots={number: change}, by_hand=True,
        intent=Intent(proposal.cause, proposal.orders) if priced else NO_INTENT,
    )  # fmt: skip
    levels_text = _set_levels(state, number, proposal.orders, effects)
    text = f"by hand: {sizes}{levels_text} ({proposal.who}: {proposal.reason})"
    return [alert(state, "INFO", "manual", text, symbol=proposal.orders[0].symbol, agent=number), *effects]


def _set_levels(state: State, number: int, orders: Sequence[Wish], effects: Sequence[Effect]) -> str:
    """Set the stops and targets of orders as levels of their positions in the book `number`; returns them as text.

    An order of which the plan in `effects` passes nothing, now or later, leaves its position's levels as they are.
    """
    text, plans = "", plans_of(effects)
    passed = [lots for planned in plans for lots in (planned.allowed, *(part.kept for part in planned.agents)) if lots]
    for wish in orders:
        if not (wish.stop_nano or wish.target_nano):
            continue
        if plans and not any(np.frombuffer(lots, dtype=np.int64)[wish.symbol] for lots in passed):
            continue
        level = Own(number, wish.symbol, wish.stop_nano, wish.target_nano, state.now)
        state.protection.own[number, wish.symbol] = level
        state.govern(state.rules)  # from now on the levels are watched
        levels = (("stop", wish.stop_nano), ("target", wish.target_nano))
        text += "".join(f", {name} {price_text(nano)}" for name, nano in levels if nano)
    return text
