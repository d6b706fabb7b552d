"""Why an order was made as it was: the round that planned it, from the journal's own record of it.

Nothing is computed anew but shares and differences; what each agent held is folded from the journal's fills,
crosses and splits.
"""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from adapters.store.reading import Reader
from adapters.store.store import read_only
from daemon.exits import ExitPart, exits_of
from daemon.overview import LimitNow, iso, limit_now
from risk.limits import REASON_TEXT, Reason
from trading.books import Ledger
from trading.codec import decode
from trading.effects import AgentPlan, Crossed, Filled, Planned
from trading.events import Action
from trading.instruments import NANO, Universe
from trading.orders import Fill, price_text, quantity_text


class LimitMoved(Struct, frozen=True):
    """A limit's value before the round, after all its fills at reference prices, and its bound."""

    limit: str
    before: float | None
    after: float | None
    bound: float | None
    floor: bool


class AgentPart(Struct, frozen=True):
    """What one agent wanted of the symbol and what its own limits left. Weights are fractions of its book; `scale`
    is what the headroom for cash and gross left of all its weights."""

    agent: str
    wanted: float
    had: float | None
    held: str
    scale: float
    asked: str
    allowed: str
    reason: str
    text: str
    limits: list[LimitNow]


class FillPart(Struct, frozen=True):
    """One fill; `shortfall_bp` is its cost against the price decided on (positive is worse), `fee_bp` its commission."""

    ts: int
    time: str
    qty: str
    price: str
    fee: str
    shortfall_bp: float
    fee_bp: float


class Twin(Struct, frozen=True):
    """Another symbol of the same round that the house's gate cut."""

    symbol: str
    side: str
    asked: str
    allowed: str
    reason: str
    text: str


class Explanation(Struct, frozen=True):
    """Everything that is known of one order's making."""

    order: str
    symbol: str
    side: str
    qty: str
    limit: str
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
    limits: list[LimitMoved]
    twins: list[Twin]
    fills: list[FillPart]
    exits: list[ExitPart]


def reason_name(code: int) -> str:
    """Code of a reason as a word: 3 is "cash", 0 empty."""
    return "" if not code else Reason(code).name.lower()


def reason_text(code: int) -> str:
    """Code of a reason as a clause."""
    return REASON_TEXT[Reason(code)]


def explain(where: str | Path, reader: Reader, order_id: str) -> Explanation:
    """Explain an order of the reader's run; `where` is the store it reads. Raises StoreFailing when there is none."""
    found = reader.decision(order_id)
    order, plan, names = found.order.order, found.plan, found.agents
    universe = reader.run.universe
    column, lot = universe.index[order.symbol], universe.lot_nano[universe.index[order.symbol]]
    books = _books_at(where, reader, plan)
    point = next((p for p in reversed(reader.equity()) if p.ts <= plan.ts), None)
    equity = float(point.equity) if point is not None else 0.0
    price = float(_floats(plan.prices)[column])
    before, net, allowed = (int(_ints(x)[column]) for x in (plan.before, plan.net, plan.allowed))
    value = price * lot / NANO
    code = int(_codes(plan.reason)[column])
    fills = [f for f in reader.fills(since=plan.ts, symbol=order.symbol) if f.order == order_id]
    return Explanation(
        order=order.id,
        symbol=order.symbol,
        side=order.side,
        qty=order.qty,
        limit=order.limit,
        state=order.state,
        note=found.order.note,
        run=reader.run.run,
        agent=order.agent,
        decided=plan.ts,
        time=iso(plan.ts),
        sample=plan.sample,
        sample_time=iso(plan.sample),
        number=plan.n,
        follow_up=plan.follow_up,
        price=price_text(round(price * NANO)),
        held_before=quantity_text(before, lot),
        weight_before=before * value / equity if equity > 0 else None,
        weight_after=(before + allowed) * value / equity if equity > 0 else None,
        agents=[
            _part(part, names, column, lot, value, books, point.books if point is not None else ())
            for part in plan.agents
        ],
        crossed=quantity_text(int(_ints(plan.crossed)[column]), lot),
        net=quantity_text(net, lot),
        allowed=quantity_text(allowed, lot),
        reason=reason_name(code),
        text=reason_text(code),
        limits=_limits(plan),
        twins=_twins(plan, universe, column),
        fills=[_fill(fill, order.side, price) for fill in fills],
        exits=exits_of(where, reader.run.run, plan, column, names),
    )


