"""The limit on the average correlation of all pairs of positions.

A pair of a long and a short position counts with the negated correlation. Every position counts equally, whatever its
weight, so that only orders that open a position can raise the average. An instrument that never moved has the
correlation 0.

The average of k positions is at most the limit L exactly if the sum of (rho - L) over their pairs, with the correlation
rho, is at most 0. The rule bounds this sum for every subset of the orders that may fill.
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
    """Return the average correlation of all pairs of positions `held` float64[N] (signed, any unit); 0 for fewer
    than two positions."""
    columns = held.nonzero()[0]
    k = len(columns)
    if k < 2:
        return 0.0
    sides = np.sign(held[columns])
    rho = scenarios.correlation(columns.tolist())
    # the diagonal does not count; each pair is in the matrix twice, hence the divisor k (k - 1)
    rho.ravel()[:: k + 1] = 0.0
    return float(sides.dot(rho).dot(sides)) / (k * (k - 1))


def beside(scenarios: Scenarios, held: Floats, column: int) -> float:
    """Return the average correlation of a purchase of the symbol in `column` with all other positions `held`
    float64[N]; NaN without another position.
    """
    other_lots = held.copy()
    other_lots[column] = 0.0
    columns = other_lots.nonzero()[0]
    if not len(columns):
        return float("nan")
    rho = scenarios.correlation([column, *columns.tolist()])[0, 1:]
    return float(rho.dot(np.sign(other_lots[columns]))) / len(columns)


class _State(NamedTuple):
    """A possible state of the book without new positions.

    `certain` and `possible` are bool[2N] by side (the short side of each of N symbols, then the long sides). `certain`
    marks sides that are held whatever open orders fill, `possible` those that are held after some fills. `limit` is the
    largest permitted average correlation.
    """

    certain: Bools
    possible: Bools
    limit: float


def openings(ctx: Context, rules: "Rules", account: Account, lots: Floats) -> Bools | None:
    """Return which orders (bool[N]) of `lots` float64[N] to refuse, because they open a position that could raise the
    average correlation above the limit; None for none.

    A side is the long or the short position in a symbol. It is certain where the account holds it whatever open orders
    fill, and possible where some fills lead to it.

    Orders of larger notional are considered first. An order that enlarges a certain position always passes. The rule
    is stricter while the average exceeds the limit, or could exceed it by fills of open orders: a position is opened
    only if it raises the average in no case, and if no open order in its symbol is on the other side.
    """
    limit = rules.average
    adding = (lots != 0.0) & (lots * account.lots >= 0.0)
    if limit is None or not np.count_nonzero(adding):
        return None
    states = _states(account, np.where(adding, 0.0, lots), limit, rules)
    # sides: the short side of each of n symbols, then the long sides; a side that every state holds is not new
    new_sides = np.concatenate((adding & (lots < 0.0), adding & (lots > 0.0))) & ~np.logical_and.reduce(
        [state.certain for state in states]
    )
    if not np.count_nonzero(new_sides):
        return None
    n = rules.size
    any_side = np.logical_or.reduce([new_sides, *(state.possible for state in states)])
    matters = any_side[:n] | any_side[n:]
    columns = matters.nonzero()[0]
    scenarios = scenarios_of(ctx, rules.lookbacks, rules.limits.min_history, matters.astype(np.float64))
    # too few returns: no correlation is known, so every opening is refused
    if scenarios is None:
        return new_sides[:n] | new_sides[n:]
    names = rules.universe.symbols
    notional = np.abs(lots) * ctx.px
    order = sorted(new_sides.nonzero()[0].tolist(), key=lambda side: (-notional[side % n], names[side % n]))
    rho = scenarios[rules.limits.volatility_lookback].correlation(columns.tolist())
    sides = np.concatenate((columns, columns + n))
    # from here on a side is its index in `sides`, of the symbols that matter alone
    place_of = {side: k for k, side in enumerate(sides.tolist())}
    candidates = [place_of[side] for side in order]
    for state in states:
        candidates = _passed(_excess(rho, state.limit), state.certain[sides], state.possible[sides], candidates)
    passed = sides[candidates]
    new_sides[passed] = False
    refused = new_sides[:n] | new_sides[n:]
    return refused if refused.any() else None


def _states(account: Account, reducing: Floats, limit: float, rules: "Rules") -> list[_State]:
    """Return the state that covers every fill of open orders and, if limits are wider while orders are open, also
    the state after all fills.

    `reducing` are the signed lots of the new orders that reduce a position. `account.up` are the lots of open buys and
    `account.down` those of open sells, both positive; None for no such order.
    """
    low, high = account.lots + np.minimum(reducing, 0.0), account.lots + np.maximum(reducing, 0.0)
    after = account.lots + reducing
    if account.up is not None:
        high, after = high + account.up, after + account.up
    if account.down is not None:
        low, after = low - account.down, after - account.down
    certain, possible = np.concatenate((high < 0.0, low > 0.0)), np.concatenate((low < 0.0, high > 0.0))
    states = [_State(certain, possible, limit * (1.0 + rules.limits.in_flight))]
    if rules.two_states:
        sides_after = np.concatenate((after < 0.0, after > 0.0))
        states.append(_State(sides_after, sides_after, limit))
    return states


def _excess(rho: Floats, limit: float) -> Floats:
    """Return float64[2K, 2K]: by how much the correlation of each pair of sides (short sides of K symbols, then long
    sides) exceeds the limit.

    The value is 0 for two sides of the same symbol.
    """
    excess: Floats = np.block([[rho, -rho], [-rho, rho]]) - limit
    excess[np.tile(np.eye(len(rho), dtype=np.bool_), (2, 2))] = 0.0
    return excess


def _passed(excess: Floats, certain: Bools, possible: Bools, wanted: list[int]) -> list[int]:
    """Return the sides of `wanted`, in their order, that may be opened: with them the sum of `excess` (correlation less
    the limit) over all pairs stays at most 0.

    Let C be the sides that are surely held, O the sides that may be held. A subset T of O adds to the sum at
    most sum g_t + sum p_ts over its pairs, where g_t is the sum of the excesses of side t with the sides of C, and
    p_ts is the positive part of the excess of t and s. This amount is at most the sum over all t in O of max(g_t + half
    the sum of p_ts over s in O, 0). The bound only grows with O: sides that passed together pass again, and so does any
    subset of them.

    An order on the other side of a symbol in C can end the position there: its side moves from C to O. Such a move too
    only raises the bound.
    """
    # `certain` is C, `optional` is O
    # `excess`, by pair of sides (a symbol held long or short), is their correlation less the limit
    positive = np.maximum(excess, 0.0)
    certain_excess = excess.dot(certain.astype(np.float64))
    optional = possible & ~certain
    terms = certain_excess + positive.dot(optional.astype(np.float64)) / 2.0
    certain_sum = float(certain_excess[certain].sum()) / 2.0  # each pair of C is in the sum twice
    # each comparison below is written with `not`, so that a NaN refuses
    if not certain_sum + float(np.maximum(terms[optional], 0.0).sum()) <= _ROUNDING:
        return _lowering(positive, certain_excess, certain, optional, wanted)
    passed, certain = [], certain.copy()
    for side in wanted:
        if not (certain[side] or optional[side]):
            opposite = _opposite(side, certain_excess)
            grown_optional, grown_terms, certain_part = optional.copy(), terms + positive[side] / 2.0, certain_sum
            grown_optional[side] = True
            if certain[opposite]:
                grown_optional[opposite] = True
                grown_terms += positive[opposite] / 2.0 - excess[opposite]
                certain_part -= float(certain_excess[opposite])
            if not certain_part + float(np.maximum(grown_terms[grown_optional], 0.0).sum()) <= _ROUNDING:
                continue
            if certain[opposite]:
                certain[opposite] = False
                certain_excess = certain_excess - excess[opposite]
            optional, terms, certain_sum = grown_optional, grown_terms, certain_part
        passed.append(side)
    return passed


def _lowering(
    positive: Floats, certain_excess: Floats, certain: Bools, optional: Bools, wanted: list[int]
) -> list[int]:
    """Return the sides of `wanted` that never raise the sum of excess correlations.

    The function is used where the sum already exceeds its bound, or could exceed it by fills of open orders. A side
    does not pass where its symbol may be held on the other side, because the end of that position could raise the sum.

    By pair of sides, `positive` is the positive part of the excess. By side, `certain_excess` is the sum of excesses
    with the sides that are certainly held, and `optional` marks sides that may be held.
    """
    rise = certain_excess + positive.dot(optional.astype(np.float64))
    passed, opened = [], np.zeros(len(certain_excess), dtype=np.bool_)
    for side in wanted:
        if not certain[side]:
            opposite = _opposite(side, certain_excess)
            if certain[opposite] or optional[opposite]:
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
    """Return the index of the other side (long or short) of the same symbol, of the sides float64[2K]."""
    half = len(sides) // 2
    return side - half if side >= half else side + half


def _label(limits: Limits, about: str) -> str:
    """Return the name of the measured quantity as text."""
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
