"""The gate as kernels over arrays: caps, pairs, and one common factor in closed form, for one basket.

`judge` decides a basket. It needs arrays that `quantd.daemon.engine.batches.gate_inputs` makes for a set of limits and
a context. An array that only few baskets need is asked for by the returned status, and made then.

A book has one or two states: 0 is the worst while orders are in flight, 1 is the state after all fills at reference
prices. Arrays by side have length 2N, short | long. Money is in account currency. Comparisons are written so that NaN
refuses.
"""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import SLACK
from quantd.trading.jit import Floats, add_gains, add_scaled, count_above, fill, inner, vector

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

DONE: Final = 0
NEED_ROWS: Final = 1
"""The scenario rows depend on the symbols; `out` has the lots after all counts."""
NEED_RETURNS: Final = 2
NEED_MATRICES: Final = 3
NEED_LINKS: Final = 4
"""`out` is 1 for the symbols whose correlations are needed."""

HEAD: Final = 8
"""Length of the head of `market`: the entries below."""
M_STEPS: Final = 0
M_STEPS_AT: Final = 1
M_TAILS_AT: Final = 2
M_FORMS_AT: Final = 3
M_SHORT_AT: Final = 4
"""Place of the symbols with too few returns; 0: none."""
M_ROWS: Final = 5
"""Scenario rows: 1 known, 0 not yet, -1 too few."""
M_KNOWN: Final = 6
"""Arrays at hand: 1 returns + 2 matrices + 4 links."""

STEP: Final = 6
"""Entries of a cap: kind, code, and the parts of held, same-side and other-side open lots; place of its array."""
MASK: Final = 0
ROOM: Final = 1
WEIGHT: Final = 2

TAIL: Final = 6
"""Entries of a tail: place of the statistics, 1 if fixed, first column, scenarios, rank, deviations of the bound."""
FORM: Final = 2
"""Entries of a form: place of the deviations (0: none), first row of the matrix (-1: identity)."""

C_ROWS: Final = 0
C_ROWS_AT: Final = 1
C_FAMILIES: Final = 2
C_FAMILIES_AT: Final = 3
C_TAILS: Final = 4
C_TAILS_AT: Final = 5
C_FORMS: Final = 6
C_FORMS_AT: Final = 7
C_COUNTS: Final = 8
C_COUNTS_AT: Final = 9
C_NAMES_AT: Final = 10
C_STATES: Final = 11
C_PAIRS: Final = 12
C_WEIGHT: Final = 13
C_NOT_FINITE: Final = 14
C_ZERO_CROSSING: Final = 15
C_SWITCH: Final = 16
C_EQUITY: Final = 17
C_HISTORY: Final = 18
C_CORRELATION: Final = 19
C_CASH: Final = 20
C_CASH_ROW: Final = 21
CODES: Final = 22
"""Length of the head of `codes`."""

ROW: Final = 4
"""Entries of a row in `codes`: reason, what is held, 1 if coefficients are by symbol, place of its numbers."""
BY_SIDE: Final = 0
NET: Final = 1
TRADED: Final = 2
CASH: Final = 3
NOTHING: Final = 4

ROW_NUMBERS: Final = 6
"""Numbers of a row: bound in flight and settled, then coefficients short and long in flight, and settled."""
FAMILY: Final = 5
"""Entries of a family in `codes`: reason, groups, size of the largest, place of the labels, place of the bounds."""
LIMITED: Final = 3
"""Entries of a tail in `codes`: reason, 1 for the mean of the worst losses, place of bound and scale. Of a form: the
reason, and the place of the bounds at the same entry."""

N_PAID: Final = 0
"""What a buy pays above the mark, fees included."""
N_COVERED: Final = 1
N_FEE: Final = 2
N_SOLD: Final = 3
N_IN_FLIGHT: Final = 4
N_RESERVE: Final = 5
N_DEBIT: Final = 6
N_WEIGHT: Final = 7
N_WEIGHTS: Final = 8
"""Two weights; -1: off."""
N_THRESHOLD: Final = 10
N_LEAST: Final = 11
N_JOINT: Final = 12
NUMBERS: Final = 13
"""Length of the head of `numbers`."""

STATE: Final = 16
"""Entries of a state, with which `work` begins."""
BEFORE: Final = 0
"""Equity that decides whether a limit is already breached."""
EQUITY: Final = 1
"""Lowest equity over all fills of open and reducing orders."""
SLIP: Final = 2
"""Loss of an adding order, as a share of its value."""
CASH_USED: Final = 3
TURNOVER: Final = 4
LONG: Final = 5
SHORT: Final = 6
"""Sums of the largest exposures."""
HIGH: Final = 7
LOW: Final = 8
"""Sums of the signed highest and the negated lowest exposures."""
WIDER: Final = 9
"""Factor of the bounds in this state."""
NOW: Final = 10
"""Equity of the book as it stands."""
ADDED_LONG: Final = 11
ADDED_SHORT: Final = 12
HEAVIEST: Final = 13
LEFT: Final = 14
"""Equity after all adding orders."""

KNOWN: Final = 32
"""Behind the states: 1 where every number is finite and every position has a price."""
ADDING: Final = 33
REDUCTIONS: Final = 34
"""Numbers of orders."""
FRESH: Final = 35
"""The state whose reach is at hand; -1: none."""
HEAVY: Final = 36
"""1 where a requested position may weigh too much."""
PAIRED: Final = 37
"""1 where a pair may weigh too much."""
TOLERANCE: Final = 38
FACTOR: Final = 39
FACTOR_CODE: Final = 40
CAPPED: Final = 41
"""1 where a limit that is already breached caps single orders."""
CAPPED_CODE: Final = 42

BASE: Final = 43
"""Place of the arrays of `work`; the numbers that follow count arrays of length N before each."""
ASKED: Final = 0
LOTS: Final = 1
UP: Final = 2
DOWN: Final = 3
SIZE: Final = 4
"""Unsigned lots of adding orders."""
REDUCED: Final = 5
"""Signed lots of reducing orders."""
RANGE: Final = 6
"""[-lowest | highest] exposure of each state over every subset and partial fill."""
OUTER: Final = 10
"""Positive part of the range."""
FULL: Final = 14
"""Largest exposures by side, with all adding orders."""
CEILING: Final = 16
"""Caps of single orders."""
ORDER: Final = 17
HELD: Final = 18
SIDES: Final = 20
"""Scratch: N, 2N and 2N."""
ROOMS: Final = 22
"""The room of each count."""

INF: Final = float("inf")
NAN: Final = float("nan")
EXACT: Final = 9007199254740992.0
"""2^53: every larger float is whole."""


# ---- rows of scenarios -----------------------------------------------------------------------------------------------


def _copy_loop(out: Floats, row: Floats) -> None:
    for k in range(len(out)):
        out[k] = row[k]


@vector(_copy_loop)
def copy(out: Floats, row: Floats) -> None:
    """Set a row to another."""
    out[:] = row


def _sum_above_loop(row: Floats, edge: float) -> float:
    found = 0.0
    for k in range(len(row)):
        beyond = row[k] - edge
        found += 0.0 if beyond <= 0.0 else beyond
    return found


@vector(_sum_above_loop)
def sum_above(row: Floats, edge: float) -> float:
    """The sum of what elements exceed `edge` by, in their order."""
    beyond = row - edge
    return float(np.cumsum(np.where(beyond <= 0.0, 0.0, beyond))[-1])


