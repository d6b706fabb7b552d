"""Evaluates nodes (computed columns) over a whole history of T rows and N instruments at once: float64[T, N] for each.

Only the newest rows may be requested. An instrument's bars are compacted first, so that gaps disappear: windows and
recursions go from one bar of an instrument to its next. Recursions are solved by doubling (Hillis and Steele, 1986),
not bar by bar.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.strategies.indicators.nodes import Adaptive, Field, Lag, Node, Point, Recursion, Window, ordered
from quantd.trading.market import Bools, Floats

SPENT: Final = 1e-300
"""A power of the decay below this is negligible, and ends the doubling."""


def bars_present(fields: Mapping[str, Floats]) -> Bools:
    """Return bool[T, N], true where a bar exists: open, high, low and close are known and above 0."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(fields["open"] + fields["high"] + fields["close"]) & (fields["low"] > 0.0)


def cleaned(fields: Mapping[str, Floats], present: Bools) -> dict[str, Floats]:
    """Return the fields with NaN where there is no bar (`present` is False), and with unknown volumes as 0."""
    clean = {name: np.where(present, column, np.nan) for name, column in fields.items()}
    if "volume" in fields:
        clean["volume"] = np.where(present, np.nan_to_num(fields["volume"], nan=0.0), np.nan)
    return clean


def by_bars(nodes: list[Node], fields: Mapping[str, Floats], present: Bools, rows: int) -> dict[str, Floats]:
    """Return node key -> values at the newest `rows` of T rows, float64[rows, N].

    `fields` are bar fields float64[T, N], and `present` bool[T, N] marks bars. Values are NaN without a bar.
    """
    compact_fields, order, number = compacted(cleaned(fields, present), present)
    # a column's newest bars are in the last rows; `order` maps them to their original rows
    values, order, number = evaluate(nodes, compact_fields, number, rows), order[-rows:], number[-rows:]
    by_key = {}
    for key, value in values.items():
        scattered = np.full(present.shape, np.nan)
        np.put_along_axis(scattered, order, np.where(number >= 0, value, np.nan), axis=0)
        scattered[~present] = np.nan
        by_key[key] = scattered[len(present) - rows :]
    return by_key


def compacted(fields: Mapping[str, Floats], present: Bools) -> tuple[dict[str, Floats], NDArray[np.int64], Floats]:
    """Move the bars of each column into its newest rows, so that no gaps remain between them; NaN comes before them.

    Returns (fields, order, number). `order` int64[T, N] is the original row of each value. `number` float64[T, N] is
    the number of the bar in its column, from 0; it is negative in rows without a bar.
    """
    bar_counts = present.sum(axis=0)
    rows = np.arange(len(present))[:, None]
    bar_number = (rows - (len(present) - bar_counts)).astype(np.float64)
    if present.all():
        return dict(fields), np.broadcast_to(rows, present.shape), bar_number
    # rows without a bar come first; a stable sort keeps the order of the bars
    source_rows = np.argsort(present, axis=0, kind="stable")
    compact_fields = {name: np.take_along_axis(column, source_rows, axis=0) for name, column in fields.items()}
    for column in compact_fields.values():
        column[bar_number < 0] = np.nan
    return compact_fields, source_rows, bar_number


def evaluate(nodes: list[Node], fields: Mapping[str, Floats], number: Floats, rows: int) -> dict[str, Floats]:
    """Return node key -> float64[rows, N], the newest `rows` of each of `nodes`.

    `fields` and `number` come from `compacted`.
    """
    dependencies_first = ordered(nodes)
    total = len(number)
    rows_wanted = dict.fromkeys((node.key for node in dependencies_first), 0)
    for node in nodes:
        rows_wanted[node.key] = rows
    # from results back to inputs: how many newest rows of each node are read
    for node in reversed(dependencies_first):
        arg_rows = rows_wanted[node.key]
        match node:
            case Lag():
                arg_rows += node.back
            case Window():
                arg_rows += node.width - 1
            case Recursion() | Adaptive():
                arg_rows = total
        for arg in node.args:
            rows_wanted[arg.key] = min(max(rows_wanted[arg.key], arg_rows), total)
    values: dict[str, Floats] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for node in dependencies_first:
            values[node.key] = _value(
                node, [values[arg.key] for arg in node.args], fields, number, rows_wanted[node.key]
            )
    return {node.key: newest(values[node.key], rows) for node in nodes}


