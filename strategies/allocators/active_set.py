"""Small convex quadratic programs by block pivoting on the active set, for the long-only allocators.

What can go wrong: exchanges that repeat for ever, and a matrix of fewer samples than variables. Block exchanges are
fast and may cycle. After some without progress, variables are exchanged one at a time, which ends (K. Murty, 1974). A
nearly singular matrix exchanges hundreds of variables in turn, each with a system of hundreds. Above `MANY` variables a
set is therefore grown from nothing, or a walk begins at a vertex or near its start.

It is fast for sign constraints, or bounds with one sum. Other constraints use `interior_point`.
"""

from typing import Final

import numpy as np

from quantd.trading.market import Bools, Floats

PATIENCE: Final = 4
"""Block exchanges without progress before variables are exchanged one at a time."""

FEW: Final = 40
"""Up to this number of variables the whole system is solved faster than a good start is found."""

MANY: Final = 100
"""Above this number of variables single exchanges are given up after the blocks, and a set is grown from nothing."""

BLOCKS: Final = 50
"""Block exchanges before single ones."""

ROUNDING: Final = 1e-13
"""Relative size that counts as zero."""


class Infeasible(ValueError):
    """No such portfolio exists or was found; the message has the reason, in constant words."""


def nonnegative(matrix: Floats, linear: Floats) -> Floats:
    """Return float64[n], the x >= 0 that minimises x' A x / 2 - b' x.

    `matrix` A float64[n, n] is positive definite, `linear` is b. In principal pivoting all variables of a wrong sign
    are exchanged at once, or one at a time without progress. Sources: J. Judice and F. Pires, A block principal
    pivoting algorithm for large-scale strictly monotone linear complementarity problems (1994); termination by K.
    Murty's rule (1974). Raises Infeasible after BLOCKS + 3 n pivots.

    A matrix of fewer samples than variables is nearly singular: hundreds of variables are exchanged in turn, each time
    with a system of hundreds. Above MANY variables `grown` follows the blocks.
    """
    size = len(linear)
    if size > FEW:
        free = likely(matrix, linear)
    else:
        x: Floats = np.asarray(np.linalg.solve(matrix, linear), dtype=np.float64)
        if x.min() >= 0.0:
            return x
        free = x > 0.0
    fewest, patience = size + 1, PATIENCE
    largest = float(np.abs(linear).max())
    for _ in range(BLOCKS + 3 * size if size <= MANY else BLOCKS):
        index = free.nonzero()[0]
        x = np.zeros(size)
        if len(index):
            x[index] = np.linalg.solve(matrix[index[:, None], index], linear[index])
        slope = matrix.dot(x) - linear
        gross = float(np.abs(x).sum())
        wrong = np.where(free, x < -ROUNDING * gross, slope < -ROUNDING * (largest + gross))
        count = int(np.count_nonzero(wrong))
        if not count:
            return np.maximum(x, 0.0)
        if count < fewest:
            fewest, patience = count, PATIENCE
            free ^= wrong
        elif patience:
            patience -= 1
            free ^= wrong
        else:
            last = int(wrong.nonzero()[0][-1])
            free[last] = not free[last]
    if size > MANY:
        return grown(matrix, linear)
    raise Infeasible("the active set of the solver did not converge")


def grown(matrix: Floats, linear: Floats) -> Floats:
    """Return float64[n], the same x as `nonnegative`, by variables that enter one at a time, the steepest first.

    No system is larger than the number of positive variables, which is at most the rank of the matrix. Variables that
    would turn negative leave on the way. Source: C. Lawson and R. Hanson, Solving least squares problems (1974), with
    products instead of the rows (R. Bro and S. de Jong, 1997). Raises Infeasible after 10 n entries.
    """
    size = len(linear)
    x, free, barred = np.zeros(size), np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    slope = -linear
    for _ in range(10 * size):
        limit = 1e-12 * float(np.abs(linear).max() + np.abs(x).sum())
        steep = np.where(free | barred, 0.0, slope)
        entering = int(steep.argmin())
        if steep[entering] >= -limit:
            return x
        free[entering] = True
        while free.any():
            index = free.nonzero()[0]
            tried = np.linalg.solve(matrix[index[:, None], index], linear[index])
            if tried.min() > 0.0:
                x[index] = tried
                break
            low = tried <= 0.0
            part = x[index]
            reach = part[low] / (part[low] - tried[low])
            x[index] = part + float(reach.min()) * (tried - part)
            leaving = index[low][reach <= reach.min()]
            x[leaving], free[leaving] = 0.0, False
        # a variable that enters and leaves at once is steep by rounding only: unless barred, it could repeat for ever
        barred = barred & ~free if free[entering] else barred | (np.arange(size) == entering)
        if free[entering]:
            barred[:] = False
        slope = matrix.dot(x) - linear
    raise Infeasible("the active set of the solver did not converge")