def _dot_loop(row: Floats, values: Floats) -> float:
    found = row[0] * values[0]
    for k in range(1, len(row)):
        found += row[k] * values[k]
    return found


@vector(_dot_loop)
def dot(row: Floats, values: Floats) -> float:
    """The sum of products, in their order."""
    return float(np.cumsum(np.multiply(row, values))[-1])


def _nth_loop(row: Floats, spare: Floats, rank: int) -> float:
    for k in range(len(row)):
        spare[k] = row[k]
    low, high = 0, len(row) - 1
    while low < high:
        pivot = spare[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while spare[left] < pivot:
                left += 1
            while pivot < spare[right]:
                right -= 1
            if left <= right:
                spare[left], spare[right] = spare[right], spare[left]
                left += 1
                right -= 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            break
    return spare[rank]


@vector(_nth_loop)
def nth(row: Floats, spare: Floats, rank: int) -> float:
    """The element of `rank` in ascending order, from 0; of zeros either sign (C. Hoare, Algorithm 65: Find, 1961)."""
    spare[:] = row
    spare.partition(rank)
    return float(spare[rank])


def _sum_worst_loop(values: Floats, losses: Floats, edge: float, m: int) -> float:
    left = m
    for k in range(len(losses)):
        if losses[k] > edge:
            left -= 1
    found = 0.0
    for k in range(len(losses)):
        if losses[k] > edge:
            found += values[k]
        elif losses[k] == edge and left > 0:
            left -= 1
            found += values[k]
    return found


@vector(_sum_worst_loop)
def sum_worst(values: Floats, losses: Floats, edge: float, m: int) -> float:
    """The sum of `values` in the m scenarios with the worst losses, of which the least is `edge`, in their order."""
    worst = losses > edge
    worst[(losses == edge).nonzero()[0][: m - int(np.count_nonzero(worst))]] = True
    return 0.0 + float(np.cumsum(values[worst])[-1])


def _losses_loop(out: Floats, returns: Floats, first: int, fall: Floats, rise: Floats) -> None:
    for k in range(len(out)):
        out[k] = 0.0
    for j in range(len(returns)):
        row, per_return, per_gain = returns[j, first : first + len(out)], fall[j], rise[j]
        if per_gain != 0.0:
            for k in range(len(out)):
                value = row[k]
                out[k] += value * per_return + (0.0 if value <= 0.0 else value) * per_gain
        elif per_return != 0.0:
            for k in range(len(out)):
                out[k] += row[k] * per_return


@vector(_losses_loop)
def losses(out: Floats, returns: Floats, first: int, fall: Floats, rise: Floats) -> None:
    """The loss of each scenario from column `first` on: the sum of r `fall` + max(r, 0) `rise` over the symbols."""
    block = returns[:, first : first + len(out)]
    each = block * np.asarray(fall)[:, None]
    each += np.maximum(block, 0.0) * np.asarray(rise)[:, None]
    # a single column would be added up in pairs
    np.add.reduce(each, axis=0, out=out) if len(out) > 1 else np.copyto(out, np.add.accumulate(each, axis=0)[-1])


def _factors_loop(out: Floats, base: Floats, adding: Floats, target: float, fall: float) -> None:
    for k in range(len(out)):
        room, growth = target - base[k], adding[k] + fall
        if growth > 0.0:
            out[k] = room / growth
        else:
            out[k] = INF if room >= 0.0 else -INF


@vector(_factors_loop)
def factors(out: Floats, base: Floats, adding: Floats, target: float, fall: float) -> None:
    """The largest factor f of each scenario with base + f adding <= target - f fall."""
    room, growth = target - base, adding + fall
    out[:] = np.where(room >= 0.0, INF, -INF)
    np.divide(room, growth, out=out, where=growth > 0.0)


def _corners_loop(
    rows: Floats, matrices: Floats, place: int, outer: Floats, added: Floats, offset: Floats, sided: int
) -> None:
    n = matrices.shape[1]
    for i in range(6):
        for j in range(n):
            rows[i, j] = 0.0
    for k in range(n):
        row = matrices[place + k]
        short, long, less, more, under, over = outer[k], outer[n + k], added[k], added[n + k], offset[k], offset[n + k]
        if short + long + less + more + under + over != 0.0:
            for j in range(n):
                value = row[j]
                like = 0.0 if value <= 0.0 else value
                unlike = like - value
                rows[1, j] += like * long + unlike * short
                rows[3, j] += like * more + unlike * less
                rows[5, j] += unlike * over + like * under
            if sided == 1:
                for j in range(n):
                    value = row[j]
                    like = 0.0 if value <= 0.0 else value
                    unlike = like - value
                    rows[0, j] += like * short + unlike * long
                    rows[2, j] += like * less + unlike * more
                    rows[4, j] += unlike * under + like * over


@vector(_corners_loop)
def corners(
    rows: Floats, matrices: Floats, place: int, outer: Floats, added: Floats, offset: Floats, sided: int
) -> None:
    """M outer, M added and W offset, each short and long, in rows 0 to 5; the arguments by side, none negative.

    M has the positive entries of the matrix on like sides and the negative ones on unlike sides, W the other way round.
    `sided` 0: nothing is short, and its products are 0.
    """
    n = matrices.shape[1]
    like = np.maximum(matrices[place : place + n], 0.0)
    unlike = like - matrices[place : place + n]
    rows[:, :n] = 0.0
    for at, sizes, one, other in ((1, outer, like, unlike), (3, added, like, unlike), (5, offset, unlike, like)):
        short, long = np.asarray(sizes)[:n, None], np.asarray(sizes)[n:, None]
        rows[at, :n] = np.add.accumulate(one * long + other * short, axis=0)[-1]
        if sided == 1:
            rows[at - 1, :n] = np.add.accumulate(one * short + other * long, axis=0)[-1]


# ---- numbers ---------------------------------------------------------------------------------------------------------


@inner
def floor(value: float) -> float:
    """The largest whole number at most `value`, which is not negative."""
    return float(int(value)) if value < EXACT else value


@inner
def whole(most: float) -> float:
    """Whole lots within `most`, with a tolerance for rounding; 0 for NaN."""
    return floor((most if most > 0.0 else 0.0) * (1.0 + SLACK))


@inner
def finite(value: float) -> bool:
    return value - value == 0.0


@inner
def sort_by_value(n: int, count: int, names: int, work: Floats, market: Floats, codes: Ints) -> None:
    """Put `count` symbols in order: the largest notional first, equal ones by name (D. Shell, 1959)."""
    size = BASE + SIZE * n
    order = BASE + ORDER * n
    gap = count // 2
    while gap > 0:
        for start in range(gap, count):
            moved = work[order + start]
            own = int(moved)
            value, name = work[size + own] * market[HEAD + own], codes[names + own]
            at = start
            while at >= gap:
                other = int(work[order + at - gap])
                beside = work[size + other] * market[HEAD + other]
                if beside > value or (beside == value and codes[names + other] < name):
                    break
                work[order + at] = work[order + at - gap]
                at -= gap
            work[order + at] = moved
        gap //= 2


# ---- orders and states -----------------------------------------------------------------------------------------------


@inner
def split(n: int, work: Floats, market: Floats, codes: Ints, reason: Codes) -> None:
    """Separate whole reducing lots, signed, from the unsigned lots of adding orders."""
    asked = BASE
    lots = BASE + LOTS * n
    up = BASE + UP * n
    down = BASE + DOWN * n
    size = BASE + SIZE * n
    reducing = BASE + REDUCED * n
    barred = HEAD + n
    adding, reductions = 0, 0
    for k in range(n):
        wish, position, more, less = work[asked + k], work[lots + k], work[up + k], work[down + k]
        if not finite(wish + position + more + less):
            known = finite(position) and finite(more) and finite(less)
            if not known:
                work[KNOWN] = 0.0
            if not (known and finite(wish)):
                if wish != 0.0:
                    reason[k] = codes[C_NOT_FINITE]
                wish = 0.0
                work[asked + k] = 0.0
        if not market[HEAD + k] > 0.0 and (position != 0.0 or more != 0.0 or less != 0.0):
            work[KNOWN] = 0.0
        most = floor(wish if wish > 0.0 else -wish)
        if wish * position < 0.0:
            left = position - less if position > 0.0 else -position - more
            left = floor(left) if left > 0.0 else 0.0
            if most > left:
                reason[k] = codes[C_ZERO_CROSSING]
                most = left
            if market[barred + k] > 0.0:
                # an order of less than one lot is none
                if not -1.0 < wish < 1.0:
                    reason[k] = int(market[barred + k])
                most = 0.0
            if most > 0.0:
                reductions += 1
            work[reducing + k] = most if wish > 0.0 else -most
            work[size + k] = 0.0
        else:
            work[reducing + k] = 0.0
            work[size + k] = most
            if most > 0.0:
                adding += 1
    work[ADDING], work[REDUCTIONS] = adding, reductions


@inner
def settle(
    n: int,
    cash: float,
    equity: float,
    up_cash: float,
    open_loss: float,
    derived: int,
    open_gain: float,
    traded: float,
    work: Floats,
    market: Floats,
    numbers: Floats,
    codes: Ints,
) -> None:
    """The states of the book without the adding orders: the range of exposures, equity and cash.

    `w` is [-lowest | highest] exposure of each symbol over every subset and partial fill, `y` its positive part.
    """
    lots = BASE + LOTS * n
    up = BASE + UP * n
    down = BASE + DOWN * n
    reducing = BASE + REDUCED * n
    w = BASE + RANGE * n
    paid, covered, fee = numbers[N_PAID], numbers[N_COVERED], numbers[N_FEE]
    opened = closed = covers = sales = 0.0
    two = codes[C_STATES] == 2
    for k in range(n):
        price, position, more, less, back = (
            market[HEAD + k],
            work[lots + k],
            work[up + k],
            work[down + k],
            work[reducing + k],
        )
        low, high = position - less, position + more
        opened += more * price
        closed += less * price
        if back > 0.0:
            high += back
            covers += back * price
        else:
            low += back
            sales -= back * price
        work[w + k] = -(low * price)
        work[w + n + k] = high * price
        if two:
            after = (low + high - position) * price
            work[w + 2 * n + k] = -after
            work[w + 3 * n + k] = after
    worst = opened * paid
    extra = up_cash - opened
    loss = open_loss
    if derived == 1:
        loss = (worst if worst > extra else extra) + closed * (numbers[N_SOLD] + fee)
    lowest = equity - loss
    turned = covers + sales
    spent = up_cash - cash + numbers[N_RESERVE] * equity
    # largest permitted cash debit: a share of the equity left by all open orders, less what a sale of this basket costs
    # of that share beyond what it brings
    debit, lost = numbers[N_DEBIT], sales * covered
    owed = debit * lost - (sales - lost)
    owed = (owed if owed > 0.0 else 0.0) - debit * (lowest - covers * covered)
    turnover = traded + opened + closed + turned
    work[EQUITY] = lowest - turned * covered
    work[BEFORE] = equity + open_gain
    work[SLIP] = paid
    work[CASH_USED] = spent + covers * (1.0 + covered) + owed
    work[TURNOVER] = turnover
    work[WIDER] = 1.0 + numbers[N_IN_FLIGHT]
    work[NOW] = equity
    if two:
        settled = equity - (opened + closed) * fee
        work[STATE + EQUITY] = settled - turned * fee
        work[STATE + BEFORE] = settled
        work[STATE + SLIP] = fee
        work[STATE + CASH_USED] = spent + covers * (1.0 + fee) - sales * (1.0 - fee) - closed * (1.0 - fee)
        work[STATE + TURNOVER] = turnover
        work[STATE + WIDER] = 1.0
        work[STATE + NOW] = settled
    for e in range(codes[C_STATES]):
        _sums(n, e, work)


@inner
def _sums(n: int, e: int, work: Floats) -> None:
    """The positive parts of a state's exposures, and the sums of both."""
    w = BASE + RANGE * n
    y = BASE + OUTER * n
    first = 2 * n * e
    low = high = short = long = 0.0
    for k in range(first, first + n):
        below, above = work[w + k], work[w + k + n]
        low += below
        high += above
        if not below > 0.0:
            below = 0.0
        if not above > 0.0:
            above = 0.0
        work[y + k], work[y + k + n] = below, above
        short += below
        long += above
    work[e * STATE + LOW], work[e * STATE + HIGH] = low, high
    work[e * STATE + SHORT], work[e * STATE + LONG] = short, long


@inner
def reach(n: int, e: int, work: Floats, market: Floats) -> None:
    """Largest exposures `full` by side with all adding orders, their maximum, and the equity left."""
    asked = BASE
    size = BASE + SIZE * n
    y = BASE + OUTER * n
    full = BASE + FULL * n
    if work[FRESH] == e:
        return
    work[FRESH] = e
    first = 2 * n * e
    heaviest = longer = shorter = 0.0
    for k in range(n):
        short, long = work[y + first + k], work[y + first + n + k]
        own = work[size + k]
        if own > 0.0:
            own *= market[HEAD + k]
            if work[asked + k] > 0.0:
                long += own
                longer += own
            else:
                short += own
                shorter += own
        work[full + k], work[full + n + k] = short, long
        if short > heaviest:
            heaviest = short
        if long > heaviest:
            heaviest = long
    at = e * STATE
    work[at + HEAVIEST] = heaviest
    work[at + ADDED_LONG], work[at + ADDED_SHORT] = longer, shorter
    work[at + LEFT] = work[at + EQUITY] - work[at + SLIP] * (longer + shorter)


@inner
def standing(n: int, e: int, k: int, work: Floats, market: Floats) -> float:
    """Signed exposure of a symbol without the adding orders, exact. It decides whether a limit is already breached. In
    flight it is the present position, else the position after all other fills."""
    lots = BASE + LOTS * n
    w = BASE + RANGE * n
    return work[lots + k] * market[HEAD + k] if e == 0 else work[w + 3 * n + k]


# ---- caps of single orders -------------------------------------------------------------------------------------------


@inner
def cap(n: int, k: int, most: float, code: int, work: Floats, reason: Codes) -> None:
    """Whole lots of a symbol cut to `most`."""
    size = BASE + SIZE * n
    own = work[size + k]
    if own > 0.0 and not own <= most:
        reason[k] = code
        left = whole(most)
        if left < own:
            work[size + k] = left
            work[FRESH] = -1.0


@inner
def caps(n: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, reason: Codes) -> None:
    """Apply the caps in their order."""
    asked = BASE
    lots = BASE + LOTS * n
    up = BASE + UP * n
    down = BASE + DOWN * n
    size = BASE + SIZE * n
    first = int(market[M_STEPS_AT])
    for step in range(int(market[M_STEPS])):
        entry = first + step * STEP
        kind, code, at = int(market[entry]), int(market[entry + 1]), int(market[entry + 5])
        if kind == MASK:
            for k in range(n):
                bar = market[at + n + k] if work[asked + k] > 0.0 else market[at + k]
                if bar > 0.0:
                    cap(n, k, 0.0, int(bar), work, reason)
        elif kind == ROOM:
            counts_held, same, other = market[entry + 2], market[entry + 3], market[entry + 4]
            for k in range(n):
                own = work[size + k]
                if own > 0.0:
                    if work[asked + k] > 0.0:
                        most = market[at + n + k] - (
                            counts_held * work[lots + k] + same * work[up + k] + other * work[down + k]
                        )
                    else:
                        most = market[at + k] - (
                            same * work[down + k] + other * work[up + k] - counts_held * work[lots + k]
                        )
                    if not own <= most:
                        cap(n, k, most, code, work, reason)
        else:
            weigh(n, work, market, numbers, codes, reason)


@inner
def weigh(n: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, reason: Codes) -> None:
    """|position| <= weight x equity, with equity reduced by the order's own worst price."""
    size = BASE + SIZE * n
    heavy = False
    for e in range(codes[C_STATES]):
        reach(n, e, work, market)
        at = e * STATE
        bound = numbers[N_WEIGHT] * work[at + WIDER]
        if not work[at + HEAVIEST] <= bound * work[at + LEFT] + work[TOLERANCE]:
            heavy = True
    if heavy:
        work[HEAVY] = 1.0
        for k in range(n):
            if work[size + k] > 0.0:
                most = INF
                for e in range(codes[C_STATES]):
                    least = _lots_of_weight(n, k, e, work[e * STATE + EQUITY], work, market, numbers)
                    most = most if most <= least else least
                cap(n, k, most, codes[C_WEIGHT], work, reason)


@inner
def _lots_of_weight(n: int, k: int, e: int, equity: float, work: Floats, market: Floats, numbers: Floats) -> float:
    """Lots up to which a position weighs at most its share of `equity`, less its own slippage."""
    asked = BASE
    y = BASE + OUTER * n
    at = e * STATE
    bound = numbers[N_WEIGHT] * work[at + WIDER]
    own = work[y + 2 * n * e + n + k] if work[asked + k] > 0.0 else work[y + 2 * n * e + k]
    return (bound * equity + work[TOLERANCE] - own) / (market[HEAD + k] + bound * (work[at + SLIP] * market[HEAD + k]))


@inner
def weigh_again(n: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, reason: Codes) -> None:
    """Check weights at the lowest equity of the whole basket."""
    size = BASE + SIZE * n
    for e in range(codes[C_STATES]):
        reach(n, e, work, market)
    for k in range(n):
        own = work[size + k]
        if own > 0.0:
            most = INF
            for e in range(codes[C_STATES]):
                at = e * STATE
                equity = work[at + LEFT] + work[at + SLIP] * market[HEAD + k] * own
                least = _lots_of_weight(n, k, e, equity, work, market, numbers)
                most = most if most <= least else least
            cap(n, k, most, codes[C_WEIGHT], work, reason)


@inner
def count(n: int, work: Floats, market: Floats, codes: Ints, reason: Codes) -> int:
    """Keep the largest notionals, as many as each count permits beside the reductions. Returns how many are left."""
    size = BASE + SIZE * n
    order = BASE + ORDER * n
    left = 0
    for k in range(n):
        if work[size + k] > 0.0:
            left += 1
    for c in range(codes[C_COUNTS]):
        room = work[BASE + ROOMS * n + c] - work[REDUCTIONS]
        if not room > 0.0:  # NaN leaves none
            room = 0.0
        if left <= room:
            continue
        found = 0
        for k in range(n):
            if work[size + k] > 0.0:
                work[order + found] = k
                found += 1
        sort_by_value(n, found, codes[C_NAMES_AT], work, market, codes)
        for place in range(int(room), found):
            k = int(work[order + place])
            work[size + k] = 0.0
            reason[k] = codes[codes[C_COUNTS_AT] + c]
        left = int(room)
        work[FRESH] = -1.0
    return left


@inner
def history(n: int, work: Floats, market: Floats, codes: Ints, reason: Codes) -> int:
    """Refuse symbols with too few returns, and all where one of them is held or the scenario rows are too few. Returns
    how many are left."""
    lots = BASE + LOTS * n
    up = BASE + UP * n
    down = BASE + DOWN * n
    size = BASE + SIZE * n
    at = int(market[M_SHORT_AT])
    refused = market[M_ROWS] < 0.0
    if at > 0:
        for k in range(n):
            if market[at + k] > 0.0 and (work[lots + k] != 0.0 or work[up + k] != 0.0 or work[down + k] != 0.0):
                refused = True
    for k in range(n):
        if refused or (at > 0 and market[at + k] > 0.0):
            cap(n, k, 0.0, codes[C_HISTORY], work, reason)
    left = 0
    for k in range(n):
        if work[size + k] > 0.0:
            left += 1
    return left


# ---- correlated pairs ------------------------------------------------------------------------------------------------


@inner
def _linked(n: int, one: int, other: int, links: Floats) -> int:
    """Whether two sides lose together: 1 or 0; -1 where it is not known yet."""
    a, b = one % n, other % n
    if a == b:
        return 0
    link = links[a * n + b]
    if link == 0.0:
        return 0
    if link == 2.0:
        return 1
    if link > 2.0:
        return -1
    return 1 if (link > 0.0) == ((one < n) == (other < n)) else 0


@inner
def clip(
    n: int,
    e: int,
    final: int,
    work: Floats,
    market: Floats,
    numbers: Floats,
    codes: Ints,
    links: Floats,
    reason: Codes,
    out: Floats,
) -> int:
    """Cut adding lots so that every pair complies, larger notionals first.

    Without `final`, equity falls by accepted orders and the order itself, so that a single order gets the most. With
    it, equity is the lowest of the whole basket, for the final check.
    """
    asked = BASE
    size = BASE + SIZE * n
    y = BASE + OUTER * n
    full = BASE + FULL * n
    order = BASE + ORDER * n
    held = BASE + HELD * n
    heavy = BASE + SIDES * n
    reach(n, e, work, market)
    at = e * STATE
    near, low = work[TOLERANCE], work[at + LEFT]
    least, joint = numbers[N_LEAST] * work[at + WIDER], numbers[N_JOINT] * work[at + WIDER]
    # no two together weigh more than the heaviest twice
    if 2.0 * work[at + HEAVIEST] <= joint * low:
        return DONE
    edge, most_of_two = least * low + near, joint * low + near
    sides = 0
    first = second = 0.0
    for side in range(2 * n):
        weight = work[full + side]
        if weight > edge:
            work[heavy + sides] = side
            sides += 1
            if weight > first:
                first, second = weight, first
            elif weight > second:
                second = weight
    if sides < 2 or not first + second > most_of_two:
        return DONE
    if not int(market[M_KNOWN]) & 4:
        return mark(n, sides, work, out)
    beyond = False
    for a in range(sides):
        one = int(work[heavy + a])
        for b in range(a):
            other = int(work[heavy + b])
            link = _linked(n, one, other, links)
            if link < 0:
                return mark(n, sides, work, out)
            if link == 1 and work[full + one] + work[full + other] > most_of_two:
                beyond = True
    if not beyond:
        return DONE
    work[PAIRED] = 1.0
    for a in range(sides):
        side = int(work[heavy + a])
        work[held + side] = work[y + 2 * n * e + side]
    found = 0
    for k in range(n):
        if work[size + k] > 0.0:
            work[order + found] = k
            found += 1
    sort_by_value(n, found, codes[C_NAMES_AT], work, market, codes)
    equity = low if final == 1 else work[at + EQUITY]
    for place in range(found):
        k = int(work[order + place])
        lot, own = market[HEAD + k], work[size + k]
        slip = 0.0 if final == 1 else work[at + SLIP] * market[HEAD + k]
        side = n + k if work[asked + k] > 0.0 else k
        most = own
        if work[full + side] > edge:
            for b in range(sides):
                partner = int(work[heavy + b])
                if _linked(n, side, partner, links) == 1:
                    alone = (least * equity + near - work[held + side]) / (lot + least * slip)
                    shared = (joint * equity + near - (work[held + side] + work[held + partner])) / (lot + joint * slip)
                    # the partner is too small to matter, and stays so while equity falls by this order
                    free = equity * least + near - work[held + partner]
                    small = 0.0
                    if free >= 0.0:
                        small = free / (least * slip) if least * slip > 0.0 else INF
                    best = alone if alone >= shared else shared
                    best = best if best >= small else small
                    most = most if most <= best else best
            most = whole(most)
            work[held + side] += most * lot
            if most < own:
                work[size + k] = most
                reason[k] = codes[C_CORRELATION]
                work[FRESH] = -1.0
        equity -= most * slip
    return DONE


@inner
def mark(n: int, sides: int, work: Floats, out: Floats) -> int:
    """Ask for the correlations of the symbols of some sides."""
    heavy = BASE + SIDES * n
    for k in range(n):
        out[k] = 0.0
    for a in range(sides):
        out[int(work[heavy + a]) % n] = 1.0
    return NEED_LINKS


@inner
def _quotient(value: float, bound: float) -> float:
    """value / bound; a bound of 0 asks for all the equity there is."""
    if bound > 0.0:
        return value / bound
    return INF if value > 0.0 else NAN


@inner
def pair_equity(n: int, e: int, work: Floats, market: Floats, numbers: Floats, links: Floats, out: Floats) -> float:
    """Least equity at which existing pairs comply at their largest; -1 where links are not known yet."""
    y = BASE + OUTER * n
    heavy = BASE + SIDES * n
    at, first = e * STATE, 2 * n * e
    least, joint = numbers[N_LEAST] * work[at + WIDER], numbers[N_JOINT] * work[at + WIDER]
    edge, enough = least * work[at + LEFT], work[at + NOW] + work[TOLERANCE]
    sides = 0
    for side in range(2 * n):
        if work[y + first + side] > edge:
            work[heavy + sides] = side
            sides += 1
    need = 0.0
    for a in range(sides):
        one = int(work[heavy + a])
        large, now = work[y + first + one], standing(n, e, one % n, work, market)
        now = now if one >= n else -now
        for b in range(a):
            other = int(work[heavy + b])
            link = _linked(n, one, other, links)
            if link < 0:
                mark(n, sides, work, out)
                return -1.0
            if link == 1:
                both, beside = work[y + first + other], standing(n, e, other % n, work, market)
                beside = beside if other >= n else -beside
                # a pair that breaches already is not made to comply by refusing others; one of which nothing is held,
                # or that an open order makes larger, is not such a pair
                small, sum_now = _quotient(now if now < beside else beside, least), _quotient(now + beside, joint)
                grows = large > now + work[TOLERANCE] or both > beside + work[TOLERANCE]
                if grows or not (small > enough and sum_now > enough):
                    lesser = _quotient(large if large < both else both, least)
                    together = _quotient(large + both, joint)
                    lesser = lesser if lesser < together else together
                    need = need if need >= lesser else lesser
    return need


# ---- the common factor -----------------------------------------------------------------------------------------------


@inner
def take(value: float, code: int, work: Floats) -> None:
    """A factor of all adding orders; the first of equal ones gives the reason."""
    if not value > 0.0:
        value = 0.0
    if value < work[FACTOR]:
        work[FACTOR], work[FACTOR_CODE] = value, code


@inner
def bar(n: int, code: int, work: Floats) -> None:
    """Begin caps of single orders: none yet."""
    ceiling = BASE + CEILING * n
    for k in range(n):
        work[ceiling + k] = INF
    work[CAPPED], work[CAPPED_CODE] = 0.0, code


@inner
def rows_factor(
    n: int, e: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, links: Floats, out: Floats
) -> int:
    """Linear limits: held + growth <= bound x equity."""
    asked = BASE
    size = BASE + SIZE * n
    w = BASE + RANGE * n
    y = BASE + OUTER * n
    ceiling = BASE + CEILING * n
    at, first, near = e * STATE, 2 * n * e, work[TOLERANCE]
    equity, left = work[at + EQUITY], work[at + LEFT]
    longer, shorter = work[at + ADDED_LONG], work[at + ADDED_SHORT]
    for r in range(codes[C_ROWS]):
        entry = codes[C_ROWS_AT] + r * ROW
        code, kind, place = codes[entry], codes[entry + 1], codes[entry + 3]
        bound = numbers[place + e]
        own = place + 2 + 2 * e
        used = growth = 0.0
        if codes[entry + 2] == 0:
            if kind == BY_SIDE:
                used = numbers[place + 2] * work[at + SHORT] + numbers[place + 3] * work[at + LONG]
            elif kind == NET:
                used = numbers[place + 2] * work[at + LOW] + numbers[place + 3] * work[at + HIGH]
            growth = numbers[own] * shorter + numbers[own + 1] * longer
        else:
            each, each_own = place + 2, place + 2 + 2 * n * e
            if kind == BY_SIDE:
                for k in range(2 * n):
                    used += numbers[each + k] * work[y + first + k]
            elif kind == NET:
                for k in range(2 * n):
                    used += numbers[each + k] * work[w + first + k]
            for k in range(n):
                if work[size + k] > 0.0:
                    load = numbers[each_own + n + k] if work[asked + k] > 0.0 else numbers[each_own + k]
                    growth += load * (work[size + k] * market[HEAD + k])
        if kind == TRADED:
            used = work[at + TURNOVER]
        elif kind == CASH:
            used = work[at + CASH_USED]
        if code == codes[C_EQUITY]:
            used = names_equity(n, e, work, market, numbers, codes, links, out)
            if used < 0.0:
                return NEED_LINKS
        if used + growth <= bound * left + near:
            continue
        if _row_breached(n, e, entry, place, bound, work, market, numbers, codes):
            # all that is bought or sold takes from equity
            bar(n, code, work)
            for k in range(n):
                if work[size + k] > 0.0:
                    if codes[entry + 2] == 0:
                        load = numbers[own + 1] if work[asked + k] > 0.0 else numbers[own]
                    else:
                        load = numbers[place + 2 + 2 * n * e + (n + k if work[asked + k] > 0.0 else k)]
                    if load > 0.0 or code == codes[C_EQUITY]:
                        work[ceiling + k] = 0.0
                        work[CAPPED] = 1.0
            if work[CAPPED] > 0.0:
                return DONE
            continue
        growth += bound * (equity - left)
        if growth > 0.0:
            take((bound * equity + near - used) / growth, code, work)
    return DONE


@inner
def _row_breached(
    n: int, e: int, entry: int, place: int, bound: float, work: Floats, market: Floats, numbers: Floats, codes: Ints
) -> bool:
    """Whether a row is already breached.

    Exposures count as held: an open order that could exceed the bound leaves no equity to lower. Net exposure, cash and
    turnover count at their largest, because only orders on the same side add to them.
    """
    w = BASE + RANGE * n
    at, first, kind = e * STATE, 2 * n * e, codes[entry + 1]
    sizes = others = 0.0
    by_symbol = codes[entry + 2] == 1
    if kind == TRADED:
        others = work[at + TURNOVER]
    elif kind == CASH:
        others = work[at + CASH_USED]
    elif kind == NET:
        if by_symbol:
            for k in range(2 * n):
                others += numbers[place + 2 + k] * work[w + first + k]
        else:
            others = numbers[place + 2] * work[at + LOW] + numbers[place + 3] * work[at + HIGH]
    elif kind == BY_SIDE:
        for k in range(n):
            now = standing(n, e, k, work, market)
            side = k if now < 0.0 else n + k
            load = numbers[place + 2 + side] if by_symbol else numbers[place + 2 + side // n]
            sizes += load * (-now if now < 0.0 else now)
    near = work[TOLERANCE]
    return not (sizes <= bound * work[at + NOW] + near and others <= bound * work[at + BEFORE] + near)


@inner
def names_equity(
    n: int, e: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, links: Floats, out: Floats
) -> float:
    """Least equity at which existing weights and pairs comply at their largest; -1 where links are not known yet."""
    y = BASE + OUTER * n
    at, first, low = e * STATE, 2 * n * e, 0.0
    if work[HEAVY] > 0.0:
        # what is beyond the tighter limit already may still keep the wider one
        for j in range(2):
            bound = numbers[N_WEIGHTS + j] * work[at + WIDER]
            if bound > 0.0:
                largest, enough = 0.0, bound * work[at + NOW] + work[TOLERANCE]
                for k in range(n):
                    now = standing(n, e, k, work, market)
                    if -now <= enough and work[y + first + k] > largest:
                        largest = work[y + first + k]
                    if now <= enough and work[y + first + n + k] > largest:
                        largest = work[y + first + n + k]
                if largest / bound > low:
                    low = largest / bound
    if work[PAIRED] > 0.0:
        need = pair_equity(n, e, work, market, numbers, links, out)
        if need < 0.0:
            return need
        low = low if low >= need else need
    return low


@inner
def families_factor(n: int, e: int, work: Floats, market: Floats, numbers: Floats, codes: Ints) -> None:
    """The gross exposure of each group <= bound x equity."""
    size = BASE + SIZE * n
    y = BASE + OUTER * n
    full = BASE + FULL * n
    ceiling = BASE + CEILING * n
    held = BASE + HELD * n
    at, first, near = e * STATE, 2 * n * e, work[TOLERANCE]
    equity, left = work[at + EQUITY], work[at + LEFT]
    for f in range(codes[C_FAMILIES]):
        entry = codes[C_FAMILIES_AT] + f * FAMILY
        code, groups, labels = codes[entry], codes[entry + 1], codes[entry + 3]
        bound = numbers[codes[entry + 4] + e]
        # both sides of a symbol are at ceiling twice the heaviest side
        if 2.0 * codes[entry + 2] * work[at + HEAVIEST] <= bound * left:
            continue
        for label in range(groups + 1):
            work[held + label] = 0.0
        for k in range(n):
            work[held + codes[labels + k]] += work[full + k] + work[full + n + k]
        for label in range(1, groups + 1):
            if work[held + label] <= bound * left + near:
                continue
            now = used = growth = 0.0
            for k in range(n):
                if codes[labels + k] == label:
                    stands = standing(n, e, k, work, market)
                    now += -stands if stands < 0.0 else stands
                    used += work[y + first + k] + work[y + first + n + k]
                    growth += work[size + k] * market[HEAD + k]
            if not now <= bound * work[at + NOW] + near:
                bar(n, code, work)
                for k in range(n):
                    if codes[labels + k] == label and work[size + k] > 0.0:
                        work[ceiling + k] = 0.0
                        work[CAPPED] = 1.0
                if work[CAPPED] > 0.0:
                    return
                continue
            growth += bound * (equity - left)
            if growth > 0.0:
                take((bound * equity + near - used) / growth, code, work)


@inner
def book_losses(
    n: int, e: int, part: int, first: int, work: Floats, market: Floats, returns: Floats, out: Floats
) -> None:
    """Worst losses of each scenario: of the book with all adding orders (`part` 0), without (1), or of these orders
    alone (2).

    A range of exposures from `low` to `high` loses at most max(r, 0) (high - low) - r high.
    """
    asked = BASE
    size = BASE + SIZE * n
    w = BASE + RANGE * n
    held = BASE + HELD * n
    at = 2 * n * e
    for k in range(n):
        below = above = 0.0
        if part < 2:
            below, above = work[w + at + k], work[w + at + n + k]
        if part != 1 and work[size + k] > 0.0:
            if work[asked + k] > 0.0:
                above += work[size + k] * market[HEAD + k]
            else:
                below += work[size + k] * market[HEAD + k]
        work[held + k], work[held + n + k] = -above, below + above
    losses(out, returns, first, work[held : held + n], work[held + n : held + 2 * n])


@inner
def _measure(mean: int, m: int, row: Floats, spare: Floats) -> float:
    """VaR, or with `mean` the mean of the m worst losses."""
    edge = nth(row, spare, len(row) - m)
    if mean == 0:
        return edge
    return edge + sum_above(row, edge) / m


@inner
def _tail_factor(
    mean: int, m: int, target: float, fall: float, base: Floats, adding: Floats, both: Floats, spare: Floats
) -> float:
    """Largest factor f (of a mean: at most 1) with measure(base + f adding) <= target - f fall.

    VaR is the m-th worst loss, and scenario s complies up to (target - base_s) / (adding_s + fall), so VaR complies up
    to the m-th smallest of these. The mean of the worst is the largest mean over m scenarios, each linear in f.
    Newton's method starts at f = 1 with the worst set, goes down to where that set complies, and repeats until no other
    set is worse. Each step is exact and the sets are finite (W. Dinkelbach, On nonlinear fractional programming, 1967).
    """
    if mean == 0:
        factors(both, base, adding, target, fall)
        return nth(both, spare, m - 1)
    f = 1.0
    while f > 0.0:
        copy(both, base)
        add_scaled(both, adding, f)
        edge = nth(both, spare, len(both) - m)
        room = target - sum_worst(base, both, edge, m) / m
        growth = sum_worst(adding, both, edge, m) / m + fall
        step = INF if room >= 0.0 else -INF
        if growth > 0.0:
            step = room / growth
        if step >= f * (1.0 - SLACK):
            return f
        f = step
    return 0.0


@inner
def tails_factor(
    n: int,
    e: int,
    work: Floats,
    market: Floats,
    numbers: Floats,
    codes: Ints,
    returns: Floats,
    fixed: Floats,
    rows: Floats,
) -> int:
    """VaR, expected shortfall and stress: the worst losses of scenarios <= bound x equity."""
    asked = BASE
    size = BASE + SIZE * n
    full = BASE + FULL * n
    ceiling = BASE + CEILING * n
    held = BASE + HELD * n
    at, near = e * STATE, work[TOLERANCE]
    equity, left = work[at + EQUITY], work[at + LEFT]
    statistics = 0
    for t in range(codes[C_TAILS]):
        entry, own = codes[C_TAILS_AT] + t * LIMITED, int(market[M_TAILS_AT]) + t * TAIL
        code, mean, place = codes[entry], codes[entry + 1], codes[entry + 2]
        bound = numbers[place] * work[at + WIDER] / numbers[place + 1]
        if int(market[own]) != statistics:
            statistics, lost, deep = int(market[own]), False, False
            deviation = mean_size = 0.0
            for k in range(n):
                both = work[full + k] + work[full + n + k]
                deviation += market[statistics + k] * both
                mean_size += market[statistics + n + k] * both
        # no book of these exposures can lose more
        if market[own + 5] * deviation + mean_size <= bound * left:
            continue
        stored, first, scenarios, m = (
            market[own + 1] > 0.0,
            int(market[own + 2]),
            int(market[own + 3]),
            int(market[own + 4]),
        )
        if not stored and not int(market[M_KNOWN]) & 1:
            return NEED_RETURNS
        source = fixed if stored else returns
        target = bound * left + near
        lossy, spare = rows[0, :scenarios], rows[4, :scenarios]
        if not lost:
            lost = True
            # a range and not a number, for which numba would compile the function once more
            for part in range(1):
                book_losses(n, e, part, first, work, market, source, lossy)
        if mean == 0:
            if count_above(lossy, target) < m:
                continue
        else:
            # an upper bound at any edge (R. Rockafellar and S. Uryasev, Optimization of conditional VaR, 2000)
            edge = 0.75 * target
            if edge + sum_above(lossy, edge) / m <= target:
                continue
            if _measure(mean, m, lossy, spare) <= target:
                continue
        base, adding, now = rows[1, :scenarios], rows[2, :scenarios], rows[3, :scenarios]
        if not deep:
            deep = True
            for part in range(1, 3):
                book_losses(n, e, part, first, work, market, source, rows[part, :scenarios])
        for k in range(n):
            work[held + k], work[held + n + k] = -standing(n, e, k, work, market), 0.0
        losses(now, source, first, work[held : held + n], work[held + n : held + 2 * n])
        present = _measure(mean, m, now, spare)
        if present <= bound * work[at + NOW] + near:
            target = bound * equity + near
            take(_tail_factor(mean, m, target, bound * (equity - left), base, adding, now, spare), code, work)
            continue
        # breached already: no order may make it larger, alone or with others
        present += near
        bar(n, code, work)
        alone = rows[5, :scenarios]
        for k in range(n):
            if work[size + k] > 0.0:
                row = source[k, first : first + scenarios]
                copy(now, base)
                if work[asked + k] > 0.0:
                    add_scaled(now, row, -market[HEAD + k])
                add_gains(now, row, market[HEAD + k])
                if _measure(mean, m, now, spare) <= present:
                    value = work[size + k] * market[HEAD + k]
                    fill(alone, 0.0)
                    if work[asked + k] > 0.0:
                        add_scaled(alone, row, -value)
                    add_gains(alone, row, value)
                    work[ceiling + k] = _tail_factor(mean, m, present, 0.0, base, alone, now, spare) * work[size + k]
                else:
                    work[ceiling + k] = 0.0
                if whole(work[ceiling + k]) < work[size + k]:
                    work[CAPPED] = 1.0
        if work[CAPPED] > 0.0:
            return DONE
        take(_tail_factor(mean, m, present, 0.0, base, adding, now, spare), code, work)
    return DONE


@inner
def forms_factor(
    n: int, e: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, matrices: Floats, rows: Floats
) -> int:
    """Quadratic forms: the root of sum C_ij e_i e_j <= bound x equity, each entry at its worst corner.

    With outer sizes y and inner sizes z of each range, by side, the largest sum is at ceiling y'My - z'Wz (`corners`),
    and equal while no range crosses zero.
    """
    asked = BASE
    size = BASE + SIZE * n
    w = BASE + RANGE * n
    y = BASE + OUTER * n
    full = BASE + FULL * n
    ceiling = BASE + CEILING * n
    held = BASE + HELD * n
    heavy = BASE + SIDES * n
    at, first, near = e * STATE, 2 * n * e, work[TOLERANCE]
    equity, left = work[at + EQUITY], work[at + LEFT]
    short, long = work[y + first : y + first + n], work[y + first + n : y + first + 2 * n]
    gross = work[at + LONG] + work[at + SHORT] + work[at + ADDED_LONG] + work[at + ADDED_SHORT]
    for q in range(codes[C_FORMS]):
        entry, own = codes[C_FORMS_AT] + q * LIMITED, int(market[M_FORMS_AT]) + q * FORM
        code, bound = codes[entry], numbers[codes[entry + 2] + e]
        deviations, place = int(market[own]), int(market[own + 1])
        allowed = bound * left + near
        if deviations > 0:
            deviation = 0.0
            for k in range(n):
                deviation += market[deviations + k] * (work[full + k] + work[full + n + k])
            # no correlation can make it more than the sum of deviations
            if deviation <= allowed:
                continue
            if not int(market[M_KNOWN]) & 2:
                return NEED_MATRICES
        elif work[at + HEAVIEST] * gross <= allowed * allowed and allowed >= 0.0:
            # the sum of squares is at most the heaviest times the sum
            continue
        for k in range(n):
            work[held + k] = work[held + n + k] = 0.0
            if work[size + k] > 0.0:
                work[held + (n + k if work[asked + k] > 0.0 else k)] = work[size + k] * market[HEAD + k]
        if place < 0:
            base = cross = square = 0.0
            for k in range(2 * n):
                base += work[y + first + k] * work[y + first + k]
                cross += work[held + k] * work[y + first + k]
                square += work[held + k] * work[held + k]
        else:
            for k in range(n):
                # an order against its own position can take the inner size to zero
                work[heavy + k] = (
                    -work[w + first + n + k] if work[w + first + n + k] < 0.0 and not work[held + n + k] > 0.0 else 0.0
                )
                work[heavy + n + k] = (
                    -work[w + first + k] if work[w + first + k] < 0.0 and not work[held + k] > 0.0 else 0.0
                )
            sided = 1 if work[at + SHORT] + work[at + ADDED_SHORT] > 0.0 else 0
            corners(
                rows,
                matrices,
                place,
                work[y + first : y + first + 2 * n],
                work[held : held + 2 * n],
                work[heavy : heavy + 2 * n],
                sided,
            )
            base = dot(rows[0, :n], short) + dot(rows[1, :n], long)
            base -= dot(rows[4, :n], work[heavy : heavy + n]) + dot(rows[5, :n], work[heavy + n : heavy + 2 * n])
            cross = dot(rows[0, :n], work[held : held + n]) + dot(rows[1, :n], work[held + n : held + 2 * n])
            square = dot(rows[2, :n], work[held : held + n]) + dot(rows[3, :n], work[held + n : held + 2 * n])
        if allowed >= 0.0 and base + 2.0 * cross + square <= allowed * allowed:
            continue
        # of the book as it stands, exact
        for k in range(n):
            work[heavy + k] = standing(n, e, k, work, market)
        squares = 0.0
        if place < 0:
            for k in range(n):
                squares += work[heavy + k] * work[heavy + k]
        else:
            fill(rows[0, :n], 0.0)
            for k in range(n):
                if work[heavy + k] != 0.0:
                    add_scaled(rows[0, :n], matrices[place + k], work[heavy + k])
            squares = dot(rows[0, :n], work[heavy : heavy + n])
        if not sqrt(0.0 if squares <= 0.0 else squares) - bound * work[at + NOW] <= near:
            # whatever moves at all adds to it
            bar(n, code, work)
            for k in range(n):
                if work[size + k] > 0.0 and (place < 0 or matrices[place + k, k] > 0.0):
                    work[ceiling + k] = 0.0
                    work[CAPPED] = 1.0
            if work[CAPPED] > 0.0:
                return DONE
            continue
        target, fall = bound * equity + near, bound * (equity - left)
        # (square - fall^2) f^2 + 2 (cross + target fall) f - (target^2 - base) = 0, the smaller positive root
        a, b, c = square - fall * fall, cross + target * fall, target * target - base
        root = b * b + a * c
        f = 0.0
        if c > 0.0 and target > 0.0:
            f = c / (b + sqrt(0.0 if root <= 0.0 else root))
        take(f, code, work)
    return DONE


# ---- one basket ------------------------------------------------------------------------------------------------------


@inner
def settled_cash(n: int, work: Floats, market: Floats, numbers: Floats, codes: Ints, reason: Codes) -> None:
    """Cut buys where short sales, cut after the factor, bring less proceeds."""
    asked = BASE
    size = BASE + SIZE * n
    reach(n, codes[C_STATES] - 1, work, market)
    place = codes[codes[C_ROWS_AT] + codes[C_CASH_ROW] * ROW + 3]
    spent = numbers[place + 5] * work[STATE + ADDED_LONG]
    room = -work[STATE + CASH_USED] - numbers[place + 4] * work[STATE + ADDED_SHORT] + work[TOLERANCE]
    if not room > 0.0:
        room = 0.0
    if spent <= room:
        return
    for k in range(n):
        if work[size + k] > 0.0 and work[asked + k] > 0.0:
            cap(n, k, work[size + k] * (room / spent), codes[C_CASH], work, reason)


@inner
def factor(
    n: int,
    work: Floats,
    market: Floats,
    numbers: Floats,
    codes: Ints,
    returns: Floats,
    fixed: Floats,
    matrices: Floats,
    links: Floats,
    rows: Floats,
    reason: Codes,
    out: Floats,
) -> int:
    """One factor for all adding orders: the least over rows, families, tails and forms; lots are rounded down.

    A limit that the present positions breach caps the orders that grow its numerator, and no others. A limit that only
    open orders could breach leaves no order that lowers equity.
    """
    size = BASE + SIZE * n
    ceiling = BASE + CEILING * n
    while True:
        adding = False
        for k in range(n):
            if work[size + k] > 0.0:
                adding = True
        if not adding:
            return DONE
        work[FACTOR], work[FACTOR_CODE], work[CAPPED] = 1.0, 0.0, 0.0
        for e in range(codes[C_STATES]):
            reach(n, e, work, market)
            status = rows_factor(n, e, work, market, numbers, codes, links, out)
            if status != DONE:
                return status
            if work[CAPPED] > 0.0:
                break
            families_factor(n, e, work, market, numbers, codes)
            if work[CAPPED] > 0.0:
                break
            status = tails_factor(n, e, work, market, numbers, codes, returns, fixed, rows)
            if status != DONE:
                return status
            if work[CAPPED] > 0.0:
                break
            status = forms_factor(n, e, work, market, numbers, codes, matrices, rows)
            if status != DONE:
                return status
            if work[CAPPED] > 0.0:
                break
        if work[CAPPED] > 0.0:
            # what is breached already caps single orders, which leaves fewer lots each time
            for k in range(n):
                cap(n, k, work[ceiling + k], int(work[CAPPED_CODE]), work, reason)
            continue
        code = int(work[FACTOR_CODE])
        if code != 0:
            for k in range(n):
                own = work[size + k]
                kept = floor(own * work[FACTOR])
                if kept < own:
                    reason[k] = code
                    work[size + k] = kept
            work[FRESH] = -1.0
        return DONE


@inner
def judge(
    work: Floats,
    market: Floats,
    numbers: Floats,
    codes: Ints,
    returns: Floats,
    fixed: Floats,
    matrices: Floats,
    links: Floats,
    rows: Floats,
    out: Floats,
    reason: Codes,
    run: int,
    cash: float,
    equity: float,
    up_cash: float,
    open_loss: float,
    derived: int,
    open_gain: float,
    traded: float,
) -> int:
    """Decide a basket: `out` gets the signed lots that pass, `reason` the limit that cut each symbol.

    The arrays of `work` begin with the requested signed lots, the positions, and the open lots of buys and sells; they
    end with the room of each count. `derived` 1: `open_loss` follows from `up_cash` and the collars. `run` 0: only
    reducing orders pass. Returns DONE, or which arrays it needs to go on: then it is called again, with the same
    `reason`.
    """
    n = len(out)
    asked, size, reducing = BASE, BASE + SIZE * n, BASE + REDUCED * n
    money = cash + equity + up_cash + open_gain + traded
    if derived == 0:
        money += open_loss
    work[KNOWN] = 1.0 if finite(money) else 0.0
    split(n, work, market, codes, reason)
    refusal = 0
    if run == 0:
        refusal = codes[C_SWITCH]
    elif not work[KNOWN] > 0.0:
        refusal = codes[C_NOT_FINITE]
    elif not equity > 0.0:
        refusal = codes[C_EQUITY]
    if refusal != 0 or not work[ADDING] > 0.0:
        for k in range(n):
            out[k] = work[reducing + k]
            if work[size + k] > 0.0:
                reason[k] = refusal
        return DONE
    work[TOLERANCE] = SLACK * equity
    work[FRESH], work[HEAVY], work[PAIRED] = -1.0, 0.0, 0.0
    settle(n, cash, equity, up_cash, open_loss, derived, open_gain, traded, work, market, numbers, codes)
    caps(n, work, market, numbers, codes, reason)
    left = count(n, work, market, codes, reason)
    if left > 0:
        if market[M_ROWS] == 0.0:
            for k in range(n):
                out[k] = work[size + k]
            return NEED_ROWS
        if market[M_ROWS] < 0.0 or market[M_SHORT_AT] > 0.0:
            left = history(n, work, market, codes, reason)
    if left > 0:
        for final in range(2):
            if final == 1:
                status = factor(n, work, market, numbers, codes, returns, fixed, matrices, links, rows, reason, out)
                if status != DONE:
                    return status
                if work[HEAVY] > 0.0:
                    weigh_again(n, work, market, numbers, codes, reason)
            if codes[C_PAIRS] > final or work[PAIRED] > 0.0:
                for e in range(codes[C_STATES]):
                    status = clip(n, e, final, work, market, numbers, codes, links, reason, out)
                    if status != DONE:
                        return status
        if codes[C_STATES] == 2:
            settled_cash(n, work, market, numbers, codes, reason)
    for k in range(n):
        own = work[size + k] if work[asked + k] > 0.0 else -work[size + k]
        out[k] = own + work[reducing + k] if own != 0.0 else work[reducing + k]
    return DONE
