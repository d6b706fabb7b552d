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
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.core.lots import BY_FILLS, BY_SALES, BY_TIME, Targets
from quantd.daemon.engine.planning.buying_power import spend
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
from quantd.daemon.engine.planning.targets import (
    Aim,
    hold_back,
    least_rest,
    note_aim,
    note_cuts,
    note_house_cuts,
    scaled_out,
    target_change,
)
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import Cross, Working
from quantd.daemon.engine.state.parents import WORKED, Parent
from quantd.daemon.engine.state.settings import heaviest_of
from quantd.daemon.engine.state.stop_records import Intent, Postponed
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.limits.catalogue import REFUSALS, Reason, override
from quantd.risk.limits.values import Values
from quantd.risk.pretrade.baskets import Part, basket, worst_nano
from quantd.risk.pretrade.gate import Account, Context, Verdict, gate, granted, measure, same_book
from quantd.risk.switch import REDUCE
from quantd.trading.effects import AgentPlan, Effect, Planned, Portion, Worked
from quantd.trading.instruments import NANO
from quantd.trading.ledger.shares import net, share
from quantd.trading.market import Floats
from quantd.trading.number_types import read_floats
from quantd.trading.orders import Kind, OrderBasket

Lots = NDArray[np.int64]

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


LATER: Final = np.zeros(128, np.int8)
"""LATER[reason]: when lots that this reason cut may pass, as bits BY_SALES, BY_FILLS and BY_TIME; 0 for never."""
for _code, _refusal in REFUSALS.items():
    LATER[_code] = BY_SALES * _refusal.sales_free | BY_FILLS * _refusal.fills_free | BY_TIME * _refusal.time_frees


class _Order(NamedTuple):
    """The settings of one plan, besides the weights that the agents answered.

    `immediate` marks orders that are no decision of an agent: a flatten, exits, children, orders by hand. They are sent
    at once, without an execution style or a follow-up (rest of a decision).
    """

    sample: int
    used: int
    immediate: bool
    child: Child | None
    by_hand: bool
    watch: PlanWatch
    intent: Intent


class _Part(NamedTuple):
    """One agent's part of a plan. `held_back` says that some lots of its target wait for the end of open orders."""

    agent: int
    weights: bytes
    aim: Aim
    requested: Floats
    account: Account
    verdict: Verdict
    held_back: bool


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
    if state.protection.stops or state.protection.postponed or not none_rest(state):
        settings = Postponed([], dict(answers), sample, used, flatten, by_hand=by_hand, intent=intent)
        lots, cancels, postponed = _after_stops(state, settings, lots, child)
        effects.extend(cancels)
        if postponed:
            return effects
    house_switch = REDUCE if flatten else state.switch.state  # closing is allowed even at HALT
    for agent in sorted(answers):
        weights, held_back = np.frombuffer(answers[agent]), False
        aim = Aim.at(lots[agent]) if lots is not None else target_change(state, agent, weights, flatten, used)
        change = aim.change
        if lots is None and (state.working or state.crosses):
            change, cancels = hold_back(state, agent, aim.change, closes=flatten)
            effects.extend(cancels)
            held_back = bool((aim.change != change).any())  # some lots wait for the end of open orders
        if lots is None:
            note_aim(state, agent, weights, aim, flatten)
        if not held_back and not change.nonzero()[0].size and not aim.waits >= least_rest(state, agent):
            continue
        mode = REDUCE if flatten else max(state.agents[agent].switch.state, house_switch)
        account = account_of(state, agent, by_hand=by_hand)
        verdict = _agent_verdict(state, agent, account, change, mode, child, intent)
        if lots is None:
            untraded = (change == aim.change) & (verdict.reason == 0)
            verdict.reason[:] = np.where(untraded, aim.why, verdict.reason)
            verdict.reason[untraded & ~np.isfinite(state.marks) & (weights != 0.0)] = Reason.PRICE_MISSING
            note_cuts(state, agent, change, verdict)
        parts.append(_Part(agent, answers[agent], aim, change, account, verdict, held_back))
    if not parts:
        return effects
    order = _Order(sample, used, flatten or lots is not None, child, by_hand, watch, intent)
    return [*effects, *_plan_house(state, parts, order, house_switch)]


