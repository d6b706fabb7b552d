"""The common factor of all orders that add risk: the least over rows, tails and forms, each in closed form.

A limit that the present positions breach caps the orders that grow its numerator, and no others. A limit that only open
orders could breach leaves no order that lowers equity.
"""

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import SLACK, Case, Extent
from quantd.risk.limits.catalogue import Reason
from quantd.risk.limits.context import Floats, Spread
from quantd.risk.limits.kinds import Losses, Row
from quantd.risk.measures.portfolio import worst_of
from quantd.risk.pairs import pair_equity

Codes = NDArray[np.int8]


def cap(lots: Floats, most: Floats, code: int, reason: Codes) -> Floats:
    """Whole `lots` cut to `most`; the same array where nothing is cut. NaN means 0."""
    # written so that a `most` that is not a number cuts
    over = ~(lots <= most) & (lots > 0.0)
    if not np.count_nonzero(over):
        return lots
    reason[over] = code
    return np.minimum(lots, _whole(most))


def _whole(most: Floats) -> Floats:
    """Whole lots within `most`, with a tolerance for rounding; 0 for NaN."""
    return np.floor(np.fmax(most, 0.0) * (1.0 + SLACK))


class Factor:
    """The least factor so far, and caps of single orders where a limit is already breached."""

    __slots__ = ("code", "most", "most_code", "value")

    def __init__(self) -> None:
        self.value = 1.0
        self.code = int(Reason.NONE)
        self.most: Floats | None = None
        self.most_code = int(Reason.NONE)

    def take(self, value: float, code: int) -> None:
        value = max(value, 0.0) if value == value else 0.0
        if value < self.value:
            self.value, self.code = value, code


def common_factor(case: Case, lots: Floats, reason: Codes) -> Floats:
    """One factor for all orders: the least over rows, tails and forms; lots are rounded down."""
    # a limit that is breached already caps single orders, which leaves fewer lots each time
    while np.count_nonzero(lots):
        least = _least(case, lots)
        if least.most is not None:
            lots = cap(lots, least.most, least.most_code, reason)
        elif least.code == Reason.NONE:
            return lots
        else:
            kept = np.floor(lots * least.value)
            reason[kept < lots] = least.code
            return kept
    return lots


def _least(case: Case, lots: Floats) -> Factor:
    """The least factor over all limits."""
    added, least = case.sides(lots), Factor()
    for extent in case.extents:
        slip = extent.reach(case, lots)[2]
        for look in (_rows, _families, _tails, _quads):
            look(case, extent, added, slip, lots, least)
            if least.most is not None:
                return least
    return least


def _rows(case: Case, extent: Extent, added: Floats, slip: float, lots: Floats, least: Factor) -> None:
    rules, names = case.rules, _names_equity(case, extent, lots)
    state, over = _rows_over(case, extent, added, slip, names)
    for r in over:
        row = rules.rows[r]
        load, bound = (row.settled_load, row.settled_bound) if extent.settled else (row.load, row.bound)
        if _breached(case, extent, row, bound):
            # all that is bought or sold takes from equity
            grows = ((case.side(load) > 0.0) | (row.reason == Reason.EQUITY)) & (lots > 0.0)
            if grows.any():
                least.most, least.most_code = np.where(grows, 0.0, inf), row.reason
                return
            continue
        used = names if row.reason == Reason.EQUITY else float(row.held.dot(state))
        growth = float(load.dot(added)) + bound * slip
        if growth > 0.0:
            least.take((bound * extent.equity + case.tolerance - used) / growth, row.reason)


def _rows_over(case: Case, extent: Extent, added: Floats, slip: float, names: float) -> tuple[Floats, list[int]]:
    """The state that rows are measured on, and the rows that all lots together exceed."""
    rules, size = case.rules, len(added)
    full, bound = (rules.settled_full, rules.settled_bound) if extent.settled else (rules.full, rules.bound)
    state = np.empty(3 * size + 2)
    state[:size], state[size : 2 * size], state[2 * size + 2 :] = extent.y, extent.w, added
    state[2 * size], state[2 * size + 1] = extent.cash_used, extent.traded
    total = full.dot(state)
    total[rules.equity_row] += names
    over = ~(total <= bound * (extent.equity - slip) + case.tolerance)
    return state[: 2 * size + 2], over.nonzero()[0].tolist()


