"""Loss limits and alert levels of a book at a sample: whether none of them can have changed."""

from math import inf, sqrt
from typing import Final

from quantd.daemon.engine.batches.loops import BatchLoops
from quantd.trading.number_types import FloatRows, Floats, Ints

HIGH: Final = 0
DAY_OPEN: Final = 1
WEEK_OPEN: Final = 2
DAY: Final = 3
WEEK: Final = 4
LAST: Final = 5
MARKS: Final = 6
"""Numbers of one switch in `marks`: high-water mark, opening of day and week, their numbers, last equity."""


def observe(marks: Ints, at: int, half: int, equity: int, day: int, bands: Floats, own: int) -> bool:
    """Write the switch after an equity into the second half of `marks`; False where a loss leaves its band.

    `bands` are low and high of drawdown, daily and weekly loss of each book, from `own` on.
    """
    week: int = (day + 3) // 7
    new: int = at + half
    last: int = marks[at + LAST]
    opened: int = marks[at + DAY_OPEN] if day == marks[at + DAY] else last
    began: int = marks[at + WEEK_OPEN] if week == marks[at + WEEK] else last
    high: int = max(marks[at + HIGH], equity)
    marks[new + HIGH], marks[new + DAY_OPEN], marks[new + WEEK_OPEN] = high, opened, began
    marks[new + DAY], marks[new + WEEK], marks[new + LAST] = day, week, equity
    if opened <= 0 or began <= 0:
        return False
    for k in range(3):
        reference: int = high if k == 0 else opened if k == 1 else began
        loss: float = max(1.0 - float(equity) / float(reference), 0.0)
        if not bands[own + 2 * k] < loss < bands[own + 2 * k + 1]:
            return False
    return True


HEAVIEST: Final = 0
GROSS: Final = 1
NET: Final = 2
LEVERAGE: Final = 3
HERFINDAHL: Final = 4
FAMILY: Final = 5
VAR: Final = 6
CVAR: Final = 7
VOLATILITY: Final = 8
PAIRS: Final = 9
STRESS: Final = 10
DIVERSIFICATION: Final = 11
REALISED_VOLATILITY: Final = 12
"""The annual volatility of realised returns."""
SHARPE: Final = 13
"""Kinds of measures. The last three have no value before a plan."""

MEASURE: Final = 8
"""Numbers of a measure: book, kind, low and high of its level, then three of its kind: the index of a family and the
share of one position in it (1 or 0); lookback, place of the tail counts and factor of a tail; lookback and factor of a
volatility; the least weight of a pair, threshold and lookback; number and place of the scenarios of a stress; the
lookback of a diversification; value of a realised measure, and 1 where there is one. The last is the least number of
scenarios."""


def worst(losses: Floats, start: int, size: int, count: int, top: Floats) -> None:
    """Write the `count` largest of `size` losses into `top`, in ascending order."""
    filled: int = 0
    for k in range(start, start + size):
        loss: float = losses[k]
        if filled < count:
            at: int = filled
            while at > 0 and top[at - 1] > loss:
                top[at] = top[at - 1]
                at -= 1
            top[at] = loss
            filled += 1
        elif loss > top[0]:
            at = 0
            while at + 1 < count and top[at + 1] < loss:
                top[at] = top[at + 1]
                at += 1
            top[at] = loss


def deviation(loops: BatchLoops, losses: Floats, first: int, size: int) -> float:
    """The sample deviation of the losses from `first` up to and without `size`."""
    rows: int = size - first
    mean: float = loops.total(losses, first, size) / float(rows)
    return sqrt(loops.squares(losses, first, size, mean) / float(rows - 1))


def family_sum(weights: Floats, labels: Ints, at: int, size: int, sums: Floats) -> float:
    """The largest gross weight of a group."""
    for k in range(size + 1):
        sums[k] = 0.0
    found: float = 0.0
    for k in range(size):
        label: int = labels[at + k]
        if label > 0:
            sums[label] += abs(weights[k])
            found = max(found, sums[label])
    return found


def above(one: int, other: int, alike: bool, threshold: float, returns: FloatRows, end: int, rows: int) -> float:
    """By how much the correlation of two instruments, held alike or on opposite sides, exceeds a threshold."""
    a: float = 0.0
    b: float = 0.0
    for row in range(end - rows, end):
        a += returns[one, row]
        b += returns[other, row]
    a = a / rows
    b = b / rows
    ab: float = 0.0
    aa: float = 0.0
    bb: float = 0.0
    for row in range(end - rows, end):
        x: float = returns[one, row] - a
        y: float = returns[other, row] - b
        ab += x * y
        aa += x * x
        bb += y * y
    together: float = ab if alike else -ab
    scale: float = sqrt(aa * bb)
    return together / scale - threshold if scale > 0.0 else 0.0


