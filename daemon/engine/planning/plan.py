"""Plans a round: agents' answers become lots, pass their limits, cross, and pass the house's limits as one basket.

What can go wrong: each order alone is within the limits, and all together break them. Therefore the house's limits
measure the net of all agents, with every open order, as one basket.

What the order guarantees. Parent orders of the deciding agents end first: the new decision replaces what they have
not sent. Stops at the venue that conflict with the plan are cancelled, and the whole plan waits for their end:
purchases sent early would spend the proceeds of sales that still wait. Each agent's limits come before the crossing, so
that only lots that an agent may trade are crossed. Crosses are recorded after the verdict of the house, and not in
symbols that it refused.

The id of a basket is (sample, n): the n-th basket of its sample. The state counts the baskets, so that a replay gives
the same ids.

Rejected: to change a stop in place when a plan reduces its position. A replacement has two more possible outcomes than
a cancel, and differs from venue to venue (docs/decisions/008).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, NamedTuple, cast

import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.core.agent_columns import note_house_cuts
from quantd.daemon.engine.core.order_columns import write_ends
from quantd.daemon.engine.core.round_plan import Plan
from quantd.daemon.engine.core.step_records import plan_effect
from quantd.daemon.engine.planning.buying_power import spend
from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.planning.pauses import pausing
from quantd.daemon.engine.planning.price_limits import within_limits
from quantd.daemon.engine.planning.rests import (
    NO_INTENT,
    none_rest,
    own_caps,
    own_ends,
    passed_of,
    weighed,
    withdraw_in_way,
)
from quantd.daemon.engine.planning.stop_conflicts import cancel_conflicts
from quantd.daemon.engine.planning.targets import hold_back, scaled_out
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import OpenCrosses, Working
from quantd.daemon.engine.state.parents import WORKED, Parent
from quantd.daemon.engine.state.stop_records import Intent, Postponed
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.limits.catalogue import Reason
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.limits.values import Values
from quantd.risk.pretrade.baskets import basket_of_columns
from quantd.risk.pretrade.gate import Account, Verdict, gate, granted, measure, same_book
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Effect, Portion, Worked
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.number_types import read_floats, read_ints
from quantd.trading.orders import Kind

PlanWatch = Callable[[State, Sequence[tuple[int, Values]]], list[Effect]]
"""Function of the state and (book, values of limits), the house first: alerts about levels that a plan raises."""

AUCTIONS: Final = {"open": Kind.OPEN, "close": Kind.CLOSE}
"""Styles that send all orders of a decision into an auction."""


class Child(NamedTuple):
    """What a basket of child orders has from its parent orders: instant and execution style of their decision, and
    worst prices in nano-currency by column (0: none)."""

    decided: int
    style: str
    caps: list[int]


class _Order(NamedTuple):
    """The settings of one plan, besides the weights that the agents answered: the arguments of `plan`."""

    sample: int
    used: int
    flatten: bool
    lots: dict[int, Floats] | None
    child: Child | None
    by_hand: bool
    watch: PlanWatch
    intent: Intent

    @property
    def immediate(self) -> bool:
        """Whether the orders are no decision of an agent: a flatten, exits, children, orders by hand. They are sent at
        once, without an execution style or a follow-up (rest of a decision)."""
        return self.flatten or self.lots is not None


class _Part(NamedTuple):
    """One agent's part of a plan."""

    agent: int
    weights: bytes
    requested: Floats
    account: Account
    verdict: Verdict


def plan(
    state: State,
    answers: dict[int, bytes],
    *,
    watch: PlanWatch,
    sample: int,
    used: int = 0,
    flatten: bool = False,
    lots: dict[int, Floats] | None = None,
    child: Child | None = None,
    by_hand: bool = False,
    intent: Intent = NO_INTENT,
) -> Sequence[Effect]:
    """Plan the orders for the answers at one instant (agent -> float64[N] weights as bytes, in agent order); returns
    the effects.

    A follow-up orders the rest of a decision; `used` is the number of follow-ups that the decision had already. With
    `flatten` all positions are closed, whatever the state of the kill switches. `lots` (agent -> float64[N] signed) are
    traded in place of the change that the weights imply, in addition to open orders: orders by hand, exits, or the due
    children of a parent (`child`). `by_hand` marks an operator's order, which may reduce a position whose symbol is
    blocked after a price jump. `intent` is what the sender of a proposal asks of its orders: with `whole` nothing is
    sent where a limit cuts a part, and the plan records what would pass. `watch` is the function that returns alerts
    about limits (`quantd.daemon.engine.safety.monitor.watch_plan`).
    """
    parts: list[_Part] = []
    effects: list[Effect] = []
    if state.parents and lots is None:
        effects.extend(give_up(state, [parent for parent in state.parents if parent.agent in answers], "decided anew"))
    draft = _begun(state, used)
    if state.protection.stops or state.protection.postponed or not none_rest(state):
        settings = Postponed([], dict(answers), sample, used, flatten, by_hand=by_hand, intent=intent)
        lots, cancels, postponed = _after_stops(state, settings, lots, child)
        effects.extend(cancels)
        if postponed:
            return effects
    order = _Order(sample, used, flatten, lots, child, by_hand, watch, intent)
    for agent in sorted(answers):
        part, cancels = _part(state, agent, answers[agent], order)
        effects.extend(cancels)
        parts.extend(part)
    return [*effects, *_plan_house(state, draft, parts, order)] if parts else effects