def likely(matrix: Floats, linear: Floats) -> Bools:
    """Return bool[n], a start for `nonnegative`: the positive variables under a model of one common factor.

    `matrix` has a diagonal near 1. With betas from the leading eigenvector x_i = (b_i - beta_i s) / r_i where that is
    positive; r_i is the residual variance. s, the sum of beta_i x_i over these, is the largest of the sums over the
    first k in order of b_i / beta_i.

    Source of the closed form: E. Elton, M. Gruber and M. Padberg, Simple criteria for optimal portfolio selection
    (1976).
    """
    vector = matrix.sum(axis=1)
    for _ in range(3):
        vector = matrix.dot(vector)
        vector /= np.abs(vector).max()
    beta = vector * (float(matrix.dot(vector).dot(vector)) ** 0.5 / float(vector.dot(vector)))
    residual = np.maximum(matrix.diagonal() - beta * beta, 0.05)
    ratio = np.where(beta > 0.0, linear / np.maximum(beta, 1e-6), np.inf)
    order = np.argsort(-ratio, kind="stable")
    per = beta / residual
    sums = np.cumsum((per * linear)[order]) / (1.0 + np.cumsum((per * beta)[order]))
    positive: Bools = linear - beta * float(sums.max()) > 0.0
    return positive


def bounded(
    matrix: Floats, linear: Floats, lower: Floats, upper: Floats, total: float, start: Floats | None = None
) -> tuple[Floats, Bools]:
    """Return the x, float64[n], with lower <= x <= upper and sum(x) = `total` that minimises x' A x / 2 - b' x.

    A is `matrix` float64[n, n] and b is `linear`. Also returns bool[n], the entries strictly between their bounds.
    `start` is a guess: entries at its bounds begin there. The method is the block pivoting of `nonnegative` with one
    equality: for given active bounds the free entries solve a linear system. Where blocks do not converge, the search
    continues with single changes from a feasible point. Raises Infeasible when the bounds do not permit the sum.
    """
    if float(lower.sum()) > total * (1.0 + 1e-12) or float(upper.sum()) < total * (1.0 - 1e-12):
        raise Infeasible("no weights within their bounds have the required sum")
    size = len(linear)
    guess = np.full(size, np.nan) if start is None else start
    low, high = guess <= lower, guess >= upper
    high &= ~low
    fewest, patience = 2 * size + 1, PATIENCE
    slack = ROUNDING * total
    x = lower + (upper - lower) * ((total - lower.sum()) / max(float((upper - lower).sum()), 1e-300))
    for _ in range(60):
        free = ~(low | high)
        if not free.any():
            break
        tried, price = _on_face(matrix, linear, np.where(low, lower, upper), free, total)
        slope = matrix.dot(tried) - linear - price
        limit = 1e-12 * (abs(price) + float(np.abs(linear).max()))
        below, above = free & (tried < lower - slack), free & (tried > upper + slack)
        back_low, back_high = low & (slope < -limit), high & (slope > limit)
        count = int(np.count_nonzero(below | above | back_low | back_high))
        if not count:
            return np.clip(tried, lower, upper), free
        patience = PATIENCE if count < fewest else patience - 1
        if not patience:
            break
        fewest = min(fewest, count)
        low = (low & ~back_low) | below
        high = (high & ~back_high) | above
    if size > MANY:
        x = _vertex(matrix.dot(lower) - linear, lower, upper, total)
        near = x if start is None else _near(start, lower, upper, total)
        if int(np.count_nonzero((near > lower) & (near < upper))) <= size // 4:
            x = near
    return _walk(matrix, linear, lower, upper, total, x)