def pairs_hold(
    weights: Floats,
    size: int,
    least: float,
    low: float,
    high: float,
    threshold: float,
    returns: FloatRows,
    end: int,
    rows: int,
) -> bool:
    """Whether the heaviest linked pair above `least` surely weighs more than `low`, where that is finite, and less than
    `high`.

    A pair is linked where its correlation on the sides held exceeds `threshold`; within rounding of it, it may be.
    """
    lasts: bool = not low > -inf
    for k in range(size):
        one: float = abs(weights[k])
        if one <= least:
            continue
        for other in range(k + 1, size):
            two: float = abs(weights[other])
            heavy: bool = one + two >= high
            sure: bool = min(one, two) > least + 1e-9
            if two <= least or not (heavy or (not lasts and sure and one + two > low)):
                continue
            excess: float = above(k, other, weights[k] * weights[other] > 0.0, threshold, returns, end, rows)
            if heavy and not excess < -1e-9:
                return False
            lasts = lasts or (sure and excess > 1e-9 and one + two > low)
    return lasts


def levels_hold(
    book: int,
    weights: Floats,
    size: int,
    measures: Floats,
    labels: Ints,
    counts: Ints,
    known: int,
    end: int,
    returns: FloatRows,
    shocks: Floats,
    loops: BatchLoops,
    losses: Floats,
    scratch: Floats,
    spread: Floats,
    rising: bool,
) -> bool:
    """Whether every measure of a book of float64[N] signed weights lies inside the band of its level; with `rising`,
    below its upper end.

    `known` returns end before column `end` of `returns` float64[N, W]; fewer than the least history measure no
    scenarios. `spread` float64[N] are deviations of the returns. `losses` float64[W] is scratch. Pairs precede the
    measures of losses, of which the longest lookback is the first.
    """
    longs: float = 0.0
    shorts: float = 0.0
    heaviest: float = 0.0
    second: float = 0.0
    squares: float = 0.0
    for k in range(size):
        weight: float = weights[k]
        if weight > 0.0:
            longs += weight
        else:
            weight = -weight
            shorts += weight
        squares += weight * weight
        if weight > heaviest:
            heaviest, second = weight, heaviest
        elif weight > second:
            second = weight
    gross: float = longs + shorts
    net: float = longs - shorts
    deepest: int = 0
    for each in range(len(measures) // MEASURE):
        at: int = each * MEASURE
        if measures[at] != float(book) or measures[at + 7] > float(known):
            continue
        kind: int = int(measures[at + 1])
        if kind >= DIVERSIFICATION and rising:
            continue
        if kind == HEAVIEST:
            value: float = heaviest
        elif kind == GROSS:
            value = gross
        elif kind == NET:
            value = abs(net)
        elif kind == LEVERAGE:
            borrowed: float = 1.0 + shorts if shorts > 1e-12 else 0.0
            value = max(longs, borrowed)
        elif kind == HERFINDAHL:
            value = squares
        elif kind == FAMILY:
            value = family_sum(weights, labels, int(measures[at + 4]) * size, size, scratch)
            if measures[at + 5] > 0.0:
                value = max(value, heaviest)
        elif kind == PAIRS:
            low: float = -inf if rising else measures[at + 2]
            # no pair weighs more than the two heaviest
            if low > -inf or not heaviest + second < measures[at + 3]:
                rows: int = min(known, int(measures[at + 6]))
                threshold: float = measures[at + 5]
                if not pairs_hold(
                    weights, size, measures[at + 4], low, measures[at + 3], threshold, returns, end, rows
                ):
                    return False
            continue
        elif kind >= REALISED_VOLATILITY:
            if not measures[at + 5] > 0.0:
                continue
            value = measures[at + 4]
        elif kind == STRESS:
            # at least the first scenario
            value = -inf
            rows = int(measures[at + 4])
            first: int = int(measures[at + 5])
            for row in range(rows):
                loss: float = 0.0
                for k in range(size):
                    loss -= weights[k] * shocks[(first + row) * size + k]
                value = max(value, loss)
        else:
            rows = min(known, int(measures[at + 4]))
            if rows > deepest:
                loops.losses(losses, end - rows, end, returns, weights)
                deepest = rows
            if kind == DIVERSIFICATION:
                alone: float = 0.0
                together: float = deviation(loops, losses, end - rows, end)
                for k in range(size):
                    alone += abs(weights[k]) * spread[k]
                if not alone > 0.0:
                    continue
                value = max(1.0 - together / alone, 0.0) if together > 1e-7 * alone else 1.0
            elif kind == VOLATILITY:
                value = measures[at + 5] * deviation(loops, losses, end - rows, end)
            else:
                count: int = counts[int(measures[at + 5]) + rows]
                scale: float = measures[at + 6]
                if kind == VAR:
                    # the count-th worst loss lies inside the band if fewer than so many reach its upper end
                    reach: int = rows - loops.below(losses, end - rows, end, scale, measures[at + 3])
                    beyond: int = loops.above(losses, end - rows, end, scale, measures[at + 2])
                    if reach >= count or not (rising or beyond >= count):
                        return False
                    continue
                worst(losses, end - rows, rows, count, scratch)
                value = 0.0
                for k in range(count):
                    value += scratch[k]
                value = value / count * scale
        if not value < measures[at + 3] or not (rising or measures[at + 2] < value):
            return False
    return True
