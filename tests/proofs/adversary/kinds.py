"""Kinds of policy, honest and hostile. Each plays one match: a few rounds against the gate in an arena of its own."""

from collections.abc import Callable
from typing import Final

import numpy as np

from quantd.risk.limits.catalogue import DAY_NS, PROFILES, Correlation, Limits, Tail, override
from quantd.risk.pretrade.gate import HALT, REDUCE, RUN
from tests.proofs.adversary.arena import Arena, Gate, Tally, real_gate
from tests.proofs.adversary.judge import use_of
from tests.support.risk_books import Floats, random_limits

Kind = Callable[[np.random.Generator, Gate], Tally]


def drawn_limits(rng: np.random.Generator) -> tuple[Limits, int]:
    """A set of limits and the rows of returns they look at: random ones, a profile, or a single portfolio limit."""
    what = rng.random()
    if what < 0.55:
        return random_limits(rng), 80
    shared = {
        "in_flight": float(rng.choice([0.0, 0.0, 1.0])),
        "max_cash_debit": float(rng.choice([0.0, 0.0, 0.1, PROFILES["research"].max_cash_debit])),
        "fee_bp": float(rng.choice([0.0, 1.0, 10.0])),
        "collar": float(rng.choice([0.01, 0.05])),
        "reduce_collar": Limits().reduce_collar,  # without collars no price is too far away
        "flatten_collar": Limits().flatten_collar,
        "cash_reserve": float(rng.choice([0.0, 0.0, 0.1])),
    }
    if what < 0.8:
        profile = PROFILES[str(rng.choice(list(PROFILES)))]
        return override(profile, restricted=("S1",) if rng.random() < 0.1 else (), **shared), 252
    low = float(np.exp(rng.uniform(-2.0, 1.0)))
    one = [
        {"max_gross_exposure": low},
        {"max_net_exposure": low},
        {"max_position_weight": low},
        {"max_volatility": 0.3 * low, "volatility_lookback": 80},
        {"var": Tail(limit=0.03 * low, lookback=80)},
        {"cvar": Tail(limit=0.04 * low, lookback=80)},
        {"correlation": Correlation(threshold=0.4, joint_weight=low, lookback=80)},
        {"max_leverage": 1.0 + low},
        {"max_turnover": low},
        {},
    ][int(rng.integers(10))]
    return Limits(**{**shared, **one}), 80


def arena(rng: np.random.Generator, gate: Gate, least: int = 1, most: int = 8, **given: float) -> Arena:
    limits, rows = drawn_limits(rng)
    return Arena(rng, limits, int(rng.integers(least, most + 1)), rows=rows, gate=gate, **given)


def lots_for(a: Arena, weights: Floats) -> Floats:
    """Whole lots from what is held to `weights`, as the daemon plans them: never across zero at once."""
    target = np.trunc(weights * a.scale())
    target[target * a.held < 0.0] = 0.0
    return target - a.held


def rebalancing(rng: np.random.Generator, gate: Gate) -> Tally:
    """Follows past returns, long or long and short, in baskets of up to 40 symbols."""
    a = arena(rng, gate, 3, 40)
    for _ in range(4):
        past = a.returns[-20:].sum(axis=0)
        weights = np.maximum(past, 0.0) if rng.random() < 0.6 else past
        a.put(lots_for(a, weights / max(np.abs(weights).sum(), 1e-9) * float(rng.choice([0.5, 0.95, 1.5]))))
        a.fill(0.8, worst=0.2)
        a.move()
    return a.tally


def rotating(rng: np.random.Generator, gate: Gate) -> Tally:
    """Sells all of one and buys all of another, before the sale has paid."""
    a = arena(rng, gate, 2, 6)
    for k in range(5):
        weights = np.zeros(a.n)
        weights[k % a.n] = float(rng.choice([0.9, 1.0, 1.3]))
        a.put(lots_for(a, weights))
        a.fill(float(rng.choice([0.3, 0.9])))
        if rng.random() < 0.5:
            a.move()
    return a.tally


def absurd_sizes(rng: np.random.Generator, gate: Gate) -> Tally:
    """Nothing, one lot, fractions, 1e18 and the largest float, side by side."""
    a = arena(rng, gate)
    sizes = np.array([0.0, 1.0, -1.0, 0.5, -0.999, 1e18, -1e18, 1e300, -1e300, 2.0**53, 7.0])
    for _ in range(6):
        asked = rng.choice(sizes, a.n)
        asked = np.where(rng.random(a.n) < 0.3, np.trunc(rng.normal(0.0, 2.0, a.n) * a.scale()), asked)
        a.put(asked)
        a.fill(0.5)
    return a.tally


