"""Correlation pairs: the joint weight of two correlated instruments.

A pair complies while one of them weighs at most `min_weight` or both together at most `joint_weight`. Smaller positions
comply whenever larger ones do.
"""

import numpy as np

from quantd.risk.limits.case import SLACK, Case, Extent
from quantd.risk.limits.catalogue import Correlation
from quantd.risk.limits.context import Bools, Floats


def joint_bound(spec: Correlation) -> float:
    """Largest joint weight; in strict mode one of the two weighs at most `min_weight`."""
    return 0.0 if spec.strict else spec.joint_weight


def _links(case: Case, sides: list[int], spec: Correlation) -> Bools:
    """bool[k, k]: which of the side columns (of 2N) lose together."""
    scenarios = case.scenarios[spec.lookback]
    if scenarios.sample.small():
        known = scenarios.sample.linked(spec.threshold)
        if known is None:
            return np.zeros((len(sides), len(sides)), dtype=np.bool_)
        rows = np.array(sides)
        return known[rows[:, None], rows]
    size = case.rules.size
    columns = [s % size for s in sides]
    bought = np.array(sides) >= size
    rho = scenarios.correlation(columns)
    apart = np.not_equal.outer(columns, columns)
    # written so that a correlation that is not a number counts as linked
    linked: Bools = ~(np.where(np.equal.outer(bought, bought), rho, -rho) <= spec.threshold) & apart
    return linked


def clip_pairs(case: Case, lots: Floats, spec: Correlation, others_slip: bool) -> Floats:
    """float64[N] adding lots with which every pair complies, larger notionals first.

    `others_slip` False: equity falls by accepted orders and the order itself, so that a single order gets the most.
    True: equity is the lowest of the whole basket, for the final check.
    """
    kept = lots
    case.pairs = None
    for extent in case.extents:
        kept = _clip(case, extent, kept, spec, others_slip)
    return kept


def _clip(case: Case, extent: Extent, lots: Floats, spec: Correlation, others_slip: bool) -> Floats:
    room = 1.0 if extent.settled else 1.0 + case.rules.limits.in_flight
    least, joint = spec.min_weight * room, joint_bound(spec) * room
    full, heaviest, slip = extent.reach(case, lots)
    low, near = extent.equity - slip, case.tolerance
    # no two together weigh more than the heaviest twice
    if 2.0 * heaviest <= joint * low:
        return lots
    sides = (full > least * low + near).nonzero()[0].tolist()
    if len(sides) < 2:
        return lots
    linked = _links(case, sides, spec)
    weight = full[sides]
    if not np.count_nonzero(linked & (np.add.outer(weight, weight) > joint * low + near)):
        return lots
    case.pairs = spec
    size = case.rules.size
    position = {side: k for k, side in enumerate(sides)}
    held = extent.y[sides].tolist()
    names = case.ctx.universe.symbols
    out = lots.copy()
    px, slips, buys = case.ctx.px, extent.slip, case.buys
    moving = [(k if not buys[k] else k + size) for k in lots.nonzero()[0].tolist()]
    moving.sort(key=lambda s: (-lots[s % size] * px[s % size], names[s % size]))
    equity = low if others_slip else extent.equity
    for side in moving:
        column = side % size
        lot, k = float(px[column]), 0.0 if others_slip else float(slips[column])
        most = float(out[column])
        at = position.get(side)
        if at is not None:
            for partner in np.flatnonzero(linked[at]).tolist():
                both = held[at] + held[partner]
                alone = (least * equity + near - held[at]) / (lot + least * k)
                shared = (joint * equity + near - both) / (lot + joint * k)
                # the partner is too small to matter, and stays so while equity falls by this order
                free = equity * least + near - held[partner]
                small = (free / (least * k) if least * k > 0.0 else np.inf) if free >= 0.0 else 0.0
                most = min(most, max(alone, shared, small))
            most = max(np.floor(most * (1.0 + SLACK)), 0.0)
            out[column] = most
            held[at] += most * lot
        equity -= most * k
    return out


def pair_equity(case: Case, extent: Extent, lots: Floats, spec: Correlation) -> float:
    """Least equity at which existing pairs comply at their largest."""
    room = 1.0 if extent.settled else 1.0 + case.rules.limits.in_flight
    least, joint = spec.min_weight * room, joint_bound(spec) * room
    low = extent.equity - float(extent.slip.dot(lots))
    sides = np.flatnonzero(extent.y > least * low).tolist()
    if len(sides) < 2:
        return 0.0
    held = extent.y[sides]
    # a bound of 0 asks for all the equity there is
    with np.errstate(divide="ignore", invalid="ignore"):
        need = np.minimum(np.minimum.outer(held, held) / least, np.add.outer(held, held) / joint)
        exposures, equity = case.standing(extent)
        now = np.maximum(exposures[sides], 0.0)
        needed = np.minimum(np.minimum.outer(now, now) / least, np.add.outer(now, now) / joint)
    # a pair that breaches already is not made to comply by refusing others; one of which nothing is held is not
    relevant = _links(case, sides, spec) & ~(needed > equity + case.tolerance)
    return float(need[relevant].max(initial=0.0))


def joint_weight(case: Case, exposures: Floats, equity: float, spec: Correlation) -> float:
    """Largest joint weight of a correlated pair in which both weigh more than `min_weight`; 0 without one.

    `exposures` float64[2N], short | long.
    """
    sides = (exposures > spec.min_weight * equity + case.tolerance).nonzero()[0].tolist()
    if len(sides) < 2 or equity <= 0.0:
        return 0.0
    held = exposures[sides]
    both = np.add.outer(held, held)[_links(case, sides, spec)]
    return float(both.max(initial=0.0) / equity)