def _part(state: State, agent: int, weights: bytes, order: _Order) -> tuple[list[_Part], list[Effect]]:
    """An agent's part of a plan, which its columns have too: what it is to trade, and what of that its limits let pass;
    none where it trades nothing. Returns also the cancels of open orders that are not what it is to trade."""
    columns, book, px = state.agent_columns[agent], state.book_columns[agent + 1], state.market_columns.px_view
    decides, held_back, cancels = order.lots is None, False, list[Effect]()
    aimed = change = _aim(state, agent, weights, order.flatten, None if order.lots is None else order.lots[agent])
    if decides and (state.working or state.crosses):
        change, cancels = hold_back(state, agent, aimed, closes=order.flatten)
        held_back = bool((aimed != change).any())  # some lots wait for the end of open orders
    if order.flatten:
        columns.lacks.clear()
    elif decides:
        columns.note_aim(book, px)
    if not held_back and not change.nonzero()[0].size and not columns.waits >= state.round_plan.least_rest(agent):
        return [], cancels
    account = account_of(state, agent, by_hand=order.by_hand)
    verdict = _agent_verdict(state, agent, account, change, order)
    if decides:
        untraded = (change == aimed) & (verdict.reason == 0)
        verdict.reason[:] = np.where(untraded, columns.why, verdict.reason)
        priceless = untraded & ~np.isfinite(state.marks) & (np.frombuffer(weights) != 0.0)
        verdict.reason[priceless] = Reason.PRICE_MISSING
    columns.take(read_floats(change), read_floats(verdict.lots), verdict.reason.data)
    if decides:
        columns.note_cuts(book, px)
    if held_back:
        columns.waits = inf
    return [_Part(agent, weights, change, account, verdict)], cancels


def _aim(state: State, agent: int, weights: bytes, flatten: bool, lots: Floats | None = None) -> Floats:
    """Write what an agent is to trade into its columns: `lots`, what closes all positions, or what leads to the target
    weights. Returns the lots, float64[N] signed."""
    columns = state.agent_columns[agent]
    columns.put(weights)
    if lots is not None or flatten:
        columns.trade(read_floats(closing_lots(state, agent) if lots is None else lots))
    else:
        state.round_plan.aim(agent, read_ints(state.now - state.mark_ts))
    return np.array(columns.change)


def _begun(state: State, used: int) -> Plan:
    """The columns of a plan without agents, with the books as they are now, after `used` follow-ups."""
    draft = state.round_plan
    draft.resting = used > 0
    draft.market.take_prices()
    for book, columns in enumerate(draft.books, HOUSE):
        columns.book, columns.micro = state.account(book), state.equity_of(book)
        columns.collars = rules_of(limits_in_force(state, book), state.universe).collars
        columns.take_lots()
    for agent, owed in zip(draft.agents, state.owed, strict=True):
        agent.leave()
        agent.taking, agent.owed = False, max(owed, 0)
    return draft


def _agent_verdict(state: State, agent: int, account: Account, change: Floats, order: _Order) -> Verdict:
    """The verdict of an agent's limits on `change`, float64[N] signed lots.

    The lots are recorded for the limit on repeated requests, unless they are of child orders, because equal children of
    one decision are no repetition; or of a `whole` proposal, whose id tells a repetition; or a halt refuses them, so
    that they pass after it.
    """
    limits, counts, wishes = state.rules.agents[agent].limits, order.child is None, order.intent.wishes
    mode = REDUCE if order.flatten else max(state.agents[agent].switch.state, state.switch.state)
    if order.intent.whole or not counts:
        counts, account.repeated = False, None  # equal slices of one decision would be refused as duplicates
    ctx, asked = market_context(state), weighed(state, account, change, wishes)
    verdict = gate(ctx, account, asked, limits, mode)
    if counts:
        columns = state.agent_columns[agent]
        passed, window = read_floats(verdict.lots), limits.duplicate_window_ns
        columns.request.add(state.now, read_floats(change), window, passed, verdict.reason.data)
    if state.judged is not None:
        state.judged.append(Judged(agent, ctx, account, asked, limits, mode, verdict))
    return verdict if asked is change else passed_of(state, account, change, verdict, wishes)


