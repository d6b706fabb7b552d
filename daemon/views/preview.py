"""Preview of a decision now: orders, costs and refusals, from a call of every agent on a copy of the state.

The running state is unchanged: the copy comes from a snapshot, and the policies are separate instances.
"""

from bisect import bisect_left
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from msgspec import Struct

from quantd.daemon.engine import step
from quantd.daemon.engine.core.lacks import WAITS
from quantd.daemon.engine.rounds import ask_agents, on_decided, view_of
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.parents import WORKED
from quantd.daemon.engine.state.proposal_log import cuts_of, plans_of
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import thaw
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.views.headroom import Book
from quantd.daemon.views.limit_rows import LimitRow, cut_text, finite, in_order, largest_of, reason_name, row
from quantd.daemon.views.overview import SWITCH
from quantd.risk.limits.catalogue import Tail, override
from quantd.risk.pretrade.headroom import Figure, figures
from quantd.risk.switch import HALT
from quantd.strategies.allocators.allocation import Allocation, allocation
from quantd.trading.display_text import instant_text, local
from quantd.trading.effects import Ask, Cancel, Effect, Planned
from quantd.trading.events import Decided, Event
from quantd.trading.execution import RATE_ONE, Costs, commission_ratio
from quantd.trading.fill_prices import commission_micro, impact_rate
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats
from quantd.trading.orders import Kind, OrderBasket, limit_text, price_text, quantities, size_text
from quantd.trading.statistics import RISK_FREE_ANNUAL

Answer = Callable[[Ask], Decided]

RISK_CLASSES: Final = (0.005, 0.02, 0.05, 0.10, 0.15, 0.25)
"""Upper bounds of annual volatility of the classes 1 to 6 of the synthetic risk and reward indicator (CESR/10-673)."""


class Expectation(Struct, frozen=True):
    """Expected annual figures of weights held through the last `samples` samples of the run; null where too few are
    known.

    `volatility` is the standard deviation. `sharpe` is (return - `risk_free`) / volatility. `probability_positive`
    is the probability that the mean return is above 0. `risk_score` is the class 1 to 7 of the volatility in the
    synthetic risk and reward indicator (CESR/10-673).
    """

    expected_return: float | None
    volatility: float | None
    sharpe: float | None
    risk_score: int | None
    probability_positive: float | None
    samples: int
    risk_free: float = RISK_FREE_ANNUAL


class Answered(Struct, frozen=True):
    """One agent's answer now.

    `held` says that the agent keeps its positions. `failed` is the reason why there is no answer. `note` is the note of
    the policy. `allocation` has the expected risk and turnover of its weights.
    """

    agent: str
    weights: dict[str, float]
    held: bool
    failed: str
    note: str = ""
    allocation: Allocation | None = None


class PricedOrder(Struct, frozen=True):
    """Size, prices and costs of an order. `price` is the last one, and `value` at it, in account currency.

    `slippage` (half spread, slippage and impact) and `commission` are the costs of a fill at that price.
    """

    symbol: str
    side: str
    qty: str
    price: str
    limit: str
    value: float
    commission: float
    slippage: float


class OrderPlanned(PricedOrder, frozen=True):
    """One order of the whole account that would be sent.

    `style` is empty, or says how it would be worked over time or in which auction it would be sent.
    """

    agents: list[str]
    reason: str
    style: str = ""


class Refusal(Struct, frozen=True):
    """A trade of an agent or of the whole account that waits, or was cut or refused.

    `most` is the largest size that would pass on its own; null for a trade that waits for cash.
    """

    who: str
    symbol: str
    side: str
    asked: str
    allowed: str
    most: str | None
    reason: str
    text: str


class PlanNow(Struct, frozen=True):
    """A round (one decision of all agents) as it would be planned now.

    `note` is the reason why no agent was called, else empty. `cancels` is the number of open orders that would be
    cancelled first. `var` and `var_after` are the value at risk of the whole account by the estimator of its limit,
    else historical at 95 %: now, and once the orders are filled; null where it is unknown.
    """

    run: str
    ts: int
    time: str
    switch: str
    note: str
    answers: list[Answered]
    orders: list[OrderPlanned]
    refused: list[Refusal]
    crossed: dict[str, str]
    cancels: int
    value: float
    commission: float
    slippage: float
    limits: list[LimitRow]
    var: float | None = None
    var_after: float | None = None