def _families(case: Case, extent: Extent, added: Floats, slip: float, lots: Floats, least: Factor) -> None:
    n, low = case.rules.size, extent.equity - slip
    full, heaviest, _ = extent.reach(case, lots)
    for family in case.rules.families:
        bound = family.settled_bound if extent.settled else family.bound
        # both sides of a symbol are at most twice the heaviest side
        if 2.0 * family.largest * heaviest <= bound * low:
            continue
        for label in family.over(full[:n] + full[n:], bound * low + case.tolerance):
            own = family.labels == label
            exposures, equity = case.standing(extent)
            short, long = extent.y[:n][own], extent.y[n:][own]
            if not float(np.abs(exposures[n:][own]).sum()) <= bound * equity + case.tolerance:
                grows = own & (lots > 0.0)
                if grows.any():
                    least.most, least.most_code = np.where(grows, 0.0, inf), family.reason
                    return
                continue
            growth = float(added[:n][own].sum() + added[n:][own].sum()) + bound * slip
            if growth > 0.0:
                room = bound * extent.equity + case.tolerance - float(short.sum() + long.sum())
                least.take(room / growth, family.reason)


def _breached(case: Case, extent: Extent, row: Row, bound: float) -> bool:
    """Whether a row is already breached. Exposures count as held: an open order that could exceed the bound leaves no
    equity to lower. Net exposure, cash and turnover count at their largest, because only orders on the same side add to
    them."""
    exposures, equity = case.standing(extent)
    sizes, size = np.maximum(exposures, 0.0), len(exposures)
    others = np.concatenate((extent.w, (extent.cash_used, extent.traded)))
    return not (
        float(row.held[:size].dot(sizes)) <= bound * equity + case.tolerance
        and float(row.held[size:].dot(others)) <= bound * extent.before + case.tolerance
    )


def _names_equity(case: Case, extent: Extent, lots: Floats) -> float:
    """Least equity at which existing weights and pairs comply at their largest."""
    limits, low = case.rules.limits, 0.0
    if not case.weights_keep:
        exposures, equity = case.standing(extent)
        # what is beyond the tighter limit already may still keep the wider one
        for weight in case.rules.weights:
            bound = weight * (1.0 if extent.settled else 1.0 + limits.in_flight)
            kept = extent.y[exposures <= bound * equity + case.tolerance]
            if bound > 0.0:
                low = max(low, float(kept.max(initial=0.0)) / bound)
    if case.pairs is not None:
        low = max(low, pair_equity(case, extent, lots, case.pairs))
    return low


def _tails(case: Case, extent: Extent, added: Floats, slip: float, lots: Floats, least: Factor) -> None:
    room = 1.0 if extent.settled else 1.0 + case.rules.limits.in_flight
    low = extent.equity - slip
    n, full = case.rules.size, extent.reach(case, lots)[0]
    size = full[:n] + full[n:]
    tails: dict[tuple[int, int], Floats] = {}
    for limit in case.rules.tails:
        scenarios, m = limit.of(case.scenarios)
        bound = limit.bound * room / limit.scale
        # no book of these exposures can lose more
        if float(scenarios.reach(m).dot(size)) <= bound * low:
            continue
        tail = tails.get((id(scenarios), m))
        if tail is None:
            tail = tails[id(scenarios), m] = worst_of(scenarios.losses(extent.w + added), m)
        value = limit.measure(tail)
        if value <= bound * low + case.tolerance:
            continue
        base = scenarios.losses(extent.w)
        exposures, equity = case.standing(extent)
        now = scenarios.losses(exposures)
        held = float(limit.measure(worst_of(now, m)))
        if held <= bound * equity + case.tolerance:
            target = bound * extent.equity + case.tolerance
            least.take(limit.largest(base, scenarios.losses(added), m, target, bound * slip), limit.reason)
            continue
        # breached already: no order may make it larger, alone or with others
        _grow_no_tail(case, limit, base, scenarios.signed, held + case.tolerance, lots, m, least)
        if least.most is not None:
            return
        least.take(limit.largest(base, scenarios.losses(added), m, held + case.tolerance, 0.0), limit.reason)


