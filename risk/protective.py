"""Protective exits: the levels of positions from their cost, and the marks at or beyond them.

What can go wrong: a stop that a float misses by its last digit. Levels are rounded to the nano like prices, so that a
mark exactly 8 % below its entry is at its stop. A short is computed as a long with the sign turned round, so that one
rule serves both. A mark at both levels counts as a stop.

Prices are currency per unit, matrices float64[A, N] with a row for each book.
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
    """The protective settings of all books: `stop` and `target` float64[A, 1] fractions, NaN where off, `trailing`
    bool[A, 1], `cooldown` samples by book. `trails`: any of them trails. `rests`: books with stops at the venue."""

    stop: Floats
    target: Floats
    trailing: Bools
    cooldown: tuple[int, ...]
    trails: bool
    rests: tuple[bool, ...]


def guards(sets: Sequence[Protective | None], always: bool = False) -> Guards | None:
    """The settings of all books, in order; None when all are off, unless `always`."""
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
    """Exit levels. `side` is 1 long, -1 short, 0 flat; `entry` the average cost of a unit; `stop` and `target` prices,
    NaN for none; `best` side x the best mark since entry, NaN where no stop trails.

    `lower` and `upper` float64[N]: no book has a level between them. `held`: any level exists. `position_levels` are
    (stops, targets) that replace those of the settings, NaN where they do not; None for none.
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
    """One position at or beyond a level. `moved` is the distance of the mark from the entry price (for a trailing stop
    from the best price), a positive fraction; `bound` is its limit."""

    book: int
    symbol: int
    kind: Kind
    entry: float
    mark: float
    level: float
    moved: float
    bound: float


def entry_prices(lots: Floats, cost_micro: Floats, unit: Floats) -> Floats:
    """Cost of a unit: cost / lots, `unit` float64[N] units a lot; NaN without a position or cost."""
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
    """The levels of positions from signed `lots`, their cost (negative for a short) and the best prices so far, which
    count only on the same side. `position_levels`: see `Levels`."""
    side = np.sign(lots)
    entry = entry_prices(lots, cost_micro, unit)
    if settings.trails:
        best = np.where((best * side > 0.0) & settings.trailing, best, np.nan)
        best = np.where(settings.trailing, np.fmax(best, side * entry), np.nan)
    return _with_levels(settings, side, entry, best, position_levels)


def _with_levels(
    settings: Guards, side: Floats, entry: Floats, best: Floats, position_levels: tuple[Floats, Floats] | None
) -> Levels:
    # by how far the price moved for the holder, a short is a long with the sign turned round
    fallen_from = np.where(settings.trailing, np.abs(best), entry)
    stop = np.round(fallen_from * (1.0 - side * settings.stop), DECIMALS)
    target = np.round(entry * (1.0 + side * settings.target), DECIMALS)
    if position_levels is not None:
        stop, target = (
            np.where(np.isfinite(given) & (side != 0.0), given, kept)
            for given, kept in zip(position_levels, (stop, target), strict=True)
        )
    long = side > 0.0
    lower = np.fmax.reduce(np.where(long, stop, target), axis=0)
    upper = np.fmin.reduce(np.where(long, target, stop), axis=0)
    held = bool(np.isfinite(lower).any() or np.isfinite(upper).any())
    return Levels(side, entry, best, stop, target, lower, upper, held, position_levels)


def trailed(settings: Guards, now: Levels, marks: Floats) -> Levels:
    """The levels after these marks: trailing stops follow a better price; `now` itself when none is better."""
    gained = now.side * marks
    if not np.count_nonzero(gained > now.best):
        return now
    best = np.where(settings.trailing & (now.side != 0.0), np.fmax(now.best, gained), np.nan)
    return _with_levels(settings, now.side, now.entry, best, now.position_levels)


def touched(now: Levels, marks: Floats) -> bool:
    """Whether any mark is at or beyond a level. A position without a mark (NaN) is not closed; price age limits and
    feed alerts report it."""
    return bool(np.count_nonzero(marks <= now.lower) or np.count_nonzero(marks >= now.upper))


def breaches(settings: Guards, now: Levels, marks: Floats) -> list[Breach]:
    """Every position at or beyond a level, by book, then symbol. A mark at both levels counts as a stop."""
    value = now.side * marks
    stopped = value <= now.side * now.stop
    hit = (stopped | (value >= now.side * now.target)) & (now.side != 0.0)
    rows = []
    for book, symbol in np.argwhere(hit).tolist():
        side, entry, mark = float(now.side[book, symbol]), float(now.entry[book, symbol]), float(marks[symbol])
        target = not stopped[book, symbol]
        level = float((now.target if target else now.stop)[book, symbol])
        start, bound = entry, float((settings.target if target else settings.stop)[book, 0])
        kind: Kind = "take_profit" if target else "stop_loss"
        if now.position_levels is not None and np.isfinite(now.position_levels[int(target)][book, symbol]):
            bound = side * (level / entry - 1.0 if target else 1.0 - level / entry)
        elif not target and settings.trailing[book, 0] and float(now.best[book, symbol]) > side * entry:
            start, kind = abs(float(now.best[book, symbol])), "trailing_stop"
        moved = side * (mark / start - 1.0 if target else 1.0 - mark / start)
        rows.append(Breach(book, symbol, kind, entry, mark, level, moved, bound))
    return rows