def _after_stops(
    state: State, settings: Postponed, lots: dict[int, Floats] | None, child: Child | None
) -> tuple[dict[int, Floats] | None, list[Effect], bool]:
    """Cancel stops at the venue and resting orders that conflict with a plan, and postpone the plan until they have
    ended.

    Child orders are not postponed: they omit the symbols of these stops. Returns the remaining `lots`, the effects, and
    whether the plan is postponed. The plan trades `lots` if they are given; with None it trades to the target weights
    in the answers of `settings`, the other arguments of `plan`.
    """
    answers = settings.answers
    if lots is None:
        for waiting in state.protection.postponed:  # a new answer of an agent replaces its postponed one
            if waiting.lots is None:
                waiting.answers = {agent: weights for agent, weights in waiting.answers.items() if agent not in answers}
        state.protection.postponed = [waiting for waiting in state.protection.postponed if waiting.answers]
    changes = lots or {agent: _aim(state, agent, weights, settings.flatten) for agent, weights in answers.items()}
    blocked_columns, effects = cancel_conflicts(state, changes, settings.by_hand)
    if not none_rest(state):
        of_book = lots is not None and child is None  # else `hold_back` withdraws the rests of the book
        in_way, withdrawn = withdraw_in_way(state, changes, settings.intent.wishes, of_book=of_book)
        blocked_columns, effects = sorted({*blocked_columns, *in_way}), [*effects, *withdrawn]
    if not blocked_columns:  # nothing conflicts
        return lots, effects, False
    if child is not None and lots is not None:
        tradable = np.ones(state.universe.size)
        tradable[blocked_columns] = 0.0
        return {agent: change * tradable for agent, change in lots.items()}, effects, False
    # no stop is sent in a symbol that the plan reduces, until the plan has been carried out
    for agent, change in changes.items():
        reduced = (change * state.lots(agent) < 0.0) | (change * state.lots(HOUSE) < 0.0)
        blocked_columns = sorted({*blocked_columns, *reduced.nonzero()[0].tolist()})
    settings.lots = None if lots is None else {agent: change.tobytes() for agent, change in lots.items()}
    settings.symbols = blocked_columns
    state.protection.postponed.append(settings)
    return lots, effects, True


def _plan_house(state: State, draft: Plan, parts: list[_Part], order: _Order) -> list[Effect]:
    """Cross opposite lots of agents, check the net lots against the limits of the whole account, and make
    the basket or the parent orders."""
    sample, child, wishes = order.sample, order.child, order.intent.wishes
    draft.net_lots()
    for symbol in state.restrictions.jumped:
        _drop_cross(draft, parts, symbol)
    requested = np.array(draft.net)
    house = account_of(state, HOUSE, by_hand=order.by_hand)
    verdict = _house_verdict(state, parts, house, requested, order)
    draft.take(read_floats(verdict.lots), verdict.reason.data)
    if not order.immediate:
        px = draft.market.px_view
        note_house_cuts(draft.agents, draft.books, draft.net_view, draft.passed, draft.reason_view, px)
    n = state.orders_at.get(sample, 0) + 1  # derived from the state: a replay has the same ids
    style = "marketable" if order.immediate else state.rules.execution.style
    kind = AUCTIONS.get(style, Kind.LIMIT)
    ends = _ends_by_column(state, kind)
    marks = read_ints(state.marks_nano)
    priced = draft.order_prices(marks, read_ints(state.now - state.mark_ts))  # the gate lets no other order pass
    draft.cross_prices(marks)
    write_ends(draft.crosses.end, ends)
    # after the verdict of the house, which lets no lots cross in a symbol that it refused
    for cross in cast(OpenCrosses, draft.crosses):
        state.crosses.add(replace(cross, sample=sample, ts=state.now))
    # of a `whole` proposal that is cut the plan records what would pass, and nothing is sent
    cut = order.intent.whole and not all(_is_whole(state, part, verdict, order) for part in parts)
    passes = priced and draft.count() > 0 and not cut
    sends = passes and style not in WORKED
    if passes:
        _narrow(state, draft, child.caps if child is not None else own_caps(state.universe.size, wishes))
        write_ends(draft.crosses.end, own_ends(state, ends, wishes))
        out = cast(Working, draft.orders(sample, n, state.now))
        out.record = basket_of_columns(sample, n, state.now, out.terms(), verdict.recorded, kind, order.intent.cause)
        if sends:
            state.orders_at[sample] = n
            _record_sent(state, out, [p.agent for p in parts], order.intent)
        else:
            _make_parents(state, out, parts)
    portion = Portion(style) if style in WORKED else None
    if portion is None and child is not None:
        portion = Portion(child.style, child.decided)
    values = [_with_jumps(state, of_book) for of_book in (verdict, *(p.verdict for p in parts))]
    effects: list[Effect] = [
        plan_effect(
            draft, state.now, sample, n if sends else 0, order.used, values,
            lambda agent: names_of(state, agent, order.intent.cause), portion,
        )
    ]  # fmt: skip
    effects.extend(order.watch(state, [(HOUSE, verdict.recorded), *((p.agent, p.verdict.recorded) for p in parts)]))
    for part in parts if not order.immediate else ():
        follow_up = state.agents[part.agent].follow_up
        follow_up.drop()
        if draft.follows(part.agent, order.used < state.rules.follow_ups):
            follow_up.put(sample, order.used, read_floats(np.frombuffer(part.weights)))
    if sends:
        effects.append(out.basket)
    return effects