def _agent_verdict(
    state: State, agent: int, account: Account, change: Floats, mode: int, child: Child | None, intent: Intent
) -> Verdict:
    """The verdict of an agent's limits on `change`, float64[N] signed lots.

    The lots are recorded for the limit on repeated requests, unless they are of child orders, because equal children of
    one decision are no repetition; or of a `whole` proposal, whose id tells a repetition; or a halt refuses them, so
    that they pass after it. `mode` is the kill switch state that applies to the plan.
    """
    limits, counts = state.rules.agents[agent].limits, child is None and not intent.whole
    if not counts:
        account.repeated = None  # equal slices of one decision would be refused as duplicates
    ctx, asked = market_context(state), weighed(state, account, change, intent.wishes)
    verdict = gate(ctx, account, asked, limits, mode)
    if counts:
        state.activity.ask(agent, state.now, change, limits, verdict)
    if state.judged is not None:
        state.judged.append(Judged(agent, ctx, account, asked, limits, mode, verdict))
    return verdict if asked is change else passed_of(state, account, change, verdict, intent.wishes)


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
    changes = lots or {
        agent: target_change(state, agent, np.frombuffer(weights), settings.flatten, settings.used).change
        for agent, weights in answers.items()
    }
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


# Long because each statement needs the lots of the one before: crosses only after the verdict of the house, the id
# of the basket before its parents, and all of it in the plan that the journal records.
def _plan_house(state: State, parts: list[_Part], order: _Order, switch: int) -> list[Effect]:
    """Cross opposite lots of agents, check the net lots against the limits of the whole account, and make
    the basket or the parent orders.

    `switch` is the state of the house's kill switch that applies to the plan.
    """
    ctx, sample, child = market_context(state), order.sample, order.child
    wanted = np.array([p.verdict.lots for p in parts], dtype=np.int64)
    crossed, surviving = net(wanted)
    if state.restrictions.jumped and surviving is not wanted:
        wanted, crossed = _without_jump_crosses(state, parts, crossed, surviving)
    total = surviving.sum(axis=0) if len(parts) > 1 else surviving[0]
    requested = total.astype(np.float64)
    house = account_of(state, HOUSE, by_hand=order.by_hand)
    limits = limits_in_force(state, HOUSE)
    verdict = _house_verdict(state, ctx, parts, house, requested, switch, order.intent)
    for part, lots in zip(parts, surviving if not order.immediate else (), strict=not order.immediate):
        note_house_cuts(state, part.agent, part.verdict, lots, requested, verdict)
    n = state.orders_at.get(sample, 0) + 1  # derived from the state: a replay has the same ids
    style = "marketable" if order.immediate else state.rules.execution.style
    kind = AUCTIONS.get(style, Kind.LIMIT)
    ends = _ends_by_column(state, kind)
    if surviving is not wanted:
        # after the verdict: a cross in a symbol that the house refused would trade without its limits
        refused = (verdict.reason != Reason.NONE) & (verdict.lots == 0.0)
        _record_crosses(state, ctx, parts, crossed, refused, sample, ends)
    agents = [
        Part(lots.astype(np.float64), p.account.lots, state.rules.agents[p.agent].limits)
        for p, lots in zip(parts, surviving, strict=True)
    ]
    wishes = order.intent.wishes
    caps = child.caps if child is not None else own_caps(state.universe.size, wishes)
    out = basket(
        verdict, ctx, house, limits, sample=sample, n=n, ts=state.now, end=own_ends(state, ends, wishes), parts=agents,
        kind=kind, caps=within_limits(state, verdict.lots, caps), cause=order.intent.cause,
    )  # fmt: skip
    if order.intent.whole and not all(_is_whole(state, part, verdict, order) for part in parts):
        out = None  # the plan records what would pass, and nothing is sent
    if out is not None and style in WORKED:
        _make_parents(state, out, parts, surviving)
        out = None
    if out is not None:
        state.orders_at[sample] = n
        _record_sent(state, out, [p.agent for p in parts], surviving, order.intent)
    effects: list[Effect] = [
        Planned(
            sample=sample,
            n=n if out is not None else 0,
            ts=state.now,
            agents=[
                AgentPlan(
                    agent=p.agent,
                    weights=p.weights,
                    scale=p.aim.scale,
                    asked=p.requested.astype(np.int64).tobytes(),
                    allowed=allowed.tobytes(),
                    reason=p.verdict.reason.tobytes(),
                    values=_with_jumps(state, p.verdict),
                    policy=state.policy_of(p.agent),
                    because=because_of(state, p.agent),
                    cause=order.intent.cause,
                    kept=p.aim.kept.astype(np.int64).tobytes() if p.aim.kept.any() else b"",
                )
                for p, allowed in zip(parts, wanted, strict=True)
            ],
            prices=state.marks.tobytes(),
            before=house.lots.astype(np.int64).tobytes(),
            crossed=np.maximum(crossed, 0).sum(axis=0).tobytes() if surviving is not wanted else bytes(total.nbytes),
            net=total.tobytes(),
            allowed=verdict.lots.astype(np.int64).tobytes(),
            reason=verdict.reason.tobytes(),
            values=_with_jumps(state, verdict),
            follow_up=order.used,
            portion=Portion(style)
            if style in WORKED
            else Portion(child.style, child.decided)
            if child is not None
            else None,
        )
    ]
    effects.extend(order.watch(state, [(HOUSE, verdict.recorded), *((p.agent, p.verdict.recorded) for p in parts)]))
    if not order.immediate:
        _record_follow_ups(state, parts, surviving, house, requested, verdict, sample, order.used)
    if out is not None:
        effects.append(out)
    return effects


