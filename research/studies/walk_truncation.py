"""The truncation test of a walk-forward: the whole procedure on bars that end earlier must give the same past.

What can go wrong: what is prepared from the bars (scalers, members, costs) reads later ones. So the procedure is any
function from bars to a walk, and all of it is tested. What was fitted before a date, and what was traded up to it,
cannot depend on later bars.

Values must be equal to the bit. A cut before the first period ends is refused, because it would compare nothing.
"""

from collections.abc import Callable, Sequence
from datetime import date

import polars as pl
from msgspec import Struct

from quantd.research.studies.walk import Walk

Procedure = Callable[[pl.DataFrame], Walk]


class Leak(Struct, frozen=True):
    """A value of the past that later bars changed; `cut` is the last date of the shorter bars."""

    cut: date
    what: str
    whole: str
    part: str

    def __str__(self) -> str:
        return f"{self.what}: {self.whole} knowing all bars, {self.part} on bars to {self.cut}"


def leaks(procedure: Procedure, bars: pl.DataFrame, cuts: Sequence[date]) -> list[Leak]:
    """Return what later bars changed: for each cut the first refit, and the first return, that differ.

    `bars` have the column `ts`. Values are equal to the bit. Raises what the procedure raises, and ValueError where a
    cut is before the first period ends, which would compare nothing.
    """
    full_walk = procedure(bars)
    changes: list[Leak] = []
    for cut in cuts:
        part = procedure(bars.filter(pl.col("ts").dt.date() <= cut))
        if len(part.ts) < 2:
            raise ValueError(f"cut {cut}: no return is before it; give a later one")
        changes += [*_refits(full_walk, part, cut), *_returns(full_walk, part, cut)]
    return changes


def _refits(full_walk: Walk, part: Walk, cut: date) -> list[Leak]:
    for one, other in zip(full_walk.periods, part.periods, strict=False):
        texts = [f"{', '.join(period.choice.shown)} (Sharpe {period.choice.sharpe!r})" for period in (one, other)]
        if one.choice.refit != other.choice.refit:
            texts = [str(period.choice.refit) for period in (one, other)]
        if texts[0] != texts[1]:
            return [Leak(cut, f"refit {one.choice.refit.day}", *texts)]
    return []


def _returns(full_walk: Walk, part: Walk, cut: date) -> list[Leak]:
    full = full_walk.stitched[: len(part.ts)]
    rows = pl.DataFrame({"at": full["ts"] == part.stitched["ts"], "same": full["return"] == part.stitched["return"]})
    row = (rows["at"] & rows["same"]).arg_min()
    if row is None or (rows["at"][row] and rows["same"][row]):
        return []
    one, other = full.row(row, named=True), part.stitched.row(row, named=True)
    return [Leak(cut, f"return {one['ts'].date()}", repr(one["return"]), repr(other["return"]))]