def _vertex(slope: Floats, lower: Floats, upper: Floats, total: float) -> Floats:
    """Return the feasible point that fills entries to their upper bounds in order of `slope`; one is between bounds."""
    order = np.argsort(slope, kind="stable")
    room = (upper - lower)[order]
    x = lower.copy()
    x[order] += np.clip(total - float(lower.sum()) - (np.cumsum(room) - room), 0.0, room)
    return x


def _near(start: Floats, lower: Floats, upper: Floats, total: float) -> Floats:
    """Return a feasible point near `start`: what the bounds cut goes to the entries between their bounds, or to all.

    Few entries of it are free, so that the systems of a walk from it are small.
    """
    x = np.clip(start, lower, upper)
    gap = total - float(x.sum())
    room = upper - x if gap > 0.0 else x - lower
    inside = np.where((x > lower) & (x < upper), room, 0.0)
    if float(inside.sum()) > abs(gap):
        room = inside
    return x + room * (gap / max(float(room.sum()), 1e-300))


def _on_face(matrix: Floats, linear: Floats, at: Floats, free: Bools, total: float) -> tuple[Floats, float]:
    """Return the minimum with all but the `free` variables fixed at `at`, and the multiplier of the sum."""
    index = free.nonzero()[0]
    x = at.copy()
    x[index] = 0.0
    sides = np.empty((len(index), 2))
    sides[:, 0] = linear[index] - matrix[index].dot(x)
    sides[:, 1] = 1.0
    solution = np.linalg.solve(matrix[index[:, None], index], sides)
    price = (total - float(x.sum()) - float(solution[:, 0].sum())) / float(solution[:, 1].sum())
    x[index] = solution[:, 0] + price * solution[:, 1]
    return x, price


def _walk(
    matrix: Floats, linear: Floats, lower: Floats, upper: Floats, total: float, x: Floats
) -> tuple[Floats, Bools]:
    """Run the primal active-set method from the feasible `x`.

    Each step goes to the minimum of a face, and stops at the first bound. There the constraint with the worst
    multiplier is dropped (J. Nocedal and S. Wright, Numerical optimization, 2006, 16.5).
    """
    low, high = x <= lower, x >= upper
    high &= ~low
    limit = 1e-11 * float(np.abs(linear).max(initial=0.0) + np.abs(matrix).max() * total)
    for _ in range(100 + 10 * len(x)):
        free = ~(low | high)
        price = 0.0
        if free.any():
            to, price = _on_face(matrix, linear, x, free, total)
            step = to - x
            reach = np.full(len(x), np.inf)
            up, down = free & (step > 0.0), free & (step < 0.0)
            reach[up] = (upper - x)[up] / step[up]
            reach[down] = (lower - x)[down] / step[down]
            first = int(reach.argmin())
            if reach[first] < 1.0:
                x = x + max(float(reach[first]), 0.0) * step
                (high if step[first] > 0.0 else low)[first] = True
                x[first] = upper[first] if step[first] > 0.0 else lower[first]
                continue
            x = to
        slope = matrix.dot(x) - linear
        gain_low = np.where(low, price - slope, -np.inf)
        gain_high = np.where(high, slope - price, -np.inf)
        if not free.any():
            # between the bounds any multiplier is valid: one variable of each side may be exchanged
            a, b = int(np.where(low, slope, np.inf).argmin()), int(np.where(high, slope, -np.inf).argmax())
            if not (low.any() and high.any()) or slope[b] - slope[a] <= limit:
                return x, free
            low[a] = high[b] = False
            continue
        a, b = int(gain_low.argmax()), int(gain_high.argmax())
        if max(float(gain_low[a]), float(gain_high[b])) <= limit:
            return np.clip(x, lower, upper), free
        if gain_low[a] >= gain_high[b]:
            low[a] = False
        else:
            high[b] = False
    raise Infeasible("the active set of the solver did not converge")