def _is_whole(state: State, part: _Part, verdict: Verdict, order: _Order) -> bool:
    """Whether all that a part of a plan wants passes: no limit cuts it, and no lot of its target is left out."""
    scaled = part.aim.scale < 1.0 and scaled_out(state, part.agent, np.frombuffer(part.weights), part.aim.scale)
    return bool((verdict.lots == part.requested).all() and not part.aim.kept.any() and not scaled)


def _without_jump_crosses(state: State, parts: list[_Part], crossed: Lots, surviving: Lots) -> tuple[Lots, Lots]:
    """(lots that pass, lots that cross) without crosses (trades between agents) in symbols that are blocked after a
    price jump.

    No price of such a symbol is right for both agents. The agents' verdicts get the reason PRICE_JUMP there.
    """
    crossed = crossed.copy()
    for symbol in state.restrictions.jumped:
        for part, lots in zip(parts, crossed[:, symbol].tolist(), strict=True):
            if lots:
                part.verdict.reason[symbol] = Reason.PRICE_JUMP
        crossed[:, symbol] = 0
    return surviving + crossed, crossed


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


def because_of(state: State, agent: int) -> str:
    """The proposal that an agent's orders carry out, as text; empty where the weights are a policy's answer."""
    if agent in state.portfolios:
        return state.portfolios[agent].because
    return state.agents[agent].note if state.seats[agent] in state.rules.outside else ""


def _house_verdict(
    state: State,
    ctx: Context,
    parts: list[_Part],
    house: Account,
    requested: Floats,
    switch: int,
    intent: Intent,
) -> Verdict:
    """The verdict of the limits of the whole account on the net lots `requested`.

    A lone agent with the account and the limits of the house has the same verdict, which is not computed again. Orders
    that pause after refusals are refused, except an operator's order by hand. During a flatten (the closing of all
    positions) an operator's orders pause too: the command to flatten ended only the pauses of that instant.
    """
    paused = None
    if state.protection.retries and (not house.by_hand or state.flattening):
        paused = pausing(state, requested, [HOUSE, *(part.agent for part in parts if intent.cause)])
    first_part, limits, sums = parts[0], limits_in_force(state, HOUSE), state.history.synchronous.sums
    asked = weighed(state, house, requested, intent.wishes)
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
    return verdict if asked is requested else passed_of(state, house, requested, verdict, intent.wishes)


def _shares_by_row(out: OrderBasket, agents: list[int], surviving: Lots) -> list[list[tuple[int, int]]]:
    """For each row (order) of a basket, (agent, unsigned lots) of the agents that share in it."""
    if len(agents) == 1:
        return [[(agents[0], abs(lots))] for lots in out.lots]
    shares = []
    columns = surviving.T.tolist()
    for symbol, lots in zip(out.sym, out.lots, strict=True):
        column = columns[symbol]
        # agents' opposite lots have crossed before, so that the lots of a column have one sign
        wanted = [(agent, k if k > 0 else -k) for agent, k in zip(agents, column, strict=True) if k]
        # if a limit of the house cut the row, its lots are shared in proportion
        shares.append(wanted if sum(column) == lots else share(abs(lots), wanted))
    return shares


