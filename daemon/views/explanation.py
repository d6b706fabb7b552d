"""Explains why an order was made, or why none was, from the journal's record of the decision.

Figures that are not recorded (the headroom of each limit, the largest size, the correlated pair) are recomputed by the
gate on the state of the decision, when that state can be rebuilt.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.recovery.state_at import Cooldown, Redecided, Unavailable
from quantd.daemon.views.addresses import Found, asked_lines, ints
from quantd.daemon.views.cancellations import cancelled_by
from quantd.daemon.views.limit_rows import (
    Largest,
    LimitRow,
    largest_of,
    reason_name,
    reason_text,
    recorded_rows,
    rows_of,
)
from quantd.daemon.views.movements import Movements
from quantd.daemon.views.overview import SWITCH
from quantd.daemon.views.policy_inputs import Inputs, inputs_of
from quantd.daemon.views.shortfall import Costed, Slices, of_order, of_whole, shortfalls_of
from quantd.risk.limits.catalogue import Limits
from quantd.trading.display_text import instant_text
from quantd.trading.effects import AgentPlan, Planned, Protected, Rested
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import Fill, Order, price_text, quantity_text


class ExitPart(Struct, frozen=True):
    """One agent's position that a protective exit closes.

    `kind` is the kind of protective level, `level` its price, `mark` the price that reached it, and `change` the
    return from the `entry` price to it. With `rests` the order is a working stop order at the venue, and `mark` is the
    mark at which it was sent.
    """

    agent: str
    kind: str
    entry: str
    mark: str
    level: str
    change: float
    rests: bool = False


def exits_of(reader: Reader, plan: Planned, column: int, names: Sequence[str], since: int = 1) -> list[ExitPart]:
    """The exits of a plan in one symbol, or the stop that it sent; empty for any other order.

    An exit closes a position at a protective level. `column` is the index of the symbol, `names` are the agents' names.
    Reads the journal from entry `since` up to the plan's entry.
    """
    # a stop that rests at the venue (Rested) has no mark of its own: the price of the plan takes its place
    sent_at = float(np.frombuffer(plan.prices, dtype="<f8")[column])
    for _, entry in reader.journal(since):
        if any(
            type(effect) is Planned and (effect.sample, effect.n, effect.ts) == (plan.sample, plan.n, plan.ts)
            for effect in entry.effects
        ):
            return [
                ExitPart(
                    agent=names[effect.agent] if effect.agent < len(names) else str(effect.agent),
                    kind=effect.kind,
                    entry=price_text(round(effect.entry * NANO)),
                    mark=price_text(round(mark * NANO)),
                    level=price_text(round(effect.level * NANO)),
                    change=mark / effect.entry - 1.0,
                    rests=type(effect) is Rested,
                )
                for effect in entry.effects
                if isinstance(effect, Protected | Rested)
                for mark in [effect.mark if isinstance(effect, Protected) else sent_at]
                if (effect.sample, effect.n, effect.symbol) == (plan.sample, plan.n, column)
            ]
    return []


def exit_lines(exits: Sequence[ExitPart]) -> list[str]:
    return [
        f"working stop order of {part.agent} at the venue, {part.kind.replace('_', ' ')}: level {part.level}, "
        f"entry price {part.entry}, sent at mark {part.mark}; its fills close the position"
        if part.rests
        else f"protective exit of {part.agent}, {part.kind.replace('_', ' ')}: entry price {part.entry}, "
        f"mark {part.mark} ({part.change:+.1%}), level {part.level}; the whole position is closed, whatever its target"
        for part in exits
    ]


SIMULATED: Final = "{} is a shadow: its orders and fills are simulated, and none of them was sent to the venue"
"""Sentence about the explanation of a shadow's decision, with its name."""

Judge = Callable[[Decision], Redecided]
"""Computes a plan again from the state of its decision; raises Unavailable."""


class AgentPart(Struct, frozen=True):
    """One agent's target for the symbol and the verdict of its own limits.

    `wanted` and `had` are its target and its present weight, as fractions of its book. `scale` is the factor, at most
    1, by which all its target weights are held, so that cash and gross exposure stay within the limits after all fills.
    """

    agent: str
    wanted: float
    had: float | None
    held: str
    scale: float
    asked: str
    allowed: str
    reason: str
    text: str
    limits: list[LimitRow]
    largest: Largest | None
    policy: str = ""
    """The agent whose policy decided, when it is another agent."""
    because: str = ""
    """The proposal or the closing behind a portfolio's target."""
    learned: list[Inputs] = []
    """The learned parts of the policy; empty for other policies, and where the state was not rebuilt."""
    kept: str = "0"
    """Signed units of the target that this plan does not ask for. They wait for fills, for a sale or (reason price_age)
    for a price, or are above the limit of a position (reason position_weight)."""