class WhatIf(Struct, frozen=True):
    """A round as it would be planned `now`, and `then` with other limits, weights and shares.

    `looser` names the limits that may be looser than those in force.
    """

    now: PlanNow
    then: PlanNow
    looser: list[str]


def plan_now(
    rules: Rules, frozen: bytes, answer: Answer, costs: Costs, run: str, after: Sequence[Event] = (), agent: str = "",
    first: int | None = None, weights: Mapping[int, bytes] = {},
) -> PlanNow:  # fmt: skip
    """On a copy of the state, call every agent that is not suspended, and plan their answers.

    The copy comes from the snapshot `frozen` and first takes the later events `after`. `agent` limits the call to one.
    `first` is the instant of the first decision of a run that has had none, ns UTC. The agents in `weights`, by index,
    are not called: their target weights (float64[N]) are given.
    """
    state = thaw(rules, frozen)
    for event in after:
        step(state, event)
    # a round first cancels resting stops; the preview shows its orders without them
    state.protection.stops, state.protection.rests = {}, {}
    judged: list[Judged] = []
    # the gate appends each of its calls to this list
    state.judged = judged
    for book in state.activity.books:
        # a preview is no order, so an equal recent order must not make it a duplicate
        book.request.drop()
    due, note = _due(state, agent, first, weights)
    asks = ask_agents(state, due, state.now) if due else []
    present = Book(state)
    # described before the answers are planned: the view shows the present state, which planning changes
    pairs = [(_given(weights, ask) or answer(ask), ask) for ask in asks if isinstance(ask, Ask)]
    answers = [_answered(state, decided, ask) for decided, ask in pairs]
    answered = [decided for decided, _ in pairs]
    effects = [effect for decided in answered for effect in on_decided(state, decided)]
    # gate calls after the house's first one judge child orders: only the parent orders are reported
    round_length = next((k + 1 for k, judgement in enumerate(judged) if judgement.book == HOUSE), 0)
    judged = judged[:round_length]
    orders = _planned_orders(state, effects, costs)
    plans = [e for e in effects if isinstance(e, Planned)]
    var, var_after = _value_at_risk(present, judged)
    return PlanNow(
        run=run,
        ts=state.now,
        time=instant_text(state.now),
        switch=SWITCH[state.switch.state],
        note=note,
        answers=answers,
        orders=orders,
        refused=[refusal for plan in plans for refusal in _refusals(state, plan, judged)],
        crossed=quantities(state.universe, np.frombuffer(plans[0].crossed, dtype="<i8").tolist()) if plans else {},
        cancels=sum(isinstance(e, Cancel) for e in effects),
        value=sum(o.value for o in orders),
        commission=sum(o.commission for o in orders),
        slippage=sum(o.slippage for o in orders),
        limits=_house_limits(present, judged),
        var=var,
        var_after=var_after,
    )


def _given(weights: Mapping[int, bytes], ask: Ask) -> Decided | None:
    """The answer of an agent whose target weights are given; None for every other agent."""
    given = weights.get(ask.agent)
    return None if given is None else Decided(ask.round, ask.agent, given)


def _due(state: State, agent: str, first: int | None, given: Container[int] = ()) -> tuple[list[int], str]:
    """Return the indices of the agents that are called, of all or of `agent`, and a note where none is."""
    if not state.sample:
        coming = f". The first decision can be at {local(first)} New York" if first else ""
        return [], f"no session has closed yet, so there is no price to decide on{coming}"
    if state.switch.state == HALT:
        return [], f"the house switch is HALT ({state.switch.reason}): no agent is called"
    agents = zip(state.rules.agents, state.seats, state.agents, strict=True)
    due = [
        index
        for index, (rules, policy_number, running) in enumerate(agents)
        # a place for a portfolio gets targets, and an outside agent makes proposals: neither is called
        if index in given
        or (
            not (running.suspended or rules.place or policy_number in state.rules.outside) and agent in ("", rules.name)
        )
    ]
    if due:
        return due, ""
    return due, f"{agent} is not called: it is suspended" if agent else "every agent is suspended: none is called"