def _grow_no_tail(
    case: Case, limit: Losses, base: Floats, signed: Floats, held: float, lots: Floats, m: int, least: Factor
) -> None:
    """Caps each order at the lots that alone would not increase a breached measure: mostly none, for a hedge more."""
    most = np.full(len(lots), inf)
    adding = np.flatnonzero(lots)
    columns = adding + case.rules.size * case.buys[adding]
    one_lot = base + signed.T[columns] * case.ctx.px[adding, None]
    free = limit.measure(worst_of(one_lot, m)) <= held
    most[adding[~free]] = 0.0
    for k in adding[free].tolist():
        alone = signed[:, k + case.rules.size * case.buys[k]] * (case.ctx.px[k] * lots[k])
        most[k] = limit.largest(base, alone, m, held, 0.0) * lots[k]
    if (_whole(most) < lots).any():
        least.most, least.most_code = most, limit.reason


def _quads(case: Case, extent: Extent, added: Floats, slip: float, lots: Floats, least: Factor) -> None:
    low = extent.equity - slip
    n, full = case.rules.size, extent.reach(case, lots)[0]
    size = full[:n] + full[n:]
    for quad in case.rules.quads:
        bound = (quad.settled_bound if extent.settled else quad.bound) / sqrt(quad.scale)
        most = bound * low + case.tolerance
        spread = None if quad.spread is None else quad.spread(case.scenarios[quad.lookback])
        # no correlation can make it more than the sum of deviations
        if spread is not None and float(spread.deviation().dot(size)) <= most:
            continue
        if spread is None:
            product, reach, inner = extent.y, added, 0.0
        else:
            product, reach, inner = _corners(case, extent, added, spread)
        base = float(extent.y.dot(product)) - inner
        cross, square = float(added.dot(product)), float(added.dot(reach))
        if most >= 0.0 and base + 2.0 * cross + square <= most * most:
            continue
        target = bound * extent.equity + case.tolerance
        if not _breach(case, extent, spread, bound) <= case.tolerance:
            # whatever moves at all adds to it
            grows = (lots > 0.0) & (True if spread is None else np.diag(spread.together) > 0.0)
            if grows.any():
                least.most, least.most_code = np.where(grows, 0.0, inf), quad.reason
                return
            continue
        fall = bound * slip
        # (square - fall^2) f^2 + 2 (cross + target fall) f - (target^2 - base) = 0, the smaller positive root
        a, b, c = square - fall * fall, cross + target * fall, target * target - base
        least.take(c / (b + sqrt(max(b * b + a * c, 0.0))) if c > 0.0 and target > 0.0 else 0.0, quad.reason)


def _breach(case: Case, extent: Extent, spread: Spread | None, bound: float) -> float:
    """Distance of the root of the form from its bound before the adding orders, exact; negative within it."""
    exposures, equity = case.standing(extent)
    held = exposures[case.rules.size :]
    square = float(held @ held) if spread is None else float(held @ spread.cov @ held)
    return sqrt(max(square, 0.0)) - bound * equity


def _corners(case: Case, extent: Extent, added: Floats, spread: Spread) -> tuple[Floats, Floats, float]:
    """M y, M added, and the least effect of offsetting positions.

    Entry by entry at its worst corner: with short | long outer sizes y and inner sizes z of each range, max sum C_ij
    e_i e_j <= y'My - z'Wz, where M has the positive entries on like sides and the negative ones on unlike sides, W the
    other way round. Equal while no range crosses zero.
    """
    plus, minus = spread.together, spread.opposed
    n = case.rules.size
    short_y, long_y = extent.y[:n], extent.y[n:]
    product, reach = np.empty(2 * n), np.empty(2 * n)
    if not (short_y.any() or added[:n].any()):
        # long only: no sizes on the short side to multiply with
        product[:n] = reach[:n] = 0.0
        np.matmul(plus, long_y, out=product[n:])
        np.matmul(plus, added[n:], out=reach[n:])
    else:
        sizes = np.array((short_y, long_y, added[:n], added[n:])).T
        p, m = plus @ sizes, minus @ sizes
        np.add(p[:, 0], m[:, 1], out=product[:n])
        np.add(p[:, 1], m[:, 0], out=product[n:])
        np.add(p[:, 2], m[:, 3], out=reach[:n])
        np.add(p[:, 3], m[:, 2], out=reach[n:])
    # an order against its own position can take the inner size to zero
    short_z = np.maximum(-extent.w[n:], 0.0) * ~(added[n:] > 0.0)
    long_z = np.maximum(-extent.w[:n], 0.0) * ~(added[:n] > 0.0)
    inner = float(long_z @ (minus @ long_z))
    if short_z.any():
        inner += float(short_z @ (minus @ short_z)) + 2.0 * float(long_z @ (plus @ short_z))
    return product, reach, inner