def _is_whole(state: State, part: _Part, verdict: Verdict, order: _Order) -> bool:
    """Whether all that a part of a plan wants passes: no limit cuts it, and no lot of its target is left out."""
    columns = state.agent_columns[part.agent]
    scaled = columns.scale < 1.0 and scaled_out(state, part.agent, np.frombuffer(part.weights), columns.scale)
    return bool((verdict.lots == part.requested).all() and not columns.keeps and not scaled)


def _drop_cross(draft: Plan, parts: list[_Part], symbol: int) -> None:
    """Let no lots cross in a symbol that is blocked after a price jump: no price of it is right for both agents, whose
    verdicts get the reason PRICE_JUMP."""
    for part in parts:
        columns = draft.agents[part.agent]
        if columns.wanted[symbol] != columns.surviving[symbol]:
            columns.wanted[symbol] = columns.surviving[symbol]
            columns.reason[symbol] = part.verdict.reason[symbol] = Reason.PRICE_JUMP


def _narrow(state: State, draft: Plan, caps: Sequence[int]) -> None:
    """Narrow the limit prices of a plan to `caps` by column, 0 for none, and to the exchange's price limits."""
    for k, cap in enumerate(within_limits(state, np.array(draft.passed), caps)):
        if cap and draft.worst[k]:
            draft.worst[k] = min(draft.worst[k], cap) if draft.passed[k] > 0.0 else max(draft.worst[k], cap)


def _with_jumps(state: State, verdict: Verdict) -> Values:
    """The values of limits for the journal, with (newest price, price before the jump) of each symbol whose lots were
    cut because of a price jump."""
    if not state.restrictions.jumped:
        return verdict.recorded
    jump_prices = {
        f"price_jump.{state.universe.symbols[symbol]}": (jump.newest_nano / NANO, jump.before_nano / NANO)
        for symbol, jump in state.restrictions.jumped.items()
        if verdict.reason[symbol] == Reason.PRICE_JUMP
    }
    return {**verdict.recorded, **jump_prices}


def names_of(state: State, agent: int, cause: str = "") -> tuple[str, str, str]:
    """Of an agent's orders: the name of the agent whose policy decides for it, empty for its own; the proposal that
    they carry out, as text, empty where they are a policy's answer; and the id of that proposal, `cause`."""
    if agent in state.portfolios:
        because = state.portfolios[agent].because
    else:
        because = state.agents[agent].note if state.seats[agent] in state.rules.outside else ""
    return state.policy_of(agent), because, cause