def _answered(state: State, decided: Decided, ask: Ask) -> Answered:
    """The answer of an agent for the preview: a failure, a hold, or its target weights with their figures."""
    rules = state.rules.agents[decided.agent]
    if decided.failed or decided.weights is None:
        return Answered(rules.name, {}, not decided.failed, decided.failed, decided.note)
    target_allocation = allocation(
        ask.view,
        np.frombuffer(decided.weights),
        strategy=rules.name,
        method="by schedule" if rules.scheduled else "at each sample",
        lookback=state.rules.lookback,
        threshold=rules.min_trade,
    )
    # False and "": the agent neither holds nor fails
    return Answered(rules.name, target_allocation.target, False, "", decided.note, target_allocation)


def _planned_orders(state: State, effects: Sequence[Effect], costs: Costs) -> list[OrderPlanned]:
    """The orders that the planned round would send: parent orders if the style works them over time, else baskets.

    A row of a plan is (column, signed lots, limit price, code of the limit that cut it). The agents of an order are
    those that buy where it buys, or sell where it sells.
    """
    orders = []
    plans = {(effect.sample, effect.n): effect for effect in effects if isinstance(effect, Planned)}
    baskets = [effect for effect in effects if isinstance(effect, OrderBasket)]
    over_time = state.rules.execution.style in WORKED
    for plan, rows, style in _worked_orders(state, effects) if over_time else _immediate_orders(plans, baskets):
        agent_lots = [
            (state.rules.agents[part.agent].name, np.frombuffer(part.allowed, dtype=np.int64)) for part in plan.agents
        ]
        for column, lots, worst, code in rows:
            agents = [name for name, allowed in agent_lots if allowed[column] * lots > 0]
            more = {"agents": agents, "reason": reason_name(code), "style": style}
            orders.append(priced(OrderPlanned, state, costs, column, lots, worst, **more))
    return orders


Priced = TypeVar("Priced", bound=PricedOrder)


def priced(
    kind: type[Priced], state: State, costs: Costs, column: int, lots: int, worst_nano: int, **more: object
) -> Priced:
    """An order of `lots` (signed) of the symbol in `column`, with the limit price `worst_nano`, as a `kind`.

    Price and costs are at the marks of `state`. `more` are the fields that the `kind` adds.
    """
    value, commission, slippage = cost_of(state, costs, column, lots)
    fields: dict[str, Any] = {
        **size_text(state.universe.symbols[column], lots, state.universe.lot_nano[column]), **more,
        "price": price_text(int(state.marks_nano[column])), "limit": limit_text(worst_nano),
        "value": value, "commission": commission, "slippage": slippage,
    }  # fmt: skip
    return kind(**fields)


def cost_of(state: State, costs: Costs, column: int, lots: int) -> tuple[float, float, float]:
    """(value, commission, slippage) of a fill at the mark, in currency; slippage includes half spread and impact."""
    lot, mark = state.universe.lot_nano[column], int(state.marks_nano[column])
    value = abs(lots) * lot * mark / NANO / NANO
    fee = commission_micro(abs(lots), mark, *commission_ratio(lot, costs.commission_rate))
    rate, volume = costs.fixed_rate, float(state.average_volume()[column])
    if costs.impact > 0.0 and volume > 0.0:
        rate += impact_rate(costs.impact, abs(lots), lot, volume)
    return value, max(fee, costs.commission_min_micro) / MICRO, value * rate / RATE_ONE


Rows = list[tuple[int, int, int, int]]
"""(column, signed lots, worst price in nano, reason code) of each order."""


def _immediate_orders(
    plans: dict[tuple[int, int], Planned], baskets: Sequence[OrderBasket]
) -> list[tuple[Planned, Rows, str]]:
    return [
        (
            plans[basket.sample, basket.n],
            list(zip(basket.sym, basket.lots, basket.worst_nano, basket.reason, strict=True)),
            Kind(basket.kind[0]).name.lower() if basket.kind else "",
        )
        for basket in baskets
    ]