class FillPart(Struct, frozen=True):
    """One fill; `shortfall_bp` is its cost against the decision price (positive is worse), `fee_bp` its commission."""

    ts: int
    time: str
    qty: str
    price: str
    fee: str
    shortfall_bp: float
    fee_bp: float


class Twin(Struct, frozen=True):
    """A trade in another symbol of the same decision that the limits of the whole account cut."""

    address: str
    symbol: str
    side: str
    asked: str
    allowed: str
    reason: str
    text: str


class Explanation(Struct, frozen=True):
    """The explanation of one symbol in one decision.

    `order` and its fields are empty when no order was made. `style` is the execution style. `part_of` is the instant at
    which the parent order of a child order was planned. `shortfall` is the cost of the order, `whole` of its parent
    order. `shadow` is the shadow that decided and `simulated` a sentence that nothing reached the venue; both are empty
    for agents. `recomputed` says that headroom, largest sizes and the symbol's limits were computed again. Otherwise
    `unavailable` has the reason, and `limits` are those that the journal recorded.
    """

    address: str
    order: str
    symbol: str
    side: str
    qty: str
    limit: str
    """The limit price; empty where no order was made, and for an order without one."""
    state: str
    note: str
    run: str
    agent: str
    decided: int
    time: str
    sample: int
    sample_time: str
    number: int
    follow_up: int
    switch: str
    price: str
    held_before: str
    weight_before: float | None
    weight_after: float | None
    agents: list[AgentPart]
    crossed: str
    net: str
    allowed: str
    reason: str
    text: str
    limits: list[LimitRow]
    largest: Largest | None
    recomputed: bool
    unavailable: str
    twins: list[Twin]
    fills: list[FillPart]
    exits: list[ExitPart] = []
    style: str = ""
    part_of: str = ""
    shortfall: Costed | None = None
    whole: Costed | None = None
    shadow: str = ""
    simulated: str = ""
    cancelled: str = ""
    """Who or what cancelled the order, and when."""


# Long because it is one record: each field of the explanation, and the part of the decision that it is read from.
def explain(subject: Found, judge: Judge | None = None, slices: Slices | None = None) -> Explanation:
    """Explain the order, or its absence, in one symbol of one decision.

    `judge` computes the plan of a decision again; None: only recorded figures are used. `slices` returns the bars of a
    recorded market, for the shortfall.
    """
    reader, decision, column, order = subject.reader, subject.decision, subject.column, subject.order
    plan, names, universe = decision.plan, decision.agents, reader.run.universe
    redecided, unavailable = _redecided(decision, judge)
    judged = redecided.judged
    symbol, lot = universe.symbols[column], universe.lot_nano[column]
    price = float(_floats(plan.prices)[column])
    before, net, allowed = (int(ints(x)[column]) for x in (plan.before, plan.net, plan.allowed))
    code, value = int(_codes(plan.reason)[column]), price * lot / NANO
    equity, books = _accounts(reader, plan, judged)
    house_judgement = judged[-1] if judged else None
    # an order that crossed completely has no net: then the first agent's request has the side, or what it kept back
    side = net or next((lots for p in plan.agents if (lots := int(ints(p.asked)[column]) or _kept(p, column))), 0)
    fills = []
    if order is not None:
        fills = [f for f in reader.fills(since=plan.ts, symbol=symbol) if f.order == order.id]
    cost, parent_cost = _shortfalls(reader, decision, order, column, slices)
    return Explanation(
        address=decision.of(symbol),
        order=order.id if order is not None else "",
        symbol=symbol,
        side=order.side if order is not None else _SIDES[side > 0],
        qty=order.qty if order is not None else "0",
        limit=order.limit if order is not None else "",
        state=_outcome(order, plan, column),
        note=order.note if order is not None else "",
        run=reader.run.run,
        agent=order.agent if order is not None else "",
        decided=plan.ts,
        time=instant_text(plan.ts),
        sample=plan.sample,
        sample_time=instant_text(plan.sample),
        number=plan.n,
        follow_up=plan.follow_up,
        switch=SWITCH[house_judgement.switch] if house_judgement is not None else "",
        price=price_text(round(price * NANO)) if np.isfinite(price) else "",
        held_before=quantity_text(before, lot),
        weight_before=_weight(before * value, equity.get(-1)),
        weight_after=_weight((before + allowed) * value, equity.get(-1)),
        agents=[
            _agent_part(
                part,
                names,
                column,
                symbol,
                lot,
                value,
                books,
                equity,
                next((j for j in judged if j.book == part.agent), None),
                inputs_of(redecided.learned.get(part.agent, ()), symbol),
                redecided.cooldowns.get((part.agent, column)),
            )
            for part in plan.agents
        ],
        crossed=quantity_text(int(ints(plan.crossed)[column]), lot),
        net=quantity_text(net, lot),
        allowed=quantity_text(allowed, lot),
        reason=reason_name(code),
        text=reason_text(code, plan.values, symbol),
        limits=_limit_rows(house_judgement, column, plan.values_before, plan.values, code),
        largest=largest_of(house_judgement, column, net) if house_judgement is not None and net else None,
        recomputed=bool(judged),
        unavailable=unavailable,
        twins=_twins(reader, decision, symbol),
        fills=[_fill_part(fill, order.side, price) for fill in fills] if order is not None else [],
        exits=exits_of(reader, plan, column, names, decision.seq),
        style=plan.portion.style if plan.portion is not None else "",
        part_of=instant_text(plan.portion.decided) if plan.portion is not None and plan.portion.decided else "",
        shortfall=cost,
        whole=parent_cost,
        shadow=reader.of_shadow,
        simulated=SIMULATED.format(reader.of_shadow) if reader.of_shadow else "",
        cancelled=_cancel_cause(reader, decision, order, column),
    )