def _house_verdict(state: State, parts: list[_Part], house: Account, requested: Floats, order: _Order) -> Verdict:
    """The verdict of the limits of the whole account on the net lots `requested`.

    A lone agent with the account and the limits of the house has the same verdict, which is not computed again. Orders
    that pause after refusals are refused, except an operator's order by hand. During a flatten (the closing of all
    positions) an operator's orders pause too: the command to flatten ended only the pauses of that instant.
    """
    ctx, switch = market_context(state), REDUCE if order.flatten else state.switch.state  # closing is allowed at HALT
    paused, wishes = None, order.intent.wishes
    if state.protection.retries and (not house.by_hand or state.flattening):
        paused = pausing(state, requested, [HOUSE, *(part.agent for part in parts if order.intent.cause)])
    first_part, limits, sums = parts[0], limits_in_force(state, HOUSE), state.history.synchronous.sums
    asked = weighed(state, house, requested, wishes)
    if paused is None and (
        len(parts) == 1
        and asked is requested
        and state.rules.agents[first_part.agent].limits == limits
        and same_book(first_part.account, house)
    ):
        verdict = granted(first_part.verdict, sums)
    else:
        verdict = gate(ctx, house, asked if paused is None else np.where(paused, 0.0, asked), limits, switch)
        if paused is not None:
            verdict.reason[paused] = Reason.REFUSED
        measure([verdict, *(part.verdict for part in parts)], [verdict], sums)
    if state.judged is not None:
        state.judged.append(Judged(HOUSE, ctx, house, asked, limits, switch, verdict))
    return verdict if asked is requested else passed_of(state, house, requested, verdict, wishes)


def _make_parents(state: State, out: Working, parts: list[_Part]) -> None:
    """Turn a basket that passed into parent orders, one for each agent, instead of sending it.

    A parent is worked over time by smaller orders.
    """
    style, basket = state.rules.execution.style, out.basket
    sessions = [state.rules.sessions[number] for number in state.rules.calendar]  # by column
    shares = out.signed_shares()
    for part in parts:
        rows = [(k, lots) for k, row_shares in enumerate(shares) for who, lots in row_shares if who == part.agent]
        if not rows:
            continue
        sym = [basket.sym[k] for k, _ in rows]
        # the first session that closes after now: at the end of a session that is the next one
        spans = [
            (session.open_ns[session_index], session.close_ns[session_index])
            for session in (sessions[k] for k in sym)
            for session_index in [session.next_close(state.now)]
        ]
        state.parents.append(
            Parent(
                agent=part.agent,
                sample=basket.sample,
                ts=state.now,
                style=style,
                weights=part.weights,
                sym=sym,
                lots=[lots for _, lots in rows],
                worst_nano=[basket.worst_nano[k] for k, _ in rows],
                start=[max(state.now, opens) for opens, _ in spans],
                open=[opens for opens, _ in spans],
                close=[closes for _, closes in spans],
            )
        )


def give_up(state: State, parents: Sequence[Parent], reason: str) -> list[Effect]:
    """End parent orders, with a record of their progress. Child orders that are open stay open."""
    ended_ids = {id(parent) for parent in parents}
    state.parents = [parent for parent in state.parents if id(parent) not in ended_ids]
    return [progress(state, parent, reason) for parent in parents]


def progress(state: State, parent: Parent, reason: str) -> Worked:
    """The record of how far a parent order was executed; `reason` says why the record is written."""
    return Worked(
        ts=state.now,
        sample=parent.sample,
        decided=parent.ts,
        agent=parent.agent,
        style=parent.style,
        sym=list(parent.sym),
        lots=list(parent.lots),
        filled=list(parent.filled),
        mark_nano=[int(state.marks_nano[symbol]) for symbol in parent.sym],
        reason=reason,
    )


def _record_sent(state: State, out: Working, agents: list[int], intent: Intent) -> None:
    """Record a basket of orders as working, and what its agents send with it."""
    state.activity.send(HOUSE, state.now, out.rows, limits_in_force(state, HOUSE))
    orders_of = Counter(who for row_shares in out.signed_shares() for who, _ in row_shares)
    for agent in agents:
        state.activity.send(agent, state.now, orders_of[agent], state.rules.agents[agent].limits)
    out.at_venue, out.plain = True, not out.basket.kind
    out.priced = frozenset(wish.symbol for wish in intent.wishes if wish.limit_nano)
    state.working[out.sample, out.n] = out
    spend(state, out.basket)


def _ends_by_column(state: State, kind: Kind) -> list[int]:
    """By column, the expiry (ns UTC) of a DAY order or of an order for an auction; 0 where orders are good till
    cancelled."""
    rules = state.rules
    if rules.good_till_cancelled and kind == Kind.LIMIT:
        return [0] * state.universe.size
    per_calendar = [s.day_order_end(state.now, rules.daily or kind == Kind.OPEN) for s in rules.sessions]
    if len(per_calendar) == 1:
        return per_calendar * state.universe.size
    return [per_calendar[c] for c in rules.calendar]
