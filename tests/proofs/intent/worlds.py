"""Random books at constant prices, whose policy answers two targets; what they hold then, beside what was asked.

The oracle is conservation of intent: the lots asked at the decision are the lots held after the last order of the
decision and the lots that its plans name with a cause. Where no limit, volume or reserve binds, nothing excuses: each
position is within one lot, `min_trade` or 0.3 % of equity of its target at the third sample after the last sale.
Prices are constant, so that only the decision moves the book.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple
from unittest import mock

import numpy as np

from quantd.daemon.engine.core.lots import LEAST_REST
from quantd.daemon.engine.state import State
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.trading.effects import AgentPlan, Planned
from quantd.trading.execution import Costs
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Hold, View
from tests.support import engine
from tests.support.engine import START, World, block

SECOND: Final = 5
"""The day of the second target."""
DAYS: Final = 13
NEAR: Final = 0.003
"""The largest part of equity by which a position may miss its target."""


class Case(NamedTuple):
    """A book: account currency `cash`, float64[N] prices, two float64[N] targets and the daily volume in lots."""

    cash: int
    px: Floats
    targets: tuple[Floats, Floats]
    limits: Limits
    agents: int
    min_trade: float
    holds: bool
    volume: float


class Fault(NamedTuple):
    """What a book lacks or does: `size` is a fraction of equity."""

    kind: str
    size: float
    named: str


def drawn(seed: int, number: int) -> Case:
    """The case with this number: one to twenty symbols, some with shorts, a volume that binds, or a margin account."""
    rng = np.random.default_rng([seed, number])
    n = int(rng.choice([1, 2, 3, 5, 8, 12, 20]))
    px = np.round(np.exp(rng.uniform(np.log(0.5), np.log(3000.0), n)), 2)
    weight = rng.choice([None, 0.15, 0.3, 0.6])
    shorts = rng.random() < 0.15
    limits = Limits(
        collar=float(rng.choice([0.05, 0.02, 0.0025])),
        fee_bp=float(rng.choice([0.0, 1.0, 10.0])),
        allow_short=shorts,
        max_gross_exposure=None if (gross := rng.choice([None, 1.0, 0.9, 0.6])) is None else float(gross),
        max_position_weight=None if weight is None else float(weight),
        max_share_of_volume=0.1 if rng.random() < 0.15 else None,
        max_cash_debit=0.1 if rng.random() < 0.1 else 0.0,
        cash_reserve=float(rng.choice([0.0, 0.0, 0.02])),
        in_flight=0.05,
    )
    first, second = _target(rng, n, shorts), _target(rng, n, shorts)
    if weight is not None and rng.random() < 0.7:
        first, second = np.clip(first, -weight, weight), np.clip(second, -weight, weight)
    cash = int(10 ** rng.uniform(3.0, 9.0))
    volume = 1e13 if limits.max_share_of_volume is None else float(rng.uniform(1.0, 20.0)) * cash / float(px.min())
    return Case(
        cash, px, (first, second), limits, int(rng.choice([1, 1, 2])), float(rng.choice([0.0, 0.005, 0.005])),
        bool(rng.random() < 0.5), volume,
    )  # fmt: skip


def _target(rng: np.random.Generator, n: int, shorts: bool) -> Floats:
    """Weights float64[N] of 0.5 to 1 in sum, over all or some symbols; negative ones where `shorts` are allowed."""
    weights = rng.dirichlet(np.ones(n)) if rng.random() < 0.5 else np.full(n, 1.0 / n)
    weights = weights * (rng.random(n) < rng.choice([1.0, 0.5, 0.3]))
    if not weights.any():
        return weights
    weights *= float(rng.choice([1.0, 1.0, 0.9, 0.5])) / weights.sum()
    return weights * np.where(rng.random(n) < 0.3, -1.0, 1.0) if shorts else weights


def played(case: Case) -> Iterator[Fault]:
    """The faults of a case."""

    def act(view: View) -> Floats | Hold:
        day = (view.time - START) // DAY_NS
        if case.holds and day not in (0, SECOND):
            return HOLD
        return case.targets[day >= SECOND]

    bars = block(np.tile(case.px, (DAYS, 1)), volume=np.full((DAYS, len(case.px)), case.volume))
    with mock.patch.object(engine, "CASH", case.cash):
        world = World(
            bars, [act] * case.agents, house=case.limits, costs=Costs(commission_bp=case.limits.fee_bp),
            min_trade=case.min_trade, follow_ups=3,
        ).run()  # fmt: skip
    plans = [plan for plan in world.of(Planned) if isinstance(plan, Planned) and plan.ts >= START + SECOND * DAY_NS]
    state = world.shell.state
    for number in range(case.agents):
        held = np.array(state.ledger.books[number].lots, dtype=np.float64)
        if unnamed := without_cause(state, number):
            yield Fault("lots without a cause", unnamed, "")
        parts = [(plan, part) for plan in plans for part in plan.agents if part.agent == number]
        yield from faults(case, held, state.books_micro[number] / 1e6, parts)


def without_cause(state: State, number: int) -> float:
    """The part of equity that an agent lacks of its target, or has beyond it, and that no cause of its plan names."""
    lacks, lots, values = state.agents[number].lacks, state.lots(number), state.lot_values()
    missing = sum((abs(lacks.target[k]) - lacks.overlap(k, float(lots[k]))) * values[k] for k in range(lacks.size))
    unnamed = abs(float(missing) - sum(lacks.parts)) / state.capital(number) * 1e6
    return unnamed if unnamed > 1e-9 else 0.0


def faults(case: Case, held: Floats, equity: float, parts: list[tuple[Planned, AgentPlan]]) -> Iterator[Fault]:
    """The faults of one agent that holds the lots `held`; `parts` are the plans since its last target."""
    weights, px, limits = case.targets[1], case.px, case.limits
    fee = limits.fee_bp / 1e4
    gross = np.inf if limits.max_gross_exposure is None else limits.max_gross_exposure
    heaviest = np.inf if limits.max_position_weight is None else limits.max_position_weight
    scale = min(
        1.0,
        gross / (1.0 + gross * fee) / max(np.abs(weights).sum(), 1e-12) if gross < np.inf else 1.0,
        (1.0 - limits.cash_reserve) / (1.0 + fee) / max(weights.sum(), 1e-12),
    )
    reached = np.clip(weights * scale, -heaviest, heaviest)
    lacks = (np.trunc(reached * equity * (1.0 + 1e-12) / px) - held) * np.where(weights < 0.0, -px, px)
    missing = np.abs(lacks)
    allowed = np.maximum(px, max(case.min_trade, NEAR) * equity) + 2.0 * fee * equity * np.abs(weights) + 1e-6
    named = {name for plan, part in parts for name in names(plan, part)}
    text, short, binds = ",".join(sorted(named)), missing > allowed, "share_of_volume" in named
    together = max(case.min_trade, NEAR) * equity + px.sum() + 2.0 * fee * equity
    if short.any() and not binds:
        yield Fault("missing, no limit binds", float(missing[short].sum() / equity), text)
    elif abs(lacks.sum()) > together and not binds:
        yield Fault("missing in small parts", abs(float(lacks.sum())) / equity, text)
    last = [part for plan, part in parts if plan.ts >= START + (SECOND + 5) * DAY_NS]
    traded = sum(float(np.abs(np.frombuffer(part.allowed, dtype="<i8")) @ px) for part in last)
    if traded > 2.0 * max(LEAST_REST, case.min_trade) * equity + 2.0 * px.sum() and not binds:
        yield Fault("trades for ever", traded / equity, text)


def names(plan: Planned, part: AgentPlan) -> Iterator[str]:
    """The causes that a plan names for lots that it does not trade."""
    for code in {*np.frombuffer(part.reason, np.int8).tolist(), *np.frombuffer(plan.reason, np.int8).tolist()} - {0}:
        yield Reason(code).name.lower()
    if part.kept:
        yield "kept"