def not_numbers(rng: np.random.Generator, gate: Gate) -> Tally:
    """NaN and infinite weights, cash, equity, lots, open orders, among good ones."""
    a = arena(rng, gate)
    bad = np.array([np.nan, np.inf, -np.inf])
    for _ in range(6):
        asked = np.trunc(rng.normal(0.0, 0.3, a.n) * a.scale())
        asked[rng.random(a.n) < 0.3] = rng.choice(bad)
        if rng.random() < 0.5:
            key = str(
                rng.choice(["cash", "equity", "up_cash", "open_loss", "open_gain", "traded", "lots", "up", "down"])
            )
            worst: float | Floats = float(rng.choice(bad))
            if key in ("lots", "up", "down"):
                column = np.zeros(a.n) if key != "lots" else a.held.copy()
                column[int(rng.integers(a.n))] = worst
                worst = column
            a.broken = {key: worst}
        a.put(asked, keep=not a.broken)
        a.broken = {}
        a.fill()
    return a.tally


def broken_market(rng: np.random.Generator, gate: Gate) -> Tally:
    """Prices that are missing, old or of the future, gaps in the returns, volumes nobody knows."""
    a = arena(rng, gate, 2, 7)
    for _ in range(6):
        px, age, volume, rows = a.px.copy(), np.zeros(a.n, np.int64), a.volume.copy(), a.returns.copy()
        some = rng.random((4, a.n)) < 0.25
        px[some[0]] = rng.choice([np.nan, np.inf, 0.0, -1.0])
        age[some[1]] = rng.choice([-1, a.limits.max_price_age_ns + 1, 30 * DAY_NS])
        volume[some[2]] = rng.choice([np.nan, -1.0, 0.0, np.inf])
        if rng.random() < 0.5:
            rows[: int(rng.integers(len(rows))), some[3]] = np.nan
        else:
            rows[rng.random(rows.shape) < 0.1] = np.nan
        kept = rng.random(4) < 0.5
        a.changes = {
            key: value
            for key, value, keep in zip(("px", "age_ns", "volume", "rows"), (px, age, volume, rows), kept, strict=True)
            if keep
        }
        a.put(np.trunc(rng.normal(0.0, 0.3, a.n) * a.scale()), keep=False)
        a.changes = {}
        a.put(np.trunc(rng.normal(0.0, 0.2, a.n) * a.scale()))
        a.fill()
    return a.tally


def alternating(rng: np.random.Generator, gate: Gate) -> Tally:
    """The other side every round, before what is open has ended."""
    a = arena(rng, gate)
    side = rng.choice([-1.0, 1.0], a.n)
    size = np.trunc(rng.uniform(0.05, 1.5, a.n) * a.scale())
    for _ in range(8):
        a.put(size * side)
        side = -side
        a.fill(float(rng.choice([0.1, 0.5, 1.0])))
    return a.tally


def many_small(rng: np.random.Generator, gate: Gate) -> Tally:
    """Orders of a few lots that stay open, none of which breaks a limit alone."""
    a = arena(rng, gate, 1, 5)
    side = rng.choice([-1.0, 1.0, 1.0], a.n)
    part = float(rng.choice([0.02, 0.05, 0.1]))
    for _ in range(12):
        a.put(np.ceil(part * a.scale() * rng.random(a.n)) * side)
        if rng.random() < 0.3:
            a.fill(0.2, end=0.02)
    return a.tally


def splitting(rng: np.random.Generator, gate: Gate) -> Tally:
    """Splits between the verdict and the fill, and again before the next one."""
    a = arena(rng, gate)
    for _ in range(6):
        a.put(np.trunc(rng.normal(0.1, 0.4, a.n) * a.scale()))
        numerator, denominator = ((2, 1), (1, 5), (3, 2), (20, 1))[int(rng.integers(4))]
        a.split(int(rng.integers(a.n)), numerator, denominator)
        a.put(np.trunc(rng.normal(0.0, 0.4, a.n) * a.scale()))
        a.fill()
        a.move()
    return a.tally


def against_open(rng: np.random.Generator, gate: Gate) -> Tally:
    """Orders against open ones, sales of what is being sold, covers of what is being covered."""
    a = arena(rng, gate, 1, 5, invested=0.8)
    for _ in range(8):
        resting = np.zeros(a.n)
        for k, lots, _worst in a.open:
            resting[k] += lots
        wish = rng.choice([-1.0, 1.0, 2.0], a.n) * np.where(rng.random(a.n) < 0.5, resting, -a.held)
        a.put(np.trunc(wish + rng.integers(-1, 2, a.n)))
        a.fill(0.25, end=0.05)
        if rng.random() < 0.3:
            a.move(2.0)
    return a.tally