def _floats(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.frombuffer(data, dtype="<f8")


def _ints(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.frombuffer(data, dtype="<i8")


def _codes(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.frombuffer(data, dtype=np.int8)


def _books_at(where: str | Path, reader: Reader, plan: Planned) -> list[list[int]]:
    """Lots of every agent's book when the round was planned, by agent and column: exact, splits too."""
    universe, run = reader.run.universe, reader.run
    names = max((names for _, names in run.epochs), key=len)
    ledger = Ledger(universe, names)
    for _, data in read_only(where).entries(run.run, 1):
        entry = decode(data)
        event = entry.event
        if isinstance(event, Action) and event.kind == "split":
            ledger.split(event.symbol, event.numerator, event.denominator, NANO)
        for effect in entry.effects:
            if isinstance(effect, Filled):
                ledger.fills(effect.sym, effect.lots, effect.price_nano, effect.fee_micro, effect.shares)
            elif isinstance(effect, Crossed):
                ledger.cross(effect.symbol, effect.price_nano, effect.shares)
            elif isinstance(effect, Planned) and (effect.sample, effect.n, effect.ts) == (plan.sample, plan.n, plan.ts):
                return [book.lots for book in ledger.books]
    return [book.lots for book in ledger.books]


def _part(
    part: AgentPlan,
    names: Sequence[str],
    column: int,
    lot: int,
    value: float,
    books: list[list[int]],
    equities: Sequence[str],
) -> AgentPart:
    held = books[part.agent][column] if part.agent < len(books) else 0
    equity = float(equities[part.agent]) if part.agent < len(equities) else 0.0
    code = int(_codes(part.reason)[column])
    return AgentPart(
        agent=names[part.agent] if part.agent < len(names) else str(part.agent),
        wanted=float(_floats(part.weights)[column]),
        had=held * value / equity if equity > 0 else None,
        held=quantity_text(held, lot),
        scale=part.scale,
        asked=quantity_text(int(_ints(part.asked)[column]), lot),
        allowed=quantity_text(int(_ints(part.allowed)[column]), lot),
        reason=reason_name(code),
        text=reason_text(code),
        limits=[limit_now(key, value, bound) for key, (value, bound) in sorted(part.values.items())],
    )


_SIDES: Final = {True: "buy", False: "sell"}


def _twins(plan: Planned, universe: Universe, column: int) -> list[Twin]:
    found = []
    asked, allowed, reasons = _ints(plan.net), _ints(plan.allowed), _codes(plan.reason)
    for other in np.flatnonzero(asked != allowed):
        if other == column:
            continue
        lot, code = universe.lot_nano[other], int(reasons[other])
        found.append(
            Twin(
                symbol=universe.symbols[other],
                side=_SIDES[bool(asked[other] > 0)],
                asked=quantity_text(abs(int(asked[other])), lot),
                allowed=quantity_text(abs(int(allowed[other])), lot),
                reason=reason_name(code),
                text=reason_text(code),
            )
        )
    return found


def _limits(plan: Planned) -> list[LimitMoved]:
    found = []
    for key in sorted({*plan.values_before, *plan.values}):
        before = plan.values_before.get(key)
        after = plan.values.get(key)
        now = limit_now(key, *(after or before or (float("nan"), float("nan"))))
        was = before[0] if before is not None and isfinite(before[0]) else None
        found.append(LimitMoved(key, was, now.value if after is not None else None, now.bound, now.floor))
    return found


def _fill(fill: Fill, side: str, reference: float) -> FillPart:
    price, qty, fee = float(fill.price), float(fill.qty), float(fill.fee)
    sign = 1.0 if side == "buy" else -1.0
    return FillPart(
        ts=fill.ts,
        time=iso(fill.ts),
        qty=fill.qty,
        price=fill.price,
        fee=fill.fee,
        shortfall_bp=sign * (price / reference - 1.0) * 1e4 if reference > 0 else 0.0,
        fee_bp=fee / (price * qty) * 1e4 if price * qty > 0 else 0.0,
    )
