"""The truncation test of a walk-forward: the whole procedure on bars that end earlier must give the same past.

What was fitted before a date, and what was traded up to it, cannot depend on later bars. The procedure is any function
from bars to a walk: what it prepares from its bars (scalers, members, costs) is tested with it.
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
    whole = procedure(bars)
    found: list[Leak] = []
    for cut in cuts:
        part = procedure(bars.filter(pl.col("ts").dt.date() <= cut))
        if len(part.ts) < 2:
            raise ValueError(f"cut {cut}: no return is before it; give a later one")
        found += [*_refits(whole, part, cut), *_returns(whole, part, cut)]
    return found


def _refits(whole: Walk, part: Walk, cut: date) -> list[Leak]:
    for one, other in zip(whole.periods, part.periods, strict=False):
        told = [f"{', '.join(each.choice.shown)} (Sharpe {each.choice.sharpe!r})" for each in (one, other)]
        if one.choice.refit != other.choice.refit:
            told = [str(each.choice.refit) for each in (one, other)]
        if told[0] != told[1]:
            return [Leak(cut, f"refit {one.choice.refit.day}", *told)]
    return []


def _returns(whole: Walk, part: Walk, cut: date) -> list[Leak]:
    own = whole.stitched[: len(part.ts)]
    rows = pl.DataFrame({"at": own["ts"] == part.stitched["ts"], "same": own["return"] == part.stitched["return"]})
    row = (rows["at"] & rows["same"]).arg_min()
    if row is None or (rows["at"][row] and rows["same"][row]):
        return []
    one, other = own.row(row, named=True), part.stitched.row(row, named=True)
    return [Leak(cut, f"return {one['ts'].date()}", repr(one["return"]), repr(other["return"]))]