def offsetting(rng: np.random.Generator, gate: Gate) -> Tally:
    """Hedges: shorts against longs that lose together, so that what fills alone is worst."""
    a = arena(rng, gate, 2, 8, invested=0.6)
    for _ in range(5):
        rho = np.corrcoef(np.nan_to_num(a.returns[-60:]).T)
        lead = int(rng.integers(a.n))
        weights = np.nan_to_num(rho[lead]) * float(rng.choice([0.3, 1.0, 3.0])) * rng.uniform(0.5, 1.0, a.n)
        a.put(np.trunc(weights * rng.choice([-1.0, 1.0]) * a.scale()))
        a.fill(0.4)
        if rng.random() < 0.4:
            a.move()
    return a.tally


def little_equity(rng: np.random.Generator, gate: Gate) -> Tally:
    """Positions many times the equity, which is near nothing, nothing, or less."""
    a = arena(rng, gate, 1, 5, invested=float(rng.choice([0.5, 3.0])))
    for _ in range(6):
        worth = float(a.held @ a.px)
        a.cash = float(rng.choice([1.0, 100.0, 5_000.0, 0.0, -50.0])) - worth
        if rng.random() < 0.3:
            a.cash += float(np.abs(a.held) @ a.px) * 0.2
        reach = CASH_SIZES[int(rng.integers(len(CASH_SIZES)))]
        a.put(np.trunc(rng.normal(0.0, reach, a.n) / a.px))
        a.fill(0.5)
        a.move(0.5)
    return a.tally


CASH_SIZES: Final = (10.0, 1_000.0, 50_000.0)


def crashing(rng: np.random.Generator, gate: Gate) -> Tally:
    """Buys into moves of ten deviations, with limits that are breached already."""
    a = arena(rng, gate, 1, 8, invested=0.9)
    for _ in range(6):
        a.move(float(rng.choice([3.0, 10.0, -10.0])))
        direction = 1.0 if rng.random() < 0.5 else -1.0
        a.put(np.trunc(rng.normal(0.0, 0.5, a.n) * a.scale() + direction * np.abs(a.held) * 0.5))
        a.fill(0.5)
    return a.tally


def at_the_bound(rng: np.random.Generator, gate: Gate) -> Tally:
    """What passed, a lot more and a lot less of it, and the most that a single order gets."""
    a = arena(rng, gate, 1, 6)
    for _ in range(3):
        wish = np.trunc(rng.normal(0.0, 1.0, a.n) * a.scale())
        passed = a.put(wish, keep=False).lots
        a.put(passed + rng.integers(-1, 2, a.n), keep=False)
        k = int(rng.integers(a.n))
        alone = np.zeros(a.n)
        alone[k] = wish[k] or 1.0
        alone = a.put(alone, keep=False).lots.copy()
        for more in (1.0, -1.0):
            tried = alone.copy()
            tried[k] += more
            a.put(tried, keep=False)
        a.put(passed)
        # the rest of the room, asked for again
        a.put(wish - passed)
        a.fill()
        if rng.random() < 0.5:
            a.move()
    return a.tally


def searching(rng: np.random.Generator, gate: Gate) -> Tally:
    """Climbs towards a breach: sizes, prices, open orders and limits that bring a verdict nearer are kept."""
    a = arena(rng, gate, 1, 5)
    best, asked = -1.0, np.trunc(rng.normal(0.0, 0.5, a.n) * a.scale())
    for _ in range(24):
        kept = a.held.copy(), a.cash, list(a.open), a.px.copy(), a.limits, a.still
        tried = asked.copy()
        for _ in range(int(rng.integers(1, 3))):
            tried = _mutate(rng, a, tried)
        verdict = a.put(tried, keep=False)
        use = use_of(a.book(tried), verdict.lots, rng) if verdict.lots.any() and a.equity > 0.0 else 0.0
        if use >= best:
            best, asked = use, tried
        else:
            a.held, a.cash, a.open, a.px, a.limits, a.still = kept
            a._ctx = None
    return a.tally