def _worked_orders(state: State, effects: Sequence[Effect]) -> list[tuple[Planned, Rows, str]]:
    """(plan, its parent orders, execution style) of each plan of the preview that would be worked over time.

    A parent order is for all agents together.
    """
    plans = plans_of(effects)
    return [(plan, parent_rows(state, plan), plan.portion.style) for plan in plans if plan.portion is not None]


def parent_rows(state: State, plan: Planned) -> Rows:
    """The parent orders of a plan whose lots are worked over time."""
    worst_prices = {s: price for p in state.parents for s, price in zip(p.sym, p.worst_nano, strict=True)}
    lots, codes = np.frombuffer(plan.allowed, dtype=np.int64), np.frombuffer(plan.reason, dtype=np.int8)
    return [(k, int(lots[k]), worst_prices.get(k, 0), int(codes[k])) for k in np.flatnonzero(lots).tolist()]


def _refusals(state: State, plan: Planned, judged: Sequence[Judged]) -> list[Refusal]:
    """The trades that a plan keeps back, and those that a gate call (the check of limits) cut or refused."""
    judgements = {judgement.book: judgement for judgement in judged}
    refusals = []
    for number, cut in cuts_of(plan):
        judgement = judgements.get(HOUSE if number < 0 else number)
        waits = judgement is None or cut.code == WAITS  # for cash: no limit has cut it, so none is asked
        most = None if judgement is None or waits else largest_of(judgement, cut.symbol, cut.asked).qty
        who = "house" if number < 0 else state.rules.agents[number].name
        refusals.append(Refusal(who=who, most=most, **cut_text(state.universe, cut)))
    return refusals


def _house_limits(present: Book, judged: Sequence[Judged]) -> list[LimitRow]:
    """The rows of the limits of the whole account: values now, and after the orders of the decision, if it has any.

    A loss is the same before and after the orders.
    """
    losses = {key: Figure(*pair) for key, pair in present.losses.items() if pair[1] == pair[1]}
    before, after, limits = {}, {}, present.limits
    if judged:
        house = judged[-1]
        before = figures(house.ctx, house.account, limits, None)
        after = figures(house.ctx, house.account, limits, house.verdict.lots)
    elif present.ctx is not None:
        before = after = figures(present.ctx, present.account, limits, None)
    before, after = before | losses, after | losses
    return [row(key, limits, before.get(key), after.get(key)) for key in in_order({*before, *after})]


def _value_at_risk(present: Book, judged: Sequence[Judged]) -> tuple[float | None, float | None]:
    """(value at risk of the whole account now, once the orders are filled), as fractions of its equity."""
    if present.ctx is None:
        return None, None
    limits = present.limits if present.limits.var is not None else override(present.limits, var=Tail(1.0))
    ctx, account, lots = present.ctx, present.account, None
    if judged:
        ctx, account, lots = judged[-1].ctx, judged[-1].account, judged[-1].verdict.lots
    now, then = (figures(ctx, account, limits, each).get("var") for each in (None, lots))
    return finite(now.value) if now else None, finite(then.value) if then else None


def expectation(state: State, book_index: int, weights: Floats, basis: str) -> Expectation:
    """The annual figures of weights float64[N], one per symbol, held through the newest samples (the run's lookback).

    `book_index` is the agent whose book the weights are for, and `basis` the name of their source. The Sharpe ratio is
    None without a return or risk. The risk score is the class of the annual volatility, from 1 (the lowest).
    """
    view, lookback = view_of(state, book_index, state.now), state.rules.lookback
    figures = allocation(view, weights, strategy=basis, method="as proposed", lookback=lookback)
    mean, risk = figures.expected_return, figures.expected_risk
    has_sharpe = mean is not None and risk is not None and risk > 0.0
    return Expectation(
        expected_return=mean,
        volatility=risk,
        sharpe=(mean - RISK_FREE_ANNUAL) / risk if has_sharpe and mean is not None and risk is not None else None,
        risk_score=None if risk is None else bisect_left(RISK_CLASSES, risk) + 1,
        probability_positive=figures.probability_positive,
        samples=figures.samples,
    )