def _shortfalls(
    reader: Reader, decision: Decision, order: Order | None, column: int, slices: Slices | None
) -> tuple[Costed | None, Costed | None]:
    if order is None or reader.records is None:
        return None, None
    plan = decision.plan
    journal_shortfalls = shortfalls_of(reader, plan, slices)
    key = (plan.sample, plan.n, column)
    return of_order(journal_shortfalls, key, order.id), of_whole(journal_shortfalls, key)


def _cancel_cause(reader: Reader, decision: Decision, order: Order | None, column: int) -> str:
    """Who or what cancelled an order; empty if it was not cancelled, or there is no journal."""
    if order is None or order.state not in ("cancelled", "cancelling") or reader.records is None:
        return ""
    return cancelled_by(reader, decision.plan, column, decision.seq)


def _redecided(decision: Decision, judge: Judge | None) -> tuple[Redecided, str]:
    """(the plan of a decision computed again by `judge`, ""); or (an empty plan, the reason) where it fails."""
    if judge is None:
        return Redecided([], {}), "--recorded shows recorded figures only"
    try:
        return judge(decision), ""
    except Unavailable as why:
        return Redecided([], {}), str(why)


def _outcome(order: Order | None, plan: Planned, column: int) -> str:
    """The order's state, or without an order "worked" (by child orders), "crossed" (between agents), "refused", or
    "unchanged" where no agent asked for a trade."""
    if order is not None:
        return order.state
    if not any(int(ints(part.asked)[column]) for part in plan.agents):
        return "unchanged"
    if plan.portion is not None and not plan.portion.decided and int(ints(plan.allowed)[column]):
        return "worked"
    if int(ints(plan.net)[column]) == 0 and int(ints(plan.crossed)[column]):
        return "crossed"
    return "refused"


def _weight(value: float, equity: float | None) -> float | None:
    return value / equity if equity is not None and equity > 0 and np.isfinite(value) else None


