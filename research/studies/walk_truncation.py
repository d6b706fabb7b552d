"""The truncation test of a walk-forward: on bars that end earlier, the earlier results must be the same.

What can go wrong: a preparation of the bars (scalers, members, costs) reads later bars. So the test runs the whole
procedure, which is any function from bars to a walk-forward. Refits before a date, and returns up to the date, must not
depend on later bars.

Values must be equal to the bit. A cut (the date where bars end) without earlier returns is refused, because it would
compare nothing.
"""

from collections.abc import Callable, Sequence
from datetime import date

import polars as pl
from msgspec import Struct

from quantd.research.studies.walk import Walk

Procedure = Callable[[pl.DataFrame], Walk]


class Leak(Struct, frozen=True):
    """A value of the past that later bars changed.

    `whole` is the value on all bars, `part` on the bars up to the date `cut`, and `what` names the value.
    """

    cut: date
    what: str
    whole: str
    part: str

    def __str__(self) -> str:
        return f"{self.what}: {self.whole} knowing all bars, {self.part} on bars to {self.cut}"


def leaks(procedure: Procedure, bars: pl.DataFrame, cuts: Sequence[date]) -> list[Leak]:
    """Return the values that later bars changed: for each cut the first refit and the first return that differ.

    `bars` must have the column `ts`. Values must be equal to the bit. Raises the errors of the procedure, and
    ValueError for a cut with fewer than two returns before it.
    """
    full_walk = procedure(bars)
    changes: list[Leak] = []
    for cut in cuts:
        cut_walk = procedure(bars.filter(pl.col("ts").dt.date() <= cut))
        if len(cut_walk.ts) < 2:
            raise ValueError(f"cut {cut}: there are fewer than two returns before this date; give a later cut")
        changes += [*_refits(full_walk, cut_walk, cut), *_returns(full_walk, cut_walk, cut)]
    return changes


def _refits(full_walk: Walk, cut_walk: Walk, cut: date) -> list[Leak]:
    """Return the first refit whose date or choice differs between a walk over all bars and one over bars to `cut`."""
    for full_period, cut_period in zip(full_walk.periods, cut_walk.periods, strict=False):
        texts = [
            f"{', '.join(period.choice.shown)} (Sharpe {period.choice.sharpe!r})"
            for period in (full_period, cut_period)
        ]
        if full_period.choice.refit != cut_period.choice.refit:
            texts = [str(period.choice.refit) for period in (full_period, cut_period)]
        if texts[0] != texts[1]:
            return [Leak(cut, f"refit {full_period.choice.refit.day}", *texts)]
    return []


def _returns(full_walk: Walk, cut_walk: Walk, cut: date) -> list[Leak]:
    """Return the first return or time that differs between a walk over all bars and one over the bars to `cut`."""
    full = full_walk.stitched[: len(cut_walk.ts)]
    rows = pl.DataFrame(
        {"at": full["ts"] == cut_walk.stitched["ts"], "same": full["return"] == cut_walk.stitched["return"]}
    )
    # the first row that is False, or row 0 where all are True
    first_difference = (rows["at"] & rows["same"]).arg_min()
    if first_difference is None or (rows["at"][first_difference] and rows["same"][first_difference]):
        return []
    full_row, cut_row = full.row(first_difference, named=True), cut_walk.stitched.row(first_difference, named=True)
    return [Leak(cut, f"return {full_row['ts'].date()}", repr(full_row["return"]), repr(cut_row["return"]))]
