"""The limit on the average correlation of all pairs of positions.

A pair of a long and a short position counts with the negated correlation. Every position counts alike, whatever its
weight, so that only orders that open a position can raise the average. An instrument that never moved has the
correlation 0.

The average of k positions is at most L where the sum of rho - L over their pairs is at most 0. The rule bounds that sum
over every subset of what may fill.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from quantd.risk.limits.bounds import SHARE
from quantd.risk.limits.case import Account
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios, scenarios_of
from quantd.risk.limits.record import Limit, Openings, Refusal
from quantd.risk.limits.settings import Limits

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules

KEY: Final = "average_correlation"

_ROUNDING: Final = 1e-10
"""Tolerance of a sum of correlations, each of which has an error near 1e-15."""


def average_of(scenarios: Scenarios, held: Floats) -> float:
    """The average correlation of all pairs of positions float64[N] (signed, any unit); 0 for fewer than two."""
    columns = held.nonzero()[0]
    k = len(columns)
    if k < 2:
        return 0.0
    sides = np.sign(held[columns])
    rho = scenarios.correlation(columns.tolist())
    # each pair stands twice in the matrix, beside a diagonal that does not count
    rho.ravel()[:: k + 1] = 0.0
    return float(sides.dot(rho).dot(sides)) / (k * (k - 1))


def beside(scenarios: Scenarios, held: Floats, column: int) -> float:
    """The average correlation of a purchase of one symbol with all other positions float64[N]; NaN without any."""
    other_lots = held.copy()
    other_lots[column] = 0.0
    columns = other_lots.nonzero()[0]
    if not len(columns):
        return float("nan")
    rho = scenarios.correlation([column, *columns.tolist()])[0, 1:]
    return float(rho.dot(np.sign(other_lots[columns]))) / len(columns)


class _State(NamedTuple):
    """A state of the book without new positions, bool[2N] by side, short | long: sides that are surely held, sides that
    may be held once some orders fill, and the largest average."""

    certain: Bools
    possible: Bools
    limit: float


def openings(ctx: Context, rules: "Rules", account: Account, lots: Floats) -> Bools | None:
    """Refuses orders of float64[N] `lots` that open a position which could raise the average above the limit.

    Larger notionals pass first. A position may grow where no order can close it. While the positions exceed the limit,
    or open orders could, a position is opened only if it raises the average in no case, and never against an open order
    on its other side.
    """
    limit = rules.average
    adding = (lots != 0.0) & (lots * account.lots >= 0.0)
    if limit is None or not np.count_nonzero(adding):
        return None
    states = _states(account, np.where(adding, 0.0, lots), limit, rules)
    new = np.concatenate((adding & (lots < 0.0), adding & (lots > 0.0))) & ~np.logical_and.reduce(
        [state.certain for state in states]
    )
    if not np.count_nonzero(new):
        return None
    n = rules.size
    either = np.logical_or.reduce([new, *(state.possible for state in states)])
    matters = either[:n] | either[n:]
    columns = matters.nonzero()[0]
    scenarios = scenarios_of(ctx, rules.lookbacks, rules.limits.min_history, matters.astype(np.float64))
    if scenarios is None:
        return new[:n] | new[n:]
    names = rules.universe.symbols
    value = np.abs(lots) * ctx.px
    order = sorted(new.nonzero()[0].tolist(), key=lambda side: (-value[side % n], names[side % n]))
    rho = scenarios[rules.limits.volatility_lookback].correlation(columns.tolist())
    sides = np.concatenate((columns, columns + n))
    place = {side: k for k, side in enumerate(sides.tolist())}
    candidates = [place[side] for side in order]
    for state in states:
        candidates = _passed(_excess(rho, state.limit), state.certain[sides], state.possible[sides], candidates)
    passed = sides[candidates]
    new[passed] = False
    bad = new[:n] | new[n:]
    return bad if bad.any() else None


def _states(account: Account, reducing: Floats, limit: float, rules: "Rules") -> list[_State]:
    """The worst of every fill in flight and, where limits are wider there, the state after all fills."""
    low, high = account.lots + np.minimum(reducing, 0.0), account.lots + np.maximum(reducing, 0.0)
    after = account.lots + reducing
    if account.up is not None:
        high, after = high + account.up, after + account.up
    if account.down is not None:
        low, after = low - account.down, after - account.down
    certain, possible = np.concatenate((high < 0.0, low > 0.0)), np.concatenate((low < 0.0, high > 0.0))
    states = [_State(certain, possible, limit * (1.0 + rules.limits.in_flight))]
    if rules.two_states:
        held = np.concatenate((after < 0.0, after > 0.0))
        states.append(_State(held, held, limit))
    return states


def _excess(rho: Floats, limit: float) -> Floats:
    """float64[2K, 2K]: how far the correlations of sides, short | long, exceed the limit; 0 where a symbol meets
    itself."""
    excess: Floats = np.block([[rho, -rho], [-rho, rho]]) - limit
    excess[np.tile(np.eye(len(rho), dtype=np.bool_), (2, 2))] = 0.0
    return excess


def _passed(excess: Floats, certain: Bools, possible: Bools, wanted: list[int]) -> list[int]:
    """The sides of `wanted`, in their order, with which the sum of `excess` over all pairs stays within its bound.

    Of sides C that are surely held and others O, any subset T of O adds sum g_t + sum p_ts over its pairs, with g_t the
    sum of excess beside C and p the positive part of an excess. That is at most the sum over O of max(g_t + half the
    sum of p_ts over O, 0). It only grows with O: sides that passed together pass again, also some of them.

    An order against the side that open orders lead to can end that side: the side moves from C to O. That also only
    raises the bound.
    """
    positive = np.maximum(excess, 0.0)
    certain_excess = excess.dot(certain.astype(np.float64))
    optional = possible & ~certain
    terms = certain_excess + positive.dot(optional.astype(np.float64)) / 2.0
    sure = float(certain_excess[certain].sum()) / 2.0
    if not sure + float(np.maximum(terms[optional], 0.0).sum()) <= _ROUNDING:
        return _lowering(positive, certain_excess, certain, optional, wanted)
    passed, certain = [], certain.copy()
    for side in wanted:
        if not (certain[side] or optional[side]):
            other = _opposite(side, certain_excess)
            opened, grown, base = optional.copy(), terms + positive[side] / 2.0, sure
            opened[side] = True
            if certain[other]:
                opened[other] = True
                grown += positive[other] / 2.0 - excess[other]
                base -= float(certain_excess[other])
            if not base + float(np.maximum(grown[opened], 0.0).sum()) <= _ROUNDING:
                continue
            if certain[other]:
                certain[other] = False
                certain_excess = certain_excess - excess[other]
            optional, terms, sure = opened, grown, base
        passed.append(side)
    return passed


def _lowering(
    positive: Floats, certain_excess: Floats, certain: Bools, optional: Bools, wanted: list[int]
) -> list[int]:
    """The sides of `wanted` that raise the sum in no case, where it exceeds its bound or open orders could take it
    there.

    A side does not pass where its symbol may be held on the other side. The end of that other side could raise the sum.
    """
    rise = certain_excess + positive.dot(optional.astype(np.float64))
    passed, opened = [], np.zeros(len(certain_excess), dtype=np.bool_)
    for side in wanted:
        if not certain[side]:
            other = _opposite(side, certain_excess)
            if certain[other] or optional[other]:
                continue
            grown = rise if optional[side] else rise + positive[side]
            opened[side] = True
            if not (grown[opened] <= _ROUNDING).all():
                opened[side] = False
                continue
            rise, optional[side] = grown, True
        passed.append(side)
    return passed


def _opposite(side: int, sides: Floats) -> int:
    """The other side of the same symbol, of the sides float64[2K]."""
    half = len(sides) // 2
    return side - half if side >= half else side + half


def _label(limits: Limits, about: str) -> str:
    return f"average correlation of the positions{f', {about}' if about else ''}"


LIMITS: Final = (
    Limit(
        KEY,
        235,
        _label,
        "number",
        (
            Refusal(
                43,
                "AVERAGE_CORRELATION",
                "a new position could raise the average correlation of the positions above average_correlation",
                sales_free=True,
            ),
        ),
        (Openings(10, openings),),
        example="average_correlation = 0.7",
        bounds=SHARE,
        about=(
            "average correlation of all pairs of positions over `volatility_lookback` samples, whatever their "
            "weights; it refuses new positions only"
        ),
        formula=(
            "`mean of s_a × s_b × ρ(a, b) over all pairs ≤ limit`, where `s` is 1 for a long and −1 for a short "
            "position"
        ),
    ),
)