def _floats(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.frombuffer(data, dtype="<f8")


def _codes(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.frombuffer(data, dtype=np.int8)


def _accounts(reader: Reader, plan: Planned, judged: Sequence[Judged]) -> tuple[dict[int, float], dict[int, list[int]]]:
    """(equity by book, lots by book) when the round (decision of all agents) was planned; book -1 is the account.

    The values come from the gate calls (checks of orders), or else from the recorded fills and valuations.
    """
    if judged:
        return (
            {judgement.book: judgement.account.equity for judgement in judged},
            {judgement.book: judgement.account.lots.astype(np.int64).tolist() for judgement in judged},
        )
    lots = dict(enumerate(_books_at(reader, plan)))
    point = next(iter(reader.equity(until=plan.ts, last=1)), None)
    if point is None:
        return {}, lots
    return {-1: point.equity_micro / MICRO, **{k: book_micro / MICRO for k, book_micro in enumerate(point.books)}}, lots


def _books_at(reader: Reader, plan: Planned) -> list[list[int]]:
    """Lots of every agent's book when the decision was planned, from all earlier movements."""
    movements, agents = Movements(reader.run.universe), max(len(names) for _, names in reader.run.epochs)
    for _, entry in reader.journal():
        for effect, _ in movements.add(entry.event, entry.effects):
            if isinstance(effect, Planned) and (effect.sample, effect.n, effect.ts) == (plan.sample, plan.n, plan.ts):
                break
        else:
            continue
        break
    none = np.zeros(reader.run.universe.size, dtype=np.int64)
    return [movements.lots_of.get(book, none).tolist() for book in range(agents)]


def _agent_part(
    part: AgentPlan,
    names: Sequence[str],
    column: int,
    symbol: str,
    lot: int,
    value: float,
    books: dict[int, list[int]],
    equity: dict[int, float],
    judged: Judged | None,
    learned: list[Inputs],
    cooldown: Cooldown | None,
) -> AgentPart:
    """One agent's part in a decision about one symbol, which is `symbol` with the index `column`.

    `value` is the value of one lot, `lot` its size in nano-units. `books` maps an agent's index to its lots by symbol,
    and `equity` to its equity. `judged` is the gate call (check of the orders) of the agent; without it (None) only the
    recorded limit values are known.
    """
    held_lots = books[part.agent][column] if part.agent in books else 0
    code = int(_codes(part.reason)[column])
    asked, wanted = int(ints(part.asked)[column]), float(_floats(part.weights)[column])
    kept = _kept(part, column)
    return AgentPart(
        agent=names[part.agent] if part.agent < len(names) else str(part.agent),
        wanted=wanted,
        had=_weight(held_lots * value, equity.get(part.agent)),
        held=quantity_text(held_lots, lot),
        scale=part.scale,
        asked=quantity_text(asked, lot),
        allowed=quantity_text(int(ints(part.allowed)[column]), lot),
        reason=reason_name(code),
        text=reason_text(code, part.values, symbol)
        if code or asked or kept or not wanted
        else "the change is below one lot or min_trade, or an open order or a protective exit is in progress",
        # {}: no value before the order is recorded
        limits=[_cooled(row, cooldown) for row in _limit_rows(judged, column, {}, part.values, code)],
        largest=largest_of(judged, column, asked) if judged is not None and asked else None,
        policy=part.policy,
        because=part.because,
        learned=learned,
        kept=quantity_text(kept, lot),
    )


def _cooled(row: LimitRow, cooldown: Cooldown | None) -> LimitRow:
    """The row of the exits with the cooldown that refused a purchase: its length, and when it is over."""
    if row.limit != "protective" or cooldown is None:
        return row
    over = f", over at {instant_text(cooldown.over)}" if cooldown.over else ""
    words = f"cooldown of {cooldown.length} samples after a protective exit{over}"
    use = cooldown.sample / cooldown.length
    return replace(row, words=words, unit="number", after=cooldown.sample, bound=cooldown.length, use=use)


def _kept(part: AgentPlan, column: int) -> int:
    """Signed lots of the target that a plan does not ask for."""
    return int(ints(part.kept)[column]) if part.kept else 0


_SIDES: Final = {True: "buy", False: "sell"}


def _twins(reader: Reader, decision: Decision, symbol: str) -> list[Twin]:
    return [
        Twin(line.address, line.symbol, line.side, line.asked, line.allowed, line.reason, line.text)
        for line in asked_lines(reader, decision, "house")
        if line.asked != line.allowed and line.symbol != symbol
    ]


def _limit_rows(
    judged: Judged | None,
    column: int,
    before: dict[str, tuple[float, float]],
    after: dict[str, tuple[float, float]],
    code: int,
) -> list[LimitRow]:
    return recorded_rows(before, after, Limits(), code) if judged is None else rows_of(judged, column)


def _fill_part(fill: Fill, side: str, reference: float) -> FillPart:
    """A fill with its costs; `reference` is the decision price, 0 if it is unknown.

    The shortfall is positive where the fill was worse than that price.
    """
    price, qty, fee = float(fill.price), float(fill.qty), float(fill.fee)
    sign = 1.0 if side == "buy" else -1.0
    return FillPart(
        ts=fill.ts,
        time=instant_text(fill.ts),
        qty=fill.qty,
        price=fill.price,
        fee=fill.fee,
        shortfall_bp=sign * (price / reference - 1.0) * 1e4 if reference > 0 else 0.0,
        fee_bp=fee / (price * qty) * 1e4 if price * qty > 0 else 0.0,
    )