def _make_parents(state: State, basket_order: OrderBasket, parts: list[_Part], surviving: Lots) -> None:
    """Turn a basket that passed into parent orders, one for each agent, instead of sending it.

    A parent is worked over time by smaller orders.
    """
    style = state.rules.execution.style
    sessions = [state.rules.sessions[number] for number in state.rules.calendar]  # by column
    shares = _shares_by_row(basket_order, [part.agent for part in parts], surviving)
    for part in parts:
        rows = [
            (k, lots) for k, row_shares in enumerate(shares) for who, lots in row_shares if who == part.agent and lots
        ]
        if not rows:
            continue
        sym = [basket_order.sym[k] for k, _ in rows]
        # the first session that closes after now: at the end of a session that is the next one
        spans = [
            (session.open_ns[session_index], session.close_ns[session_index])
            for session in (sessions[k] for k in sym)
            for session_index in [session.next_close(state.now)]
        ]
        state.parents.append(
            Parent(
                agent=part.agent,
                sample=basket_order.sample,
                ts=state.now,
                style=style,
                weights=part.weights,
                sym=sym,
                lots=[lots if basket_order.lots[k] > 0 else -lots for k, lots in rows],
                worst_nano=[basket_order.worst_nano[k] for k, _ in rows],
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


def _record_sent(state: State, out: OrderBasket, agents: list[int], surviving: Lots, intent: Intent) -> None:
    """Record a basket of orders as working, with the agents' lots of each row (order)."""
    shares = _shares_by_row(out, agents, surviving)
    state.activity.send(HOUSE, state.now, len(out.sym), limits_in_force(state, HOUSE))
    orders_of = Counter(who for row_shares in shares for who, _ in row_shares)
    for agent in agents:
        state.activity.send(agent, state.now, orders_of[agent], state.rules.agents[agent].limits)
    priced = [wish.symbol for wish in intent.wishes if wish.limit_nano]
    state.working[(out.sample, out.n)] = Working.sent(out, shares, len(state.agents), priced)
    spend(state, out)


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


def _record_crosses(
    state: State,
    ctx: Context,
    parts: list[_Part],
    crossed: Lots,
    refused: NDArray[np.bool_],
    sample: int,
    ends: list[int],
) -> None:
    """Record the lots that agents exchange at the next open, except in symbols that the whole account refused."""
    # 1.0 where lots cross: `worst_nano` takes signed lots, so that -crossing has the worst prices of sales
    crossing = (crossed.any(axis=0) & ~refused).astype(np.float64)
    symbols = crossing.nonzero()[0].tolist()
    # the narrowest collar: each agent's limits were checked at worst prices of its own collar
    collars = [state.rules.agents[part.agent].limits.collar for part in parts]
    limits, narrowest = state.rules.house, min(collars)
    if narrowest < limits.collar:
        limits = override(limits, collar=narrowest)
    buy_worst, sell_worst = worst_nano(ctx, crossing, limits), worst_nano(ctx, -crossing, limits)
    columns = crossed.T.tolist()
    for symbol in symbols:
        state.crosses.add(
            Cross(
                sample=sample,
                ts=state.now,
                symbol=symbol,
                shares=[(part.agent, k) for part, k in zip(parts, columns[symbol], strict=True) if k],
                buy_worst_nano=buy_worst[symbol],
                sell_worst_nano=sell_worst[symbol],
                end=ends[symbol],
            )
        )


def _record_follow_ups(
    state: State, parts: list[_Part], surviving: Lots, house: Account, requested: Floats, verdict: Verdict,
    sample: int, used: int,
) -> None:  # fmt: skip
    """Record a follow-up (the rest of a decision) for each decision of which a part waits.

    A part waits for the end of open orders (`held_back`), for fills below worst prices, for the proceeds of its own
    sales, or for later volume. `surviving` are the agents' lots less those that they exchange, `requested` the net lots
    of the whole account, and `verdict` is the verdict on them. `used` is the number of follow-ups that the decision had
    already; beyond `follow_ups` only volume that lets a part pass continues.
    """
    house_cut = verdict.lots != requested
    of_house, renews_house = _rest(state, HOUSE, house, requested, verdict)
    freed_by_house = house_cut & ((LATER[verdict.reason] & BY_SALES) != 0)
    for part, lots in zip(parts, surviving, strict=True):
        agent, cut = state.agents[part.agent], part.verdict.lots != part.requested
        agent.follow_up.drop()
        rest, renews = _rest(state, part.agent, part.account, part.requested, part.verdict)
        if (house_cut & (lots != 0)).any():
            rest, renews = max(rest, of_house), renews or renews_house
        least = least_rest(state, part.agent)
        follows = part.held_back or part.aim.waits >= least or rest >= least
        if not follows and (part.requested * part.account.lots < 0.0).any():  # only sales bring proceeds to wait for
            freed = cut & ((LATER[part.verdict.reason] & BY_SALES) != 0)
            follows = bool(freed.any() or (freed_by_house & (lots != 0)).any())
        if follows and (used < state.rules.follow_ups or renews):
            agent.follow_up.put(sample, used, read_floats(np.frombuffer(part.weights)))


def _rest(state: State, book: int, account: Account, requested: Floats, verdict: Verdict) -> tuple[float, bool]:
    """The value of the lots that limits cut and that may pass without a sale, and whether volume cut some in part."""
    if not (verdict.lots != requested).any():
        return 0.0, False
    targets, limits = Targets(len(requested)), limits_in_force(state, book)
    targets.find_rest(
        read_floats(requested), read_floats(verdict.lots), verdict.reason.data, LATER.data,
        read_floats(account.lots), read_floats(state.lot_values()), heaviest_of(limits) * account.equity,
    )  # fmt: skip
    return targets.rest, targets.renews
