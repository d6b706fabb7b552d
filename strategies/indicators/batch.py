"""Evaluates nodes over a whole history at once: float64[T, N] for each, or only the newest rows.

An instrument's bars are compacted first, so that gaps disappear: windows and recursions go from one bar of an
instrument to its next. Recursions are solved by doubling (Hillis and Steele, 1986), not bar by bar.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.strategies.indicators.nodes import Adaptive, Field, Lag, Node, Point, Recursion, Window, ordered
from quantd.trading.market import Bools, Floats

SPENT: Final = 1e-300
"""A power of a decay below this is negligible."""


def bars_present(fields: Mapping[str, Floats]) -> Bools:
    """Return bool[T, N], true where a bar exists: open, high, low and close are known and above 0."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(fields["open"] + fields["high"] + fields["close"]) & (fields["low"] > 0.0)


def cleaned(fields: Mapping[str, Floats], present: Bools) -> dict[str, Floats]:
    """Set fields to NaN without a bar, and unknown volumes to 0."""
    out = {name: np.where(present, column, np.nan) for name, column in fields.items()}
    if "volume" in fields:
        out["volume"] = np.where(present, np.nan_to_num(fields["volume"], nan=0.0), np.nan)
    return out


def by_bars(nodes: list[Node], fields: Mapping[str, Floats], present: Bools, rows: int) -> dict[str, Floats]:
    """Return key -> values of each node at the newest `rows` of T rows, float64[rows, N].

    `fields` are bar fields float64[T, N], and `present` bool[T, N] marks bars. Values are NaN without a bar.
    """
    moved, order, number = together(cleaned(fields, present), present)
    # a column's newest bars are in the last rows; `order` maps them to their original rows
    values, order, number = evaluate(nodes, moved, number, rows), order[-rows:], number[-rows:]
    out = {}
    for key, value in values.items():
        scattered = np.full(present.shape, np.nan)
        np.put_along_axis(scattered, order, np.where(number >= 0, value, np.nan), axis=0)
        scattered[~present] = np.nan
        out[key] = scattered[len(present) - rows :]
    return out


def together(fields: Mapping[str, Floats], present: Bools) -> tuple[dict[str, Floats], NDArray[np.int64], Floats]:
    """Compact each column's bars into the newest rows, NaN before them. Returns (fields, order, number).

    `order` int64[T, N] is the original row of each value. `number` float64[T, N] is the bar's number in its column from
    0, negative before the first.
    """
    count = present.sum(axis=0)
    rows = np.arange(len(present))[:, None]
    number = (rows - (len(present) - count)).astype(np.float64)
    if present.all():
        return dict(fields), np.broadcast_to(rows, present.shape), number
    order = np.argsort(present, axis=0, kind="stable")
    moved = {name: np.take_along_axis(column, order, axis=0) for name, column in fields.items()}
    for column in moved.values():
        column[number < 0] = np.nan
    return moved, order, number


def evaluate(nodes: list[Node], fields: Mapping[str, Floats], number: Floats, rows: int) -> dict[str, Floats]:
    """Return key -> float64[rows, N], the newest `rows` of each of `nodes`. `fields` and `number` come from
    `together`."""
    work = ordered(nodes)
    total = len(number)
    wanted = dict.fromkeys((n.key for n in work), 0)
    for node in nodes:
        wanted[node.key] = rows
    for node in reversed(work):
        need = wanted[node.key]
        match node:
            case Lag():
                need += node.back
            case Window():
                need += node.width - 1
            case Recursion() | Adaptive():
                need = total
        for arg in node.args:
            wanted[arg.key] = min(max(wanted[arg.key], need), total)
    values: dict[str, Floats] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for node in work:
            values[node.key] = _value(node, [values[a.key] for a in node.args], fields, number, wanted[node.key])
    return {node.key: newest(values[node.key], rows) for node in nodes}


def _value(node: Node, args: list[Floats], fields: Mapping[str, Floats], number: Floats, rows: int) -> Floats:
    total = len(number)
    match node:
        case Field():
            return newest(fields[node.key], rows)
        case Point():
            return node.function(*[newest(a, rows) for a in args])
        case Lag():
            return newest(args[0], rows + node.back)[:rows]
        case Window():
            seen = [newest(a, rows + node.width - 1) for a in args]
            return node.kernel.one(*seen)[None] if rows == 1 else node.kernel.all(node.width, *seen)
        case Recursion():
            x = newest(args[0], total)
            begun = (number >= node.begin) & (number <= node.first)
            start = np.where(begun, x, 0.0).sum(axis=0) * node.scale
            given = np.where(number > node.first, node.gain * x, np.where(number == node.first, start, 0.0))
            return _known(_decayed(given, node.decay), number, node.first, rows)
        case Adaptive():
            x, coefficient = (newest(a, total) for a in args)
            later = number > node.seed
            given = np.where(later, coefficient * x, np.where(number == node.seed, x, 0.0))
            return _known(_varying(given, np.where(later, 1.0 - coefficient, 0.0)), number, node.first, rows)


def newest(column: Floats, rows: int) -> Floats:
    """Return float64[rows, N], the last `rows` of float64[T, N], padded with NaN at the start."""
    if rows <= len(column):
        return column[len(column) - rows :]
    out = np.full((rows, column.shape[1]), np.nan)
    out[rows - len(column) :] = column
    return out


def _known(column: Floats, number: Floats, first: int, rows: int) -> Floats:
    column = newest(column, rows)
    column[newest(number, rows) < first] = np.nan
    return column


def _decayed(given: Floats, decay: float) -> Floats:
    """Solve y[t] = decay y[t - 1] + given[t] by doubling."""
    if decay == 1.0:
        return np.add.accumulate(given, axis=0)
    step, power = 1, decay
    while step < len(given) and power > SPENT:
        given[step:] += power * given[:-step]  # the right side is evaluated before the left is written
        step, power = step * 2, power * power
    return given


def _varying(given: Floats, decay: Floats) -> Floats:
    """Solve y[t] = decay[t] y[t - 1] + given[t] by doubling."""
    step = 1
    while step < len(given):
        given[step:] += decay[step:] * given[:-step]
        decay[step:] = decay[step:] * decay[:-step]
        decay[:step] = 0.0
        step *= 2
    return given