def _value(node: Node, args: list[Floats], fields: Mapping[str, Floats], number: Floats, rows: int) -> Floats:
    """Return float64[rows, N], the newest `rows` of one node from the values of its `args`.

    `number` float64[T, N] counts the bars of each column from 0. A recursion is solved over all T rows, because each
    value depends on all earlier ones.
    """
    total = len(number)
    match node:
        case Field():
            return newest(fields[node.key], rows)
        case Point():
            return node.function(*[newest(arg, rows) for arg in args])
        case Lag():
            return newest(args[0], rows + node.back)[:rows]
        case Window():
            windows = [newest(arg, rows + node.width - 1) for arg in args]
            return node.kernel.one(*windows)[None] if rows == 1 else node.kernel.all(node.width, *windows)
        case Recursion():
            x = newest(args[0], total)
            # the first value is `scale` times the sum of x over the bars from `begin` to `first`
            seeding = (number >= node.begin) & (number <= node.first)
            start = np.where(seeding, x, 0.0).sum(axis=0) * node.scale
            inputs = np.where(number > node.first, node.gain * x, np.where(number == node.first, start, 0.0))
            return _newest_without_early(_solved_constant_decay(inputs, node.decay), number, node.first, rows)
        case Adaptive():
            x, coefficient = (newest(arg, total) for arg in args)
            after_seed = number > node.seed
            inputs = np.where(after_seed, coefficient * x, np.where(number == node.seed, x, 0.0))
            return _newest_without_early(
                _solved_varying_decay(inputs, np.where(after_seed, 1.0 - coefficient, 0.0)), number, node.first, rows
            )


def newest(column: Floats, rows: int) -> Floats:
    """Return float64[rows, N], the last `rows` of float64[T, N], padded with NaN at the start."""
    if rows <= len(column):
        return column[len(column) - rows :]
    padded = np.full((rows, column.shape[1]), np.nan)
    padded[rows - len(column) :] = column
    return padded


def _newest_without_early(column: Floats, number: Floats, first: int, rows: int) -> Floats:
    """Return float64[rows, N], the newest `rows` of `column`, with NaN in bars before number `first`."""
    column = newest(column, rows)
    column[newest(number, rows) < first] = np.nan
    return column


def _solved_constant_decay(inputs: Floats, decay: float) -> Floats:
    """Return y float64[T, N] with y[t] = decay y[t - 1] + inputs[t], by repeated doubling; `inputs` is overwritten.

    After each pass, y[t] has the terms of twice as many rows. The passes end where the power of `decay` is below SPENT,
    so that older rows add nothing.
    """
    if decay == 1.0:
        return np.add.accumulate(inputs, axis=0)
    distance, decay_power = 1, decay
    while distance < len(inputs) and decay_power > SPENT:
        inputs[distance:] += decay_power * inputs[:-distance]  # the right side is evaluated before the left is written
        distance, decay_power = distance * 2, decay_power * decay_power
    return inputs


def _solved_varying_decay(inputs: Floats, decay: Floats) -> Floats:
    """Return y float64[T, N] with y[t] = decay[t] y[t - 1] + inputs[t], by repeated doubling.

    Both arguments are overwritten.
    """
    distance = 1
    while distance < len(inputs):
        inputs[distance:] += decay[distance:] * inputs[:-distance]
        decay[distance:] = decay[distance:] * decay[:-distance]
        decay[:distance] = 0.0
        distance *= 2
    return inputs
