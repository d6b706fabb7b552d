"""Protective exits: the stop and target price levels of positions, computed from their cost, and mark prices that reach
them.

What can go wrong: a float misses a stop by its last digit. Levels are therefore rounded to nano-currency like prices,
so that a mark price exactly 8 % below its entry is at a stop of 8 %. Levels of a short position are computed with the
side -1 in the formulas of a long one. A mark price at both stop and target counts as a stop.

Prices are currency per unit. Matrices float64[A, N] have a row for each of the A books, a column for each symbol.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from quantd.risk.limits.catalogue import Protective
from quantd.risk.limits.context import Bools, Floats
from quantd.trading.instruments import MICRO

Kind = Literal["stop_loss", "take_profit", "trailing_stop"]

DECIMALS: Final = 9
"""Levels are rounded to the nano like prices: a mark exactly 8 % below its entry is at its stop."""


class Guards(NamedTuple):
    """The protective settings of all A books.

    `stop` and `target` float64[A, 1] are fractions, NaN where off; `trailing` is bool[A, 1], `cooldown` in samples by
    book. `trails` is True if any book has a trailing stop. `rests` says for each book whether its stops are orders at
    the venue.
    """

    stop: Floats
    target: Floats
    trailing: Bools
    cooldown: tuple[int, ...]
    trails: bool
    rests: tuple[bool, ...]


def guards(sets: Sequence[Protective | None], always: bool = False) -> Guards | None:
    """Return the protective settings of all A books, in order; None when all are off and `always` is False.

    Fractions and flags are columns [A, 1], so that they apply to prices [A, N]. NaN is a level that is off.
    """
    on = [s or Protective() for s in sets]
    if not always and all(s.stop_loss is None and s.take_profit is None for s in on):
        return None
    trailing = [s.trailing and s.stop_loss is not None for s in on]
    return Guards(
        stop=np.array([[np.nan if s.stop_loss is None else s.stop_loss] for s in on]),
        target=np.array([[np.nan if s.take_profit is None else s.take_profit] for s in on]),
        trailing=np.array(trailing)[:, None],
        cooldown=tuple(s.cooldown for s in on),
        trails=any(trailing),
        rests=tuple(s.at_venue for s in on),
    )


class Levels(NamedTuple):
    """Exit levels of the positions of all A books. `side` is 1 long, -1 short, 0 flat; `entry` the average cost of a
    unit; `stop` and `target` prices, NaN for none; `best` side x the best mark price since entry, NaN where no stop
    trails.

    `lower` and `upper` float64[N] are the levels nearest to the market below and above: between them no book has a
    level. `held` is True if any level exists. `position_levels` are (stops, targets) float64[A, N] of single positions,
    which replace the levels of the settings; NaN where they do not; None for none.
    """

    side: Floats
    entry: Floats
    best: Floats
    stop: Floats
    target: Floats
    lower: Floats
    upper: Floats
    held: bool
    position_levels: "tuple[Floats, Floats] | None" = None


class Breach(NamedTuple):
    """One position whose mark price is at or beyond an exit level.

    `moved` is the distance of the mark from the entry price (for a trailing stop from the best price), a positive
    fraction; `bound` is the limit of that distance.
    """

    book: int
    symbol: int
    kind: Kind
    entry: float
    mark: float
    level: float
    moved: float
    bound: float


def entry_prices(lots: Floats, cost_micro: Floats, unit: Floats) -> Floats:
    """Return the average cost of a unit; NaN without a position or cost. `unit` float64[N] has the units of one lot
    of each symbol."""
    out = np.full(lots.shape, np.nan)
    np.divide(cost_micro, lots * unit * MICRO, out=out, where=(lots * cost_micro) > 0.0)
    return out


def levels(
    settings: Guards,
    lots: Floats,
    cost_micro: Floats,
    unit: Floats,
    best: Floats,
    position_levels: tuple[Floats, Floats] | None = None,
) -> Levels:
    """Return the exit levels of positions from signed `lots`, their cost (negative for a short position) and the
    best prices so far, which count only if the position is still on the same side.

    All are float64[A, N]: A books, N symbols. `best` is the best mark price since entry, negative for a short position.
    `unit` float64[N] has the units of one lot. `position_levels` are (stops, targets) of single
    positions, which replace the levels of the settings; None for none.
    """
    side = np.sign(lots)
    entry = entry_prices(lots, cost_micro, unit)
    if settings.trails:
        best = np.where((best * side > 0.0) & settings.trailing, best, np.nan)
        best = np.where(settings.trailing, np.fmax(best, side * entry), np.nan)
    return _levels_of(settings, side, entry, best, position_levels)


def _levels_of(
    settings: Guards, side: Floats, entry: Floats, best: Floats, position_levels: tuple[Floats, Floats] | None
) -> Levels:
    """Return the exit levels at average costs `entry` and best prices `best` (side x price), all float64[A, N].

    Without `position_levels`, the fractions of `settings` give each level. A finite level of a single position replaces
    the level of the settings. `lower` and `upper` are, over all A books, the highest level below the market and the
    lowest above it; NaN where no book has one.
    """
    # a stop is below its reference for a long position (side 1), above it for a short one (side -1)
    # a trailing stop is measured from the best price, without its sign, any other from the cost
    stop_reference = np.where(settings.trailing, np.abs(best), entry)
    stop = np.round(stop_reference * (1.0 - side * settings.stop), DECIMALS)
    target = np.round(entry * (1.0 + side * settings.target), DECIMALS)
    if position_levels is not None:
        stop, target = (
            np.where(np.isfinite(of_position) & (side != 0.0), of_position, of_settings)
            for of_position, of_settings in zip(position_levels, (stop, target), strict=True)
        )
    is_long = side > 0.0
    lower = np.fmax.reduce(np.where(is_long, stop, target), axis=0)
    upper = np.fmin.reduce(np.where(is_long, target, stop), axis=0)
    has_level = bool(np.isfinite(lower).any() or np.isfinite(upper).any())
    return Levels(side, entry, best, stop, target, lower, upper, has_level, position_levels)


def trailed(settings: Guards, now: Levels, marks: Floats) -> Levels:
    """Return the exit levels after these mark prices: trailing stops follow a better price. Returns `now` itself
    when no price is better."""
    gained = now.side * marks
    if not np.count_nonzero(gained > now.best):
        return now
    best = np.where(settings.trailing & (now.side != 0.0), np.fmax(now.best, gained), np.nan)
    return _levels_of(settings, now.side, now.entry, best, now.position_levels)


def touched(now: Levels, marks: Floats) -> bool:
    """Whether any mark price is at or beyond an exit level.

    A position without a mark price (NaN) is not closed; limits on price age and feed alerts report it.
    """
    return bool(np.count_nonzero(marks <= now.lower) or np.count_nonzero(marks >= now.upper))


def breaches(settings: Guards, now: Levels, marks: Floats) -> list[Breach]:
    """Return every position whose mark price is at or beyond an exit level, by book, then symbol. A mark at both
    levels counts as a stop."""
    value = now.side * marks
    stopped = value <= now.side * now.stop
    hit = (stopped | (value >= now.side * now.target)) & (now.side != 0.0)
    rows = []
    for book, symbol in np.argwhere(hit).tolist():
        side, entry, mark = float(now.side[book, symbol]), float(now.entry[book, symbol]), float(marks[symbol])
        is_target = not stopped[book, symbol]
        level = float((now.target if is_target else now.stop)[book, symbol])
        start, bound = entry, float((settings.target if is_target else settings.stop)[book, 0])
        kind: Kind = "take_profit" if is_target else "stop_loss"
        # position_levels[0] are stops and [1] targets of single positions, which replace the settings
        if now.position_levels is not None and np.isfinite(now.position_levels[int(is_target)][book, symbol]):
            bound = side * (level / entry - 1.0 if is_target else 1.0 - level / entry)
        elif not is_target and settings.trailing[book, 0] and float(now.best[book, symbol]) > side * entry:
            # measured from the best price since entry, which is better than the entry
            start, kind = abs(float(now.best[book, symbol])), "trailing_stop"
        moved = side * (mark / start - 1.0 if is_target else 1.0 - mark / start)
        rows.append(Breach(book, symbol, kind, entry, mark, level, moved, bound))
    return rows