def _mutate(rng: np.random.Generator, a: Arena, asked: Floats) -> Floats:
    """One step from a case to a neighbour of it."""
    k, drawn = int(rng.integers(a.n)), int(rng.integers(7))
    asked = asked.copy()
    if drawn == 0:
        asked[k] += float(rng.choice([-1.0, 1.0]))
    elif drawn == 1:
        asked[k] = float(np.trunc(asked[k] * rng.choice([0.5, 0.9, 1.1, 2.0, -1.0]) + rng.integers(-3, 4)))
    elif drawn == 2:
        change = float(np.trunc(rng.normal(0.0, 0.1) * a.scale()[k]))
        if a.limits.allow_short or a.held[k] + change >= 0.0:
            a.held[k] += change
            a.cash -= change * float(a.px[k])
    elif drawn == 3:
        lots = float(np.trunc(rng.normal(0.0, 0.1) * a.scale()[k]))
        reduces = lots * a.held[k] < 0.0
        waiting = sum(o for s, o, _ in a.open if s == k and o * lots > 0.0)
        if lots and len(a.open) < 6 and (
            (a.limits.allow_short and not reduces) or lots > 0.0 > a.held[k] + lots + waiting
            or (reduces and lots < 0.0 < a.held[k] + lots + waiting)
        ):  # fmt: skip
            collar = a.limits.reduce_collar if reduces else a.limits.collar
            a.open.append((k, lots, float(a.px[k]) * (1 + float(np.sign(lots)) * collar * rng.random())))
    elif drawn == 4 and a.open:
        a.open.pop(int(rng.integers(len(a.open))))
    elif drawn == 5:
        a.px = a.px.copy()
        a.px[k] = max(round(float(a.px[k]) * float(rng.uniform(0.8, 1.25)), 2), 1.0)
        a._moved()
    else:
        a.limits = _nudged(rng, a.limits)
        a._ctx = None
    return asked


def _nudged(rng: np.random.Generator, limits: Limits) -> Limits:
    """One number of a set of limits a little larger or smaller."""
    keys = [
        key
        for key in ("max_position_weight", "max_gross_exposure", "max_net_exposure", "max_volatility", "max_herfindahl",
                    "max_sector_weight", "max_turnover", "collar", "in_flight", "max_cash_debit")
        if isinstance(getattr(limits, key), float)
    ]  # fmt: skip
    key = keys[int(rng.integers(len(keys)))]
    return override(limits, **{key: min(float(getattr(limits, key) * rng.choice([0.7, 0.97, 1.03, 1.4])), 0.9)})


def switched(rng: np.random.Generator, gate: Gate) -> Tally:
    """Asks on while the switch is at REDUCE or HALT."""
    a = arena(rng, gate, invested=0.8)
    for _ in range(5):
        switch = int(rng.choice([RUN, REDUCE, REDUCE, HALT]))
        wish = np.where(rng.random(a.n) < 0.5, -a.held * rng.uniform(0.2, 2.0), rng.normal(0.0, 0.5, a.n) * a.scale())
        a.put(np.trunc(wish), switch)
        a.fill(0.3)
        if rng.random() < 0.3:
            a.move()
    return a.tally


def repeating(rng: np.random.Generator, gate: Gate) -> Tally:
    """Sends what it sent a moment ago, and what a protective exit closed, more orders than a minute allows."""
    a = arena(rng, gate)
    asked = np.trunc(rng.normal(0.1, 0.2, a.n) * a.scale())
    for k in range(6):
        a.broken = {
            "repeated": np.where(rng.random(a.n) < 0.5, asked, 0.0) if k else None,
            "blocked": rng.random(a.n) < 0.3,
            "recent_orders": int(rng.integers(0, 9)),
            "session_orders": int(rng.integers(0, 9)),
            "open_orders": len(a.open) + int(rng.integers(0, 3)),
        }
        a.put(asked)
        a.broken = {}
        a.fill(0.3)
        if rng.random() < 0.5:
            asked = asked + rng.integers(-1, 2, a.n)
    return a.tally


KINDS: Final[dict[str, Kind]] = {
    "rebalancing": rebalancing,
    "rotating": rotating,
    "absurd sizes": absurd_sizes,
    "not numbers": not_numbers,
    "broken market": broken_market,
    "alternating": alternating,
    "many small": many_small,
    "splitting": splitting,
    "against open": against_open,
    "offsetting": offsetting,
    "little equity": little_equity,
    "crashing": crashing,
    "at the bound": at_the_bound,
    "searching": searching,
    "switched": switched,
    "repeating": repeating,
}


def play(kind: str, seed: int, match: int, gate: Gate = real_gate) -> Tally:
    """One match of a kind; the same numbers give the same match."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), match])
    return KINDS[kind](rng, gate)
